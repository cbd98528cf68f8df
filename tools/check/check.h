// Decides whether a history of append-only streams is linearizable, exactly, in time linear in its
// operations (after sorting the reads of streams whose offsets are not all known).
//
// A log names the place of each of its appends, so the order of the writes is given and only
// intervals remain. Transition i of a stream is its i-th append; a last transition is its close,
// unless the last append closed it in the same step. State k means "exactly the first k transitions
// happened". Every operation bounds the instant t[i] of a transition: R[i] <= t[i] <= D[i]. Since t
// grows with i, the earliest choice, the maximum of R[1..i], is as good as any and fails only where
// every choice fails.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tools/check/history.h"

namespace ursula::check {

struct Violation {
    std::string stream;
    std::string reason;
    std::vector<std::uint32_t> lines;  // Of the history: the witnesses.
};

struct Verdict {
    std::vector<Violation> violations;  // At most one a stream: the first that was met.
    std::uint64_t appends = 0;
    std::uint64_t acked = 0;  // Appends that were acknowledged at least once.
    std::uint64_t reads = 0;
    // Reads from an offset that the history does not place; they were not judged.
    std::uint64_t unplaced = 0;
};

Verdict check_history(const History& history);

}  // namespace ursula::check
