// RecoveredEntries of shard/replica.h.
#include <cstring>

#include "base/verify.h"
#include "shard/replica.h"

namespace ursula::shard {

std::size_t RecoveredEntries::body_begin(std::size_t entry) const {
    return entry == 0 ? 0 : entries_[entry - 1].body_end;
}

std::size_t RecoveredEntries::pieces_begin(std::size_t entry) const {
    return entry == 0 ? 0 : entries_[entry - 1].pieces_end;
}

void RecoveredEntries::push(base::EntryId id, raft::EntryKind kind, base::Bytes body,
                            std::span<const storage::Location> pieces) {
    // What was taken goes when it is more than what is left, so moving costs less than once per
    // byte.
    if (first_ > 0 && first_ * 2 >= entries_.size() && body_begin(first_) * 2 >= bytes_.size()) {
        const std::size_t bytes = body_begin(first_);
        const std::size_t pieces_gone = pieces_begin(first_);
        bytes_.erase(bytes_.begin(), bytes_.begin() + static_cast<std::ptrdiff_t>(bytes));
        pieces_.erase(pieces_.begin(), pieces_.begin() + static_cast<std::ptrdiff_t>(pieces_gone));
        entries_.erase(entries_.begin(), entries_.begin() + static_cast<std::ptrdiff_t>(first_));
        first_ = 0;
        for (Entry& entry : entries_) {
            entry.body_end -= bytes;
            entry.pieces_end -= pieces_gone;
        }
    }
    bytes_.insert(bytes_.end(), body.begin(), body.end());
    pieces_.insert(pieces_.end(), pieces.begin(), pieces.end());
    entries_.push_back(Entry{id, kind, bytes_.size(), pieces_.size()});
}

base::Bytes RecoveredEntries::body(base::LogIndex index) const {
    if (empty() || index < first_id().index || index > last_id().index) {
        return {};
    }
    const std::size_t at = first_ + (index.value - first_id().index.value);
    return base::Bytes(bytes_).subspan(body_begin(at), entries_[at].body_end - body_begin(at));
}

RecoveredEntries::View RecoveredEntries::pop_first() {
    VERIFY(!empty());
    const std::size_t at = first_++;
    const Entry& entry = entries_[at];
    const std::size_t body = body_begin(at);
    const std::size_t pieces = pieces_begin(at);
    View view;
    view.id = entry.id;
    view.kind = entry.kind;
    view.body = base::Bytes(bytes_).subspan(body, entry.body_end - body);
    view.pieces =
        std::span<const storage::Location>(pieces_).subspan(pieces, entry.pieces_end - pieces);
    return view;
}

void RecoveredEntries::pop_last() {
    VERIFY(!empty());
    entries_.pop_back();
    bytes_.resize(body_begin(entries_.size()));
    pieces_.resize(pieces_begin(entries_.size()));
}

}  // namespace ursula::shard
