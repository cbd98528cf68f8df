// From files to the state a shard starts with. Reads, decides, never writes into a segment: the
// decision becomes durable with the head of the segment Wal::start makes next. The rules (torn
// tail, damage) stand in storage/wal_format.h.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/result.h"
#include "storage/disk.h"
#include "storage/wal.h"

namespace ursula::storage {

// An entry newer than its group's snapshot. Views live until the callback returns.
struct RecoveredEntry {
    base::GroupId group;
    base::EntryId id;
    std::uint8_t kind = 0;
    base::Bytes body;
    std::span<const Location> pieces;  // of the body, in order; sizes add up to body.size()
};

// Told in log order; within a group indexes follow each other without a hole.
class RecoverySink {
  public:
    virtual void on_entry(const RecoveredEntry& entry) = 0;
    // Entries of the group with index >= from, told earlier, are gone. Never for a group that
    // always had one voter.
    virtual void on_truncate(base::GroupId group, base::LogIndex from) = 0;

  protected:
    ~RecoverySink() = default;
};

// What a group starts with, snapshot and log taken together.
struct BootState {
    base::GroupId group;
    base::Term term;  // hard state
    base::NodeId vote;
    base::EntryId snapshot;  // as passed in; index 0: none
    base::EntryId
        last;  // last entry of the log, or the snapshot's when the log holds nothing newer
};

struct RecoveredSegment {
    SegmentId segment;
    std::uint32_t size_bytes = 0;
    std::uint32_t end = 0;  // first byte behind its last accepted batch
    std::uint64_t last_sequence = 0;
    std::uint32_t last_checksum = 0;
    bool replayed = false;  // false: snapshots cover it, it was not read
    std::vector<std::pair<base::GroupId, base::LogIndex>>
        highest;  // replayed: highest index per group in it
};

// The log as recovery left it; Wal::start continues from here.
struct RecoveredLog {
    std::vector<BootState> groups;           // those that ever had a record or a snapshot, by group
    std::vector<RecoveredSegment> segments;  // live ones, oldest first
    std::vector<std::string> unused;  // files that hold nothing needed: Wal::start removes them
    SegmentId next_segment{1};
    std::uint64_t replayed_bytes = 0;
    std::uint64_t dropped_batches = 0;  // torn tail: written, never acknowledged
};

struct RecoveryOptions {
    std::uint64_t salt = 0;
    std::uint32_t group_count = 0;
    std::span<const base::EntryId> snapshots;  // by group id, index 0 = none; empty = none at all
};

// Blocks. An error with errno_value 0 refuses the directory (damage, another node's, newer format;
// the message names file and position; exit 3); with errno_value != 0 the disk failed (exit 1).
// Files whose bytes count are synced on return.
base::Result<RecoveredLog> recover(Disk& disk, const RecoveryOptions& options, RecoverySink& sink);

}  // namespace ursula::storage
