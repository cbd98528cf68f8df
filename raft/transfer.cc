// Leadership transfer (thesis 3.10), on demand and when this node's disk is in trouble.
#include "base/verify.h"
#include "raft/group.h"

namespace ursula::raft {

void Group::on(const Transfer& transfer, Now now, Effects& effects) {
    if (role_ != Role::leader) {
        return;
    }
    const Peer* to = transfer.to == NodeId{} ? best_successor() : find_peer(transfer.to);
    if (to != nullptr && could_succeed(*to)) {
        hand_over(to->id, transfer.for_good, now, effects);
    }
}

void Group::on(const DiskTrouble& trouble, Now now, Effects& effects) {
    disk_trouble_ = trouble.trouble;
    disk_patience_ = trouble.patience;
    if (!disk_trouble_ || role_ != Role::leader || transfer_to_ != NodeId{}) {
        return;
    }
    const Peer* to =
        trouble.successor == NodeId{} ? best_successor() : find_peer(trouble.successor);
    if (to != nullptr && could_succeed(*to)) {
        hand_over(to->id, false, now, effects);
    }
}

bool Group::could_succeed(const Peer& peer) const {
    return peer.voter && peer.id != self_ && !peer.down && !peer.reverted;
}

// The voter that lacks least, among those that could lead.
Peer* Group::best_successor() {
    Peer* best = nullptr;
    for (Peer& peer : peers_) {
        if (could_succeed(peer) && (best == nullptr || peer.match > best->match)) {
            best = &peer;
        }
    }
    return best;
}

void Group::hand_over(NodeId to, bool for_good, Now now, Effects& effects) {
    transfer_to_ = to;
    transfer_for_good_ = for_good;
    transfer_told_ = false;
    transfer_until_ = now.mono + limits::transfer_timeout;
    deadline_ = std::min(deadline_, transfer_until_);
    finish_transfer(effects);
}

// The successor must have the whole log: else it could not win (3.6.1).
void Group::finish_transfer(Effects& effects) {
    const Peer* to = find_peer(transfer_to_);
    if (to != nullptr && !transfer_told_ && to->match == log_.last()) {
        transfer_told_ = true;
        send(to->id, TimeoutNow{transfer_for_good_}, effects);
    }
}

void Group::on(const Message& from, const TimeoutNow& /*timeout*/, Now now, Effects& effects) {
    if (is_current(from, now, effects) && role_ == Role::follower && leader_ == from.from &&
        may_campaign()) {
        campaign(true, now, effects);
    }
}

}  // namespace ursula::raft
