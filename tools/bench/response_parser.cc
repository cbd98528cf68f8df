#include "tools/bench/response_parser.h"

namespace ursula::bench {

std::string_view find_header(std::string_view head, std::string_view name) {
    const auto lower = [](char c) {
        return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
    };
    std::size_t at = head.find('\n');
    while (at != std::string_view::npos) {
        std::string_view line = head.substr(at + 1);
        at = head.find('\n', at + 1);
        if (line.size() <= name.size() || line[name.size()] != ':' || lower(line[0]) != name[0]) {
            continue;
        }
        if (!std::equal(name.begin(), name.end(), line.begin(),
                        [lower](char want, char is) { return want == lower(is); })) {
            continue;
        }
        line.remove_prefix(name.size() + 1);
        line = line.substr(0, line.find('\r'));
        while (!line.empty() && (line.front() == ' ' || line.front() == '\t')) {
            line.remove_prefix(1);
        }
        while (!line.empty() && (line.back() == ' ' || line.back() == '\t')) {
            line.remove_suffix(1);
        }
        return line;
    }
    return {};
}

}  // namespace ursula::bench
