// Who leads: each group has a preferred member, so that leaders are spread evenly over the nodes
// and over the shards of each. A leader that is another one hands over (thesis 3.10) once the nodes
// have been well for a while, a few groups at a time - but not to a node that handed the group over
// for good in its present life: an operator wanted that. A node whose disk is full hands over what
// it leads to those that have room; it gets that back when it has, like one whose disk was slow.
// And a node that is going to end hands over all it leads, so that nobody has to notice its silence
// first.
#include <algorithm>

#include "raft/bounds.h"
#include "shard/shard.h"

namespace ursula::shard {

namespace {

constexpr base::Duration look_every = base::milliseconds(250);
constexpr base::Duration calm_for = base::seconds(3);
constexpr std::size_t hand_overs_at_once = 8;
// A group that comes back, or whose hand-over failed, is left in peace for a while.
constexpr base::Duration hand_again_after = base::seconds(10);
// A successor that is behind by more would refuse submits for as long as it catches up.
constexpr std::uint64_t lag_entries_max = raft::limits::promotion_gap_entries_max;
// Of a peer's log write: one that old means a disk that should not lead.
constexpr std::uint32_t write_age_ms_max = 100;

}  // namespace

// The same on every node, whatever its own number of shards: within each shard of the node that has
// most of them, the groups go round the voters, and each shard begins with another one.
base::NodeId Shard::preferred_leader(const Replica& replica) const {
    std::uint32_t shards = 1;
    for (const MemberInfo& member : replica.tables.back().infos) {
        shards = std::max(shards, member.shards);
    }
    const raft::Membership& membership = replica.group.membership().membership;
    const std::size_t voters = membership.voters();
    if (voters == 0 || membership.joint()) {
        return {};
    }
    const std::uint32_t group = replica.id().value;
    std::size_t left = (group % shards + group / shards) % voters;
    for (const raft::Member& member : membership.members()) {
        if (member.voter && left-- == 0) {
            return member.id;
        }
    }
    return {};
}

bool Shard::could_lead(const Replica& replica, base::NodeId node) const {
    const raft::Status status = replica.group.status();
    if (status.committed.index < status.term_start || status.transfer_to != base::NodeId{}) {
        return false;
    }
    const auto peer = std::find_if(status.peers.begin(), status.peers.end(),
                                   [node](const raft::Peer& one) { return one.id == node; });
    return peer != status.peers.end() && peer->voter && !peer->down && !peer->reverted &&
           peer->pace == raft::Pace::replicate &&
           status.last.index.value - peer->match.value <= lag_entries_max;
}

void Shard::hand_over(Replica& replica, base::NodeId to) {
    ++counters_.hand_overs;
    replica.group.step(raft::Transfer{to, false}, now_, replica.effects);
    carry_out(replica);
}

bool Shard::has_good_disk(const Replica& replica, base::NodeId node) {
    const PeerLink* link = find_link(node, replica);
    return link != nullptr && !link->down && !link->disk.full && !link->disk.slow &&
           link->disk.write_age_ms <= write_age_ms_max;
}

// Whom to hand a group to when this node cannot keep it: none, then Raft knows as well as we do.
base::NodeId Shard::good_successor(const Replica& replica) {
    const auto members = replica.group.membership().membership.members();
    for (std::size_t i = 0; i < members.size(); ++i) {
        const base::NodeId node = members[(i + replica.id().value) % members.size()].id;
        if (could_lead(replica, node) && has_good_disk(replica, node)) {
            return node;
        }
    }
    return {};
}

// A full disk refuses appends; where there is room they go on. Where nobody has any, the groups
// stay: handing them round would refuse as much.
void Shard::leave_full_disk() {
    for (auto& replica : replicas_) {
        if (!replica->group.is_leader()) {
            continue;
        }
        if (const base::NodeId to = good_successor(*replica); to != base::NodeId{}) {
            hand_over(*replica, to);
        }
    }
}

void Shard::balance() {
    if (now_.mono < balance_at_) {
        return;
    }
    balance_at_ = now_.mono + look_every;
    if (leaving_) {
        for (auto& replica : replicas_) {
            if (replica->group.is_leader()) {
                hand_over(*replica, good_successor(*replica));
            }
        }
        return;
    }
    if (was_full_) {
        leave_full_disk();
    }
    const bool well = std::all_of(links_.begin(), links_.end(), [](const PeerLink& link) {
        return !link.named ||
               (!link.down && link.boot != 0 && link.disk.write_age_ms <= write_age_ms_max);
    });
    if (!well) {
        calm_since_ = now_.mono;
    }
    if (!options_.spread_leaders || now_.mono - calm_since_ < calm_for) {
        return;
    }
    std::size_t left = hand_overs_at_once;
    for (std::size_t i = 0; i < replicas_.size() && left > 0; ++i) {
        Replica& replica = *replicas_[i];
        if (!replica.group.is_leader() || now_.mono < hand_again_[i]) {
            continue;
        }
        const base::NodeId wanted = preferred_leader(replica);
        if (wanted == base::NodeId{} || wanted == options_.node || wanted == replica.handed_by ||
            !could_lead(replica, wanted) || !has_good_disk(replica, wanted)) {
            continue;
        }
        hand_again_[i] = now_.mono + hand_again_after;
        --left;
        hand_over(replica, wanted);
    }
}

}  // namespace ursula::shard
