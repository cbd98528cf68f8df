// What the admin plane answers with, and the numbers it is asked with.
#pragma once

#include <charconv>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "api/reply.h"

namespace ursula::admin {

struct Response {
    int status = 200;
    std::string body;  // JSON, ending in a newline; of a problem: empty
    std::string_view code;
    std::string title;
    std::string hint;
    std::string_view allow;  // of a 405
    // A group's leader refused: the words for it are those that clients get, and nothing else here
    // counts.
    std::optional<api::Refused> refused;
};

inline Response problem(int status, std::string_view code, std::string title, std::string hint) {
    Response response;
    response.status = status;
    response.code = code;
    response.title = std::move(title);
    response.hint = std::move(hint);
    return response;
}

// Digits and nothing else.
template <class Number>
std::optional<Number> parse_decimal(std::string_view text) {
    Number number = 0;
    const char* end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data(), end, number);
    if (text.empty() || error != std::errc() || rest != end) {
        return std::nullopt;
    }
    return number;
}

}  // namespace ursula::admin
