// The packages that build on the client: state, the AI SDK transport and Yjs, each through a killed server.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { createDurableChatTransport, toDurableStreamResponse } from "@durable-streams/aisdk-transport";
import { DurableStream } from "@durable-streams/client";
import { MaterializedState, createStateSchema } from "@durable-streams/state";
import { createStreamDB } from "@durable-streams/state/db";
import { YjsProvider } from "@durable-streams/y-durable-streams";
import { YjsServer } from "@durable-streams/y-durable-streams/server";
import { Awareness } from "y-protocols/awareness";
import * as Y from "yjs";
import { Server, sleep, until } from "./server.mjs";

const server = new Server();
before(() => server.start());
after(() => server.discard());

// Standard Schema in its smallest form: everything that is an object passes.
const anyObject = {
    "~standard": {
        version: 1,
        vendor: "ursula",
        validate: (value) => (typeof value === "object" ? { value } : { issues: [{ message: "no object" }] }),
    },
};

const schema = createStateSchema({ users: { schema: anyObject, type: "user", primaryKey: "id" } });

test("state: change events are materialized, also from a stream read one by one", async () => {
    const handle = await DurableStream.create({ url: server.path("state"), contentType: "application/json" });
    const events = [
        schema.users.insert({ value: { id: "1", name: "Ada" } }),
        schema.users.insert({ value: { id: "2", name: "Alan" } }),
        schema.users.update({ value: { id: "1", name: "Ada L." } }),
        schema.users.delete({ key: "2" }),
    ];
    for (const event of events) {
        await handle.append(JSON.stringify(event));
    }
    const state = new MaterializedState();
    for await (const event of (await handle.stream({ live: false })).jsonStream()) {
        state.apply(event);
    }
    assert.deepEqual(state.get("user", "1"), { id: "1", name: "Ada L." });
    assert.equal(state.get("user", "2"), undefined);
});

for (const live of ["long-poll", "sse"]) {
    test(`state: a StreamDB follows by ${live} through a restart of the server`, async () => {
        const url = server.path("db");
        const handle = await DurableStream.create({ url, contentType: "application/json" });
        await handle.append(JSON.stringify(schema.users.insert({ value: { id: "1", name: "Ada" } })));
        const db = createStreamDB({
            streamOptions: { url, contentType: "application/json", onError: () => ({}) }, live, state: schema,
        });
        try {
            await db.preload();
            assert.equal(db.collections.users.get("1").name, "Ada");
            await server.killAndRestart();
            await handle.append(JSON.stringify(schema.users.insert({ value: { id: "2", name: "Alan" } })));
            await handle.append(JSON.stringify(schema.users.update({ value: { id: "1", name: "Ada L." } })));
            await until("both users", () => db.collections.users.get("2") && db.collections.users.get("1").name === "Ada L.");
            await handle.append(JSON.stringify(schema.users.delete({ key: "2" })));
            await until("one user", () => db.collections.users.size === 1);
        } finally {
            db.close();
        }
    });
}

// What a model would say, piece by piece.
async function* chunks(count, pauseMs) {
    yield { type: "start" };
    yield { type: "text-start", id: "t" };
    for (let number = 0; number < count; number++) {
        yield { type: "text-delta", id: "t", delta: `word${number} ` };
        await sleep(pauseMs);
    }
    yield { type: "text-end", id: "t" };
    yield { type: "finish" };
}

async function textOf(readable) {
    let text = "";
    const types = new Set();
    for await (const chunk of readable) {
        types.add(chunk.type);
        text += chunk.delta ?? "";
    }
    assert.deepEqual([...types], ["start", "text-start", "text-delta", "text-end", "finish"]);
    return text;
}

const words = (count) => Array.from({ length: count }, (_, number) => `word${number} `).join("");

test("AI SDK: a chat's answer is written by one side and streamed to the other, then resumed", async () => {
    const url = server.path("chat");
    let written;
    const transport = createDurableChatTransport({
        api: "http://127.0.0.1/api/chat",
        fetchClient: async (_, { method }) => {
            if (method === "GET") {
                return Response.json({ streamUrl: url }, { headers: { Location: url } });
            }
            return toDurableStreamResponse({
                source: chunks(200, 5), stream: { writeUrl: url }, waitUntil: (task) => (written = task),
            });
        },
    });
    const chunkStream = await transport.sendMessages({
        trigger: "submit-message", chatId: "chat", messageId: undefined, messages: [], abortSignal: undefined,
    });
    const resumed = await transport.reconnectToStream({ chatId: "chat" });
    assert.deepEqual(await Promise.all([textOf(chunkStream), textOf(resumed)]), [words(200), words(200)]);
    await written;
    // A generation that is over is read whole, by whom asks later too.
    assert.equal(await textOf(await transport.reconnectToStream({ chatId: "chat" })), words(200));
});

test("AI SDK: mode await answers with the final offset", async () => {
    const url = server.path("awaited");
    const response = await toDurableStreamResponse({
        source: chunks(20, 0), stream: { writeUrl: url }, mode: "await",
    });
    const body = await response.json();
    assert.equal(response.headers.get("location"), url);
    const head = await DurableStream.head({ url });
    assert.equal(head.streamClosed, true);
    assert.equal(head.offset, body.finalOffset);
});

const synced = (provider) => until("the provider is synced", () => provider.synced);

for (const liveMode of ["sse", "long-poll"]) {
    test(`Yjs by ${liveMode}: two documents converge through a restart, a third from a snapshot`, async () => {
        // Small: several snapshots are taken, and each is followed by a read from one past its offset.
        const yjs = new YjsServer({ port: 0, dsServerUrl: server.url, compactionThreshold: 1500 });
        await yjs.start();
        const open = [];
        const docId = `doc-${liveMode}/chapter`;
        const provide = (awareness) => {
            const doc = awareness ? awareness.doc : new Y.Doc();
            const provider = new YjsProvider({
                doc, awareness, baseUrl: `${yjs.url}/v1/yjs/test`, docId, liveMode,
            });
            provider.on("error", () => {});
            open.push(provider);
            return { doc, provider, text: () => doc.getText("content").toString() };
        };
        try {
            const mine = new Awareness(new Y.Doc());
            const theirs = new Awareness(new Y.Doc());
            let one = provide(mine);
            let two = provide(theirs);
            await Promise.all([synced(one.provider), synced(two.provider)]);
            await until("one side's presence is seen by the other", () => {
                mine.setLocalStateField("name", "Ada");
                return theirs.getStates().get(mine.clientID)?.name === "Ada";
            });
            const write = async (who, count) => {
                for (let number = 0; number < count; number++) {
                    who.doc.getText("content").insert(0, `${who === one ? "a" : "b"}${number}.`);
                    await sleep(5);
                }
            };
            const converge = (what, ...sides) => until(what, () =>
                sides.every((side) => side.text() === sides[0].text() && side.text().length > 0));
            await Promise.all([write(one, 100), write(two, 100)]);
            await until("both have 200 pieces", () => [one, two].every((side) => side.text().split(".").length === 201));
            await converge("before the restart", one, two);

            await server.killAndRestart();
            // By long-polls the providers go on by themselves. In 0.2.7 the Yjs layer never ends an SSE reply whose
            // source broke off, and a provider that is connected again repeats its producer's numbers, so what it
            // writes counts as a duplicate: there both sides are loaded anew, as a person does with a stale page.
            if (liveMode === "sse") {
                open.splice(0).forEach((provider) => provider.destroy());
                one = provide();
                two = provide();
                await Promise.all([synced(one.provider), synced(two.provider)]);
                await converge("loaded anew", one, two);
            }
            await Promise.all([write(one, 100), write(two, 100)]);
            await until("both have 400 pieces", () => [one, two].every((side) => side.text().split(".").length === 401));
            await converge("after the restart", one, two);

            const reply = await until("a snapshot", async () => {
                const answer = await fetch(`${yjs.url}/v1/yjs/test/docs/${docId}?offset=snapshot`, { redirect: "manual" });
                return /_snapshot/.test(answer.headers.get("location") ?? "") && answer;
            });
            assert.equal(reply.status, 307);
            const three = provide();
            await synced(three.provider);
            await converge("a third from the snapshot", one, two, three);
            await write(three, 20);
            await until("all have 420 pieces", () => [one, two, three].every((side) => side.text().split(".").length === 421));
            await converge("all three", one, two, three);
        } finally {
            for (const provider of open) {
                provider.destroy();
            }
            await yjs.stop();
        }
    });
}
