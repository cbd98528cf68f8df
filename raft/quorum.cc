#include "raft/quorum.h"

#include "base/verify.h"

namespace ursula::raft {

std::uint64_t reached_by_majority(std::span<const std::uint64_t> values) {
    VERIFY(!values.empty());
    const std::size_t needed = majority(values.size());
    std::uint64_t best = 0;
    for (const std::uint64_t candidate : values) {
        std::size_t reached = 0;
        for (const std::uint64_t value : values) {
            reached += value >= candidate ? 1 : 0;
        }
        if (reached >= needed && candidate > best) {
            best = candidate;
        }
    }
    return best;
}

}  // namespace ursula::raft
