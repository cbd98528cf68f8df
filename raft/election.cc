// Becoming leader (thesis 3.4): a new term, a durable vote for oneself, a majority. Before that the
// question whether it would succeed (9.6), so that a node that was cut off does not disturb those
// who were not.
#include <algorithm>

#include "base/verify.h"
#include "raft/group.h"
#include "raft/planted.h"

namespace ursula::raft {

// splitmix64: each draw is a step of the state.
static std::uint64_t draw(std::uint64_t& state) {
    state += 0x9e37'79b9'7f4a'7c15u;
    std::uint64_t z = state;
    z = (z ^ (z >> 30)) * 0xbf58'476d'1ce4'e5b9u;
    z = (z ^ (z >> 27)) * 0x94d0'49bb'1331'11ebu;
    return z ^ (z >> 31);
}

bool Group::may_campaign() const {
    if (votes()) {
        return true;
    }
    const std::size_t count = memberships_.size();
    return count > 1 && memberships_[count - 1].index > log_.committed() &&
           memberships_[count - 2].membership.votes(self_);
}

void Group::arm_election(Duration wait, Now now) {
    if (!may_campaign() && self_at_ == nobody) {
        deadline_ = Instant::never();
        return;
    }
    const std::uint64_t extra =
        draw(random_) % static_cast<std::uint64_t>(limits::election_spread.ns);
    wait = wait + Duration{static_cast<std::int64_t>(extra)};
    if (disk_trouble_) {
        wait = wait + limits::last_resort_delay;
    }
    deadline_ = now.mono + wait;
}

// Idle leaders are silent, so a leader counts as heard until the shard says otherwise (PeerDown,
// LeaderGone).
bool Group::hears_leader() const {
    return role_ == Role::leader || (leader_ != NodeId{} && !leader_silent_);
}

void Group::forget_votes() {
    for (Peer& peer : peers_) {
        peer.granted = false;
        peer.refused = false;
    }
}

void Group::ask_whether_to_campaign(Now now, Effects& effects) {
    // Votes may be under way to slow disks: who asked in a term that nobody refused asks in it
    // again for a while. Another term would make them begin anew.
    if (role_ == Role::candidate && now.mono - campaigned_at_ < limits::vote_wait_max &&
        std::none_of(peers_.begin(), peers_.end(), [](const Peer& peer) { return peer.refused; })) {
        ask_for_votes(effects);
        arm_election(limits::election_timeout, now);
        return;
    }
    if (!may_campaign()) {
        arm_election(limits::election_timeout, now);
        for (const Peer& peer : peers_) {
            if (peer.votes() && peer.id != self_) {
                send(peer.id, WhoLeads{}, effects);
            }
        }
        return;
    }
    become(Role::pre_candidate, NodeId{}, effects);
    forget_votes();
    if (Peer* self = self_peer(); self != nullptr) {
        self->granted = true;
    }
    if (reached([](const Peer& peer) { return peer.granted ? 1u : 0u; }) == 1) {
        campaign(false, now, effects);  // the only voter asks nobody
        return;
    }
    arm_election(limits::election_timeout, now);
    for (const Peer& peer : peers_) {
        if (peer.votes() && peer.id != self_) {
            effects.messages.push_back(
                {self_, peer.id, hard_state_.term.next(), PreVote{log_.last_id()}});
        }
    }
}

void Group::campaign(bool transfer, Now now, Effects& effects) {
    VERIFY(role_ != Role::leader && may_campaign());
    hard_state_ = {hard_state_.term.next(), self_};
    effects.hard_state = hard_state_;
    transferred_ = transfer;
    owes_vote_to_ = NodeId{};
    owes_answer_ = false;
    verified_ = LogIndex{};
    answering_ = 0;
    forget_votes();
    become(Role::candidate, NodeId{}, effects);
    if (planted(Planted::campaign_unpersisted)) {
        ask_for_votes(effects);
    }
    const bool alone =
        reached([this](const Peer& peer) { return peer.id == self_ ? 1u : 0u; }) == 1;
    if (alone) {
        // The only voter waits for its own disk, which cannot be hurried by asking again.
        deadline_ = Instant::never();
    } else {
        arm_election(limits::election_timeout, now);
    }
    campaigned_at_ = now.mono;
}

// After the vote for oneself is durable: a candidate that asked, crashed and asked again in the
// same term could be elected by answers to a question it does not remember.
void Group::ask_for_votes(Effects& effects) {
    for (const Peer& peer : peers_) {
        if (peer.votes() && peer.id != self_) {
            send(peer.id, Vote{log_.last_id(), transferred_}, effects);
        }
    }
}

void Group::count_votes(Now now, Effects& effects) {
    if (reached([](const Peer& peer) { return peer.granted ? 1u : 0u; }) == 1) {
        if (role_ == Role::candidate) {
            lead(now, effects);
        } else {
            campaign(false, now, effects);
        }
        return;
    }
    // Lost already: wait as a follower, until the same deadline.
    if (reached([](const Peer& peer) { return peer.refused ? 0u : 1u; }) == 0) {
        become(Role::follower, NodeId{}, effects);
    }
}

void Group::lead(Now now, Effects& effects) {
    become(Role::leader, self_, effects);
    round_ = ReadContext{};
    round_open_ = false;
    numbers_gone_ = 0;
    for (Peer& peer : peers_) {
        start_sending_to(peer);
    }
    if (Peer* self = self_peer(); self != nullptr) {
        self->match = log_.persisted();
    }
    deadline_ = Instant::never();
    stall_commit_ = log_.committed();
    stall_since_ = now.mono;
    transfer_told_ = false;
    // 6.4: entries of earlier terms commit with the first one of the leader's own, so it writes one
    // at once.
    term_start_ = log_.last().next();
    append(EntryKind::noop, SubmitTicket{}, 0, effects);
}

// Two of equal logs that ask each other at the same time would both be encouraged, and split the
// votes for a whole timeout. The lower id does not encourage the other - as long as its own
// question to it is open: one that cannot win itself, for want of others, must not stand in the
// way.
bool Group::outranks(NodeId rival, const PreVote& vote) {
    const Peer* peer = find_peer(rival);
    return role_ == Role::pre_candidate && peer != nullptr && !peer->granted && !peer->refused &&
           vote.last == log_.last_id() && self_ < rival;
}

void Group::on(const Message& from, const PreVote& vote, Now now, Effects& effects) {
    // A leader that asks for votes does not lead any more.
    if (role_ == Role::follower && leader_ == from.from && from.term > hard_state_.term) {
        lose_leader(limits::election_timeout, now, effects);
    }
    // 9.6 with 6.2: no vote against a leader that is heard.
    const bool free = hard_state_.vote == NodeId{} || hard_state_.vote == from.from;
    // Nor one that would wait for a disk on which the last one still is.
    const bool granted = is_member_of_something() && !hears_leader() && is_up_to_date(vote.last) &&
                         hard_state_persisted_ == hard_state_ && !outranks(from.from, vote) &&
                         (from.term > hard_state_.term || (from.term == hard_state_.term && free));
    // A refusal carries this node's own term, so that one that fell behind catches up with it.
    effects.messages.push_back(
        {self_, from.from, granted ? from.term : hard_state_.term, PreVoted{granted}});
    greet(from.from);
}

void Group::on(const Message& from, const WhoLeads& /*question*/, Now /*now*/,
               Effects& /*effects*/) {
    greet(from.from);
}

// A leader tells who does not know that it leads.
void Group::greet(NodeId node) {
    if (role_ != Role::leader) {
        return;
    }
    if (Peer* peer = find_peer(node); peer != nullptr) {
        peer->greet = true;
        turn_end_due_ = true;
    }
}

void Group::on(const Message& from, const PreVoted& voted, Now now, Effects& effects) {
    if (!voted.granted && from.term > hard_state_.term && !planted(Planted::refused_term_ignored)) {
        enter_term(from.term, now, effects);
        return;
    }
    const bool answers =
        voted.granted ? from.term == hard_state_.term.next() : from.term <= hard_state_.term;
    Peer* peer = find_peer(from.from);
    if (role_ != Role::pre_candidate || !answers || peer == nullptr) {
        return;
    }
    peer->granted = peer->granted || voted.granted;
    peer->refused = !peer->granted;
    count_votes(now, effects);
}

void Group::on(const Message& from, const Vote& vote, Now now, Effects& effects) {
    if (from.term > hard_state_.term) {
        // 4.2.3: a leader that is heard is not deposed, unless it wants to be (3.10).
        if (hears_leader() && !vote.transfer && leader_ != from.from) {
            return;
        }
        enter_term(from.term, now, effects);
    }
    if (from.term < hard_state_.term) {
        send(from.from, Voted{false}, effects);
        return;
    }
    // One vote per term, first come, to a log that is not behind this one (3.6.1).
    const bool again = hard_state_.vote == from.from;
    const bool granted = again ||
                         (is_member_of_something() && hard_state_.vote == NodeId{} &&
                          leader_ == NodeId{} && is_up_to_date(vote.last)) ||
                         (planted(Planted::vote_twice) && leader_ == NodeId{});
    if (!granted) {
        send(from.from, Voted{false}, effects);
        return;
    }
    if (!again) {
        if (role_ == Role::pre_candidate) {
            become(Role::follower, NodeId{}, effects);
        }
        hard_state_.vote = from.from;
        effects.hard_state = hard_state_;
        arm_election(limits::election_timeout, now);
    }
    if (hard_state_persisted_ == hard_state_ || planted(Planted::vote_unpersisted)) {
        send(from.from, Voted{true}, effects);
    } else {
        owes_vote_to_ = from.from;
    }
}

void Group::on(const Message& from, const Voted& voted, Now now, Effects& effects) {
    Peer* peer = find_peer(from.from);
    if (!is_current(from, now, effects) || role_ != Role::candidate || peer == nullptr) {
        return;
    }
    peer->granted = peer->granted || voted.granted;
    peer->refused = !peer->granted;
    count_votes(now, effects);
}

}  // namespace ursula::raft
