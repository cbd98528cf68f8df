#include "shard/mailbox.h"

#include <bit>
#include <new>

#include "base/verify.h"

namespace ursula::shard {
namespace {

// Everything starts on a multiple of the header's size, so a filler always finds room for a header
// before the end of the ring.
constexpr std::uint64_t unit = 16;

constexpr std::uint64_t rounded_up(std::uint64_t size) {
    return (size + unit - 1) / unit * unit;
}

}  // namespace

Mailbox::Mailbox(std::size_t capacity)
    : capacity_(capacity), mask_(capacity - 1), ring_(new std::byte[capacity]) {
    VERIFY(std::has_single_bit(capacity) && capacity >= 4 * unit);
}

Mailbox::~Mailbox() {
    MailRecord record;
    while (take(record)) {
    }
}

std::byte* Mailbox::reserve(std::size_t size) {
    const std::uint64_t needed = sizeof(Header) + rounded_up(size);
    VERIFY(needed <= capacity_ / 2);
    const std::uint64_t to_end = capacity_ - (written_ & mask_);
    const std::uint64_t skipped = needed <= to_end ? 0 : to_end;
    if (written_ + skipped + needed - head_seen_ > capacity_) {
        // Acquire: the reader is done with the bytes that are written over next.
        head_seen_ = head_.load(std::memory_order_acquire);
        if (written_ + skipped + needed - head_seen_ > capacity_) {
            return nullptr;
        }
    }
    if (skipped != 0) {
        new (at(written_)) Header{.filler = 1};
    }
    reserved_ = written_ + skipped;
    reserved_size_ = size;
    return at(reserved_) + sizeof(Header);
}

void Mailbox::publish(std::uint16_t kind, base::Block* large) {
    DVERIFY(large == nullptr || large->references() == 1);
    new (at(reserved_)) Header{.size = static_cast<std::uint32_t>(reserved_size_),
                               .kind = kind,
                               .filler = 0,
                               .large = large};
    written_ = reserved_ + sizeof(Header) + rounded_up(reserved_size_);
    tail_.store(written_, std::memory_order_release);
}

bool Mailbox::take(MailRecord& record) {
    if (taken_ == tail_seen_) {
        tail_seen_ = tail_.load(std::memory_order_acquire);
        if (taken_ == tail_seen_) {
            return false;
        }
    }
    const Header* header = std::launder(reinterpret_cast<const Header*>(at(taken_)));
    if (header->filler != 0) {
        taken_ += capacity_ - (taken_ & mask_);
        header = std::launder(reinterpret_cast<const Header*>(at(taken_)));
    }
    record.kind = header->kind;
    record.bytes = {at(taken_) + sizeof(Header), header->size};
    if (header->large != nullptr || !record.large.empty()) [[unlikely]] {
        replace_large(record, header->large);
    }
    taken_ += sizeof(Header) + rounded_up(header->size);
    return true;
}

// Out of line: the common record has no block, and take stays small without this.
[[gnu::noinline]] void Mailbox::replace_large(MailRecord& record, base::Block* block) {
    record.large = {};
    if (block != nullptr) {
        record.large = base::Slice::adopt(block, 0, block->capacity());
        held_.push_back(record.large);
    }
}

void Mailbox::release() {
    if (!held_.empty()) {
        held_.clear();
    }
    if (head_.load(std::memory_order_relaxed) != taken_) {
        head_.store(taken_, std::memory_order_release);
    }
}

}  // namespace ursula::shard
