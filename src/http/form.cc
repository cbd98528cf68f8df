#include "http/form.h"

#define ZLIB_CONST  // its input pointers are const
#include <zlib.h>

#include "base/bytes.h"
#include "base/limits.h"
#include "base/verify.h"

namespace ursula::http {

namespace {

char lower(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
}

bool equals_lower(std::string_view text, std::string_view wanted) {
    if (text.size() != wanted.size()) {
        return false;
    }
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (lower(text[i]) != wanted[i]) {
            return false;
        }
    }
    return true;
}

std::string_view trim(std::string_view text) {
    const std::size_t first = text.find_first_not_of(" \t");
    if (first == std::string_view::npos) {
        return {};
    }
    return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

// "q=0", "q=0.0", ...: not wanted (RFC 9110, 12.4.2).
bool is_zero_weight(std::string_view parameter) {
    const std::size_t equals = parameter.find('=');
    if (equals == std::string_view::npos || !equals_lower(trim(parameter.substr(0, equals)), "q")) {
        return false;
    }
    return trim(parameter.substr(equals + 1)).find_first_not_of("0.") == std::string_view::npos;
}

// Whether a list of names with parameters has this one with a weight.
bool names(std::string_view list, std::string_view wanted) {
    while (!list.empty()) {
        const std::size_t comma = list.find(',');
        std::string_view item = list.substr(0, comma);
        list = comma == std::string_view::npos ? std::string_view() : list.substr(comma + 1);
        std::size_t semicolon = item.find(';');
        if (!equals_lower(trim(item.substr(0, semicolon)), wanted)) {
            continue;
        }
        bool refused = false;
        while (semicolon != std::string_view::npos) {
            item = item.substr(semicolon + 1);
            semicolon = item.find(';');
            refused = refused || is_zero_weight(item.substr(0, semicolon));
        }
        if (!refused) {
            return true;
        }
    }
    return false;
}

}  // namespace

Form wanted_form(std::string_view accept, std::string_view accept_encoding) {
    return {names(accept, "application/x-ndjson"), names(accept_encoding, "gzip")};
}

bool is_compressed(const Form& form, std::uint64_t stored_bytes) {
    return form.gzip && stored_bytes >= base::limits::gzip_bytes_min &&
           stored_bytes <= base::limits::gzip_bytes_max;
}

std::string as_lines(std::span<const base::Slice> pieces) {
    std::string out;
    bool in_string = false;
    bool escaped = false;
    std::size_t depth = 0;
    for (const base::Slice& piece : pieces) {
        for (const char c : base::as_text(piece.bytes())) {
            if (in_string) {
                in_string = escaped || c != '"';
                escaped = !escaped && c == '\\';
                out.push_back(c);
                continue;
            }
            in_string = c == '"';
            depth += c == '{' || c == '[' ? 1u : 0u;
            depth -= c == '}' || c == ']' ? 1u : 0u;
            out.push_back(c == ',' && depth == 0 ? '\n' : c == '\n' || c == '\r' ? ' ' : c);
        }
    }
    return out;
}

std::string compress(std::span<const std::string_view> parts) {
    constexpr int window_of_gzip = 15 + 16;
    constexpr int memory = 8;
    z_stream stream = {};
    // Memory is all that it can lack.
    VERIFY(deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, window_of_gzip, memory,
                        Z_DEFAULT_STRATEGY) == Z_OK);
    std::size_t size = 0;
    for (const std::string_view part : parts) {
        size += part.size();
    }
    std::string out(deflateBound(&stream, size), '\0');
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
    for (const std::string_view part : parts) {
        stream.next_in = reinterpret_cast<const Bytef*>(part.data());
        stream.avail_in = static_cast<uInt>(part.size());
        VERIFY(deflate(&stream, Z_NO_FLUSH) == Z_OK || stream.avail_in == 0);
    }
    VERIFY(deflate(&stream, Z_FINISH) == Z_STREAM_END);
    out.resize(stream.total_out);
    deflateEnd(&stream);
    return out;
}

}  // namespace ursula::http
