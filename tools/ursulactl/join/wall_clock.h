// Certificates begin and end by the wall clock.
#pragma once

#include <chrono>
#include <cstdint>

namespace ursula::ctl {

// Seconds since the epoch.
inline std::int64_t wall_seconds() {
    return std::chrono::duration_cast<std::chrono::seconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
}

}  // namespace ursula::ctl
