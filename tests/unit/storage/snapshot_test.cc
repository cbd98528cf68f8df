#include <doctest/doctest.h>

#include "base/random.h"
#include "log_driver.h"
#include "sim/sim_disk.h"
#include "storage/snapshot_format.h"
#include "storage/snapshot_store.h"

namespace ursula::storage {
namespace {

using base::EntryId;
using base::GroupId;
using base::LogIndex;
using base::Term;
using sim::SimDisk;
using Part = SnapshotStore::Part;

constexpr std::uint64_t salt = 77;

std::vector<std::byte> noise(std::size_t size, std::uint64_t seed) {
    base::Random random(seed);
    std::vector<std::byte> bytes(size);
    for (std::byte& one : bytes) {
        one = static_cast<std::byte>(random.next());
    }
    return bytes;
}

// Writes one snapshot in slices; the disk's turns in between.
SnapshotStore::Finished write(SnapshotStore& store, SimDisk& disk, GroupId group, EntryId id,
                              const std::vector<std::byte>& image,
                              const std::vector<std::byte>& locations) {
    store.begin(group, id);
    std::size_t image_at = 0;
    std::size_t locations_at = 0;
    bool finished = false;
    SnapshotStore::Finished result;
    for (int turn = 0; turn < 10'000; ++turn) {
        reap(disk, {});
        if (store.take_finished(result)) {
            finished = true;
        }
        if (finished && !store.busy()) {
            return result;
        }
        if (store.ready()) {
            const base::Bytes a = base::Bytes(image).subspan(image_at);
            const base::Bytes b = base::Bytes(locations).subspan(locations_at);
            const base::Bytes a_slice = a.subspan(0, std::min<std::size_t>(a.size(), 100'000));
            const base::Bytes b_slice = b.subspan(0, std::min<std::size_t>(b.size(), 7'000));
            store.append(Part::image, a_slice);
            store.append(Part::locations, b_slice);
            image_at += a_slice.size();
            locations_at += b_slice.size();
            if (image_at == image.size() && locations_at == locations.size()) {
                store.finish();
            }
        }
    }
    FAIL("a snapshot never finished");
    return result;
}

TEST_CASE("a snapshot is written in slices, published, verified and loaded; older ones go") {
    SimDisk disk;
    SnapshotStore store(disk, salt);
    REQUIRE(store.open().has_value());
    for (const std::size_t size :
         {std::size_t{0}, std::size_t{1}, std::size_t{4072}, std::size_t{1048552},
          std::size_t{1048553}, std::size_t{3'000'000}}) {
        const EntryId id{Term(3), LogIndex(10 + size)};
        const std::vector<std::byte> image = noise(size, size);
        const std::vector<std::byte> locations = noise(size / 10, size + 1);
        const SnapshotStore::Finished finished =
            write(store, disk, GroupId(12), id, image, locations);
        CHECK_MESSAGE(finished.ok, finished.reason);
        CHECK(finished.id == id);
        CHECK(finished.image_bytes == size);
        std::string damage;
        base::Result<SnapshotStore::Loaded> loaded = store.load(GroupId(12), damage);
        REQUIRE(loaded.has_value());
        CHECK(damage.empty());
        CHECK(loaded->id == id);
        CHECK(loaded->image == image);
        CHECK(loaded->locations == locations);
        CHECK(disk.list_now()->size() == 2);
    }
    CHECK(disk.unsynced_sectors() == 0);
    SimDisk after(disk.everything());
    SnapshotStore again(after, salt);
    REQUIRE(again.open().has_value());
    std::string damage;
    CHECK(again.load(GroupId(12), damage)->id.index == LogIndex(3'000'010));
    CHECK(again.load(GroupId(13), damage)->id.index == LogIndex(0));
    SnapshotStore foreign(after, salt + 1);
    REQUIRE(foreign.open().has_value());
    CHECK(foreign.load(GroupId(12), damage)->id.index == LogIndex(0));
    CHECK(damage ==
          "snap-00012-00000000000003000010-image is damaged at byte 0; "
          "snap-00012-00000000000003000010-locations is damaged at byte 0");
}

TEST_CASE(
    "no space or a failed step: nothing is published, the older one stays, the next attempt "
    "works") {
    for (const DiskOp::Kind kind :
         {DiskOp::Kind::open, DiskOp::Kind::write, DiskOp::Kind::sync, DiskOp::Kind::rename,
          DiskOp::Kind::sync_directory, DiskOp::Kind::read}) {
        for (const std::uint32_t countdown : {0u, 1u}) {
            if (kind == DiskOp::Kind::sync_directory && countdown == 1) {
                continue;
            }
            SimDisk disk;
            SnapshotStore store(disk, salt);
            REQUIRE(store.open().has_value());
            const std::vector<std::byte> first = noise(5000, 1);
            CHECK(write(store, disk, GroupId(1), {Term(1), LogIndex(5)}, first, first).ok);
            disk.fail(kind, countdown, kind == DiskOp::Kind::write ? ENOSPC : EIO);
            const SnapshotStore::Finished failed = write(
                store, disk, GroupId(1), {Term(1), LogIndex(9)}, noise(5000, 2), noise(5000, 3));
            CHECK(!failed.ok);
            CHECK(!failed.reason.empty());
            CHECK(disk.list_now()->size() == 2);
            std::string damage;
            CHECK(store.load(GroupId(1), damage)->image == first);
            CHECK(write(store, disk, GroupId(1), {Term(1), LogIndex(9)}, noise(5000, 2),
                        noise(5000, 3))
                      .ok);
            CHECK(store.load(GroupId(1), damage)->id.index == LogIndex(9));
        }
    }
}

TEST_CASE("an abandoned snapshot leaves nothing") {
    SimDisk disk;
    SnapshotStore store(disk, salt);
    REQUIRE(store.open().has_value());
    for (int turns = 0; turns < 6; ++turns) {
        store.begin(GroupId(1), {Term(1), LogIndex(5)});
        for (int turn = 0; turn < turns; ++turn) {
            reap(disk, {});
        }
        store.append(Part::image, noise(3'000'000, 4));
        store.abandon();
        for (int turn = 0; turn < 20; ++turn) {
            reap(disk, {});
        }
        CHECK(!store.busy());
        CHECK(disk.list_now()->empty());
        SnapshotStore::Finished finished;
        CHECK(!store.take_finished(finished));
    }
}

TEST_CASE(
    "a damaged newest snapshot is in nobody's way: the next one may have any index, and it goes") {
    for (const std::uint64_t index : {4u, 9u, 12u}) {
        SimDisk disk;
        {
            SnapshotStore store(disk, salt);
            REQUIRE(store.open().has_value());
            REQUIRE(write(store, disk, GroupId(1), {Term(1), LogIndex(9)}, noise(5000, 1),
                          noise(100, 2))
                        .ok);
        }
        sim::Image files = disk.everything();
        for (auto& [name, bytes] : files.files) {
            bytes.resize(512);
        }
        SimDisk damaged(files);
        SnapshotStore again(damaged, salt);
        REQUIRE(again.open().has_value());
        std::string damage;
        CHECK(again.load(GroupId(1), damage)->id.index == LogIndex(0));
        CHECK(!damage.empty());
        const std::vector<std::byte> image = noise(6000, 3);
        CHECK(write(again, damaged, GroupId(1), {Term(1), LogIndex(index)}, image, image).ok);
        CHECK(damaged.list_now()->size() == 2);
        SnapshotStore third(damaged, salt);
        REQUIRE(third.open().has_value());
        damage.clear();
        CHECK(third.load(GroupId(1), damage)->image == image);
        CHECK(damage.empty());
    }
}

TEST_CASE("every flipped byte of a snapshot is noticed or harmless") {
    SimDisk disk;
    SnapshotStore store(disk, salt);
    REQUIRE(store.open().has_value());
    const std::vector<std::byte> image = noise(6000, 8);
    const std::vector<std::byte> locations = noise(100, 9);
    REQUIRE(write(store, disk, GroupId(1), {Term(1), LogIndex(5)}, image, locations).ok);
    sim::Image files = disk.everything();
    for (auto& named : files.files) {
        for (std::size_t at = 0; at < named.second.size(); ++at) {
            named.second[at] ^= std::byte{0x10};
            SimDisk damaged(files);
            SnapshotStore again(damaged, salt);
            REQUIRE(again.open().has_value());
            std::string damage;
            base::Result<SnapshotStore::Loaded> loaded = again.load(GroupId(1), damage);
            REQUIRE(loaded.has_value());
            if (loaded->id.index == LogIndex(5)) {
                CHECK(loaded->image == image);
                CHECK(loaded->locations == locations);
            } else {
                CHECK(damage.substr(0, named.first.size()) == named.first);
                CHECK(damage.find("at byte") != std::string::npos);
            }
            named.second[at] ^= std::byte{0x10};
        }
    }
}

}  // namespace
}  // namespace ursula::storage
