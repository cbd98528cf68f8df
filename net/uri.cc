#include "net/uri.h"

#include <algorithm>

#include "net/byte_scan.h"

namespace ursula::net {

namespace {

int hex_digit(char c) {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return -1;
}

// Undoes percent-escapes, once.
DecodedPath unescape(std::string_view raw, std::span<char> buffer) {
    if (raw.find('%') == std::string_view::npos) {
        return raw.size() > buffer.size() ? DecodedPath{{}, UriError::too_long}
                                          : DecodedPath{raw, UriError::none};
    }
    std::size_t used = 0;
    for (std::size_t i = 0; i < raw.size(); ++i) {
        char c = raw[i];
        if (c == '%') {
            const int high = i + 2 < raw.size() ? hex_digit(raw[i + 1]) : -1;
            const int low = i + 2 < raw.size() ? hex_digit(raw[i + 2]) : -1;
            if (high < 0 || low < 0) {
                return {{}, UriError::bad_escape};
            }
            c = static_cast<char>(high << 4 | low);
            i += 2;
        }
        if (used == buffer.size()) {
            return {{}, UriError::too_long};
        }
        buffer[used++] = c;
    }
    return {{buffer.data(), used}, UriError::none};
}

// Bytes that need a closer look: '%', '.', backslash, controls, DEL, what is not ASCII.
std::uint32_t special_mask(__m128i x) {
    const auto equal = [x](char c) { return _mm_cmpeq_epi8(x, _mm_set1_epi8(c)); };
    const __m128i low_or_high = _mm_cmplt_epi8(x, _mm_set1_epi8(0x20));  // signed: also from 0x80
    return static_cast<std::uint32_t>(_mm_movemask_epi8(
        _mm_or_si128(_mm_or_si128(low_or_high, equal(0x7f)),
                     _mm_or_si128(_mm_or_si128(equal('%'), equal('.')), equal('\\')))));
}

bool is_forbidden(char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte < 0x20 || byte == 0x7f || c == '\\';
}

bool has_dot_segment(std::string_view path) {
    while (!path.empty()) {
        const std::size_t slash = std::min(path.find('/'), path.size());
        const std::string_view segment = path.substr(0, slash);
        if (segment == "." || segment == "..") {
            return true;
        }
        path.remove_prefix(std::min(slash + 1, path.size()));
    }
    return false;
}

}  // namespace

bool valid_utf8(std::string_view text) {
    // Unicode 15 table 3-7: overlong forms, surrogates and what is beyond U+10FFFF are not well
    // formed.
    std::size_t i = 0;
    const auto at = [text](std::size_t k) {
        return k < text.size() ? static_cast<unsigned char>(text[k]) : 0u;
    };
    const auto follows = [&at](std::size_t k) { return (at(k) & 0xc0u) == 0x80u; };
    while (i < text.size()) {
        const unsigned a = at(i);
        const unsigned b = at(i + 1);
        if (a < 0x80) {
            i += 1;
        } else if (a >= 0xc2 && a <= 0xdf && follows(i + 1)) {
            i += 2;
        } else if (a >= 0xe0 && a <= 0xef && follows(i + 1) && follows(i + 2) &&
                   !(a == 0xe0 && b < 0xa0) && !(a == 0xed && b >= 0xa0)) {
            i += 3;
        } else if (a >= 0xf0 && a <= 0xf4 && follows(i + 1) && follows(i + 2) && follows(i + 3) &&
                   !(a == 0xf0 && b < 0x90) && !(a == 0xf4 && b >= 0x90)) {
            i += 4;
        } else {
            return false;
        }
    }
    return true;
}

bool may_be_in_path(std::string_view text) {
    return valid_utf8(text) && std::none_of(text.begin(), text.end(), is_forbidden);
}

DecodedPath decode_path(std::string_view raw, std::span<char> buffer) {
    // Most paths have nothing to decode or to refuse.
    if (raw.size() <= buffer.size() && !any_byte(raw, special_mask)) {
        return {raw, UriError::none};
    }
    const DecodedPath decoded = unescape(raw, buffer);
    if (decoded.error != UriError::none) {
        return decoded;
    }
    bool ascii = true;
    bool dots = false;
    for (const char c : decoded.text) {
        if (is_forbidden(c)) {
            return {{}, UriError::forbidden_byte};
        }
        ascii = ascii && static_cast<unsigned char>(c) < 0x80;
        dots = dots || c == '.';
    }
    if (!ascii && !valid_utf8(decoded.text)) {
        return {{}, UriError::bad_utf8};
    }
    if (dots && has_dot_segment(decoded.text)) {
        return {{}, UriError::dot_segment};
    }
    return decoded;
}

DecodedPath decode_query_value(std::string_view raw, std::span<char> buffer) {
    return unescape(raw, buffer);
}

bool QueryIterator::next(QueryParameter& parameter) {
    while (!rest_.empty()) {
        const std::size_t end = std::min(rest_.find('&'), rest_.size());
        const std::string_view piece = rest_.substr(0, end);
        rest_.remove_prefix(std::min(end + 1, rest_.size()));
        if (piece.empty()) {
            continue;
        }
        const std::size_t equals = piece.find('=');
        parameter.has_value = equals != std::string_view::npos;
        parameter.name = piece.substr(0, equals);
        parameter.value = parameter.has_value ? piece.substr(equals + 1) : std::string_view();
        return true;
    }
    return false;
}

}  // namespace ursula::net
