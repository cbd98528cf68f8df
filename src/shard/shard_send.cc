// What the groups say to other nodes: gathered into one frame per peer and turn, which leaves in
// the turn in which this node's own log write does. Bodies of entries come from the log's memory;
// those that have left it are read back, while later messages of the same group wait behind them.
#include <algorithm>
#include <utility>

#include "base/crc32c.h"
#include "base/limits.h"
#include "raft/bounds.h"
#include "shard/entry_body.h"
#include "shard/planted.h"
#include "shard/shard.h"

namespace ursula::shard {

namespace limits = base::limits;

namespace {

// Of one group to one follower, beyond what the link takes: more than Raft has under way.
constexpr std::size_t waiting_messages_max = 2 * raft::limits::inflight_messages_max;

// Takes the entries up to `cut` off the message's front: both parts are messages the leader might
// have sent.
raft::Replicate take_front(raft::Replicate& rest, base::EntryId cut) {
    raft::Replicate front = rest;
    front.last = cut.index;
    while (front.run_count > 0 && front.runs[front.run_count - 1u].first > cut.index) {
        --front.run_count;
    }
    rest.prev = cut;
    std::size_t run = 0;
    while (run + 1 < rest.run_count && rest.runs[run + 1].first <= cut.index.next()) {
        ++run;
    }
    std::copy(rest.runs.begin() + static_cast<std::ptrdiff_t>(run),
              rest.runs.begin() + rest.run_count, rest.runs.begin());
    rest.run_count = static_cast<std::uint8_t>(rest.run_count - run);
    rest.runs[0].first = cut.index.next();
    if (rest.membership && rest.membership->index <= cut.index) {
        rest.membership.reset();
    } else {
        front.membership.reset();
    }
    return front;
}

raft::EntryKind kind_of(const raft::Replicate& message, base::LogIndex index, base::Bytes body) {
    if (message.membership && message.membership->index == index) {
        return raft::EntryKind::membership;
    }
    return body.size() == commit_hint_bytes ? raft::EntryKind::noop : raft::EntryKind::command;
}

}  // namespace

void Shard::want_turn_end(Replica& replica) {
    if (replica.group.wants_turn_end() && !replica.turn_end) {
        replica.turn_end = true;
        turn_ends_.push_back(&replica);
    }
}

void Shard::send(Replica& replica, const raft::Message& message) {
    PeerLink* link = find_link(message.to, replica);
    if (link == nullptr) {
        return;
    }
    const auto* entries = std::get_if<raft::Replicate>(&message.body);
    if (entries == nullptr) {
        link->frame.add(replica.id(), message);
        return;
    }
    WaitingEntries waiting{&replica, message.term, *entries, nullptr};
    WaitingEntries* last = nullptr;
    std::size_t count = 0;
    for (WaitingEntries& other : link->waiting) {
        if (other.replica == &replica) {
            last = &other;
            ++count;
        }
    }
    const bool behind = last != nullptr || sends_large_of(*link, replica.id());
    if (!behind && send_entries(static_cast<std::size_t>(link - links_.data()), waiting)) {
        return;
    }
    const auto is_bare = [](const WaitingEntries& one) {
        return one.message.last == one.message.prev.index;
    };
    // The newest word on what is committed is enough; and of a follower that takes in far less than
    // is sent, what is too much is lost, and asked for again.
    if (last != nullptr && is_bare(*last) && is_bare(waiting) && last->term == waiting.term) {
        last->message = waiting.message;
    } else if (count < waiting_messages_max) {
        link->waiting.push_back(waiting);
    }
}

// Into the frame what can go there now. False: something is left, which waits.
bool Shard::send_entries(std::size_t at, WaitingEntries& waiting) {
    PeerLink& link = links_[at];
    Replica& replica = *waiting.replica;
    if (!replica.group.is_leader() || replica.group.term() != waiting.term) {
        forget_fetch(waiting);
        return true;
    }
    if (waiting.message.prev.index < replica.group.log().snapshot().index) {
        forget_fetch(waiting);
        return true;  // forgotten meanwhile: Raft asks again and offers a snapshot
    }
    if (sends_large_of(link, replica.id())) {
        return false;  // what overtakes an entry asks for it again
    }
    if (waiting.message.last == waiting.message.prev.index) {
        link.frame.add_replicate(replica.id(), waiting.term, waiting.message);
        return true;
    }
    for (;;) {
        if (link.frame.size() >= limits::frame_bytes_target) {
            send_more_ = true;
            return false;
        }
        if (is_backed_up(link) || sends_large_of(link, replica.id())) {
            return false;
        }
        if (waiting.fetch != nullptr) {
            if (waiting.fetch->waiting > 0) {
                return false;
            }
            if (waiting.fetch->first == waiting.fetch->last &&
                waits_for_large(link, waiting.fetch->bytes.size())) {
                return false;
            }
            if (!add_fetched(at, waiting)) {
                return true;  // what cannot be read cannot be sent
            }
        } else {
            const std::size_t count = entries_in_memory(link, waiting);
            if (count == 0 && waiting.message.prev.index < replica.unreadable) {
                return true;  // a snapshot brings what they did (lose_entries)
            }
            if (count == 0) {
                fetch_entries(waiting);
                return false;
            }
            const base::LogIndex next = waiting.message.prev.index.next();
            if (waits_for_large(link, body_in_memory(replica, next).size())) {
                return false;
            }
            add_entries(at, waiting, count);
        }
        if (waiting.message.prev.index == waiting.message.last) {
            return true;
        }
    }
}

// What recovery read and is not applied need not be read again - and must not: no snapshot could
// take its place if that failed. Empty: neither.
base::Bytes Shard::body_in_memory(const Replica& replica, base::LogIndex index) const {
    const base::Bytes body = wal_->body(replica.id(), index);
    return body.empty() ? replica.recovered.body(index) : body;
}

// How many of the first entries are still in memory, as far as the frame has room: at least one of
// those. A large one is alone.
std::size_t Shard::entries_in_memory(const PeerLink& link, const WaitingEntries& waiting) const {
    std::size_t count = 0;
    std::size_t bytes = link.frame.size();
    for (base::LogIndex index = waiting.message.prev.index.next(); index <= waiting.message.last;
         index = index.next()) {
        const base::Bytes body = body_in_memory(*waiting.replica, index);
        const bool large = is_large(body.size());
        if (body.empty() ||
            (count > 0 && (large || bytes + body.size() > limits::frame_bytes_target))) {
            break;
        }
        bytes += body.size();
        ++count;
        if (large) {
            break;
        }
    }
    return count;
}

void Shard::add_entries(std::size_t at, WaitingEntries& waiting, std::size_t count) {
    Replica& replica = *waiting.replica;
    const base::LogIndex last(waiting.message.prev.index.value + count);
    const bool large = is_large(body_in_memory(replica, last).size());
    FrameWriter& frame = large ? large_frame_ : links_[at].frame;
    const raft::Replicate part =
        take_front(waiting.message, {replica.group.log().term_at(last), last});
    frame.add_replicate(replica.id(), waiting.term, part);
    for (base::LogIndex index = part.prev.index.next(); index <= last; index = index.next()) {
        const base::Bytes body = body_in_memory(replica, index);
        frame.add_entry(kind_of(part, index, body), body);
    }
    if (large) {
        begin_large(links_[at], replica.id(), 0, waiting.term);
    }
    replica.sent[at] = std::max(replica.sent[at], last);
}

// --- entries that have left memory ---

void Shard::fetch_entries(WaitingEntries& waiting) {
    if (fetches_.size() >= limits::log_fetches_max) {
        return;  // one that ends brings a turn
    }
    Replica& replica = *waiting.replica;
    auto fetch = std::make_unique<LogFetch>();
    fetch->first = waiting.message.prev.index.next();
    std::size_t bytes = 0;
    std::size_t pieces = 0;
    for (base::LogIndex index = fetch->first; index <= waiting.message.last; index = index.next()) {
        if (!replica.places.has(index)) {
            break;
        }
        const EntryPlaces::View place = replica.places.at(index);
        const bool large = is_large(place.size);
        if (index > fetch->first && (large || bytes + place.size > limits::log_fetch_bytes_max)) {
            break;
        }
        bytes += place.size;
        pieces += place.pieces.size();
        fetch->last = index;
        if (large) {
            break;
        }
    }
    // Held, placed or forgotten: there is no fourth.
    VERIFY(fetch->last >= fetch->first && fetch->first <= replica.machine.applied().index);
    fetch->bytes.resize(bytes);
    fetch->requests.reserve(pieces);
    std::size_t at = 0;
    for (base::LogIndex index = fetch->first; index <= fetch->last; index = index.next()) {
        for (const storage::Location& piece : replica.places.at(index).pieces) {
            storage::ReadRequest request;
            request.segment = piece.segment;
            request.position = piece.position;
            request.buffer = base::MutableBytes(fetch->bytes).subspan(at, piece.size);
            request.owner = fetch.get();
            fetch->requests.push_back(request);
            at += piece.size;
        }
    }
    VERIFY(at == bytes && pieces > 0);
    fetch->waiting = pieces;
    waiting.fetch = fetch.get();
    fetches_.push_back(std::move(fetch));
    ++counters_.log_fetches;
    for (storage::ReadRequest& request : waiting.fetch->requests) {
        wal_->read(request);
    }
}

void Shard::on_fetched(LogFetch& fetch, const storage::ReadRequest& request) {
    fetch.failed = fetch.failed || request.failed;
    --fetch.waiting;
    if (fetch.waiting == 0 && !fetch.wanted) {
        std::erase_if(fetches_, [&fetch](const auto& one) { return one.get() == &fetch; });
    }
}

void Shard::forget_fetch(WaitingEntries& waiting) {
    if (waiting.fetch == nullptr) {
        return;
    }
    LogFetch* fetch = std::exchange(waiting.fetch, nullptr);
    fetch->wanted = false;
    if (fetch->waiting == 0) {
        std::erase_if(fetches_, [fetch](const auto& one) { return one.get() == fetch; });
    }
}

// What was read back, into the frame. False: the disk did not give it, or gave something else.
bool Shard::add_fetched(std::size_t at, WaitingEntries& waiting) {
    Replica& replica = *waiting.replica;
    LogFetch& fetch = *waiting.fetch;
    bool good = !fetch.failed;
    std::size_t begin = 0;
    for (base::LogIndex index = fetch.first; good && index <= fetch.last; index = index.next()) {
        const EntryPlaces::View place = replica.places.at(index);
        good = base::crc32c(base::Bytes(fetch.bytes).subspan(begin, place.size)) == place.crc;
        begin += place.size;
    }
    if (good || planted(Planted::rotten_entry_sent)) {
        const bool large = fetch.first == fetch.last && is_large(fetch.bytes.size());
        FrameWriter& frame = large ? large_frame_ : links_[at].frame;
        frame.add_replicate(
            replica.id(), waiting.term,
            take_front(waiting.message, {replica.group.log().term_at(fetch.last), fetch.last}));
        begin = 0;
        for (base::LogIndex index = fetch.first; index <= fetch.last; index = index.next()) {
            const EntryPlaces::View place = replica.places.at(index);
            frame.add_entry(place.kind, base::Bytes(fetch.bytes).subspan(begin, place.size));
            begin += place.size;
        }
        if (large) {
            begin_large(links_[at], replica.id(), 0, waiting.term);
        }
        replica.sent[at] = std::max(replica.sent[at], fetch.last);
    } else {
        lose_entries(replica, fetch, links_[at].peer.node);
    }
    forget_fetch(waiting);
    return good || planted(Planted::rotten_entry_sent);
}

// A follower lacks entries that this node's disk does not give back. What they did is in the
// machine: they are forgotten as soon as a snapshot covers them, and then Raft offers that. A start
// of this node needs them no more then, either. It goes on to lead: it answers all else, and who
// has its log whole has it for the same reason as before.
void Shard::lose_entries(Replica& replica, const LogFetch& fetch, base::NodeId follower) {
    ++counters_.damaged_reads;
    ++counters_.entries_lost;
    const base::LogIndex through = std::min(fetch.last, replica.machine.applied().index);
    replica.unreadable = std::max(replica.unreadable, through);
    kept_look_at_ = now_.mono;
    const auto failed =
        std::find_if(fetch.requests.begin(), fetch.requests.end(),
                     [](const storage::ReadRequest& request) { return request.failed; });
    const storage::ReadRequest& first = fetch.requests.front();
    say_damage(lost_entries_said_, true,
               "group " + std::to_string(replica.id().value) + ": entries " +
                   std::to_string(fetch.first.value) + " to " + std::to_string(fetch.last.value) +
                   " could not be read back for node " + std::to_string(follower.value) + ": " +
                   (failed != fetch.requests.end()
                        ? failed->error
                        : "they fail their checksum in " + storage::segment_name(first.segment) +
                              " from byte " + std::to_string(first.position) + " on") +
                   "; it gets a snapshot in their place");
}

// --- the end of a turn ---

void Shard::end_turn() {
    send_more_ = std::exchange(calls_left_, false);
    settle_links();
    if (now_.mono >= next_beat()) {
        look_after_disk();
    }
    for (std::size_t link = 0; link < links_.size(); ++link) {
        send_waiting(link);
    }
    if (planted(Planted::vote_before_sync)) {
        for (auto& replica : replicas_) {
            raft::Persisted early;
            early.hard_state = replica->group.status().hard_state;
            replica->group.step(early, now_, replica->effects);
            carry_out(*replica);
        }
    }
    for (std::size_t i = 0; i < turn_ends_.size(); ++i) {
        Replica& replica = *turn_ends_[i];
        replica.turn_end = false;
        replica.group.step(raft::TurnEnd{}, now_, replica.effects);
        carry_out(replica);
    }
    turn_ends_.clear();
    settle_links();
    serve_fetches();
    send_parts();
    send_beats();
    send_frames();
    for (Replica* replica : keeping_) {
        release_sent(*replica);
    }
    std::erase_if(keeping_, [](const Replica* replica) { return !replica->keeps; });
}

// What waits for one peer, in its order within each group.
void Shard::send_waiting(std::size_t at) {
    links_[at].large_wanted = false;
    std::deque<WaitingEntries>& waiting = links_[at].waiting;
    for (std::size_t i = 0; i < waiting.size();) {
        const Replica* replica = waiting[i].replica;
        const bool behind = std::any_of(
            waiting.begin(), waiting.begin() + static_cast<std::ptrdiff_t>(i),
            [replica](const WaitingEntries& other) { return other.replica == replica; });
        if (!behind && send_entries(at, waiting[i])) {
            waiting.erase(waiting.begin() + static_cast<std::ptrdiff_t>(i));
        } else {
            ++i;
        }
    }
}

base::Instant Shard::next_beat() const {
    const bool writes = disk_slow_ || wal_->oldest_write() != base::Instant::never();
    return last_beat_ +
           base::milliseconds(writes ? limits::beat_again_ms : limits::beat_interval_ms);
}

// To all when it is time; besides, to who asked for one and to who is to be asked.
void Shard::send_beats() {
    const bool due = now_.mono >= next_beat();
    if (due) {
        last_beat_ = now_.mono;
        dismiss_strangers();
    }
    DiskHealth disk;
    bool looked = false;  // most turns send none
    for (PeerLink& link : links_) {
        if (link.is_free()) {
            continue;
        }
        const bool asks = !link.down && now_.mono >= link.ask_at();
        if (!due && !asks && !link.beat_wanted) {
            continue;
        }
        if (!std::exchange(looked, true)) {
            list_led();
            disk.write_age_ms = static_cast<std::uint32_t>(
                std::min<std::int64_t>(oldest_write_age().ms(), UINT32_MAX));
            disk.full = was_full_;
            disk.slow = disk_slow_;
        }
        link.frame.add_beat(disk, asks, led_);
        link.asked_at = asks ? now_.mono : link.asked_at;
        link.beat_wanted = false;
    }
}

void Shard::list_led() {
    led_.clear();
    for (const auto& replica : replicas_) {
        if (replica->group.is_leader()) {
            led_.push_back({replica->id(), replica->group.term()});
        }
    }
}

base::Duration Shard::oldest_write_age() const {
    const base::Instant oldest = wal_->oldest_write();
    return oldest == base::Instant::never() ? base::Duration{}
                                            : std::max(now_.mono - oldest, base::Duration{});
}

// A slow or stuck log makes this node's leaders hand over before the others take them for dead -
// unless theirs is no better: then leaders stay, and have patience. Said again with each beat while
// it lasts; over when the log was quick for a while.
void Shard::look_after_disk() {
    const base::Duration age = oldest_write_age();
    const bool slow = age >= base::milliseconds(limits::disk_trouble_ms);
    if (slow) {
        disk_well_at_ = now_.mono + base::milliseconds(limits::disk_well_ms);
    }
    const bool was_slow =
        std::exchange(disk_slow_, slow || (disk_slow_ && now_.mono < disk_well_at_));
    if (!disk_slow_ && !was_slow) {
        return;
    }
    const bool alone =
        disk_slow_ && std::any_of(links_.begin(), links_.end(), [&](const PeerLink& link) {
            return link.named && is_quicker(link, age);
        });
    for (auto& replica : replicas_) {
        raft::DiskTrouble trouble{alone, disk_slow_ && !alone, {}};
        if (alone && replica->group.is_leader()) {
            // That some node is quicker is no use to a group that it cannot lead.
            trouble.successor = good_successor(*replica);
            const PeerLink* link = find_link(trouble.successor, *replica);
            trouble.trouble = link != nullptr && is_quicker(*link, age);
            trouble.patience = !trouble.trouble;
        }
        replica->group.step(trouble, now_, replica->effects);
        carry_out(*replica);
    }
}

// Its log writes go far more quickly than this node's, whose oldest is that old: a beat is a little
// late, and a write that began later than ours is no better for that.
bool Shard::is_quicker(const PeerLink& link, base::Duration age) {
    return !link.down && link.boot != 0 && !link.disk.slow && !link.disk.full &&
           std::int64_t{link.disk.write_age_ms} * 2 <
               std::max<std::int64_t>(age.ms(), limits::disk_trouble_ms);
}

void Shard::send_frames() {
    for (PeerLink& link : links_) {
        if (link.frame.empty()) {
            continue;
        }
        if (options_.peer_net->takes(link.peer)) {
            FrameHeader header;
            header.cluster = options_.cluster;
            header.from = {options_.node, options_.id};
            header.to = link.peer;
            header.boot = options_.boot;
            // Who is silent may be another life by now, one that knows nobody to speak to first.
            header.to_boot = link.down ? 0 : link.boot;
            header.sequence = ++link.sequence;
            header.shards = options_.shards;
            header.incarnation = options_.incarnation;
            options_.peer_net->send(link.peer, link.frame.finish(header));
            ++counters_.frames_sent;
        } else {
            for (WaitingEntries& waiting : link.waiting) {
                forget_fetch(waiting);
            }
            link.waiting.clear();
        }
        link.frame.clear();
    }
}

// --- bodies kept for followers ---

void Shard::keep_or_release(Replica& replica, base::LogIndex index, std::size_t bytes) {
    if (!replica.group.is_leader() && !replica.keeps) {
        wal_->release(replica.id(), index);
        return;
    }
    if (!replica.keeps) {
        replica.keeps = true;
        replica.kept_from = index;
        keeping_.push_back(&replica);
    }
    kept_bytes_ += bytes;
}

// Another log begins.
void Shard::forget_kept(Replica& replica) {
    if (!replica.keeps) {
        return;
    }
    const base::LogIndex applied = replica.machine.applied().index;
    for (; replica.kept_from <= applied; replica.kept_from = replica.kept_from.next()) {
        kept_bytes_ -= wal_->body(replica.id(), replica.kept_from).size();
    }
    replica.keeps = false;
    std::erase(keeping_, &replica);
}

// Entries that every live follower was sent need not stay, nor those beyond the bound: they can be
// read back.
void Shard::release_sent(Replica& replica) {
    const base::LogIndex applied = replica.machine.applied().index;
    base::LogIndex through = applied;
    if (replica.group.is_leader() && kept_bytes_ <= limits::replication_bytes_held_max) {
        for (std::size_t i = 0; i < links_.size(); ++i) {
            if (links_[i].named && concerns(links_[i], replica) && is_well(links_[i], replica) &&
                replica.tables.back().find(links_[i].peer.node) != nullptr) {
                through = std::min(through, replica.sent[i]);
            }
        }
    }
    for (; replica.kept_from <= through; replica.kept_from = replica.kept_from.next()) {
        kept_bytes_ -= wal_->body(replica.id(), replica.kept_from).size();
    }
    wal_->release(replica.id(), through);
    replica.keeps = replica.kept_from <= applied;
}

}  // namespace ursula::shard
