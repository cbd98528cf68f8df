// Where on disk the entries of a group's log lie: what a follower is sent when their bodies have
// left memory. Only kept where a group has several members. Owned by one replica.
//
// Memory: 24 bytes per entry and 12 per piece of it, for the entries that the log keeps for
// followers (limits::log_kept_bytes_max) and those since the group's snapshot.
#pragma once

#include <algorithm>
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
        if (count() == 0) {
            first_ = index;
        }
        VERIFY(index.value == first_.value + count());
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
        const std::uint64_t left = from > first_ ? from.value - first_.value : 0;
        if (left < count()) {
            pieces_.resize(left == 0 ? pieces_gone_ : pieces_begin(left));
            entries_.resize(gone_ + left);
        }
    }
    // Entries up to this one are not needed any more.
    void forget(base::LogIndex through) {
        if (through < first_ || count() == 0) {
            return;
        }
        const std::uint64_t gone =
            std::min<std::uint64_t>(through.value - first_.value + 1, count());
        gone_ += gone;
        pieces_gone_ = entries_[gone_ - 1].pieces_end;
        first_ = base::LogIndex(first_.value + gone);
        // Moves less than was forgotten, so it costs a constant per entry.
        if (gone_ * 2 >= entries_.size()) {
            entries_.erase(entries_.begin(), entries_.begin() + static_cast<std::ptrdiff_t>(gone_));
            pieces_.erase(pieces_.begin(),
                          pieces_.begin() + static_cast<std::ptrdiff_t>(pieces_gone_));
            for (Entry& entry : entries_) {
                entry.pieces_end -= pieces_gone_;
            }
            gone_ = 0;
            pieces_gone_ = 0;
        }
    }
    // Another log begins.
    void clear() { *this = {}; }
    std::uint64_t count() const { return entries_.size() - gone_; }
    bool has(base::LogIndex index) const {
        return index >= first_ && index.value - first_.value < count();
    }
    View at(base::LogIndex index) const {
        VERIFY(has(index));
        const std::uint64_t at = index.value - first_.value;
        const Entry& entry = entries_[gone_ + at];
        const std::uint64_t begin = pieces_begin(at);
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
    // Of the entry that is `at` behind the first.
    std::uint64_t pieces_begin(std::uint64_t at) const {
        return at == 0 ? pieces_gone_ : entries_[gone_ + at - 1].pieces_end;
    }

    base::LogIndex first_;
    std::uint64_t gone_ = 0;  // of entries_ and pieces_, forgotten
    std::uint64_t pieces_gone_ = 0;
    std::vector<Entry> entries_;
    std::vector<storage::Location> pieces_;
};

}  // namespace ursula::shard
