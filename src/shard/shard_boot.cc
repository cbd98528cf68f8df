// A shard's start: snapshots, then the log newer than they are, then the groups.
#include <algorithm>

#include "shard/entry_body.h"
#include "shard/shard.h"
#include "storage/recovery.h"
#include "stream/image.h"

namespace ursula::shard {

// Takes entries in log order. An entry at or below a commit hint seen so far is applied at once;
// the others wait, and what waits at the end is applied by the ordinary path once its group's new
// leader has committed it.
class Shard::BootSink final : public storage::RecoverySink {
  public:
    BootSink(Shard& shard, BootReport& report) : shard_(shard), report_(report) {}

    void on_entry(const storage::RecoveredEntry& entry) override {
        Replica& replica = shard_.replica(entry.group);
        ++report_.entries;
        auto& terms = replica.boot_terms;
        if (terms.empty() || terms.back().term != entry.id.term) {
            terms.push_back({entry.id.index, entry.id.term});
        }
        const base::LogIndex hint = read_commit_hint(entry.body);
        RecoveredEntries& waiting = replica.recovered;
        while (!waiting.empty() && waiting.first_id().index <= hint) {
            const RecoveredEntries::View next = waiting.pop_first();
            shard_.apply_entry(replica, next.id, next.kind, next.body, next.pieces, false);
        }
        const auto kind = static_cast<raft::EntryKind>(entry.kind);
        if (shard_.has_peers()) {
            replica.places.push(entry.id.index, kind, entry.body, entry.pieces);
        }
        if (kind == raft::EntryKind::membership) {
            shard_.recover_membership(replica, entry);
        }
        waiting.push(entry.id, kind, entry.body, entry.pieces);
    }

    void on_truncate(base::GroupId group, base::LogIndex from) override {
        Replica& replica = shard_.replica(group);
        while (!replica.recovered.empty() && replica.recovered.last_id().index >= from) {
            replica.recovered.pop_last();
        }
        VERIFY(replica.machine.applied().index < from);  // never below what was committed
        replica.places.cut(from);
        shard_.cut_tables(replica, from);
        while (!replica.boot_terms.empty() && replica.boot_terms.back().first >= from) {
            replica.boot_terms.pop_back();
        }
    }

  private:
    Shard& shard_;
    BootReport& report_;
};

base::Result<BootReport> Shard::start(base::Now now) {
    now_ = now;
    BootReport report;
    for (auto& replica : replicas_) {
        found(*replica);
    }
    TRY(load_snapshots(report));
    storage::RecoveredLog recovered;
    if (disk_.keeps_data()) {
        std::vector<base::EntryId> snapshots(options_.groups);
        for (const auto& replica : replicas_) {
            snapshots[replica->id().value] = replica->machine.applied();
        }
        BootSink sink(*this, report);
        auto log = storage::recover(disk_, {options_.salt, options_.groups, snapshots}, sink);
        if (!log) {
            // A damaged snapshot shows here as a log that does not reach back far enough.
            if (!report.damaged_snapshots.empty()) {
                log.error().message += "; " + report.damaged_snapshots;
            }
            return tl::unexpected(std::move(log.error()));
        }
        recovered = std::move(*log);
        TRY(check_recovered(recovered));
        report.replayed_bytes = recovered.replayed_bytes;
        report.dropped_batches = recovered.dropped_batches;
    }
    std::vector<storage::BootState> boots(options_.groups);
    for (const storage::BootState& boot : recovered.groups) {
        boots[boot.group.value] = boot;
    }
    storage::WalOptions options;
    options.salt = options_.salt;
    options.group_count = options_.groups;
    options.segment_bytes = options_.segment_bytes;
    options.reserve_bytes = options_.reserve_bytes;
    options.reserve_percent = options_.reserve_percent;
    options.sync_duration = options_.sync_duration;
    options.batch_bytes_max = options_.wal_batch_bytes_max;
    options.piece_bytes_max = options_.wal_piece_bytes_max;
    auto wal = storage::Wal::start(disk_, options, std::move(recovered));
    if (!wal) {
        return tl::unexpected(std::move(wal.error()));
    }
    wal_ = std::move(*wal);
    for (auto& replica : replicas_) {
        const std::vector<raft::MembershipAt> memberships = memberships_of(*replica);
        const storage::BootState& boot = boots[replica->id().value];
        raft::Start start;
        start.hard_state = {boot.term, boot.vote};
        start.snapshot = boot.snapshot;
        start.log_terms = replica->boot_terms;
        start.last = boot.last.index;
        start.commit_hint = replica->machine.applied().index;
        start.memberships = memberships;
        start.life = options_.boot;
        replica->snapshot = boot.snapshot.index;
        replica->snapshot_file = boot.snapshot.index;
        replica->group.step(start, now, replica->effects);
        replica->group.step(raft::Applied{replica->machine.applied().index}, now, replica->effects);
        replica->effects.clear();
        raft_deadline_ = std::min(raft_deadline_, replica->group.deadline());
        replica->boot_terms.clear();
        if (boot.snapshot.index.value != 0) {
            wal_->covered(replica->id(), boot.snapshot.index, replica->boot_live);
            replica->boot_live.clear();
        }
    }
    begin_links();
    // What was applied while reading is no news to anybody.
    counters_ = {};
    snapshot_again_ = now.mono;
    return report;
}

// What the log alone cannot know: that there was one, and what snapshots still need of it.
base::Result<void> Shard::check_recovered(const storage::RecoveredLog& log) const {
    if (options_.begun && log.segments.empty()) {
        return base::fail(
            "its log is missing: there is no wal-* file with records, yet this node has been ready "
            "before; put the files back");
    }
    for (const auto& replica : replicas_) {
        for (const storage::SegmentId needed : replica->boot_live) {
            const bool there =
                std::any_of(log.segments.begin(), log.segments.end(),
                            [needed](const auto& segment) { return segment.segment == needed; });
            if (!there) {
                return base::fail(storage::segment_name(needed) +
                                  " is missing: the snapshot of group " +
                                  std::to_string(replica->id().value) +
                                  " says that it holds appends; put the file back");
            }
        }
    }
    return {};
}

base::Result<void> Shard::load_snapshots(BootReport& report) {
    if (!disk_.keeps_data()) {
        return {};
    }
    TRY(snapshots_.open());
    for (auto& replica : replicas_) {
        auto loaded = snapshots_.load(replica->id(), report.damaged_snapshots);
        if (!loaded) {
            return tl::unexpected(std::move(loaded.error()));
        }
        if (loaded->id.index.value == 0) {
            continue;
        }
        stream::ImageReader image(replica->machine);
        TRY(image.feed(loaded->image));
        TRY(image.finish());
        stream::LocationReader locations(replica->machine);
        TRY(locations.feed(loaded->locations));
        TRY(locations.finish());
        VERIFY(replica->machine.applied() == loaded->id);
        restore_membership(*replica);
        replica->image_bytes = loaded->image.size();
        stream::SegmentLoad named;
        for (const stream::Stream* stream = replica->machine.first(); stream != nullptr;
             stream = stream->next()) {
            stream->locations.count_into(named);
        }
        named.for_each_segment([&](std::uint32_t segment) {
            if (segment != no_segment) {
                replica->boot_live.push_back(storage::SegmentId(segment));
            }
        });
    }
    return {};
}

}  // namespace ursula::shard
