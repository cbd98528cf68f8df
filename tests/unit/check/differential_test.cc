// The checker against an exhaustive search, over small random histories with random damage.
#include "tests/unit/check/differential.h"

#include <doctest/doctest.h>

using ursula::check::reference::compare;
using ursula::check::reference::Comparison;

TEST_CASE("the checker agrees with an exhaustive search") {
    constexpr std::uint64_t histories = 200'000;
    const Comparison result = compare(20261123, histories);
    CAPTURE(result.what);
    REQUIRE(result.disagreed == 0);
    MESSAGE(result.histories << " histories, " << result.consistent << " consistent, "
                             << result.unplaced << " with reads that could not be placed");
    // Both verdicts must be common, else the comparison means little.
    CHECK(result.consistent > histories / 4);
    CHECK(result.consistent < histories * 3 / 4);
    CHECK(result.unplaced < histories / 20);
}
