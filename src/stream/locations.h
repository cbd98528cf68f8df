// Where a stream's payload lies in this replica's log, and where its appends end. Local: never
// hashed, never sent. One entry per piece of payload, 16 bytes; an append of at most
// limits::wal_piece_bytes_max is one piece, a larger one is several. The entries of a stream cover
// its bytes without a hole, in order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/bytes.h"

namespace ursula::stream {

// Payload bytes in one place: `size` bytes at `position` of segment `segment`, with the CRC-32C of
// exactly those bytes.
struct Place {
    std::uint32_t segment = 0;   // below 2^31
    std::uint32_t position = 0;  // byte position in the segment's file
    std::uint32_t size = 0;      // 1 .. Locations::piece_bytes_max
    std::uint32_t crc = 0;
};

// One piece with its range in the stream. `last` says that its end is an append boundary.
struct Piece {
    std::uint64_t from = 0;
    std::uint64_t to = 0;
    Place place;
    bool last = true;
};

// Live payload bytes per segment of one shard's log, over all its groups: what must be moved before
// a segment is recycled.
class SegmentLoad {
  public:
    void add(std::uint32_t segment, std::uint64_t bytes);
    void subtract(std::uint32_t segment, std::uint64_t bytes);  // VERIFY: never below zero
    std::uint64_t live(std::uint32_t segment) const;
    std::uint64_t live_total() const { return total_; }
    // Calls each(segment) for the segments with live bytes, in rising order.
    template <class Each>
    void for_each_segment(const Each& each) const {
        for (const Load& load : loads_) {
            if (load.bytes > 0) {
                each(load.segment);
            }
        }
    }

  private:
    struct Load {
        std::uint32_t segment;
        std::uint64_t bytes;
    };
    std::size_t place_of(std::uint32_t segment) const;
    bool has(std::size_t place, std::uint32_t segment) const;

    std::vector<Load> loads_;  // by segment
    std::size_t last_used_ = 0;
    std::uint64_t total_ = 0;
};

// 20 bytes in its stream: one entry inline, then one block growing to 4, 16 ... 1024 entries,
// then a directory of blocks of 1024. Moving hands the blocks over and leaves an empty index. Not
// copyable.
class Locations {
  public:
    static constexpr std::uint32_t piece_bytes_max = (1u << 22) - 1;  // 1024 ends fit 32 bits

    Locations() = default;
    Locations(Locations&& other) noexcept;
    Locations& operator=(Locations&& other) noexcept;
    Locations(const Locations&) = delete;
    Locations& operator=(const Locations&) = delete;
    ~Locations();

    // Adds the places of one append that begins at `from`, which is where the last one ended
    // (VERIFY), the first at any offset. The places are in stream order and not empty.
    void add_append(std::uint64_t from, std::span<const Place> places);
    // Adds one piece as read from a local image.
    void add_piece(const Piece& piece);

    std::uint32_t count() const { return count_; }
    bool empty() const { return count_ == 0; }
    Piece at(std::uint32_t index) const;  // VERIFY: index < count()

    // First piece of the first append that ends beyond `offset`; count() when there is none.
    // Logarithmic, as find_end().
    std::uint32_t find(std::uint64_t offset) const;
    // One past the last piece of the last append that ends at or before `offset`; 0 when there is
    // none.
    std::uint32_t find_end(std::uint64_t offset) const;

    // Adds (subtracts) every piece's bytes to (from) the load of its segment.
    void count_into(SegmentLoad& load) const;
    void take_from(SegmentLoad& load) const;

    void clear();
    std::size_t memory_bytes() const;  // allocated outside this object

  private:
    struct Entry {
        std::uint32_t end;      // relative to the block's base
        std::uint32_t segment;  // top bit: the append goes on in the next entry
        std::uint32_t position;
        std::uint32_t crc;
    };
    static_assert(sizeof(Entry) == 16);
    struct Block {
        std::uint64_t base;  // stream offset at which the first entry begins
        std::uint32_t capacity;
        std::uint32_t unused;
        Entry entries[1];  // as many as `capacity` says
    };
    struct Directory {
        std::uint32_t count;
        std::uint32_t capacity;
        Block* blocks[1];
    };
    static constexpr std::uint32_t block_entries = 1024;

    // Of the sizes 4, a page's (base/page_pool.h), and twice the last.
    static constexpr std::uint32_t page_directory_blocks = 2048;

    static Block* make_block(std::uint64_t base, std::uint32_t capacity);
    static void free_block(Block* block);
    static Directory* make_directory(std::uint32_t capacity);
    static void free_directory(Directory* directory);
    void* pointer() const;
    void set_pointer(void* pointer);
    const Block* block_of(std::uint32_t index) const;
    void push(std::uint64_t from, const Place& place, bool last);
    std::uint32_t first_ending_beyond(std::uint64_t offset) const;
    template <class Visit>
    void each_run(const Visit& visit) const;

    std::uint32_t count_ = 0;
    // words_[0] != 0: the only entry, inline (its end is never 0; it begins at offset 0). Otherwise
    // words_[1] and [2] hold a pointer: null when empty, to a Block while count_ <= block_entries,
    // else to a Directory.
    std::uint32_t words_[4] = {};
};
static_assert(sizeof(Locations) == 20);

}  // namespace ursula::stream
