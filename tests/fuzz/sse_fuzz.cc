// The encoder of server-sent events against arbitrary payloads, read back by a strict parser:
// - a data event and its control event come out, whatever the payload holds, and nothing else;
// - the payload is the same, but that CRLF and CR have become LF;
// - the chunk around them is what its size line says, and as large as was foretold.
// Built twice: in sse_planted_fuzz the encoder has a bug that lets payloads forge events.
#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "base/verify.h"
#include "net/planted.h"
#include "net/sse_writer.h"
#include "tests/support/sse_reference.h"

using namespace ursula;

namespace {

constexpr std::string_view offset = "0000000000000000_0000000000000042";

void check(bool holds) {
    if (!holds && base::planting) {
        std::fputs("canary: the planted bug was found\n", stderr);
    }
    VERIFY(holds);
}

void plant() {
#if defined(URSULA_PLANTED_BUGS)
    base::planted_bug<net::Planted> = net::Planted::cr_is_no_line_end;
#endif
}

std::string with_line_feeds(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '\r') {
            out += '\n';
            i += i + 1 < text.size() && text[i + 1] == '\n' ? 1 : 0;
        } else {
            out += text[i];
        }
    }
    return out;
}

// Nothing when it is not base64 of whole groups, as RFC 4648 section 4 has it.
std::string from_base64(std::string_view text) {
    constexpr std::string_view alphabet =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    check(text.size() % 4 == 0);
    std::string out;
    for (std::size_t i = 0; i < text.size(); i += 4) {
        std::uint32_t bits = 0;
        std::size_t letters = 0;
        for (char c : text.substr(i, 4)) {
            const std::size_t value = alphabet.find(c);
            check((value != std::string_view::npos) == (c != '='));
            check(c == '=' ? i + 4 == text.size() && letters >= 2 : letters < 4);
            bits = bits << 6 | (c == '=' ? 0u : static_cast<std::uint32_t>(value));
            letters += c == '=' ? 0 : 1;
        }
        for (std::size_t byte = 0; byte + 1 < letters; ++byte) {
            out += static_cast<char>(bits >> (16 - 8 * byte) & 0xff);
        }
    }
    return out;
}

void check_frame(const net::SseFrame& frame) {
    const std::string_view chunk = base::as_text(frame.chunked.bytes());
    std::size_t size = 0;
    const auto [end, error] = std::from_chars(
        chunk.data(), chunk.data() + std::min<std::size_t>(chunk.size(), 16), size, 16);
    const auto digits = static_cast<std::size_t>(end - chunk.data());
    check(error == std::errc() && digits > 0);
    check(chunk.substr(digits, 2) == "\r\n");
    check(chunk.substr(digits + 2, size) == base::as_text(frame.plain.bytes()));
    check(chunk.substr(digits + 2 + size) == "\r\n");
}

}  // namespace

// First byte: the encoding and what the control event says; the second: the size of all pieces but
// the last. Then the payload.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 2) {
        return 0;
    }
    plant();
    const auto encoding = static_cast<net::SseEncoding>(data[0] % 3);
    const bool json = encoding == net::SseEncoding::json;
    net::SseControl control;
    control.next_offset = offset;
    control.closed = (data[0] & 32u) != 0;
    control.has_cursor = !control.closed;
    control.cursor = UINT64_MAX >> (data[0] >> 3);
    control.up_to_date = (data[0] & 64u) != 0;
    std::string payload(reinterpret_cast<const char*>(data) + 2, size - 2);
    if (json) {
        payload += ',';  // as stored
    }
    std::vector<base::Bytes> pieces;
    const std::size_t step = data[1] == 0 ? payload.size() + 1 : data[1];
    for (std::size_t at = 0; at < payload.size(); at += step) {
        pieces.push_back(base::as_bytes(std::string_view(payload).substr(at, step)));
        if (data[1] % 2 == 0) {
            pieces.emplace_back();
        }
    }
    const net::SseFrame frame = net::encode_sse_data(encoding, pieces, control);
    check_frame(frame);
    check(frame.chunked.size() == net::sse_data_bytes(encoding, pieces, control));
    check(frame.chunked.size() <= 1024 ||
          payload.size() > net::sse_payload_bytes_below(frame.chunked.size() - 1));

    // Twice behind each other: what is in one must not reach into the next.
    std::string text(base::as_text(frame.plain.bytes()));
    text += text;
    const auto events = test_support::read_sse(text);
    check(events.has_value() && events->size() == 4);
    std::string wanted = "{\"streamNextOffset\":\"" + std::string(offset) + "\"";
    wanted +=
        control.has_cursor ? ",\"streamCursor\":\"" + std::to_string(control.cursor) + "\"" : "";
    wanted += control.up_to_date ? ",\"upToDate\":true" : "";
    wanted += control.closed ? ",\"streamClosed\":true}" : "}";
    if (json) {
        payload = "[" + payload.substr(0, payload.size() - 1) + "]";
    }
    for (std::size_t i = 0; i < 4; i += 2) {
        const test_support::SseEvent& event = (*events)[i];
        check(event.kind == "data" && event.id == offset);
        check(encoding == net::SseEncoding::base64 ? from_base64(event.data) == payload
                                                   : event.data == with_line_feeds(payload));
        const test_support::SseEvent& told = (*events)[i + 1];
        check(told.kind == "control" && told.id.empty() && told.lines == 1);
        check(told.data == wanted);
    }
    const net::SseFrame alone = net::encode_sse_control(control);
    check_frame(alone);
    const auto told = test_support::read_sse(base::as_text(alone.plain.bytes()));
    check(told.has_value() && told->size() == 1 && told->front().id == offset &&
          told->front().data == wanted);
    return 0;
}
