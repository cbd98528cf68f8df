// Bugs planted on purpose: tests/shard builds this folder once more with URSULA_PLANTED_BUGS and
// shows that the simulator finds each.
#pragma once

#include <cstdint>

#include "base/planted.h"

namespace ursula::raft {

enum class Planted : std::uint8_t {
    none,
    vote_unpersisted,      // a vote is told before it is durable (R6)
    campaign_unpersisted,  // a candidate asks before its own vote is durable (R6)
    vote_twice,            // a vote in a term does not rule out another one
    vote_forgotten,        // a restart keeps the term and forgets the vote
    short_log_elected,     // votes do not look at the candidate's log (3.6.1)
    minority_elects,       // one node less than a majority is taken for one
    ack_unpersisted,       // a follower acknowledges what it has not on disk (R6)
    undurable_counted,     // the leader counts what a follower has, durable or not
    self_ack,              // the leader's own log counts before its sync (10.2.1)
    old_term_commit,       // entries of earlier terms commit by being counted (figure 8)
    previous_unchecked,    // a follower appends without looking at the entry before
    cut_on_repeat,         // a message that was known already cuts off what lies behind it
    commit_unverified,     // a follower commits what it has not compared with the leader's log
    reads_before_noop,     // reads are answered before the term's own entry is committed (R8)
    never_asked_again,     // what got lost is not sent again
    late_membership,       // a membership is in force once it is committed, not before (4.1)
    learner_counted,       // a learner counts for commits and elections (4.2.1)
    removed_counted,       // voters that were removed still count
    change_unguarded,  // changes go without joint consensus and without waiting for the last one
    refused_term_ignored,  // who is told of a later term does not enter it
};

using base::planted;

}  // namespace ursula::raft
