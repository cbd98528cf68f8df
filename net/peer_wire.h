// What connections between nodes are made of, below their meaning: a preamble in the clear, and
// then blocks.
//
//   preamble    at  size                     block header  at  size
//     magic      0     4  preamble_magic       magic        0     4
//     version    4     4  preamble_version     checksum     4     4  the reader of its kind's
//     target     8     4  a shard, or          version      8     4
//                         target_control       length      12     4  of the whole block
//     zero      12     4
//
// Numbers are little-endian. The preamble only says which loop is to have the connection: whoever
// sends it has proved nothing.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "base/bytes.h"
#include "base/wire.h"

namespace ursula::net {

constexpr std::uint32_t preamble_magic = 0x3150'7255;  // "UrP1"
constexpr std::uint32_t preamble_version = 1;
constexpr std::size_t preamble_bytes = 16;
constexpr std::uint32_t target_control = UINT32_MAX;  // the node, not one of its shards

constexpr std::size_t block_header_bytes = 16;

inline std::array<std::byte, preamble_bytes> encode_preamble(std::uint32_t target) {
    std::array<std::byte, preamble_bytes> bytes{};
    base::store(bytes.data(), preamble_magic);
    base::store(bytes.data() + 4, preamble_version);
    base::store(bytes.data() + 8, target);
    return bytes;
}

// The target; nothing: these are not the first bytes of a peer of ours.
inline std::optional<std::uint32_t> decode_preamble(base::Bytes bytes) {
    if (bytes.size() != preamble_bytes ||
        base::load<std::uint32_t>(bytes.data()) != preamble_magic ||
        base::load<std::uint32_t>(bytes.data() + 4) != preamble_version ||
        base::load<std::uint32_t>(bytes.data() + 12) != 0) {
        return std::nullopt;
    }
    return base::load<std::uint32_t>(bytes.data() + 8);
}

// A kind of block that is welcome now.
struct BlockKind {
    std::uint32_t magic = 0;
    std::size_t bytes_min = block_header_bytes;
    std::size_t bytes_max = 0;
};

inline std::uint32_t magic_of(base::Bytes block) {
    return base::load<std::uint32_t>(block.data());
}

}  // namespace ursula::net
