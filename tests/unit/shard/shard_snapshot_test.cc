// Snapshots while everything goes on: what a restart replays, which segments are recycled and which
// must stay.
#include <algorithm>
#include <map>
#include <set>

#include "tests/unit/shard/shard_node.h"

namespace ursula::shard::test {

using api::AppendReply;

namespace {

using Contents = std::map<std::string, std::string>;

void check_contents(Node& node, const Contents& contents) {
    CHECK(node.shard().stream_count() == contents.size());
    for (const auto& stream : contents) {
        CAPTURE(stream.first);
        const bool same = node.content(stream.first) == stream.second;
        CHECK(same);
    }
}

// Some work: appends mostly, now and then a new stream or one less.
void work(Node& node, base::Random& random, Contents& contents, int turns, bool large = true) {
    for (int turn = 0; turn < turns; ++turn) {
        for (std::uint64_t calls = random.between(1, 4); calls > 0; --calls) {
            const std::string name = numbered("v1/s", random.below(12));
            if (contents.count(name) == 0) {
                node.create(name);
                contents[name] = "";
            } else if (random.chance(1, 12)) {
                node.remove(name);
                contents.erase(name);
            } else {
                // Drawn in this order by every compiler.
                const bool is_large = large && random.chance(1, 10);
                const std::size_t size =
                    is_large ? random.between(3000, 20'000) : random.between(1, 600);
                const std::string body = pattern(size, random.next());
                node.append(name, body);
                contents[name] += body;
            }
        }
        node.turn();
    }
}

}  // namespace

TEST_CASE("a state restored from snapshots is the state that was, and nothing is replayed") {
    for (std::uint64_t seed = 1; seed <= 10; ++seed) {
        CAPTURE(seed);
        base::Random random(seed);
        Node node(small_options());
        node.options().snapshot_log_bytes = 1;
        node.start();
        Contents contents;
        for (int life = 0; life < 4; ++life) {
            work(node, random, contents, 60);
            node.run(base::seconds(2));
            CHECK(node.shard().counters().snapshots > 0);
            CHECK(node.shard().wal().uncovered_bytes() < (128 << 10));
            const std::uint64_t hash = node.shard().state_hash();
            const bool all_covered = node.shard().wal().uncovered_bytes() == 0;
            node.kill();
            const base::Result<BootReport> report = node.try_start();
            REQUIRE(report.has_value());
            CHECK(report->damaged_snapshots.empty());
            if (all_covered) {
                CHECK(report->entries == 0);
                CHECK(node.shard().state_hash() == hash);
            }
            node.run_until_ready();
            CHECK(node.shard().stream_count() == contents.size());
            check_contents(node, contents);
        }
    }
}

TEST_CASE("a start's state, before it leads, is one that the group went through") {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        CAPTURE(seed);
        base::Random random(seed);
        Node node(small_options());
        node.options().groups = 1;
        node.options().snapshot_log_bytes = seed % 2 == 0 ? 1 : 1 << 30;
        node.start();
        Contents contents;
        std::set<std::uint64_t> hashes;
        for (int life = 0; life < 3; ++life) {
            hashes.insert(node.shard().state_hash());
            for (int turn = 0; turn < 30; ++turn) {
                // Small appends and quiet before each turn: every entry and image is then made of
                // a state that is looked at here.
                node.run(base::Duration{});
                hashes.insert(node.shard().state_hash());
                work(node, random, contents, 1, false);
            }
            node.run(base::Duration{});
            node.kill();
            REQUIRE(node.try_start().has_value());
            CHECK(hashes.count(node.shard().state_hash()) == 1);
            node.run_until_ready();
            check_contents(node, contents);
        }
    }
}

TEST_CASE("a restart after a snapshot replays what is newer, and only that") {
    Node node(small_options());
    node.options().snapshot_log_bytes = 1;
    node.start();
    Contents contents;
    base::Random random(5);
    work(node, random, contents, 200);
    node.run(base::seconds(2));
    REQUIRE(node.shard().wal().uncovered_bytes() == 0);
    node.options().snapshot_log_bytes = 1 << 30;
    BootReport report = node.restart();
    CHECK(report.entries == 0);
    // Each group's noop, then one entry per append that is waited for.
    const std::string name = contents.begin()->first;
    for (int appends = 0; appends < 7; ++appends) {
        node.wait<AppendReply>(node.append(name, "new"));
        contents[name] += "new";
    }
    report = node.restart();
    CHECK(report.entries == 4 + 7);
    check_contents(node, contents);
    // Nothing was lost from the log meanwhile: the second start reads the same and its own noops.
    report = node.restart();
    CHECK(report.entries == 4 + 7 + 4);
    check_contents(node, contents);
}

TEST_CASE("segments of dead payload are recycled, those with live payload stay") {
    Node node(small_options());
    node.options().snapshot_log_bytes = 1;
    node.start();
    Contents contents{{"v1/keep", pattern(5000, 1)}};
    node.wait<api::CreateReply>(node.create("v1/keep", "text/plain", contents["v1/keep"]));
    for (std::uint64_t i = 0; i < 40; ++i) {
        const std::string name = numbered("v1/brief", i);
        node.wait<api::CreateReply>(node.create(name, "text/plain", pattern(20'000, i)));
        node.wait<api::RemoveReply>(node.remove(name));
    }
    node.run(base::seconds(2));
    const storage::Wal& wal = node.shard().wal();
    CHECK(wal.has_segment(storage::SegmentId(1)));
    CHECK(wal.segment_count() <= 4);
    CHECK(wal.counters().segments_recycled >= 8);
    CHECK(node.shard().live_bytes() == 5000);
    check_contents(node, contents);
    node.restart();
    check_contents(node, contents);
    CHECK(node.shard().wal().has_segment(storage::SegmentId(1)));
    CHECK(node.disk().everything().files.count("wal-0000000001") == 1);
    // The last live bytes go: with the next round the segment, too.
    node.wait<api::RemoveReply>(node.remove("v1/keep"));
    contents.clear();
    node.run(base::seconds(2));
    node.wait<api::CreateReply>(node.create("v1/last", "text/plain", "x"));
    contents["v1/last"] = "x";
    node.run(base::seconds(2));
    CHECK(!node.shard().wal().has_segment(storage::SegmentId(1)));
    CHECK(node.disk().everything().files.count("wal-0000000001") == 0);
    node.restart();
    check_contents(node, contents);
}

TEST_CASE("a group that went idle does not keep old segments") {
    Node node(small_options());
    node.options().snapshot_log_bytes = 200 << 10;
    node.start();
    // One entry in each group at the log's begin, then only one group goes on.
    for (std::uint64_t i = 0; i < 20; ++i) {
        const std::string name = numbered("v1/idle", i);
        node.wait<api::CreateReply>(node.create(name));
        node.wait<api::RemoveReply>(node.remove(name));
    }
    for (std::uint64_t i = 0; i < 100; ++i) {
        node.wait<api::CreateReply>(node.create("v1/busy", "text/plain", pattern(10'000, i)));
        node.wait<api::RemoveReply>(node.remove("v1/busy"));
    }
    node.run(base::seconds(2));
    CHECK(!node.shard().wal().has_segment(storage::SegmentId(1)));
    CHECK(node.shard().wal().segment_count() <= 8);
    node.restart();
    CHECK(node.shard().stream_count() == 0);
}

TEST_CASE("a read in flight pins its segment, though stream and payload are gone") {
    Node node(small_options());
    node.options().snapshot_log_bytes = 1;
    node.start();
    const std::string body = pattern(30'000, 1);
    node.wait<api::CreateReply>(node.create("v1/s", "text/plain", body));
    node.run(base::seconds(1));
    node.restart();
    REQUIRE(node.shard().wal().has_segment(storage::SegmentId(1)));
    node.gate().holds_reads_of = "wal-0000000001";
    const api::CallId read = node.read("v1/s", 0, 1);
    node.turn();
    node.wait<api::RemoveReply>(node.remove("v1/s"));
    for (std::uint64_t i = 0; i < 20; ++i) {
        const std::string name = numbered("v1/flood", i);
        node.wait<api::CreateReply>(node.create(name, "text/plain", pattern(10'000, i)));
        node.wait<api::RemoveReply>(node.remove(name));
    }
    node.run(base::seconds(2));
    CHECK(node.shard().counters().snapshots > 4);
    CHECK(!node.answered(read));
    CHECK(node.shard().wal().has_segment(storage::SegmentId(1)));
    node.gate().holds_reads_of.clear();
    const bool same = text_of(node.wait<api::ReadReply>(read).pieces) == body;
    CHECK(same);
    node.run(base::seconds(2));
    CHECK(!node.shard().wal().has_segment(storage::SegmentId(1)));
}

TEST_CASE("a snapshot that fails is told, tried again, and costs nothing") {
    Node node(small_options());
    node.options().snapshot_log_bytes = 1;
    node.start();
    Contents contents;
    base::Random random(9);
    work(node, random, contents, 100);
    node.run(base::seconds(2));
    REQUIRE(node.shard().wal().uncovered_bytes() == 0);
    node.take_events();
    // No space for another file, while the log still has its segments.
    std::uint64_t used = 0;
    for (const auto& [name, bytes] : node.disk().everything().files) {
        used += bytes.size();
    }
    node.disk().set_capacity(used);
    const std::uint64_t before = node.shard().counters().snapshots;
    node.wait<api::CreateReply>(node.create("v1/x", "text/plain", "not in a snapshot"));
    contents["v1/x"] = "not in a snapshot";
    node.run(base::milliseconds(3500));
    std::size_t failed = 0;
    for (const ShardEvent& event : node.take_events()) {
        failed += event.kind == ShardEvent::Kind::snapshot_failed ? 1 : 0;
    }
    CHECK(failed >= 3);  // once a second
    CHECK(failed <= 5);
    CHECK(node.shard().counters().snapshots == before);
    CHECK(node.shard().failure().empty());
    check_contents(node, contents);
    node.disk().set_capacity(UINT64_MAX);
    node.run(base::seconds(3));
    CHECK(node.shard().counters().snapshots > before);
    CHECK(node.shard().wal().uncovered_bytes() == 0);
    CHECK(node.restart().entries == 0);
    check_contents(node, contents);
}

TEST_CASE("a round goes on by itself, however large the image") {
    Node node(small_options());
    node.options().groups = 1;
    node.options().snapshot_log_bytes = 1 << 30;
    node.start();
    // An image of several slices.
    for (std::uint64_t i = 0; i < 4000; ++i) {
        node.create(numbered("v1/a-name-that-is-not-so-short-and-takes-some-bytes/", i));
        if (i % 200 == 199) {
            node.turn();
        }
    }
    node.run();
    node.options().snapshot_log_bytes = 1;
    node.restart();
    node.run(base::seconds(1));
    CHECK(node.shard().counters().snapshots == 1);
    node.restart();
    CHECK(node.shard().stream_count() == 4000);
}

}  // namespace ursula::shard::test
