// DESIGN "Always": a warm append allocates nothing. Counted around Shard::advance; what the
// simulated disk itself allocates is taken off.
#include "base/limits.h"
#include "tests/support/count_allocations.h"
#include "tests/unit/shard/shard_node.h"

namespace ursula::shard::test {

namespace {

// Calls whose views live as long as this: `streams` appends per turn, the same every turn but for
// the producer's seq.
struct Workload {
    std::vector<std::string> names;
    std::string body;
    std::string type = "text/plain";
    bool producer = false;
    bool json = false;
    std::vector<api::Call> calls;
    std::uint64_t seq = 0;

    void make(Node& node, std::size_t streams, std::string_view content) {
        body = content;
        type = json ? "application/json" : "text/plain";
        for (std::size_t i = 0; i < streams; ++i) {
            names.push_back(numbered("v1/stream-", i));
            node.wait<api::CreateReply>(node.create(names.back(), type));
        }
        for (const std::string& name : names) {
            api::AppendCall append;
            append.key = node.key(name);
            append.key.name = name;
            append.content_type = type;
            append.has_content_type = true;
            append.body = base::as_bytes(body);
            api::Call call;
            call.id = api::CallId(1'000'000 + calls.size());
            call.verb = append;
            calls.push_back(call);
        }
    }
    void next() {
        for (api::Call& call : calls) {
            if (producer) {
                std::get<api::AppendCall>(call.verb).producer = {true, "producer", 0, seq};
            }
        }
        ++seq;
    }
};

struct Turns {
    std::uint64_t allocations = 0;
    std::uint64_t appended = 0;
};

Turns run_turns(Node& node, Workload& workload, int turns) {
    Turns result;
    std::vector<api::Reply> replies;
    std::vector<api::Call> internal;
    replies.reserve(64);
    base::Now now = node.now();
    for (int i = 0; i < turns; ++i) {
        workload.next();
        replies.clear();
        now.mono = now.mono + base::microseconds(100);
        const std::uint64_t by_disk = node.on_memory() ? 0 : node.gate().allocations;
        const std::uint64_t before = test_support::allocations();
        node.shard().advance(workload.calls, now, replies, internal);
        result.allocations += test_support::allocations() - before;
        result.allocations -= node.on_memory() ? 0 : node.gate().allocations - by_disk;
        for (const api::Reply& reply : replies) {
            result.appended += std::holds_alternative<api::AppendReply>(reply.answer) ? 1 : 0;
        }
    }
    node.pass(base::microseconds(100) * turns);
    return result;
}

// Warms up and then counts. What keeps the payload grows by steps, which are not the append's: a
// stream's location block at its 256th and 1024th append, its hot chunk at about 16 and 64 KiB. The
// counted turns, appends 430 to 830 of about 40 bytes, lie between them.
void check_no_allocations(bool memory, bool producer, bool json, std::size_t streams) {
    CAPTURE(memory);
    CAPTURE(producer);
    CAPTURE(json);
    CAPTURE(streams);
    Node node(small_options());
    // As in the product, and no segment ends while turns are counted.
    node.options().segment_bytes = 4 << 20;
    node.options().wal_batch_bytes_max = base::limits::wal_batch_bytes_max;
    node.options().wal_piece_bytes_max = base::limits::wal_piece_bytes_max;
    node.options().hot_bytes = 64 << 20;
    if (memory) {
        node.use_memory();
    }
    node.start();
    Workload workload;
    workload.producer = producer;
    workload.json = json;
    workload.make(node, streams,
                  json ? "{\"key\": [1, 2.5, \"three\"], \"more\": null}" : pattern(40, 1));
    node.run(base::seconds(1));
    run_turns(node, workload, 430);
    const Turns counted = run_turns(node, workload, 400);
    CHECK(counted.appended == 400 * streams);
    CHECK(counted.allocations == 0);
}

}  // namespace

TEST_CASE("a warm append allocates nothing, in memory and on disk") {
    for (const bool memory : {true, false}) {
        for (const std::size_t streams : {std::size_t{1}, std::size_t{6}}) {
            check_no_allocations(memory, false, false, streams);
            check_no_allocations(memory, true, false, streams);
            check_no_allocations(memory, false, true, streams);
        }
    }
}

TEST_CASE("when hot payload is evicted its memory serves the next") {
    Node node(small_options());
    node.options().segment_bytes = 8 << 20;
    node.options().wal_batch_bytes_max = base::limits::wal_batch_bytes_max;
    node.options().wal_piece_bytes_max = base::limits::wal_piece_bytes_max;
    node.options().hot_bytes = 512 << 10;
    node.start();
    Workload workload;
    workload.make(node, 1, pattern(4000, 1));
    node.run(base::seconds(1));
    run_turns(node, workload, 270);
    const Turns counted = run_turns(node, workload, 400);  // 1.6 MB, three times what may stay
    CHECK(counted.appended == 400);
    CHECK(counted.allocations == 0);
}

}  // namespace ursula::shard::test
