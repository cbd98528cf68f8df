// The official suite's own runner skips itself when it lies under node_modules; this file is what vitest runs.
// tests/conformance/run.py starts the server and says where it is.
import { runConformanceTests } from "@durable-streams/server-conformance-tests";
import { beforeEach } from "vitest";

const baseUrl = process.env.CONFORMANCE_URL;
if (!baseUrl) {
    throw new Error("CONFORMANCE_URL is not set: start this through tests/conformance/run.py");
}

// Who listens here kills the server and starts it again (modes.py); unset in the modes without kills.
const restartUrl = process.env.CONFORMANCE_RESTART;
if (restartUrl) {
    restartBetweenBlocks(restartUrl);
}

// The limit given here only bounds the suite's own patience with a long-poll.
const longPollTimeoutMs = Number(process.env.CONFORMANCE_POLL_MS ?? 4000);
runConformanceTests({ baseUrl, longPollTimeoutMs, subscriptions: true });

// Kills the server before the first test of each top-level describe block but the first, never inside one.
// Tests that run at the same time share their block's restart.
function restartBetweenBlocks(url) {
    let block;
    let ready = Promise.resolve();
    beforeEach(async ({ task }) => {
        const name = topLevelBlock(task);
        if (name !== block) {
            const isFirst = block === undefined;
            block = name;
            if (!isFirst) {
                ready = restart(url, name);
            }
        }
        await ready;
    }, 90_000);
}

function topLevelBlock(task) {
    let suite = task.suite;
    while (suite.suite) {
        suite = suite.suite;
    }
    return suite.name;
}

async function restart(url, name) {
    const answer = await fetch(url, { method: "POST", body: name });
    if (!answer.ok) {
        throw new Error(`restart before '${name}': ${await answer.text()}`);
    }
    // The dead process's sockets were closed before the new one started, so their ends wait in this process's poll;
    // after two rounds of its loop undici has taken them out of its pool.
    for (let round = 0; round < 2; round++) {
        await new Promise((resolve) => setTimeout(resolve, 10));
    }
}
