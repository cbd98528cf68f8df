// What an application makes of the official client: a tail that goes on after every break, a fetch that asks again.
import assert from "node:assert/strict";
import { stream } from "@durable-streams/client";
import { sleep, until } from "./server.mjs";

export const numbers = (count) => Array.from({ length: count }, (_, index) => index);

// Reads a JSON tail into `items` as an application does: from the last offset it saw, again after every break. The
// client goes on by itself except where a reply breaks off in the middle. `done` resolves at the stream's end.
export function tail(url, live, offset) {
    const reader = { items: [], offsets: [], breaks: 0 };
    const read = async () => {
        for (let isOver = false; !isOver; ) {
            try {
                const response = await stream({ url, live, offset, onError: () => ({}) });
                response.subscribeJson((batch) => {
                    reader.items.push(...batch.items);
                    reader.offsets.push(batch.offset);
                    offset = batch.offset;
                    isOver ||= batch.streamClosed;
                });
                await response.closed;
                // `closed` says that the last reply is read; its items are handed over right after it.
                await until("the last batch", () => isOver);
            } catch (error) {
                assert.match(`${error}`, /terminated|fetch failed|not within/);
                reader.breaks += 1;
                assert.ok(reader.breaks < 20, `${error}`);
                await sleep(100);
            }
        }
    };
    reader.done = read();
    return reader;
}

// The producer leaves it to its fetch to send a batch again; the server knows the ones that it has.
export async function untilAnswered(...request) {
    for (;;) {
        try {
            const answer = await fetch(...request);
            if (answer.status < 500) {
                return answer;
            }
        } catch {
            // Refused or lost.
        }
        await sleep(50);
    }
}
