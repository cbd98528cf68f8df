// Bugs planted on purpose: tests/sim builds this folder once more with URSULA_PLANTED_BUGS and
// shows that the simulator finds each. In the product planted() is false at compile time.
#pragma once

#include <cstdint>

namespace ursula::shard {

enum class Planted : std::uint8_t {
    none,
    vote_before_sync,    // terms and votes count as durable when they are staged (R6)
    hint_ahead,          // entries say that all before them is committed
    ticket_by_index,     // whoever asked for an entry is answered for the one in its place
    reads_unconfirmed,   // reads are answered from applied state without a ReadIndex (R9)
    bodies_shifted,      // entries that were known already are not skipped in a frame
    lost_acknowledged,   // whoever asked for an entry that was cut off is told that it is there
    applied_early,       // what is on disk is applied, committed or not
    entry_skipped,       // an entry in a hundred is not applied by followers
    producer_forgotten,  // entries replayed at a start have lost their producers (C6)
    wrong_group,         // an item in a thousand goes to the next group (R16)
    silence_unnoticed,   // a node that falls silent is not taken for down
    reads_unapplied,     // a read is served when it is confirmed, applied or not (R9)
    amnesiac_counts,     // a node whose storage is another one is the member of its old id (R11)
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
