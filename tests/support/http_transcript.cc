#include "tests/support/http_transcript.h"

#include <cstring>
#include <memory>

#include "base/bytes.h"
#include "base/verify.h"
#include "net/http_parser.h"

namespace ursula::test_support {

namespace {

using net::ReadEvent;

void describe(const net::Request& request, std::string& text) {
    text += request.method_name;
    text += ' ';
    text += escape_bytes(request.path);
    if (request.has_query) {
        text += "?" + escape_bytes(request.query);
    }
    text += request.http_1_0 ? " 1.0" : " 1.1";
    text += request.keep_alive ? " keep-alive" : " close";
    text += request.expect_continue ? " expect-continue" : "";
    text += request.method == net::Method::other ? " other-method" : "";
    text += request.host.empty() ? "" : " host=" + std::string(request.host);
    text += '\n';
    const net::Headers& headers = request.headers;
    for (std::size_t i = 0; i < headers.size(); ++i) {
        const net::KnownHeader known = headers.field(i).known;
        text += known == net::KnownHeader::none ? "  ? " : "  ";
        text += escape_bytes(headers.name(i)) + ": " + escape_bytes(headers.value(i)) + "\n";
        VERIFY(known == net::known_header(headers.name(i)));
        VERIFY(known == net::KnownHeader::none || headers.has(known));
    }
    if (request.has_content_length || request.chunked || request.body_bytes > 0) {
        text += "  body";
        text += request.chunked ? " chunked " : " ";
        text += std::to_string(request.body_bytes);
        if (!request.body.empty()) {
            text += " " + escape_bytes(base::as_text(request.body));
        }
        text += '\n';
    }
}

}  // namespace

std::string escape_bytes(std::string_view bytes) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string text;
    for (std::size_t i = 0; i < bytes.size();) {
        const char c = bytes[i];
        std::string one;
        if (c == '\r') {
            one = "\\r";
        } else if (c == '\n') {
            one = "\\n";
        } else if (c == '\t') {
            one = "\\t";
        } else if (c == '\\') {
            one = "\\\\";
        } else if (c >= ' ' && c < 0x7f) {
            one = c;
        } else {
            const auto byte = static_cast<unsigned char>(c);
            one = {'\\', 'x', digits[byte >> 4], digits[byte & 15]};
        }
        std::size_t run = i + 1;
        while (run < bytes.size() && bytes[run] == c) {
            ++run;
        }
        if (run - i > 40) {
            text += "\\{" + std::to_string(run - i) + "x" + one + "}";
            i = run;
        } else {
            text += one;
            ++i;
        }
    }
    return text;
}

std::string unescape_bytes(std::string_view text) {
    std::string bytes;
    std::size_t i = 0;
    const auto hex = [](char c) { return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10; };
    while (i < text.size()) {
        if (text[i] != '\\') {
            bytes += text[i++];
            continue;
        }
        VERIFY(i + 1 < text.size());
        const char kind = text[i + 1];
        i += 2;
        if (kind == 'r') {
            bytes += '\r';
        } else if (kind == 'n') {
            bytes += '\n';
        } else if (kind == 't') {
            bytes += '\t';
        } else if (kind == '\\') {
            bytes += '\\';
        } else if (kind == 'x') {
            bytes += static_cast<char>(hex(text[i]) << 4 | hex(text[i + 1]));
            i += 2;
        } else {
            VERIFY(kind == '{');
            const std::size_t x = text.find('x', i);
            // Units may hold repetitions themselves.
            std::size_t end = i;
            for (int depth = 1;; ++end) {
                VERIFY(end < text.size());
                depth += text.substr(end, 2) == "\\{" ? 1 : text[end] == '}' ? -1 : 0;
                if (depth == 0) {
                    break;
                }
            }
            VERIFY(x < end);
            const std::size_t count = std::stoul(std::string(text.substr(i, x - i)));
            const std::string unit = unescape_bytes(text.substr(x + 1, end - x - 1));
            for (std::size_t k = 0; k < count; ++k) {
                bytes += unit;
            }
            i = end + 1;
        }
    }
    return bytes;
}

namespace {

std::string read_all(net::HttpParser& parser, std::string_view bytes,
                     const HttpTranscriptOptions& options) {
    std::string text;
    const std::uint64_t disagreements_before = parser.disagreements();
    net::RequestReader reader;
    auto request = std::make_unique<net::Request>();
    std::size_t from = 0;
    bool failed = false;
    bool again = false;
    // Reads until the reader wants more input, or one request when the caller holds.
    const auto read = [&] {
        for (;;) {
            switch (reader.next(parser, *request)) {
                case ReadEvent::need_more:
                    return false;
                case ReadEvent::head_ready:
                    VERIFY(reader.in_body());
                    continue;
                case ReadEvent::request_ready:
                    if (options.put_back_each && !again) {
                        again = true;
                        reader.put_back(parser, *request);
                        reader.hold(parser);
                        return true;
                    }
                    again = false;
                    describe(*request, text);
                    if (options.hold_after_each) {
                        reader.hold(parser);
                        return true;
                    }
                    continue;
                case ReadEvent::failed:
                    if (!failed) {
                        text += "refused " + std::to_string(reader.error().status) + " " +
                                reader.error().code + "\n";
                    }
                    failed = true;
                    return false;
            }
        }
    };
    for (std::size_t i = 0; i <= options.cuts.size(); ++i) {
        const std::size_t to = i < options.cuts.size() ? options.cuts[i] : bytes.size();
        // A block of exactly this size, gone at the turn's end: ASan sees what looks beyond or
        // keeps a view too long.
        const std::size_t size = to - from;
        auto piece = std::make_unique<char[]>(size);
        if (size > 0) {
            std::memcpy(piece.get(), bytes.data() + from, size);
        }
        reader.feed(base::as_bytes({piece.get(), size}));
        from = to;
        read();
        parser.end_turn();
    }
    // What was held is read without further input, a request per turn.
    while ((options.hold_after_each || options.put_back_each) && read()) {
        parser.end_turn();
    }
    if (!failed) {
        text += reader.stopped()            ? "closed\n"
                : reader.in_body()          ? "unfinished body\n"
                : reader.between_requests() ? "end\n"
                                            : "unfinished head\n";
    }
    reader.reset(parser);
    VERIFY(parser.held_bytes() == 0);
    VERIFY(parser.body_bytes() == 0);
    VERIFY(parser.disagreements() == disagreements_before || failed);
    return text;
}

}  // namespace

std::string http_transcript(std::string_view bytes, const HttpTranscriptOptions& options) {
    if (options.parser != nullptr) {
        return read_all(*options.parser, bytes, options);
    }
    net::HttpParser parser(options.body_bytes_max);
    const std::string text = read_all(parser, bytes, options);
    // The second time the heads are remembered, which must change nothing.
    VERIFY(read_all(parser, bytes, options) == text);
    return text;
}

}  // namespace ursula::test_support
