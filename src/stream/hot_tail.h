// Recent payload in memory. A stream's hot tail is a run of chunks that ends at its tail; a chunk
// is one counted block, so slices of it that were handed out stay valid after it was dropped. All
// chunks of a shard share one budget and leave it in the order in which they were made.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "base/capacity.h"
#include "base/slice.h"

namespace ursula::stream {

class HotTail;

// Lies at the start of its block's data; the payload follows.
struct HotChunk {
    HotChunk* older = nullptr;  // the shard's queue, oldest first
    HotChunk* newer = nullptr;
    HotTail* owner = nullptr;
    std::uint64_t from = 0;  // stream offset of the first byte
    std::uint32_t used = 0;  // payload bytes
    std::uint32_t capacity = 0;
};

// The budget of one shard. Bytes are those of whole blocks with their headers, filled or not.
class HotMemory {
  public:
    // `evicts`: payload has a home on disk, so the oldest chunks go when the budget is exceeded.
    // Without (a node with no data directory) nothing ever goes, and reserve() says when to refuse;
    // then the budget may grow beyond bytes_max by what `capacity` (null: nothing; outlives this)
    // has left.
    HotMemory(std::uint64_t bytes_max, bool evicts, base::Capacity* capacity = nullptr)
        : bytes_max_(bytes_max), evicts_(evicts), capacity_(capacity) {}
    HotMemory(const HotMemory&) = delete;
    HotMemory& operator=(const HotMemory&) = delete;
    ~HotMemory();

    std::uint64_t bytes() const { return bytes_; }
    std::uint64_t bytes_max() const { return bytes_max_; }
    bool evicts() const { return evicts_; }

    // For a node without a disk, at submit: sets `size` payload bytes aside until unreserve() at
    // apply or refusal. False: answer memory_full. Always true when this memory evicts.
    [[nodiscard]] bool reserve(std::uint64_t size);
    void unreserve(std::uint64_t size);

  private:
    friend class HotTail;
    HotChunk* make_chunk(std::size_t capacity, HotTail* owner, std::uint64_t from);
    void drop(HotChunk* chunk);
    void unlink(HotChunk* chunk);
    void link_newest(HotChunk* chunk);
    // `keep` and what follows it in `writer` stay.
    void evict_until_within(const HotTail& writer, HotChunk* keep);
    void return_slabs();

    std::uint64_t bytes_max_;
    std::uint64_t bytes_ = 0;
    std::uint64_t reserved_ = 0;
    bool evicts_;
    base::Capacity* capacity_;
    std::uint64_t taken_ = 0;  // of capacity_; part of bytes_max_
    HotChunk* oldest_ = nullptr;
    HotChunk* newest_ = nullptr;
    std::vector<base::Block*> spare_;  // full-size blocks that nobody held when dropped
};

// 8 bytes in its stream. Must be cleared before it dies (it does not know its memory).
class HotTail {
  public:
    HotTail() = default;
    HotTail(const HotTail&) = delete;
    HotTail& operator=(const HotTail&) = delete;
    ~HotTail();

    // Copies the payload stored at [from, from + bytes.size()). When `from` is not where the run
    // ends, the run is dropped and starts anew. May evict older chunks, of this stream too, never
    // the ones just written.
    void append(HotMemory& memory, std::uint64_t from, base::Bytes bytes);
    // Frees everything at once (slices keep their blocks).
    void clear(HotMemory& memory);

    bool empty() const { return bits_ == 0; }
    std::uint64_t begin() const;  // stream offset of the oldest byte held; UINT64_MAX when empty
    std::uint64_t end() const;    // UINT64_MAX when empty
    // Appends slices of [from, to) to `out`; VERIFY: begin() <= from <= to <= end().
    void slices(std::uint64_t from, std::uint64_t to, std::vector<base::Slice>& out) const;

    // Used by slices() and the read plan: the part of [from, to) in the chunk that holds `from`.
    base::Slice slice_at(std::uint64_t from, std::uint64_t to) const;

  private:
    friend class HotMemory;
    struct Run;  // several chunks
    Run* run() const;
    HotChunk* first() const;
    HotChunk* last() const;
    HotChunk* chunk_at(std::uint64_t offset) const;
    void push(HotChunk* chunk);
    void forget_first();
    template <class Visit>
    void each_from(HotChunk* chunk, const Visit& visit) const;

    std::uintptr_t bits_ = 0;  // 0, a chunk, or a Run with bit 0 set
};
static_assert(sizeof(HotTail) == 8);

}  // namespace ursula::stream
