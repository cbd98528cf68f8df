#include "storage/node_file.h"

#include <doctest/doctest.h>

#include <set>

#include "sim/sim_disk.h"

namespace ursula::storage {
namespace {

using sim::SimDisk;

NodeFile sample() {
    NodeFile file;
    file.node = base::NodeId(7);
    file.salt = 0x0123456789abcdefu;
    file.shards = 4;
    file.groups = 64;
    file.created_by = "0.1.0";
    return file;
}

TEST_CASE("the node file comes back as written") {
    SimDisk disk;
    NodeFile loaded;
    CHECK(*load_node_file(disk, loaded) == NodeFileFound::absent);
    REQUIRE(store_node_file(disk, sample()).has_value());
    CHECK(disk.unsynced_sectors() == 0);
    CHECK(disk.unsynced_names() == 0);
    CHECK(*load_node_file(disk, loaded) == NodeFileFound::present);
    CHECK(loaded.node == base::NodeId(7));
    CHECK(loaded.salt == sample().salt);
    CHECK(loaded.shards == 4);
    CHECK(loaded.groups == 64);
    CHECK(loaded.created_by == "0.1.0");
}

TEST_CASE("any damaged byte is repaired from the other copy; both damaged is refused") {
    std::vector<std::byte> bytes(node_file_bytes);
    encode_node_file(sample(), bytes);
    for (std::size_t at = 0; at < bytes.size(); ++at) {
        bytes[at] ^= std::byte{0x80};
        const base::Result<NodeFile> file = decode_node_file(bytes);
        REQUIRE(file.has_value());
        CHECK(file->salt == sample().salt);
        CHECK(file->format == data_format_version);
        bytes[at] ^= std::byte{0x80};
    }
    bytes[20] ^= std::byte{1};
    bytes[4096 + 33] ^= std::byte{1};
    const base::Result<NodeFile> refused = decode_node_file(bytes);
    REQUIRE(!refused);
    CHECK(refused.error().errno_value == 0);
    CHECK(refused.error().message.find("node") != std::string::npos);
    CHECK(!decode_node_file(base::Bytes(bytes).subspan(0, 100)));
}

TEST_CASE("a newer format is refused with what to do") {
    NodeFile newer = sample();
    newer.format = data_format_version + 1;
    newer.created_by = "9.9";
    std::vector<std::byte> bytes(node_file_bytes);
    encode_node_file(newer, bytes);
    const base::Result<NodeFile> refused = decode_node_file(bytes);
    REQUIRE(!refused);
    CHECK(refused.error().message ==
          "the data directory has format 2, written by ursula 9.9; this version knows formats up "
          "to 1: start a newer "
          "version");
}

TEST_CASE("shards have salts of their own") {
    std::set<std::uint64_t> salts;
    for (std::uint32_t shard = 0; shard < 64; ++shard) {
        salts.insert(sample().shard_salt(base::ShardId(shard)));
    }
    CHECK(salts.size() == 64);
}

TEST_CASE("a crash while the node file is written leaves it absent or whole") {
    for (std::uint64_t cut = 0; cut < 8; ++cut) {
        SimDisk disk;
        disk.cut_after(cut);
        const base::Result<void> stored = store_node_file(disk, sample());
        base::Random random(cut);
        SimDisk::Seen seen;
        disk.crash_images(random, seen, 0, [&](const sim::Image& image, std::uint64_t) {
            SimDisk after(image);
            NodeFile loaded;
            const base::Result<NodeFileFound> found = load_node_file(after, loaded);
            REQUIRE(found.has_value());
            CHECK((*found == NodeFileFound::present || !stored));
            if (*found == NodeFileFound::present) {
                CHECK(loaded.salt == sample().salt);
            }
            return true;
        });
    }
}

}  // namespace
}  // namespace ursula::storage
