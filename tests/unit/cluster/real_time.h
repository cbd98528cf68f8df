// Tests over real sockets: their clock, and turns until something is so.
#pragma once

#include <time.h>

#include "base/time.h"

namespace ursula {

inline base::Instant mono_now() {
    timespec time{};
    clock_gettime(CLOCK_MONOTONIC, &time);
    return {time.tv_sec * 1'000'000'000 + time.tv_nsec};
}

// False: it was not so in time.
template <class Done, class Turn>
bool turn_until(const Done& done, const Turn& turn) {
    const base::Instant end = mono_now() + base::seconds(20);
    while (mono_now() < end) {
        if (done()) {
            return true;
        }
        turn();
    }
    return false;
}

}  // namespace ursula
