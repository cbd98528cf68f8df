// Paths and queries. A path is decoded exactly once, by the rules of DESIGN "Identity and URLs".
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace ursula::net {

enum class UriError : std::uint8_t {
    none,
    bad_escape,  // '%' without two hex digits
    bad_utf8,
    forbidden_byte,  // NUL, a control, DEL, or a backslash
    dot_segment,     // "." or ".." between slashes, after decoding
    too_long,        // more than the buffer takes
};

struct DecodedPath {
    std::string_view text;  // in the caller's buffer, or the raw path itself when it had no escape
    UriError error = UriError::none;
};

// raw: as in Request::path. "%2F" becomes "/". Empty segments are kept: what they mean is the
// caller's business.
[[nodiscard]] DecodedPath decode_path(std::string_view raw, std::span<char> buffer);

// Percent-decoding of one query value: bad escapes are refused, bytes are otherwise free (the
// caller's grammar decides).
// '+' stays '+'.
[[nodiscard]] DecodedPath decode_query_value(std::string_view raw, std::span<char> buffer);

// Walks "a=1&b&c=": names and values raw. Duplicates show as often as they occur; empty pieces
// ("&&") are skipped.
struct QueryParameter {
    std::string_view name;
    std::string_view value;
    bool has_value = false;  // "a=" has one, "a" has none
};
class QueryIterator {
  public:
    explicit QueryIterator(std::string_view query) : rest_(query) {}
    bool next(QueryParameter& parameter);

  private:
    std::string_view rest_;
};

[[nodiscard]] bool valid_utf8(std::string_view text);
// Of bytes that decode_path lets through; dot segments are another matter.
[[nodiscard]] bool may_be_in_path(std::string_view text);

}  // namespace ursula::net
