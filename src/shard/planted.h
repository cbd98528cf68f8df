// Bugs planted on purpose: tests/shard builds this folder once more with URSULA_PLANTED_BUGS and
// shows that the simulator finds each.
#pragma once

#include <cstdint>

#include "base/planted.h"

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
    // Of forwarded writes:
    forward_resent,        // one is sent again after its connection began anew
    forward_twice,         // one in a doubled frame is done twice
    submitted_rerouted,    // one in a deposed leader's log is sent to the next one
    unknown_as_refused,    // lost ones are told as certain refusals
    refused_reads_served,  // reads that lost their leader are answered from applied state
    json_unjudged,         // what is no JSON is stored all the same
    early_unconfirmed,  // refusals and duplicates are told from applied state without a ReadIndex
    // Of streams with a ttl:
    clock_believed,    // a leader's reads call them gone by its clock alone
    touch_forgotten,   // reads do not touch
    touch_not_waited,  // they never wait until their touch is committed
    // Of forks:
    release_unabandoned,  // holds go although a create may still take the intent
    created_unheld,       // a fork is created although nobody said that its source is held
    intent_forgotten,     // one that nobody is at work on is forgotten, its hold with it
    inherited_unapplied,  // a replica of a source answers with what it has by that name
    // Of fetched snapshots:
    install_without_restart,  // the log is not told that it begins anew
    live_not_told,            // nor which segments the snapshot names
    gap_too_short,            // a piece more counts as held than is
    other_incarnation,        // bytes are taken over from a stream of the same name
    piece_twice,              // an answer that comes twice is taken twice
    source_not_changed,       // bytes are asked for at one node only, whatever it answers
    // Of a rotten log:
    rotten_entry_sent,  // followers are sent what fails its checksum
};

using base::planted;

}  // namespace ursula::shard
