// Stream name -> group -> shard. Pure and stable for ever: a data directory's streams are found by
// it, so the key below never changes. "bucket/affinity/stream" is placed by "bucket/affinity";
// everything else by its whole name.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/ids.h"
#include "base/stable_hash.h"

namespace ursula::api {

inline base::GroupId group_of(std::string_view routing_name, std::uint32_t groups) {
    // Multiply-shift of the hash's upper half: uniform without a division.
    const std::uint64_t hash = base::stable_hash(base::as_bytes(routing_name));
    return base::GroupId(static_cast<std::uint32_t>(((hash >> 32) * groups) >> 32));
}

inline base::ShardId shard_of(base::GroupId group, std::uint32_t shards) {
    return base::ShardId(group.value % shards);
}

// Where a subscription lives: by its name ("v1/orders"), which no stream's can be mistaken for.
inline base::GroupId group_of_subscription(std::string_view name, std::uint32_t groups) {
    return group_of("__ds/" + std::string(name), groups);
}

// Buckets and other facts of the whole node live here (DESIGN "Between groups").
constexpr base::GroupId bucket_group{0};

}  // namespace ursula::api
