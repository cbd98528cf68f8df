#include "stream/json_prefix.h"

namespace ursula::stream {

std::optional<std::uint64_t> json_prefix_bytes(std::span<const base::Slice> stored,
                                               std::uint64_t count) {
    std::uint64_t bytes = 0;
    std::uint64_t depth = 0;
    bool in_string = false;
    bool escaped = false;
    if (count == 0) {
        return 0;
    }
    for (const base::Slice& slice : stored) {
        for (const std::byte byte : slice.bytes()) {
            const char c = static_cast<char>(byte);
            ++bytes;
            if (in_string) {
                in_string = escaped || c != '"';
                escaped = !escaped && c == '\\';
            } else if (c == '"') {
                in_string = true;
            } else if (c == '[' || c == '{') {
                ++depth;
            } else if (c == ']' || c == '}') {
                --depth;
            } else if (c == ',' && depth == 0 && --count == 0) {
                return bytes;
            }
        }
    }
    return std::nullopt;
}

}  // namespace ursula::stream
