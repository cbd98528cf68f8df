// ResponseWriter: status line, headers and body framing into an OutputBuffer. Names and constant
// blocks come from our code; values may echo a client's and are checked here once more: a CR, LF,
// NUL or other control in one aborts the response.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/bytes.h"
#include "base/slice.h"
#include "net/output_buffer.h"

namespace ursula::net {

// "200 OK" and so on; unknown codes have an empty phrase.
std::string_view reason_phrase(int status);

class ResponseWriter {
  public:
    // `constant_headers`: a block of complete lines, each ending in CRLF, trusted and copied as it
    // is.
    ResponseWriter(OutputBuffer& output, int status, std::string_view constant_headers = {});

    ResponseWriter& header(std::string_view name, std::string_view value);
    ResponseWriter& header(std::string_view name, std::uint64_t value);
    ResponseWriter& constant(std::string_view lines);  // as constant_headers
    ResponseWriter& connection_close();

    // One of these ends the head. False: a value was refused, nothing of this response is in the
    // output any more.
    [[nodiscard]] bool end_without_body();  // 204 and 304: no Content-Length
    [[nodiscard]] bool end_with_length(
        std::uint64_t length);  // the body is written by the caller; HEAD writes none
    [[nodiscard]] bool end_with_body(base::Bytes body);
    [[nodiscard]] bool end_chunked();  // Transfer-Encoding: chunked; then write_chunk
    // HTTP/1.0: the body ends with the connection; connection_close() is the caller's.
    [[nodiscard]] bool end_until_close();

    bool ok() const { return ok_; }

  private:
    void put(std::string_view text);
    bool finish(std::string_view tail);

    OutputBuffer& output_;
    OutputBuffer::Mark start_;
    bool ok_ = true;
};

// "HTTP/1.1 100 Continue".
void write_continue(OutputBuffer& output);
// One chunk of a chunked body; empty data writes nothing (an empty chunk would end the body).
void write_chunk(OutputBuffer& output, base::Bytes data);
void write_chunk(OutputBuffer& output, base::Slice data);
void write_last_chunk(OutputBuffer& output);

}  // namespace ursula::net
