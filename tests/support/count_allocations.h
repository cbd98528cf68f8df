// Counts this thread's heap allocations (operator new and malloc), so that a test can say that a
// warm path makes none. Linked by count_allocations_dep.
#pragma once

#include <cstdint>

namespace ursula::test_support {

// Since the thread started. Always 0 growth under sanitizers, whose own allocator stays in place.
[[nodiscard]] std::uint64_t allocations();

}  // namespace ursula::test_support
