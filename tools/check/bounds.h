// The two numbers that a history leaves for the instant of a transition, and what set them.
#pragma once

#include <cstdint>
#include <limits>

#include "tools/check/history.h"

namespace ursula::check {

// What forces an instant to be late (R) or early (D).
enum class Cause : std::uint8_t {
    none,
    // R: the operation that made the transition began then.
    create_sent,
    append_sent,
    close_sent,
    delete_sent,
    // R: an answer to an operation that began then did not know the transition.
    create_unaware,
    append_unaware,
    close_unaware,
    read_unaware,
    // R of a creation: the name was absent then, and was never again.
    absent,
    // D: the operation that made the transition was answered then.
    create_answered,
    append_answered,
    close_answered,
    delete_answered,
    // D: an answer that came then knew the transition.
    create_aware,
    append_aware,
    close_aware,
    read_aware,
};

struct Bound {
    std::int64_t at = 0;
    std::uint32_t index = 0;  // Of the operation, in its stream's vector.
    Cause cause = Cause::none;
};

inline constexpr std::int64_t always = std::numeric_limits<std::int64_t>::min();

}  // namespace ursula::check
