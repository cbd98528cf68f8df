// Drives a Wal over any Disk the way a shard does, one turn at a time. For tests of the storage
// island.
#pragma once

#include <doctest/doctest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/time.h"
#include "storage/recovery.h"
#include "storage/wal.h"

namespace ursula::storage {

struct Entry {
    base::EntryId id;
    std::uint8_t kind = 0;
    std::string body;
    bool operator==(const Entry&) const = default;
};

// What recovery told, per group.
class Collected final : public RecoverySink {
  public:
    void on_entry(const RecoveredEntry& entry) override {
        std::size_t size = 0;
        for (const Location& piece : entry.pieces) {
            size += piece.size;
        }
        CHECK(size == entry.body.size());
        groups[entry.group.value].push_back(
            {entry.id, entry.kind, std::string(base::as_text(entry.body))});
        locations[{entry.group.value, entry.id.index.value}].assign(entry.pieces.begin(),
                                                                    entry.pieces.end());
    }
    void on_truncate(base::GroupId group, base::LogIndex from) override {
        std::vector<Entry>& entries = groups[group.value];
        while (!entries.empty() && entries.back().id.index >= from) {
            entries.pop_back();
        }
    }
    std::map<std::uint32_t, std::vector<Entry>> groups;
    std::map<std::pair<std::uint32_t, std::uint64_t>, std::vector<Location>> locations;
};

inline void reap(Disk& disk, base::Instant now) {
    std::vector<DiskOp*> done;
    disk.take_completions(done);
    for (DiskOp* op : done) {
        op->owner->on_done(*op, now);
    }
}

inline void stage(Wal& wal, std::uint32_t group, std::uint64_t term, std::uint64_t index,
                  std::string_view body, std::uint8_t kind = 1) {
    const base::MutableBytes memory = wal.stage_entry(
        base::GroupId(group), {base::Term(term), base::LogIndex(index)}, kind, body.size());
    base::copy_bytes(memory.data(), base::as_bytes(body));
    wal.finish_entry();
}

// Turns until nothing is staged or in flight; returns what became durable.
inline std::vector<Persisted> settle(Wal& wal, Disk& disk, base::Instant& now) {
    std::vector<Persisted> persisted;
    for (int turn = 0; turn < 10'000; ++turn) {
        reap(disk, now);
        wal.take_persisted(persisted);
        wal.flush(now);
        wal.take_persisted(persisted);
        now = now + base::microseconds(100);
        if (wal.staged_bytes() == 0 && wal.oldest_write() == base::Instant::never() && turn > 2) {
            break;
        }
    }
    return persisted;
}

}  // namespace ursula::storage
