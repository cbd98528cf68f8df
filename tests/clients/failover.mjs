// A producer and two tails on one node while others of its cluster are killed; failover_test.py starts it.
//
//     node failover.mjs URL     writes until its standard input ends, then closes the stream and compares
import assert from "node:assert/strict";
import { DurableStream, IdempotentProducer } from "@durable-streams/client";
import { numbers, tail, untilAnswered } from "./readers.mjs";
import { sleep } from "./server.mjs";

const url = process.argv[2];
const handle = await DurableStream.create({ url, contentType: "application/json" });
const errors = [];
const producer = new IdempotentProducer(handle, "failover", {
    maxBatchBytes: 2000, lingerMs: 1, fetch: untilAnswered, onError: (error) => errors.push(error),
});
const readers = ["long-poll", "sse"].map((live) => tail(url, live));
let isOver = false;
process.stdin.on("end", () => (isOver = true)).resume();
console.log("writing");
let written = 0;
while (!isOver) {
    producer.append(JSON.stringify({ number: written++ }));
    await sleep(5);
}
await producer.flush();
await producer.close();
await Promise.all(readers.map((reader) => reader.done));
assert.deepEqual(errors, []);
for (const reader of readers) {
    assert.deepEqual(reader.items.map((item) => item.number), numbers(written));
}
console.log(`${written} items, each once and in order, after ${readers[0].breaks} and ${readers[1].breaks} breaks`);
process.exit(0);
