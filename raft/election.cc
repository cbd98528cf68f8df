// Becoming leader (thesis 3.4): a new term, a durable vote for oneself, a majority.
#include <array>

#include "base/verify.h"
#include "raft/group.h"
#include "raft/quorum.h"

namespace ursula::raft {

void Group::campaign(Effects& effects) {
    VERIFY(role_ == Role::follower);
    hard_state_ = {hard_state_.term.next(), self_};
    effects.hard_state = hard_state_;
    for (Voter& voter : voters_) {
        voter.match = LogIndex{};
        voter.read_confirmed = reads_answered_;
        voter.granted = false;
    }
    become(Role::candidate, NodeId{}, effects);
    // The only voter waits for its own disk, which cannot be hurried by asking again.
    deadline_ = Instant::never();
}

void Group::count_votes(Effects& effects) {
    std::array<std::uint64_t, voters_max> granted;
    for (std::size_t i = 0; i < voters_.size(); ++i) {
        granted[i] = voters_[i].granted ? 1 : 0;
    }
    if (reached_by_majority({granted.data(), voters_.size()}) == 1) {
        lead(effects);
    }
}

void Group::lead(Effects& effects) {
    become(Role::leader, self_, effects);
    self_voter().match = log_.persisted();
    // 6.4: entries of earlier terms commit with the first one of the leader's own, so it writes one
    // at once.
    term_start_ = log_.last().next();
    append(EntryKind::noop, SubmitTicket{}, 0, effects);
}

}  // namespace ursula::raft
