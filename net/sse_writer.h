// Server-sent events exactly as notes/protocol-digest.md 2.7 and DESIGN "Tails": a data event and
// its control event in one buffer and one HTTP chunk, encoded once and shared by every reader.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "base/bytes.h"
#include "base/slice.h"

namespace ursula::net {

enum class SseEncoding : std::uint8_t {
    text,    // split at CRLF, CR and LF, bytes otherwise unchanged
    json,    // pieces are elements each followed by a comma (as stored); sent as one array, split
             // like text
    base64,  // all pieces as one base64 line
};

struct SseControl {
    std::string_view next_offset;  // of our own grammar: nothing in it needs escaping
    std::uint64_t cursor = 0;
    bool has_cursor = false;  // left out once closed
    bool up_to_date = false;
    bool closed = false;
};

// One buffer, two views: with and without the chunk framing around it.
struct SseFrame {
    base::Slice chunked;  // for HTTP/1.1
    base::Slice plain;    // for HTTP/1.0
};

// A data event of all the pieces, then the control event.
[[nodiscard]] SseFrame encode_sse_data(SseEncoding encoding, std::span<const base::Bytes> pieces,
                                       const SseControl& control);
// The size of its chunked form.
[[nodiscard]] std::size_t sse_data_bytes(SseEncoding encoding, std::span<const base::Bytes> pieces,
                                         const SseControl& control);
// No event of so many payload bytes or fewer is larger than `frame_bytes`.
constexpr std::size_t sse_payload_bytes_below(std::size_t frame_bytes) {
    return frame_bytes < 1024 ? 0 : (frame_bytes - 1024) / 6;  // text of line ends: each is a line
}
// A control event alone.
[[nodiscard]] SseFrame encode_sse_control(const SseControl& control);
// The comment that keeps a quiet connection alive: ": hb" and one newline. Shared; made once per
// loop.
[[nodiscard]] SseFrame encode_sse_heartbeat();
// What ends a chunked body; the plain form ends with the connection.
inline constexpr std::string_view sse_last_chunk = "0\r\n\r\n";

}  // namespace ursula::net
