// The log's memory of one group: where its newest entries' bodies are, and how far its records have
// got.
#pragma once

#include <cstdint>
#include <vector>

#include "base/ids.h"
#include "storage/staging.h"
#include "storage/wal_format.h"

namespace ursula::storage {

// One entry held in memory. Exactly one of batch and large is set.
struct Slot {
    Batch* batch = nullptr;
    LargeBody* large = nullptr;
    std::uint32_t offset = 0;  // of the body in the batch
    std::uint32_t size = 0;
};

// Slots of consecutive indexes: a ring that grows by doubling and never shrinks, so it is quiet
// when warm.
class SlotRing {
  public:
    base::LogIndex first() const { return base::LogIndex(first_); }
    bool empty() const { return count_ == 0; }
    // Index of the next push; only while empty.
    void begin_at(base::LogIndex index) { first_ = index.value; }
    void push(const Slot& slot) {
        if (count_ == slots_.size()) {
            grow();
        }
        slots_[(head_ + count_) & (slots_.size() - 1)] = slot;
        ++count_;
    }
    // nullptr when the index is not held.
    Slot* find(base::LogIndex index) {
        return index.value < first_ || index.value - first_ >= count_
                   ? nullptr
                   : &slots_[(head_ + (index.value - first_)) & (slots_.size() - 1)];
    }
    const Slot* find(base::LogIndex index) const {
        return const_cast<SlotRing*>(this)->find(index);
    }
    Slot pop_front() {
        Slot slot = slots_[head_];
        head_ = (head_ + 1) & (slots_.size() - 1);
        ++first_;
        --count_;
        return slot;
    }
    Slot pop_back() {
        --count_;
        return slots_[(head_ + count_) & (slots_.size() - 1)];
    }

  private:
    void grow() {
        std::vector<Slot> larger(slots_.empty() ? 16 : slots_.size() * 2);
        for (std::size_t i = 0; i < count_; ++i) {
            larger[i] = slots_[(head_ + i) & (slots_.size() - 1)];
        }
        slots_.swap(larger);
        head_ = 0;
    }
    std::vector<Slot> slots_;  // size is a power of two
    std::size_t head_ = 0;
    std::size_t count_ = 0;
    std::uint64_t first_ = 1;
};

// A record that waits behind the pieces of its group's large body.
struct Deferred {
    enum class Kind : std::uint8_t { entry, truncate, restart };
    Kind kind = Kind::entry;
    std::uint8_t entry_kind = 0;
    base::EntryId id;  // truncate: index = from
    LargeBody* body = nullptr;
    std::uint32_t body_crc = 0;  // of a whole body that fits one record
};

struct GroupLog {
    bool known = false;  // has any state: repeated in segment heads
    // As staged.
    base::LogIndex end;
    SlotRing slots;
    std::vector<Deferred> deferred;  // oldest first
    // As emitted into batches.
    base::Term term;
    base::NodeId vote;
    base::LogIndex emitted_end;
    base::LogIndex pending;  // entry whose pieces are not all emitted
    std::uint64_t cuts = 0;  // truncations and restarts, those that a later one took in included
    std::uint64_t cuts_durable = 0;
    const Batch* mark_batch = nullptr;
    std::uint32_t mark = 0;  // in mark_batch->marks
    // As submitted: what the next head says.
    GroupItem submitted;
    // Recycling.
    base::LogIndex covered;
    base::LogIndex forgotten;          // at most covered: nobody needs entries up to here
    std::uint64_t payload_wanted = 0;  // payload of earlier tickets is dead, or its segment is live
    bool live_known = true;
    std::vector<SegmentId> live;  // segments its durable snapshot names, sorted
};

}  // namespace ursula::storage
