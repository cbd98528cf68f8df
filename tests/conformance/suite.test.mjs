// The official suite's own runner skips itself when it lies under node_modules; this file is what vitest runs.
// tests/conformance/run.py starts the server and says where it is.
import { runConformanceTests } from "@durable-streams/server-conformance-tests";

const baseUrl = process.env.CONFORMANCE_URL;
if (!baseUrl) {
    throw new Error("CONFORMANCE_URL is not set: start this through tests/conformance/run.py");
}

// The server's long-poll ends after 500 ms; the limit given here only bounds the suite's own patience.
runConformanceTests({ baseUrl, longPollTimeoutMs: 4000, subscriptions: true });
