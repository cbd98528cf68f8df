// AddressSanitizer's poison by hand: the kernel reads and writes buffers behind the sanitizer's
// back, so the ring asks here.
#pragma once

#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#define URSULA_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define URSULA_ASAN 1
#endif
#endif

#if defined(URSULA_ASAN)
#include <sanitizer/asan_interface.h>
#endif

namespace ursula::base {

// True when a byte of the region must not be touched. Always false without ASan.
inline bool region_poisoned([[maybe_unused]] const void* data, [[maybe_unused]] std::size_t size) {
#if defined(URSULA_ASAN)
    return size > 0 && __asan_region_is_poisoned(const_cast<void*>(data), size) != nullptr;
#else
    return false;
#endif
}
inline void poison([[maybe_unused]] const void* data, [[maybe_unused]] std::size_t size) {
#if defined(URSULA_ASAN)
    __asan_poison_memory_region(data, size);
#endif
}
inline void unpoison([[maybe_unused]] const void* data, [[maybe_unused]] std::size_t size) {
#if defined(URSULA_ASAN)
    __asan_unpoison_memory_region(data, size);
#endif
}

}  // namespace ursula::base
