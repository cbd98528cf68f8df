// Reads a server-sent event stream of this protocol line by line: stamps out of data events, the
// next offset out of control events.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "tools/bench/body.h"

namespace ursula::bench {

class SseParser {
  public:
    void set_base64(bool base64) { base64_ = base64; }
    // Where to resume; empty before the first control event.
    const std::string& next_offset() const { return next_offset_; }

    // Calls on_stamp(ns) for each append found. False when a data line is not what the server
    // promised.
    template <class OnStamp>
    bool feed(std::string_view bytes, OnStamp&& on_stamp) {
        while (!bytes.empty()) {
            const std::size_t end = bytes.find('\n');
            if (end == std::string_view::npos) {
                carry_.append(bytes);
                return true;
            }
            std::string_view line = bytes.substr(0, end);
            bytes.remove_prefix(end + 1);
            if (!carry_.empty()) {
                carry_.append(line);
                line = carry_;
            }
            const bool good = take_line(line, on_stamp);
            carry_.clear();
            if (!good) {
                return false;
            }
        }
        return true;
    }

  private:
    template <class OnStamp>
    bool take_line(std::string_view line, OnStamp&& on_stamp) {
        if (line.empty()) {
            control_ = false;
        } else if (line.starts_with("event:")) {
            control_ = line.ends_with("control");
        } else if (line.starts_with("data:")) {
            line.remove_prefix(5);
            if (control_) {
                take_control(line);
                return true;
            }
            if (base64_) {
                decoded_.clear();
                if (!decode_base64(line, decoded_)) {
                    return false;
                }
                line = decoded_;
            }
            std::size_t at = line.find(stamp_mark);
            while (at != std::string_view::npos && line.size() - at >= stamp_bytes) {
                on_stamp(read_stamp(line.data() + at + 1));
                at = line.find(stamp_mark, at + stamp_bytes);
            }
        }
        return true;
    }
    void take_control(std::string_view line);

    bool base64_ = false;
    bool control_ = false;
    std::string carry_;    // a line that came in parts
    std::string decoded_;  // of the last base64 line
    std::string next_offset_;
};

}  // namespace ursula::bench
