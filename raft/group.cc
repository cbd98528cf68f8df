// Dispatch, start, terms, and what the disk and the machine report.
#include "raft/group.h"

#include <algorithm>

#include "base/verify.h"

namespace ursula::raft {

void Group::step(const Input& input, Now now, Effects& effects) {
    VERIFY(started_ || std::holds_alternative<Start>(input));
    std::visit([&](const auto& happened) { on(happened, now, effects); }, input);
}

void Group::on(const Start& start, Now now, Effects& effects) {
    VERIFY(!started_);
    // Voters have no messages to each other yet, so a membership of several could never elect or
    // commit.
    VERIFY(start.voters.size() == 1 && start.voters.front() == self_);
    started_ = true;
    hard_state_ = start.hard_state;
    hard_state_persisted_ = start.hard_state;
    // The only voter commits what is on its disk: a log that ends below the hint has lost entries,
    // and recovery refuses such a directory.
    VERIFY(start.commit_hint <= start.last);
    log_.restore(start.snapshot, start.log_terms, start.last,
                 std::max(start.commit_hint, start.snapshot.index));
    // 3.3: a server's term is at least that of its log.
    VERIFY(hard_state_.term >= log_.last_id().term);
    for (const NodeId voter : start.voters) {
        voters_.push_back({.id = voter, .match = {}, .read_confirmed = {}, .granted = false});
    }
    if (log_.committed() > start.snapshot.index) {
        effects.commit_to = log_.committed();
    }
    // Election timeouts are there to hear from a leader (3.4). The only voter has nobody to hear
    // from.
    deadline_ = now.mono;
}

void Group::on(const Persisted& persisted, Now /*now*/, Effects& effects) {
    VERIFY(persisted.hard_state <= hard_state_);
    hard_state_persisted_ = std::max(hard_state_persisted_, persisted.hard_state);
    if (log_.contains(persisted.log)) {
        log_.set_persisted(persisted.log.index);
    }
    switch (role_) {
        case Role::follower:
            break;
        case Role::candidate:
            // Only a vote that survives a crash is a vote (3.8): else a restarted node could give
            // its vote twice.
            if (hard_state_persisted_ == hard_state_) {
                self_voter().granted = true;
                count_votes(effects);
            }
            break;
        case Role::leader:
            // The leader's log counts like any other voter's: when it is durable (10.2.1).
            self_voter().match = log_.persisted();
            advance_commit(effects);
            break;
    }
}

void Group::on(const Timeout& /*timeout*/, Now now, Effects& effects) {
    if (now.mono >= deadline_) {
        campaign(effects);
    }
}

void Group::on(const Applied& applied, Now /*now*/, Effects& /*effects*/) {
    log_.set_applied(applied.index);
}

void Group::on(const SnapshotTaken& taken, Now /*now*/, Effects& /*effects*/) {
    log_.compact(taken.last);
}

Voter& Group::self_voter() {
    const auto self = std::find_if(voters_.begin(), voters_.end(),
                                   [this](const Voter& voter) { return voter.id == self_; });
    VERIFY(self != voters_.end());
    return *self;
}

void Group::become(Role role, NodeId leader, Effects& effects) {
    role_ = role;
    leader_ = leader;
    effects.role_change = RoleChange{role_, hard_state_.term, leader_};
}

Status Group::status() const {
    return {
        .group = id_,
        .self = self_,
        .role = role_,
        .hard_state = hard_state_,
        .hard_state_persisted = hard_state_persisted_,
        .leader = leader_,
        .snapshot = log_.snapshot(),
        .last = log_.last_id(),
        .persisted = log_.persisted(),
        .committed = {log_.term_at(log_.committed()), log_.committed()},
        .applied = log_.applied(),
        .uncommitted_bytes = log_.uncommitted_bytes(),
        .term_start = term_start_,
        .reads_asked = reads_asked_,
        .reads_answered = reads_answered_,
        .deadline = deadline_,
        .voters = voters_,
    };
}

}  // namespace ursula::raft
