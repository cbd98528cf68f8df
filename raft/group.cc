// Dispatch, start, terms, and what the disk, the machine and the nodes' liveness report.
#include "raft/group.h"

#include <algorithm>
#include <utility>

#include "base/verify.h"

namespace ursula::raft {

void Group::step(const Input& input, Now now, Effects& effects) {
    VERIFY(started_ || std::holds_alternative<Start>(input));
    std::visit([&](const auto& happened) { on(happened, now, effects); }, input);
}

void Group::on(const Start& start, Now now, Effects& effects) {
    VERIFY(!started_ && !start.memberships.empty());
    started_ = true;
    hard_state_ = start.hard_state;
    if (planted(Planted::vote_forgotten)) {
        hard_state_.vote = NodeId{};
    }
    hard_state_persisted_ = hard_state_;
    life_ = start.life;
    // Mixed, so that lives and nodes numbered one after the other do not draw the same.
    random_ = start.life * 0x9e37'79b9'7f4a'7c15u + id_.value * 0xd6e8'feb8'6659'fd93u +
              self_.value * 0xa076'1d64'78bd'642fu;
    // A log that ends below what is known committed has lost entries, and recovery refuses such a
    // directory.
    VERIFY(start.commit_hint <= start.last);
    log_.restore(start.snapshot, start.log_terms, start.last,
                 std::max(start.commit_hint, start.snapshot.index));
    // 3.3: a server's term is at least that of its log. Only a snapshot may have come without it
    // (see SnapshotInstalled).
    if (hard_state_.term < log_.last_id().term) {
        VERIFY(log_.last() == log_.snapshot().index);
        hard_state_ = {log_.snapshot().term, NodeId{}};
        effects.hard_state = hard_state_;
    }
    told_term_ = hard_state_.term;
    for (const MembershipAt& membership : start.memberships) {
        VERIFY(memberships_.empty() ? membership.index <= start.snapshot.index
                                    : membership.index > start.snapshot.index &&
                                          membership.index > memberships_.back().index &&
                                          membership.index <= start.last);
        memberships_.push_back(membership);
    }
    adopt_membership(now, effects);
    effects.membership_change.reset();  // the shard named it itself
    commit_told_ = start.snapshot.index;
    tell_commit(effects);
    // Election timeouts are there to hear from a leader (3.4). The only voter has nobody to hear
    // from.
    if (votes() && !has_followers()) {
        deadline_ = now.mono;
    } else {
        arm_election(limits::election_timeout, now);
    }
}

void Group::on(const Persisted& persisted, Now now, Effects& effects) {
    VERIFY(persisted.hard_state <= hard_state_ && persisted.cuts <= cuts_);
    const bool hard_state_was_persisted = hard_state_persisted_ == hard_state_;
    hard_state_persisted_ = std::max(hard_state_persisted_, persisted.hard_state);
    if (persisted.cuts == cuts_ && log_.contains(persisted.log)) {
        log_.set_persisted(persisted.log.index);
    }
    const bool hard_state_is_persisted = hard_state_persisted_ == hard_state_;
    // Only a vote that survives a crash is a vote (3.8): else a restarted node could give its vote
    // twice.
    if (owes_vote_to_ != NodeId{} && hard_state_is_persisted) {
        send(std::exchange(owes_vote_to_, NodeId{}), Voted{true}, effects);
    }
    switch (role_) {
        case Role::follower:
            if (owes_answer_) {
                acknowledge(effects);
            }
            break;
        case Role::pre_candidate:
            break;
        case Role::candidate:
            if (!hard_state_was_persisted && hard_state_is_persisted) {
                if (Peer* self = self_peer(); self != nullptr) {
                    self->granted = true;
                }
                ask_for_votes(effects);
                const Duration wait =
                    std::min((now.mono - campaigned_at_) * 2, limits::vote_wait_max);
                arm_election(std::max(wait, limits::election_timeout), now);
                count_votes(now, effects);
            }
            break;
        case Role::leader:
            // The leader's log counts like any other voter's: when it is durable (10.2.1).
            if (self_at_ != nobody) {
                peers_[self_at_].match = log_.persisted();
            }
            advance_commit(now, effects);
            break;
    }
    tell_commit(effects);
}

void Group::on(const Timeout& /*timeout*/, Now now, Effects& effects) {
    if (now.mono < deadline_) {
        return;
    }
    if (role_ == Role::leader) {
        look_after_followers(now, effects);
    } else if (hears_leader()) {
        // Nothing but a read that the leader has not answered: ask again.
        deadline_ = Instant::never();
        read_sent_ = false;
        turn_end_due_ = reads_answered_ < reads_asked_;
    } else if (hard_state_persisted_ != hard_state_) {
        // Its vote is under way to a slow disk; another question would wait for the same disk.
        arm_election(limits::election_timeout, now);
    } else {
        ask_whether_to_campaign(now, effects);
    }
}

void Group::on(const Applied& applied, Now /*now*/, Effects& /*effects*/) {
    log_.set_applied(applied.index);
}

void Group::on(const SnapshotTaken& taken, Now /*now*/, Effects& /*effects*/) {
    log_.compact(taken.last);
    std::size_t covered = 0;
    while (covered + 1 < memberships_.size() &&
           memberships_[covered + 1].index <= log_.snapshot().index) {
        ++covered;
    }
    memberships_.erase(memberships_.begin(),
                       memberships_.begin() + static_cast<std::ptrdiff_t>(covered));
}

void Group::on(const Received& received, Now now, Effects& effects) {
    const Message& message = *received.message;
    if (message.to != self_ || message.from == self_) {
        return;
    }
    std::visit([&](const auto& body) { on(message, body, now, effects); }, message.body);
}

void Group::on(const TurnEnd& /*turn_end*/, Now now, Effects& effects) {
    turn_end_due_ = false;
    if (role_ == Role::leader) {
        begin_round(effects);
        bool sent = false;
        for (Peer& peer : peers_) {
            if (peer.id != self_) {
                sent = send_due(peer, effects) || sent;
            }
        }
        if (deadline_ == Instant::never() && (sent || log_.committed() < log_.last()) &&
            has_followers()) {
            deadline_ = now.mono + limits::retry_interval;
        }
        return;
    }
    if (!read_sent_ && reads_answered_ < reads_asked_ && hears_leader()) {
        read_sent_ = true;
        send(leader_, ReadRequest{reads_asked_, life_}, effects);
        deadline_ = now.mono + limits::retry_interval;
    }
}

void Group::on(const PeerDown& down, Now now, Effects& effects) {
    if (Peer* peer = find_peer(down.node); peer != nullptr) {
        peer->down = true;
    }
    if (role_ == Role::leader) {
        // 6.2: a leader that cannot hear a majority cannot commit and must not look like one who
        // can.
        if (reached([](const Peer& peer) { return peer.down ? 0u : 1u; }) == 0) {
            step_down(now, effects);
        }
    } else if (role_ == Role::follower && leader_ == down.node && !leader_silent_) {
        leader_silent_ = true;
        refuse_reads(effects);
        arm_election(Duration{}, now);  // the silence itself was the timeout
    }
}

void Group::on(const PeerUp& up, Now /*now*/, Effects& /*effects*/) {
    if (Peer* peer = find_peer(up.node); peer != nullptr) {
        peer->down = false;
        if (role_ == Role::leader && up.node != self_) {
            // It has everything it acknowledged; what was under way may be lost.
            peer->greet = true;
            peer->round_sent = ReadContext{};
            peer->commit_sent = peer->commit_known;
            if (peer->pace == Pace::snapshot) {
                peer->waiting = false;
            } else {
                probe(*peer, peer->pace == Pace::replicate ? peer->match.next() : peer->next);
            }
            turn_end_due_ = true;
        }
    }
    if (role_ == Role::follower && leader_ == up.node && leader_silent_) {
        leader_silent_ = false;
        deadline_ = Instant::never();
    }
}

void Group::on(const LeaderGone& gone, Now now, Effects& effects) {
    if (role_ == Role::follower && leader_ == gone.node && hard_state_.term == gone.term) {
        lose_leader(Duration{}, now, effects);
    }
}

Peer* Group::find_peer(NodeId id) {
    for (Peer& peer : peers_) {
        if (peer.id == id) {
            return &peer;
        }
    }
    return nullptr;
}

void Group::become(Role role, NodeId leader, Effects& effects) {
    if (leader != leader_ || role != role_) {
        refuse_reads(effects);
    }
    const bool changed = role != role_ || leader != leader_ || told_term_ != hard_state_.term;
    role_ = role;
    leader_ = leader;
    leader_silent_ = false;
    told_term_ = hard_state_.term;
    transfer_to_ = NodeId{};
    transfer_until_ = Instant::never();
    turn_end_due_ = false;
    if (changed) {
        effects.role_change = RoleChange{role_, hard_state_.term, leader_};
    }
}

void Group::enter_term(Term term, Now now, Effects& effects) {
    VERIFY(term > hard_state_.term);
    hard_state_ = {term, NodeId{}};
    effects.hard_state = hard_state_;
    owes_vote_to_ = NodeId{};
    owes_answer_ = false;
    verified_ = LogIndex{};
    answering_ = 0;
    become(Role::follower, NodeId{}, effects);
    arm_election(limits::election_timeout, now);
}

bool Group::is_current(const Message& message, Now now, Effects& effects) {
    if (message.term > hard_state_.term) {
        enter_term(message.term, now, effects);
    }
    return message.term == hard_state_.term;
}

void Group::step_down(Now now, Effects& effects) {
    VERIFY(role_ == Role::leader);
    lose_leader(limits::election_timeout, now, effects);
}

void Group::lose_leader(Duration wait, Now now, Effects& effects) {
    become(Role::follower, NodeId{}, effects);
    arm_election(wait, now);
}

void Group::send(NodeId to, MessageBody&& body, Effects& effects) {
    effects.messages.push_back({self_, to, hard_state_.term, std::move(body)});
}

// The machine reads what it applies from this node's log, so it never runs ahead of its disk.
void Group::tell_commit(Effects& effects) {
    const LogIndex ready = std::min(log_.committed(), log_.persisted());
    if (ready > commit_told_) {
        commit_told_ = ready;
        effects.commit_to = ready;
    }
}

Status Group::status() const {
    return {
        .group = id_,
        .self = self_,
        .role = role_,
        .hard_state = hard_state_,
        .hard_state_persisted = hard_state_persisted_,
        .leader = leader_,
        .leader_silent = leader_silent_,
        .snapshot = log_.snapshot(),
        .last = log_.last_id(),
        .persisted = log_.persisted(),
        .committed = {log_.term_at(log_.committed()), log_.committed()},
        .applied = log_.applied(),
        .commit_told = commit_told_,
        .uncommitted_bytes = log_.uncommitted_bytes(),
        .cuts = cuts_,
        .verified = verified_,
        .term_start = term_start_,
        .reads_asked = reads_asked_,
        .reads_answered = reads_answered_,
        .transfer_to = transfer_to_,
        .disk_trouble = disk_trouble_,
        .may_campaign = may_campaign(),
        .deadline = deadline_,
        .membership = memberships_.back(),
        .peers = peers_,
    };
}

}  // namespace ursula::raft
