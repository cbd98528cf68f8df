// Bounds: a full disk, full memory, a log that cannot keep up. What is refused is certain, what
// frees space goes on, and nobody restarts anything.
#include <map>

#include "api/placement.h"
#include "base/limits.h"
#include "tests/unit/shard/trio.h"

namespace ursula::shard::test {

using api::AppendReply;
using api::Refusal;

namespace {

// Appends until the first refusal, which it returns.
Refusal append_until_refused(Node& node, std::string_view name, std::size_t size,
                             std::string& content) {
    for (int i = 0; i < 10'000; ++i) {
        const std::string body = pattern(size, content.size());
        const api::CallId id = node.append(name, body);
        node.run_until_answered(id);
        const api::Answer answer = node.take(id);
        if (const auto* refused = std::get_if<api::Refused>(&answer)) {
            return refused->why;
        }
        content += body;
        CHECK(std::get<AppendReply>(answer).tail == content.size());
    }
    return Refusal::none;
}

std::size_t count_events(Node& node, ShardEvent::Kind kind) {
    std::size_t count = 0;
    for (const ShardEvent& event : node.take_events()) {
        count += event.kind == kind ? 1 : 0;
    }
    return count;
}

}  // namespace

TEST_CASE("disk full: data is refused, the rest goes on, space ends it without a restart") {
    Node node(small_options());
    node.options().hot_bytes = 100 << 10;
    node.start();
    node.disk().set_capacity(1 << 20);
    std::map<std::string, std::string> streams{{"v1/a", ""}, {"v1/b", ""}, {"v1/c", ""}};
    for (const auto& [name, content] : streams) {
        node.wait<api::CreateReply>(node.create(name));
    }
    node.wait<AppendReply>(node.append_as("p", 0, 0, "v1/b", "first"));
    streams["v1/b"] = "first";
    CHECK(append_until_refused(node, "v1/a", 3000, streams["v1/a"]) == Refusal::disk_full);
    CHECK(streams["v1/a"].size() > 300'000);
    REQUIRE(node.shard().wal().state() == storage::Wal::State::full);
    node.run();
    CHECK(count_events(node, ShardEvent::Kind::disk_full) == 1);
    CHECK(node.shard().counters().refused_disk_full == 1);
    CHECK(node.shard().failure().empty());

    // Refused: whatever adds bytes. Answered: reads, duplicates, what is refused for itself.
    CHECK(node.refusal(node.append("v1/b", "x")) == Refusal::disk_full);
    CHECK(node.refusal(node.create("v1/new")) == Refusal::disk_full);
    CHECK(node.refusal(node.create_bucket("bucket")) == Refusal::disk_full);
    CHECK(node.refusal(node.append("v1/none", "x")) == Refusal::stream_not_found);
    CHECK(node.wait<AppendReply>(node.append_as("p", 0, 0, "v1/b", "first")).kind ==
          AppendReply::Kind::duplicate);
    for (const auto& [name, content] : streams) {
        const bool same = node.content(name) == content;
        CHECK(same);
    }
    // Closing and removing need a little of the reserve.
    CHECK(node.wait<AppendReply>(node.close("v1/c")).closed);
    node.wait<api::RemoveReply>(node.remove("v1/c"));
    streams.erase("v1/c");
    node.run(base::seconds(3));
    CHECK(node.shard().wal().state() == storage::Wal::State::full);

    // Someone makes space: within seconds appends are taken again.
    node.disk().set_capacity(3 << 20);
    node.run(base::seconds(3));
    CHECK(node.shard().wal().state() == storage::Wal::State::open);
    CHECK(count_events(node, ShardEvent::Kind::disk_ok_again) == 1);
    for (auto& [name, content] : streams) {
        content += "after";
        CHECK(node.tail_after(node.append(name, "after")) == content.size());
    }
    node.disk().set_capacity(UINT64_MAX);
    node.restart();
    CHECK(node.shard().stream_count() == 2);
    for (const auto& [name, content] : streams) {
        const bool same = node.content(name) == content;
        CHECK(same);
    }
}

TEST_CASE("disk full: removing streams frees segments, and appends are taken again") {
    Node node(small_options());
    node.options().snapshot_log_bytes = 64 << 10;
    node.options().reserve_bytes = 256 << 10;  // what snapshots live from
    node.start();
    node.disk().set_capacity(2 << 20);
    for (int life = 0; life < 3; ++life) {
        CAPTURE(life);
        node.wait<api::CreateReply>(node.create("v1/big"));
        node.wait<api::CreateReply>(node.create(
            numbered("v1/small", static_cast<std::uint64_t>(life)), "text/plain", "kept"));
        std::string content;
        CHECK(append_until_refused(node, "v1/big", 4000, content) == Refusal::disk_full);
        CHECK(content.size() > 500'000);
        const bool same = node.content("v1/big") == content;
        CHECK(same);
        const std::uint64_t segments = node.shard().wal().segment_count();
        node.wait<api::RemoveReply>(node.remove("v1/big"));
        node.run(base::seconds(5));
        CHECK(node.shard().wal().state() == storage::Wal::State::open);
        CHECK(node.shard().wal().segment_count() < segments / 2);
        for (int i = 0; i <= life; ++i) {
            CHECK(node.content(numbered("v1/small", static_cast<std::uint64_t>(i))) == "kept");
        }
    }
    node.restart();
    CHECK(node.shard().stream_count() == 3);
}

TEST_CASE("disk full in the middle of a turn of many: each call has one certain answer") {
    Node node(small_options());
    node.start();
    node.disk().set_capacity(600 << 10);
    node.wait<api::CreateReply>(node.create("v1/s"));
    std::string content;
    bool full = false;
    for (int turn = 0; !full; ++turn) {
        REQUIRE(turn < 1000);
        std::vector<std::pair<api::CallId, std::string>> calls;
        for (int i = 0; i < 20; ++i) {
            const std::string body = pattern(700, static_cast<std::uint64_t>(turn * 20 + i));
            calls.push_back({node.append("v1/s", body), body});
        }
        node.turn();
        for (const auto& [id, body] : calls) {
            node.run_until_answered(id);
            const api::Answer answer = node.take(id);
            if (const auto* refused = std::get_if<api::Refused>(&answer)) {
                CHECK(refused->why == Refusal::disk_full);
                full = true;
            } else {
                content += body;
                CHECK(std::get<AppendReply>(answer).tail == content.size());
            }
        }
    }
    CHECK(node.content("v1/s") == content);
    node.disk().set_capacity(UINT64_MAX);
    node.restart();
    CHECK(node.content("v1/s") == content);
}

TEST_CASE(
    "a log write that fails ends the shard in a sentence, and nothing is acknowledged after") {
    for (std::uint64_t seed = 1; seed <= 10; ++seed) {
        CAPTURE(seed);
        base::Random random(seed);
        Node node(small_options());
        node.start();
        node.wait<api::CreateReply>(node.create("v1/a", "text/plain", "before"));
        node.run();
        node.set_random(&random);
        node.disk().fail(storage::DiskOp::Kind::write, static_cast<std::uint32_t>(seed % 4), EIO);
        std::uint64_t acknowledged = 6;
        std::vector<api::CallId> calls;
        for (int i = 0; i < 20; ++i) {
            calls.push_back(node.append("v1/a", "x"));
            node.turn();
        }
        for (int i = 0; i < 50; ++i) {
            node.turn();
        }
        CHECK(node.shard().failure().find("the log could not be written: wal-") == 0);
        for (const api::CallId id : calls) {
            if (node.answered(id)) {
                CHECK(node.tail_after(id) == ++acknowledged);
            }
        }
        CHECK(acknowledged < 26);
        // What was acknowledged is still served, and is there after the next start.
        CHECK(node.content("v1/a").size() == acknowledged);
        node.set_random(nullptr);
        node.cut_power(random);
        node.start();
        const std::string content = node.content("v1/a");
        CHECK(content.size() >= acknowledged);
        CHECK(content == std::string("before") + std::string(content.size() - 6, 'x'));
    }
}

TEST_CASE("memory full on a node without a disk: refused, and freed by a removal") {
    Node node(small_options());
    node.options().hot_bytes = 512 << 10;
    node.use_memory();
    node.start();
    for (int life = 0; life < 3; ++life) {
        CAPTURE(life);
        node.wait<api::CreateReply>(node.create("v1/a"));
        node.wait<api::CreateReply>(node.create("v1/b", "application/json"));
        std::string content;
        CHECK(append_until_refused(node, "v1/a", 5000, content) == Refusal::memory_full);
        CHECK(content.size() > 300'000);
        CHECK(node.shard().hot_bytes_used() <= node.options().hot_bytes + (64 << 10));
        const bool same = node.content("v1/a") == content;
        CHECK(same);
        // Nothing is evicted, and what adds no bytes goes on.
        CHECK(node.refusal(node.append("v1/b", "[1]", "application/json")) == Refusal::memory_full);
        CHECK(node.refusal(node.append("v1/none", "x")) == Refusal::stream_not_found);
        CHECK(node.wait<AppendReply>(node.close("v1/b")).closed);
        CHECK(node.shard().counters().refused_memory_full ==
              2 * (static_cast<std::uint64_t>(life) + 1));
        node.wait<api::RemoveReply>(node.remove("v1/a"));
        node.wait<api::RemoveReply>(node.remove("v1/b"));
        CHECK(node.shard().hot_bytes_used() == 0);
    }
}

TEST_CASE("memory set aside for calls that added nothing is given back") {
    Node node(small_options());
    node.options().hot_bytes = 256 << 10;
    node.use_memory();
    node.start();
    node.wait<api::CreateReply>(node.create("v1/a"));
    const std::string body = pattern(60 << 10, 1);
    for (int i = 0; i < 50; ++i) {
        // The first touches the stream, so that the others are decided in apply: a duplicate, a
        // wrong type, a gap, a closed stream.
        const std::string name = numbered("v1/n", static_cast<std::uint64_t>(i));
        std::vector<api::CallId> calls{node.create(name), node.append_as("p", 0, 0, name, "x")};
        calls.push_back(node.append_as("p", 0, 0, name, body));
        calls.push_back(node.append(name, body, "text/html"));
        calls.push_back(node.append_as("p", 0, 5, name, body));
        node.turn();
        for (const api::CallId id : calls) {
            CHECK(node.answered(id));
        }
        node.wait<api::RemoveReply>(node.remove(name));
        node.forget_answers();
    }
    CHECK(node.shard().counters().refused_memory_full == 0);
    CHECK(node.tail_after(node.append("v1/a", pattern(200 << 10, 1))) == 200 << 10);
    // More than there is at all.
    CHECK(node.refusal(node.append("v1/a", pattern(300 << 10, 1))) == Refusal::memory_full);
    node.wait<api::RemoveReply>(node.remove("v1/a"));
    CHECK(node.shard().hot_bytes_used() == 0);
}

TEST_CASE("a group's uncommitted bytes are bounded, one entry of any size aside") {
    ShardOptions options = small_options();
    options.groups = 1;
    options.segment_bytes = 8 << 20;
    options.wal_batch_bytes_max = base::limits::wal_batch_bytes_max;
    options.wal_piece_bytes_max = base::limits::wal_piece_bytes_max;
    Node node(options);
    node.start();
    node.wait<api::CreateReply>(node.create("v1/s"));
    node.run();
    node.gate().held = true;
    const std::string body = pattern(2 << 20, 1);
    std::vector<api::CallId> calls;
    for (int i = 0; i < 12; ++i) {
        calls.push_back(node.append("v1/s", body));
        node.turn();
    }
    std::size_t refused = 0;
    for (const api::CallId id : calls) {
        if (node.answered(id)) {
            CHECK(node.refusal(id) == Refusal::overloaded);
            ++refused;
        }
    }
    CHECK(refused == calls.size() - (base::limits::uncommitted_bytes_max / body.size() - 1));
    CHECK(node.shard().counters().refused_overloaded == refused);
    // Small ones are taken while there is room.
    const api::CallId small = node.append("v1/s", "small");
    node.turn();
    CHECK(!node.answered(small));
    node.gate().held = false;
    CHECK(node.tail_after(small) == (calls.size() - refused) * body.size() + 5);
    const api::CallId after = node.append("v1/s", pattern(20 << 20, 2));
    node.wait<AppendReply>(after);
    node.restart();
    const auto head = node.wait<api::HeadReply>(node.head("v1/s"));
    CHECK(head.tail == (calls.size() - refused) * body.size() + 5 + (20 << 20));
}

TEST_CASE("a log that cannot keep up refuses at its staged bytes, and takes calls again after") {
    ShardOptions options = small_options();
    options.groups = 16;
    options.segment_bytes = 8 << 20;
    options.wal_batch_bytes_max = base::limits::wal_batch_bytes_max;
    options.wal_piece_bytes_max = base::limits::wal_piece_bytes_max;
    Node node(options);
    node.start();
    std::vector<std::string> names;
    for (std::uint64_t i = 0; i < 64; ++i) {
        names.push_back(numbered("v1/s", i));
        node.wait<api::CreateReply>(node.create(names.back()));
    }
    node.gate().held = true;
    const std::string body = pattern(1 << 20, 1);
    std::map<std::string, std::vector<api::CallId>> calls;
    std::size_t taken = 0;
    std::size_t refused = 0;
    for (std::size_t i = 0; i < 128; ++i) {
        const std::string& name = names[i % names.size()];
        const api::CallId id = node.append(name, body);
        node.turn();
        if (node.answered(id)) {
            CHECK(node.refusal(id) == Refusal::overloaded);
            ++refused;
        } else {
            calls[name].push_back(id);
            ++taken;
        }
    }
    CHECK(refused > 0);
    CHECK(taken * body.size() >= base::limits::wal_staged_bytes_max - 2 * body.size());
    CHECK(taken * body.size() <= base::limits::wal_staged_bytes_max + 2 * body.size());
    // Reads and early answers need no log.
    CHECK(node.refusal(node.append("v1/none", "x")) == Refusal::stream_not_found);
    node.gate().held = false;
    for (const auto& [name, ids] : calls) {
        for (std::size_t i = 0; i < ids.size(); ++i) {
            CHECK(node.tail_after(ids[i]) == (i + 1) * body.size());
        }
    }
    node.wait<AppendReply>(node.append(names[0], body));
    CHECK(node.shard().wal().staged_bytes() == 0);
}

TEST_CASE("a leader with a full disk hands over to who has room, and stays where nobody has") {
    ShardOptions options = small_options();
    options.spread_leaders = true;
    Trio trio(options);
    const std::string name = "v1/a";
    const base::GroupId group = api::group_of(name, options.groups);
    trio.settle();
    const std::size_t old = trio.leader(group);
    trio.wait<api::CreateReply>(old, trio.node(old).create(name));
    const auto is_full = [&trio](std::size_t number) {
        return trio.node(number).shard().wal().state() == storage::Wal::State::full;
    };
    // At most one append is refused: the one that finds out.
    const auto append_until = [&](const auto& condition) {
        std::size_t refused = 0;
        for (int i = 0; i < 2'000 && !condition(); ++i) {
            const std::size_t at = old % Trio::size + 1;
            const api::CallId call = trio.node(at).append(name, pattern(3000, 0));
            trio.run_until([&] { return trio.node(at).answered(call); });
            const api::Answer answer = trio.node(at).take(call);
            refused += std::holds_alternative<api::Refused>(answer) ? 1 : 0;
        }
        REQUIRE(condition());
        return refused;
    };
    trio.node(old).disk().set_capacity(1 << 20);
    append_until([&] { return is_full(old); });
    trio.run_until([&] {
        const std::size_t leads = trio.leader(group);
        return leads != 0 && leads != old;
    });
    const std::size_t next = trio.leader(group);
    CHECK(trio.wait<AppendReply>(next, trio.node(next).append(name, "more")).tail > 0);
    // It is not handed anything as long as it is full, whatever the spread of leaders wants.
    trio.run(base::seconds(15));
    for (std::uint32_t one = 0; one < options.groups; ++one) {
        CHECK(trio.leader(base::GroupId(one)) != old);
    }
    CHECK(is_full(old));

    // Where nobody has room the groups stay.
    for (std::size_t number = 1; number <= Trio::size; ++number) {
        trio.node(number).disk().set_capacity(1 << 20);
    }
    append_until([&] { return is_full(1) && is_full(2) && is_full(3); });
    trio.run(base::seconds(1));
    const auto hand_overs = [&trio] {
        std::uint64_t all = 0;
        for (std::size_t number = 1; number <= Trio::size; ++number) {
            all += trio.node(number).shard().counters().hand_overs;
        }
        return all;
    };
    const std::uint64_t before = hand_overs();
    trio.run(base::seconds(15));
    CHECK(hand_overs() == before);
    const std::size_t leads = trio.leader(group);
    CHECK(trio.refusal(leads, trio.node(leads).append(name, "x")) == Refusal::disk_full);

    // With space it leads again.
    for (std::size_t number = 1; number <= Trio::size; ++number) {
        trio.node(number).disk().set_capacity(UINT64_MAX);
    }
    trio.run_until([&] {
        for (std::uint32_t one = 0; one < options.groups; ++one) {
            if (trio.leader(base::GroupId(one)) == old) {
                return true;
            }
        }
        return false;
    });
    CHECK(trio.wait<AppendReply>(1, trio.node(1).append(name, "x")).tail > 0);
}

}  // namespace ursula::shard::test
