// Writes long consistent histories, for measuring the checker: many clients' appends (with and
// without producers, with lost answers and retries), reads, heads, closes and deletes.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "tools/check/history.h"

namespace ursula::check {

struct Generate {
    std::uint64_t operations = 0;
    std::uint32_t streams = 64;  // Names; each lives once or several times.
    std::uint64_t seed = 1;
};

History generate_history(const Generate& wanted);

// The same history as text, operations in the order of their ends. `put` gets it in pieces.
void generate_text(const Generate& wanted, const std::function<void(const std::string&)>& put);

}  // namespace ursula::check
