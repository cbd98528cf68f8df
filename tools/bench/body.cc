#include "tools/bench/body.h"

#include <array>

namespace ursula::bench {
namespace {

constexpr std::string_view letters = "abcdefghijklmnopqrstuvwxyz";

void pad_with_letters(std::string& text, std::size_t bytes) {
    while (text.size() < bytes) {
        text.push_back(letters[text.size() % letters.size()]);
    }
}

constexpr std::array<signed char, 256> base64_values() {
    std::array<signed char, 256> values{};
    for (auto& value : values) {
        value = -1;
    }
    constexpr std::string_view alphabet =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (std::size_t i = 0; i < alphabet.size(); ++i) {
        values[static_cast<unsigned char>(alphabet[i])] = static_cast<signed char>(i);
    }
    return values;
}

}  // namespace

Body make_body(const Options& options, bool stamped) {
    Body body;
    body.stamped = stamped;
    std::string stamp(stamp_bytes, '0');
    if (stamped) {
        stamp[0] = stamp_mark;
    }
    const std::size_t bytes = options.body_bytes;
    if (!options.is_json()) {
        body.text.append(stamped ? std::string_view{stamp} : std::string_view{});
        pad_with_letters(body.text, bytes);
        return body;
    }
    constexpr std::string_view tail = "\"}";
    constexpr std::string_view begin = "{\"id\":\"";
    constexpr std::string_view middle = "\",\"n\":12345,\"ok\":true,\"x\":-1.5e3,\"p\":\"";
    if (bytes < begin.size() + stamp_bytes + middle.size() + tail.size()) {
        if (bytes < 2) {  // too small for the object: a digit or a string
            body.text.push_back('1');
            return body;
        }
        body.text.push_back('"');
        pad_with_letters(body.text, bytes - 1);
        body.text.push_back('"');
        return body;
    }
    body.text.append(begin).append(stamp).append(middle);
    body.stamp_at = begin.size();
    pad_with_letters(body.text, bytes - tail.size());
    body.text.append(tail);
    return body;
}

void write_stamp(char* at, std::int64_t ns) {
    constexpr std::string_view digits = "0123456789abcdef";
    auto value = static_cast<std::uint64_t>(ns);
    *at = stamp_mark;
    for (std::size_t i = stamp_digits; i > 0; --i, value >>= 4) {
        at[i] = digits[value & 15];
    }
}

std::int64_t read_stamp(const char* digits) {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < stamp_digits; ++i) {
        const char c = digits[i];
        if (c >= '0' && c <= '9') {
            value = value << 4 | static_cast<std::uint64_t>(c - '0');
        } else if (c >= 'a' && c <= 'f') {
            value = value << 4 | static_cast<std::uint64_t>(c - 'a' + 10);
        } else {
            return -1;
        }
    }
    return static_cast<std::int64_t>(value);
}

bool decode_base64(std::string_view text, std::string& out) {
    static constexpr auto values = base64_values();
    if (text.size() % 4 != 0) {
        return false;
    }
    for (std::size_t at = 0; at < text.size(); at += 4) {
        std::uint32_t bits = 0;
        std::size_t padding = 0;
        for (std::size_t i = 0; i < 4; ++i) {
            const char c = text[at + i];
            const int value = values[static_cast<unsigned char>(c)];
            if (c == '=' && at + 4 == text.size() && i >= 2) {
                ++padding;
            } else if (value < 0 || padding > 0) {
                return false;
            }
            bits = bits << 6 | static_cast<std::uint32_t>(value < 0 ? 0 : value);
        }
        for (std::size_t i = 0; i < 3 - padding; ++i) {
            out.push_back(static_cast<char>(bits >> (16 - 8 * i) & 0xff));
        }
    }
    return true;
}

}  // namespace ursula::bench
