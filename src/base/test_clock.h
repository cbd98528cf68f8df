// A clock that tests move: only the server of tests/differential is built with URSULA_TEST_CLOCK.
// There the wall clock stands still at what POST /admin/test-clock?wall_ms=N said last, and the
// monotonic clock is ahead by as much as the wall clock was moved since the first time, so that
// timers that are due by then are. In the product moved() gives back what it is given.
#pragma once

#include <string_view>

#include "base/time.h"

#if defined(URSULA_TEST_CLOCK)
#include <atomic>
#include <charconv>
#endif

namespace ursula::base {

#if defined(URSULA_TEST_CLOCK)
constexpr bool clock_moves = true;
// Set by any loop, read by all; 0: not set yet, and the clocks are the machine's.
inline std::atomic<std::int64_t> test_clock_first_ms = 0;
inline std::atomic<std::int64_t> test_clock_ms = 0;

inline void move_clock(std::string_view query) {
    constexpr std::string_view name = "wall_ms=";
    std::int64_t wall_ms = 0;
    if (query.starts_with(name)) {
        std::from_chars(query.data() + name.size(), query.data() + query.size(), wall_ms);
    }
    std::int64_t none = 0;
    test_clock_first_ms.compare_exchange_strong(none, wall_ms);
    test_clock_ms = wall_ms;
}

inline Now moved(Now now) {
    const std::int64_t wall_ms = test_clock_ms;
    if (wall_ms == 0) {
        return now;
    }
    return {now.mono + milliseconds(wall_ms - test_clock_first_ms), WallTime{wall_ms}};
}
#else
constexpr bool clock_moves = false;
inline void move_clock(std::string_view) {}
constexpr Now moved(Now now) {
    return now;
}
#endif

}  // namespace ursula::base
