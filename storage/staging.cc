#include "storage/staging.h"

#include <cstdlib>
#include <cstring>

#include "base/verify.h"
#include "storage/wal_format.h"

namespace ursula::storage {

namespace {
// Written once at start so that the first appends meet no page fault (performance-anchors 5, rank
// 6).
constexpr std::size_t populated_buffers = 4;
}  // namespace

void FreeDeleter::operator()(std::byte* memory) const {
    std::free(memory);
}

AlignedMemory allocate_aligned(std::size_t size) {
    VERIFY(size % memory_alignment == 0);
    AlignedMemory memory(static_cast<std::byte*>(std::aligned_alloc(memory_alignment, size)));
    VERIFY(memory != nullptr);
    return memory;
}

BatchPool::BatchPool(std::uint32_t batch_bytes)
    : buffer_bytes_(round_up(batch_bytes, memory_alignment)) {
    for (std::size_t i = 0; i < populated_buffers; ++i) {
        Buffer* buffer = make_buffer();
        std::memset(buffer->memory.get(), 0, buffer->capacity);
        free_buffers_.push_back(buffer);
    }
}

Buffer* BatchPool::take_buffer() {
    if (!free_buffers_.empty()) {
        last_ = free_buffers_.back();
        free_buffers_.pop_back();
        return last_;
    }
    // All are held by entries not released. Small batches share the rest of the last one, so that
    // what a group that cannot commit holds is bounded by its bytes rather than by its batches.
    if (last_ != nullptr && last_->capacity - last_->used >= buffer_bytes_ / 2) {
        return last_;
    }
    last_ = make_buffer();
    return last_;
}

Buffer* BatchPool::make_buffer() {
    auto buffer = std::make_unique<Buffer>();
    buffer->memory = allocate_aligned(buffer_bytes_);
    buffer->capacity = buffer_bytes_;
    buffers_.push_back(std::move(buffer));
    free_buffers_.reserve(buffers_.size());
    return buffers_.back().get();
}

Batch* BatchPool::open() {
    if (free_batches_.empty()) {
        batches_.push_back(std::make_unique<Batch>());
        free_batches_.reserve(batches_.size());
        free_batches_.push_back(batches_.back().get());
    }
    Batch* batch = free_batches_.back();
    free_batches_.pop_back();
    Buffer* buffer = take_buffer();
    ++buffer->batches;
    batch->buffer = buffer;
    batch->at = buffer->memory.get() + buffer->used;
    batch->capacity = buffer->capacity - buffer->used;
    buffer->used = buffer->capacity;  // nobody else's until closed
    batch->used = batch_header_bytes;
    batch->records = 0;
    batch->records_crc = 0;
    batch->entries = 0;
    batch->counted = 0;
    batch->references = 1;
    batch->marks.clear();
    batch->pieces.clear();
    batch->payloads.clear();
    batch->retires.clear();
    batch->segment = SegmentId{};
    batch->complete = false;
    return batch;
}

void BatchPool::closed(Batch* batch) {
    const auto start = static_cast<std::uint32_t>(batch->at - batch->buffer->memory.get());
    batch->buffer->used = round_up(start + batch->used, memory_alignment);
}

void BatchPool::recycle(Batch* batch) {
    Buffer* buffer = batch->buffer;
    batch->buffer = nullptr;
    free_batches_.push_back(batch);
    if (--buffer->batches == 0) {
        buffer->used = 0;
        free_buffers_.push_back(buffer);
    }
}

}  // namespace ursula::storage
