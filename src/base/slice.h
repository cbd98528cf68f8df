// Slice: a counted reference to part of a byte block. Core-local: the count is not atomic, a Slice
// never crosses loops (what crosses cores is moved or copied, DESIGN section 3). The block may
// still be written behind the part a Slice shows (stream::HotTail appends into the rest of its
// block); bytes a Slice shows never change.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "base/bytes.h"
#include "base/verify.h"

namespace ursula::base {

// Header of a counted block; the bytes follow it. Made by Block::make, freed with the last
// reference.
class Block {
  public:
    static Block* make(
        std::size_t capacity);  // one reference, owned by the caller; aborts when memory is gone
    std::byte* data() { return reinterpret_cast<std::byte*>(this + 1); }
    std::size_t capacity() const { return capacity_; }
    void retain() { ++references_; }
    void release() {
        DVERIFY(references_ > 0);
        if (--references_ == 0) {
            destroy(this);
        }
    }
    std::uint32_t references() const { return references_; }

  private:
    static void destroy(Block* block);
    std::uint32_t references_ = 1;
    std::uint32_t capacity_ = 0;
    [[maybe_unused]] std::uint64_t unused_ = 0;  // keeps the bytes 16-byte aligned
};
static_assert(sizeof(Block) == 16);

class Slice {
  public:
    Slice() = default;
    // Takes a further reference to block.
    Slice(Block* block, std::size_t offset, std::size_t size)
        : block_(block), data_(block->data() + offset), size_(static_cast<std::uint32_t>(size)) {
        DVERIFY(offset + size <= block->capacity());
        block_->retain();
    }
    static Slice copy_of(Bytes bytes) {
        if (bytes.empty()) {
            return {};
        }
        Block* block = Block::make(bytes.size());
        copy_bytes(block->data(), bytes);
        Slice slice;
        slice.block_ = block;
        slice.data_ = block->data();
        slice.size_ = static_cast<std::uint32_t>(bytes.size());
        return slice;
    }
    // Adopts the caller's reference to block.
    static Slice adopt(Block* block, std::size_t offset, std::size_t size) {
        Slice slice;
        slice.block_ = block;
        slice.data_ = block->data() + offset;
        slice.size_ = static_cast<std::uint32_t>(size);
        return slice;
    }
    Slice(const Slice& other) : block_(other.block_), data_(other.data_), size_(other.size_) {
        if (block_ != nullptr) {
            block_->retain();
        }
    }
    Slice(Slice&& other) noexcept
        : block_(std::exchange(other.block_, nullptr)),
          data_(std::exchange(other.data_, nullptr)),
          size_(std::exchange(other.size_, 0)) {}
    Slice& operator=(Slice other) noexcept {
        std::swap(block_, other.block_);
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        return *this;
    }
    ~Slice() {
        if (block_ != nullptr) {
            block_->release();
        }
    }

    Bytes bytes() const { return {data_, size_}; }
    const std::byte* data() const { return data_; }
    std::size_t size() const { return size_; }
    bool empty() const { return size_ == 0; }
    // Of its block, this one included.
    std::uint32_t references() const { return block_ != nullptr ? block_->references() : 0; }
    bool same_block(const Slice& other) const { return block_ == other.block_; }
    Slice sub(std::size_t offset, std::size_t size) const {
        VERIFY(offset + size <= size_);
        Slice slice = *this;
        slice.data_ += offset;
        slice.size_ = static_cast<std::uint32_t>(size);
        return slice;
    }

  private:
    Block* block_ = nullptr;
    const std::byte* data_ = nullptr;
    std::uint32_t size_ = 0;
};

}  // namespace ursula::base
