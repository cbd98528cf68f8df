// Arithmetic over the voters' answers, for any number of voters.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace ursula::raft {

// The smallest number of voters that any other such set must share a member with.
constexpr std::size_t majority(std::size_t voters) {
    return voters / 2 + 1;
}

// The highest value that a majority of `values` has reached: the (n/2+1)-th largest. One value per
// voter, at least one and at most limits::members_max. Used for match indexes (commit, 3.6.2), for
// confirmed read contexts (6.4) and for votes (1 = granted, 3.4).
[[nodiscard]] std::uint64_t reached_by_majority(std::span<const std::uint64_t> values);

}  // namespace ursula::raft
