// SipHash-1-3 (Aumasson, Bernstein 2012; reduced rounds as in hash tables elsewhere) for keys a
// client chooses.
#pragma once

#include <cstdint>

#include "base/bytes.h"

namespace ursula::base {

struct HashKey {
    std::uint64_t k0 = 0;
    std::uint64_t k1 = 0;
};

[[nodiscard]] std::uint64_t siphash(HashKey key, Bytes bytes);

}  // namespace ursula::base
