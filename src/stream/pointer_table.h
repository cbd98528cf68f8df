// Open-addressing table of pointers to nodes that know their hash (`std::uint32_t hash`): 8 bytes a
// slot, the upper 16 bits of a slot repeating part of the hash so that a probe rarely touches a
// node it does not want. Linear probing, backward shift on erase, doubling at 7/8. Iteration order
// is deliberately not offered: it would depend on the process's hash key.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "base/verify.h"

namespace ursula::stream {

template <class Node>
class PointerTable {
  public:
    PointerTable() = default;
    PointerTable(const PointerTable&) = delete;
    PointerTable& operator=(const PointerTable&) = delete;
    ~PointerTable() { std::free(slots_); }

    std::size_t size() const { return size_; }
    std::size_t memory_bytes() const { return capacity() * sizeof(std::uint64_t); }

    // First node with this hash for which same(node) holds, or null.
    template <class Same>
    Node* find(std::uint32_t hash, const Same& same) const {
        if (slots_ == nullptr) {
            return nullptr;
        }
        for (std::uint32_t at = hash & mask_;; at = (at + 1) & mask_) {
            const std::uint64_t slot = slots_[at];
            if (slot == 0) {
                return nullptr;
            }
            if ((slot >> pointer_bits) == tag(hash)) {
                Node* node = unpack(slot);
                if (node->hash == hash && same(*node)) {
                    return node;
                }
            }
        }
    }

    // The node is not in the table yet.
    void insert(Node* node) {
        if ((size_ + 1) * 8 > capacity() * 7) {
            grow();
        }
        place(node);
        ++size_;
    }

    // The node is in the table.
    void erase(const Node* node) {
        std::uint32_t at = node->hash & mask_;
        while (unpack(slots_[at]) != node) {
            VERIFY(slots_[at] != 0);
            at = (at + 1) & mask_;
        }
        // Close the gap: move back every later node of the run that may stand here.
        std::uint32_t hole = at;
        for (std::uint32_t next = (at + 1) & mask_; slots_[next] != 0; next = (next + 1) & mask_) {
            const std::uint32_t home = unpack(slots_[next])->hash & mask_;
            if (((next - home) & mask_) >= ((next - hole) & mask_)) {
                slots_[hole] = slots_[next];
                hole = next;
            }
        }
        slots_[hole] = 0;
        --size_;
    }

  private:
    static constexpr int pointer_bits = 48;  // user space of x86-64 and arm64 Linux
    static std::uint64_t tag(std::uint32_t hash) { return hash >> 16; }
    static Node* unpack(std::uint64_t slot) {
        return reinterpret_cast<Node*>(slot & ((1ull << pointer_bits) - 1));
    }
    std::size_t capacity() const {
        return slots_ == nullptr ? 0 : static_cast<std::size_t>(mask_) + 1;
    }

    void place(Node* node) {
        const auto bits = reinterpret_cast<std::uint64_t>(node);
        DVERIFY((bits >> pointer_bits) == 0);
        std::uint32_t at = node->hash & mask_;
        while (slots_[at] != 0) {
            at = (at + 1) & mask_;
        }
        slots_[at] = bits | (tag(node->hash) << pointer_bits);
    }

    void grow() {
        const std::size_t old_capacity = capacity();
        std::uint64_t* old = slots_;
        const std::size_t new_capacity = old_capacity == 0 ? 4 : old_capacity * 2;
        VERIFY(new_capacity <= (std::size_t{1} << 31));
        slots_ = static_cast<std::uint64_t*>(std::calloc(new_capacity, sizeof(std::uint64_t)));
        VERIFY(slots_ != nullptr);
        mask_ = static_cast<std::uint32_t>(new_capacity - 1);
        for (std::size_t i = 0; i < old_capacity; ++i) {
            if (old[i] != 0) {
                place(unpack(old[i]));
            }
        }
        std::free(old);
    }

    std::uint64_t* slots_ = nullptr;
    std::uint32_t mask_ = 0;
    std::size_t size_ = 0;
};

}  // namespace ursula::stream
