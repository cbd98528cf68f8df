// The checker's verdicts against those of the exhaustive search.
#pragma once

#include <cstdint>
#include <string>

namespace ursula::check::reference {

struct Comparison {
    std::uint64_t histories = 0;
    std::uint64_t consistent = 0;
    std::uint64_t unplaced = 0;  // Reads that the checker left out, so that it could only say yes.
    // The first disagreement: its number from 1 (0: there is none) and what it looks like.
    std::uint64_t disagreed = 0;
    std::string what;
};

// Compares up to `histories` of them, until the first disagreement.
Comparison compare(std::uint64_t seed, std::uint64_t histories);

}  // namespace ursula::check::reference
