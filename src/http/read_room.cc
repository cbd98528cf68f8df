#include "http/read_room.h"

#include <algorithm>

#include "base/limits.h"

namespace ursula::http {

namespace limits = base::limits;

namespace {

// Bytes whose blocks nobody else refers to: what is hot is in memory anyway. Pieces of one block
// stand together.
std::uint64_t own_bytes(const api::ReadReply& read) {
    std::uint64_t bytes = 0;
    for (std::size_t first = 0; first < read.pieces.size();) {
        const base::Slice& piece = read.pieces[first];
        std::uint64_t size = 0;
        std::size_t end = first;
        for (; end < read.pieces.size() && read.pieces[end].same_block(piece); ++end) {
            size += read.pieces[end].size();
        }
        bytes += piece.references() == end - first ? size : 0;
        first = end;
    }
    return bytes;
}

}  // namespace

bool ReadRoom::take(net::ConnectionId id, const api::ReadReply& read, bool copied,
                    base::Instant now) {
    const std::uint64_t bytes = copied ? read.next - read.from : own_bytes(read);
    if (bytes < limits::read_held_bytes_min) {
        return true;
    }
    if (held_ + bytes > options_.read_held_bytes_max) {
        look(now);
        if (held_ > 0 && held_ + bytes > options_.read_held_bytes_max) {
            return false;
        }
    }
    if (holders_.size() <= id.slot) {
        holders_.resize(id.slot + 1);
    }
    Holder& holder = holders_[id.slot];
    if (holder.id != id) {
        holder = {};
        holder.id = id;
        holder.since = now;
    }
    holder.bytes += bytes;
    held_ += bytes;
    return true;
}

void ReadRoom::closed(net::ConnectionId id) {
    if (id.slot < holders_.size() && holders_[id.slot].id == id) {
        held_ -= holders_[id.slot].bytes;
        holders_[id.slot] = {};
    }
}

void ReadRoom::end_turn() {
    for (const net::ConnectionId id : stalled_) {
        transport_.abort(id);
    }
    stalled_.clear();
}

// What was taken meanwhile is only known by looking.
void ReadRoom::look(base::Instant now) {
    held_ = 0;
    for (Holder& holder : holders_) {
        if (holder.bytes == 0) {
            continue;
        }
        const std::uint64_t pending = transport_.output_pending(holder.id);
        holder.bytes = std::min(holder.bytes, pending);
        if (pending != holder.pending) {
            holder.pending = pending;
            holder.since = now;
        } else if (now - holder.since >= base::milliseconds(limits::read_stall_ms)) {
            stalled_.push_back(holder.id);
            holder.bytes = 0;
        }
        held_ += holder.bytes;
    }
}

}  // namespace ursula::http
