// Media types as far as the protocol looks at them (protocol digest 1.1): the part before ';',
// trimmed, in any case. The string itself is stored and returned verbatim.
#pragma once

#include <cstddef>
#include <string_view>

namespace ursula::api {

constexpr std::string_view default_content_type = "application/octet-stream";

// "Text/Plain ; charset=utf-8" -> "Text/Plain".
constexpr std::string_view media_type(std::string_view content_type) {
    std::string_view type = content_type.substr(0, content_type.find(';'));
    while (!type.empty() && (type.front() == ' ' || type.front() == '\t')) {
        type.remove_prefix(1);
    }
    while (!type.empty() && (type.back() == ' ' || type.back() == '\t')) {
        type.remove_suffix(1);
    }
    return type;
}

constexpr char ascii_lower(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
}

constexpr bool equal_ignoring_case(std::string_view a, std::string_view b) {
    if (a.size() != b.size()) {
        return false;
    }
    for (std::size_t i = 0; i < a.size(); ++i) {
        if (ascii_lower(a[i]) != ascii_lower(b[i])) {
            return false;
        }
    }
    return true;
}

constexpr bool same_media_type(std::string_view a, std::string_view b) {
    return a == b || equal_ignoring_case(media_type(a), media_type(b));
}

// JSON mode is exactly this type: not +json, not ndjson, not json-seq.
constexpr bool is_json(std::string_view content_type) {
    return equal_ignoring_case(media_type(content_type), "application/json");
}

// Types whose server-sent events carry the bytes as lines; all others but JSON are base64.
constexpr bool is_text(std::string_view content_type) {
    const std::string_view type = media_type(content_type);
    return type.size() > 5 && equal_ignoring_case(type.substr(0, 5), "text/");
}

// Something that looks like type/subtype in token characters; an empty or garbled header on PUT
// counts as absent.
constexpr bool is_media_type(std::string_view content_type) {
    const std::string_view type = media_type(content_type);
    const std::size_t slash = type.find('/');
    if (slash == std::string_view::npos || slash == 0 || slash + 1 == type.size()) {
        return false;
    }
    for (std::size_t i = 0; i < type.size(); ++i) {
        const char c = type[i];
        const bool alphanumeric =
            (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!alphanumeric && i != slash &&
            std::string_view("!#$%&'*+-.^_`|~").find(c) == std::string_view::npos) {
            return false;
        }
    }
    return true;
}

}  // namespace ursula::api
