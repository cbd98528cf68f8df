#include "raft/quorum.h"

#include <array>

#include "base/verify.h"
#include "raft/bounds.h"
#include "raft/planted.h"

namespace ursula::raft {

std::uint64_t reached_by_majority(std::span<const std::uint64_t> values) {
    VERIFY(!values.empty() && values.size() <= limits::members_max);
    // Sorted by insertion, largest first: memberships are a handful.
    std::array<std::uint64_t, limits::members_max> sorted;
    std::size_t count = 0;
    for (const std::uint64_t value : values) {
        std::size_t place = count++;
        for (; place > 0 && sorted[place - 1] < value; --place) {
            sorted[place] = sorted[place - 1];
        }
        sorted[place] = value;
    }
    if (planted(Planted::minority_elects) && count > 1) {
        return sorted[majority(count) - 2];
    }
    return sorted[majority(count) - 1];
}

}  // namespace ursula::raft
