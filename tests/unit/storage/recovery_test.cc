// The decisions of recovery, one case each (storage/wal_format.h "VALID" and "END").
#include "storage/recovery.h"

#include <doctest/doctest.h>

#include "base/limits.h"
#include "log_driver.h"
#include "sim/sim_disk.h"
#include "storage/wal_format.h"

namespace ursula::storage {
namespace {

using base::EntryId;
using base::GroupId;
using base::Instant;
using base::LogIndex;
using base::Term;
using sim::Image;
using sim::SimDisk;

constexpr std::uint64_t salt = 99;
constexpr std::uint32_t block = 512;

WalOptions options_of(std::uint64_t with_salt = salt) {
    WalOptions options;
    options.salt = with_salt;
    options.group_count = 4;
    options.segment_bytes = 16 * 1024;
    options.batch_bytes_max = 4 * 1024;
    options.piece_bytes_max = 2 * 1024;
    options.reserve_percent = 0;
    return options;
}

struct Outcome {
    bool ok = false;
    std::string refused;
    Collected told;
    RecoveredLog log;
    std::size_t entries(std::uint32_t group) { return told.groups[group].size(); }
};

Outcome recovered(const Image& image, std::vector<EntryId> snapshots = {},
                  std::uint64_t with_salt = salt) {
    SimDisk disk(image);
    Outcome outcome;
    RecoveryOptions options;
    options.salt = with_salt;
    options.group_count = 4;
    options.snapshots = snapshots;
    base::Result<RecoveredLog> log = recover(disk, options, outcome.told);
    outcome.ok = log.has_value();
    if (log) {
        outcome.log = std::move(*log);
    } else {
        CHECK(log.error().errno_value == 0);
        outcome.refused = log.error().message;
    }
    return outcome;
}

// A log of one-block batches: batch 1 is the head in block 1, batch n the entry n-1 of group 0 in
// block n.
struct Life {
    SimDisk disk;
    std::unique_ptr<Wal> wal;
    Instant now{};
    std::uint64_t next = 1;

    explicit Life(const Image& image = {}, std::uint64_t with_salt = salt) : disk(image) {
        Collected told;
        RecoveryOptions options;
        options.salt = with_salt;
        options.group_count = 4;
        base::Result<RecoveredLog> log = recover(disk, options, told);
        REQUIRE(log.has_value());
        for (const BootState& boot : log->groups) {
            next = boot.last.index.value + 1;
        }
        wal = std::move(*Wal::start(disk, options_of(with_salt), std::move(*log)));
    }
    ~Life() { disk = SimDisk(); }
    void append(int count, std::size_t size = 100) {
        for (int i = 0; i < count; ++i) {
            stage(*wal, 0, 1, next++, std::string(size, 'e'));
            settle(*wal, disk, now);
        }
    }
    // As the power cut leaves it when everything written was kept.
    Image image() { return disk.everything(); }
};

std::vector<std::byte>& file(Image& image, std::uint32_t segment) {
    return image.files.at(segment_name(SegmentId(segment)));
}

void zero_block(std::vector<std::byte>& bytes, std::uint32_t number) {
    std::fill_n(bytes.begin() + number * block, block, std::byte{0});
}

TEST_CASE("nothing at all: an empty log") {
    Outcome outcome = recovered({});
    CHECK(outcome.ok);
    CHECK(outcome.log.groups.empty());
    CHECK(outcome.log.next_segment == SegmentId(1));
}

TEST_CASE("a whole log") {
    Life life;
    life.append(5);
    Outcome outcome = recovered(life.image());
    CHECK(outcome.entries(0) == 5);
    CHECK(outcome.log.segments.size() == 1);
}

TEST_CASE("the last batch torn, in its header or its body: the log ends before it") {
    Life life;
    life.append(5);
    for (const std::uint32_t at : {8u, 80u, 150u}) {
        Image image = life.image();
        file(image, 1)[6 * block + at] ^= std::byte{1};
        Outcome outcome = recovered(image);
        CHECK(outcome.ok);
        CHECK(outcome.entries(0) == 4);
    }
}

TEST_CASE("the last two batches may be torn together: both were in flight") {
    Life life;
    life.append(3);
    stage(*life.wal, 0, 1, 4, "four");
    life.wal->flush(life.now);
    stage(*life.wal, 0, 1, 5, "five");
    life.wal->flush(life.now);
    Image image = life.image();
    // The first of the two is lost, the second is whole: it was never acknowledged and goes too.
    zero_block(file(image, 1), 5);
    Outcome outcome = recovered(image);
    CHECK(outcome.ok);
    CHECK(outcome.entries(0) == 3);
}

TEST_CASE("an earlier batch damaged, in header or body: refused with file and position") {
    Life life;
    life.append(5);
    for (const std::uint32_t batch_block : {2u, 3u, 4u}) {
        for (const std::uint32_t at : {0u, 8u, 80u, 150u}) {
            Image image = life.image();
            file(image, 1)[batch_block * block + at] ^= std::byte{1};
            Outcome outcome = recovered(image);
            CHECK(!outcome.ok);
            CHECK(outcome.refused.find("wal-0000000001 is damaged at byte " +
                                       std::to_string(batch_block * block)) == 0);
        }
    }
}

TEST_CASE(
    "damage to the head of a segment in use is refused, to that of a segment never acknowledged "
    "not") {
    Life life;
    life.append(3);
    Image image = life.image();
    file(image, 1)[30] ^= std::byte{1};
    Outcome outcome = recovered(image);
    CHECK(!outcome.ok);
    CHECK(outcome.refused.find("wal-0000000001 is damaged at byte 0") == 0);

    Life fresh;
    image = fresh.image();
    file(image, 1)[30] ^= std::byte{1};
    CHECK(recovered(image).ok);
}

TEST_CASE("a batch that lands after recovery looked is void for ever") {
    Life life;
    life.append(3);
    stage(*life.wal, 0, 1, 4, "late");
    life.wal->flush(life.now);
    const Image landed = life.image();
    Image cut = landed;
    zero_block(file(cut, 1), 5);
    Life second(cut);
    CHECK(second.next == 4);
    second.append(2, 50);
    // The old process's write reaches the disk only now.
    Image image = second.image();
    std::copy_n(landed.files.at("wal-0000000001").begin() + 5 * block, block,
                file(image, 1).begin() + 5 * block);
    Outcome outcome = recovered(image);
    REQUIRE(outcome.ok);
    REQUIRE(outcome.entries(0) == 5);
    CHECK(outcome.told.groups[0][3].body.size() == 50);
}

TEST_CASE("crash, recover, write, crash: what the first recovery dropped stays away") {
    Life life;
    life.append(4);
    Image image = life.image();
    file(image, 1)[5 * block + 100] ^= std::byte{1};
    for (int again = 0; again < 4; ++again) {
        Life next(image);
        CHECK(next.next == 4u + static_cast<std::uint64_t>(again));
        next.append(1);
        image = next.image();
    }
    Outcome outcome = recovered(image);
    CHECK(outcome.entries(0) == 7);
    CHECK(outcome.log.segments.size() == 5);
}

TEST_CASE("a torn head of the next segment: the log ends in the one before") {
    Life life;
    life.append(20, 700);
    REQUIRE(life.wal->segment_count() == 2);
    Image image = life.image();
    const std::uint32_t last_end = 2;
    zero_block(file(image, 2), last_end - 1);
    // Everything behind the head in segment 2 vouches for it: damage.
    CHECK(!recovered(image).ok);
    std::fill(file(image, 2).begin() + block, file(image, 2).end(), std::byte{0});
    // A head without anything behind it may be torn.
    Outcome outcome = recovered(image);
    CHECK(outcome.ok);
    CHECK(outcome.log.segments.size() == 1);
    CHECK(outcome.entries(0) > 0);
    CHECK(std::find(outcome.log.unused.begin(), outcome.log.unused.end(), "wal-0000000002") !=
          outcome.log.unused.end());
}

TEST_CASE("a missing segment is refused, a retired one is not missed") {
    Life life;
    life.append(60, 700);
    REQUIRE(life.wal->segment_count() >= 4);
    Image image = life.image();
    image.files.erase("wal-0000000002");
    Outcome outcome = recovered(image);
    CHECK(!outcome.ok);
    CHECK(outcome.refused.find("wal-0000000002 is missing: entries ") == 0);

    life.wal->covered(GroupId(0), LogIndex(60), {});
    for (int i = 0; i < 10; ++i) {
        settle(*life.wal, life.disk, life.now);
    }
    CHECK(life.wal->segment_count() == 1);
    std::vector<EntryId> snapshots(4);
    snapshots[0] = {Term(1), LogIndex(60)};
    CHECK(recovered(life.image(), snapshots).ok);
    // Without the snapshot its entries are gone: refused, not forgotten.
    outcome = recovered(life.image());
    CHECK(!outcome.ok);
    CHECK(outcome.refused.find(" to 60 of group 0") != std::string::npos);
}

TEST_CASE("a file that was cut short is refused when acknowledged bytes are gone") {
    Life life;
    life.append(60, 700);
    Image image = life.image();
    file(image, 2).resize(5 * block);
    Outcome outcome = recovered(image);
    CHECK(!outcome.ok);
    CHECK(outcome.refused.find("wal-0000000002 is damaged at byte") == 0);
}

TEST_CASE("blocks in a wrong place or of another directory never count") {
    Life life;
    life.append(5);
    Life other({}, salt + 1);
    other.append(5);
    Image image = life.image();
    // Misdirected: batch 3's block where batch 4 belongs.
    std::copy_n(file(image, 1).begin() + 3 * block, block, file(image, 1).begin() + 4 * block);
    CHECK(!recovered(image).ok);
    // Stale: the other directory's block of the same place.
    image = life.image();
    const Image foreign = other.image();
    std::copy_n(foreign.files.at("wal-0000000001").begin() + 4 * block, block,
                file(image, 1).begin() + 4 * block);
    CHECK(!recovered(image).ok);
    // The whole file of another one.
    Outcome outcome = recovered(foreign);
    CHECK(!outcome.ok);
    CHECK(outcome.refused.find("wal-0000000001 belongs to another data directory") == 0);
}

TEST_CASE("a newer format is refused with what to do") {
    Life life;
    life.append(1);
    Image image = life.image();
    std::vector<std::byte>& bytes = file(image, 1);
    SegmentHeader header;
    REQUIRE(decode_segment_header(bytes, salt, SegmentId(1), header) == HeaderCheck::ok);
    // The next version's header: same place, same checksum, a higher number.
    encode_segment_header(header, bytes, wal_format_version + 1);
    Outcome outcome = recovered(image);
    CHECK(!outcome.ok);
    CHECK(outcome.refused ==
          "wal-0000000001 was written by a newer version of ursula; start that version");
}

TEST_CASE("snapshots without a log are refused") {
    std::vector<EntryId> snapshots(4);
    snapshots[0] = {Term(1), LogIndex(60)};
    Outcome outcome = recovered({}, snapshots);
    CHECK(!outcome.ok);
    CHECK(outcome.refused == "there are snapshots but no log: the wal-* files are missing");
}

TEST_CASE("what the disk refuses is told with its error") {
    Life life;
    life.append(3);
    for (const DiskOp::Kind kind : {DiskOp::Kind::open, DiskOp::Kind::read, DiskOp::Kind::sync}) {
        SimDisk disk(life.image());
        disk.fail(kind, 0, EIO);
        Collected told;
        RecoveryOptions options;
        options.salt = salt;
        options.group_count = 4;
        const base::Result<RecoveredLog> log = recover(disk, options, told);
        REQUIRE(!log);
        CHECK(log.error().errno_value == EIO);
        CHECK(log.error().message.find("wal-0000") == 0);
    }
}

TEST_CASE("only segments newer than the snapshots are read") {
    Life life;
    life.append(100, 700);
    std::vector<EntryId> snapshots(4);
    snapshots[0] = {Term(1), LogIndex(90)};
    Outcome outcome = recovered(life.image(), snapshots);
    REQUIRE(outcome.ok);
    CHECK(outcome.entries(0) == 10);
    CHECK(outcome.log.segments.size() == life.wal->segment_count());
    CHECK(!outcome.log.segments.front().replayed);
    CHECK(outcome.log.segments.back().replayed);
    CHECK(outcome.log.replayed_bytes < 40'000);
}

TEST_CASE("a number that no segment has is refused, in every form of the name") {
    Life life;
    life.append(3);
    for (const char* name : {"wal-4294967295", "wal-4294967294.tmp", "wal-2147483647",
                             "wal-2146435072", "wal-9999999999"}) {
        Image image = life.image();
        image.files[name];
        Outcome outcome = recovered(image);
        CHECK(!outcome.ok);
        CHECK(outcome.refused.find(std::string(name) + " has a number") == 0);
    }
    // The highest one is taken, and the log cannot go on behind it.
    Image image = life.image();
    image.files["wal-2146435071"].resize(block);
    SimDisk disk(image);
    Collected told;
    RecoveryOptions options;
    options.salt = salt;
    options.group_count = 4;
    base::Result<RecoveredLog> log = recover(disk, options, told);
    REQUIRE(log.has_value());
    auto wal = Wal::start(disk, options_of(), std::move(*log));
    REQUIRE(!wal.has_value());
    CHECK(wal.error().errno_value == 0);
}

TEST_CASE("segments under each other's names are refused, and nothing is removed") {
    Life life;
    life.append(20, 700);
    REQUIRE(life.wal->segment_count() == 2);
    // Of a log that lost both heads nothing would be left.
    Image image = life.image();
    std::swap(file(image, 1), file(image, 2));
    Outcome outcome = recovered(image);
    CHECK(!outcome.ok);
    CHECK(outcome.refused.find("wal-0000000001 holds segment wal-0000000002") == 0);
    // The last begun one under a spare's number, and as a file that is being made.
    for (const char* name : {"wal-0000000050", "wal-0000000002.tmp"}) {
        image = life.image();
        image.files[name] = file(image, 2);
        image.files.erase("wal-0000000002");
        outcome = recovered(image);
        CHECK(!outcome.ok);
        CHECK(outcome.refused.find(std::string(name) + " holds segment wal-0000000002") == 0);
    }
}

TEST_CASE("covered segments under each other's names are refused, recycled ones are not") {
    Life life;
    life.append(60, 700);
    REQUIRE(life.wal->segment_count() >= 4);
    std::vector<EntryId> snapshots(4);
    snapshots[0] = {Term(1), LogIndex(59)};
    CHECK(recovered(life.image(), snapshots).ok);
    Image image = life.image();
    std::swap(file(image, 1), file(image, 2));
    Outcome outcome = recovered(image, snapshots);
    CHECK(!outcome.ok);
    CHECK(outcome.refused.find("wal-0000000001 holds segment wal-0000000002") == 0);
    // Shorter than what clients may read from it.
    image = life.image();
    file(image, 1).resize(3 * block);
    CHECK(!recovered(image, snapshots).ok);

    life.wal->covered(GroupId(0), LogIndex(60), {});
    snapshots[0] = {Term(1), LogIndex(60)};
    bool recycled = false;
    for (int i = 0; i < 20; ++i) {
        settle(*life.wal, life.disk, life.now);
        image = life.image();
        for (auto& [name, bytes] : image.files) {
            SegmentId number;
            SegmentHeader header;
            recycled = recycled || (parse_segment_name(name, number) &&
                                    decode_segment_header(bytes, salt, number, header) ==
                                        HeaderCheck::misplaced);
        }
        CHECK(recovered(image, snapshots).ok);
        life.append(2, 700);
    }
    CHECK(recycled);
}

TEST_CASE("a last segment that was cut short is refused with its sizes") {
    Life life;
    life.append(20, 700);
    REQUIRE(life.wal->segment_count() == 2);
    const std::size_t whole = life.image().files.at("wal-0000000002").size();
    for (const std::size_t left :
         {std::size_t{0}, std::size_t{40}, std::size_t{block}, std::size_t{5 * block}, whole - 1}) {
        Image image = life.image();
        file(image, 2).resize(left);
        Outcome outcome = recovered(image);
        CHECK(!outcome.ok);
        CHECK(outcome.refused.find("wal-0000000002 ") == 0);
        CHECK(outcome.refused.find(std::to_string(left) + " bytes") != std::string::npos);
    }
}

TEST_CASE("a name of the log's that is no regular file is refused") {
    for (const char* name : {"wal-0000000002", "wal-0000000099.tmp"}) {
        SimDisk disk;
        disk.add_other("directory");
        disk.add_other(name);
        Collected told;
        RecoveryOptions options;
        options.salt = salt;
        options.group_count = 4;
        const base::Result<RecoveredLog> log = recover(disk, options, told);
        REQUIRE(!log);
        CHECK(log.error().errno_value == 0);
        CHECK(log.error().message.find(std::string(name) + " is not a regular file") == 0);
    }
}

TEST_CASE("making a segment never replaces a file, and ends with the numbers") {
    // Somebody put a file where the next segment comes, after the listing.
    const std::uint32_t free_number = 40;
    RecoveredLog log;
    SimDisk disk;
    DiskOp op;
    op.kind = DiskOp::Kind::open;
    op.name = segment_name(SegmentId(free_number));
    op.create = true;
    disk.run_now(op);
    log.next_segment = SegmentId(free_number);
    auto refused = Wal::start(disk, options_of(), std::move(log));
    REQUIRE(!refused.has_value());
    CHECK(refused.error().errno_value == EEXIST);

    SimDisk other;
    RecoveredLog late;
    late.next_segment = SegmentId(base::limits::segment_number_end - 2);
    auto wal = std::move(*Wal::start(other, options_of(), std::move(late)));
    Instant now{};
    std::uint64_t next = 1;
    while (wal->state() == Wal::State::open && next < 200) {
        stage(*wal, 0, 1, next++, std::string(700, 'e'));
        settle(*wal, other, now);
    }
    CHECK(wal->state() == Wal::State::full);
    CHECK(wal->full_reason().find("segment numbers") != std::string::npos);
    const std::vector<FileInfo> files = *other.list_now();
    for (const FileInfo& info : files) {
        CHECK(info.name < segment_name(SegmentId(base::limits::segment_number_end)));
    }
}

}  // namespace
}  // namespace ursula::storage
