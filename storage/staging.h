// Memory of records on their way to disk: pages taken from a pool, batches laid into them, and
// large bodies that are cut into pieces. A batch's memory is also the entry cache: it stays until
// every entry in it is released.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/time.h"
#include "storage/disk.h"
#include "storage/wal.h"

namespace ursula::storage {

constexpr std::uint32_t memory_alignment =
    4096;  // of every buffer handed to the disk; any disk's block divides it

struct FreeDeleter {
    void operator()(std::byte* memory) const;
};
using AlignedMemory = std::unique_ptr<std::byte, FreeDeleter>;
AlignedMemory allocate_aligned(
    std::size_t size);  // multiple of memory_alignment; aborts when memory is gone

// A body that does not go into the current batch as it is staged: larger than a piece, or behind
// such a one in its group. References: the entry's slot, the queue it waits in, each piece in a
// batch not yet submitted.
struct LargeBody {
    std::unique_ptr<std::byte[]> memory;
    std::uint32_t size = 0;
    std::uint32_t emitted = 0;
    std::uint32_t references = 0;
    std::vector<Location> pieces;  // filled as batches are submitted
    void release() {
        if (--references == 0) {
            delete this;
        }
    }
};

// What a batch does to one group; becomes Persisted when durable, and the group's state for the
// next segment's head when submitted.
struct Mark {
    base::GroupId group;
    bool has_entries = false;
    bool has_hard_state = false;
    base::EntryId last;
    std::uint64_t cuts = 0;  // ahead of `last`
    base::Term term;
    base::NodeId vote;
    base::LogIndex end;
    base::LogIndex pending;
    base::LogIndex highest;      // of any record of the group in this batch
    std::uint64_t cuts_all = 0;  // the newest cut in it, or before it
};

struct PieceRef {
    LargeBody* body = nullptr;
    std::uint32_t offset = 0;  // in the batch
    std::uint32_t size = 0;
};

struct PayloadRef {
    base::GroupId group;
    std::uint64_t ticket = 0;
    std::uint32_t offset = 0;  // in the batch
    std::uint32_t size = 0;
};

struct Buffer {
    AlignedMemory memory;
    std::uint32_t capacity = 0;
    std::uint32_t used = 0;
    std::uint32_t batches = 0;
};

struct Batch {
    Buffer* buffer = nullptr;
    std::byte* at = nullptr;  // the batch header; on memory_alignment
    std::uint32_t capacity = 0;
    std::uint32_t used = 0;  // header included
    std::uint32_t records = 0;
    std::uint32_t records_crc = 0;
    std::uint32_t entries = 0;
    std::uint32_t counted = 0;     // of Wal::staged_bytes()
    std::uint32_t references = 0;  // entries not released, plus one until durable
    std::vector<Mark> marks;
    std::vector<PieceRef> pieces;
    std::vector<PayloadRef> payloads;
    std::vector<SegmentId> retires;
    // From submission on:
    SegmentId segment;
    std::uint32_t position = 0;
    std::uint64_t sequence = 0;
    base::Instant submitted;
    bool complete = false;
    DiskOp op;
};

// Hands out batches; last freed, first used again, so that under light load the same warm memory
// serves.
class BatchPool {
  public:
    explicit BatchPool(std::uint32_t batch_bytes);
    Batch* open();
    void retain(Batch* batch) { ++batch->references; }
    void release(Batch* batch) {
        if (--batch->references == 0) {
            recycle(batch);
        }
    }
    // The batch will not grow: what it did not use may serve the next one.
    void closed(Batch* batch);
    std::size_t memory_bytes() const { return buffers_.size() * buffer_bytes_; }

  private:
    void recycle(Batch* batch);
    Buffer* take_buffer();
    Buffer* make_buffer();
    std::uint32_t buffer_bytes_;
    std::vector<std::unique_ptr<Buffer>> buffers_;
    std::vector<Buffer*> free_buffers_;
    Buffer* last_ = nullptr;
    std::vector<std::unique_ptr<Batch>> batches_;
    std::vector<Batch*> free_batches_;
};

}  // namespace ursula::storage
