#include "shard/shard.h"

#include <algorithm>
#include <optional>

#include "base/limits.h"
#include "shard/planted.h"
#include "shard/shard_subscriptions.h"

namespace ursula::shard {

namespace limits = base::limits;

Shard::Shard(const ShardOptions& options, storage::Disk& disk)
    : options_(options),
      disk_(disk),
      local_{{options.hot_bytes, disk.keeps_data(), options.memory_capacity}, {}},
      snapshots_(disk, options.salt),
      raft_deadline_(base::Instant::never()),
      watches_(1) {
    for (std::uint32_t group = options.id.value; group < options.groups; group += options.shards) {
        replicas_.push_back(std::make_unique<Replica>(base::GroupId(group), options.node,
                                                      options.table_key, local_));
    }
    subscribing_ = std::make_unique<Subscribing>(*this);
}

// Streams go first: their hot tails give their memory back to local_.
Shard::~Shard() {
    image_.reset();
    retired_.clear();
    replicas_.clear();
}

void Shard::advance(std::span<const api::Call> calls, base::Now now,
                    std::vector<api::Reply>& replies, std::vector<api::Call>& internal_calls) {
    ++turn_;
    now_ = now;
    replies_ = &replies;
    internal_calls_ = &internal_calls;

    take_disk();
    settle();
    if (has_peers()) {
        take_frames();
        balance();
    }
    if (now.mono >= raft_deadline_) {
        run_timeouts();
    }
    if (has_peers()) {
        go_on_waiting();
    }
    for (const api::Call& call : calls) {
        take(call);
    }
    run_removals();
    if (now_.mono >= own_deadline()) {
        run_own_commands();
    }
    if (now_.mono >= forks_deadline()) {
        run_forks();
    }
    if (subscribing_->due()) {
        subscribing_->run();
    }
    write_entries();
    if (!fetching_.empty()) {
        run_fetches();
    }
    if (!retired_.empty()) {
        shrink_retired();
    }
    run_snapshots();
    wal_->flush(now.mono);
    // A MemoryDisk has everything durable by now, and what that leads to (a new leader's noop) as
    // soon as it is flushed; a real one has nothing new, which costs two empty looks.
    for (bool more = true; more;) {
        take_disk();
        more = settle();
        if (now_.mono >= own_deadline()) {
            run_own_commands();
        }
        if (now_.mono >= forks_deadline()) {
            run_forks();
        }
        if (subscribing_->due()) {
            subscribing_->run();
        }
        write_entries();
        wal_->flush(now.mono);
    }
    if (has_peers()) {
        end_turn();
    }
    send_posts();
    if (writing_.empty()) {  // what the end of the turn submitted looks at them in the next one
        own_names_.clear();
        own_forks_.clear();
        taken_bytes_.clear();
    }

    replies_ = nullptr;
    internal_calls_ = nullptr;
}

// What the disk finished: log writes, snapshot files, reads for clients.
void Shard::take_disk() {
    done_.clear();
    disk_.take_completions(done_);
    for (storage::DiskOp* op : done_) {
        op->owner->on_done(*op, now_.mono);
    }
    reads_.clear();
    wal_->take_reads(reads_);
    for (storage::ReadRequest* read : reads_) {
        const auto fetch = std::find_if(fetches_.begin(), fetches_.end(), [read](const auto& one) {
            return one.get() == read->owner;
        });
        if (fetch != fetches_.end()) {
            on_fetched(**fetch, *read);
        } else {
            disk_reads_.on_read(*read);
        }
    }
    if (!reads_.empty()) {
        finished_reads_.clear();
        disk_reads_.take_finished(finished_reads_);
        for (DiskReads::Finished& finished : finished_reads_) {
            if (!finished.damage.empty()) {
                ++counters_.damaged_reads;
                say_damage(damage_said_, true, std::move(finished.damage));
            }
            if (finished.reply.to == internal) {
                on_bytes_read(finished.reply);
            } else {
                replies_->push_back(std::move(finished.reply));
            }
        }
    }
    if (!fetching_.empty()) {
        placed_.clear();
        wal_->take_payloads(placed_);
        for (const storage::PayloadPlaced& placed : placed_) {
            on_placed(placed);
        }
    }
    storage::SnapshotStore::Finished finished;
    if (snapshots_.take_finished(finished)) {
        end_snapshot(finished);
    }
    const bool full = wal_->state() == storage::Wal::State::full;
    if (full != was_full_) {
        was_full_ = full;
        balance_at_ = now_.mono;
        for (PeerLink& link : links_) {
            link.beat_wanted = true;  // nobody hands it groups now, or may again
        }
        events_.push_back({full ? ShardEvent::Kind::disk_full : ShardEvent::Kind::disk_ok_again,
                           std::string(full ? wal_->full_reason() : std::string_view())});
    }
}

// What became durable moves the groups' commit marks; what is committed is applied and answered.
// False: nothing became durable.
bool Shard::settle() {
    persisted_.clear();
    wal_->take_persisted(persisted_);
    for (const storage::Persisted& persisted : persisted_) {
        Replica& replica = this->replica(persisted.group);
        raft::Persisted input;  // marks only move forward: what this one does not name stays
        if (persisted.has_entries) {
            input.log = persisted.last;
            input.cuts = persisted.cuts;
        }
        if (persisted.has_hard_state) {
            input.hard_state = {persisted.term, persisted.vote};
        }
        replica.group.step(input, now_, replica.effects);
        carry_out(replica);
    }
    return !persisted_.empty();
}

void Shard::run_timeouts() {
    raft_deadline_ = base::Instant::never();
    for (auto& replica : replicas_) {
        if (now_.mono >= replica->group.deadline()) {
            replica->group.step(raft::Timeout{}, now_, replica->effects);
            carry_out(*replica);
        }
        raft_deadline_ = std::min(raft_deadline_, replica->group.deadline());
    }
}

// In the order raft/effects.h gives. Entries of commands are written by write_entry, which asked
// for them.
void Shard::carry_out(Replica& replica) {
    raft::Effects& effects = replica.effects;
    if (effects.hard_state) {
        wal_->stage_hard_state(replica.id(), effects.hard_state->term, effects.hard_state->vote);
    }
    if (effects.truncate_from != base::LogIndex{}) {
        cut_log(replica, effects.truncate_from);
    }
    for (const raft::EntryToWrite& entry : effects.entries_to_write) {
        if (entry.kind == raft::EntryKind::noop) {
            write_noop(replica, entry);
        } else if (entry.kind == raft::EntryKind::membership) {
            write_membership(replica, entry);
        }
    }
    if (effects.entries_to_accept) {
        accept_entries(replica);
    }
    for (const raft::Message& message : effects.messages) {
        send(replica, message);
    }
    const base::LogIndex commit_to = effects.commit_to;
    if (effects.reads_ready) {
        confirm_early(replica, *effects.reads_ready);
        for (ParkedRead& parked : replica.parked) {
            if (!parked.confirmed && parked.context <= effects.reads_ready->context) {
                parked.confirmed = true;
                parked.index = effects.reads_ready->index;
            }
        }
    }
    if (effects.reads_refused) {
        std::erase_if(replica.parked, [&](ParkedRead& parked) {
            if (parked.confirmed || parked.context > *effects.reads_refused) {
                return false;
            }
            if (planted(Planted::refused_reads_served)) {
                parked.confirmed = true;
                parked.index = replica.machine.applied().index;
                return false;
            }
            if (has_peers()) {
                replica.ask_again =
                    true;  // one question for all: who asked earlier is answered too
                list_waiting(replica);
                return false;
            }
            reply(parked.from, parked.call, api::Refused{api::Refusal::overloaded});
            return true;
        });
    }
    if (effects.role_change && effects.role_change->role == raft::Role::leader) {
        ++counters_.elections;
        replica.sent.assign(links_.size(), base::LogIndex{});
        expiry_at_ = now_.mono;
        replica.led_since = now_;
        if (!replica.machine.links().empty()) {
            list_links(replica);
        }
    }
    if (effects.membership_change) {
        look_at_membership(replica);
    }
    if (planted(Planted::submitted_rerouted) && effects.role_change &&
        effects.role_change->role != raft::Role::leader) {
        for (; !replica.entries.empty(); replica.entries.pop()) {
            forget_tickets(replica, replica.entries.front().commands, api::Refusal::not_leader);
        }
    }
    if (effects.reverted != base::NodeId{}) {
        events_.push_back(
            {ShardEvent::Kind::follower_reverted,
             "group " + std::to_string(replica.id().value) + ": node " +
                 std::to_string(effects.reverted.value) +
                 " has lost entries that it had acknowledged (its disk was replaced, or lies); it "
                 "has no voice in this group any more: remove it from the cluster and add it "
                 "again"});
    }
    if (effects.contradicted != base::LogIndex{}) {
        failure_ =
            "group " + std::to_string(replica.id().value) + ": entry " +
            std::to_string(effects.contradicted.value) +
            " is committed here and is another one at the group's leader: the other nodes "
            "have forgotten what they had acknowledged, as when one runs on an older copy of "
            "its directory. This node stops, its data are as they were. Keep a copy of them, "
            "find out which of the two histories is the right one, and put the nodes of the "
            "other one back in with emptied directories: ursulactl cluster replace";
    }
    const std::optional<raft::FetchSnapshot> fetch = effects.fetch_snapshot;
    const bool unconfirmed = effects.reads_refused.has_value();
    effects.clear();
    want_turn_end(replica);
    if (fetch) {
        begin_fetch(replica, *fetch);
    }
    if (commit_to.value != 0) {
        apply_through(replica, commit_to);
    }
    if (!replica.parked.empty()) {
        serve_parked(replica);
    }
    if (!replica.early.empty()) {
        if (unconfirmed) {
            route_early(replica);
        }
        serve_early(replica);
    }
    raft_deadline_ = std::min(raft_deadline_, replica.group.deadline());
}

void Shard::reply(base::ShardId to, api::CallId call, api::Answer&& answer) {
    if (to.value >= elsewhere.value) {
        if (to != internal) {
            reply_to_peer(to, call, answer);
            return;
        }
        api::Reply own{call, options_.id, std::move(answer)};
        on_internal_reply(own);
        return;
    }
    replies_->push_back(api::Reply{call, to, std::move(answer)});
}

// Who reads the same bytes again and again finds the same damage.
void Shard::say_damage(base::Instant& said, bool here, std::string&& what) {
    if (said != base::Instant{} && now_.mono - said < base::milliseconds(limits::damage_said_ms)) {
        return;
    }
    said = now_.mono;
    if (here && has_peers()) {
        what += "; look at this node's disk, and when it fails run: ursulactl cluster replace " +
                std::to_string(options_.node.value);
    }
    events_.push_back({ShardEvent::Kind::data_damaged, std::move(what)});
}

bool Shard::ready() const {
    return std::all_of(replicas_.begin(), replicas_.end(), [this](const auto& replica) {
        if (has_peers()) {
            return replica->group.leader() != base::NodeId{};
        }
        const raft::Status status = replica->group.status();
        return status.role == raft::Role::leader && status.term_start <= status.applied;
    });
}

base::Instant Shard::deadline() const {
    base::Instant at = std::min({raft_deadline_, wal_->deadline(), removals_deadline(),
                                 links_deadline(), own_deadline(), forks_deadline(),
                                 subscribing_->deadline()});
    if (!fetching_.empty()) {
        at = std::min(at, fetches_deadline());
    }
    if (!retired_.empty() || !writing_.empty()) {
        at = now_.mono;
    }
    if (snapshot_waits()) {
        at = std::min(at, snapshot_again_);
    }
    return at;
}

std::string_view Shard::failure() const {
    if (!failure_.empty()) {
        return failure_;
    }
    return wal_->state() == storage::Wal::State::failed ? wal_->failure() : std::string_view();
}

void Shard::take_events(std::vector<ShardEvent>& out) {
    for (ShardEvent& event : events_) {
        out.push_back(std::move(event));
    }
    events_.clear();
}

std::uint64_t Shard::stream_count() const {
    std::uint64_t count = 0;
    for (const auto& replica : replicas_) {
        count += replica->machine.streams();
    }
    return count;
}

std::uint32_t Shard::leaders() const {
    return static_cast<std::uint32_t>(
        std::count_if(replicas_.begin(), replicas_.end(),
                      [](const auto& replica) { return replica->group.is_leader(); }));
}

std::uint32_t Shard::strange_groups() const {
    return static_cast<std::uint32_t>(std::count_if(
        replicas_.begin(), replicas_.end(), [](const auto& replica) { return replica->stranger; }));
}

std::uint32_t Shard::leaderless() const {
    return static_cast<std::uint32_t>(std::count_if(
        replicas_.begin(), replicas_.end(),
        [](const auto& replica) { return replica->group.leader() == base::NodeId{}; }));
}

std::uint64_t Shard::state_hash() const {
    std::uint64_t hash = 0;
    for (const auto& replica : replicas_) {
        hash = hash * 0x9e37'79b9'7f4a'7c15u + replica->machine.state_hash();
    }
    return hash;
}

}  // namespace ursula::shard
