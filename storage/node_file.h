// What a data directory says about itself: one small file at its top, "node", written before
// anything else and holding two equal copies so that one damaged byte never costs the directory.
// The lock on the directory is src/io's.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/ids.h"
#include "base/result.h"
#include "storage/disk.h"

namespace ursula::storage {

constexpr std::uint32_t data_format_version = 1;  // of the whole directory; a newer one is refused

struct NodeFile {
    std::uint32_t format = data_format_version;
    base::NodeId node;
    std::uint64_t salt =
        0;  // random at creation, the storage incarnation; keys every checksum below the directory
    std::uint32_t shards = 0;
    std::uint32_t groups = 0;
    // Every shard has had its log: one without is not a first start, it has lost it.
    bool begun = false;
    std::string created_by;  // program version, at most 64 bytes

    // The salt of one shard's log and snapshots.
    std::uint64_t shard_salt(base::ShardId shard) const;
};

enum class NodeFileFound : std::uint8_t { absent, present };

// Blocks (run_now). `root` is a Disk on the top of the data directory. Error: errno_value 0 refuses
// the directory (damaged, newer format: the message says which and what to do), else the disk
// failed.
base::Result<NodeFileFound> load_node_file(Disk& root, NodeFile& out);
// Writes aside, syncs, renames, syncs the directory.
base::Result<void> store_node_file(Disk& root, const NodeFile& file);

// The bytes of the file (two slots of 4 KiB), for tests and tools.
constexpr std::size_t node_file_bytes = 8192;
void encode_node_file(const NodeFile& file, base::MutableBytes out);
base::Result<NodeFile> decode_node_file(base::Bytes bytes);

constexpr std::string_view node_file_name = "node";

}  // namespace ursula::storage
