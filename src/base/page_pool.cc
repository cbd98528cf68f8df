#include "base/page_pool.h"

#include <sys/mman.h>

#include <cstdlib>

#include "base/asan.h"
#include "base/verify.h"

namespace ursula::base::page_pool {

#if defined(URSULA_ASAN)

// So that the sanitizer sees a page that is used after it was given back.
void* take() {
    void* page = std::aligned_alloc(64, page_bytes);
    VERIFY(page != nullptr);
    return page;
}

void give(void* page) {
    std::free(page);
}

#else

namespace {

struct Free {
    Free* next;
};

thread_local Free* free_pages = nullptr;
thread_local std::byte* uncut = nullptr;  // what of the newest map was never taken
thread_local std::byte* uncut_end = nullptr;

static_assert(page_bytes % 64 == 0 && page_bytes <= slab_bytes);

}  // namespace

void* take() {
    if (free_pages != nullptr) {
        Free* page = free_pages;
        free_pages = page->next;
        return page;
    }
    if (uncut == nullptr || static_cast<std::size_t>(uncut_end - uncut) < page_bytes) {
        void* map =
            mmap(nullptr, slab_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        VERIFY(map != MAP_FAILED);
        uncut = static_cast<std::byte*>(map);
        uncut_end = uncut + slab_bytes;
    }
    std::byte* page = uncut;
    uncut += page_bytes;
    return page;
}

void give(void* page) {
    Free* free = static_cast<Free*>(page);
    free->next = free_pages;
    free_pages = free;
}

#endif

}  // namespace ursula::base::page_pool
