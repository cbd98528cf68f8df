// Bugs planted on purpose: tests/differential builds this folder once more with
// URSULA_PLANTED_BUGS and shows that its model finds each.
#pragma once

#include <cstdint>

#include "base/planted.h"

namespace ursula::stream {

enum class Planted : std::uint8_t {
    none,
    seq_may_repeat,       // a Stream-Seq that equals the last one is accepted
    gap_accepted,         // a producer may leave out a number
    closed_after_type,    // another media type on a closed stream is told before its closure
    close_without_touch,  // closing does not renew a window
    dies_late,            // a stream lives a millisecond longer than its window
    source_not_kept,      // a source that is deleted goes, forks or not
    append_split,         // an unaligned read begins inside the append
};

using base::planted;

}  // namespace ursula::stream
