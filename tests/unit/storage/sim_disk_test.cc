// The simulated disk itself: what the crash-state tests rest on.
#include "sim/sim_disk.h"

#include <doctest/doctest.h>

namespace ursula::sim {
namespace {

using storage::DiskOp;

struct Driver {
    SimDisk disk;
    std::vector<std::vector<std::byte>> memory;

    storage::FileId open(const std::string& name) {
        DiskOp op;
        op.kind = DiskOp::Kind::open;
        op.name = name;
        op.create = true;
        disk.run_now(op);
        REQUIRE(op.result == 0);
        return op.file;
    }
    void run(DiskOp::Kind kind, storage::FileId file) {
        DiskOp op;
        op.kind = kind;
        op.file = file;
        disk.run_now(op);
        REQUIRE(op.result == 0);
    }
    void write(storage::FileId file, std::uint64_t position, std::size_t size, char fill,
               bool durable) {
        const std::vector<std::byte> bytes(size, static_cast<std::byte>(fill));
        DiskOp op;
        op.kind = DiskOp::Kind::write;
        op.file = file;
        op.position = position;
        op.bytes = bytes;
        op.durable = durable;
        disk.run_now(op);
        REQUIRE(op.result == static_cast<std::int64_t>(size));
    }
    void rename(const std::string& from, const std::string& to) {
        DiskOp op;
        op.kind = DiskOp::Kind::rename;
        op.name = from;
        op.new_name = to;
        disk.run_now(op);
        REQUIRE(op.result == 0);
    }
    std::vector<Image> images() {
        std::vector<Image> all;
        base::Random random(1);
        SimDisk::Seen seen;
        disk.crash_images(random, seen, 0, [&](const Image& image, std::uint64_t hash) {
            CHECK(hash == image.hash());
            all.push_back(image);
            return true;
        });
        // The hash told beforehand is the image's own.
        CHECK(seen.size() == all.size());
        for (const Image& image : all) {
            CHECK(seen.count(image.hash()) == 1);
        }
        return all;
    }
};

TEST_CASE("an unsynced name or content may be lost, a synced one not") {
    Driver driver;
    const storage::FileId file = driver.open("a");
    driver.write(file, 0, 512, 'x', false);
    std::vector<Image> images = driver.images();
    CHECK(images.size() == 4);  // no name; empty; torn; whole
    driver.run(DiskOp::Kind::sync, file);
    CHECK(driver.images().size() == 2);
    driver.run(DiskOp::Kind::sync_directory, file);
    images = driver.images();
    REQUIRE(images.size() == 1);
    CHECK(images[0].files.at("a") == std::vector<std::byte>(512, std::byte{'x'}));
}

TEST_CASE("a durable write covers itself alone") {
    Driver driver;
    const storage::FileId file = driver.open("a");
    driver.run(DiskOp::Kind::sync_directory, file);
    driver.write(file, 0, 512, 'x', false);
    driver.write(file, 512, 512, 'y', true);
    for (const Image& image : driver.images()) {
        CHECK(image.files.at("a").size() == 1024);
        CHECK(image.files.at("a")[512] == std::byte{'y'});
    }
    CHECK(driver.disk.unsynced_sectors() == 1);
}

TEST_CASE("a rename is all or nothing, and five sectors have 3^5 states") {
    Driver driver;
    const storage::FileId file = driver.open("a.tmp");
    driver.write(file, 0, 5 * 512, 'x', false);
    driver.run(DiskOp::Kind::sync_directory, file);
    CHECK(driver.images().size() == 3 * 3 * 3 * 3 * 3);
    driver.rename("a.tmp", "a");
    for (const Image& image : driver.images()) {
        CHECK(image.files.size() == 1);
    }
}

TEST_CASE("two writes to one sector: either, both orders of loss") {
    Driver driver;
    const storage::FileId file = driver.open("a");
    driver.run(DiskOp::Kind::sync_directory, file);
    driver.write(file, 0, 512, 'x', false);
    driver.write(file, 0, 512, 'y', false);
    CHECK(driver.images().size() >= 4);
}

}  // namespace
}  // namespace ursula::sim
