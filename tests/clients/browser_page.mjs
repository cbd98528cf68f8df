// Runs inside the browser, on a page whose origin is not the server's: fetch, EventSource and the official client.
import { DurableStream, IdempotentProducer } from "/client.js";

const query = new URLSearchParams(location.search);
const server = query.get("server");

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const numbers = (count) => Array.from({ length: count }, (_, index) => index);
const path = (name) => `${server}/v1/stream/browser/${name}-${crypto.randomUUID()}`;

function equal(what, got, wanted) {
    if (JSON.stringify(got) !== JSON.stringify(wanted)) {
        throw new Error(`${what}: got ${JSON.stringify(got)}, expected ${JSON.stringify(wanted)}`);
    }
}

async function until(what, check, limitMs = 30_000) {
    for (const end = Date.now() + limitMs; !(await check()); await sleep(10)) {
        if (Date.now() > end) {
            throw new Error(`${what}: not within ${limitMs} ms`);
        }
    }
}

// A header that CORS hides reads as null.
function readable(what, answer, names) {
    const hidden = names.filter((name) => !answer.headers.get(name));
    equal(`${what}: headers that cannot be read`, hidden, []);
}

async function create(url, type, body) {
    const answer = await fetch(url, { method: "PUT", headers: { "Content-Type": type }, body });
    equal("create", answer.status, 201);
    return answer;
}

const append = (url, body, headers = { "Content-Type": "text/plain" }) => fetch(url, { method: "POST", headers, body });

async function headers_of_every_operation() {
    const url = path("headers");
    const created = await fetch(url, {
        method: "PUT", headers: { "Content-Type": "text/plain", "Stream-TTL": "3600" }, body: "a",
    });
    equal("created", created.status, 201);
    readable("PUT", created, ["Location", "Stream-Next-Offset", "Content-Type"]);
    equal("Location", created.headers.get("Location"), url);
    const appended = await append(url, "b", { "Content-Type": "text/plain", "Stream-Seq": "1" });
    equal("appended", appended.status, 204);
    readable("POST", appended, ["Stream-Next-Offset"]);
    const head = await fetch(url, { method: "HEAD", cache: "no-store" });
    readable("HEAD", head, ["Stream-Next-Offset", "Stream-TTL", "Content-Type"]);
    const read = await fetch(url, { cache: "no-store" });
    readable("GET", read, ["Stream-Next-Offset", "Stream-Up-To-Date", "ETag", "Content-Type"]);
    equal("text", await read.text(), "ab");
    const end = read.headers.get("Stream-Next-Offset");
    const poll = fetch(`${url}?offset=${end}&live=long-poll`, { cache: "no-store" });
    await sleep(100);
    await append(url, "c");
    readable("long-poll", await poll, ["Stream-Next-Offset", "Stream-Cursor", "Stream-Up-To-Date"]);
    const quiet = await fetch(`${url}?offset=now&live=long-poll`, { cache: "no-store" });
    equal("a poll that ends quietly", quiet.status, 204);
    readable("quiet poll", quiet, ["Stream-Next-Offset", "Stream-Cursor", "Stream-Up-To-Date"]);
    const closed = await fetch(url, { method: "POST", headers: { "Stream-Closed": "true" } });
    readable("close", closed, ["Stream-Next-Offset", "Stream-Closed"]);
    const refused = await append(url, "d");
    equal("append to a closed one", refused.status, 409);
    readable("refused", refused, ["Stream-Closed", "Stream-Next-Offset"]);
    equal("its code", (await refused.json()).code, "stream_closed");
    equal("deleted", (await fetch(url, { method: "DELETE" })).status, 204);
    const missing = await fetch(url, { cache: "no-store" });
    equal("gone", [missing.status, (await missing.json()).code], [404, "stream_not_found"]);
}

async function producers_pass_the_preflight() {
    const url = path("producer");
    await create(url, "application/json");
    const send = (epoch, seq, more = {}) => append(url, `[${seq}]`, {
        "Content-Type": "application/json", "Producer-Id": "page", "Producer-Epoch": `${epoch}`,
        "Producer-Seq": `${seq}`, ...more,
    });
    const first = await send(1, 0);
    equal("new", first.status, 200);
    readable("producer", first, ["Producer-Epoch", "Producer-Seq", "Stream-Next-Offset"]);
    equal("again", (await send(1, 0)).status, 204);
    const gap = await send(1, 5);
    equal("gap", gap.status, 409);
    readable("gap", gap, ["Producer-Expected-Seq", "Producer-Received-Seq"]);
    const stale = await send(0, 0);
    equal("stale", [stale.status, stale.headers.get("Producer-Epoch")], [403, "1"]);
    equal("closing", (await send(1, 1, { "Stream-Closed": "true" })).status, 200);
    equal("all", await (await fetch(url)).json(), [0, 1]);
}

async function conditional_reads() {
    const url = path("conditional");
    await create(url, "text/plain", "some text");
    const first = await fetch(`${url}?offset=-1`, { cache: "no-store" });
    const etag = first.headers.get("ETag");
    const ask = () => fetch(`${url}?offset=-1`, { cache: "no-store", headers: { "If-None-Match": etag } });
    const second = await ask();
    equal("unchanged", [second.status, await second.text()], [304, ""]);
    equal("its tag", second.headers.get("ETag"), etag);
    await append(url, ", and more");
    const third = await ask();
    equal("changed", [third.status, await third.text()], [200, "some text, and more"]);
    // The browser's own cache: what it keeps must never hide what was appended.
    for (const number of numbers(5)) {
        await append(url, `${number}`);
        const cached = await fetch(`${url}?offset=-1`, { cache: "no-cache" });
        equal("revalidated", await cached.text(), `some text, and more${numbers(number + 1).join("")}`);
    }
}

// An EventSource on the stream; it connects again by itself after every break, with the last id that it saw.
function follow(url) {
    const follower = { items: [], controls: [], opened: 0 };
    const source = new EventSource(url);
    source.onopen = () => (follower.opened += 1);
    source.addEventListener("data", (event) => follower.items.push(event.data));
    source.addEventListener("control", (event) => {
        const control = JSON.parse(event.data);
        follower.controls.push(control);
        if (control.streamClosed) {
            source.close();
        }
    });
    follower.isOver = () => source.readyState === EventSource.CLOSED;
    return follower;
}

async function event_source_follows_json() {
    const url = path("events");
    await create(url, "application/json");
    const follower = follow(`${url}?offset=-1&live=sse`);
    // Longer than the life of one reply: the browser connects again and misses and doubles nothing.
    for (const number of numbers(80)) {
        await append(url, JSON.stringify({ number }), { "Content-Type": "application/json" });
        await sleep(50);
    }
    await fetch(url, { method: "POST", headers: { "Stream-Closed": "true" } });
    await until("the closing control event", follower.isOver);
    equal("items", follower.items.flatMap((data) => JSON.parse(data)).map((item) => item.number), numbers(80));
    if (follower.opened < 2) {
        throw new Error("the event source never had to connect again");
    }
    const offsets = follower.controls.map((control) => control.streamNextOffset);
    equal("offsets grow", offsets, [...offsets].sort());
}

async function event_source_survives_a_kill() {
    const url = path("killed");
    await create(url, "application/json");
    const follower = follow(`${url}?offset=-1&live=sse`);
    for (const number of numbers(60)) {
        if (number === 20 || number === 40) {
            await until("all before the kill", () => follower.items.length > 0);
            equal("restart", (await fetch("/restart", { method: "POST" })).status, 200);
        }
        await append(url, JSON.stringify(number), { "Content-Type": "application/json" });
    }
    await fetch(url, { method: "POST", headers: { "Stream-Closed": "true" } });
    await until("the closing control event", follower.isOver);
    equal("items", follower.items.flatMap((data) => JSON.parse(data)), numbers(60));
}

async function event_source_gets_text_as_it_was() {
    const url = path("text");
    const text = " one blank\n  two\n\nevent: control\ndata: {}\n\u2028 \u{1f600}\n";
    await create(url, "text/plain", text);
    const follower = follow(`${url}?offset=-1&live=sse`);
    await until("the text", () => follower.items.length > 0);
    await fetch(url, { method: "POST", headers: { "Stream-Closed": "true" } });
    await until("the closing control event", follower.isOver);
    equal("text", follower.items.join(""), text);
}

async function binary_over_sse_by_fetch() {
    const url = path("binary");
    const bytes = Uint8Array.from(numbers(256));
    await create(url, "application/octet-stream", bytes);
    await append(url, bytes.subarray(250), { "Content-Type": "application/octet-stream" });
    await fetch(url, { method: "POST", headers: { "Stream-Closed": "true" } });
    const answer = await fetch(`${url}?offset=-1&live=sse`, { cache: "no-store" });
    equal("encoding", answer.headers.get("Stream-SSE-Data-Encoding"), "base64");
    const text = await answer.text();
    const data = [...text.matchAll(/^event: data\n((?:data:.*\n)+)\n/gm)].map(([, lines]) =>
        atob(lines.replaceAll("data:", "").replaceAll("\n", "")));
    equal("bytes", [...data.join("")].map((letter) => letter.charCodeAt(0)), [...bytes, ...bytes.subarray(250)]);
}

async function long_poll_tail_by_fetch() {
    const url = path("polled");
    await create(url, "text/plain");
    let text = "";
    const reader = (async () => {
        let offset = "-1";
        let cursor = "";
        for (;;) {
            const answer = await fetch(`${url}?offset=${offset}&live=long-poll${cursor}`);
            text += await answer.text();
            offset = answer.headers.get("Stream-Next-Offset");
            cursor = `&cursor=${answer.headers.get("Stream-Cursor")}`;
            if (answer.headers.get("Stream-Closed")) {
                return;
            }
        }
    })();
    for (const number of numbers(50)) {
        await append(url, `${number};`);
        await sleep(number % 10 === 0 ? 150 : 5);
    }
    await fetch(url, { method: "POST", headers: { "Stream-Closed": "true" } });
    await reader;
    equal("text", text, numbers(50).map((number) => `${number};`).join(""));
}

async function aborted_tails_leave_room() {
    // A browser has six connections for one origin: tails that are aborted must give theirs back.
    const url = path("aborted");
    await create(url, "text/plain", "x");
    for (const _ of numbers(20)) {
        const control = new AbortController();
        const answer = await fetch(`${url}?offset=now&live=sse`, { signal: control.signal });
        equal("tail", answer.status, 200);
        control.abort();
    }
    equal("after them", await (await fetch(url, { cache: "no-store" })).text(), "x");
}

async function the_official_client_in_the_page() {
    const stream = await DurableStream.create({
        url: path("client"), contentType: "application/json", warnOnHttp: false,
    });
    const items = [];
    const tail = await stream.stream({ live: "sse" });
    tail.subscribeJson((batch) => {
        items.push(...batch.items);
    });
    const errors = [];
    const producer = new IdempotentProducer(stream, "page", { onError: (error) => errors.push(`${error}`) });
    for (const number of numbers(500)) {
        producer.append(JSON.stringify(number));
    }
    await producer.close();
    equal("errors", errors, []);
    await tail.closed;
    await until("all items", () => items.length === 500);
    equal("items", items, numbers(500));
}

for (const test of [
    headers_of_every_operation, producers_pass_the_preflight, conditional_reads, event_source_follows_json,
    event_source_survives_a_kill, event_source_gets_text_as_it_was, binary_over_sse_by_fetch, long_poll_tail_by_fetch,
    aborted_tails_leave_room, the_official_client_in_the_page,
]) {
    let error = null;
    try {
        await test();
    } catch (caught) {
        error = `${caught?.stack ?? caught}`;
    }
    await fetch("/report", { method: "POST", body: JSON.stringify({ name: test.name, error }) });
}
await fetch("/report", { method: "POST", body: JSON.stringify({ name: "end" }) });
