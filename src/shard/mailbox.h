// Mailbox: a bounded ring of bytes from one loop to one other, and the latch that decides who rings
// whose doorbell. The only atomics of the server's data path.
//
// One Mailbox per ordered pair of loops: one thread pushes, one takes. A record lies in one piece
// in the ring; bytes above limits::mailbox_inline_bytes_max travel as a counted block whose only
// reference moves with the record. What crosses is published by release and seen by acquire; the
// doorbell carries nothing.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/bytes.h"
#include "base/limits.h"
#include "base/slice.h"

namespace ursula::shard {

// One record as its reader sees it.
struct MailRecord {
    std::uint16_t kind = 0;
    base::Bytes bytes;  // in the ring, 8-byte aligned, until Mailbox::release
    base::Slice large;  // what was too large for the ring; the reader's own
};

class Mailbox {
  public:
    // `capacity` is a power of two; a record may take up to half of it.
    explicit Mailbox(std::size_t capacity = base::limits::mailbox_bytes);
    // Both loops have ended; what was not taken is dropped.
    ~Mailbox();
    Mailbox(const Mailbox&) = delete;
    Mailbox& operator=(const Mailbox&) = delete;

    // --- the sending loop ---

    // Room for a record of `size` bytes, 8-byte aligned; nullptr when there is none now: keep what
    // you have and try again next turn. Nothing is visible to the reader before publish; a second
    // reserve without one takes the first's place.
    std::byte* reserve(std::size_t size);
    // Shows the reserved record. `large` (may be null) comes with one reference and has no other:
    // its count is not atomic, so it is moved, never shared.
    void publish(std::uint16_t kind, base::Block* large = nullptr);

    // --- the receiving loop ---

    // The next record, or false when there is none (yet).
    bool take(MailRecord& record);
    // Gives the space of all records taken so far back to the sender; their views end. Once per
    // turn.
    void release();
    // Whether take would return nothing.
    bool empty() const { return tail_.load(std::memory_order_acquire) == taken_; }

  private:
    // In front of each record. `size` counts the bytes behind the header.
    struct Header {
        std::uint32_t size = 0;
        std::uint16_t kind = 0;
        std::uint16_t filler = 0;  // 1: no record, the rest of the ring is skipped
        base::Block* large = nullptr;
    };
    static_assert(sizeof(Header) == 16);

    void replace_large(MailRecord& record, base::Block* block);
    std::byte* at(std::uint64_t position) { return ring_.get() + (position & mask_); }

    const std::uint64_t capacity_;
    const std::uint64_t mask_;
    // Uninitialised: pages cost memory when mail first reaches them.
    const std::unique_ptr<std::byte[]> ring_;

    // Positions count bytes since the start and never wrap; each side writes its own cache line.
    // The sender's: everything before tail_ is visible.
    alignas(64) std::atomic<std::uint64_t> tail_{0};
    std::uint64_t written_ = 0;   // tail_, without the atomic
    std::uint64_t reserved_ = 0;  // where the reserved record's header is
    std::uint64_t reserved_size_ = 0;
    std::uint64_t head_seen_ = 0;  // head_ when last looked at

    // The receiver's: everything before head_ may be written over.
    alignas(64) std::atomic<std::uint64_t> head_{0};
    std::uint64_t taken_ = 0;
    std::uint64_t tail_seen_ = 0;    // tail_ when last looked at
    std::vector<base::Slice> held_;  // large parts of the records taken and not yet released
};

// SleepLatch: one per loop, tells the loops that send to it whether it must be woken. Without it
// every push would be a system call; with it a loop that is awake, or already rung, is left alone.
//
// Why no wake-up is lost. Before it sleeps the receiver exchanges `asleep` to true and then looks
// at its mailboxes; after it published, a sender exchanges `asleep` to false. Both are
// read-modify-writes of one atomic, so one comes first:
//   - the receiver's first: the sender reads true and rings;
//   - the sender's first: the receiver's exchange reads what the sender's wrote (or a later
//     exchange in the same chain), acquires what the sender released, the published tail_ among
//     it, finds the mail and does not sleep.
// woke() is an exchange too: a plain store would break that chain of read-modify-writes.
// This is the store-fence-load pattern with the fences inside the exchanges, which thread
// sanitizers understand and the language defines.
class SleepLatch {
  public:
    // --- the loop itself ---
    // Then look at every mailbox once more, and wait only if all are empty.
    void about_to_sleep() { asleep_.exchange(true, std::memory_order_acq_rel); }
    // After the wait, whatever ended it.
    void woke() { asleep_.exchange(false, std::memory_order_acq_rel); }

    // --- loops that published something for it this turn ---
    // True for the one caller that has to ring; call once per turn, after the last publish.
    bool needs_doorbell() { return asleep_.exchange(false, std::memory_order_acq_rel); }

  private:
    alignas(64) std::atomic<bool> asleep_{false};
};

}  // namespace ursula::shard
