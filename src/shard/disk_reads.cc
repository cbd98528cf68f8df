#include "shard/disk_reads.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/crc32c.h"
#include "base/limits.h"

namespace ursula::shard {

namespace limits = base::limits;

bool DiskReads::start(storage::Wal& wal, const stream::ReadPlan& plan, api::Reply&& reply) {
    if (bytes_ > 0 && bytes_ + plan.disk_bytes > limits::cold_reads_bytes_max) {
        return false;
    }
    auto pending = std::make_unique<Pending>();
    pending->reply = std::move(reply);
    pending->pieces = plan.pieces;
    const std::vector<stream::ReadPiece>& pieces = pending->pieces;
    for (std::size_t i = 0; i < pieces.size();) {
        if (!pieces[i].memory.empty()) {
            ++i;
            continue;
        }
        const stream::Place& head = pieces[i].disk;
        std::uint32_t end = head.position + head.size;
        std::size_t last = i + 1;
        while (last < pieces.size() && pieces[last].memory.empty()) {
            const stream::Place& place = pieces[last].disk;
            if (place.segment != head.segment || place.position < end ||
                place.position - end > limits::disk_read_gap_bytes_max ||
                place.position + place.size - head.position > limits::disk_read_bytes_max) {
                break;
            }
            end = place.position + place.size;
            ++last;
        }
        auto fetch = std::make_unique<Fetch>();
        const std::uint32_t size = end - head.position;
        fetch->block = base::Block::make(size);
        fetch->buffer = base::Slice::adopt(fetch->block, 0, size);
        fetch->first = i;
        fetch->last = last;
        fetch->request.segment = storage::SegmentId(head.segment);
        fetch->request.position = head.position;
        fetch->request.buffer = {fetch->block->data(), size};
        fetch->request.owner = pending.get();
        pending->bytes += size;
        pending->fetches.push_back(std::move(fetch));
        i = last;
    }
    pending->waiting = pending->fetches.size();
    bytes_ += pending->bytes;
    for (auto& fetch : pending->fetches) {
        wal.read(fetch->request);
    }
    pending_.push_back(std::move(pending));
    return true;
}

void DiskReads::on_read(storage::ReadRequest& request) {
    auto* pending = static_cast<Pending*>(request.owner);
    if (--pending->waiting > 0) {
        return;
    }
    finished_.push_back(finish(*pending));
    bytes_ -= pending->bytes;
    const auto found = std::find_if(pending_.begin(), pending_.end(),
                                    [pending](const auto& one) { return one.get() == pending; });
    VERIFY(found != pending_.end());
    std::swap(*found, pending_.back());
    pending_.pop_back();
}

DiskReads::Finished DiskReads::finish(Pending& pending) {
    Finished finished;
    auto& read = std::get<api::ReadReply>(pending.reply.answer);
    std::size_t next_fetch = 0;
    for (std::size_t i = 0; i < pending.pieces.size();) {
        if (!pending.pieces[i].memory.empty()) {
            read.pieces.push_back(std::move(pending.pieces[i].memory));
            ++i;
            continue;
        }
        const Fetch& fetch = *pending.fetches[next_fetch++];
        if (fetch.request.failed) {
            pending.reply.answer = api::Refused{api::Refusal::read_failed};
            finished.damage = fetch.request.error;
            finished.reply = std::move(pending.reply);
            return finished;
        }
        // Close the gaps in place: pieces move towards the front of the buffer, never past what is
        // still to be moved.
        std::size_t used = 0;
        for (; i < fetch.last; ++i) {
            const stream::Place& place = pending.pieces[i].disk;
            const std::byte* at = fetch.block->data() + (place.position - fetch.request.position);
            if (base::crc32c({at, place.size}) != place.crc) {
                pending.reply.answer = api::Refused{api::Refusal::data_damaged};
                finished.damage =
                    fmt::format("segment {} position {}: {} bytes fail their checksum",
                                place.segment, place.position, place.size);
                finished.reply = std::move(pending.reply);
                return finished;
            }
            std::memmove(fetch.block->data() + used, at, place.size);
            used += place.size;
        }
        read.pieces.push_back(fetch.buffer.sub(0, used));
    }
    finished.reply = std::move(pending.reply);
    return finished;
}

void DiskReads::take_finished(std::vector<Finished>& out) {
    for (Finished& finished : finished_) {
        out.push_back(std::move(finished));
    }
    finished_.clear();
}

}  // namespace ursula::shard
