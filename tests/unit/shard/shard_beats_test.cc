// How nodes tell each other that they live: how often, how a late beat is asked for, and what a
// silence leads to.
#include <doctest/doctest.h>

#include "base/limits.h"
#include "raft/bounds.h"
#include "tests/unit/shard/trio.h"

namespace ursula::shard::test {

namespace {

namespace limits = base::limits;

std::uint64_t frames_sent(Trio& trio) {
    std::uint64_t sent = 0;
    for (std::size_t number = 1; number <= Trio::size; ++number) {
        sent += trio.node(number).shard().counters().frames_sent;
    }
    return sent;
}

// Nodes 1, which leads all, and 2; node 2 has just heard of node 1.
struct Pair {
    Trio trio;
    Pair() {
        trio.make_leader(base::GroupId(0), 1);
        trio.kill(3);
        trio.settle();
        trio.run(base::seconds(2));
        const std::uint64_t before = taken();
        trio.run_until([&] { return taken() > before; });
    }
    std::uint64_t taken() { return trio.node(2).shard().counters().frames_taken; }
    std::uint64_t sent() { return trio.node(2).shard().counters().frames_sent; }
    bool is_silent() { return trio.node(2).shard().group(base::GroupId(0)).status().leader_silent; }
};

}  // namespace

TEST_CASE("an idle pair of nodes exchanges at most ten frames a second") {
    Trio trio;
    trio.settle();
    trio.run(base::seconds(2));
    const std::uint64_t before = frames_sent(trio);
    trio.run(base::seconds(10));
    const std::uint64_t frames = frames_sent(trio) - before;
    CHECK(frames <= 3 * 10 * 10);
    CHECK(frames >= 3 * 10 * 8);
}

TEST_CASE("a beat that was lost is asked for, well before its sender is taken for dead") {
    Pair pair;
    const std::uint64_t taken = pair.taken();
    pair.trio.way(1, 2).cut = true;
    pair.trio.run(base::milliseconds(limits::beat_interval_ms + 5));
    pair.trio.way(1, 2).cut = false;
    pair.trio.run(base::milliseconds(limits::beat_ask_after_ms - limits::beat_interval_ms - 10));
    CHECK(pair.taken() == taken);
    pair.trio.run(base::milliseconds(10));
    CHECK(pair.taken() == taken + 1);
}

TEST_CASE("who does not answer is asked again, and is dead after the silence") {
    Pair pair;
    const std::uint64_t sent = pair.sent();
    pair.trio.way(1, 2).cut = true;
    pair.trio.run(base::milliseconds(raft::limits::silence_timeout.ms() - 5));
    CHECK(!pair.is_silent());
    CHECK(pair.sent() - sent >= 3);
    CHECK(pair.sent() - sent <= 4);  // the beats, and two questions
    pair.trio.run(base::milliseconds(10));
    CHECK(pair.is_silent());
}

TEST_CASE("a leader that falls silent has a successor within the silence and one election") {
    Trio trio;
    const base::GroupId group(0);
    for (int times = 0; times < 10; ++times) {
        trio.settle();
        trio.run(base::milliseconds(700 + times * 37));
        const std::size_t old = trio.leader(group);
        trio.isolate(old, true);
        std::int64_t ms = 0;
        const auto succeeded = [&] {
            for (std::size_t number = 1; number <= Trio::size; ++number) {
                if (number != old && trio.node(number).shard().group(group).is_leader()) {
                    return true;
                }
            }
            return false;
        };
        for (; !succeeded() && ms < 5000; ++ms) {
            trio.step();
        }
        CHECK(ms <= (raft::limits::silence_timeout + raft::limits::election_spread).ms() + 30);
        trio.isolate(old, false);
    }
}

}  // namespace ursula::shard::test
