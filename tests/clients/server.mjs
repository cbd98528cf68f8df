// Starts, kills and restarts one durable server for the tests beside this file; helpers for waiting.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const READY_LIMIT_MS = 60_000;
// Polls and SSE replies end often, so that every tail of these tests goes through several of them.
const FLAGS = [
    "--set", "server.long_poll_timeout=1s", "--set", "server.sse_lifetime=3s",
    "--set", "server.sse_heartbeat=1s", "--set", "server.drain_timeout=1s",
];

export class Server {
    #directory = mkdtempSync(join(tmpdir(), "ursula-clients-"));
    #listen = "127.0.0.1:0";
    #process;
    #output = "";
    url = "";

    // The same port in every life after the first.
    async start() {
        this.#output = "";
        const flags = ["--listen", this.#listen, "--data-dir", this.#directory, ...FLAGS];
        this.#process = spawn(process.env.URSULA_BIN, flags, { stdio: ["ignore", "pipe", "pipe"] });
        for (const output of [this.#process.stdout, this.#process.stderr]) {
            output.on("data", (text) => (this.#output = (this.#output + text).slice(-20_000)));
        }
        const found = await until("the ready line", () => {
            if (this.#process.exitCode !== null || this.#process.signalCode !== null) {
                throw new Error(`the server ended: ${this.#output}`);
            }
            return /ursula ready on (http:\/\/(\S+))/.exec(this.#output);
        }, READY_LIMIT_MS);
        this.url = found[1];
        this.#listen = found[2];
        return this;
    }

    async kill() {
        const ended = new Promise((resolve) => this.#process.once("exit", resolve));
        this.#process.kill("SIGKILL");
        await ended;
    }

    // What clients see: connections end at once, some are refused for a while, then all is as before.
    async killAndRestart(downMs = 300) {
        await this.kill();
        await sleep(downMs);
        await this.start();
    }

    async discard() {
        if (this.#process && this.#process.exitCode === null && this.#process.signalCode === null) {
            await this.kill();
        }
        rmSync(this.#directory, { recursive: true, force: true });
    }

    path(name) {
        return `${this.url}/v1/stream/clients/${name}-${Math.random().toString(36).slice(2)}`;
    }
}

// The first true value of check().
export async function until(what, check, limitMs = 30_000) {
    const end = Date.now() + limitMs;
    for (;;) {
        const value = await check();
        if (value) {
            return value;
        }
        if (Date.now() > end) {
            throw new Error(`${what}: not within ${limitMs} ms`);
        }
        await sleep(10);
    }
}

export { sleep };
