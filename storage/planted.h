// Bugs planted on purpose: tests/crash builds the island once more with URSULA_PLANTED_BUGS and
// shows that its crash-state test finds each.
#pragma once

#include <cstdint>

#include "base/planted.h"

namespace ursula::storage {

enum class Planted : std::uint8_t {
    none,
    ack_before_sync,   // a batch counts as durable when it was written, not when it was synced
    checksum_ignored,  // records are believed without their checksums
    torn_tail_is_segment_end,  // a torn batch ends its segment and the next segment is read on
    recycled_accepted,         // checksums are not salted and continuity is not asked for
    truncate_forgotten,        // a start does not carry out the truncations of the log
};

using base::planted;

}  // namespace ursula::storage
