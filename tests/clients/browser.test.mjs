// Headless Chromium on a page from another origin (a second loopback port): browser_page.mjs is what it runs.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Server, until } from "./server.mjs";

// Debian's package of that name; tools/install-deps installs it.
const BROWSER = "chromium";
const FLAGS = [
    "--headless=new",
    "--no-sandbox",  // Chromium refuses to run as root with it.
    "--disable-gpu",
    "--disable-dev-shm-usage",
    // Nothing but loopback is asked for anything.
    "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-default-apps", "--disable-extensions",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
];

const server = new Server();
const profile = mkdtempSync(join(tmpdir(), "ursula-browser-"));
const reports = [];
let browser;
let said = "";

function body(request) {
    return new Promise((resolve) => {
        let text = "";
        request.on("data", (piece) => (text += piece)).on("end", () => resolve(text));
    });
}

const files = {
    "/": ["text/html", () => `<!doctype html><link rel="icon" href="data:,"><script type="module" src="/page.js"></script>`],
    "/page.js": ["text/javascript", () => readFileSync("browser_page.mjs")],
    "/client.js": ["text/javascript", () => readFileSync("node_modules/@durable-streams/client/dist/index.js")],
};

// The page's own origin: its files, the reports it sends, and a kill on request.
const origin = createServer(async (request, response) => {
    const file = files[new URL(request.url, "http://page").pathname];
    if (request.method === "GET" && file) {
        response.writeHead(200, { "Content-Type": file[0] });
        response.end(file[1]());
        return;
    }
    const text = await body(request);
    if (request.url === "/report") {
        reports.push(JSON.parse(text));
    } else if (request.url === "/restart") {
        await server.killAndRestart();
    } else {
        response.writeHead(404);
    }
    response.end();
});

before(async () => {
    await server.start();
    await new Promise((resolve) => origin.listen(0, "127.0.0.1", resolve));
    const page = `http://127.0.0.1:${origin.address().port}/?server=${encodeURIComponent(server.url)}`;
    browser = spawn(BROWSER, [...FLAGS, `--user-data-dir=${profile}`, page], {
        stdio: ["ignore", "pipe", "pipe"],
    });
    browser.on("error", (error) => (said += error));
    for (const output of [browser.stdout, browser.stderr]) {
        output.on("data", (piece) => (said = (said + piece).slice(-20_000)));
    }
    await until("the page's last report", () => {
        if (browser.exitCode !== null || browser.signalCode !== null || browser.pid === undefined) {
            throw new Error(`${BROWSER} ended: ${said}`);
        }
        return reports.some((report) => report.name === "end");
    }, 110_000).catch((error) => {
        reports.push({ name: "all of the page", error: `${error}; reports: ${JSON.stringify(reports)}; ${said}` });
    });
}, { timeout: 120_000 });

after(async () => {
    if (browser?.pid !== undefined) {
        // Its other processes end with the first, and at the latest with this test's session (run.py).
        browser.kill("SIGKILL");
    }
    origin.closeAllConnections();
    origin.close();
    await server.discard();
    rmSync(profile, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
});

const source = readFileSync("browser_page.mjs", "utf8");
const names = [...source.matchAll(/^async function (\w+)\(\) \{$/gm)].map(([, name]) => name);

for (const name of names) {
    test(`in the browser: ${name.replaceAll("_", " ")}`, () => {
        const report = reports.find((one) => one.name === name);
        assert.ok(report, `no report; ${JSON.stringify(reports.filter((one) => one.error))}`);
        assert.equal(report.error, null, report.error ?? "");
    });
}

test("in the browser: every test of the page was started", () => {
    assert.ok(names.length >= 10);
    assert.deepEqual(reports.map((report) => report.name), [...names, "end"]);
});
