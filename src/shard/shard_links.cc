// Which other shards this one has links to: those of every node that a membership of its groups
// names, from the moment it is in the log, and those of nodes that nobody names but that are heard
// - a follower that is behind hears of the newest members last, and one of them may be its leader.
// Links come and go only between steps of groups (settle_links, welcome), so a reference to one
// holds over a step. A link keeps its place in the list as long as it lives, and its place is used
// again: forwarded calls and their answers name links by it.
#include <algorithm>

#include "base/limits.h"
#include "raft/bounds.h"
#include "shard/planted.h"
#include "shard/shard.h"

namespace ursula::shard {

namespace limits = base::limits;

void Shard::begin_links() {
    if (!has_peers()) {
        return;
    }
    VERIFY(options_.boot != 0 && disk_.keeps_data());
    last_beat_ = now_.mono;
    balance_at_ = calm_since_ = now_.mono;
    hand_again_.assign(replicas_.size(), now_.mono);
    for (auto& replica : replicas_) {
        replica->heard_leader = now_.mono;
        look_at_membership(*replica);
    }
    settle_links();
}

bool Shard::shares_groups(const PeerLink& link) const {
    return std::any_of(replicas_.begin(), replicas_.end(),
                       [&link](const auto& replica) { return link.has(replica->id()); });
}

// Whether the group talks to that node by this link. A node's earlier storage may have had another
// number of shards, and groups that still name it do not live where the link leads.
bool Shard::concerns(const PeerLink& link, const Replica& replica) {
    const MemberInfo* member = replica.tables.back().find(link.peer.node);
    return link.has(replica.id()) && (member == nullptr || member->shards == link.shards);
}

// Whether the group can count on the node: it is heard, and is who the group names.
bool Shard::is_well(const PeerLink& link, const Replica& replica) {
    const MemberInfo* member = replica.tables.back().find(link.peer.node);
    return !link.down &&
           (member == nullptr || member->is(link.incarnation) || planted(Planted::amnesiac_counts));
}

PeerLink* Shard::find_link(PeerShard peer, std::uint32_t shards) {
    for (PeerLink& link : links_) {
        if (link.peer == peer && link.shards == shards) {
            return &link;
        }
    }
    return nullptr;
}

// The way to a node of the group: of several, which other storage may have left, the one that was
// heard last.
PeerLink* Shard::find_link(base::NodeId node, const Replica& replica) {
    PeerLink* best = nullptr;
    for (PeerLink& link : links_) {
        if (link.peer.node == node && concerns(link, replica) &&
            (best == nullptr || best->heard < link.heard)) {
            best = &link;
        }
    }
    return best;
}

PeerLink& Shard::add_link(PeerShard peer, std::uint32_t shards) {
    auto link = std::find_if(links_.begin(), links_.end(),
                             [](const PeerLink& one) { return one.is_free(); });
    if (link == links_.end()) {
        links_.emplace_back();
        link = links_.end() - 1;
        for (auto& replica : replicas_) {
            replica->sent.resize(links_.size());
        }
    }
    const std::uint32_t generation = link->generation + 1;  // who had the place gets no answer
    *link = {};
    link->generation = generation;
    link->peer = peer;
    link->shards = shards;
    link->heard = now_.mono;
    link->beat_wanted = true;
    link->sequence = dropped_sequence_;
    link->call_number = dropped_call_number_;
    link->large_number = dropped_large_number_;
    return *link;
}

// The peer may remember this one: numbers go on where those of any dropped link ended. What it
// said is forgotten here - by then no frame of it is under way any more (stranger_link_ms).
void Shard::drop_link(std::size_t at) {
    PeerLink& link = links_[at];
    lose_forwards(link);
    for (WaitingEntries& waiting : link.waiting) {
        forget_fetch(waiting);
    }
    dropped_sequence_ = std::max(dropped_sequence_, link.sequence);
    dropped_call_number_ = std::max(dropped_call_number_, link.call_number);
    dropped_large_number_ = std::max(dropped_large_number_, link.large_number);
    const std::uint32_t generation = link.generation + 1;
    link = {};
    link.generation = generation;
    link.shards = 0;
    link.down = true;
    for (auto& replica : replicas_) {
        replica->sent[at] = base::LogIndex{};
    }
}

// To all its shards that have groups of this one.
void Shard::add_links(const MemberInfo& info) {
    for (std::uint32_t shard = 0; shard < info.shards; ++shard) {
        const PeerShard peer{info.node, base::ShardId(shard)};
        PeerLink* link = find_link(peer, info.shards);
        if (link == nullptr) {
            PeerLink probe;
            probe.peer = peer;
            probe.shards = info.shards;
            if (!shares_groups(probe)) {
                continue;
            }
            link = &add_link(peer, info.shards);
        }
        link->named = true;
    }
}

// The link a frame came by. Whoever sent it belongs to the cluster; a node that no membership here
// names gets a link of its own. Null: there are too many of those, or it cannot be.
PeerLink* Shard::welcome(const FrameHeader& header) {
    if (PeerLink* link = find_link(header.from, header.shards); link != nullptr) {
        return link;
    }
    PeerLink probe;
    probe.peer = header.from;
    probe.shards = header.shards;
    const auto strangers = static_cast<std::size_t>(
        std::count_if(links_.begin(), links_.end(),
                      [](const PeerLink& link) { return !link.named && !link.is_free(); }));
    if (header.from.node == options_.node || header.from.node == base::NodeId{} ||
        strangers >= limits::stranger_links_max || !shares_groups(probe)) {
        return nullptr;
    }
    strangers_due_ =
        std::min(strangers_due_, now_.mono + base::milliseconds(options_.stranger_link_ms));
    return &add_link(header.from, header.shards);
}

// Who of its members is well, as the membership in force now has them: a group takes a new member
// for up until it is told, and who was another one so far may be the right one now.
void Shard::tell_group(Replica& replica) {
    const raft::Status status = replica.group.status();
    for (const PeerLink& link : links_) {
        if (!concerns(link, replica)) {
            continue;
        }
        const base::NodeId node = link.peer.node;
        const bool taken_for_down =
            (status.leader == node && status.leader_silent) ||
            std::any_of(status.peers.begin(), status.peers.end(),
                        [node](const raft::Peer& peer) { return peer.id == node && peer.down; });
        if (!is_well(link, replica)) {
            replica.group.step(raft::PeerDown{node}, now_, replica.effects);
        } else if (taken_for_down) {
            replica.group.step(raft::PeerUp{node}, now_, replica.effects);
        }
        carry_out(replica);
    }
}

// Makes links to whom memberships name now, and drops those to whom none names and who is silent.
void Shard::settle_links() {
    if (links_due_) {
        links_due_ = false;
        for (PeerLink& link : links_) {
            link.named = false;
        }
        for (auto& replica : replicas_) {
            std::vector<MemberTable>& tables = replica->tables;
            while (tables.size() > 1 && tables[1].at.index <= replica->machine.applied().index) {
                tables.erase(tables.begin());
            }
            for (const MemberTable& table : tables) {
                for (const MemberInfo& info : table.infos) {
                    if (info.node != options_.node) {
                        add_links(info);
                    }
                }
            }
        }
        strangers_due_ = now_.mono;
        for (auto& replica : replicas_) {
            tell_group(*replica);
        }
    } else if (now_.mono < strangers_due_) {
        return;
    }
    strangers_due_ = base::Instant::never();
    for (std::size_t at = links_.size(); at-- > 0;) {
        if (links_[at].named || links_[at].is_free()) {
            continue;
        }
        const base::Instant until =
            links_[at].heard + base::milliseconds(options_.stranger_link_ms);
        if (until <= now_.mono) {
            drop_link(at);
        } else {
            strangers_due_ = std::min(strangers_due_, until);
        }
    }
    tell_net();
}

// Whether the storage that speaks there is no member of any group that the two share. A follower
// may be behind and not know it yet, so somebody must lead here: a leader's log has the newest
// members of its group.
bool Shard::is_unnamed(const PeerLink& link) const {
    bool leads = false;
    for (const auto& replica : replicas_) {
        if (!link.has(replica->id())) {
            continue;
        }
        for (const MemberTable& table : replica->tables) {
            const MemberInfo* info = table.find(link.peer.node);
            if (info != nullptr && info->is(link.incarnation)) {
                return false;
            }
        }
        if (replica->group.leader() == link.peer.node) {
            return false;
        }
        leads = leads || replica->group.is_leader();
    }
    return leads;
}

// A node that was removed, or whose storage was replaced, hears of it: it was sent nothing more
// since the change, and would go on taking its old leaders for its own.
void Shard::dismiss_strangers() {
    if (now_.mono < dismissals_due_) {
        return;
    }
    dismissals_due_ = now_.mono + base::milliseconds(options_.stranger_link_ms / 10);
    for (PeerLink& link : links_) {
        if (link.is_free() || link.boot == 0 || link.down || !is_unnamed(link)) {
            link.unnamed_since = base::Instant::never();
            continue;
        }
        link.unnamed_since = std::min(link.unnamed_since, now_.mono);
        if (now_.mono - link.unnamed_since >= base::milliseconds(options_.stranger_link_ms)) {
            options_.peer_net->dismiss(link.peer.node, link.incarnation);
        }
    }
}

// The net hears of each node whose infos are others now. Of one that nobody names any more it knows
// as long as there is a link.
void Shard::tell_net() {
    std::vector<MemberInfo> known;
    const auto named = [this](const MemberInfo& info, bool exactly) {
        return std::any_of(replicas_.begin(), replicas_.end(), [&](const auto& replica) {
            return std::any_of(replica->tables.begin(), replica->tables.end(),
                               [&](const MemberTable& table) {
                                   const MemberInfo* found = table.find(info.node);
                                   return found != nullptr && (!exactly || *found == info);
                               });
        });
    };
    const auto add = [&known](const MemberInfo& info) {
        if (std::find(known.begin(), known.end(), info) == known.end()) {
            known.push_back(info);
        }
    };
    for (const MemberInfo& info : told_) {
        const bool linked =
            std::any_of(links_.begin(), links_.end(),
                        [&info](const PeerLink& link) { return link.peer.node == info.node; });
        if (named(info, true) || (linked && !named(info, false))) {
            add(info);
        }
    }
    for (const auto& replica : replicas_) {
        for (const MemberTable& table : replica->tables) {
            for (const MemberInfo& info : table.infos) {
                if (info.node != options_.node) {
                    add(info);
                }
            }
        }
    }
    std::stable_sort(known.begin(), known.end(),
                     [](const MemberInfo& a, const MemberInfo& b) { return a.node < b.node; });
    const auto infos_of = [](std::vector<MemberInfo>& all, base::NodeId node) {
        const auto from = std::find_if(
            all.begin(), all.end(), [node](const MemberInfo& info) { return info.node == node; });
        const auto to = std::find_if(from, all.end(),
                                     [node](const MemberInfo& info) { return info.node != node; });
        return std::span<const MemberInfo>(from, to);
    };
    std::vector<base::NodeId> nodes;
    for (const std::vector<MemberInfo>* all : {&known, &told_}) {
        for (const MemberInfo& info : *all) {
            if (std::find(nodes.begin(), nodes.end(), info.node) == nodes.end()) {
                nodes.push_back(info.node);
            }
        }
    }
    for (const base::NodeId node : nodes) {
        const std::span<const MemberInfo> now = infos_of(known, node);
        const std::span<const MemberInfo> before = infos_of(told_, node);
        if (!std::equal(now.begin(), now.end(), before.begin(), before.end())) {
            options_.peer_net->know(node, now);
        }
    }
    others_version_ += known == told_ ? 0 : 1;
    told_ = std::move(known);
}

}  // namespace ursula::shard
