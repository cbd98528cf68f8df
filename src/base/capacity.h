// A bound that all loops of a node share, in bytes or in things: each takes what it needs and gives
// it back. Without a data directory it is storage.hot_bytes, taken in slabs as a shard fills; and
// it is server.max_connections. Any thread.
#pragma once

#include <atomic>
#include <cstdint>

namespace ursula::base {

class Capacity {
  public:
    explicit Capacity(std::uint64_t all) : all_(all), left_(all) {}

    // All or nothing.
    [[nodiscard]] bool take(std::uint64_t count) {
        std::uint64_t left = left_.load(std::memory_order_relaxed);
        while (left >= count) {
            if (left_.compare_exchange_weak(left, left - count, std::memory_order_relaxed)) {
                return true;
            }
        }
        return false;
    }
    void give(std::uint64_t count) { left_.fetch_add(count, std::memory_order_relaxed); }
    std::uint64_t all() const { return all_; }
    std::uint64_t left() const { return left_.load(std::memory_order_relaxed); }

    static constexpr std::uint64_t slab_bytes = std::uint64_t{1} << 20;

  private:
    const std::uint64_t all_;
    std::atomic<std::uint64_t> left_;
};

}  // namespace ursula::base
