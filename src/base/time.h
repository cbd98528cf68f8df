// Time is a value passed down; only src/loop.cc (and tests) read a clock, once per turn.
#pragma once

#include <compare>
#include <cstdint>

namespace ursula::base {

struct Duration {
    std::int64_t ns = 0;
    constexpr auto operator<=>(const Duration&) const = default;
    constexpr std::int64_t ms() const { return ns / 1'000'000; }
};
constexpr Duration operator+(Duration a, Duration b) {
    return {a.ns + b.ns};
}
constexpr Duration operator-(Duration a, Duration b) {
    return {a.ns - b.ns};
}
constexpr Duration operator*(Duration a, std::int64_t k) {
    return {a.ns * k};
}
constexpr Duration operator/(Duration a, std::int64_t k) {
    return {a.ns / k};
}
constexpr Duration microseconds(std::int64_t n) {
    return {n * 1'000};
}
constexpr Duration milliseconds(std::int64_t n) {
    return {n * 1'000'000};
}
constexpr Duration seconds(std::int64_t n) {
    return {n * 1'000'000'000};
}

// Monotonic: CLOCK_MONOTONIC in the server, virtual in tests.
struct Instant {
    std::int64_t ns = 0;
    constexpr auto operator<=>(const Instant&) const = default;
    static constexpr Instant never() { return {INT64_MAX}; }
};
constexpr Instant operator+(Instant a, Duration d) {
    return a.ns > INT64_MAX - d.ns ? Instant::never() : Instant{a.ns + d.ns};
}
constexpr Duration operator-(Instant a, Instant b) {
    return {a.ns - b.ns};
}

// Milliseconds since the Unix epoch. A different type from Instant on purpose: wall clocks jump.
struct WallTime {
    std::int64_t ms = 0;
    constexpr auto operator<=>(const WallTime&) const = default;
};

// What a turn knows of time.
struct Now {
    Instant mono;
    WallTime wall;
};

}  // namespace ursula::base
