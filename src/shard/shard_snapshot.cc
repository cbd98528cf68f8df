// Snapshots (DESIGN "Locations and snapshots"): one group at a time, at one index, in slices
// between turns. A round begins when the log that a restart would read is longer than
// max(snapshot_log_bytes, 2 x images) and takes every group that has something newer than its last
// snapshot, so idle groups free segments too. On a full disk a round also begins when payload died
// since the last one: only that frees its segments, and appends, which would bring the next round,
// are refused.
#include <algorithm>

#include "shard/shard.h"

namespace ursula::shard {

namespace {
constexpr std::size_t slice_bytes =
    64 * 1024;  // of image and locations together per turn: well under a millisecond
constexpr base::Duration retry_after = base::seconds(1);
// How often the log's length is looked at, which costs a walk of its segments: a part of the bytes
// that make a round due.
constexpr std::uint64_t look_fraction = 64;
}  // namespace

void Shard::run_snapshots() {
    // Among several nodes the log is kept whole: a follower that lacks what a snapshot covers could
    // not be brought up.
    if (!disk_.keeps_data() || has_peers()) {
        return;
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
    image_slice_.clear();
    location_slice_.clear();
    image_->next_slice(slice_bytes, image_slice_, location_slice_);
    if (!image_slice_.empty()) {
        snapshots_.append(storage::SnapshotStore::Part::image, image_slice_);
    }
    if (!location_slice_.empty()) {
        snapshots_.append(storage::SnapshotStore::Part::locations, location_slice_);
    }
    if (image_->done()) {
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
                             : !image_sent_ && snapshots_.ready();
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
    while (!snapshot_round_.empty()) {
        Replica* replica = snapshot_round_.back();
        snapshot_round_.pop_back();
        if (replica->machine.applied().index <= replica->snapshot) {
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
    if (!finished.ok) {
        events_.push_back({ShardEvent::Kind::snapshot_failed, finished.reason});
        snapshot_round_.push_back(&replica);
        snapshot_again_ = now_.mono + retry_after;
        image_.reset();
        return;
    }
    std::vector<storage::SegmentId> live;
    for (const auto& [segment, bytes] : image_->segments()) {
        live.push_back(storage::SegmentId(segment));
    }
    replica.snapshot = finished.id.index;
    replica.image_bytes = finished.image_bytes;
    image_.reset();
    ++counters_.snapshots;
    replica.group.step(raft::SnapshotTaken{finished.id}, now_, replica.effects);
    carry_out(replica);
    wal_->covered(replica.id(), finished.id.index, live);
    events_.push_back({ShardEvent::Kind::snapshot_written,
                       "group " + std::to_string(finished.group.value) + " index " +
                           std::to_string(finished.id.index.value) + " image bytes " +
                           std::to_string(finished.image_bytes) + " location bytes " +
                           std::to_string(finished.locations_bytes)});
}

}  // namespace ursula::shard
