#include "base/base64url.h"

namespace ursula::base {

namespace {

constexpr std::string_view alphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

}  // namespace

std::string to_base64url(Bytes bytes) {
    std::string text;
    unsigned bits = 0;
    unsigned held = 0;
    for (const std::byte one : bytes) {
        held = (held << 8 | std::to_integer<unsigned>(one)) & 0xffffu;
        bits += 8;
        while (bits >= 6) {
            bits -= 6;
            text += alphabet[held >> bits & 63u];
        }
    }
    if (bits > 0) {
        text += alphabet[held << (6 - bits) & 63u];
    }
    return text;
}

std::optional<std::vector<std::byte>> from_base64url(std::string_view text) {
    std::vector<std::byte> bytes;
    unsigned bits = 0;
    unsigned held = 0;
    for (const char c : text) {
        const std::size_t value = alphabet.find(c);
        if (value == std::string_view::npos) {
            return std::nullopt;
        }
        held = (held << 6 | static_cast<unsigned>(value)) & 0xffffu;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            bytes.push_back(static_cast<std::byte>(held >> bits & 0xffu));
        }
    }
    if (bits >= 6 || (held & ((1u << bits) - 1)) != 0) {
        return std::nullopt;
    }
    return bytes;
}

}  // namespace ursula::base
