// The request reader against arbitrary bytes. Oracles beyond "no crash":
// - however the bytes are cut into receives, the same requests come out;
// - every request served is what llhttp, reading the whole stream by itself, would have served (no
// desync);
// - a decoded path is UTF-8 without controls, backslash or dot segments.
#include <llhttp.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/verify.h"
#include "net/http_parser.h"
#include "net/uri.h"
#include "tests/support/http_transcript.h"

using namespace ursula;

namespace {

constexpr std::uint64_t body_bytes_max = 1 << 16;

struct Message {
    std::string method;
    std::string target;
    std::uint64_t body_bytes = 0;
    bool compare =
        true;  // false: llhttp goes its own way from here on (upgrades, methods it does not know)
};

void check_path(const net::Request& request) {
    std::array<char, 256> buffer;
    const net::DecodedPath path = net::decode_path(request.path, buffer);
    if (path.error != net::UriError::none) {
        return;
    }
    VERIFY(net::valid_utf8(path.text));
    std::string text(path.text);
    VERIFY(std::none_of(text.begin(), text.end(), [](char c) {
        return static_cast<unsigned char>(c) < 0x20 || c == 0x7f || c == '\\';
    }));
    text = "/" + text + "/";
    VERIFY(text.find("/./") == std::string::npos && text.find("/../") == std::string::npos);
    net::QueryIterator query(request.query);
    net::QueryParameter parameter;
    std::size_t size = 0;
    while (query.next(parameter)) {
        size += parameter.name.size() + parameter.value.size();
        const net::DecodedPath value = net::decode_query_value(parameter.value, buffer);
        VERIFY(value.text.size() <= parameter.value.size());
    }
    VERIFY(size <= request.query.size());
}

std::vector<Message> read_by_ours(std::string_view bytes) {
    std::vector<Message> messages;
    static net::HttpParser parser(body_bytes_max);
    net::RequestReader reader;
    const auto request = std::make_unique<net::Request>();
    reader.feed(base::as_bytes(bytes));
    for (;;) {
        const net::ReadEvent event = reader.next(parser, *request);
        if (event == net::ReadEvent::request_ready) {
            check_path(*request);
            const bool plain = request->method != net::Method::other &&
                               !request->headers.has(net::KnownHeader::upgrade);
            messages.push_back({std::string(request->method_name), std::string(request->target),
                                request->body_bytes, plain});
        } else if (event != net::ReadEvent::head_ready) {
            break;
        }
    }
    reader.reset(parser);
    parser.end_turn();
    return messages;
}

struct Other {
    llhttp_settings_t settings{};
    llhttp_t parser{};
    std::vector<Message> messages;
    Message current;
};

Other& other_of(llhttp_t* parser) {
    return *static_cast<Other*>(parser->data);
}

std::vector<Message> read_by_llhttp(std::string_view bytes) {
    Other other;
    other.settings.on_message_begin = [](llhttp_t* parser) {
        other_of(parser).current = {};
        return 0;
    };
    other.settings.on_url = [](llhttp_t* parser, const char* at, std::size_t size) {
        other_of(parser).current.target.append(at, size);
        return 0;
    };
    other.settings.on_body = [](llhttp_t* parser, const char*, std::size_t size) {
        other_of(parser).current.body_bytes += size;
        return 0;
    };
    other.settings.on_message_complete = [](llhttp_t* parser) {
        Other& self = other_of(parser);
        self.current.method = llhttp_method_name(static_cast<llhttp_method_t>(parser->method));
        self.messages.push_back(self.current);
        return 0;
    };
    llhttp_init(&other.parser, HTTP_REQUEST, &other.settings);
    other.parser.data = &other;
    llhttp_execute(&other.parser, bytes.data(), bytes.size());
    return other.messages;
}

void check_against_llhttp(std::string_view bytes) {
    const std::vector<Message> ours = read_by_ours(bytes);
    const std::vector<Message> theirs = read_by_llhttp(bytes);
    for (std::size_t i = 0; i < std::min(ours.size(), theirs.size()); ++i) {
        if (!ours[i].compare) {
            return;
        }
        VERIFY(ours[i].method == theirs[i].method);
        VERIFY(ours[i].target == theirs[i].target);
        VERIFY(ours[i].body_bytes == theirs[i].body_bytes);
    }
}

}  // namespace

// First byte: how many of the next bytes say where to cut; then those; then what was received.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) {
        return 0;
    }
    const std::size_t cut_count = std::min<std::size_t>(data[0] % 8, size - 1);
    const std::string_view bytes(reinterpret_cast<const char*>(data) + 1 + cut_count,
                                 size - 1 - cut_count);
    // One parser for the whole run: what it remembers of former inputs must not show in any.
    static net::HttpParser parser(body_bytes_max);
    test_support::HttpTranscriptOptions options;
    options.parser = &parser;
    const std::string whole = test_support::http_transcript(bytes, options);
    std::size_t at = 0;
    for (std::size_t i = 0; i < cut_count; ++i) {
        at = std::min(at + data[1 + i], bytes.size());
        options.cuts.push_back(at);
    }
    options.hold_after_each = (data[0] & 8u) != 0;
    options.put_back_each = (data[0] & 16u) != 0;
    VERIFY(test_support::http_transcript(bytes, options) == whole);
    if (bytes.size() <= 512) {
        options.cuts.clear();
        for (std::size_t cut = 1; cut < bytes.size(); ++cut) {
            options.cuts.push_back(cut);
        }
        VERIFY(test_support::http_transcript(bytes, options) == whole);
    }
    check_against_llhttp(bytes);
    return 0;
}
