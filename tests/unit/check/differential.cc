#include "tests/unit/check/differential.h"

#include "base/random.h"
#include "tests/unit/check/reference_model.h"
#include "tools/check/check.h"
#include "tools/check/write.h"

namespace ursula::check::reference {

Comparison compare(std::uint64_t seed, std::uint64_t histories) {
    base::Random random(seed);
    Comparison result;
    while (result.histories < histories) {
        ++result.histories;
        const std::uint64_t damages = random.below(4);
        const Case test = random_case(random, damages);
        const bool expected = linearizable(test);
        const History history = history_of(test);
        const Verdict verdict = check_history(history);
        const bool accepted = verdict.violations.empty();
        result.consistent += expected ? 1 : 0;
        result.unplaced += verdict.unplaced > 0 ? 1 : 0;
        const bool excused = verdict.unplaced > 0 && accepted;
        if ((accepted != expected && !excused) || (damages == 0 && !expected)) {
            result.disagreed = result.histories;
            result.what = expected ? "the search accepts, the checker does not"
                                   : "the checker accepts, the search does not";
            if (damages == 0 && !expected) {
                result.what = "the search refuses what the machine did";
            }
            result.what += '\n' + write_history(history);
            for (const Violation& violation : verdict.violations) {
                result.what += explain(history, violation);
            }
            break;
        }
    }
    return result;
}

}  // namespace ursula::check::reference
