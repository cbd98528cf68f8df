#include "net/sse_writer.h"

#include <doctest/doctest.h>

#include <array>
#include <charconv>
#include <string>
#include <vector>

#include "base/random.h"

using namespace ursula;
using net::encode_sse_control;
using net::encode_sse_data;
using net::SseControl;
using net::SseEncoding;
using net::SseFrame;

namespace {

std::string text_of(const base::Slice& slice) {
    return std::string(base::as_text(slice.bytes()));
}

std::string data_frame(SseEncoding encoding, const std::vector<std::string>& pieces,
                       const SseControl& control = {.next_offset = "0_1"}) {
    std::vector<base::Bytes> views;
    for (const std::string& piece : pieces) {
        views.push_back(base::as_bytes(piece));
    }
    const SseFrame frame = encode_sse_data(encoding, views, control);
    const std::string plain = text_of(frame.plain);
    // The chunked view is the plain one between its size and CRLF.
    std::array<char, 16> hex{};
    char* end = std::to_chars(hex.data(), hex.data() + hex.size(), plain.size(), 16).ptr;
    CHECK(text_of(frame.chunked) == std::string(hex.data(), end) + "\r\n" + plain + "\r\n");
    return plain;
}

// The data line or lines of a frame, as they stand.
std::string data_lines(SseEncoding encoding, const std::vector<std::string>& pieces) {
    const std::string frame = data_frame(encoding, pieces);
    const std::string before = "id: 0_1\nevent: data\n";
    const std::string after = "\nevent: control\ndata:{\"streamNextOffset\":\"0_1\"}\n\n";
    REQUIRE(frame.starts_with(before));
    REQUIRE(frame.ends_with(after));
    return frame.substr(before.size(), frame.size() - before.size() - after.size());
}

// A second, independent reader of event streams (WHATWG "event stream interpretation").
struct Event {
    std::string type;
    std::string data;
};
std::vector<Event> read_events(const std::string& stream) {
    std::vector<Event> events;
    Event event;
    bool any = false;
    std::size_t at = 0;
    while (at < stream.size()) {
        std::size_t end = stream.find_first_of("\r\n", at);
        REQUIRE(end != std::string::npos);
        const std::string line = stream.substr(at, end - at);
        at = end +
             (stream[end] == '\r' && end + 1 < stream.size() && stream[end + 1] == '\n' ? 2 : 1);
        if (line.empty()) {
            if (any) {
                events.push_back(event);
            }
            event = {};
            any = false;
            continue;
        }
        const std::size_t colon = line.find(':');
        const std::string field = line.substr(0, colon);
        std::string value = colon == std::string::npos ? "" : line.substr(colon + 1);
        if (value.starts_with(' ')) {
            value.erase(0, 1);
        }
        if (field == "event") {
            event.type = value;
        } else if (field == "data") {
            event.data += (any ? "\n" : "") + value;
            any = true;
        } else {
            REQUIRE((field == "id" || field.empty()));
        }
    }
    return events;
}

std::string lines_normalised(const std::string& text) {
    std::string result;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '\r') {
            result += '\n';
            i += i + 1 < text.size() && text[i + 1] == '\n' ? 1 : 0;
        } else {
            result += text[i];
        }
    }
    return result;
}

std::string base64_decoded(const std::string& text) {
    const std::string alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string result;
    REQUIRE(text.size() % 4 == 0);
    for (std::size_t i = 0; i < text.size(); i += 4) {
        unsigned bits = 0;
        int padding = 0;
        for (std::size_t k = 0; k < 4; ++k) {
            if (text[i + k] == '=') {
                ++padding;
                bits <<= 6;
            } else {
                const std::size_t value = alphabet.find(text[i + k]);
                REQUIRE(value != std::string::npos);
                REQUIRE(padding == 0);
                bits = bits << 6 | static_cast<unsigned>(value);
            }
        }
        for (int k = 0; k < 3 - padding; ++k) {
            result += static_cast<char>(bits >> (16 - 8 * k) & 255u);
        }
    }
    return result;
}

}  // namespace

TEST_CASE("a data event and its control event, byte for byte") {
    CHECK(data_frame(SseEncoding::text, {"hello"},
                     {.next_offset = "0000000000000000_0000000000000005",
                      .cursor = 3347257,
                      .has_cursor = true,
                      .up_to_date = true}) ==
          "id: 0000000000000000_0000000000000005\n"
          "event: data\n"
          "data:hello\n"
          "\n"
          "event: control\n"
          "data:{\"streamNextOffset\":\"0000000000000000_0000000000000005\","
          "\"streamCursor\":\"3347257\",\"upToDate\":true}\n"
          "\n");
}

TEST_CASE("control events alone") {
    const SseFrame open = encode_sse_control(
        {.next_offset = "0_7", .cursor = 1, .has_cursor = true, .up_to_date = true});
    CHECK(text_of(open.plain) ==
          "id: 0_7\nevent: control\n"
          "data:{\"streamNextOffset\":\"0_7\",\"streamCursor\":\"1\",\"upToDate\":true}\n\n");
    const SseFrame closed =
        encode_sse_control({.next_offset = "0_7", .up_to_date = true, .closed = true});
    CHECK(text_of(closed.plain) ==
          "id: 0_7\nevent: control\n"
          "data:{\"streamNextOffset\":\"0_7\",\"upToDate\":true,\"streamClosed\":true}\n\n");
}

TEST_CASE("the heartbeat is one line") {
    const SseFrame frame = net::encode_sse_heartbeat();
    CHECK(text_of(frame.plain) == ": hb\n");
    CHECK(text_of(frame.chunked) == "5\r\n: hb\n\r\n");
}

TEST_CASE("text is split at CRLF, CR and LF, at nothing else") {
    CHECK(data_lines(SseEncoding::text, {"a\nb"}) == "data:a\ndata:b\n");
    CHECK(data_lines(SseEncoding::text, {"a\r\nb"}) == "data:a\ndata:b\n");
    CHECK(data_lines(SseEncoding::text, {"a\rb"}) == "data:a\ndata:b\n");
    CHECK(data_lines(SseEncoding::text, {"a\n\rb"}) == "data:a\ndata:\ndata:b\n");
    CHECK(data_lines(SseEncoding::text, {"a\n"}) == "data:a\ndata:\n");
    CHECK(data_lines(SseEncoding::text, {"\n"}) == "data:\ndata:\n");
    CHECK(data_lines(SseEncoding::text, {"\r"}) == "data:\ndata:\n");
    // Readers take one blank away: two are sent for one.
    CHECK(data_lines(SseEncoding::text, {" lead"}) == "data:  lead\n");
    CHECK(data_lines(SseEncoding::text, {"a\n  b\r c"}) == "data:a\ndata:   b\ndata:  c\n");
    CHECK(data_lines(SseEncoding::text, {"a", " b", "\r", "\n", " c", " d"}) ==
          "data:a b\ndata:  c d\n");
    CHECK(data_lines(SseEncoding::text, {"event: control\n\ndata:{}"}) ==
          "data:event: control\ndata:\ndata:data:{}\n");
    CHECK(data_lines(SseEncoding::text, {"\xc2\x85\xe2\x80\xa8"}) == "data:\xc2\x85\xe2\x80\xa8\n");
}

TEST_CASE("a CR and an LF in neighbouring pieces are one line end") {
    CHECK(data_lines(SseEncoding::text, {"a\r", "\nb"}) == "data:a\ndata:b\n");
    CHECK(data_lines(SseEncoding::text, {"a\r", "", "\nb"}) == "data:a\ndata:b\n");
    CHECK(data_lines(SseEncoding::text, {"a\r", "b"}) == "data:a\ndata:b\n");
    CHECK(data_lines(SseEncoding::text, {"a\r", "\r\n", "\n"}) == "data:a\ndata:\ndata:\ndata:\n");
    CHECK(data_lines(SseEncoding::text, {"ab", "cd"}) == "data:abcd\n");
}

TEST_CASE("JSON is one array without the stored final comma") {
    CHECK(data_lines(SseEncoding::json, {"1,"}) == "data:[1]\n");
    CHECK(data_lines(SseEncoding::json, {"{\"a\":1},2,", "3,"}) == "data:[{\"a\":1},2,3]\n");
    CHECK(data_lines(SseEncoding::json, {"1,", ""}) == "data:[1]\n");
    CHECK(data_lines(SseEncoding::json, {"{\n \"a\": 1\r\n},"}) ==
          "data:[{\ndata:  \"a\": 1\ndata:}]\n");
    CHECK(data_lines(SseEncoding::json, {}) == "data:[]\n");
}

TEST_CASE("base64 of every length, over pieces") {
    CHECK(data_lines(SseEncoding::base64, {"Hello"}) == "data:SGVsbG8=\n");
    CHECK(data_lines(SseEncoding::base64, {"H", "ell", "o"}) == "data:SGVsbG8=\n");
    CHECK(data_lines(SseEncoding::base64, {"a"}) == "data:YQ==\n");
    CHECK(data_lines(SseEncoding::base64, {"ab", "c"}) == "data:YWJj\n");
}

TEST_CASE("the size of an event is known before it is encoded, and bounded by its payload's") {
    constexpr std::size_t bound = 4096;
    constexpr std::size_t payload = net::sse_payload_bytes_below(bound);
    CHECK(payload > 400);
    CHECK(net::sse_payload_bytes_below(0) == 0);
    net::SseControl control;
    control.next_offset = "0000000000000000_0000000000000512";
    control.has_cursor = true;
    control.cursor = UINT64_MAX;
    control.up_to_date = true;
    for (const char filling : {'\n', '\r', 'x'}) {
        for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{17}, payload}) {
            std::string text(size, filling);
            const base::Bytes plain = base::as_bytes(text);
            std::string elements = text + "1,";
            const base::Bytes json = base::as_bytes(elements);
            for (const SseEncoding encoding :
                 {SseEncoding::text, SseEncoding::json, SseEncoding::base64}) {
                const base::Bytes pieces[] = {encoding == SseEncoding::json ? json : plain};
                const std::size_t encoded =
                    net::encode_sse_data(encoding, pieces, control).chunked.size();
                CHECK(net::sse_data_bytes(encoding, pieces, control) == encoded);
                CHECK(encoded <= bound);
            }
        }
    }
}

TEST_CASE("a reference reader gets back what was written") {
    base::Random random(3);
    constexpr std::string_view alphabet = "\r\n\r\nab: dt{\"\x80";
    for (int round = 0; round < 3000; ++round) {
        std::string whole;
        std::vector<std::string> pieces;
        for (std::uint64_t i = random.between(1, 4); i > 0; --i) {
            std::string piece;
            for (std::uint64_t k = random.below(random.chance(1, 5) ? 80 : 8); k > 0; --k) {
                piece += alphabet[random.below(alphabet.size())];
            }
            whole += piece;
            pieces.push_back(piece);
        }
        const std::vector<Event> text = read_events(data_frame(SseEncoding::text, pieces));
        REQUIRE(text.size() == 2);
        REQUIRE(text[0].type == "data");
        REQUIRE(text[0].data == lines_normalised(whole));
        REQUIRE(text[1].type == "control");
        REQUIRE(text[1].data == "{\"streamNextOffset\":\"0_1\"}");
        const std::vector<Event> binary = read_events(data_frame(SseEncoding::base64, pieces));
        REQUIRE(binary.size() == 2);
        REQUIRE(base64_decoded(binary[0].data) == whole);
    }
}
