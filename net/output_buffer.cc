#include "net/output_buffer.h"

#include <sys/uio.h>

#include <algorithm>

#include "base/verify.h"

namespace ursula::net {

namespace {

// Below this a copy into the block that is being filled is cheaper than one more part in the send
// (performance note 5, rank 9).
constexpr std::size_t copied_slice_bytes_max = 1024;

}  // namespace

OutputPool::~OutputPool() {
    for (base::Block* block : blocks_) {
        block->release();
    }
    for (Queue* queue : queues_) {
        delete queue;
    }
}

base::Block* OutputPool::take_block(std::size_t capacity) {
    if (capacity > block_bytes || blocks_.empty()) {
        return base::Block::make(std::max(capacity, block_bytes));
    }
    base::Block* block = blocks_.back();
    blocks_.pop_back();
    return block;
}

void OutputPool::give_block(base::Block* block) {
    if (block->capacity() == block_bytes && block->references() == 1 &&
        blocks_.size() < kept_blocks_max) {
        blocks_.push_back(block);
        return;
    }
    block->release();
}

void OutputPool::drop(Piece& piece) {
    if (piece.pooled != nullptr) {
        give_block(piece.pooled);
        piece.pooled = nullptr;
    } else {
        piece.slice = {};
    }
}

OutputPool::Piece& OutputPool::add(Queue& queue) {
    if (queue.count == queue.pieces.size()) {
        queue.pieces.emplace_back();
    }
    return queue.pieces[queue.count++];
}

OutputPool::Queue* OutputPool::take_queue() {
    if (queues_.empty()) {
        return new Queue();
    }
    Queue* queue = queues_.back();
    queues_.pop_back();
    return queue;
}

void OutputPool::give_queue(Queue* queue) {
    if (queues_.size() >= kept_queues_max || queue->pieces.size() > 64) {
        delete queue;
        return;
    }
    queue->first = 0;
    queue->count = 0;
    queues_.push_back(queue);
}

std::byte* OutputBuffer::reserve(std::size_t size) {
    if (queue_ == nullptr) {
        queue_ = pool_->take_queue();
    }
    if (queue_->ends_with_pooled()) {
        OutputPool::Piece& last = queue_->last();
        if (last.room() >= size) {
            return const_cast<std::byte*>(last.end());
        }
        if (last.size == 0) {  // reserved before and left empty
            pool_->drop(last);
            --queue_->count;
        }
    }
    OutputPool::Piece& piece = pool_->add(*queue_);
    piece.pooled = pool_->take_block(size);
    piece.data = piece.pooled->data();
    piece.size = 0;
    return piece.pooled->data();
}

void OutputBuffer::commit(std::size_t size) {
    OutputPool::Piece& last = queue_->last();
    DVERIFY(last.pooled != nullptr && last.room() >= size);
    last.size += static_cast<std::uint32_t>(size);
    size_ += size;
}

void OutputBuffer::write(base::Bytes bytes) {
    if (bytes.empty()) {
        return;
    }
    base::copy_bytes(reserve(bytes.size()), bytes);
    commit(bytes.size());
}

void OutputBuffer::write(base::Slice slice) {
    if (slice.empty()) {
        return;
    }
    if (queue_ == nullptr) {
        queue_ = pool_->take_queue();
    }
    if (queue_->ends_with_pooled()) {
        OutputPool::Piece& last = queue_->last();
        if (slice.size() <= copied_slice_bytes_max && last.room() >= slice.size()) {
            write(slice.bytes());
            return;
        }
        if (last.size == 0) {
            pool_->drop(last);
            --queue_->count;
        }
    }
    size_ += slice.size();
    OutputPool::Piece& piece = pool_->add(*queue_);
    piece.data = slice.data();
    piece.size = static_cast<std::uint32_t>(slice.size());
    piece.slice = std::move(slice);
}

void OutputBuffer::rewind(Mark mark) {
    VERIFY(mark.size <= size_);
    while (size_ > mark.size) {
        OutputPool::Piece& last = queue_->last();
        const std::size_t excess = std::min<std::size_t>(size_ - mark.size, last.size);
        last.size -= static_cast<std::uint32_t>(excess);
        size_ -= excess;
        if (last.size == 0) {
            pool_->drop(last);
            --queue_->count;
        }
    }
    if (size_ == 0) {
        clear();
    }
}

std::size_t OutputBuffer::front(iovec* parts, std::size_t count_max) const {
    if (queue_ == nullptr) {
        return 0;
    }
    std::size_t count = 0;
    for (std::size_t i = queue_->first; i < queue_->count && count < count_max; ++i) {
        const OutputPool::Piece& piece = queue_->pieces[i];
        if (piece.size > 0) {
            parts[count].iov_base = const_cast<std::byte*>(piece.data);
            parts[count].iov_len = piece.size;
            ++count;
        }
    }
    return count;
}

void OutputBuffer::consume(std::size_t size) {
    VERIFY(size <= size_);
    size_ -= size;
    while (size > 0) {
        OutputPool::Piece& piece = queue_->pieces[queue_->first];
        if (size < piece.size) {
            piece.data += size;
            piece.size -= static_cast<std::uint32_t>(size);
            break;
        }
        size -= piece.size;
        pool_->drop(piece);
        ++queue_->first;
    }
    if (size_ == 0) {
        clear();
        return;
    }
    // Keeps the vector from growing when output never runs dry.
    if (queue_->first >= 32) {
        const auto sent = static_cast<std::ptrdiff_t>(queue_->first);
        std::rotate(queue_->pieces.begin(), queue_->pieces.begin() + sent,
                    queue_->pieces.begin() + static_cast<std::ptrdiff_t>(queue_->count));
        queue_->count -= queue_->first;
        queue_->first = 0;
    }
}

void OutputBuffer::clear() {
    if (queue_ == nullptr) {
        return;
    }
    for (std::size_t i = queue_->first; i < queue_->count; ++i) {
        pool_->drop(queue_->pieces[i]);
    }
    pool_->give_queue(queue_);
    queue_ = nullptr;
    size_ = 0;
}

std::vector<std::byte> OutputBuffer::flat() const {
    std::vector<std::byte> bytes;
    bytes.reserve(size_);
    if (queue_ != nullptr) {
        for (std::size_t i = queue_->first; i < queue_->count; ++i) {
            const OutputPool::Piece& piece = queue_->pieces[i];
            bytes.insert(bytes.end(), piece.data, piece.data + piece.size);
        }
    }
    return bytes;
}

}  // namespace ursula::net
