// Changes of the membership (thesis 4): one at a time, by joint consensus (4.3), in force as soon
// as the entry is in the log.
#include <algorithm>
#include <utility>

#include "base/verify.h"
#include "raft/group.h"
#include "raft/planted.h"

namespace ursula::raft {

void Group::on(const ChangeMembership& change, Now now, Effects& effects) {
    SubmitRefusal why = SubmitRefusal::not_leader;
    if (refuses_change(change, why)) {
        effects.refused_submits.push_back({change.ticket, why});
        return;
    }
    Membership next;
    if (!memberships_.back().membership.towards(change.target, next)) {
        effects.refused_submits.push_back({change.ticket, SubmitRefusal::too_many_members});
        return;
    }
    append_membership(planted(Planted::change_unguarded) ? change.target : next, change.ticket, now,
                      effects);
}

bool Group::refuses_change(const ChangeMembership& change, SubmitRefusal& why) const {
    const auto refuse = [&why](SubmitRefusal reason) {
        why = reason;
        return true;
    };
    if (role_ != Role::leader) {
        return refuse(SubmitRefusal::not_leader);
    }
    if (transfer_to_ != NodeId{}) {
        return refuse(SubmitRefusal::transferring);
    }
    // Two uncommitted changes could have disjoint majorities, and so could one of this term and one
    // that an earlier leader left uncommitted (the error of 2015 in 4.1).
    const MembershipAt& current = memberships_.back();
    if ((log_.committed() < term_start_ || current.index > log_.committed() ||
         current.membership.joint()) &&
        !planted(Planted::change_unguarded)) {
        return refuse(SubmitRefusal::change_in_flight);
    }
    VERIFY(!change.target.joint());
    std::size_t well = 0;
    for (const Member& member : change.target.members()) {
        if (!member.voter) {
            continue;
        }
        const auto peer = std::find_if(peers_.begin(), peers_.end(), [&member](const Peer& known) {
            return known.id == member.id;
        });
        const bool is_well = peer != peers_.end() && !peer->down && !peer->reverted;
        well += is_well ? 1 : 0;
        if (peer != peers_.end() && peer->voter) {
            continue;
        }
        // It must also know that it belongs to the group: else it would not vote (R11).
        if (!is_well || peer->match < current.index ||
            peer->match.value + limits::promotion_gap_entries_max < log_.last().value) {
            return refuse(SubmitRefusal::not_caught_up);
        }
    }
    if (change.target.voters() == 0 || well < majority(change.target.voters())) {
        return refuse(SubmitRefusal::no_quorum);
    }
    return false;
}

void Group::append_membership(const Membership& membership, SubmitTicket ticket, Now now,
                              Effects& effects) {
    append(EntryKind::membership, ticket, IdLog::entry_overhead_bytes, effects);
    memberships_.push_back({log_.last(), membership});
    effects.memberships_to_write.push_back(memberships_.back());
    adopt_membership(now, effects);
}

// 4.1: a server uses the newest configuration of its log, committed or not.
const MembershipAt& Group::in_force() const {
    if (planted(Planted::late_membership)) {
        for (std::size_t i = memberships_.size() - 1; i > 0; --i) {
            if (memberships_[i].index <= log_.committed()) {
                return memberships_[i];
            }
        }
        return memberships_.front();
    }
    return memberships_.back();
}

// memberships_.back() is another one now: what is known of those who stay is kept.
void Group::adopt_membership(Now now, Effects& effects) {
    std::vector<Peer> before = std::move(peers_);
    peers_.clear();
    self_at_ = nobody;
    for (const Peer& peer : before) {
        if (in_force().membership.find(peer.id) == nullptr) {
            numbers_gone_ = std::max(numbers_gone_, peer.number);
        }
    }
    for (const Member& member : in_force().membership.members()) {
        const auto known = std::find_if(before.begin(), before.end(), [&member](const Peer& peer) {
            return peer.id == member.id;
        });
        Peer peer;
        if (known != before.end()) {
            peer = std::move(*known);
        } else {
            peer.id = member.id;
        }
        peer.voter = member.voter || (planted(Planted::learner_counted) && member.learner);
        peer.outgoing = member.outgoing;
        if (known == before.end() && role_ == Role::leader) {
            start_sending_to(peer);
            // Answers to an earlier membership of the node in this term may still be on their way.
            peer.number = numbers_gone_;
            peer.fresh_from = numbers_gone_ + 1;
            peer.match_number = numbers_gone_;
        }
        if (member.id == self_) {
            self_at_ = peers_.size();
        }
        peers_.push_back(std::move(peer));
    }
    for (const Peer& peer : before) {
        if (planted(Planted::removed_counted) && peer.voter && find_peer(peer.id) == nullptr) {
            peers_.push_back(peer);
        }
    }
    effects.membership_change = memberships_.back();
    if (role_ == Role::leader) {
        if (find_peer(transfer_to_) == nullptr) {
            transfer_to_ = NodeId{};
        }
        turn_end_due_ = has_followers();
        if (!has_followers()) {
            deadline_ = Instant::never();  // nobody's answer is missing
        }
        return;
    }
    if (!may_campaign() && role_ != Role::follower) {
        become(Role::follower, NodeId{}, effects);
    }
    if (hears_leader()) {
        return;
    }
    if (deadline_ == Instant::never() || !may_campaign()) {
        arm_election(limits::election_timeout, now);
    }
}

// After a commit: a joint membership is left, and a leader that is no voter any more goes (4.2.2).
void Group::follow_up_change(Now now, Effects& effects) {
    if (planted(Planted::late_membership)) {
        adopt_membership(now, effects);
    }
    if (memberships_.back().index > log_.committed()) {
        return;
    }
    if (memberships_.back().membership.joint()) {
        append_membership(memberships_.back().membership.left_joint(), SubmitTicket{}, now,
                          effects);
        return;
    }
    if (votes()) {
        return;
    }
    // The others learn that the change is committed, and one of them need not wait for silence.
    for (Peer& peer : peers_) {
        if (peer.id != self_) {
            send_due(peer, effects);
        }
    }
    if (const Peer* to = best_successor(); to != nullptr && to->match == log_.last()) {
        send(to->id, TimeoutNow{true}, effects);
    }
    step_down(now, effects);
}

}  // namespace ursula::raft
