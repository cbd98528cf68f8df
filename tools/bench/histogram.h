// A log-linear histogram of non-negative numbers: 64 steps per doubling, so a reported value is
// within 0.8 % of a recorded one. Fixed size, nothing allocated.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace ursula::bench {

class Histogram {
  public:
    void record(std::int64_t value) {
        const auto number = static_cast<std::uint64_t>(std::max<std::int64_t>(value, 0));
        ++counts_[slot_of(number)];
        ++count_;
        max_ = std::max(max_, number);
        sum_ += number;
    }
    std::uint64_t count() const { return count_; }
    std::uint64_t max() const { return max_; }
    double mean() const {
        return count_ == 0 ? 0.0 : static_cast<double>(sum_) / static_cast<double>(count_);
    }
    // The middle of the step that holds the value at `quantile` (0..1) of all recorded ones; 0 when
    // there are none.
    std::uint64_t quantile(double quantile) const {
        const auto rank = std::max<std::uint64_t>(
            1, static_cast<std::uint64_t>(std::ceil(quantile * static_cast<double>(count_))));
        std::uint64_t seen = 0;
        for (std::size_t slot = 0; slot < counts_.size(); ++slot) {
            seen += counts_[slot];
            if (seen >= rank) {
                return std::min(middle_of(slot), max_);
            }
        }
        return max_;
    }
    void clear() { *this = Histogram{}; }

  private:
    static constexpr unsigned step_bits = 6;  // 64 steps per doubling
    static constexpr std::uint64_t steps = 1u << step_bits;

    // Values below 64 have a slot each; above, the six bits after the leading one choose it.
    static std::size_t slot_of(std::uint64_t value) {
        if (value < steps) {
            return static_cast<std::size_t>(value);
        }
        const auto shift = static_cast<unsigned>(std::bit_width(value)) - 1 - step_bits;
        return static_cast<std::size_t>((std::uint64_t{shift} + 1) * steps +
                                        ((value >> shift) - steps));
    }
    static std::uint64_t middle_of(std::size_t slot) {
        if (slot < steps) {
            return slot;
        }
        const std::uint64_t shift = slot / steps - 1;
        const std::uint64_t low = (slot % steps + steps) << shift;
        return low + ((std::uint64_t{1} << shift) >> 1);
    }

    std::array<std::uint64_t, (64 - step_bits + 1) * steps> counts_{};
    std::uint64_t count_ = 0;
    std::uint64_t max_ = 0;
    std::uint64_t sum_ = 0;
};

}  // namespace ursula::bench
