// Bugs planted on purpose: tests/differential builds this folder once more with
// URSULA_PLANTED_BUGS and shows that its model finds each.
#pragma once

#include <cstdint>

#include "base/planted.h"

namespace ursula::http {

enum class Planted : std::uint8_t {
    none,
    tag_without_life,    // a stream that was deleted and created again has the ETags of the old one
    tag_without_form,    // lines and arrays share their ETags
    always_up_to_date,   // reads below the tail say Stream-Up-To-Date
    control_always_new,  // every control event of a tail says upToDate
    duplicate_is_new,    // a producer's duplicate is told with 200
    poll_keeps_cursor,   // a long-poll gives back the cursor that it was sent
};

using base::planted;

}  // namespace ursula::http
