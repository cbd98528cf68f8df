// Server-sent events as the HTML standard reads them ("Interpreting an event stream"), written down
// rule by rule, and without its leniency: a line that no writer of ours makes is an error.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ursula::test_support {

struct SseEvent {
    std::string kind;
    std::string id;
    std::string data;  // its lines, joined by LF
    std::size_t lines = 0;
};

// Nothing when the text is not whole events of ours, each ended by an empty line.
inline std::optional<std::vector<SseEvent>> read_sse(std::string_view text) {
    std::vector<SseEvent> events;
    SseEvent event;
    bool begun = false;
    while (!text.empty()) {
        const std::size_t end = text.find_first_of("\r\n");
        if (end == std::string_view::npos) {
            return std::nullopt;
        }
        const std::string_view line = text.substr(0, end);
        text.remove_prefix(end + (text.substr(end, 2) == "\r\n" ? 2 : 1));
        if (line.empty()) {
            if (!begun || event.kind.empty()) {
                return std::nullopt;
            }
            events.push_back(event);
            event = {};
            begun = false;
            continue;
        }
        begun = true;
        if (line.substr(0, 5) == "data:") {
            event.data += event.lines++ == 0 ? "" : "\n";
            event.data += line.substr(line.substr(5, 1) == " " ? 6 : 5);
        } else if (line.substr(0, 7) == "event: " && event.kind.empty() && event.lines == 0) {
            event.kind = line.substr(7);
        } else if (line.substr(0, 4) == "id: " && event.id.empty() && event.kind.empty()) {
            event.id = line.substr(4);
        } else {
            return std::nullopt;
        }
    }
    return begun ? std::nullopt : std::optional(events);
}

}  // namespace ursula::test_support
