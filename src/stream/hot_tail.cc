#include "stream/hot_tail.h"

#include <algorithm>
#include <new>

#include "base/verify.h"

namespace ursula::stream {

namespace {

// Before the payload: malloc's word, the block's header, ours. A multiple of 16 like malloc's
// sizes.
constexpr std::size_t overhead_bytes = 8 + sizeof(base::Block) + sizeof(HotChunk);
constexpr std::size_t full_capacity = 64 * 1024 - overhead_bytes;
constexpr std::size_t growth = 4;  // of chunks within one run, until full_capacity
constexpr std::size_t spare_blocks = 16;
static_assert(overhead_bytes % 16 == 0 && full_capacity % 16 == 0);

base::Block* block_of(HotChunk* chunk) {
    return reinterpret_cast<base::Block*>(chunk) - 1;
}
std::size_t bytes_of(const HotChunk* chunk) {
    return chunk->capacity + overhead_bytes;
}
std::uint64_t end_of(const HotChunk* chunk) {
    return chunk->from + chunk->used;
}
std::byte* payload_of(HotChunk* chunk) {
    return reinterpret_cast<std::byte*>(chunk + 1);
}

}  // namespace

HotMemory::~HotMemory() {
    VERIFY(oldest_ == nullptr);
    if (taken_ > 0) {
        capacity_->give(taken_);
    }
    for (base::Block* block : spare_) {
        block->release();
    }
}

bool HotMemory::reserve(std::uint64_t size) {
    if (evicts_) {
        return true;
    }
    const std::uint64_t needed = bytes_ + reserved_ + size;
    if (needed > bytes_max_) {
        if (capacity_ == nullptr) {
            return false;
        }
        // Whole slabs, or what is missing when no more is left.
        const std::uint64_t missing = needed - bytes_max_;
        std::uint64_t more = (missing + base::Capacity::slab_bytes - 1) /
                             base::Capacity::slab_bytes * base::Capacity::slab_bytes;
        if (!capacity_->take(more)) {
            more = missing;
            if (!capacity_->take(more)) {
                return false;
            }
        }
        bytes_max_ += more;
        taken_ += more;
    }
    reserved_ += size;
    return true;
}

// Slabs beyond the next one serve other shards.
void HotMemory::return_slabs() {
    const std::uint64_t used = bytes_ + reserved_;
    const std::uint64_t kept = used + 2 * base::Capacity::slab_bytes;
    if (taken_ > 0 && bytes_max_ > kept) {
        const std::uint64_t back = std::min(taken_, bytes_max_ - kept);
        bytes_max_ -= back;
        taken_ -= back;
        capacity_->give(back);
    }
}

void HotMemory::unreserve(std::uint64_t size) {
    if (!evicts_) {
        VERIFY(reserved_ >= size);
        reserved_ -= size;
        return_slabs();
    }
}

HotChunk* HotMemory::make_chunk(std::size_t capacity, HotTail* owner, std::uint64_t from) {
    base::Block* block = nullptr;
    if (capacity == full_capacity && !spare_.empty()) {
        block = spare_.back();
        spare_.pop_back();
    } else {
        block = base::Block::make(sizeof(HotChunk) + capacity);
    }
    HotChunk* chunk = new (block->data()) HotChunk();
    chunk->owner = owner;
    chunk->from = from;
    chunk->capacity = static_cast<std::uint32_t>(capacity);
    link_newest(chunk);
    bytes_ += bytes_of(chunk);
    return chunk;
}

void HotMemory::drop(HotChunk* chunk) {
    unlink(chunk);
    bytes_ -= bytes_of(chunk);
    base::Block* block = block_of(chunk);
    if (chunk->capacity == full_capacity && block->references() == 1 &&
        spare_.size() < spare_blocks) {
        spare_.push_back(block);
    } else {
        block->release();
    }
    return_slabs();
}

void HotMemory::unlink(HotChunk* chunk) {
    (chunk->older != nullptr ? chunk->older->newer : oldest_) = chunk->newer;
    (chunk->newer != nullptr ? chunk->newer->older : newest_) = chunk->older;
}

void HotMemory::link_newest(HotChunk* chunk) {
    chunk->older = newest_;
    chunk->newer = nullptr;
    (newest_ != nullptr ? newest_->newer : oldest_) = chunk;
    newest_ = chunk;
}

// Chunks in stream order. `head` are gone from the front already.
struct HotTail::Run {
    std::vector<HotChunk*> chunks;
    std::size_t head = 0;
};

inline HotTail::Run* HotTail::run() const {
    return (bits_ & 1) != 0 ? reinterpret_cast<Run*>(bits_ - 1) : nullptr;
}

inline HotChunk* HotTail::first() const {
    if (const Run* many = run(); many != nullptr) {
        return many->chunks[many->head];
    }
    return reinterpret_cast<HotChunk*>(bits_);
}

inline HotChunk* HotTail::last() const {
    if (const Run* many = run(); many != nullptr) {
        return many->chunks.back();
    }
    return reinterpret_cast<HotChunk*>(bits_);
}

template <class Visit>
void HotTail::each_from(HotChunk* chunk, const Visit& visit) const {
    const Run* many = run();
    if (many == nullptr) {
        visit(chunk);
        return;
    }
    for (auto at = std::find(many->chunks.begin() + static_cast<std::ptrdiff_t>(many->head),
                             many->chunks.end(), chunk);
         at != many->chunks.end(); ++at) {
        visit(*at);
    }
}

void HotMemory::evict_until_within(const HotTail& writer, HotChunk* keep) {
    bool renewed = false;
    while (bytes_ > bytes_max_) {
        HotChunk* chunk = oldest_;
        if (chunk == keep) {
            if (renewed) {
                return;  // nothing else is left
            }
            // A chunk that filled slowly came to the head of the queue: it and what follows it in
            // its stream start over.
            renewed = true;
            writer.each_from(keep, [this](HotChunk* written) {
                unlink(written);
                link_newest(written);
            });
            continue;
        }
        VERIFY(chunk->owner->first() == chunk);
        chunk->owner->forget_first();
        drop(chunk);
    }
}

HotTail::~HotTail() {
    VERIFY(bits_ == 0);
}

HotChunk* HotTail::chunk_at(std::uint64_t offset) const {
    if (const Run* many = run(); many != nullptr) {
        const auto begin = many->chunks.begin() + static_cast<std::ptrdiff_t>(many->head);
        const auto beyond = std::upper_bound(
            begin, many->chunks.end(), offset,
            [](std::uint64_t at, const HotChunk* chunk) { return at < chunk->from; });
        VERIFY(beyond != begin);
        return *(beyond - 1);
    }
    return reinterpret_cast<HotChunk*>(bits_);
}

std::uint64_t HotTail::begin() const {
    return empty() ? UINT64_MAX : first()->from;
}
std::uint64_t HotTail::end() const {
    return empty() ? UINT64_MAX : end_of(last());
}

void HotTail::push(HotChunk* chunk) {
    if (bits_ == 0) {
        bits_ = reinterpret_cast<std::uintptr_t>(chunk);
        return;
    }
    Run* many = run();
    if (many == nullptr) {
        many = new Run();
        many->chunks.push_back(reinterpret_cast<HotChunk*>(bits_));
        bits_ = reinterpret_cast<std::uintptr_t>(many) | 1;
    } else if (many->head * 2 > many->chunks.size()) {
        many->chunks.erase(many->chunks.begin(),
                           many->chunks.begin() + static_cast<std::ptrdiff_t>(many->head));
        many->head = 0;
    }
    many->chunks.push_back(chunk);
}

void HotTail::forget_first() {
    Run* many = run();
    if (many == nullptr) {
        bits_ = 0;
        return;
    }
    ++many->head;
    if (many->head == many->chunks.size()) {
        delete many;
        bits_ = 0;
    }
}

void HotTail::append(HotMemory& memory, std::uint64_t from, base::Bytes bytes) {
    HotChunk* chunk = last();
    if (chunk != nullptr && end_of(chunk) != from) {
        clear(memory);
        chunk = nullptr;
    }
    HotChunk* written = nullptr;  // the first chunk that got some of these bytes
    while (!bytes.empty()) {
        if (chunk == nullptr || chunk->used == chunk->capacity) {
            const std::size_t wanted =
                std::max(bytes.size(), chunk == nullptr ? 0 : chunk->capacity * growth);
            const std::size_t capacity = std::min((wanted + 15) & ~std::size_t{15}, full_capacity);
            chunk = memory.make_chunk(capacity, this, from);
            push(chunk);
        }
        const std::size_t part = std::min<std::size_t>(bytes.size(), chunk->capacity - chunk->used);
        base::copy_bytes(payload_of(chunk) + chunk->used, bytes.first(part));
        chunk->used += static_cast<std::uint32_t>(part);
        from += part;
        bytes = bytes.subspan(part);
        written = written == nullptr ? chunk : written;
    }
    if (memory.evicts_ && memory.bytes_ > memory.bytes_max_) {
        memory.evict_until_within(*this, written);
    }
}

void HotTail::clear(HotMemory& memory) {
    while (!empty()) {
        HotChunk* chunk = first();
        forget_first();
        memory.drop(chunk);
    }
}

base::Slice HotTail::slice_at(std::uint64_t from, std::uint64_t to) const {
    HotChunk* chunk = chunk_at(from);
    VERIFY(from >= chunk->from && from < end_of(chunk));
    const std::uint64_t until = std::min(to, end_of(chunk));
    return base::Slice(block_of(chunk), sizeof(HotChunk) + (from - chunk->from), until - from);
}

void HotTail::slices(std::uint64_t from, std::uint64_t to, std::vector<base::Slice>& out) const {
    while (from < to) {
        out.push_back(slice_at(from, to));
        from += out.back().size();
    }
}

}  // namespace ursula::stream
