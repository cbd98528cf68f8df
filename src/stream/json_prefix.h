// Where elements of stored JSON end. Stored JSON is valid and has a comma behind every element
// (stream/json.h), so only commas outside of strings and brackets count. No recursion, no
// allocation.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "base/slice.h"

namespace ursula::stream {

// Bytes that the first `count` elements take, their commas included. Nothing: there are not so
// many.
[[nodiscard]] std::optional<std::uint64_t> json_prefix_bytes(std::span<const base::Slice> stored,
                                                             std::uint64_t count);

}  // namespace ursula::stream
