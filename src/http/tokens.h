// The tokens of the protocol: offsets, cursors, ETags. Pure text <-> value.
// Offset: 16 digits '_' 16 digits, first field 0, second the byte position (DESIGN "Offsets").
// Plain string order is position order.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/ids.h"
#include "base/random.h"
#include "base/time.h"
#include "http/form.h"

namespace ursula::http {

constexpr std::size_t offset_token_bytes = 33;

// Writes exactly offset_token_bytes at `out`. Positions stay below 10^16 (VERIFY).
void write_offset(char* out, std::uint64_t position);
std::string offset_token(std::uint64_t position);

// A token of our grammar and nothing else. A first field above 0 is beyond every stream:
// UINT64_MAX.
std::optional<std::uint64_t> parse_offset(std::string_view token);

// Protocol digest 2.8: intervals of 20 s since 2024-10-09T00:00:00Z.
std::uint64_t cursor_interval(base::WallTime now);
// What to answer a client that sent `client` (empty: none): the interval, or above the client's own
// when that is not below it, by 1 .. 180 intervals. Anything but digits counts as none; the sum
// saturates.
std::uint64_t next_cursor(std::string_view client, base::WallTime now, base::Random& random);

// Strong, quoted: identity of the incarnation, the range, closure and the form it is sent in
// (digest 2.9).
std::string etag(std::uint64_t data_id, const base::Incarnation& incarnation, std::uint64_t from,
                 std::uint64_t to, bool closed, const Form& form = {});
// RFC 9110 13.1.2: `*`, lists, weak comparison.
bool etag_matches(std::string_view if_none_match, std::string_view tag);

// Decimal digits of `value` at `out` (20 bytes at most); returns the end.
char* write_decimal(char* out, std::uint64_t value);

}  // namespace ursula::http
