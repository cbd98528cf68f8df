// OutputBuffer: what waits to be sent on one connection, in order: bytes copied into pooled blocks
// and counted references to bytes of others. Empty it holds no memory but itself. Knows no socket:
// writers and their tests use it alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/bytes.h"
#include "base/slice.h"

struct iovec;

namespace ursula::net {

// Recycles the parts of the OutputBuffers of one loop, which it must outlive.
class OutputPool {
  public:
    OutputPool() = default;
    ~OutputPool();
    OutputPool(const OutputPool&) = delete;
    OutputPool& operator=(const OutputPool&) = delete;

    static constexpr std::size_t block_bytes = 4096 - sizeof(base::Block);
    static constexpr std::size_t kept_blocks_max = 1024;
    static constexpr std::size_t kept_queues_max = 4096;

  private:
    friend class OutputBuffer;
    struct Piece {
        base::Block* pooled = nullptr;  // ours: copied bytes may be added behind the last of them
        base::Slice slice;              // or someone else's
        const std::byte* data = nullptr;
        std::uint32_t size = 0;
        // Behind the copied bytes of a pooled block.
        std::size_t room() const {
            return pooled->capacity() - static_cast<std::size_t>(end() - pooled->data());
        }
        const std::byte* end() const { return data + size; }
    };
    // Pieces [first, count) wait; those behind them are spare, so that none is made or destroyed
    // while it goes round.
    struct Queue {
        std::vector<Piece> pieces;
        std::size_t first = 0;
        std::size_t count = 0;
        Piece& last() { return pieces[count - 1]; }
        bool ends_with_pooled() const {
            return count > first && pieces[count - 1].pooled != nullptr;
        }
    };
    base::Block* take_block(std::size_t capacity);
    void give_block(base::Block* block);
    void drop(Piece& piece);
    Piece& add(Queue& queue);
    Queue* take_queue();
    void give_queue(Queue* queue);

    std::vector<base::Block*> blocks_;
    std::vector<Queue*> queues_;
};

class OutputBuffer {
  public:
    explicit OutputBuffer(OutputPool& pool) : pool_(&pool) {}
    ~OutputBuffer() { clear(); }
    OutputBuffer(const OutputBuffer&) = delete;
    OutputBuffer& operator=(const OutputBuffer&) = delete;

    // Room for `size` contiguous bytes behind everything written so far; valid until the next call.
    // commit(n <= size) makes the first n of them part of the output.
    std::byte* reserve(std::size_t size);
    void commit(std::size_t size);
    void write(base::Bytes bytes);  // copies
    void write(base::Slice slice);  // keeps a reference; short slices are copied, which is cheaper
    void write(std::string_view text) { write(base::as_bytes(text)); }

    std::size_t size() const { return size_; }
    bool empty() const { return size_ == 0; }

    // A place to return to: undoes every write since, as long as nothing was consumed in between.
    struct Mark {
        std::size_t size = 0;
    };
    Mark mark() const { return {size_}; }
    void rewind(Mark mark);

    // The front of the queue as at most `count_max` parts; returns how many. They stay valid,
    // whatever is written, until consume() or clear().
    std::size_t front(iovec* parts, std::size_t count_max) const;
    void consume(std::size_t size);
    void clear();
    // All of it as one string: for tests and small bodies.
    std::vector<std::byte> flat() const;

  private:
    OutputPool* pool_;
    OutputPool::Queue* queue_ = nullptr;
    std::size_t size_ = 0;
};

}  // namespace ursula::net
