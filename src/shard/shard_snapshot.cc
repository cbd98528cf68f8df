// Snapshots (DESIGN "Locations and snapshots"): one group at a time, at one index, in slices
// between turns. A round begins when the log that a restart would read is longer than
// max(snapshot_log_bytes, 2 x images) and takes every group that has something newer than its last
// snapshot, so idle groups free segments too. On a full disk a round also begins when payload died
// since the last one: only that frees its segments, and appends, which would bring the next round,
// are refused.
#include <algorithm>
#include <utility>

#include "base/limits.h"
#include "shard/shard.h"

namespace ursula::shard {

namespace limits = base::limits;

namespace {
constexpr std::size_t slice_bytes =
    64 * 1024;  // of image and locations together per turn: well under a millisecond
constexpr base::Duration retry_after = base::seconds(1);
// How often the log's length is looked at, which costs a walk of its segments: a part of the bytes
// that make a round due.
constexpr std::uint64_t look_fraction = 64;
}  // namespace

void Shard::run_snapshots() {
    if (!disk_.keeps_data()) {
        return;
    }
    if (has_peers() && now_.mono >= kept_look_at_) {
        look_after_kept_log();
    }
    if (image_ == nullptr) {
        if (!snapshots_.busy() && now_.mono >= snapshot_again_) {
            begin_snapshot();
        }
        return;
    }
    if (image_sent_ || !snapshots_.ready()) {
        return;
    }
    if (!image_->done()) {
        image_slice_.clear();
        location_slice_.clear();
        image_->next_slice(slice_bytes, image_slice_, location_slice_);
        if (!image_slice_.empty()) {
            snapshots_.append(storage::SnapshotStore::Part::image, image_slice_);
        }
        if (!location_slice_.empty()) {
            snapshots_.append(storage::SnapshotStore::Part::locations, location_slice_);
        }
    }
    // A fetched one is published when the log's tail that contradicts it is gone.
    if (image_->done() && (!installing_ || wal_->cuts_durable(imaging_->id()))) {
        image_sent_ = true;
        snapshots_.finish();
    }
}

bool Shard::snapshot_due() {
    if (was_full_ && local_.segments.live_total() < live_at_round_) {
        return true;
    }
    const std::uint64_t written = wal_->counters().bytes_written;
    if (written < snapshot_look_at_) {
        return false;
    }
    snapshot_look_at_ = written + options_.snapshot_log_bytes / look_fraction;
    std::uint64_t images = 0;
    for (const auto& replica : replicas_) {
        images += replica->image_bytes;
    }
    return wal_->uncovered_bytes() > std::max(options_.snapshot_log_bytes, 2 * images);
}

// Whether run_snapshots() would go on although no disk op brings a turn.
bool Shard::snapshot_waits() const {
    return image_ == nullptr ? !snapshot_round_.empty() && !snapshots_.busy()
                             : !image_sent_ && !image_->done() && snapshots_.ready();
}

// Whatever the log's length.
void Shard::begin_snapshot_of(Replica& replica) {
    if (std::find(snapshot_round_.begin(), snapshot_round_.end(), &replica) ==
        snapshot_round_.end()) {
        snapshot_round_.push_back(&replica);
    }
}

void Shard::begin_snapshot() {
    if (snapshot_round_.empty()) {
        if (!snapshot_due()) {
            return;
        }
        live_at_round_ = local_.segments.live_total();
        for (auto& replica : replicas_) {
            snapshot_round_.push_back(replica.get());
        }
    }
    for (std::size_t i = snapshot_round_.size(); i > 0; --i) {
        Replica* replica = snapshot_round_[i - 1];
        if (is_being_imaged(*replica)) {
            snapshot_again_ = now_.mono + retry_after;
            continue;  // for a follower; later
        }
        snapshot_round_.erase(snapshot_round_.begin() + static_cast<std::ptrdiff_t>(i - 1));
        if (replica->machine.applied().index <= replica->snapshot_file) {
            continue;
        }
        imaging_ = replica;
        image_ = std::make_unique<stream::ImageWriter>(replica->machine);
        image_sent_ = false;
        snapshots_.begin(replica->id(), image_->at());
        return;
    }
}

void Shard::end_snapshot(const storage::SnapshotStore::Finished& finished) {
    Replica& replica = *imaging_;
    const bool fetched = std::exchange(installing_, false);
    if (!finished.ok) {
        events_.push_back({ShardEvent::Kind::snapshot_failed, finished.reason});
        if (!fetched) {
            snapshot_round_.push_back(&replica);
        }
        snapshot_again_ = now_.mono + retry_after;
        image_.reset();
        return;
    }
    std::vector<storage::SegmentId> live;
    for (const auto& [segment, bytes] : image_->segments()) {
        if (segment != no_segment) {
            live.push_back(storage::SegmentId(segment));
        }
    }
    image_.reset();
    if (fetched) {
        end_install(replica, finished, live);
        return;
    }
    replica.snapshot = finished.id.index;
    replica.snapshot_file = finished.id.index;
    replica.image_bytes = finished.image_bytes;
    ++counters_.snapshots;
    wal_->covered(replica.id(), finished.id.index, live, replica.group.log().snapshot().index);
    forget_log(replica, forgettable(replica));
    events_.push_back({ShardEvent::Kind::snapshot_written,
                       "group " + std::to_string(finished.group.value) + " index " +
                           std::to_string(finished.id.index.value) + " image bytes " +
                           std::to_string(finished.image_bytes) + " location bytes " +
                           std::to_string(finished.locations_bytes)});
}

bool Shard::is_being_imaged(const Replica& replica) {
    return std::any_of(replica.served.begin(), replica.served.end(),
                       [](const auto& served) { return served->writer != nullptr; });
}

// --- the log behind a snapshot ---

// A group's log may be forgotten up to here: its snapshot covers it, and no follower that lives
// lacks it. One that is down, or gets a snapshot already, is not waited for.
base::LogIndex Shard::forgettable(const Replica& replica) const {
    base::LogIndex through = replica.snapshot;
    if (!has_peers() || was_full_) {
        return through;
    }
    through = std::min(through, pinned_through(replica));
    if (!replica.group.is_leader()) {
        return through;
    }
    for (const raft::Peer& peer : replica.group.status().peers) {
        if (peer.id != options_.node && !peer.down && !peer.reverted &&
            peer.pace != raft::Pace::snapshot) {
            through = std::min(through, peer.match);
        }
    }
    // What cannot be read serves nobody.
    return std::max(through, std::min(replica.unreadable, replica.snapshot));
}

void Shard::forget_log(Replica& replica, base::LogIndex through) {
    const raft::IdLog& log = replica.group.log();
    if (through <= log.snapshot().index) {
        return;
    }
    replica.group.step(raft::SnapshotTaken{{log.term_at(through), through}}, now_, replica.effects);
    carry_out(replica);
    replica.places.forget(through);
    wal_->forget(replica.id(), through);
}

// Followers catch up, and what is kept for them is bounded: the oldest goes first.
void Shard::look_after_kept_log() {
    kept_look_at_ = now_.mono + base::milliseconds(limits::log_kept_look_ms);
    for (auto& replica : replicas_) {
        if (replica->snapshot < replica->unreadable) {
            begin_snapshot_of(*replica);
        }
        if (replica->group.log().snapshot().index < replica->snapshot) {
            forget_log(*replica, forgettable(*replica));
        }
    }
    while (wal_->kept_bytes() > options_.log_kept_bytes) {
        kept_.clear();
        wal_->oldest_kept(kept_);
        VERIFY(!kept_.empty());
        for (const auto& [group, highest] : kept_) {
            forget_log(replica(group), highest);
        }
    }
}

}  // namespace ursula::shard
