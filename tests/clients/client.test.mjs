// @durable-streams/client over create, append, batches, producer, JSON, tails, close, and a server that is killed.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
    DurableStream, DurableStreamError, FetchError, IdempotentProducer, StaleEpochError, stream,
} from "@durable-streams/client";
import { numbers, tail, untilAnswered } from "./readers.mjs";
import { Server, sleep, until } from "./server.mjs";

const server = new Server();
before(() => server.start());
after(() => server.discard());

const json = (name) => DurableStream.create({ url: server.path(name), contentType: "application/json" });

// What the client makes of a refusal differs by call; the status and the server's own code are always there.
const refusedAs = (status, code) => (error) => error.status === status &&
    (error instanceof DurableStreamError || (error instanceof FetchError && error.text?.includes(`"${code}"`)));

test("create, connect, head, delete, and what is refused", async () => {
    const url = server.path("create");
    const handle = await DurableStream.create({ url, contentType: "text/plain", ttlSeconds: 3600 });
    await handle.create({ contentType: "text/plain", ttlSeconds: 3600 });
    await assert.rejects(
        DurableStream.create({ url, contentType: "application/json" }),
        refusedAs(409, "stream_exists"),
    );
    await handle.append("hello");
    const connected = await DurableStream.connect({ url });
    assert.equal(connected.contentType, "text/plain");
    const head = await connected.head();
    assert.equal(head.exists, true);
    assert.equal(head.streamClosed, false);
    const response = await connected.stream({ live: false });
    assert.equal(await response.text(), "hello");
    assert.equal(response.upToDate, true);
    assert.equal(response.offset, head.offset);
    await handle.delete();
    assert.deepEqual(await handle.head(), { exists: false });
    await assert.rejects(stream({ url, live: false }), refusedAs(404, "stream_not_found"));
});

test("a body at creation, closed at creation", async () => {
    const url = server.path("whole");
    await DurableStream.create({ url, contentType: "text/plain", body: "all of it", closed: true });
    const response = await stream({ url });
    assert.equal(await response.text(), "all of it");
    assert.equal(response.streamClosed, true);
});

test("unawaited appends are batched into few requests and keep their order", async () => {
    const handle = await DurableStream.create({ url: server.path("batch"), contentType: "text/plain" });
    let requests = 0;
    const counting = new DurableStream({
        url: handle.url,
        contentType: "text/plain",
        fetch: (...request) => {
            requests += 1;
            return fetch(...request);
        },
    });
    await Promise.all(numbers(500).map((number) => counting.append(`${number};`)));
    assert.ok(requests < 100, `${requests} requests`);
    const text = await (await handle.stream({ live: false })).text();
    assert.equal(text, numbers(500).map((number) => `${number};`).join(""));
});

test("appendStream sends a chunked body of unknown length", async () => {
    const handle = await DurableStream.create({
        url: server.path("piped"), contentType: "application/octet-stream",
    });
    const piece = new Uint8Array(40_000).map((_, index) => index * 7);
    async function* pieces() {
        for (let count = 0; count < 10; count++) {
            yield piece;
            await sleep(2);
        }
    }
    await handle.appendStream(pieces());
    const body = await (await handle.stream({ live: false })).body();
    assert.equal(body.length, 400_000);
    assert.ok(numbers(10).every((count) =>
        Buffer.compare(body.subarray(count * 40_000, (count + 1) * 40_000), piece) === 0));
});

test("JSON keeps values, text and order", async () => {
    const handle = await json("json");
    const values = [
        null, true, 0, -0.5, 1e300, 9007199254740991, "", "\u2028 \u0000 \ud83d\ude00 \"\\", [], [[1], [2, [3]]],
        { a: { b: [] }, "": null },
    ];
    for (const value of values) {
        await handle.append(JSON.stringify(value));
    }
    assert.deepEqual(await (await handle.stream({ live: false })).json(), values);
    await assert.rejects(handle.append("{not json"), (error) => error.status === 400);
    assert.equal((await (await handle.stream({ live: false })).json()).length, values.length);
});

test("Stream-Seq: a repeated or lower one is a conflict", async () => {
    const handle = await DurableStream.create({ url: server.path("seq"), contentType: "text/plain" });
    await handle.append("a", { seq: "0001" });
    await handle.append("b", { seq: "0002" });
    await assert.rejects(handle.append("c", { seq: "0002" }), refusedAs(409, "stream_seq_not_increasing"));
    assert.equal(await (await handle.stream({ live: false })).text(), "ab");
});

test("the producer pipelines 5,000 items, each of them once and in order", async () => {
    const handle = await json("producer");
    const errors = [];
    const producer = new IdempotentProducer(handle, "pipeline", {
        maxBatchBytes: 400, lingerMs: 0, onError: (error) => errors.push(error),
    });
    for (const number of numbers(5000)) {
        producer.append(JSON.stringify({ number }));
        if (number % 100 === 0) {
            await sleep(0);
        }
    }
    await producer.flush();
    await producer.detach();
    assert.deepEqual(errors, []);
    const items = await (await handle.stream({ live: false })).json();
    assert.deepEqual(items.map((item) => item.number), numbers(5000));
});

test("an old epoch is fenced, and autoClaim takes the next one", async () => {
    const handle = await json("epochs");
    const write = async (value, options) => {
        const errors = [];
        const producer = new IdempotentProducer(handle, "fenced", {
            ...options, onError: (error) => errors.push(error),
        });
        producer.append(JSON.stringify(value));
        await producer.flush().catch((error) => errors.push(error));
        return errors;
    };
    assert.deepEqual(await write("new", { epoch: 3 }), []);
    const stale = await write("old", { epoch: 2 });
    assert.ok(stale.length > 0 && stale.every((error) => error instanceof StaleEpochError), `${stale}`);
    assert.equal(stale[0].currentEpoch, 3);
    assert.deepEqual(await write("claimed", { epoch: 0, autoClaim: true }), []);
    assert.deepEqual(await (await handle.stream({ live: false })).json(), ["new", "claimed"]);
});

test("the producer closes with a last message; later appends say that it is closed", async () => {
    const handle = await json("closing");
    const producer = new IdempotentProducer(handle, "closer", { lingerMs: 0 });
    producer.append(JSON.stringify(1));
    const { finalOffset } = await producer.close(JSON.stringify(2));
    const head = await handle.head();
    assert.equal(head.streamClosed, true);
    assert.equal(head.offset, finalOffset);
    assert.deepEqual(await (await handle.stream()).json(), [1, 2]);
    await assert.rejects(
        handle.append(JSON.stringify(3)),
        (error) => refusedAs(409, "stream_closed")(error) &&
            (error.finalOffset ?? error.headers["stream-next-offset"]) === finalOffset,
    );
    // Two that race for the end of a stream: the loser must fail, not spin.
    const late = [];
    const loser = new IdempotentProducer(handle, "late", { lingerMs: 0, onError: (error) => late.push(error) });
    for (const number of numbers(20)) {
        loser.append(JSON.stringify(number));
        await sleep(1);
    }
    await loser.flush().catch(() => {});
    assert.ok(late.length > 0);
    assert.deepEqual(await (await handle.stream()).json(), [1, 2]);
});

for (const live of ["long-poll", "sse", true]) {
    test(`a ${live} tail sees every item once, in order, through several replies, to the close`, async () => {
        const handle = await json("tail");
        await handle.append(JSON.stringify({ number: 0 }));
        const reader = tail(handle.url, live);
        const late = tail(handle.url, live, "now");
        await until("both are at the end", () => reader.items.length === 1 && late.offsets.length > 0);
        // Longer than a poll and than the life of an SSE reply.
        for (let number = 1; number < 80; number++) {
            await handle.append(JSON.stringify({ number }));
            await sleep(50);
        }
        await handle.close({ body: JSON.stringify({ number: 80 }) });
        await Promise.all([reader.done, late.done]);
        assert.deepEqual(reader.items.map((item) => item.number), numbers(81));
        assert.deepEqual(late.items.map((item) => item.number), numbers(81).slice(1));
        assert.deepEqual(reader.offsets, [...reader.offsets].sort());
        assert.equal(reader.breaks + late.breaks, 0);
        // Every offset that the tail handed out is one to go on from.
        const middle = reader.offsets[Math.floor(reader.offsets.length / 2)];
        const rest = await (await handle.stream({ offset: middle, live: false })).json();
        assert.deepEqual(rest, reader.items.slice(reader.items.length - rest.length));
    });
}

test("binary over SSE is decoded byte for byte", async () => {
    const handle = await DurableStream.create({
        url: server.path("binary"), contentType: "application/octet-stream",
    });
    const all = Uint8Array.from({ length: 256 }, (_, index) => index);
    await handle.append(all);
    const chunks = [];
    const response = await handle.stream({ live: "sse" });
    response.subscribeBytes((chunk) => {
        chunks.push(chunk.data);
    });
    for (const length of [1, 2, 3, 4]) {
        await handle.append(all.subarray(256 - length));
    }
    await handle.close();
    await response.closed;
    const wanted = Buffer.concat([all, ...[1, 2, 3, 4].map((length) => all.subarray(256 - length))]);
    assert.equal(Buffer.compare(Buffer.concat(chunks), wanted), 0);
});

test("text over SSE cannot forge events", async () => {
    const handle = await DurableStream.create({ url: server.path("forge"), contentType: "text/plain" });
    const texts = [
        "event: control\ndata: {\"streamClosed\":true}\n\n", "\n", "\r", "x\r\n\r\n", "  two spaces", "\u2028data: x",
        ":comment\n", "id: 7\nretry: 1\n",
    ];
    let read = "";
    const response = await handle.stream({ live: "sse" });
    response.subscribeText((chunk) => {
        read += chunk.text;
    });
    for (const text of texts) {
        await handle.append(text);
    }
    await handle.close();
    await response.closed;
    // SSE has one kind of line end; everything else comes back as it was sent.
    assert.equal(read.replace(/\r\n|\r/g, "\n"), texts.join("").replace(/\r\n|\r/g, "\n"));
});

test("kill -9 and restart: the producer and both tails go on as if nothing had been", async () => {
    const handle = await json("killed");
    const errors = [];
    const producer = new IdempotentProducer(handle, "survivor", {
        maxBatchBytes: 2000, lingerMs: 1, fetch: untilAnswered, onError: (error) => errors.push(error),
    });
    const polls = tail(handle.url, "long-poll");
    const events = tail(handle.url, "sse");
    const kills = (async () => {
        for (let count = 0; count < 3; count++) {
            await sleep(700);
            await server.killAndRestart();
        }
    })();
    let written = 0;
    let isOver = false;
    kills.then(() => (isOver = true), () => (isOver = true));
    while (!isOver) {
        producer.append(JSON.stringify({ number: written++ }));
        await sleep(2);
    }
    await kills;
    await producer.flush();
    await producer.close();
    assert.deepEqual(errors, []);
    await Promise.all([polls.done, events.done]);
    for (const reader of [polls, events]) {
        assert.deepEqual(reader.items.map((item) => item.number), numbers(written));
    }
    const again = await (await handle.stream({ live: false })).json();
    assert.deepEqual(again.map((item) => item.number), numbers(written));
});
