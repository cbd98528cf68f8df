// Bugs planted on purpose: tests/fuzz builds files of this folder once more with
// URSULA_PLANTED_BUGS and shows that its fuzzers find each.
#pragma once

#include <cstdint>

#include "base/planted.h"

namespace ursula::net {

enum class Planted : std::uint8_t {
    none,
    cr_is_no_line_end,  // a payload's lone CR goes out as it is: what is behind it can forge events
};

using base::planted;

}  // namespace ursula::net
