// TimerWheel: many coarse deadlines, each an object embedded in its owner; nothing is allocated. A
// timer fires up to one tick (about 17 ms) late, never early. Deadlines beyond the horizon (about
// 68 s) are kept and looked at again on the way.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "base/time.h"

namespace ursula::net {

// Linked into a wheel while armed; the owner cancels it before it goes away.
struct Timer {
    Timer() = default;
    Timer(const Timer&) = delete;
    Timer& operator=(const Timer&) = delete;
    bool armed() const { return next != nullptr; }

    Timer* previous = nullptr;
    Timer* next = nullptr;
    base::Instant at{};      // what schedule() was told
    std::uint64_t tick = 0;  // where it is linked: at or before the tick of `at`
    base::Instant place{};   // when that tick ends
};

class TimerWheel {
  public:
    explicit TimerWheel(base::Instant now);
    TimerWheel(const TimerWheel&) = delete;
    TimerWheel& operator=(const TimerWheel&) = delete;

    // Arms or moves the timer. One that only moves later costs a store: its old place is looked at
    // and put right on the way. never() disarms.
    void schedule(Timer& timer, base::Instant at) {
        if (timer.armed() && at != base::Instant::never() && timer.place <= at) [[likely]] {
            timer.at = at;
            return;
        }
        move(timer, at);
    }
    void cancel(Timer& timer);
    // Appends the timers whose time has come, disarmed, roughly in order of time.
    void take_expired(base::Instant now, std::vector<Timer*>& expired);
    // The nearest instant at which take_expired may have something to do; never() when nothing is
    // armed.
    base::Instant next() const;
    std::uint32_t armed() const { return armed_; }

  private:
    static constexpr int tick_bits = 24;
    static constexpr std::uint64_t slot_count = 4096;
    static std::uint64_t tick_of(base::Instant at);
    void move(Timer& timer, base::Instant at);
    void link(Timer& timer, std::uint64_t tick);
    void unlink(Timer& timer);

    std::array<Timer, slot_count> slots_;  // list heads
    std::array<std::uint64_t, slot_count / 64> occupied_{};
    std::uint64_t occupied_words_ = 0;  // bit i: occupied_[i] != 0
    std::uint64_t current_;             // first tick not yet taken
    std::uint32_t armed_ = 0;
};

}  // namespace ursula::net
