// Where on disk the entries of a group's log lie: what a follower is sent when their bodies have
// left memory. Only kept where a group has several members. Owned by one replica.
//
// Memory: 24 bytes per entry and 12 per piece of it, for the entries since the group's snapshot.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/ids.h"
#include "base/verify.h"
#include "raft/types.h"
#include "storage/wal.h"

namespace ursula::shard {

class EntryPlaces {
  public:
    struct View {
        raft::EntryKind kind = raft::EntryKind::noop;
        std::uint32_t size = 0;
        std::uint32_t crc = 0;                      // of the body
        std::span<const storage::Location> pieces;  // until the next push() or cut()
    };

    // Entries come in the order of the log.
    void push(base::LogIndex index, raft::EntryKind kind, base::Bytes body,
              std::span<const storage::Location> pieces) {
        if (entries_.empty()) {
            first_ = index;
        }
        VERIFY(index.value == first_.value + entries_.size());
        pieces_.insert(pieces_.end(), pieces.begin(), pieces.end());
        Entry entry;
        entry.pieces_end = pieces_.size();
        entry.size = static_cast<std::uint32_t>(body.size());
        entry.crc = base::crc32c(body);
        entry.kind = kind;
        entries_.push_back(entry);
    }
    // Entries from this index on are gone.
    void cut(base::LogIndex from) {
        const std::size_t left = from > first_ ? from.value - first_.value : 0;
        if (left < entries_.size()) {
            entries_.resize(left);
            pieces_.resize(left == 0 ? 0 : entries_.back().pieces_end);
        }
    }
    bool has(base::LogIndex index) const {
        return index >= first_ && index.value - first_.value < entries_.size();
    }
    View at(base::LogIndex index) const {
        VERIFY(has(index));
        const std::size_t at = index.value - first_.value;
        const Entry& entry = entries_[at];
        const std::size_t begin = at == 0 ? 0 : entries_[at - 1].pieces_end;
        return {
            entry.kind, entry.size, entry.crc,
            std::span<const storage::Location>(pieces_).subspan(begin, entry.pieces_end - begin)};
    }

  private:
    struct Entry {
        std::uint64_t pieces_end = 0;  // each begins where the last ends
        std::uint32_t size = 0;
        std::uint32_t crc = 0;
        raft::EntryKind kind = raft::EntryKind::noop;
    };
    base::LogIndex first_;
    std::vector<Entry> entries_;
    std::vector<storage::Location> pieces_;
};

}  // namespace ursula::shard
