// Stream name -> group -> shard. Pure and stable for ever: a data directory's streams are found by
// it, so the key below never changes. "bucket/affinity/stream" is placed by "bucket/affinity";
// everything else by its whole name.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/ids.h"
#include "base/siphash.h"

namespace ursula::api {

constexpr base::HashKey placement_key{0x7572'7375'6c61'2e31u, 0x706c'6163'656d'656eu};

inline base::GroupId group_of(std::string_view routing_name, std::uint32_t groups) {
    // Multiply-shift of the hash's upper half: uniform without a division.
    const std::uint64_t hash = base::siphash(placement_key, base::as_bytes(routing_name));
    return base::GroupId(static_cast<std::uint32_t>(((hash >> 32) * groups) >> 32));
}

inline base::ShardId shard_of(base::GroupId group, std::uint32_t shards) {
    return base::ShardId(group.value % shards);
}

// Buckets and other facts of the whole node live here (DESIGN "Between groups").
constexpr base::GroupId bucket_group{0};

}  // namespace ursula::api
