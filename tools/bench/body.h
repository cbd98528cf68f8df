// The bodies that are appended: fixed bytes of the asked size, with a stamp when readers measure
// deliveries.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "tools/bench/options.h"

namespace ursula::bench {

// A stamp is '~' and 16 hex digits of the nanosecond the append was due. No other part of a body
// has a '~', so a reader finds stamps in any framing of text, JSON or decoded base64.
constexpr char stamp_mark = '~';
constexpr std::size_t stamp_digits = 16;
constexpr std::size_t stamp_bytes = 1 + stamp_digits;
constexpr std::size_t stamped_body_bytes_min = 80;

struct Body {
    std::string text;
    std::size_t stamp_at = 0;  // where '~' stands, when `stamped`
    bool stamped = false;
};

// Valid JSON of exactly that size when the content type is JSON, else letters.
Body make_body(const Options& options, bool stamped);

void write_stamp(char* at, std::int64_t ns);
// -1 when the digits are none.
std::int64_t read_stamp(const char* digits);

// Decodes standard base64 with padding and appends the bytes; false when it is none.
bool decode_base64(std::string_view text, std::string& out);

}  // namespace ursula::bench
