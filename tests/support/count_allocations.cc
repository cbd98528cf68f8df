#include "tests/support/count_allocations.h"

#include <cstddef>

namespace ursula::test_support {
namespace {
thread_local std::uint64_t count = 0;
}  // namespace

std::uint64_t allocations() {
    return count;
}

}  // namespace ursula::test_support

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define URSULA_OWN_ALLOCATOR 1
#endif
#endif

#if !defined(URSULA_OWN_ALLOCATOR)
// glibc lets a program define malloc itself; these pass on to glibc's own under its second name.
// operator new of the library ends here too.
extern "C" {
void* __libc_malloc(std::size_t size);
void* __libc_calloc(std::size_t count, std::size_t size);
void* __libc_realloc(void* memory, std::size_t size);
void* __libc_memalign(std::size_t alignment, std::size_t size);

void* malloc(std::size_t size) noexcept {
    ++ursula::test_support::count;
    return __libc_malloc(size);
}
void* calloc(std::size_t members, std::size_t size) noexcept {
    ++ursula::test_support::count;
    return __libc_calloc(members, size);
}
void* realloc(void* memory, std::size_t size) noexcept {
    ++ursula::test_support::count;
    return __libc_realloc(memory, size);
}
void* aligned_alloc(std::size_t alignment, std::size_t size) noexcept {
    ++ursula::test_support::count;
    return __libc_memalign(alignment, size);
}
}
#endif
