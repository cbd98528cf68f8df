#include "storage/wal.h"

#include <doctest/doctest.h>

#include "base/crc32c.h"
#include "base/random.h"
#include "log_driver.h"
#include "sim/sim_disk.h"
#include "storage/memory_disk.h"

namespace ursula::storage {
namespace {

using base::EntryId;
using base::GroupId;
using base::Instant;
using base::LogIndex;
using base::NodeId;
using base::Term;
using sim::SimDisk;

constexpr std::uint64_t test_salt = 0x1234567890abcdefu;

WalOptions small_options() {
    WalOptions options;
    options.salt = test_salt;
    options.group_count = 8;
    options.segment_bytes = 64 * 1024;
    options.batch_bytes_max = 16 * 1024;
    options.piece_bytes_max = 4 * 1024;
    return options;
}

struct Recovered {
    Collected entries;
    RecoveredLog log;
};

Recovered recover_all(Disk& disk, std::vector<EntryId> snapshots = {}) {
    Recovered result;
    RecoveryOptions options;
    options.salt = test_salt;
    options.group_count = 8;
    options.snapshots = snapshots;
    base::Result<RecoveredLog> log = recover(disk, options, result.entries);
    if (!log) {
        FAIL(log.error().message);
    }
    result.log = std::move(*log);
    return result;
}

std::unique_ptr<Wal> start(Disk& disk, RecoveredLog log = {},
                           WalOptions options = small_options()) {
    base::Result<std::unique_ptr<Wal>> wal = Wal::start(disk, options, std::move(log));
    if (!wal) {
        FAIL(wal.error().message);
    }
    return std::move(*wal);
}

std::string text(std::size_t size, char seed) {
    std::string result(size, seed);
    for (std::size_t i = 0; i < size; ++i) {
        result[i] = static_cast<char>('a' + (i * 7 + static_cast<std::size_t>(seed)) % 26);
    }
    return result;
}

// As after a clean end: what was in flight is forgotten, everything written is there.
void reopen(SimDisk& disk, std::unique_ptr<Wal>& wal) {
    disk = SimDisk(disk.everything());
    wal.reset();
}

std::string body_text(const Wal& wal, std::uint32_t group, std::uint64_t index) {
    return std::string(base::as_text(wal.body(GroupId(group), LogIndex(index))));
}

TEST_CASE("what is persisted comes back, per group and in order") {
    SimDisk disk;
    Instant now{};
    auto wal = start(disk);
    wal->stage_hard_state(GroupId(3), Term(2), NodeId(1));
    for (std::uint64_t i = 1; i <= 100; ++i) {
        stage(*wal, 3, 2, i, text(i * 3, 'x'), static_cast<std::uint8_t>(i));
        stage(*wal, 5, 1, i, text(i, 'y'));
        if (i % 10 == 0) {
            wal->flush(now);
            reap(disk, now);
        }
    }
    const std::vector<Persisted> persisted = settle(*wal, disk, now);
    REQUIRE(!persisted.empty());
    CHECK(wal->staged_bytes() == 0);
    CHECK(body_text(*wal, 3, 50) == text(150, 'x'));
    Recovered again = recover_all(disk);
    REQUIRE(again.entries.groups[3].size() == 100);
    REQUIRE(again.entries.groups[5].size() == 100);
    for (std::uint64_t i = 1; i <= 100; ++i) {
        CHECK(again.entries.groups[3][i - 1] ==
              Entry{{Term(2), LogIndex(i)}, static_cast<std::uint8_t>(i), text(i * 3, 'x')});
    }
    REQUIRE(again.log.groups.size() == 2);
    CHECK(again.log.groups[0].term == Term(2));
    CHECK(again.log.groups[0].vote == NodeId(1));
    CHECK(again.log.groups[0].last == EntryId{Term(2), LogIndex(100)});
}

TEST_CASE("nothing counts as persisted before its write completes, and only in log order") {
    SimDisk disk;
    Instant now{};
    auto wal = start(disk);
    stage(*wal, 1, 1, 1, "one");
    wal->flush(now);
    stage(*wal, 1, 1, 2, "two");
    wal->flush(now);
    CHECK(disk.in_flight() >= 2);
    std::vector<Persisted> persisted;
    wal->take_persisted(persisted);
    CHECK(persisted.empty());
    // A third write waits for a slot.
    stage(*wal, 1, 1, 3, "three");
    wal->flush(now);
    const std::size_t in_flight = disk.in_flight();
    wal->flush(now);
    CHECK(disk.in_flight() == in_flight);
    reap(disk, now);
    wal->take_persisted(persisted);
    REQUIRE(persisted.size() == 2);
    CHECK(persisted[0].last.index == LogIndex(1));
    CHECK(persisted[1].last.index == LogIndex(2));
}

TEST_CASE("large bodies go in pieces between other groups' records and are one entry again") {
    SimDisk disk;
    Instant now{};
    auto wal = start(disk);
    const std::string large = text(50'000, 'L');
    stage(*wal, 1, 1, 1, large);
    stage(*wal, 1, 1, 2, "behind it");
    stage(*wal, 2, 1, 1, "not behind it");
    CHECK(body_text(*wal, 1, 1) == large);
    std::vector<Persisted> persisted = settle(*wal, disk, now);
    REQUIRE(persisted.size() >= 2);
    CHECK(persisted.front().group == GroupId(2));
    std::vector<Location> pieces;
    wal->locate(GroupId(1), LogIndex(1), 1000, 30'000, pieces);
    CHECK(pieces.size() > 3);
    std::string read_back;
    for (const Location& piece : pieces) {
        std::vector<std::byte> bytes(piece.size);
        ReadRequest request;
        request.segment = piece.segment;
        request.position = piece.position;
        request.buffer = bytes;
        wal->read(request);
        std::vector<ReadRequest*> done;
        reap(disk, now);
        wal->take_reads(done);
        REQUIRE(done.size() == 1);
        CHECK_MESSAGE(!request.failed, request.error);
        read_back += base::as_text(bytes);
    }
    CHECK(read_back == large.substr(1000, 30'000));
    Recovered again = recover_all(disk);
    REQUIRE(again.entries.groups[1].size() == 2);
    CHECK(again.entries.groups[1][0].body == large);
    CHECK(again.entries.groups[1][1].body == "behind it");
}

TEST_CASE("many segments, restarts in between") {
    SimDisk disk;
    Instant now{};
    std::uint64_t next = 1;
    RecoveredLog log;
    for (int life = 0; life < 5; ++life) {
        auto wal = start(disk, std::move(log));
        for (int i = 0; i < 100; ++i) {
            stage(*wal, 4, 1, next, text(1000, static_cast<char>(next)));
            ++next;
            settle(*wal, disk, now);
        }
        CHECK(wal->segment_count() >= 2);
        reopen(disk, wal);
        Recovered again = recover_all(disk);
        REQUIRE(again.entries.groups[4].size() == next - 1);
        CHECK(again.entries.groups[4].back().body == text(1000, static_cast<char>(next - 1)));
        log = std::move(again.log);
    }
}

TEST_CASE("a log of several read windows: batches of every size across their edges") {
    SimDisk disk;
    Instant now{};
    WalOptions options = small_options();
    options.segment_bytes = 16 * 1024 * 1024;
    options.batch_bytes_max = base::limits::wal_batch_bytes_max;
    options.piece_bytes_max = base::limits::wal_piece_bytes_max;
    auto wal = start(disk, {}, options);
    base::Random random(5);
    std::uint64_t next[3] = {1, 1, 1};
    std::vector<std::pair<std::uint32_t, std::size_t>> sizes[3];
    for (std::size_t bytes = 0; bytes < 40'000'000;) {
        for (std::uint64_t i = random.below(8); i > 0; --i) {
            const auto group = static_cast<std::uint32_t>(random.below(3));
            const std::size_t size =
                random.chance(1, 20) ? random.below(3'000'000) : random.below(200'000);
            const std::string body = text(size, static_cast<char>(next[group]));
            stage(*wal, group, 1, next[group]++, body);
            sizes[group].emplace_back(base::crc32c(base::as_bytes(body)), size);
            bytes += size;
        }
        settle(*wal, disk, now);
        for (std::uint32_t group = 0; group < 3; ++group) {
            wal->release(GroupId(group), LogIndex(next[group] - 1));
        }
    }
    Recovered again = recover_all(disk);
    for (std::uint32_t group = 0; group < 3; ++group) {
        REQUIRE(again.entries.groups[group].size() == next[group] - 1);
        for (std::size_t i = 0; i < sizes[group].size(); ++i) {
            const std::string& body = again.entries.groups[group][i].body;
            CHECK(body.size() == sizes[group][i].second);
            CHECK(base::crc32c(base::as_bytes(body)) == sizes[group][i].first);
        }
    }
}

TEST_CASE("what is persisted says how many cuts went ahead of it") {
    SimDisk disk;
    Instant now{};
    auto wal = start(disk);
    stage(*wal, 1, 1, 1, "one");
    stage(*wal, 1, 1, 2, "two");
    wal->flush(now);
    wal->stage_truncate(GroupId(1), LogIndex(2));
    stage(*wal, 1, 1, 2, "two again");
    wal->flush(now);
    std::vector<Persisted> persisted = settle(*wal, disk, now);
    REQUIRE(persisted.size() == 2);
    CHECK(persisted[0].last == EntryId{Term(1), LogIndex(2)});
    CHECK(persisted[0].cuts == 0);
    CHECK(persisted[1].last == EntryId{Term(1), LogIndex(2)});
    CHECK(persisted[1].cuts == 1);

    // Behind the pieces of a large entry, where a later cut takes in an earlier one.
    stage(*wal, 1, 2, 3, text(40'000, 'a'));
    wal->flush(now);
    stage(*wal, 1, 2, 4, "four");
    stage(*wal, 1, 2, 5, "five");
    wal->stage_truncate(GroupId(1), LogIndex(5));
    wal->stage_truncate(GroupId(1), LogIndex(4));
    stage(*wal, 1, 3, 4, "four again");
    persisted = settle(*wal, disk, now);
    REQUIRE(!persisted.empty());
    CHECK(persisted.back().last == EntryId{Term(3), LogIndex(4)});
    CHECK(persisted.back().cuts == 3);
}

TEST_CASE("truncation, also across restarts and behind pieces") {
    SimDisk disk;
    Instant now{};
    auto wal = start(disk);
    for (std::uint64_t i = 1; i <= 10; ++i) {
        stage(*wal, 1, 1, i, text(100, 'a'));
    }
    stage(*wal, 1, 1, 11, text(20'000, 'b'));
    wal->flush(now);
    wal->stage_truncate(GroupId(1), LogIndex(8));
    CHECK(wal->body(GroupId(1), LogIndex(8)).empty());
    CHECK(wal->body(GroupId(1), LogIndex(7)).size() == 100);
    stage(*wal, 1, 2, 8, "eight");
    settle(*wal, disk, now);
    CHECK(wal->staged_bytes() == 0);
    Recovered again = recover_all(disk);
    REQUIRE(again.entries.groups[1].size() == 8);
    CHECK(again.entries.groups[1][7] == Entry{{Term(2), LogIndex(8)}, 1, "eight"});
    reopen(disk, wal);
    wal = start(disk, std::move(again.log));
    wal->stage_truncate(GroupId(1), LogIndex(3));
    stage(*wal, 1, 3, 3, "three");
    settle(*wal, disk, now);
    again = recover_all(disk);
    REQUIRE(again.entries.groups[1].size() == 3);
    CHECK(again.log.groups[0].last == EntryId{Term(3), LogIndex(3)});
}

TEST_CASE(
    "an idle log vouches for its last batch; then damage to it is refused with file and position") {
    SimDisk disk;
    Instant now{};
    auto wal = start(disk);
    stage(*wal, 1, 1, 1, text(700, 'v'));
    settle(*wal, disk, now);
    CHECK(wal->deadline() <= now + base::milliseconds(2));
    now = now + base::milliseconds(2);
    wal->flush(now);
    reap(disk, now);
    CHECK(wal->counters().watermarks == 1);
    sim::Image image = disk.everything();
    std::vector<std::byte>& file = image.files["wal-0000000001"];
    // The entry's batch follows the head: header block 0, head block(s), then it.
    Recovered whole = recover_all(disk);
    const Location at = whole.entries.locations[{1, 1}][0];
    file[at.position + 5] ^= std::byte{1};
    SimDisk damaged(image);
    Collected sink;
    RecoveryOptions options;
    options.salt = test_salt;
    options.group_count = 8;
    const base::Result<RecoveredLog> refused = recover(damaged, options, sink);
    REQUIRE(!refused);
    CHECK(refused.error().errno_value == 0);
    CHECK(refused.error().message.find("wal-0000000001") != std::string::npos);
    CHECK(refused.error().message.find("byte 1024") != std::string::npos);
}

TEST_CASE("a failed write ends everything in one sentence") {
    SimDisk disk;
    Instant now{};
    auto wal = start(disk);
    stage(*wal, 1, 1, 1, "one");
    disk.fail(DiskOp::Kind::write, 0, EIO);
    wal->flush(now);
    stage(*wal, 1, 1, 2, "two");
    wal->flush(now);
    reap(disk, now);
    std::vector<Persisted> persisted;
    wal->take_persisted(persisted);
    CHECK(persisted.empty());
    CHECK(wal->state() == Wal::State::failed);
    CHECK(wal->failure() ==
          "the log could not be written: wal-0000000001 at byte 1024: Input/output error");
}

TEST_CASE("no space for the next segment: full, then by itself open again") {
    SimDisk disk;
    Instant now{};
    WalOptions options = small_options();
    options.reserve_percent = 0;
    disk.set_capacity(64 * 1024 * 3 + 10'000);
    auto wal = start(disk, {}, options);
    settle(*wal, disk, now);
    std::uint64_t next = 1;
    while (wal->state() == Wal::State::open && next < 1000) {
        stage(*wal, 1, 1, next++, text(1000, 'f'));
        settle(*wal, disk, now);
    }
    CHECK(wal->state() == Wal::State::full);
    CHECK(!wal->full_reason().empty());
    // Reserve: hard states and deletes still go on.
    for (int i = 0; i < 20; ++i) {
        wal->stage_hard_state(GroupId(2), Term(static_cast<std::uint64_t>(i) + 1), NodeId(1));
        settle(*wal, disk, now);
    }
    CHECK(wal->staged_bytes() == 0);
    disk.set_capacity(64 * 1024 * 20);
    for (int i = 0; i < 100 && wal->state() == Wal::State::full; ++i) {
        now = now + base::milliseconds(100);
        settle(*wal, disk, now);
    }
    CHECK(wal->state() == Wal::State::open);
}

TEST_CASE("segments are recycled when snapshots cover them and name nothing in them") {
    SimDisk disk;
    Instant now{};
    auto wal = start(disk);
    std::uint64_t next = 1;
    while (wal->segment_count() < 6) {
        stage(*wal, 1, 1, next++, text(1000, 'r'));
        stage(*wal, 2, 1, next - 1, text(100, 's'));
        settle(*wal, disk, now);
    }
    CHECK(wal->uncovered_bytes() > 5 * 50'000);
    const SegmentId pinned(2);
    wal->covered(GroupId(1), LogIndex(next - 1), {&pinned, 1});
    settle(*wal, disk, now);
    CHECK(wal->segment_count() >= 6);
    std::vector<GroupId> pinning;
    wal->groups_pinning_oldest(pinning);
    CHECK(pinning == std::vector<GroupId>{GroupId(2)});
    wal->covered(GroupId(2), LogIndex(next - 1), {});
    for (int i = 0; i < 20; ++i) {
        settle(*wal, disk, now);
    }
    CHECK(wal->segment_count() == 2);
    CHECK(wal->has_segment(pinned));
    CHECK(!wal->has_segment(SegmentId(1)));
    // Recycled files serve again, and the log still reads.
    const std::uint64_t snapshot = next - 1;
    while (wal->segment_count() < 5) {
        stage(*wal, 1, 1, next++, text(1000, 't'));
        settle(*wal, disk, now);
    }
    std::vector<EntryId> snapshots(8);
    snapshots[1] = {Term(1), LogIndex(snapshot)};
    snapshots[2] = {Term(1), LogIndex(snapshot)};
    Recovered again = recover_all(disk, snapshots);
    CHECK(again.entries.groups[1].size() == next - 1 - snapshot);
    CHECK(again.entries.groups[2].empty());
    CHECK(again.log.segments.front().segment == pinned);
    CHECK(!again.log.segments.front().replayed);
}

TEST_CASE("a recycled segment in the middle of a large entry that a snapshot covers") {
    SimDisk disk;
    auto wal = start(disk);
    Instant now{1};
    // Group 0 needs the first segment; group 1's entry begins there and ends in the third.
    stage(*wal, 0, 1, 1, text(100, 'k'));
    stage(*wal, 1, 1, 1, text(170'000, 'l'));
    settle(*wal, disk, now);
    stage(*wal, 1, 1, 2, "small");
    settle(*wal, disk, now);
    REQUIRE(wal->segment_count() >= 3);
    wal->covered(GroupId(1), LogIndex(2), {});
    settle(*wal, disk, now);
    CHECK(wal->has_segment(SegmentId(1)));
    CHECK(!wal->has_segment(SegmentId(2)));
    wal.reset();
    SimDisk after(disk.everything());
    std::vector<EntryId> snapshots(8);
    snapshots[1] = {Term(1), LogIndex(2)};
    const Recovered recovered = recover_all(after, snapshots);
    CHECK(recovered.entries.groups.size() == 1);
    CHECK(recovered.entries.groups.at(0).size() == 1);
    CHECK(recovered.log.groups[1].last == snapshots[1]);
}

TEST_CASE("a segment whose retirement is the last thing before a new segment's head") {
    // Wherever in its segment the retire record comes to stand, the start after it finds no gap.
    for (int fill = 0; fill < 130; ++fill) {
        CAPTURE(fill);
        SimDisk disk;
        auto wal = start(disk);
        Instant now{1};
        std::uint64_t next = 1;
        while (wal->segment_count() < 3) {
            stage(*wal, 1, 1, next++, text(1000, 'r'));
            settle(*wal, disk, now);
        }
        for (int i = 0; i < fill; ++i) {
            stage(*wal, 1, 1, next++, text(300, 'f'));
            settle(*wal, disk, now);
        }
        const LogIndex covered(next - 1);
        wal->covered(GroupId(1), covered, {});
        wal->flush(now);  // the retire records are on their way
        stage(*wal, 1, 1, next++, text(300, 'n'));
        wal->flush(now);  // and with them, when the segment is full, the next one's head
        settle(*wal, disk, now);
        CHECK(!wal->has_segment(SegmentId(1)));
        wal.reset();
        SimDisk after(disk.everything());
        std::vector<EntryId> snapshots(8);
        snapshots[1] = {Term(1), covered};
        const Recovered recovered = recover_all(after, snapshots);
        CHECK(recovered.entries.groups.at(1).size() == 1);
    }
}

TEST_CASE("bodies stay until released and their memory serves again") {
    SimDisk disk;
    Instant now{};
    auto wal = start(disk);
    stage(*wal, 1, 1, 1, "held");
    settle(*wal, disk, now);
    for (std::uint64_t i = 1; i <= 200; ++i) {
        stage(*wal, 2, 1, i, text(900, 'm'));
        settle(*wal, disk, now);
        wal->release(GroupId(2), LogIndex(i));
    }
    CHECK(body_text(*wal, 1, 1) == "held");
    wal->release(GroupId(1), LogIndex(1));
    CHECK(wal->body(GroupId(1), LogIndex(1)).empty());
}

TEST_CASE("on a MemoryDisk everything is durable at once and nothing is written") {
    MemoryDisk disk;
    Instant now{};
    auto wal = start(disk);
    stage(*wal, 1, 1, 1, "one");
    stage(*wal, 1, 1, 2, text(50'000, 'L'));
    stage(*wal, 1, 1, 3, "three");
    wal->stage_hard_state(GroupId(2), Term(1), NodeId(1));
    wal->flush(now);
    std::vector<Persisted> persisted;
    wal->take_persisted(persisted);
    REQUIRE(persisted.size() == 2);
    CHECK(persisted[0].last.index == LogIndex(3));
    CHECK(body_text(*wal, 1, 2) == text(50'000, 'L'));
    CHECK(body_text(*wal, 1, 3) == "three");
    wal->release(GroupId(1), LogIndex(3));
    CHECK(wal->staged_bytes() == 0);
    CHECK(wal->deadline() == Instant::never());
}

std::vector<PayloadPlaced> placed(Wal& wal) {
    std::vector<PayloadPlaced> out;
    wal.take_payloads(out);
    return out;
}

std::string at(SimDisk& disk, const Location& location) {
    const sim::Image image = disk.everything();
    const std::vector<std::byte>& file = image.files.at(segment_name(location.segment));
    return std::string(base::as_text(base::Bytes(file).subspan(location.position, location.size)));
}

TEST_CASE("payload beside the log is told when it is durable, in order, and recovery skips it") {
    SimDisk disk;
    Instant now{};
    auto wal = start(disk);
    std::vector<std::string> bodies;
    std::vector<std::uint64_t> tickets;
    for (std::uint64_t i = 1; i <= 20; ++i) {
        stage(*wal, 1, 1, i, text(100, 'x'));
        bodies.push_back(text(i * 200, static_cast<char>('a' + i)));
        tickets.push_back(wal->stage_payload(GroupId(i % 2 == 0 ? 1 : 6),
                                             base::as_bytes(bodies.back()),
                                             base::crc32c(base::as_bytes(bodies.back()))));
    }
    wal->flush(now);
    CHECK(placed(*wal).empty());
    CHECK(wal->staged_bytes() > 0);
    settle(*wal, disk, now);
    CHECK(wal->staged_bytes() == 0);
    const std::vector<PayloadPlaced> all = placed(*wal);
    REQUIRE(all.size() == 20);
    for (std::size_t i = 0; i < all.size(); ++i) {
        CHECK(all[i].ticket == tickets[i]);
        CHECK(all[i].group == GroupId(i % 2 == 1 ? 1 : 6));
        CHECK(at(disk, all[i].location) == bodies[i]);
    }
    const Recovered again = recover_all(disk);
    CHECK(again.entries.groups.at(1).size() == 20);
    CHECK(again.entries.groups.count(6) == 0);
}

TEST_CASE("a segment with payload stays until the payload is named or given up") {
    SimDisk disk;
    Instant now{};
    auto wal = start(disk);
    std::uint64_t next = 1;
    wal->stage_payload(GroupId(2), base::as_bytes(std::string_view("bytes")),
                       base::crc32c(base::as_bytes(std::string_view("bytes"))));
    settle(*wal, disk, now);
    const std::vector<PayloadPlaced> first = placed(*wal);
    REQUIRE(first.size() == 1);
    const SegmentId segment = first[0].location.segment;
    const auto fill = [&] {
        for (int i = 0; i < 100; ++i) {
            stage(*wal, 1, 1, next++, text(2000, 'f'));
            settle(*wal, disk, now);
        }
        wal->covered(GroupId(1), LogIndex(next - 1), {});
        for (int i = 0; i < 5; ++i) {
            settle(*wal, disk, now);
        }
    };
    fill();
    CHECK(wal->has_segment(segment));
    // Named by a snapshot now: that keeps it.
    wal->covered(GroupId(2), LogIndex{}, {&segment, 1});
    wal->release_payload(GroupId(2));
    fill();
    CHECK(wal->has_segment(segment));
    wal->covered(GroupId(2), LogIndex{}, {});
    fill();
    CHECK(!wal->has_segment(segment));
}

TEST_CASE("covered entries stay for followers until they are forgotten") {
    SimDisk disk;
    Instant now{};
    auto wal = start(disk);
    for (std::uint64_t i = 1; i <= 200; ++i) {
        stage(*wal, 1, 1, i, text(2000, 'f'));
        settle(*wal, disk, now);
    }
    const std::uint64_t segments = wal->segment_count();
    wal->covered(GroupId(1), LogIndex(200), {}, LogIndex(3));
    settle(*wal, disk, now);
    CHECK(wal->segment_count() == segments);
    CHECK(wal->uncovered_bytes() == 0);
    CHECK(wal->kept_bytes() > 200 * 2000);
    std::vector<std::pair<GroupId, LogIndex>> oldest;
    wal->oldest_kept(oldest);
    REQUIRE(oldest.size() == 1);
    CHECK(oldest[0].first == GroupId(1));
    CHECK(oldest[0].second > LogIndex(3));
    CHECK(oldest[0].second < LogIndex(100));
    const std::uint64_t kept = wal->kept_bytes();
    wal->forget(GroupId(1), oldest[0].second);
    settle(*wal, disk, now);
    CHECK(wal->kept_bytes() < kept);
    CHECK(wal->segment_count() < segments);
    wal->forget(GroupId(1), LogIndex(200));
    settle(*wal, disk, now);
    CHECK(wal->kept_bytes() == 0);
}

TEST_CASE("whether a group's cuts are durable is known, also of one that waits behind a body") {
    SimDisk disk;
    Instant now{};
    auto wal = start(disk);
    stage(*wal, 1, 1, 1, "one");
    stage(*wal, 1, 1, 2, "two");
    CHECK(wal->cuts_durable(GroupId(1)));
    wal->stage_truncate(GroupId(1), LogIndex(2));
    CHECK(!wal->cuts_durable(GroupId(1)));
    CHECK(wal->cuts_durable(GroupId(2)));
    settle(*wal, disk, now);
    CHECK(wal->cuts_durable(GroupId(1)));
    stage(*wal, 1, 1, 2, text(60'000, 'l'));
    stage(*wal, 1, 1, 3, "three");
    wal->stage_truncate(GroupId(1), LogIndex(3));
    CHECK(!wal->cuts_durable(GroupId(1)));
    settle(*wal, disk, now);
    CHECK(wal->cuts_durable(GroupId(1)));
    wal->stage_restart(GroupId(1), {Term(3), LogIndex(90)});
    CHECK(!wal->cuts_durable(GroupId(1)));
    settle(*wal, disk, now);
    CHECK(wal->cuts_durable(GroupId(1)));
}

}  // namespace
}  // namespace ursula::storage
