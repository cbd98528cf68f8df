// Op: one operation in flight on a ring, embedded in its owner (DESIGN section 3: nothing reacts
// inside a reap).
#pragma once

#include <cstdint>

#if defined(URSULA_CHECKED)
#include <cstddef>
#endif

namespace ursula::net {

// The owner keeps an Op alive and in place from the ring call that takes it until its last
// completion: the one whose flags lack `more`. reap only puts the result where a later phase of the
// turn finds it; it must not call the ring.
struct Op {
    // result: as the system call would return it, or -errno. flags: IORING_CQE_F_*, read by the
    // helpers below.
    using Reap = void (*)(Op* op, std::int32_t result, std::uint32_t flags);
    Reap reap = nullptr;
#if defined(URSULA_CHECKED)
    // What the kernel reads or writes; checked against ASan's poison at submit and again at reap.
    const void* buffer = nullptr;
    std::size_t buffer_size = 0;
#endif
};

// True when further completions of the same Op will follow (multishot).
constexpr bool more_follow(std::uint32_t flags) {
    return (flags & 2u) != 0;  // IORING_CQE_F_MORE; ring.cc asserts the value
}
// True when the completion brought a provided buffer; then buffer_id names it.
constexpr bool has_buffer(std::uint32_t flags) {
    return (flags & 1u) != 0;  // IORING_CQE_F_BUFFER
}
constexpr std::uint16_t buffer_id(std::uint32_t flags) {
    return static_cast<std::uint16_t>(flags >> 16);  // IORING_CQE_BUFFER_SHIFT
}

}  // namespace ursula::net
