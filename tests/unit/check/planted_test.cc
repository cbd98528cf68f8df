// Each fault that is planted in the checker is found by the comparison with the exhaustive search.
#include "tools/check/planted.h"

#include <doctest/doctest.h>

#include "tests/unit/check/differential.h"

using ursula::check::Planted;
using ursula::check::reference::compare;
using ursula::check::reference::Comparison;

TEST_CASE("every fault planted in the checker is found") {
    constexpr std::uint64_t histories = 100'000;
    for (int fault = 1; fault < static_cast<int>(Planted::last); ++fault) {
        ursula::check::planted_fault = static_cast<Planted>(fault);
        const Comparison result = compare(1, histories);
        ursula::check::planted_fault = Planted::none;
        CAPTURE(fault);
        CHECK(result.disagreed > 0);
        MESSAGE("fault " << fault << ": history " << result.disagreed);
    }
}
