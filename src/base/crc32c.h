// CRC-32C (Castagnoli, RFC 3720 appendix B.4), by the CPU's instruction. crc32c(a+b) = crc32c(b,
// crc32c(a)).
#pragma once

#include <cstdint>

#include "base/bytes.h"

namespace ursula::base {

[[nodiscard]] std::uint32_t crc32c(Bytes bytes, std::uint32_t previous = 0);

}  // namespace ursula::base
