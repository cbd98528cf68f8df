// What is too large for a frame: entries and forwarded calls go in parts, and the rest in between.
#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "api/placement.h"
#include "base/limits.h"
#include "tests/unit/shard/trio.h"

namespace ursula::shard::test {

namespace {

using api::AppendReply;
using api::Refusal;

constexpr std::size_t part_bytes = 1000;
constexpr std::size_t large_bytes = 300 * part_bytes;

ShardOptions options_in_parts() {
    ShardOptions options = small_options();
    options.frame_part_bytes = part_bytes;
    options.segment_bytes = 8 << 20;
    options.wal_batch_bytes_max = base::limits::wal_batch_bytes_max;
    options.wal_piece_bytes_max = base::limits::wal_piece_bytes_max;
    return options;
}

// Node 1 leads both groups: that of `name` and that of `other`.
struct Started {
    Trio trio{options_in_parts()};
    std::string name = "v1/s";
    base::GroupId group = api::group_of(name, small_options().groups);
    std::string other;
    std::string body = pattern(large_bytes, 1);

    Started() {
        for (std::uint64_t i = 0; other.empty(); ++i) {
            const std::string one = numbered("v1/other", i);
            other = api::group_of(one, small_options().groups) == group ? other : one;
        }
        const base::GroupId second = api::group_of(other, small_options().groups);
        for (int tries = 0; trio.leader(group) != 1 || trio.leader(second) != 1; ++tries) {
            REQUIRE(tries < 40);
            trio.make_leader(group, 1);
            trio.make_leader(second, 1);
        }
        trio.wait<api::CreateReply>(1, trio.node(1).create(name));
        trio.wait<api::CreateReply>(1, trio.node(1).create(other));
        trio.settle();
    }
    const ShardCounters& counters(std::size_t number) {
        return trio.node(number).shard().counters();
    }
    std::string content(std::size_t number) {
        std::string all;
        for (;;) {
            const api::CallId read = trio.node(number).read(name, all.size(), 1 << 20);
            const auto reply = trio.wait<api::ReadReply>(number, read);
            all += text_of(reply.pieces);
            if (reply.up_to_date) {
                return all;
            }
        }
    }
    // Milliseconds until it is answered.
    int time_of(std::size_t number, api::CallId call) {
        int ms = 0;
        for (; !trio.node(number).answered(call) && ms < 20'000; ++ms) {
            trio.step();
        }
        return ms;
    }
};

}  // namespace

TEST_CASE("a large body goes in parts, and small ones do not wait for it") {
    for (const std::size_t number : {std::size_t{1}, std::size_t{2}}) {
        CAPTURE(number);
        Started s;
        const api::CallId large = s.trio.node(number).append(s.name, s.body);
        s.trio.run(base::milliseconds(20));
        int slowest = 0;
        int answered = 0;
        while (!s.trio.node(number).answered(large)) {
            for (const std::size_t asked : {std::size_t{2}, std::size_t{3}}) {
                const api::CallId small = s.trio.node(asked).append(s.other, "x");
                slowest = std::max(slowest, s.time_of(asked, small));
                s.trio.wait<AppendReply>(asked, small);
                ++answered;
            }
            REQUIRE(answered < 10'000);
        }
        CHECK(s.trio.wait<AppendReply>(number, large).tail == large_bytes);
        CHECK(answered > 20);
        CHECK(slowest < 15);
        CHECK(s.counters(1).large_items_sent == 2);  // to each follower
        CHECK(s.counters(number).large_items_sent == (number == 1 ? 2 : 1));
        const bool same = s.content(3) == s.body;
        CHECK(same);
    }
}

TEST_CASE("calls of one group keep their order, whatever their size and whatever frames do") {
    Started s;
    for (const std::size_t from : {std::size_t{2}, std::size_t{3}}) {
        s.trio.way(from, 1).doubled = true;
        s.trio.way(1, from).doubled = true;
    }
    std::string all;
    std::vector<api::CallId> calls;
    for (std::uint64_t i = 0; i < 12; ++i) {
        const std::string body = pattern(i % 3 == 1 ? 40 * part_bytes : 10 + i, i);
        all += body;
        calls.push_back(s.trio.node(2).append(s.name, body));
        if (i % 4 == 3) {
            s.trio.step();
        }
    }
    std::uint64_t before = 0;
    for (const api::CallId call : calls) {
        const std::uint64_t tail = s.trio.wait<AppendReply>(2, call).tail;
        CHECK(tail > before);
        before = tail;
    }
    const bool same = s.content(3) == all;
    CHECK(same);
    CHECK(s.counters(2).large_items_sent == 4);
    CHECK(s.counters(2).forwards_failed == 0);
}

TEST_CASE("parts that are lost: the entry is sent again, and nothing is half there") {
    Started s;
    const api::CallId large = s.trio.node(1).append(s.name, s.body);
    s.trio.run(base::milliseconds(50));
    for (const std::size_t to : {std::size_t{2}, std::size_t{3}}) {
        s.trio.way(1, to).cut = true;
    }
    s.trio.run(base::milliseconds(20));
    for (const std::size_t to : {std::size_t{2}, std::size_t{3}}) {
        s.trio.way(1, to).cut = false;
    }
    CHECK(s.trio.wait<AppendReply>(1, large).tail == large_bytes);
    CHECK(s.counters(1).large_items_sent > 2);
    s.trio.settle();
    for (std::size_t number = 1; number <= Trio::size; ++number) {
        const bool same = s.content(number) == s.body;
        CHECK(same);
    }
}

TEST_CASE("a connection that begins anew in the middle of a large call") {
    Started s;
    const api::CallId large = s.trio.node(2).append(s.name, s.body);
    s.trio.run(base::milliseconds(50));
    const api::CallId behind = s.trio.node(2).append(s.name, "behind");
    s.trio.run(base::milliseconds(20));
    s.trio.reset(1, 2);
    CHECK(s.trio.refusal(2, large) == Refusal::outcome_unknown);
    CHECK(s.trio.wait<AppendReply>(2, behind).tail == 6);
    // Another one comes through, all of it.
    CHECK(s.trio.wait<AppendReply>(2, s.trio.node(2).append(s.name, s.body)).tail ==
          large_bytes + 6);
    const bool same = s.content(3) == "behind" + s.body;
    CHECK(same);
}

TEST_CASE("the leader is another one before a large entry has reached anybody") {
    Started s;
    const api::CallId large = s.trio.node(1).append(s.name, s.body);
    s.trio.run(base::milliseconds(50));
    s.trio.isolate(1, true);
    std::size_t next = 0;
    s.trio.run_until([&] {
        for (const std::size_t one : {std::size_t{2}, std::size_t{3}}) {
            next = s.trio.node(one).shard().group(s.group).is_leader() ? one : next;
        }
        return next != 0;
    });
    s.trio.wait<AppendReply>(next, s.trio.node(next).append(s.name, "first"));
    s.trio.isolate(1, false);
    s.trio.settle();
    CHECK(s.trio.refusal(1, large) == Refusal::outcome_unknown);
    CHECK(s.trio.wait<AppendReply>(1, s.trio.node(1).append(s.name, s.body)).tail ==
          large_bytes + 5);
    for (std::size_t number = 1; number <= Trio::size; ++number) {
        const bool same = s.content(number) == "first" + s.body;
        CHECK(same);
    }
}

TEST_CASE("two large bodies for one node go one after the other, entries before calls") {
    Started s;
    const base::GroupId second = api::group_of(s.other, small_options().groups);
    for (int tries = 0; s.trio.leader(second) != 2 || s.trio.leader(s.group) != 1; ++tries) {
        REQUIRE(tries < 40);
        s.trio.make_leader(second, 2);
        s.trio.make_leader(s.group, 1);
    }
    // Node 1 replicates its own to node 2 and forwards the other there.
    std::vector<api::CallId> own;
    std::vector<api::CallId> forwarded;
    for (std::uint64_t i = 0; i < 4; ++i) {
        own.push_back(s.trio.node(1).append(s.name, pattern(30 * part_bytes, i)));
        forwarded.push_back(s.trio.node(1).append(s.other, pattern(30 * part_bytes, i)));
        s.trio.step();
    }
    for (std::size_t i = 0; i < 4; ++i) {
        CHECK(s.trio.wait<AppendReply>(1, own[i]).tail == (i + 1) * 30 * part_bytes);
        CHECK(s.trio.wait<AppendReply>(1, forwarded[i]).tail == (i + 1) * 30 * part_bytes);
    }
    CHECK(s.counters(1).forwards_failed == 0);
}

TEST_CASE("what waits behind a large call is not refused for that") {
    Started s;
    // Slower than a call may wait for a leader: its parts come through in spurts.
    const api::CallId large = s.trio.node(2).append(s.name, s.body);
    const api::CallId small = s.trio.node(2).append(s.name, "small");
    const base::Instant begin = s.trio.node(2).now().mono;
    for (int i = 0; i < 20; ++i) {
        s.trio.way(2, 1).held = true;
        s.trio.run(base::milliseconds(150));
        s.trio.way(2, 1).held = false;
        s.trio.run(base::milliseconds(3));
    }
    CHECK((s.trio.node(2).now().mono - begin).ms() > base::limits::leader_wait_ms);
    CHECK(s.trio.wait<AppendReply>(2, large).tail == large_bytes);
    CHECK(s.trio.wait<AppendReply>(2, small).tail == large_bytes + 5);
}

}  // namespace ursula::shard::test
