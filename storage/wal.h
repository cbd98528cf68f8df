// The log of one shard: one file sequence shared by all its Raft groups. It knows groups, terms,
// indexes and opaque entry bodies. Used only by the shard's loop; owned by the shard. Bytes on
// disk: storage/wal_format.h. After a crash: storage/recovery.h. A turn uses it like this:
//
//   disk.take_completions(done); for (op : done) op->owner->on_done(*op, now);     reap
//   wal.take_persisted(persisted); wal.take_reads(reads);                          what is durable,
//   what was read body = wal.stage_entry(...); encode into body; wal.finish_entry(); ... step
//   groups wal.flush(now);                                                                at most
//   one write per free slot wal.take_persisted(persisted); on a MemoryDisk: durable at once
//
// Nothing here blocks; only start() does.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/limits.h"
#include "base/metric.h"
#include "base/result.h"
#include "base/time.h"
#include "storage/disk.h"

namespace ursula::storage {

struct RecoveredLog;
class WalCore;

// Segment numbers begin at 1, only grow, and are never used twice; 0 means none.
using SegmentId = base::Id<struct SegmentIdTag, std::uint32_t>;

// Bytes of one entry body on disk. Stays true until the segment is recycled (see covered()).
struct Location {
    SegmentId segment;
    std::uint32_t position = 0;  // bytes from the start of the segment's file
    std::uint32_t size = 0;
    constexpr auto operator<=>(const Location&) const = default;
};

// What became durable for one group. In log order; one per group and batch. An entry truncated in
// the meantime may still be named: compare terms.
struct Persisted {
    base::GroupId group;
    bool has_entries = false;
    base::EntryId last;  // has_entries: the group's log is durable through this entry
    // has_entries: how many of the group's truncations and restarts staged in this life went ahead
    // of it: the same entry can be written, cut off and written again.
    std::uint64_t cuts = 0;
    bool has_hard_state = false;
    base::Term term;  // has_hard_state: this vote of this term is durable
    base::NodeId vote;
};

// Bytes of stage_payload() that are durable, and where they are.
struct PayloadPlaced {
    base::GroupId group;
    std::uint64_t ticket = 0;
    Location location;
};

struct WalOptions {
    std::uint64_t salt = 0;         // the shard's (NodeFile::shard_salt); keys every checksum
    std::uint32_t group_count = 0;  // groups of the whole node: ids are below it
    std::uint32_t segment_bytes = base::limits::segment_bytes_default;
    // Appends are refused (State::full) while the volume's free space is below the larger of the
    // two.
    std::uint64_t reserve_bytes = 0;
    std::uint32_t reserve_percent = 5;
    // Smaller only in tests. A piece plus its headers fits a batch.
    std::uint32_t batch_bytes_max = base::limits::wal_batch_bytes_max;
    std::uint32_t piece_bytes_max = base::limits::wal_piece_bytes_max;
    // Where the time from a batch's submit to its being durable is recorded; may be null.
    base::Histogram* sync_duration = nullptr;
};

// A read of bytes already on disk. Owned by the caller, untouched from read() until take_reads()
// returns it.
struct ReadRequest {
    SegmentId segment;
    std::uint32_t position = 0;  // need not be aligned
    base::MutableBytes
        buffer{};         // its size is what is read; the caller checks its own checksum over it
    bool failed = false;  // the disk refused: `error` says why, the buffer is undefined
    std::string error;
    void* owner = nullptr;        // the caller's
    ReadRequest* next = nullptr;  // the Wal's
};

class Wal final {
  public:
    enum class State : std::uint8_t {
        open,
        full,    // no space for the next segments: appends are to be refused (507), everything else
                 // goes on. Retried once a second, ends by itself.
        failed,  // a write or sync of the log failed: failure() says it in a sentence, the process
                 // ends with exit 1
    };

    // Blocks. Makes the segment that follows what was recovered (never writes into an old one),
    // then removes files that hold nothing: torn heads, spares, temporaries. On a MemoryDisk pass
    // RecoveredLog{}. disk outlives the Wal.
    static base::Result<std::unique_ptr<Wal>> start(Disk& disk, const WalOptions& options,
                                                    RecoveredLog&& recovered);
    // Only when the disk has nothing of it in flight any more, or is gone.
    ~Wal();
    Wal(const Wal&) = delete;
    Wal& operator=(const Wal&) = delete;

    // --- staging: one group's records keep their order ---
    // Memory for the body of the group's next entry (id.index follows the last one staged,
    // recovered or restarted at). The caller fills all of it, then calls finish_entry() before any
    // other staging call. `kind` is the caller's.
    base::MutableBytes stage_entry(base::GroupId group, base::EntryId id, std::uint8_t kind,
                                   std::size_t body_size);
    void finish_entry();
    void finish_entry(std::uint32_t body_crc);  // when crc32c of the body is known already
    void stage_hard_state(base::GroupId group, base::Term term, base::NodeId vote);
    // Entries with index >= from are gone, in memory at once and on disk with this record.
    void stage_truncate(base::GroupId group, base::LogIndex from);
    // A snapshot at `base` replaced the group's log: the next entry is base.index + 1.
    void stage_restart(base::GroupId group, base::EntryId base);
    // Whether every truncation and restart of the group that was staged is on disk.
    bool cuts_durable(base::GroupId group) const;
    // Payload that came beside the log (of a snapshot being fetched), at most piece_bytes_max; the
    // ticket, which rises, tells in take_payloads() when it is durable. Recovery knows nothing of
    // it: it counts once a durable snapshot names its location. Until release_payload() its segment
    // is not recycled.
    std::uint64_t stage_payload(base::GroupId group, base::Bytes bytes, std::uint32_t crc);
    // Appends what became durable since the last call, in the order of staging.
    void take_payloads(std::vector<PayloadPlaced>& out);
    // All payload staged for the group so far is named by covered() now, or not wanted any more.
    void release_payload(base::GroupId group);
    // Staged and not yet durable. The shard refuses appends (503) from limits::wal_staged_bytes_max
    // on.
    std::size_t staged_bytes() const;

    // --- once per turn ---
    // Hands staged records to the Disk when a write slot is free, runs what is due (watermark,
    // segments ahead, space).
    void flush(base::Instant now);
    // Appends what became durable since the last call, in log order.
    void take_persisted(std::vector<Persisted>& out);
    // When flush() wants to run although nothing else happens.
    base::Instant deadline() const;
    State state() const;
    std::string_view failure() const;      // state failed
    std::string_view full_reason() const;  // state full: for the log

    // --- bodies ---
    // The entry's body in one piece, from finish_entry until released or truncated; empty span when
    // it is not held.
    base::Bytes body(base::GroupId group, base::LogIndex index) const;
    // The caller needs no body of the group through `index` from memory any more.
    void release(base::GroupId group, base::LogIndex through);
    // Where [offset, offset + size) of a held entry's body lies on disk: appends one Location per
    // piece touched. Only for entries already persisted; never on a MemoryDisk. Ask before
    // release().
    void locate(base::GroupId group, base::LogIndex index, std::size_t offset, std::size_t size,
                std::vector<Location>& out) const;
    void read(ReadRequest& request);
    void take_reads(std::vector<ReadRequest*>& done);

    // --- recycling ---
    // The group's snapshot at `through` is durable and was re-read; `live` are all segments its
    // location index names. A segment is recycled once every group's entries in it are covered, no
    // group's live set names it, no read uses it, and a later segment's head (which repeats hard
    // states and log ends) is durable. After a restart nothing is recycled before this was told
    // once for each group that started with a snapshot.
    void covered(base::GroupId group, base::LogIndex through, std::span<const SegmentId> live);
    // As that, but entries behind `forgotten` stay for followers until forget() says otherwise.
    void covered(base::GroupId group, base::LogIndex through, std::span<const SegmentId> live,
                 base::LogIndex forgotten);
    // Nobody needs the group's entries up to here, which are covered.
    void forget(base::GroupId group, base::LogIndex through);
    // Log bytes that only followers may still need: covered and not forgotten.
    std::uint64_t kept_bytes() const;
    // Of the oldest segment with such bytes: which groups have them, and through which entry.
    void oldest_kept(std::vector<std::pair<base::GroupId, base::LogIndex>>& out) const;
    bool has_segment(SegmentId segment) const;
    // Log bytes newer than the group's last covered() index, over all groups: what a restart has to
    // read.
    std::uint64_t uncovered_bytes() const;
    std::uint64_t segment_count() const;
    // Groups whose entries keep the oldest segment from being recycled: the ones to snapshot first.
    void groups_pinning_oldest(std::vector<base::GroupId>& out) const;

    // For the log and metrics.
    struct Counters {
        std::uint64_t batches = 0;
        std::uint64_t entries = 0;
        std::uint64_t bytes_written = 0;  // as sent to the disk, padding included
        std::uint64_t segments_made = 0;
        std::uint64_t segments_recycled = 0;
        std::uint64_t watermarks = 0;  // batches an idle log wrote for itself
    };
    const Counters& counters() const;
    base::Instant oldest_write()
        const;  // submit time of the oldest write in flight; never() when none

  private:
    explicit Wal(std::unique_ptr<WalCore> core);
    std::unique_ptr<WalCore> core_;
};

// "wal-0000000012"
std::string segment_name(SegmentId segment);

}  // namespace ursula::storage
