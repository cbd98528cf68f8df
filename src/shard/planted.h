// Bugs planted on purpose: tests/sim builds this folder once more with URSULA_PLANTED_BUGS and
// shows that the simulator finds each. In the product planted() is false at compile time.
#pragma once

#include <cstdint>

namespace ursula::shard {

enum class Planted : std::uint8_t {
    none,
    vote_before_sync,      // terms and votes count as durable when they are staged (R6)
    hint_ahead,            // entries say that all before them is committed
    ticket_by_index,       // whoever asked for an entry is answered for the one in its place
    reads_unconfirmed,     // reads are answered from applied state without a ReadIndex (R9)
    bodies_shifted,        // entries that were known already are not skipped in a frame
    forward_resent,        // a forwarded write is sent again after its connection began anew
    forward_twice,         // a forwarded write in a doubled frame is done twice
    submitted_rerouted,    // one in a deposed leader's log is sent to the next one
    unknown_as_refused,    // lost forwards are told as certain refusals
    refused_reads_served,  // reads that lost their leader are answered from applied state
};

#if defined(URSULA_PLANTED_BUGS)
inline Planted planted_bug = Planted::none;
inline bool planted(Planted bug) {
    return planted_bug == bug;
}
#else
constexpr bool planted(Planted) {
    return false;
}
#endif

}  // namespace ursula::shard
