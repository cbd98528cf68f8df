// Numbers nobody else draws: ids of clusters, directories and lives.
#pragma once

#include <sys/random.h>

#include <cstdint>

namespace ursula {

// Never 0, which means "none" wherever such a number is kept.
inline std::uint64_t random_number() {
    std::uint64_t value = 0;
    while (::getrandom(&value, sizeof value, 0) != static_cast<ssize_t>(sizeof value) ||
           value == 0) {
    }
    return value;
}

}  // namespace ursula
