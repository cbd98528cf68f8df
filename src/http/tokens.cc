#include "http/tokens.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "base/verify.h"
#include "http/planted.h"

namespace ursula::http {
namespace {

constexpr std::uint64_t position_end = 10'000'000'000'000'000u;  // 10^16
constexpr std::int64_t cursor_epoch_ms = 1'728'432'000'000;      // 2024-10-09T00:00:00Z
constexpr std::int64_t cursor_interval_ms = 20'000;
constexpr std::uint64_t cursor_jitter_max = 180;  // 3600 s / 20 s

constexpr auto digit_pairs = [] {
    std::array<char, 200> pairs{};
    for (std::size_t i = 0; i < 100; ++i) {
        pairs[2 * i] = static_cast<char>('0' + i / 10);
        pairs[2 * i + 1] = static_cast<char>('0' + i % 10);
    }
    return pairs;
}();

std::optional<std::uint64_t> sixteen_digits(std::string_view text) {
    std::uint64_t value = 0;
    for (char c : text) {
        if (c < '0' || c > '9') {
            return std::nullopt;
        }
        value = value * 10 + static_cast<std::uint64_t>(c - '0');
    }
    return value;
}

}  // namespace

void write_offset(char* out, std::uint64_t position) {
    VERIFY(position < position_end);
    std::memcpy(out, "0000000000000000_0000000000000000", offset_token_bytes);
    char* at = out + offset_token_bytes;
    while (position != 0) {
        at -= 2;
        std::memcpy(at, digit_pairs.data() + 2 * (position % 100), 2);
        position /= 100;
    }
}

std::string offset_token(std::uint64_t position) {
    std::string token(offset_token_bytes, '\0');
    write_offset(token.data(), position);
    return token;
}

std::optional<std::uint64_t> parse_offset(std::string_view token) {
    if (token.size() != offset_token_bytes || token[16] != '_') {
        return std::nullopt;
    }
    const auto first = sixteen_digits(token.substr(0, 16));
    const auto second = sixteen_digits(token.substr(17));
    if (!first || !second) {
        return std::nullopt;
    }
    return *first == 0 ? *second : UINT64_MAX;
}

std::uint64_t cursor_interval(base::WallTime now) {
    return static_cast<std::uint64_t>(std::max<std::int64_t>(0, now.ms - cursor_epoch_ms) /
                                      cursor_interval_ms);
}

std::uint64_t next_cursor(std::string_view client, base::WallTime now, base::Random& random) {
    const std::uint64_t interval = cursor_interval(now);
    std::uint64_t sent = 0;
    const auto [end, error] = std::from_chars(client.data(), client.data() + client.size(), sent);
    if (client.empty() || error != std::errc() || end != client.data() + client.size() ||
        sent < interval) {
        return interval;
    }
    const std::uint64_t step =
        planted(Planted::poll_keeps_cursor) ? 0 : 1 + random.below(cursor_jitter_max);
    return sent > UINT64_MAX - step ? UINT64_MAX : sent + step;
}

std::string etag(std::uint64_t data_id, const base::Incarnation& incarnation, std::uint64_t from,
                 std::uint64_t to, bool closed, const Form& form) {
    std::array<char, 160> text;
    char* at = text.data();
    *at++ = '"';
    if (data_id != 0) {
        at = write_decimal(at, data_id);
        *at++ = '.';
    }
    at = write_decimal(at, incarnation.group.value);
    *at++ = '.';
    const bool lifeless = planted(Planted::tag_without_life);
    at = write_decimal(at, lifeless ? 0 : incarnation.index.value);
    *at++ = '.';
    at = write_decimal(at, lifeless ? 0 : incarnation.ordinal);
    *at++ = ':';
    at = write_decimal(at, from);
    *at++ = ':';
    at = write_decimal(at, to);
    if (closed) {
        *at++ = ':';
        *at++ = 'c';
    }
    if (form.lines && !planted(Planted::tag_without_form)) {
        *at++ = ':';
        *at++ = 'l';
    }
    if (form.gzip) {
        *at++ = ':';
        *at++ = 'z';
    }
    *at++ = '"';
    return {text.data(), at};
}

bool etag_matches(std::string_view if_none_match, std::string_view tag) {
    while (!if_none_match.empty()) {
        const std::size_t start = if_none_match.find_first_not_of(" \t,");
        if (start == std::string_view::npos) {
            return false;
        }
        if_none_match.remove_prefix(start);
        if (if_none_match[0] == '*') {
            return true;
        }
        if (if_none_match.starts_with("W/")) {
            if_none_match.remove_prefix(2);
        }
        if (if_none_match.empty() || if_none_match[0] != '"') {
            return false;
        }
        const std::size_t end = if_none_match.find('"', 1);
        if (end == std::string_view::npos) {
            return false;
        }
        if (if_none_match.substr(0, end + 1) == tag) {
            return true;
        }
        if_none_match.remove_prefix(end + 1);
    }
    return false;
}

char* write_decimal(char* out, std::uint64_t value) {
    return std::to_chars(out, out + 20, value).ptr;
}

}  // namespace ursula::http
