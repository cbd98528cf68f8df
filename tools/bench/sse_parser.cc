#include "tools/bench/sse_parser.h"

namespace ursula::bench {

void SseParser::take_control(std::string_view line) {
    constexpr std::string_view key = "\"streamNextOffset\":\"";
    const std::size_t at = line.find(key);
    if (at != std::string_view::npos) {
        line.remove_prefix(at + key.size());
        next_offset_ = line.substr(0, line.find('"'));
    }
}

}  // namespace ursula::bench
