// What the admin plane is told by the node around it; the rest it asks the shards.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "ops/health.h"

namespace ursula::admin {

// A node as the configuration or the replicated list of members names it.
struct NodeRow {
    base::NodeId id;
    std::string address;  // where other nodes reach it; a node of one: where clients do
    std::string client;   // base URL for clients; empty: not known
};

// The cluster as this node's directory knew it at the start, itself included. Who belongs to it now
// the groups know; this is for as long as they cannot be asked. Owned by the node; not changed
// while a loop may look.
struct ClusterView {
    std::string name;  // empty: none was given
    base::NodeId self;
    std::vector<NodeRow> nodes;
};

// Taken for each answer.
struct NodeFacts {
    const ClusterView* cluster = nullptr;
    std::string_view version;
    std::uint64_t uptime_seconds = 0;
    bool started = false;  // every shard has read its log: it answers calls
    ops::HealthInput health;
    std::uint64_t appended_bytes = 0;  // since the start
    std::uint64_t memory_bytes = 0;    // stream bytes held in memory
    std::uint64_t disk_bytes = 0;      // of the data directory
    bool has_free_bytes = false;       // false in memory
    std::uint64_t free_bytes = 0;
};

}  // namespace ursula::admin
