// A hash whose values are written into data directories and must never change: stream name ->
// group. Fast and well mixed, not keyed: who chooses names can choose groups, which is no secret.
// Tables use siphash.h.
#pragma once

#include <cstdint>
#include <cstring>

#include "base/bytes.h"

namespace ursula::base {

// Eight bytes at a time, multiplied and folded (as in wyhash and FxHash); the length goes into the
// seed, so zero bytes at the end count.
[[nodiscard]] inline std::uint64_t stable_hash(Bytes bytes) {
    constexpr std::uint64_t k = 0x9e37'79b9'7f4a'7c15u;
    std::uint64_t hash = (bytes.size() + 1) * k;
    const std::byte* at = bytes.data();
    std::size_t left = bytes.size();
    const auto mix = [&hash](std::uint64_t word) {
        hash = (hash ^ word) * k;
        hash ^= hash >> 29;
    };
    for (; left >= 8; left -= 8, at += 8) {
        std::uint64_t word = 0;
        std::memcpy(&word, at, 8);
        mix(word);
    }
    if (left > 0) {
        std::uint64_t word = 0;
        std::memcpy(&word, at, left);
        mix(word);
    }
    hash ^= hash >> 32;
    hash *= 0xd6e8'feb8'6659'fd93u;
    return hash ^ (hash >> 32);
}

}  // namespace ursula::base
