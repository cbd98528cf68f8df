// Memory in pages of one size (the location index lives in them), cut from maps of slab_bytes, so
// an append that opens a page makes no heap call. A page that a stream gave back serves the next;
// maps are never returned to the system while the process lives. One free list per thread: a
// shard's streams live and die on its core.
#pragma once

#include <cstddef>

namespace ursula::base::page_pool {

constexpr std::size_t page_bytes = 16'448;  // 1,024 entries and their header, in whole cache lines
constexpr std::size_t slab_bytes = std::size_t{1} << 20;

// Not initialised; aligned to 64 bytes. Ends the process when there is no memory.
[[nodiscard]] void* take();
void give(void* page);

}  // namespace ursula::base::page_pool
