#include "stream/read_plan.h"

#include <algorithm>

#include "base/verify.h"
#include "stream/planted.h"

namespace ursula::stream {

void plan_read(const Stream& stream, std::uint64_t offset, std::uint64_t bytes_max,
               ReadPlan& plan) {
    const std::uint64_t tail = stream.tail();
    plan.pieces.clear();
    plan.memory_bytes = 0;
    plan.disk_bytes = 0;
    plan.from = tail;
    plan.next = tail;
    if (offset < tail) {
        const Locations& locations = stream.locations;
        VERIFY(!locations.empty() && locations.at(locations.count() - 1).to == tail);
        std::uint32_t index = locations.find(offset);
        Piece piece = locations.at(index);
        if (planted(Planted::append_split) && offset >= stream.hot.begin()) {
            piece.from = offset;
        }
        plan.from = piece.from;
        // As many whole appends as fit; else the one that begins here, whatever its size.
        const std::uint64_t limit =
            bytes_max > UINT64_MAX - plan.from ? UINT64_MAX : plan.from + bytes_max;
        std::uint32_t end = limit >= tail ? locations.count() : locations.find_end(limit);
        if (end <= index) {
            end = index;
            while (!locations.at(end).last) {
                ++end;
            }
            ++end;
        }
        plan.next = locations.at(end - 1).to;
        // Disk gives whole pieces only (their checksum covers all of one), so memory takes over at
        // the first piece that it holds completely, and holds all that follow.
        const std::uint64_t hot = stream.hot.begin();
        while (piece.from < hot) {
            plan.pieces.push_back({{}, piece.place});
            plan.disk_bytes += piece.place.size;
            if (++index == end) {
                break;
            }
            piece = locations.at(index);
        }
        if (index < end) {
            VERIFY(stream.hot.end() >= plan.next);
            for (std::uint64_t at = piece.from; at < plan.next;) {
                base::Slice slice = stream.hot.slice_at(at, plan.next);
                at += slice.size();
                plan.memory_bytes += slice.size();
                plan.pieces.push_back({std::move(slice), {}});
            }
        }
    }
    plan.up_to_date = plan.next == tail;
    plan.closed = plan.up_to_date && stream.closed();
}

void clamp_plan(ReadPlan& plan, std::uint64_t end) {
    if (end == UINT64_MAX) {
        return;
    }
    plan.up_to_date = false;
    plan.closed = false;
    if (plan.next <= end) {
        return;
    }
    VERIFY(plan.from <= end);
    plan.next = end;
    std::uint64_t left = end - plan.from;
    std::size_t kept = 0;
    plan.memory_bytes = 0;
    plan.disk_bytes = 0;
    for (; kept < plan.pieces.size() && left > 0; ++kept) {
        ReadPiece& piece = plan.pieces[kept];
        const std::uint64_t size = std::min(left, piece.size());
        left -= size;
        if (piece.memory.empty()) {
            plan.disk_bytes += piece.disk.size;
        } else {
            piece.memory = piece.memory.sub(0, size);
            plan.memory_bytes += size;
        }
    }
    plan.pieces.resize(kept);
}

}  // namespace ursula::stream
