// A set of numbers of things that are found by a key: open addressing over 32-bit slots, for tens
// of millions of entries.
#pragma once

#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "tools/check/history.h"

namespace ursula::check {

inline constexpr std::uint32_t nowhere = std::numeric_limits<std::uint32_t>::max();

// Spread over all 64 bits, above all the upper ones.
inline std::uint64_t hash(std::uint64_t payload) {
    return (payload ^ payload >> 32) * 0x9e3779b97f4a7c15u;
}
inline std::uint64_t hash(const Offset& offset) {
    return hash(offset.low + (offset.high << 40));
}

// KeyOf gives the key of a number.
template <class KeyOf>
class Slots {
  public:
    Slots(std::size_t entries, KeyOf key_of) : key_of_(std::move(key_of)) {
        std::size_t size = 16;
        while (size < entries * 2) {
            size *= 2;
            --shift_;
        }
        slots_.assign(size, nowhere);
    }

    // Adds a number. Returns the one that has the same key already, or nowhere.
    std::uint32_t add(std::uint32_t number) {
        std::uint32_t& slot = slots_[slot_of(key_of_(number))];
        if (slot != nowhere) {
            return slot;
        }
        slot = number;
        return nowhere;
    }

    template <class Key>
    std::uint32_t find(const Key& key) const {
        return slots_[slot_of(key)];
    }

  private:
    template <class Key>
    std::size_t slot_of(const Key& key) const {
        const std::size_t mask = slots_.size() - 1;
        std::size_t slot = static_cast<std::size_t>(hash(key) >> shift_);
        while (slots_[slot] != nowhere && !(key_of_(slots_[slot]) == key)) {
            slot = (slot + 1) & mask;
        }
        return slot;
    }

    KeyOf key_of_;
    unsigned shift_ = 64 - 4;  // The hash's upper bits choose the slot.
    std::vector<std::uint32_t> slots_;
};

}  // namespace ursula::check
