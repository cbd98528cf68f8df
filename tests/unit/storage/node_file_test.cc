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
    NodeFile file = sample();
    file.run = 12;
    REQUIRE(store_node_file(disk, file).has_value());
    CHECK(disk.unsynced_sectors() == 0);
    CHECK(disk.unsynced_names() == 0);
    CHECK(*load_node_file(disk, loaded) == NodeFileFound::present);
    CHECK(loaded.node == base::NodeId(7));
    CHECK(loaded.salt == sample().salt);
    CHECK(loaded.shards == 4);
    CHECK(loaded.groups == 64);
    CHECK(loaded.run == 12);
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
        CHECK(file->format == 1);
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
          "the data directory has format 3, written by ursula 9.9; this version knows formats up "
          "to 2: start a newer "
          "version");
}

NodeFile member_of_three() {
    NodeFile file = sample();
    file.cluster.stage = ClusterStage::forming;
    file.cluster.id = 0xc0ffee;
    for (std::uint32_t id = 5; id <= 7; ++id) {
        ClusterMember member;
        member.id = base::NodeId(id);
        member.shards = id - 4;
        member.incarnation = id * 1000;
        member.address = "10.0.0." + std::to_string(id) + ":4439";
        member.client = "http://10.0.0." + std::to_string(id) + ":4437";
        file.cluster.members.push_back(member);
    }
    return file;
}

TEST_CASE("a member's cluster comes back as written, in a format of its own") {
    std::vector<std::byte> bytes(node_file_bytes);
    encode_node_file(member_of_three(), bytes);
    for (const std::size_t damaged : {0u, 20u, 60u, 130u, 200u, 4096u}) {
        std::vector<std::byte> copy = bytes;
        copy[damaged] ^= std::byte{4};
        const base::Result<NodeFile> file = decode_node_file(copy);
        REQUIRE(file.has_value());
        CHECK(file->cluster == member_of_three().cluster);
        CHECK(file->format == 2);
    }
    bytes[130] ^= std::byte{4};
    bytes[4096 + 230] ^= std::byte{4};
    CHECK(!decode_node_file(bytes));

    SimDisk disk;
    NodeFile grown = sample();
    REQUIRE(store_node_file(disk, grown).has_value());
    grown.cluster = member_of_three().cluster;
    REQUIRE(store_node_file(disk, grown).has_value());
    NodeFile loaded;
    CHECK(*load_node_file(disk, loaded) == NodeFileFound::present);
    CHECK(loaded.cluster == grown.cluster);
    CHECK(loaded.incarnation() == sample().incarnation());
    NodeFile emptied = sample();
    emptied.salt += 1;
    CHECK(emptied.incarnation() != sample().incarnation());
}

TEST_CASE("the file of a node alone is the one that earlier versions wrote") {
    // 0.1.0 wrote these; the rest is zero, and the second half equals the first.
    constexpr std::uint8_t before[] = {0x55, 0x72, 0x72, 0x66, 0x69, 0x6c, 0x65, 0x31, 0x73, 0x7f,
                                       0x55, 0xe6, 0x01, 0x00, 0x00, 0x00, 0x07, 0x00, 0x00, 0x00,
                                       0x04, 0x00, 0x00, 0x00, 0x40, 0x00, 0x00, 0x00, 0x05, 0x00,
                                       0x00, 0x00, 0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01};
    std::vector<std::byte> bytes(node_file_bytes);
    encode_node_file(sample(), bytes);
    for (std::size_t i = 0; i < sizeof before; ++i) {
        CAPTURE(i);
        CHECK(static_cast<std::uint8_t>(bytes[i]) == before[i]);
    }
    for (std::size_t i = 40; i < 4096; ++i) {
        if (i < 64 || i >= 69) {
            CHECK(bytes[i] == std::byte{});
        }
    }
    CHECK(decode_node_file(bytes)->cluster == ClusterRecord{});
}

TEST_CASE("a cluster's record out of bounds or order is none") {
    const ClusterRecord good = member_of_three().cluster;
    ClusterRecord out;
    CHECK(decode_cluster_record(encode_cluster_record(good), out));
    CHECK(out == good);
    const auto refused = [&](auto change) {
        ClusterRecord record = good;
        change(record);
        return !decode_cluster_record(encode_cluster_record(record), out);
    };
    CHECK(refused([](ClusterRecord& record) { record.members[1].id = base::NodeId(5); }));
    CHECK(refused([](ClusterRecord& record) { record.members[0].id = base::NodeId(0); }));
    CHECK(refused([](ClusterRecord& record) { record.members[0].shards = 0; }));
    CHECK(refused([](ClusterRecord& record) { record.members[0].shards = 65; }));
    CHECK(refused([](ClusterRecord& record) { record.members[0].address.resize(65, 'x'); }));
    CHECK(refused([](ClusterRecord& record) { record.members[0].client.resize(257, 'x'); }));
    CHECK(refused([](ClusterRecord& record) {
        record.stage = ClusterStage::forming;
        record.members.clear();
    }));
    CHECK(refused([](ClusterRecord& record) { record.id = 0; }));
    CHECK(refused([](ClusterRecord& record) { record.stage = ClusterStage::none; }));
    CHECK(refused([](ClusterRecord& record) { record = {ClusterStage::none, 5, {}}; }));
    CHECK(refused([](ClusterRecord& record) { record = {ClusterStage::formed, 0, {}}; }));
    // Who was taken in later knows no founders.
    CHECK(!refused([](ClusterRecord& record) { record = {ClusterStage::formed, 5, {}}; }));
    CHECK(out.admitted());
    CHECK(!good.admitted());
    CHECK(refused([](ClusterRecord& record) {
        for (std::uint32_t id = 8; id < 13; ++id) {
            ClusterMember member = record.members[0];
            member.id = base::NodeId(id);
            record.members.push_back(member);
        }
    }));
    const std::vector<std::byte> bytes = encode_cluster_record(good);
    for (std::size_t size = 0; size < bytes.size(); ++size) {
        CHECK_FALSE(decode_cluster_record(base::Bytes(bytes).first(size), out));
    }
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
