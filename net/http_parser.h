// RequestReader: bytes of one connection -> requests, in order. Strict: whatever two parsers could
// read differently is refused (notes/reliability-anchors.md 6.4 as DESIGN amends it). Each head is
// parsed by our own grammar and again by llhttp; where they differ the request is refused. How the
// bytes are cut into receives never changes the result.
//
//   reader.feed(bytes);
//   while (reader.next(parser, request) != need_more / failed) { ... }
//   parser.end_turn();   // after flush: views of this turn's requests are over
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/bytes.h"
#include "base/slice.h"
#include "net/http_message.h"

namespace ursula::net {

enum class ReadEvent : std::uint8_t {
    need_more,      // nothing (more) in these bytes; unfinished ones were kept
    head_ready,     // a head whose body is not complete yet; yielded once. Refuse now, send 100
                    // Continue, reserve memory
    request_ready,  // head and body
    failed,         // error() says why; the reader drops everything from here on
};

// What the readers of one loop share: llhttp, blocks, limits.
class HttpParser {
  public:
    explicit HttpParser(std::uint64_t body_bytes_max);
    ~HttpParser();
    HttpParser(const HttpParser&) = delete;
    HttpParser& operator=(const HttpParser&) = delete;

    // Blocks whose requests were yielded are recycled. Call once per turn, when no view of a
    // request is used any more.
    void end_turn();
    // Bytes held for unfinished requests by all readers of this loop: what
    // limits::bodies_in_flight_bytes_max bounds.
    std::uint64_t held_bytes() const { return held_bytes_; }
    std::uint64_t body_bytes_max() const { return body_bytes_max_; }

    // One whole head, its final empty line included. Fills everything of the request but the body.
    bool parse_head(std::string_view head, Request& request, HttpError& error);

  private:
    friend class RequestReader;
    struct Llhttp;
    base::Block* take_block(std::size_t capacity);
    void retire(base::Block* block);  // at the end of the turn
    bool agrees_with_llhttp(std::string_view head, const Request& request);

    std::uint64_t body_bytes_max_;
    std::uint64_t held_bytes_ = 0;
    std::unique_ptr<Llhttp> llhttp_;
    std::vector<base::Block*> spare_;
    std::vector<base::Block*> retired_;
};

class RequestReader {
  public:
    RequestReader() = default;
    ~RequestReader();  // must be idle, or reset() before
    RequestReader(const RequestReader&) = delete;
    RequestReader& operator=(const RequestReader&) = delete;

    // The bytes stay valid until next() said need_more or failed, or hold() was called; always to
    // be followed by one of them.
    void feed(base::Bytes bytes);
    ReadEvent next(HttpParser& parser, Request& request);
    // Keeps the bytes not yet read, when the caller stops asking for requests although there may be
    // more (pipeline full).
    void hold(HttpParser& parser);
    // Between two requests with nothing kept: the keep-alive deadline applies, or the head's, or
    // the body's.
    bool between_requests() const;
    bool in_body() const;
    // The body being read is dropped instead of kept, and is not bounded; request_ready comes with
    // an empty body.
    void discard_body();
    // No further request is wanted (a refusal was sent): all input is dropped from here on.
    void stop(HttpParser& parser);
    // Gives everything back; the reader is as new.
    void reset(HttpParser& parser);

    const HttpError& error() const { return error_; }

  private:
    enum class State : std::uint8_t { head, body_length, body_chunked, stopped };
    enum class Chunk : std::uint8_t {
        size,
        extension,
        size_lf,
        data,
        data_cr,
        data_lf,
        last_cr,
        last_lf,
        done
    };

    ReadEvent read_head(HttpParser& parser, Request& request);
    ReadEvent read_body(HttpParser& parser, Request& request);
    ReadEvent fail(HttpParser& parser, HttpError error);
    bool scan_head(std::string_view bytes, std::size_t& head_size, HttpError& error);
    bool decode_chunks(HttpParser& parser, base::Bytes& input, HttpError& error);
    void keep(HttpParser& parser, base::Bytes bytes);
    void make_room(HttpParser& parser, std::size_t more);
    void drop_block(HttpParser& parser);

    base::Bytes input_;              // fed and not read yet
    base::Block* block_ = nullptr;   // kept bytes: a head, then its body; or held input
    std::uint32_t block_start_ = 0;  // first byte of the block not yielded
    std::uint32_t block_used_ = 0;
    std::uint32_t scanned_ = 0;     // head bytes looked at
    std::uint32_t line_start_ = 0;  // of the line being scanned
    std::uint32_t head_size_ = 0;   // of the head whose body is being read
    std::uint16_t lines_ = 0;
    State state_ = State::head;
    Chunk chunk_ = Chunk::size;
    bool discard_ = false;
    bool lent_ = false;  // this block's bytes were yielded this turn: they must not move
    std::uint16_t chunk_line_bytes_ = 0;
    std::uint16_t extension_bytes_ = 0;
    std::uint64_t remaining_ = 0;   // of the body, or of the chunk
    std::uint64_t body_bytes_ = 0;  // decoded so far
    std::uint64_t wire_bytes_ = 0;  // of a chunked body
    HttpError error_;
};

}  // namespace ursula::net
