#include "raft/quorum.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <functional>
#include <vector>

#include "base/random.h"

namespace ursula::raft {

TEST_CASE("a majority is more than half") {
    CHECK(majority(1) == 1);
    CHECK(majority(2) == 2);
    CHECK(majority(3) == 2);
    CHECK(majority(4) == 3);
    CHECK(majority(5) == 3);
}

TEST_CASE("what a majority has reached") {
    using Values = std::vector<std::uint64_t>;
    CHECK(reached_by_majority(Values{0}) == 0);
    CHECK(reached_by_majority(Values{7}) == 7);
    CHECK(reached_by_majority(Values{7, 3}) == 3);
    CHECK(reached_by_majority(Values{9, 1, 5}) == 5);
    CHECK(reached_by_majority(Values{9, 9, 1, 5}) == 5);
    CHECK(reached_by_majority(Values{0, 0, 0, 8, 9}) == 0);
    CHECK(reached_by_majority(Values{UINT64_MAX, UINT64_MAX, 2}) == UINT64_MAX);
}

TEST_CASE("agrees with sorting, for up to nine voters") {
    base::Random random(1);
    for (int round = 0; round < 20'000; ++round) {
        std::vector<std::uint64_t> values(random.between(1, 9));
        for (std::uint64_t& value : values) {
            value = random.below(6);
        }
        std::vector<std::uint64_t> sorted = values;
        std::sort(sorted.begin(), sorted.end(), std::greater<>());
        CHECK(reached_by_majority(values) == sorted[values.size() / 2]);
    }
}

}  // namespace ursula::raft
