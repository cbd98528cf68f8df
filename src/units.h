// Sizes, durations and percentages as people write them in configuration, and back. Strict: what is
// written means one thing. No exceptions; a refusal says what is wrong and what to write instead.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

#include "base/time.h"

namespace ursula {

struct UnitError {
    std::string message;  // what is wrong with the text, the text quoted in it
    std::string hint;     // what to write, a clause of its own
};

// "64KiB", "16MiB", "1GiB", "2TiB", "512B", "4096". A number alone means bytes. Units are powers of
// 1024 and are spelt exactly: "16MB" is refused with "16MiB" as the suggestion, because half of the
// readers would take it for 16,000,000.
[[nodiscard]] tl::expected<std::uint64_t, UnitError> parse_size(std::string_view text);

// "500ms", "20s", "1m", "1h", "250us". A unit is required.
[[nodiscard]] tl::expected<base::Duration, UnitError> parse_duration(std::string_view text);

// "5%", "2.5%", "0.25%": hundredths of a percent, 0 .. 10'000.
[[nodiscard]] tl::expected<std::uint32_t, UnitError> parse_percent(std::string_view text);

// A short exact spelling that parses back to the same value: "16MiB", "1536KiB", "1000" · "60s",
// "1500ms", "1h" · "2.5%".
[[nodiscard]] std::string format_size(std::uint64_t bytes);
[[nodiscard]] std::string format_duration(base::Duration duration);
[[nodiscard]] std::string format_percent(std::uint32_t hundredths);

}  // namespace ursula
