// Numbers a loop keeps about itself and another core may read: written by one thread with plain
// relaxed stores (no locked instruction, no cache line that two cores write), read by any. A reader
// sees each number as it was a moment ago; numbers of one scrape need not fit together exactly.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "base/time.h"

namespace ursula::base {

// A counter (only add) or a gauge (also subtract and set). One writer.
class Metric {
  public:
    void add(std::uint64_t n = 1) { set(value() + n); }
    void subtract(std::uint64_t n = 1) { set(value() - n); }
    void set(std::uint64_t n) { value_.store(n, std::memory_order_relaxed); }
    std::uint64_t value() const { return value_.load(std::memory_order_relaxed); }

  private:
    std::atomic<std::uint64_t> value_{0};
};

// Durations in log-linear buckets: four per power of two, so a quantile read from them is at most
// 25 % too large. Recording is a bit scan and two stores. One writer.
class Histogram {
  public:
    static constexpr std::size_t first_power = 12;  // below 4.096 us everything is one bucket
    static constexpr std::size_t last_power = 34;   // from 17.2 s on everything is one bucket
    static constexpr std::size_t parts = 4;
    // The first and the last hold what is below and above.
    static constexpr std::size_t bucket_count = (last_power - first_power) * parts + 2;

    void record(Duration duration) {
        const auto ns = static_cast<std::uint64_t>(duration.ns > 0 ? duration.ns : 0);
        buckets_[bucket_of(ns)].add();
        sum_ns_.add(ns);
    }
    std::uint64_t count(std::size_t bucket) const { return buckets_[bucket].value(); }
    std::uint64_t sum_ns() const { return sum_ns_.value(); }

    static constexpr std::size_t bucket_of(std::uint64_t ns) {
        if (ns < (1ull << first_power)) {
            return 0;
        }
        if (ns >= (1ull << last_power)) {
            return bucket_count - 1;
        }
        const auto power = static_cast<std::size_t>(std::bit_width(ns)) - 1;
        const std::uint64_t part = (ns >> (power - 2)) & (parts - 1);
        return 1 + (power - first_power) * parts + part;
    }
    // The bucket holds durations below this one; not for the last bucket, which has no end.
    static constexpr std::uint64_t end_ns(std::size_t bucket) {
        if (bucket == 0) {
            return 1ull << first_power;
        }
        const std::size_t power = first_power + (bucket - 1) / parts;
        const std::size_t part = (bucket - 1) % parts;
        return (1ull << power) + (part + 1) * (1ull << (power - 2));
    }

  private:
    std::array<Metric, bucket_count> buckets_{};
    Metric sum_ns_;
};

}  // namespace ursula::base
