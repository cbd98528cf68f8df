// What a data directory says about itself: one small file at its top, "node", written before
// anything else and holding two equal copies so that one damaged byte never costs the directory.
// The lock on the directory is src/io's.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "storage/disk.h"

namespace ursula::storage {

// Of the whole directory; a newer one is refused. 2: the node is one of a cluster; a directory of a
// node alone stays 1, which earlier versions open.
constexpr std::uint32_t data_format_version = 2;

// How far the cluster that this node belongs to has come (src/formation.h).
enum class ClusterStage : std::uint32_t {
    none,     // of no cluster: alone, or waiting for one
    forming,  // a cluster was proposed to it; nobody may vote
    formed,
};

// A node of the cluster as the directory remembers it.
struct ClusterMember {
    base::NodeId id;
    std::uint32_t shards = 0;
    std::uint64_t incarnation = 0;  // NodeFile::incarnation of its directory
    std::string address;            // numeric, with its port, where its peers reach it
    std::string client;             // URL where clients do

    bool operator==(const ClusterMember&) const = default;
};

struct ClusterRecord {
    ClusterStage stage = ClusterStage::none;
    std::uint64_t id = 0;  // random; 0 while stage is none
    // Who made it, by rising id. None in a formed one: the node was taken in later, and only its
    // groups' logs say who the members are.
    std::vector<ClusterMember> members;

    bool operator==(const ClusterRecord&) const = default;
    bool admitted() const { return stage == ClusterStage::formed && members.empty(); }
};

struct NodeFile {
    std::uint32_t format = data_format_version;
    base::NodeId node;
    std::uint64_t salt =
        0;  // random at creation, the storage incarnation; keys every checksum below the directory
    std::uint32_t shards = 0;
    std::uint32_t groups = 0;
    // Every shard has had its log: one without is not a first start, it has lost it.
    bool begun = false;
    // How often a node of a cluster has started on this directory, this time included: written
    // before any other node hears of it, so that an older copy of the directory is told from it
    // (reliability-anchors R11). 0: never since there is such a number.
    std::uint64_t run = 0;
    std::string created_by;  // program version, at most 64 bytes
    ClusterRecord cluster;

    // The salt of one shard's log and snapshots.
    std::uint64_t shard_salt(base::ShardId shard) const;
    // Names this directory to other nodes: an emptied one has another. Says nothing of the salt.
    std::uint64_t incarnation() const;
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

// A cluster's record as bytes, as it lies in the file and goes over the wire; the reader checks
// every bound and order. False: it is none.
std::vector<std::byte> encode_cluster_record(const ClusterRecord& record);
bool decode_cluster_record(base::Bytes bytes, ClusterRecord& out);

constexpr std::string_view node_file_name = "node";

}  // namespace ursula::storage
