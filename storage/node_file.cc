#include "storage/node_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>

#include "base/crc32c.h"
#include "base/limits.h"
#include "base/siphash.h"
#include "base/wire.h"
#include "storage/staging.h"

namespace ursula::storage {

namespace limits = base::limits;

namespace {

// A slot of the file, at 0 and again at 4096; the rest of each is zero.
//   magic         0   8
//   checksum      8   4   crc of [12, 128)
//   format       12   4
//   node         16   4
//   shards       20   4
//   groups       24   4
//   name length  28   4
//   salt         32   8
//   begun        40   4   0 or 1
//   cluster      44   4   length of the cluster's record, 0 without one
//   checksum     48   4   of the cluster's record
//   zero         52   4
//   run          56   8
//   created by   64  64
//   cluster     128       record (format 2):
//     id 8, stage 4, members 4; per member: node 4, shards 4, incarnation 8, 2 + address,
//     2 + client URL
constexpr std::uint64_t node_magic = 0x31656c6966727255;  // "Urrfile1"
constexpr std::size_t slot_bytes = node_file_bytes / 2;
constexpr std::size_t record_bytes = 128;
constexpr std::size_t created_by_max = 64;
constexpr std::uint32_t format_alone = 1;
constexpr std::size_t cluster_bytes_max = slot_bytes - record_bytes;
static_assert(16 + limits::cluster_members_max *
                       (20 + limits::member_address_bytes_max + limits::member_url_bytes_max) <=
              cluster_bytes_max);

bool decode_slot(base::Bytes slot, NodeFile& out) {
    const std::byte* at = slot.data();
    if (base::load<std::uint64_t>(at) != node_magic ||
        base::load<std::uint32_t>(at + 8) != base::crc32c({at + 12, record_bytes - 12})) {
        return false;
    }
    out.format = base::load<std::uint32_t>(at + 12);
    out.node = base::NodeId(base::load<std::uint32_t>(at + 16));
    out.shards = base::load<std::uint32_t>(at + 20);
    out.groups = base::load<std::uint32_t>(at + 24);
    out.salt = base::load<std::uint64_t>(at + 32);
    out.begun = base::load<std::uint32_t>(at + 40) != 0;
    out.run = base::load<std::uint64_t>(at + 56);
    const std::size_t length =
        std::min<std::size_t>(base::load<std::uint32_t>(at + 28), created_by_max);
    out.created_by = std::string(base::as_text({at + 64, length}));
    out.cluster = {};
    const std::size_t cluster_length = base::load<std::uint32_t>(at + 44);
    if (out.format < data_format_version || cluster_length == 0) {
        return true;
    }
    if (cluster_length > cluster_bytes_max) {
        return false;
    }
    const base::Bytes cluster(at + record_bytes, cluster_length);
    return base::load<std::uint32_t>(at + 48) == base::crc32c(cluster) &&
           decode_cluster_record(cluster, out.cluster);
}

base::Error disk_error(const DiskOp& op) {
    const int error = static_cast<int>(-op.result);
    return {fmt::format("{}: {}", op.name, std::strerror(error)), error};
}

}  // namespace

std::uint64_t NodeFile::shard_salt(base::ShardId shard) const {
    std::array<std::byte, 12> bytes{};
    base::store(bytes.data(), salt);
    base::store(bytes.data() + 8, shard.value);
    const std::uint64_t low = base::crc32c(bytes);
    return (salt ^ (low << 32 | low)) * 0x9e3779b97f4a7c15u + shard.value;
}

std::uint64_t NodeFile::incarnation() const {
    return base::siphash({salt, ~salt}, base::as_bytes("incarnation"));
}

std::vector<std::byte> encode_cluster_record(const ClusterRecord& record) {
    std::vector<std::byte> bytes(cluster_bytes_max);
    base::WireWriter out(bytes);
    out.put(record.id);
    out.put(static_cast<std::uint32_t>(record.stage));
    out.put(static_cast<std::uint32_t>(record.members.size()));
    for (const ClusterMember& member : record.members) {
        out.put(member.id.value);
        out.put(member.shards);
        out.put(member.incarnation);
        out.put(static_cast<std::uint16_t>(member.address.size()));
        out.put_text(member.address);
        out.put(static_cast<std::uint16_t>(member.client.size()));
        out.put_text(member.client);
    }
    bytes.resize(out.used());
    return bytes;
}

bool decode_cluster_record(base::Bytes bytes, ClusterRecord& out) {
    base::WireReader in(bytes);
    out = {};
    out.id = in.get<std::uint64_t>();
    const auto stage = in.get<std::uint32_t>();
    const auto count = in.get<std::uint32_t>();
    if (!in.ok() || stage > static_cast<std::uint32_t>(ClusterStage::formed) ||
        count > limits::cluster_members_max) {
        return false;
    }
    out.stage = static_cast<ClusterStage>(stage);
    for (std::uint32_t i = 0; i < count; ++i) {
        ClusterMember member;
        member.id = base::NodeId(in.get<std::uint32_t>());
        member.shards = in.get<std::uint32_t>();
        member.incarnation = in.get<std::uint64_t>();
        const std::size_t address = in.get<std::uint16_t>();
        member.address = std::string(in.get_text(address));
        const std::size_t client = in.get<std::uint16_t>();
        member.client = std::string(in.get_text(client));
        const bool rises = out.members.empty() || out.members.back().id < member.id;
        if (!in.ok() || !rises || member.id.value == 0 || member.id.value > limits::node_id_max ||
            member.shards == 0 || member.shards > limits::shards_max ||
            address > limits::member_address_bytes_max || client > limits::member_url_bytes_max) {
            return false;
        }
        out.members.push_back(std::move(member));
    }
    const bool none = out.stage == ClusterStage::none;
    const bool has_members = !out.members.empty();
    return in.left() == 0 && none == (out.id == 0) && !(none && has_members) &&
           (has_members || out.stage != ClusterStage::forming);
}

void encode_node_file(const NodeFile& file, base::MutableBytes out) {
    VERIFY(out.size() == node_file_bytes && file.created_by.size() <= created_by_max);
    std::memset(out.data(), 0, out.size());
    std::byte* at = out.data();
    base::store(at, node_magic);
    const bool alone = file.cluster.stage == ClusterStage::none;
    base::store(at + 12, file.format <= data_format_version
                             ? (alone ? format_alone : data_format_version)
                             : file.format);
    base::store(at + 16, file.node.value);
    base::store(at + 20, file.shards);
    base::store(at + 24, file.groups);
    base::store(at + 28, static_cast<std::uint32_t>(file.created_by.size()));
    base::store(at + 32, file.salt);
    base::store(at + 40, static_cast<std::uint32_t>(file.begun ? 1 : 0));
    base::store(at + 56, file.run);
    base::copy_bytes(at + 64, base::as_bytes(file.created_by));
    if (!alone) {
        const std::vector<std::byte> cluster = encode_cluster_record(file.cluster);
        base::store(at + 44, static_cast<std::uint32_t>(cluster.size()));
        base::store(at + 48, base::crc32c(cluster));
        base::copy_bytes(at + record_bytes, cluster);
    }
    base::store(at + 8, base::crc32c({at + 12, record_bytes - 12}));
    std::memcpy(at + slot_bytes, at, slot_bytes);
}

base::Result<NodeFile> decode_node_file(base::Bytes bytes) {
    NodeFile file;
    const bool found =
        bytes.size() >= node_file_bytes && (decode_slot(bytes.subspan(0, slot_bytes), file) ||
                                            decode_slot(bytes.subspan(slot_bytes), file));
    if (!found) {
        return base::fail(fmt::format(
            "the file {} is damaged at bytes 0 and {}: both copies are unreadable; restore it "
            "from a copy of this data directory",
            node_file_name, slot_bytes));
    }
    if (file.format > data_format_version) {
        return base::fail(fmt::format(
            "the data directory has format {}, written by ursula {}; this version knows "
            "formats up to {}: start a newer version",
            file.format, file.created_by, data_format_version));
    }
    return file;
}

base::Result<NodeFileFound> load_node_file(Disk& root, NodeFile& out) {
    base::Result<std::vector<FileInfo>> listed = root.list_now();
    if (!listed) {
        return tl::unexpected(std::move(listed.error()));
    }
    const bool present = std::any_of(listed->begin(), listed->end(), [](const FileInfo& info) {
        return info.name == node_file_name;
    });
    if (!present) {
        return NodeFileFound::absent;
    }
    DiskOp op;
    op.kind = DiskOp::Kind::open;
    op.name = node_file_name;
    root.run_now(op);
    if (op.result < 0) {
        return tl::unexpected(disk_error(op));
    }
    const AlignedMemory memory = allocate_aligned(node_file_bytes);
    std::memset(memory.get(), 0, node_file_bytes);
    op.kind = DiskOp::Kind::read;
    op.position = 0;
    op.buffer = {memory.get(), node_file_bytes};
    root.run_now(op);
    const std::int64_t result = op.result;
    op.kind = DiskOp::Kind::close;
    root.run_now(op);
    if (result < 0) {
        op.result = result;
        return tl::unexpected(disk_error(op));
    }
    base::Result<NodeFile> file = decode_node_file({memory.get(), node_file_bytes});
    if (!file) {
        return tl::unexpected(std::move(file.error()));
    }
    out = std::move(*file);
    return NodeFileFound::present;
}

base::Result<void> store_node_file(Disk& root, const NodeFile& file) {
    const AlignedMemory memory = allocate_aligned(node_file_bytes);
    encode_node_file(file, {memory.get(), node_file_bytes});
    DiskOp op;
    op.name = std::string(node_file_name) + ".tmp";
    op.new_name = node_file_name;
    op.create = true;
    op.bytes = {memory.get(), node_file_bytes};
    for (const DiskOp::Kind kind :
         {DiskOp::Kind::open, DiskOp::Kind::write, DiskOp::Kind::sync, DiskOp::Kind::close,
          DiskOp::Kind::rename, DiskOp::Kind::sync_directory}) {
        op.kind = kind;
        root.run_now(op);
        if (op.result < 0) {
            return tl::unexpected(disk_error(op));
        }
    }
    return {};
}

}  // namespace ursula::storage
