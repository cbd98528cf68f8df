// Instants as clients write them: RFC 3339 5.6, strictly.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace ursula::http {

// Milliseconds since the Unix epoch, rounded up: nothing happens before the instant. With Z or a
// numeric offset, at most nine digits of a second's fraction; 60 seconds only where a leap second
// can be, and then the second after.
std::optional<std::int64_t> parse_instant(std::string_view text);

}  // namespace ursula::http
