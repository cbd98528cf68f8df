// Names as JSON strings.
#pragma once

#include <string>
#include <string_view>

namespace ursula::base {

// A stream's, bucket's or subscription's name between quotes: valid UTF-8 without controls.
inline void append_json_name(std::string& out, std::string_view name) {
    out += '"';
    for (const char c : name) {
        if (c == '"' || c == '\\') {
            out += '\\';
        }
        out += c;
    }
    out += '"';
}

}  // namespace ursula::base
