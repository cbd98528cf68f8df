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

// The slice, if it is one, goes with the piece itself.
void OutputPool::drop(Piece& piece) {
    if (piece.pooled != nullptr) {
        give_block(piece.pooled);
        piece.pooled = nullptr;
    }
    piece.slice = {};
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
    if (queues_.size() >= kept_queues_max || queue->pieces.capacity() > 64) {
        delete queue;
        return;
    }
    queue->pieces.clear();
    queue->first = 0;
    queues_.push_back(queue);
}

std::byte* OutputBuffer::reserve(std::size_t size) {
    if (queue_ == nullptr) {
        queue_ = pool_->take_queue();
    }
    std::vector<OutputPool::Piece>& pieces = queue_->pieces;
    if (pieces.size() > queue_->first && pieces.back().pooled != nullptr) {
        OutputPool::Piece& last = pieces.back();
        if (last.room() >= size) {
            return const_cast<std::byte*>(last.end());
        }
        if (last.size == 0) {  // reserved before and left empty
            pool_->drop(last);
            pieces.pop_back();
        }
    }
    base::Block* block = pool_->take_block(size);
    pieces.push_back({block, {}, block->data(), 0});
    return block->data();
}

void OutputBuffer::commit(std::size_t size) {
    OutputPool::Piece& last = queue_->pieces.back();
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
    if (queue_ != nullptr && queue_->pieces.size() > queue_->first &&
        queue_->pieces.back().pooled != nullptr && slice.size() <= copied_slice_bytes_max &&
        queue_->pieces.back().room() >= slice.size()) {
        write(slice.bytes());
        return;
    }
    if (queue_ == nullptr) {
        queue_ = pool_->take_queue();
    }
    if (queue_->pieces.size() > queue_->first && queue_->pieces.back().size == 0) {
        pool_->drop(queue_->pieces.back());
        queue_->pieces.pop_back();
    }
    size_ += slice.size();
    const auto size = static_cast<std::uint32_t>(slice.size());
    const std::byte* data = slice.data();
    queue_->pieces.push_back({nullptr, std::move(slice), data, size});
}

void OutputBuffer::rewind(Mark mark) {
    VERIFY(mark.size <= size_);
    while (size_ > mark.size) {
        OutputPool::Piece& last = queue_->pieces.back();
        const std::size_t excess = std::min<std::size_t>(size_ - mark.size, last.size);
        last.size -= static_cast<std::uint32_t>(excess);
        size_ -= excess;
        if (last.size == 0) {
            pool_->drop(last);
            queue_->pieces.pop_back();
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
    for (std::size_t i = queue_->first; i < queue_->pieces.size() && count < count_max; ++i) {
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
        queue_->pieces.erase(queue_->pieces.begin(),
                             queue_->pieces.begin() + static_cast<std::ptrdiff_t>(queue_->first));
        queue_->first = 0;
    }
}

void OutputBuffer::clear() {
    if (queue_ == nullptr) {
        return;
    }
    for (std::size_t i = queue_->first; i < queue_->pieces.size(); ++i) {
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
        for (std::size_t i = queue_->first; i < queue_->pieces.size(); ++i) {
            const OutputPool::Piece& piece = queue_->pieces[i];
            bytes.insert(bytes.end(), piece.data, piece.data + piece.size);
        }
    }
    return bytes;
}

}  // namespace ursula::net
