// Open-addressing table of pointers to nodes that know their hash (`std::uint32_t hash`): 8 bytes a
// slot, the upper 16 bits of a slot repeating part of the hash so that a probe rarely touches a
// node it does not want. Linear probing, backward shift on erase, doubling at 7/8. Doubling is
// spread over the inserts and erases that follow, so that no single one stalls however large the
// table. Iteration order is deliberately not offered: it would depend on the process's hash key.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <utility>

#include "base/verify.h"

namespace ursula::stream {

template <class Node>
class PointerTable {
  public:
    PointerTable() = default;
    PointerTable(const PointerTable&) = delete;
    PointerTable& operator=(const PointerTable&) = delete;
    ~PointerTable() {
        std::free(slots_);
        std::free(old_);
    }

    void swap(PointerTable& other) {
        std::swap(slots_, other.slots_);
        std::swap(old_, other.old_);
        std::swap(mask_, other.mask_);
        std::swap(old_mask_, other.old_mask_);
        std::swap(moved_to_, other.moved_to_);
        std::swap(size_, other.size_);
    }

    std::size_t size() const { return size_; }
    std::size_t memory_bytes() const {
        return (capacity() + (old_ == nullptr ? 0 : old_mask_ + std::size_t{1})) * sizeof(Slot);
    }

    // First node with this hash for which same(node) holds, or null.
    template <class Same>
    Node* find(std::uint32_t hash, const Same& same) const {
        if (slots_ == nullptr) {
            return nullptr;
        }
        Node* node = find_in(slots_, mask_, hash, same);
        if (node == nullptr && old_ != nullptr) [[unlikely]] {
            node = find_in(old_, old_mask_, hash, same);
        }
        return node;
    }

    // The node is not in the table yet.
    void insert(Node* node) {
        move_some();
        if ((size_ + 1) * 8 > capacity() * 7) {
            grow();
        }
        place(node);
        ++size_;
    }

    // The node is in the table.
    void erase(const Node* node) {
        move_some();
        --size_;
        std::uint32_t at = node->hash & mask_;
        while (slots_[at] != 0 && unpack(slots_[at]) != node) {
            at = (at + 1) & mask_;
        }
        if (slots_[at] == 0) {
            erase_old(node);
            return;
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
    }

  private:
    using Slot = std::uint64_t;
    static constexpr int pointer_bits = 48;  // user space of x86-64 and arm64 Linux
    static constexpr Slot moved = 1;         // in the old slots: gone, but the run goes on
    // Per insert or erase. The old slots are moved long before the new ones are full: those have
    // room for 7/8 of as many inserts as there are old slots.
    static constexpr std::size_t moved_at_once = 8;

    static std::uint64_t tag(std::uint32_t hash) { return hash >> 16; }
    static Node* unpack(Slot slot) {
        return reinterpret_cast<Node*>(slot & ((1ull << pointer_bits) - 1));
    }
    std::size_t capacity() const {
        return slots_ == nullptr ? 0 : static_cast<std::size_t>(mask_) + 1;
    }

    template <class Same>
    static Node* find_in(const Slot* slots, std::uint32_t mask, std::uint32_t hash,
                         const Same& same) {
        for (std::uint32_t at = hash & mask;; at = (at + 1) & mask) {
            const Slot slot = slots[at];
            if (slot == 0) {
                return nullptr;
            }
            if ((slot >> pointer_bits) == tag(hash) && slot != moved) {
                Node* node = unpack(slot);
                if (node->hash == hash && same(*node)) {
                    return node;
                }
            }
        }
    }

    void place(Node* node) {
        const auto bits = reinterpret_cast<Slot>(node);
        DVERIFY((bits >> pointer_bits) == 0);
        std::uint32_t at = node->hash & mask_;
        while (slots_[at] != 0) {
            at = (at + 1) & mask_;
        }
        slots_[at] = bits | (tag(node->hash) << pointer_bits);
    }

    void erase_old(const Node* node) {
        VERIFY(old_ != nullptr);
        std::uint32_t at = node->hash & old_mask_;
        while (old_[at] == moved || unpack(old_[at]) != node) {
            VERIFY(old_[at] != 0);
            at = (at + 1) & old_mask_;
        }
        old_[at] = moved;
    }

    void grow() {
        while (old_ != nullptr) {
            move_some();
        }
        const std::size_t capacity_now = capacity();
        const std::size_t capacity_next = capacity_now == 0 ? 2 : capacity_now * 2;
        VERIFY(capacity_next <= (std::size_t{1} << 31));
        old_ = std::exchange(slots_, static_cast<Slot*>(std::calloc(capacity_next, sizeof(Slot))));
        VERIFY(slots_ != nullptr);
        old_mask_ = std::exchange(mask_, static_cast<std::uint32_t>(capacity_next - 1));
        moved_to_ = 0;
        if (capacity_now <= moved_at_once) {
            move_some();
        }
    }

    void move_some() {
        if (old_ == nullptr) {
            return;
        }
        for (std::size_t n = 0; n < moved_at_once && moved_to_ <= old_mask_; ++n, ++moved_to_) {
            const Slot slot = old_[moved_to_];
            if (slot != 0 && slot != moved) {
                place(unpack(slot));
                old_[moved_to_] = moved;
            }
        }
        if (moved_to_ > old_mask_) {
            std::free(std::exchange(old_, nullptr));
        }
    }

    Slot* slots_ = nullptr;
    Slot* old_ = nullptr;  // while doubling: [moved_to_, old_mask_] are still to be moved
    std::uint32_t mask_ = 0;
    std::uint32_t old_mask_ = 0;
    std::size_t moved_to_ = 0;
    std::size_t size_ = 0;
};

}  // namespace ursula::stream
