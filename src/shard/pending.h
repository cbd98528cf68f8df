// What waits for entries of one group: who asked for each command (tickets), and which streams an
// unapplied entry touches. Owned by one replica. Warm, nothing is allocated: the rings keep their
// memory.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "api/call.h"
#include "base/ids.h"
#include "base/time.h"
#include "base/verify.h"

namespace ursula::shard {

// A grow-only ring buffer: push at the back, pop at the front, memory kept.
template <class T>
class Fifo {
  public:
    bool empty() const { return size_ == 0; }
    std::size_t size() const { return size_; }
    T& front() { return items_[head_ & mask_]; }
    const T& front() const { return items_[head_ & mask_]; }
    T& back() { return items_[(head_ + size_ - 1) & mask_]; }
    T& at(std::size_t i) { return items_[(head_ + i) & mask_]; }
    void push(const T& item) {
        if (size_ == items_.size()) {
            grow();
        }
        items_[(head_ + size_) & mask_] = item;
        ++size_;
    }
    void pop() {
        DVERIFY(size_ > 0);
        ++head_;
        --size_;
    }

    void pop_back() {
        DVERIFY(size_ > 0);
        --size_;
    }

  private:
    void grow() {
        std::vector<T> wider(items_.empty() ? 16 : items_.size() * 2);
        for (std::size_t i = 0; i < size_; ++i) {
            wider[i] = items_[(head_ + i) & mask_];
        }
        items_.swap(wider);
        mask_ = items_.size() - 1;
        head_ = 0;
    }
    std::vector<T> items_;
    std::size_t mask_ = 0;
    std::size_t head_ = 0;
    std::size_t size_ = 0;
};

// Who asked for one command of an entry. An internal ticket (a step of the shard's own) has from ==
// ShardId(UINT32_MAX).
struct Ticket {
    api::CallId call;
    base::ShardId from;
    std::uint64_t name_hash = 0;       // api::StreamKey::hash
    std::uint64_t reserved_bytes = 0;  // of HotMemory, given back at apply
};

struct PendingEntry {
    base::EntryId id;
    std::uint32_t commands = 0;
    base::Instant written;
};

// Counts unapplied commands by a slot of their stream's hash: zero proves that none touches the
// stream (other streams may share the slot, which only costs an early answer).
class TouchedNames {
  public:
    static constexpr std::size_t slots = 1024;
    static std::uint32_t slot_of(std::uint64_t name_hash) {
        return static_cast<std::uint32_t>(name_hash & (slots - 1));
    }
    bool touched(std::uint64_t name_hash) const { return counts_[slot_of(name_hash)] != 0; }
    void add(std::uint64_t name_hash) { ++counts_[slot_of(name_hash)]; }
    void remove(std::uint64_t name_hash) {
        DVERIFY(counts_[slot_of(name_hash)] > 0);
        --counts_[slot_of(name_hash)];
    }

  private:
    std::array<std::uint32_t, slots> counts_{};
};

}  // namespace ursula::shard
