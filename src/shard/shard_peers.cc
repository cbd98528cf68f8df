// The other nodes: their frames become inputs of the groups, and their silence too. Liveness is of
// nodes, not of groups: each node tells each other one every limits::beat_interval_ms that it
// lives, which groups it leads and how old its oldest log write is, so idle groups stay silent and
// a leader that is gone is still missed (DESIGN "Raft"). One whose beat is late is asked for it.
#include <algorithm>

#include "base/limits.h"
#include "raft/bounds.h"
#include "shard/planted.h"
#include "shard/shard.h"

namespace ursula::shard {

namespace limits = base::limits;

namespace {

// Whether a majority is made of such messages.
bool counts(const raft::MessageBody& body) {
    return std::holds_alternative<raft::PreVoted>(body) ||
           std::holds_alternative<raft::Voted>(body) ||
           std::holds_alternative<raft::Replicated>(body) ||
           std::holds_alternative<raft::HeartbeatSeen>(body) ||
           std::holds_alternative<raft::SnapshotStatus>(body);
}

}  // namespace

void Shard::take_frames() {
    frames_.clear();
    link_events_.clear();
    options_.peer_net->take(frames_, link_events_);
    for (const LinkEvent& event : link_events_) {
        for (PeerLink& link : links_) {
            if (link.peer != event.peer) {
                continue;
            }
            if (event.bytes) {
                link.heard = link.down ? link.heard : now_.mono;
                continue;
            }
            lose_forwards(link);
            link.large = {};  // its first parts may be lost
            link.large_in.bytes = {};
            if (!event.up) {
                link.heard = base::Instant{now_.mono.ns - raft::limits::silence_timeout.ns};
                continue;
            }
            link.beat_wanted = true;
            if (!link.down) {
                tell_groups(link);
            }
        }
    }
    for (const ReceivedFrame& frame : frames_) {
        take_frame(frame);
    }
    watch_links();
}

void Shard::take_frame(const ReceivedFrame& frame) {
    FrameReader reader;
    if (!reader.open(frame.bytes)) {
        ++counters_.frames_refused;
        return;
    }
    const FrameHeader& header = reader.header();
    if (header.cluster != options_.cluster || header.from != frame.from ||
        header.to != PeerShard{options_.node, options_.id} || header.boot == 0 ||
        (header.to_boot != 0 && header.to_boot != options_.boot)) {
        ++counters_.frames_refused;
        return;
    }
    PeerLink* link = welcome(header);
    if (link == nullptr) {
        ++counters_.frames_refused;
        return;
    }
    ++counters_.frames_taken;
    if (header.boot != link->boot) {
        link->incarnation = header.incarnation;
        meet(*link, header.boot);
    }
    link->heard = now_.mono;
    if (link->down && !leads_with_dead_disk(*link)) {
        link->down = false;
        tell_groups(*link);
    }
    // A beat that was overtaken says nothing about now.
    const bool newest = header.sequence > link->heard_sequence;
    link->heard_sequence = std::max(link->heard_sequence, header.sequence);
    while (reader.next(item_)) {
        if (item_.kind == FrameItem::Kind::beat) {
            if (newest) {
                take_beat(*link, item_);
            }
            continue;
        }
        if (planted(Planted::wrong_group) && counters_.frames_taken % 1000 == 0) {
            item_.group = base::GroupId(item_.group.value + options_.shards);
        }
        if (!take_item(*link, header)) {
            ++counters_.frames_refused;
            return;
        }
    }
    counters_.frames_refused += reader.ok() ? 0 : 1;
}

// What one node says of one group. False: it cannot be true, and neither the rest.
bool Shard::take_item(PeerLink& link, const FrameHeader& header) {
    const std::uint32_t group = item_.group.value;
    if (group >= options_.groups || group % options_.shards != options_.id.value ||
        !link.has(item_.group) ||
        (item_.kind == FrameItem::Kind::message && !read_membership(item_, item_table_))) {
        return false;
    }
    Replica& replica = this->replica(item_.group);
    switch (item_.kind) {
        case FrameItem::Kind::part:
            return take_part(link, header);
        case FrameItem::Kind::call:
            take_call(link, header, item_);
            return true;
        case FrameItem::Kind::answer:
            take_answer(link, item_);
            return true;
        case FrameItem::Kind::fetch_ask:
            on_fetch_ask(link, replica, item_.ask);
            return true;
        case FrameItem::Kind::fetch_data:
            on_fetch_data(replica, link.peer.node, item_);
            return true;
        case FrameItem::Kind::beat:
        case FrameItem::Kind::message:
            break;
    }
    // Other storage than the member's has no voice, whatever its id (R11). What it asks, and what
    // it says as a leader, is heard as of any node that this log does not name yet: others voted
    // for it, and Raft counts nobody it does not know.
    const MemberInfo* member = replica.tables.back().find(link.peer.node);
    if (member != nullptr && !member->is(header.incarnation) && counts(item_.message.body) &&
        !planted(Planted::amnesiac_counts)) {
        ++counters_.items_unheard;
        if (link.unheard_said == base::Instant{} ||
            now_.mono - link.unheard_said >= base::milliseconds(limits::unheard_said_ms)) {
            link.unheard_said = now_.mono;
            events_.push_back({ShardEvent::Kind::member_unheard,
                               "node " + std::to_string(link.peer.node.value) +
                                   " has other storage than the member of that id: what it says "
                                   "of groups counts for nothing; to put it in, run: ursulactl "
                                   "cluster replace " +
                                   std::to_string(link.peer.node.value)});
        }
        return true;
    }
    if (const auto* now = std::get_if<raft::TimeoutNow>(&item_.message.body);
        now != nullptr && now->for_good) {
        replica.handed_by = item_.message.from;
    }
    replica.group.step(raft::Received{&item_.message}, now_, replica.effects);
    carry_out(replica);
    return true;
}

// The first frame of a new life of the node: what was under way is lost, and it leads nothing that
// it led before. A frame of its last life that comes even later makes it look reborn twice, which
// costs an election at worst.
void Shard::meet(PeerLink& link, std::uint64_t boot) {
    const bool restarted = link.boot != 0;
    lose_forwards(link);
    ++link.generation;
    link.large = {};
    link.large_in = {};
    auto life = std::find_if(link.lives.begin(), link.lives.end(),
                             [boot](const PeerLink::Life& one) { return one.boot == boot; });
    if (life == link.lives.end()) {
        --life;
        *life = {};
        life->boot = boot;
    }
    std::rotate(link.lives.begin(), life, life + 1);
    link.boot = boot;
    link.heard_sequence = 0;
    link.disk = {};
    link.down = false;
    const base::NodeId node = link.peer.node;
    forget_handed_by(node);
    for (auto& replica : replicas_) {
        if (!link.has(replica->id())) {
            continue;
        }
        if (restarted && replica->group.leader() == node) {
            replica->group.step(raft::LeaderGone{node, replica->group.term()}, now_,
                                replica->effects);
            carry_out(*replica);
        }
    }
    tell_groups(link);
}

// It may be handed groups again.
void Shard::forget_handed_by(base::NodeId node) {
    for (auto& replica : replicas_) {
        if (replica->handed_by == node) {
            replica->handed_by = base::NodeId{};
        }
    }
}

void Shard::take_beat(PeerLink& link, const FrameItem& beat) {
    link.disk = beat.disk;
    link.beat_wanted = link.beat_wanted || beat.asks;
    for (auto& replica : replicas_) {
        if (replica->group.leader() != link.peer.node || !link.has(replica->id())) {
            continue;
        }
        const auto led =
            std::lower_bound(beat.led.begin(), beat.led.end(), replica->id(),
                             [](const Led& one, base::GroupId group) { return one.group < group; });
        if (led == beat.led.end() || led->group != replica->id() ||
            led->term < replica->group.term()) {
            replica->group.step(raft::LeaderGone{link.peer.node, replica->group.term()}, now_,
                                replica->effects);
            carry_out(*replica);
        }
    }
}

// A leader whose log write does not end is as good as dead to a node whose own log is well: that
// one can lead. Where this one is slow too, another leader would be no better; and of a follower
// the leader loses nothing by going on to send to it.
bool Shard::leads_with_dead_disk(const PeerLink& link) const {
    if (link.disk.write_age_ms < limits::disk_dead_ms || disk_slow_ ||
        oldest_write_age().ms() * 2 >= link.disk.write_age_ms) {
        return false;
    }
    return std::any_of(replicas_.begin(), replicas_.end(), [&link](const auto& replica) {
        return replica->group.leader() == link.peer.node && link.has(replica->id());
    });
}

// Who was silent for too long, or leads with a dead disk, is down.
void Shard::watch_links() {
    for (PeerLink& link : links_) {
        const bool silent = now_.mono - link.heard >= raft::limits::silence_timeout &&
                            !planted(Planted::silence_unnoticed);
        const bool down = silent || leads_with_dead_disk(link);
        if (down != link.down) {
            link.down = down;
            tell_groups(link);
        }
    }
}

// Whether the node is up, as each group has it among its members.
void Shard::tell_groups(const PeerLink& link) {
    for (auto& replica : replicas_) {
        if (!concerns(link, *replica)) {
            continue;
        }
        if (is_well(link, *replica)) {
            replica->group.step(raft::PeerUp{link.peer.node}, now_, replica->effects);
        } else {
            replica->group.step(raft::PeerDown{link.peer.node}, now_, replica->effects);
        }
        carry_out(*replica);
    }
}

base::Instant Shard::links_deadline() const {
    if (!has_peers()) {
        return base::Instant::never();
    }
    if (links_due_) {
        return now_.mono;
    }
    if (links_.empty()) {
        return base::Instant::never();
    }
    base::Instant at = std::min(send_more_ ? now_.mono : next_beat(), strangers_due_);
    for (const PeerLink& link : links_) {
        if (!link.down) {
            at = std::min({at, link.ask_at(), link.heard + raft::limits::silence_timeout});
        }
    }
    return at;
}

// The entries of the Replicate just stepped, from its frame into the log.
void Shard::accept_entries(Replica& replica) {
    const raft::EntriesToAccept accepted = *replica.effects.entries_to_accept;
    const auto& message = std::get<raft::Replicate>(item_.message.body);
    raft::EntryTerms terms(message);
    for (base::LogIndex index = accepted.first; index <= accepted.last; index = index.next()) {
        const std::uint64_t skipped =
            planted(Planted::bodies_shifted) ? accepted.first.value : message.prev.index.value + 1;
        const FrameEntry& entry = item_.entries[index.value - skipped];
        const base::MutableBytes body =
            wal_->stage_entry(replica.id(), {terms.at(index), index},
                              static_cast<std::uint8_t>(entry.kind), entry.body.size());
        base::copy_bytes(body.data(), entry.body);
        wal_->finish_entry();
    }
    if (message.membership && message.membership->index >= accepted.first) {
        adopt(replica, std::move(item_table_));
    }
    counters_.entries += accepted.last.value - accepted.first.value + 1;
}

// Another leader's entries take the place of those from here on. Whoever asked for one does not
// learn its outcome here: a later leader may still have it.
void Shard::cut_log(Replica& replica, base::LogIndex from) {
    wal_->stage_truncate(replica.id(), from);
    while (!replica.recovered.empty() && replica.recovered.last_id().index >= from) {
        replica.recovered.pop_last();
    }
    replica.places.cut(from);
    cut_tables(replica, from);
    if (planted(Planted::ticket_by_index)) {
        return;
    }
    while (!replica.entries.empty() && replica.entries.back().id.index >= from) {
        for (std::uint32_t i = replica.entries.back().commands; i > 0; --i) {
            const Ticket ticket = replica.tickets.back();
            replica.tickets.pop_back();
            replica.touched.remove(ticket.name_hash);
            local_.hot.unreserve(ticket.reserved_bytes);
            if (planted(Planted::lost_acknowledged)) {
                api::AppendReply there;
                there.tail = 1;
                reply(ticket.from, ticket.call, api::Answer(there));
                continue;
            }
            reply(ticket.from, ticket.call, api::Refused{api::Refusal::outcome_unknown});
        }
        replica.entries.pop_back();
    }
}

}  // namespace ursula::shard
