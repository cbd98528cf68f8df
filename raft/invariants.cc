#include "raft/invariants.h"

#include <algorithm>
#include <vector>

#include "raft/quorum.h"

// Each line of a check is one invariant: the sentence returned is what is broken.
#define HOLDS(condition, sentence) \
    do {                           \
        if (!(condition)) {        \
            return sentence;       \
        }                          \
    } while (false)

namespace ursula::raft {
namespace {

LogIndex matched_by_majority(const Status& status) {
    std::vector<std::uint64_t> matches;
    for (const Voter& voter : status.voters) {
        matches.push_back(voter.match.value);
    }
    return LogIndex(reached_by_majority(matches));
}

std::string_view check_marks(const Status& now) {
    HOLDS(now.snapshot.index <= now.applied, "the snapshot covers entries that were not applied");
    HOLDS(now.applied <= now.committed.index, "applied beyond commit");
    HOLDS(now.committed.index <= now.last.index, "committed beyond the log");
    HOLDS(now.persisted <= now.last.index, "persisted beyond the log");
    HOLDS(now.snapshot.index <= now.persisted, "the snapshot covers entries that are not durable");
    HOLDS(now.snapshot.term <= now.committed.term && now.committed.term <= now.last.term,
          "terms fall along the log");
    HOLDS(now.last.term <= now.hard_state.term, "an entry of a term not yet entered");
    HOLDS(now.committed.index < now.last.index || now.uncommitted_bytes == 0,
          "bytes counted as uncommitted in a log that is committed to its end");
    return {};
}

std::string_view check_leader(const Status& now, const Voter& self) {
    HOLDS(now.leader == now.self, "a leader that names another");
    HOLDS(now.hard_state_persisted == now.hard_state, "leads a term that is not durable");
    HOLDS(now.term_start <= now.last.index && now.last.term == now.hard_state.term,
          "a leader without an entry of its own term");
    HOLDS(self.match <= now.persisted, "counts itself before its own write is durable");
    HOLDS(now.committed.index < now.term_start || matched_by_majority(now) >= now.committed.index,
          "committed without a majority");
    HOLDS(now.deadline == Instant::never(), "a leader that waits for an election");
    return {};
}

}  // namespace

std::string_view check_state(const Status& now) {
    const auto is_self = [&now](const Voter& voter) { return voter.id == now.self; };
    HOLDS(std::count_if(now.voters.begin(), now.voters.end(), is_self) == 1,
          "this node is not one of the voters, once");
    const Voter& self = *std::find_if(now.voters.begin(), now.voters.end(), is_self);
    HOLDS(now.hard_state_persisted <= now.hard_state, "durable hard state ahead of the real one");
    HOLDS(now.reads_answered <= now.reads_asked, "a read answered before it was asked");
    if (const std::string_view broken = check_marks(now); !broken.empty()) {
        return broken;
    }
    switch (now.role) {
        case Role::follower:
            HOLDS(now.reads_answered == now.reads_asked, "a follower that keeps reads open");
            return {};
        case Role::candidate:
            HOLDS(now.hard_state.vote == now.self, "a candidate that voted for another");
            HOLDS(now.leader == NodeId{}, "a candidate that knows a leader");
            HOLDS(!self.granted, "a candidate whose durable vote is enough and does not lead");
            return {};
        case Role::leader:
            HOLDS(now.hard_state.vote == now.self && self.granted, "leads without its own vote");
            return check_leader(now, self);
    }
    return "a role that does not exist";
}

std::string_view check_step(const Status& before, const Status& after, const Effects& effects) {
    HOLDS(before.group == after.group && before.self == after.self, "another group");
    HOLDS(after.hard_state.term >= before.hard_state.term, "the term went back");
    HOLDS(after.hard_state.term > before.hard_state.term || before.hard_state.vote == NodeId{} ||
              after.hard_state.vote == before.hard_state.vote,
          "a second vote in one term");
    HOLDS(after.hard_state == before.hard_state || effects.hard_state == after.hard_state,
          "a changed hard state that is not written");
    HOLDS(after.persisted >= before.persisted && after.committed.index >= before.committed.index &&
              after.applied >= before.applied && after.snapshot.index >= before.snapshot.index,
          "a mark went back");
    HOLDS(after.last.index >= before.last.index, "a leader shortened its log");

    // New entries are exactly those to write: next to the old end, of this term, without a gap.
    LogIndex last = before.last.index;
    for (const EntryToWrite& entry : effects.entries_to_write) {
        last = last.next();
        HOLDS(entry.id == (EntryId{after.hard_state.term, last}), "an entry out of its place");
    }
    HOLDS(last == after.last.index, "an entry that is not written");
    HOLDS(effects.entries_to_write.empty() || after.role == Role::leader,
          "a new entry without a leader");

    const bool committed = after.committed.index != before.committed.index;
    HOLDS(effects.commit_to == (committed ? after.committed.index : LogIndex{}),
          "a commit that is not told");
    HOLDS(!committed || after.committed.term == after.hard_state.term,
          "committed by counting an entry of an earlier term");

    const bool role_changed =
        after.role != before.role || after.hard_state.term != before.hard_state.term;
    HOLDS(role_changed == effects.role_change.has_value(), "a role change that is not told");
    HOLDS(!effects.role_change ||
              *effects.role_change == (RoleChange{after.role, after.hard_state.term, after.leader}),
          "a role change told wrongly");

    if (effects.reads_ready) {
        HOLDS(after.role == Role::leader, "a read answered without a leader");
        HOLDS(after.committed.index >= after.term_start,
              "a read answered before an entry of this term was committed");
        HOLDS(effects.reads_ready->index == after.committed.index, "a read at another index");
        HOLDS(effects.reads_ready->context > before.reads_answered &&
                  effects.reads_ready->context == after.reads_answered,
              "a read answered twice or never asked");
    }
    return {};
}

}  // namespace ursula::raft
