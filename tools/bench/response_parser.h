// Reads HTTP/1.1 responses as fast as they come: status, length or chunked framing, nothing else.
// The caller finds what it wants in the head. For servers under test, so it is strict where a wrong
// reply would falsify a figure.
#pragma once

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace ursula::bench {

// The value of a header in a response's head, without surrounding blanks; empty when absent. `name`
// is lower case.
std::string_view find_header(std::string_view head, std::string_view name);

class ResponseParser {
  public:
    // Calls sink.on_head(status, head), sink.on_body(bytes) any number of times and sink.on_end()
    // for each response. False when the bytes are no response; the parser is of no use after that.
    template <class Sink>
    bool feed(std::string_view bytes, Sink& sink) {
        while (!bytes.empty()) {
            switch (state_) {
                case State::head:
                    if (!feed_head(bytes, sink)) {
                        return false;
                    }
                    break;
                case State::body: {
                    const auto part = bytes.substr(0, std::min<std::uint64_t>(left_, bytes.size()));
                    left_ -= part.size();
                    bytes.remove_prefix(part.size());
                    sink.on_body(part);
                    if (left_ == 0) {
                        finish(sink);
                    }
                    break;
                }
                case State::chunk_data: {
                    const auto part = bytes.substr(0, std::min<std::uint64_t>(left_, bytes.size()));
                    left_ -= part.size();
                    bytes.remove_prefix(part.size());
                    sink.on_body(part);
                    if (left_ == 0) {
                        state_ = State::chunk_end;
                    }
                    break;
                }
                case State::chunk_size:
                case State::chunk_end:
                case State::trailer:
                    if (!feed_line(bytes, sink)) {
                        return false;
                    }
                    break;
            }
        }
        return true;
    }
    // Bytes of the body that are known to follow; 0 inside a head or a chunked body.
    std::uint64_t body_left() const { return state_ == State::body ? left_ : 0; }
    bool before_head() const { return state_ == State::head && carry_.empty(); }
    // The caller took that many bytes of the body from the socket itself; at most body_left().
    template <class Sink>
    void skip_body(std::uint64_t bytes, Sink& sink) {
        left_ -= bytes;
        if (left_ == 0) {
            finish(sink);
        }
    }

  private:
    enum class State { head, body, chunk_size, chunk_data, chunk_end, trailer };
    static constexpr std::size_t head_bytes_max = 64 << 10;

    template <class Sink>
    bool feed_head(std::string_view& bytes, Sink& sink) {
        constexpr std::string_view head_end = "\r\n\r\n";
        if (carry_.empty()) {
            const std::size_t end = bytes.find(head_end);
            if (end == std::string_view::npos) {
                carry_ = bytes;
                bytes = {};
                return true;
            }
            const std::string_view head = bytes.substr(0, end + head_end.size());
            bytes.remove_prefix(head.size());
            return begin(head, sink);
        }
        const std::size_t before = carry_.size();
        carry_.append(bytes);
        const std::size_t end = carry_.find(head_end, before < 3 ? 0 : before - 3);
        if (end == std::string::npos) {
            bytes = {};
            return carry_.size() <= head_bytes_max;
        }
        bytes.remove_prefix(end + head_end.size() - before);
        carry_.resize(end + head_end.size());
        const std::string head = std::move(carry_);
        carry_.clear();
        return begin(head, sink);
    }
    template <class Sink>
    bool begin(std::string_view head, Sink& sink) {
        if (!head.starts_with("HTTP/1.") || head.size() < 16) {
            return false;
        }
        int status = 0;
        if (std::from_chars(head.data() + 9, head.data() + 12, status).ptr != head.data() + 12) {
            return false;
        }
        if (status < 200) {
            return true;  // an interim response, nothing follows it
        }
        if (status == 204 || status == 304) {
            sink.on_head(status, head);
            sink.on_end();
            return true;
        }
        return begin_body(status, head, sink);
    }
    template <class Sink>
    bool begin_body(int status, std::string_view head, Sink& sink) {
        sink.on_head(status, head);
        const std::string_view length = find_header(head, "content-length");
        if (!length.empty()) {
            const char* end = length.data() + length.size();
            if (std::from_chars(length.data(), end, left_).ptr != end) {
                return false;
            }
            if (left_ == 0) {
                sink.on_end();
                return true;
            }
            state_ = State::body;
            return true;
        }
        state_ = State::chunk_size;
        return find_header(head, "transfer-encoding") == "chunked";
    }
    template <class Sink>
    bool feed_line(std::string_view& bytes, Sink& sink) {
        const std::size_t end = bytes.find('\n');
        carry_.append(bytes.substr(0, end));
        if (end == std::string_view::npos) {
            bytes = {};
            return carry_.size() <= head_bytes_max;
        }
        bytes.remove_prefix(end + 1);
        if (carry_.empty() || carry_.back() != '\r') {
            return false;
        }
        carry_.pop_back();
        const bool good = take_line(sink);
        carry_.clear();
        return good;
    }
    template <class Sink>
    bool take_line(Sink& sink) {
        if (state_ == State::chunk_end) {
            state_ = State::chunk_size;
            return carry_.empty();
        }
        if (state_ == State::trailer) {
            if (carry_.empty()) {
                finish(sink);
            }
            return true;
        }
        const char* end = carry_.data() + carry_.size();
        const auto parsed = std::from_chars(carry_.data(), end, left_, 16);
        state_ = left_ == 0 ? State::trailer : State::chunk_data;
        return parsed.ec == std::errc{} && (parsed.ptr == end || *parsed.ptr == ';');
    }
    template <class Sink>
    void finish(Sink& sink) {
        state_ = State::head;
        sink.on_end();
    }

    State state_ = State::head;
    std::uint64_t left_ = 0;  // of the body or the chunk
    std::string carry_;       // a head or a line that came in parts
};

}  // namespace ursula::bench
