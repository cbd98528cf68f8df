// What all shards of a node without a data directory may keep together (storage.hot_bytes). Each
// takes slabs of it as it fills, so one busy shard may use what the others do not. Any thread.
#pragma once

#include <atomic>
#include <cstdint>

namespace ursula::base {

class MemoryCapacity {
  public:
    explicit MemoryCapacity(std::uint64_t bytes) : left_(bytes) {}

    // All or nothing.
    [[nodiscard]] bool take(std::uint64_t bytes) {
        std::uint64_t left = left_.load(std::memory_order_relaxed);
        while (left >= bytes) {
            if (left_.compare_exchange_weak(left, left - bytes, std::memory_order_relaxed)) {
                return true;
            }
        }
        return false;
    }
    void give(std::uint64_t bytes) { left_.fetch_add(bytes, std::memory_order_relaxed); }
    std::uint64_t left() const { return left_.load(std::memory_order_relaxed); }

    static constexpr std::uint64_t slab_bytes = std::uint64_t{1} << 20;

  private:
    std::atomic<std::uint64_t> left_;
};

}  // namespace ursula::base
