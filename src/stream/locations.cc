#include "stream/locations.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "base/limits.h"
#include "base/page_pool.h"
#include "base/verify.h"

namespace ursula::stream {

namespace {

constexpr std::uint32_t goes_on = 1u << 31;

static_assert(base::limits::wal_piece_bytes_max <= Locations::piece_bytes_max);

// What fills a page is one; the rest is the heap's.
void* take_memory(bool page, std::size_t bytes) {
    void* memory = page ? base::page_pool::take() : std::malloc(bytes);
    VERIFY(memory != nullptr);
    return memory;
}

void give_memory(bool page, void* memory) {
    if (page) {
        base::page_pool::give(memory);
    } else {
        std::free(memory);
    }
}

}  // namespace

std::size_t SegmentLoad::place_of(std::uint32_t segment) const {
    // Most of the time it is the one of the last append.
    if (last_used_ < loads_.size() && loads_[last_used_].segment == segment) {
        return last_used_;
    }
    const auto at = std::lower_bound(
        loads_.begin(), loads_.end(), segment,
        [](const Load& load, std::uint32_t number) { return load.segment < number; });
    return static_cast<std::size_t>(at - loads_.begin());
}

bool SegmentLoad::has(std::size_t place, std::uint32_t segment) const {
    return place < loads_.size() && loads_[place].segment == segment;
}

void SegmentLoad::add(std::uint32_t segment, std::uint64_t bytes) {
    std::size_t place = place_of(segment);
    if (!has(place, segment)) {
        // A new segment is a rare event: those that died go first.
        std::erase_if(loads_, [](const Load& load) { return load.bytes == 0; });
        place = place_of(segment);
        loads_.insert(loads_.begin() + static_cast<std::ptrdiff_t>(place), Load{segment, 0});
    }
    last_used_ = place;
    loads_[place].bytes += bytes;
    total_ += bytes;
}

void SegmentLoad::subtract(std::uint32_t segment, std::uint64_t bytes) {
    const std::size_t place = place_of(segment);
    VERIFY(has(place, segment) && loads_[place].bytes >= bytes);
    loads_[place].bytes -= bytes;
    total_ -= bytes;
}

std::uint64_t SegmentLoad::live(std::uint32_t segment) const {
    const std::size_t place = place_of(segment);
    return has(place, segment) ? loads_[place].bytes : 0;
}

Locations::Locations(Locations&& other) noexcept : count_(std::exchange(other.count_, 0)) {
    std::memcpy(words_, other.words_, sizeof words_);
    std::memset(other.words_, 0, sizeof other.words_);
}

Locations& Locations::operator=(Locations&& other) noexcept {
    if (this != &other) {
        clear();
        count_ = std::exchange(other.count_, 0);
        std::memcpy(words_, other.words_, sizeof words_);
        std::memset(other.words_, 0, sizeof other.words_);
    }
    return *this;
}

Locations::~Locations() {
    clear();
}

void Locations::free_block(Block* block) {
    give_memory(block->capacity == block_entries, block);
}

void Locations::free_directory(Directory* directory) {
    give_memory(directory->capacity == page_directory_blocks, directory);
}

void* Locations::pointer() const {
    void* pointer;
    std::memcpy(&pointer, &words_[1], sizeof pointer);
    return pointer;
}

void Locations::set_pointer(void* pointer) {
    words_[0] = 0;
    std::memcpy(&words_[1], &pointer, sizeof pointer);
}

Locations::Directory* Locations::make_directory(std::uint32_t capacity) {
    Directory* directory = static_cast<Directory*>(take_memory(
        capacity == page_directory_blocks, sizeof(Directory) + (capacity - 1) * sizeof(Block*)));
    directory->count = 0;
    directory->capacity = capacity;
    return directory;
}

Locations::Block* Locations::make_block(std::uint64_t base, std::uint32_t capacity) {
    static_assert(sizeof(Block) + (block_entries - 1) * sizeof(Entry) <=
                  base::page_pool::page_bytes);
    Block* block = static_cast<Block*>(
        take_memory(capacity == block_entries, sizeof(Block) + (capacity - 1) * sizeof(Entry)));
    block->base = base;
    block->capacity = capacity;
    block->unused = 0;
    return block;
}

const Locations::Block* Locations::block_of(std::uint32_t index) const {
    if (count_ <= block_entries) {
        return static_cast<const Block*>(pointer());
    }
    return static_cast<const Directory*>(pointer())->blocks[index / block_entries];
}

void Locations::push(std::uint64_t from, const Place& place, bool last) {
    VERIFY(place.size > 0 && place.size <= piece_bytes_max && place.segment < goes_on);
    VERIFY(count_ < UINT32_MAX);
    Entry entry{place.size, place.segment | (last ? 0 : goes_on), place.position, place.crc};
    if (count_ == 0 && from == 0) {
        std::memcpy(words_, &entry, sizeof entry);
        count_ = 1;
        return;
    }
    const std::uint32_t slot = count_ % block_entries;
    Block* block = nullptr;
    if (count_ < block_entries) {
        // One block, or none yet: grow it 4, 16, 64, 256, 1024.
        block = words_[0] != 0 ? nullptr : static_cast<Block*>(pointer());
        if (block == nullptr) {
            block = make_block(words_[0] != 0 ? 0 : from, 4);
            if (words_[0] != 0) {
                std::memcpy(block->entries, words_, sizeof(Entry));
            }
            set_pointer(block);
        } else if (slot == block->capacity) {
            Block* larger = make_block(block->base, block->capacity * 4);
            std::memcpy(larger->entries, block->entries, block->capacity * sizeof(Entry));
            free_block(block);
            block = larger;
            set_pointer(block);
        }
    } else if (slot == 0) {
        VERIFY(at(count_ - 1).to == from);
        Directory* directory =
            count_ == block_entries ? nullptr : static_cast<Directory*>(pointer());
        if (directory == nullptr || directory->count == directory->capacity) {
            std::uint32_t capacity = 4;
            if (directory != nullptr) {
                capacity = directory->capacity < page_directory_blocks ? page_directory_blocks
                                                                       : directory->capacity * 2;
            }
            Directory* larger = make_directory(capacity);
            if (directory == nullptr) {
                larger->count = 1;
                larger->blocks[0] = static_cast<Block*>(pointer());
            } else {
                larger->count = directory->count;
                std::memcpy(larger->blocks, directory->blocks, directory->count * sizeof(Block*));
                free_directory(directory);
            }
            directory = larger;
            set_pointer(directory);
        }
        block = make_block(from, block_entries);
        directory->blocks[directory->count] = block;
        ++directory->count;
    } else {
        block = static_cast<Directory*>(pointer())->blocks[count_ / block_entries];
    }
    if (slot > 0) {
        VERIFY(block->base + block->entries[slot - 1].end == from);
    }
    entry.end = static_cast<std::uint32_t>(from + place.size - block->base);
    block->entries[slot] = entry;
    ++count_;
}

void Locations::add_append(std::uint64_t from, std::span<const Place> places) {
    VERIFY(!places.empty());
    for (std::size_t i = 0; i < places.size(); ++i) {
        push(from, places[i], i + 1 == places.size());
        from += places[i].size;
    }
}

void Locations::add_piece(const Piece& piece) {
    push(piece.from, piece.place, piece.last);
}

Piece Locations::at(std::uint32_t index) const {
    VERIFY(index < count_);
    Piece piece;
    Entry entry;
    if (words_[0] != 0) {
        std::memcpy(&entry, words_, sizeof entry);
        piece.to = entry.end;
    } else {
        const Block* block = block_of(index);
        const std::uint32_t slot = index % block_entries;
        entry = block->entries[slot];
        piece.from = block->base + (slot == 0 ? 0 : block->entries[slot - 1].end);
        piece.to = block->base + entry.end;
    }
    piece.place.segment = entry.segment & ~goes_on;
    piece.place.position = entry.position;
    piece.place.size = static_cast<std::uint32_t>(piece.to - piece.from);
    piece.place.crc = entry.crc;
    piece.last = (entry.segment & goes_on) == 0;
    return piece;
}

std::uint32_t Locations::first_ending_beyond(std::uint64_t offset) const {
    if (words_[0] != 0) {
        return words_[0] > offset ? 0 : 1;
    }
    if (count_ == 0) {
        return 0;
    }
    // The last block whose base is at or before the offset, then the entry in it. Blocks follow
    // each other without a hole, so when that block has no such entry, the next begins at one.
    std::uint32_t block_index = 0;
    if (count_ > block_entries) {
        const Directory* directory = static_cast<const Directory*>(pointer());
        const auto beyond =
            std::upper_bound(directory->blocks, directory->blocks + directory->count, offset,
                             [](std::uint64_t at, const Block* block) { return at < block->base; });
        block_index = beyond == directory->blocks
                          ? 0
                          : static_cast<std::uint32_t>(beyond - directory->blocks) - 1;
    }
    const std::uint32_t first = block_index * block_entries;
    const std::uint32_t used = std::min(count_ - first, block_entries);
    const Block* block = block_of(first);
    if (offset < block->base) {
        return first;
    }
    const std::uint64_t relative = offset - block->base;
    const auto entry =
        std::upper_bound(block->entries, block->entries + used, relative,
                         [](std::uint64_t at, const Entry& e) { return at < e.end; });
    return first + static_cast<std::uint32_t>(entry - block->entries);
}

std::uint32_t Locations::find(std::uint64_t offset) const {
    std::uint32_t index = first_ending_beyond(offset);
    while (index > 0 && index < count_ && !at(index - 1).last) {
        --index;
    }
    // An append that ends beyond the offset has its last piece there, but an earlier piece may end
    // before it.
    if (index == count_ && index > 0) {
        VERIFY(at(index - 1).last);
    }
    return index;
}

std::uint32_t Locations::find_end(std::uint64_t offset) const {
    std::uint32_t index = first_ending_beyond(offset);
    while (index > 0 && !at(index - 1).last) {
        --index;
    }
    return index;
}

// Calls visit(segment, bytes) for every run of neighbouring pieces in one segment.
template <class Visit>
void Locations::each_run(const Visit& visit) const {
    std::uint32_t segment = 0;
    std::uint64_t bytes = 0;
    const auto add = [&](std::uint32_t in, std::uint32_t size) {
        if (in != segment && bytes > 0) {
            visit(segment, bytes);
            bytes = 0;
        }
        segment = in;
        bytes += size;
    };
    if (words_[0] != 0) {
        add(words_[1] & ~goes_on, words_[0]);
    } else {
        for (std::uint32_t first = 0; first < count_; first += block_entries) {
            const Block* block = block_of(first);
            const std::uint32_t used = std::min(count_ - first, block_entries);
            std::uint32_t end = 0;
            for (std::uint32_t i = 0; i < used; ++i) {
                add(block->entries[i].segment & ~goes_on, block->entries[i].end - end);
                end = block->entries[i].end;
            }
        }
    }
    if (bytes > 0) {
        visit(segment, bytes);
    }
}

void Locations::count_into(SegmentLoad& load) const {
    each_run([&load](std::uint32_t segment, std::uint64_t bytes) { load.add(segment, bytes); });
}

void Locations::take_from(SegmentLoad& load) const {
    each_run(
        [&load](std::uint32_t segment, std::uint64_t bytes) { load.subtract(segment, bytes); });
}

void Locations::clear() {
    if (words_[0] == 0 && count_ > 0) {
        if (count_ <= block_entries) {
            free_block(static_cast<Block*>(pointer()));
        } else {
            Directory* directory = static_cast<Directory*>(pointer());
            for (std::uint32_t i = 0; i < directory->count; ++i) {
                free_block(directory->blocks[i]);
            }
            free_directory(directory);
        }
    }
    count_ = 0;
    std::memset(words_, 0, sizeof words_);
}

std::size_t Locations::memory_bytes() const {
    if (words_[0] != 0 || count_ == 0) {
        return 0;
    }
    if (count_ <= block_entries) {
        const std::uint32_t capacity = static_cast<const Block*>(pointer())->capacity;
        return sizeof(Block) + (capacity - 1) * sizeof(Entry);
    }
    const Directory* directory = static_cast<const Directory*>(pointer());
    return sizeof(Directory) + (directory->capacity - 1) * sizeof(Block*) +
           directory->count * (sizeof(Block) + (block_entries - 1) * sizeof(Entry));
}

}  // namespace ursula::stream
