// RequestReader: bytes of one connection -> requests, in order. Strict: whatever two parsers could
// read differently is refused (notes/reliability-anchors.md 6.4 as DESIGN amends it). Each head is
// parsed by our own grammar and again by llhttp; where they differ the request is refused. How the
// bytes are cut into receives never changes the result.
//
//   reader.feed(bytes);
//   for (;;) {
//       switch (reader.next(parser, request)) {
//           case need_more:     all was read; what is unfinished was kept
//           case head_ready:    its body is still to come: refuse (stop), send 100 Continue,
//           reserve memory case request_ready: serve; or stop asking and hold(parser) when enough
//           requests are waiting case failed:        answer reader.error() and close
//   parser.end_turn();   once no view of this turn's requests is used any more
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/bytes.h"
#include "base/slice.h"
#include "net/head_memo.h"
#include "net/head_shape.h"
#include "net/http_head.h"
#include "net/http_message.h"

namespace ursula::net {

enum class ReadEvent : std::uint8_t {
    need_more,
    head_ready,     // yielded once for a request whose body did not come with its head
    request_ready,  // head and body; after one with keep_alive == false all further input is
                    // dropped
    failed,         // the reader drops everything from here on
};

// What the readers of one loop share: llhttp, blocks, limits.
class HttpParser {
  public:
    explicit HttpParser(std::uint64_t body_bytes_max);
    ~HttpParser();
    HttpParser(const HttpParser&) = delete;
    HttpParser& operator=(const HttpParser&) = delete;

    // Recycles the blocks that yielded requests lay in.
    void end_turn();
    // Bytes kept for unfinished requests by all readers of this loop.
    std::uint64_t held_bytes() const { return held_bytes_; }
    // Of unfinished bodies, by all readers of this loop: a known length counts whole from
    // head_ready on, a chunked body as it grows. What limits::bodies_in_flight_bytes_max bounds;
    // the caller compares and refuses.
    std::uint64_t body_bytes() const { return body_bytes_; }
    std::uint64_t body_bytes_max() const { return body_bytes_max_; }

    // Heads whose bytes llhttp was shown: one per shape (net/head_shape.h), and those without one.
    std::uint64_t heads_shown_to_llhttp() const { return heads_shown_; }
    // Heads that our grammar took and llhttp did not, or read differently. Each was refused with
    // 400 "parsers_disagree".
    std::uint64_t disagreements() const { return disagreements_; }

  private:
    friend class RequestReader;
    struct Llhttp;
    base::Block* take_block(std::size_t capacity);
    void retire(base::Block* block);  // its bytes stay until end_turn
    bool parse_head(std::string_view head, Request& request, HttpError& error);
    bool agrees_with_llhttp(std::string_view head, const Request& request);

    std::uint64_t body_bytes_max_;
    std::uint64_t held_bytes_ = 0;
    std::uint64_t body_bytes_ = 0;
    std::uint64_t heads_shown_ = 0;
    std::uint64_t disagreements_ = 0;
    std::unique_ptr<Llhttp> llhttp_;
    AgreedShapes agreed_shapes_;
    HeadLines lines_;  // of the head being parsed
    HeadMemo memo_;
    std::vector<base::Block*> spare_;
    std::vector<base::Block*> retired_;
};

class RequestReader {
  public:
    RequestReader() = default;
    ~RequestReader();  // reset() or stop() before, when anything was fed
    RequestReader(const RequestReader&) = delete;
    RequestReader& operator=(const RequestReader&) = delete;

    // The bytes stay valid until next() said need_more or failed, or hold() or stop() was called;
    // one of these always follows.
    void feed(base::Bytes bytes);
    ReadEvent next(HttpParser& parser, Request& request);
    // Keeps the bytes not read yet, when the caller stops asking although more requests may be
    // there (pipeline full). Not in a body, whose bytes next() has to take.
    void hold(HttpParser& parser);
    // The request that next() yielded last cannot be started yet: keeps its bytes and yields it
    // again, before anything that follows it. Followed by hold() like any end of asking.
    void put_back(HttpParser& parser, const Request& request);
    // No further request is wanted (a refusal was sent): input is dropped from here on.
    void stop(HttpParser& parser);
    // Gives everything back; the reader is as new.
    void reset(HttpParser& parser);

    bool between_requests()
        const;  // nothing of a next request was seen: the keep-alive deadline applies
    bool in_body() const { return state_ == State::length || state_ == State::chunked; }
    bool in_chunked_body() const { return state_ == State::chunked; }
    // Its part of HttpParser::body_bytes, without a request that was put back.
    std::uint64_t counted_body_bytes() const;
    bool stopped() const { return state_ == State::stopped; }
    // The request that is being read, or the one that failed, is a HEAD as far as it came: what
    // refuses it has no body (RFC 9110 9.3.2).
    bool reads_head_request() const;
    const HttpError& error() const { return error_; }  // after failed

  private:
    enum class State : std::uint8_t { head, length, chunked, stopped };
    enum class Chunk : std::uint8_t {
        first_digit,
        digits,
        extension,
        size_lf,
        data,
        data_cr,
        data_lf,
        last_cr,
        last_lf,
        done,
    };

    ReadEvent read_head(HttpParser& parser, Request& request);
    ReadEvent read_body(HttpParser& parser, Request& request);
    ReadEvent body_complete(HttpParser& parser, Request& request);
    ReadEvent finished(HttpParser& parser, const Request& request);
    ReadEvent yield_again(HttpParser& parser, Request& request);
    void drop_put_back(HttpParser& parser);
    ReadEvent fail(HttpParser& parser, HttpError error);
    bool take_length(HttpParser& parser);
    bool take_chunks(HttpParser& parser, HttpError& error);
    bool end_of_chunk_size(const HttpParser& parser, HttpError& error);
    std::string_view kept() const;
    void keep(HttpParser& parser, base::Bytes bytes);
    void make_room(HttpParser& parser, std::size_t more);
    void drop_kept(HttpParser& parser, std::size_t size);
    void drop_block(HttpParser& parser);

    base::Bytes input_;             // fed and not read yet
    base::Block* block_ = nullptr;  // kept bytes [block_start_, block_used_): of a head, or a head
                                    // and what came of its body
    base::Block* put_back_ = nullptr;  // a request to be yielded again: its head, then its body
    std::uint64_t put_back_body_bytes_ = 0;
    std::uint32_t put_back_size_ = 0;
    std::uint32_t put_back_head_ = 0;
    std::uint32_t block_start_ = 0;
    std::uint32_t block_used_ = 0;
    std::uint32_t head_size_ = 0;  // in a body: its head's, at block_start_
    HeadScan scan_;
    State state_ = State::head;
    Chunk chunk_ = Chunk::first_digit;
    bool discard_ = false;      // the body is counted and dropped
    bool failed_head_ = false;  // reads_head_request() of the one that failed
    std::uint8_t chunk_digits_ = 0;
    std::uint16_t chunk_line_bytes_ = 0;
    std::uint16_t extension_bytes_ = 0;
    std::uint64_t remaining_ = 0;   // of the body, or of the chunk
    std::uint64_t body_bytes_ = 0;  // of it so far
    std::uint64_t wire_bytes_ = 0;  // of a chunked body so far, framing included
    HttpError error_;
};

}  // namespace ursula::net
