#include "net/http_parser.h"

#include <llhttp.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/verify.h"

namespace ursula::net {

namespace limits = base::limits;

namespace {

constexpr std::size_t small_block_bytes = 4096 - sizeof(base::Block);
constexpr std::size_t spare_blocks_max = 256;

bool has_body_semantics(Method method) {
    return method == Method::put || method == Method::post || method == Method::other;
}

int hex_digit(char c) {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return -1;
}

}  // namespace

// --- HttpParser ---

// llhttp sees every head after our own grammar took it, and stops at its end.
struct HttpParser::Llhttp {
    llhttp_settings_t settings{};
    llhttp_t parser{};
    std::uint16_t flags = 0;
    std::uint64_t content_length = 0;
    bool keep_alive = false;

    Llhttp() {
        settings.on_headers_complete = [](llhttp_t* at) {
            Llhttp& self = *static_cast<Llhttp*>(at->data);
            self.flags = at->flags;
            self.content_length = at->content_length;
            self.keep_alive = llhttp_should_keep_alive(at) != 0;
            return 2;  // the rest is none of its business
        };
    }
};

HttpParser::HttpParser(std::uint64_t body_bytes_max)
    : body_bytes_max_(body_bytes_max), llhttp_(std::make_unique<Llhttp>()) {
    VERIFY(body_bytes_max_ <= UINT32_MAX / 2);  // a head and its body lie in one block
}

HttpParser::~HttpParser() {
    end_turn();
    for (base::Block* block : spare_) {
        block->release();
    }
}

base::Block* HttpParser::take_block(std::size_t capacity) {
    if (capacity > small_block_bytes || spare_.empty()) {
        return base::Block::make(std::max(capacity, small_block_bytes));
    }
    base::Block* block = spare_.back();
    spare_.pop_back();
    return block;
}

void HttpParser::retire(base::Block* block) {
    retired_.push_back(block);
}

void HttpParser::end_turn() {
    for (base::Block* block : retired_) {
        if (block->capacity() == small_block_bytes && spare_.size() < spare_blocks_max) {
            spare_.push_back(block);
        } else {
            block->release();
        }
    }
    retired_.clear();
}

bool HttpParser::parse_head(std::string_view head, Request& request, HttpError& error) {
    if (!parse_head_lines(head, lines_, request, error)) {
        return false;
    }
    // Methods unknown to us may be unknown to llhttp; they are refused and their connection is
    // closed anyway.
    if (request.method == Method::other) {
        return true;
    }
    HeadShape shape;
    const bool has_shape = shape_of(head, request, shape);
    if (has_shape && agreed_shapes_.has(shape)) {
        return true;
    }
    if (!agrees_with_llhttp(head, request)) {
        ++disagreements_;
        error = {400, "parsers_disagree"};
        return false;
    }
    if (has_shape) {
        agreed_shapes_.add(shape);
    }
    return true;
}

bool HttpParser::agrees_with_llhttp(std::string_view head, const Request& request) {
    ++heads_shown_;
    llhttp_t& parser = llhttp_->parser;
    llhttp_init(&parser, HTTP_REQUEST, &llhttp_->settings);
    parser.data = llhttp_.get();
    const llhttp_errno_t result = llhttp_execute(&parser, head.data(), head.size());
    if (result != HPE_PAUSED_UPGRADE || parser.error_pos != head.data() + head.size()) {
        return false;
    }
    llhttp_method_t method = HTTP_GET;
    switch (request.method) {
        case Method::get:
            method = HTTP_GET;
            break;
        case Method::head:
            method = HTTP_HEAD;
            break;
        case Method::put:
            method = HTTP_PUT;
            break;
        case Method::post:
            method = HTTP_POST;
            break;
        case Method::remove:
            method = HTTP_DELETE;
            break;
        case Method::options:
            method = HTTP_OPTIONS;
            break;
        case Method::other:
            return false;
    }
    return parser.method == method && parser.http_major == 1 &&
           parser.http_minor == (request.http_1_0 ? 0 : 1) &&
           ((llhttp_->flags & F_CHUNKED) != 0) == request.chunked &&
           ((llhttp_->flags & F_CONTENT_LENGTH) != 0) == request.has_content_length &&
           llhttp_->content_length == request.content_length &&
           llhttp_->keep_alive == request.keep_alive;
}

// --- RequestReader ---

RequestReader::~RequestReader() {
    DVERIFY(block_ == nullptr);
}

std::string_view RequestReader::kept() const {
    if (block_ == nullptr) {
        return {};
    }
    return {reinterpret_cast<const char*>(block_->data()) + block_start_,
            block_used_ - block_start_};
}

// Bytes that were kept never move: requests yielded this turn may lie there. A full block is left
// for a larger one.
void RequestReader::make_room(HttpParser& parser, std::size_t more) {
    if (block_ != nullptr && block_->capacity() - block_used_ >= more) {
        return;
    }
    const std::string_view unread = kept();
    // Doubling keeps the copying linear; a known length asks for all of it at once.
    const std::size_t size = unread.size() + std::max(more, unread.size());
    base::Block* block = parser.take_block(size);
    base::copy_bytes(block->data(), base::as_bytes(unread));
    if (block_ != nullptr) {
        parser.retire(block_);
    }
    block_ = block;
    block_start_ = 0;
    block_used_ = static_cast<std::uint32_t>(unread.size());
}

void RequestReader::keep(HttpParser& parser, base::Bytes bytes) {
    if (bytes.empty()) {
        return;
    }
    make_room(parser, bytes.size());
    base::copy_bytes(block_->data() + block_used_, bytes);
    block_used_ += static_cast<std::uint32_t>(bytes.size());
    parser.held_bytes_ += bytes.size();
}

void RequestReader::drop_kept(HttpParser& parser, std::size_t size) {
    block_start_ += static_cast<std::uint32_t>(size);
    parser.held_bytes_ -= size;
    if (block_start_ == block_used_) {
        drop_block(parser);
    }
}

void RequestReader::drop_block(HttpParser& parser) {
    if (block_ != nullptr) {
        parser.held_bytes_ -= block_used_ - block_start_;
        parser.retire(block_);
        block_ = nullptr;
        block_start_ = 0;
        block_used_ = 0;
    }
}

std::uint64_t RequestReader::counted_body_bytes() const {
    if (!in_body() || discard_) {
        return 0;
    }
    return state_ == State::length ? body_bytes_ + remaining_ : body_bytes_;
}

void RequestReader::feed(base::Bytes bytes) {
    DVERIFY(input_.empty());
    input_ = bytes;
}

void RequestReader::put_back(HttpParser& parser, const Request& request) {
    VERIFY(put_back_ == nullptr);
    // The head begins with the method and was accepted, so its end is the first empty line.
    const char* const begin = request.method_name.data();
    std::size_t head = 4;
    while (std::memcmp(begin + head - 4, "\r\n\r\n", 4) != 0) {
        ++head;
    }
    put_back_head_ = static_cast<std::uint32_t>(head);
    put_back_size_ = static_cast<std::uint32_t>(head + request.body.size());
    put_back_body_bytes_ = request.body_bytes;
    put_back_ = parser.take_block(put_back_size_);
    base::copy_bytes(put_back_->data(), base::as_bytes({begin, head}));
    base::copy_bytes(put_back_->data() + head, request.body);
    parser.held_bytes_ += put_back_size_;
    parser.body_bytes_ += request.body.size();
}

ReadEvent RequestReader::yield_again(HttpParser& parser, Request& request) {
    const std::string_view bytes(reinterpret_cast<const char*>(put_back_->data()), put_back_size_);
    const std::string_view head = bytes.substr(0, put_back_head_);
    HeadScan scan;
    std::size_t head_size = 0;
    HttpError error;
    VERIFY(scan_head(head, scan, parser.lines_, head_size, error) == HeadState::complete);
    VERIFY(parse_head_lines(head, parser.lines_, request, error));
    request.known = {};
    request.body = base::as_bytes(bytes.substr(put_back_head_));
    request.body_bytes = put_back_body_bytes_;
    drop_put_back(parser);  // its bytes stay for this turn
    return ReadEvent::request_ready;
}

void RequestReader::drop_put_back(HttpParser& parser) {
    if (put_back_ != nullptr) {
        parser.held_bytes_ -= put_back_size_;
        parser.body_bytes_ -= put_back_size_ - put_back_head_;
        parser.retire(put_back_);
        put_back_ = nullptr;
    }
}

ReadEvent RequestReader::next(HttpParser& parser, Request& request) {
    if (put_back_ != nullptr) [[unlikely]] {
        return yield_again(parser, request);
    }
    switch (state_) {
        case State::head:
            return read_head(parser, request);
        case State::length:
        case State::chunked:
            return read_body(parser, request);
        case State::stopped:
            input_ = {};
            return error_.status == 0 ? ReadEvent::need_more : ReadEvent::failed;
    }
    return ReadEvent::need_more;
}

void RequestReader::hold(HttpParser& parser) {
    VERIFY(input_.empty() || !in_body());
    keep(parser, std::exchange(input_, {}));
}

void RequestReader::stop(HttpParser& parser) {
    parser.body_bytes_ -= counted_body_bytes();
    drop_put_back(parser);
    drop_block(parser);
    input_ = {};
    state_ = State::stopped;
}

void RequestReader::reset(HttpParser& parser) {
    stop(parser);
    state_ = State::head;
    scan_ = {};
    error_ = {};
    failed_head_ = false;
}

bool RequestReader::between_requests() const {
    return state_ == State::head && block_ == nullptr && input_.empty() && put_back_ == nullptr;
}

// A request being read begins where the kept bytes do, or else the input.
bool RequestReader::reads_head_request() const {
    if (state_ == State::stopped) {
        return failed_head_;
    }
    return (block_ != nullptr ? kept() : base::as_text(input_)).starts_with("HEAD ");
}

ReadEvent RequestReader::fail(HttpParser& parser, HttpError error) {
    failed_head_ = reads_head_request();
    stop(parser);
    error_ = error;
    return ReadEvent::failed;
}

ReadEvent RequestReader::finished(HttpParser& parser, const Request& request) {
    if (!request.keep_alive) {
        stop(parser);  // retires the block, whose bytes stay for this turn
    }
    return ReadEvent::request_ready;
}

ReadEvent RequestReader::read_head(HttpParser& parser, Request& request) {
    // Requests are read where they were received. Only behind an unfinished one input is appended
    // first.
    const bool from_block = block_ != nullptr;
    if (from_block) {
        keep(parser, std::exchange(input_, {}));
    }
    const std::string_view bytes = from_block ? kept() : base::as_text(input_);
    if (bytes.empty()) {
        return ReadEvent::need_more;
    }
    std::size_t head_size = scan_.scanned == 0 ? parser.memo_.find(bytes, request) : 0;
    if (head_size == 0) {
        HttpError error;
        switch (scan_head(bytes, scan_, parser.lines_, head_size, error)) {
            case HeadState::need_more:
                keep(parser, std::exchange(input_, {}));
                return ReadEvent::need_more;
            case HeadState::failed:
                return fail(parser, error);
            case HeadState::complete:
                break;
        }
        scan_ = {};
        if (!parser.parse_head(bytes.substr(0, head_size), request, error)) {
            return fail(parser, error);
        }
        request.known = {};
        parser.memo_.remember(bytes.substr(0, head_size), request);
    }
    if (request.content_length > parser.body_bytes_max_) {
        return fail(parser, {413, "body_too_large"});
    }
    discard_ = !has_body_semantics(request.method);
    const std::size_t length = static_cast<std::size_t>(request.content_length);
    if (!request.chunked && bytes.size() - head_size >= length) [[likely]] {
        request.body_bytes = length;
        if (!discard_) {
            request.body = base::as_bytes(bytes.substr(head_size, length));
        }
        if (from_block) {
            drop_kept(parser, head_size + length);
        } else {
            input_ = input_.subspan(head_size + length);
        }
        return finished(parser, request);
    }

    // The body is not all there, or in pieces: the head is kept in front of it and parsed again
    // when it is complete.
    if (from_block) {
        input_ = base::as_bytes(
            bytes.substr(head_size));  // stays where it is, whatever happens to the block
        const std::size_t rest = input_.size();
        block_used_ -= static_cast<std::uint32_t>(rest);
        parser.held_bytes_ -= rest;
        if (rest > 0) {
            // What follows the head must not be overwritten while it is read: the head moves to a
            // block of its own.
            base::Block* old = block_;
            base::Block* block = parser.take_block(head_size + (request.chunked ? rest : length));
            base::copy_bytes(block->data(), base::as_bytes(bytes.substr(0, head_size)));
            parser.retire(old);
            block_ = block;
            block_start_ = 0;
            block_used_ = static_cast<std::uint32_t>(head_size);
        }
    } else {
        if (!request.chunked && !discard_ && bytes.size() > head_size) {
            make_room(parser, head_size + length);
        }
        keep(parser, input_.first(head_size));
        input_ = input_.subspan(head_size);
    }
    head_size_ = static_cast<std::uint32_t>(head_size);
    state_ = request.chunked ? State::chunked : State::length;
    chunk_ = Chunk::first_digit;
    chunk_digits_ = 0;
    chunk_line_bytes_ = 0;
    extension_bytes_ = 0;
    remaining_ = request.chunked ? 0 : length;
    body_bytes_ = 0;
    wire_bytes_ = 0;
    parser.body_bytes_ += counted_body_bytes();
    const ReadEvent event = read_body(parser, request);
    return event == ReadEvent::need_more ? ReadEvent::head_ready : event;
}

ReadEvent RequestReader::read_body(HttpParser& parser, Request& request) {
    if (state_ == State::length) {
        if (!take_length(parser)) {
            return ReadEvent::need_more;
        }
    } else {
        HttpError error;
        if (!take_chunks(parser, error)) {
            return error.status != 0 ? fail(parser, error) : ReadEvent::need_more;
        }
    }
    return body_complete(parser, request);
}

ReadEvent RequestReader::body_complete(HttpParser& parser, Request& request) {
    const std::string_view bytes = kept();
    const std::string_view head = bytes.substr(0, head_size_);
    std::size_t head_size = 0;
    HttpError error;
    VERIFY(scan_head(head, scan_, parser.lines_, head_size, error) == HeadState::complete);
    VERIFY(parse_head_lines(head, parser.lines_, request, error));
    request.known = {};
    scan_ = {};
    request.body = base::as_bytes(bytes.substr(head_size_));
    request.body_bytes = body_bytes_;
    parser.body_bytes_ -= counted_body_bytes();
    state_ = State::head;
    drop_block(parser);
    return finished(parser, request);
}

bool RequestReader::take_length(HttpParser& parser) {
    const std::size_t size =
        static_cast<std::size_t>(std::min<std::uint64_t>(remaining_, input_.size()));
    if (!discard_) {
        if (size > 0) {
            make_room(parser, static_cast<std::size_t>(remaining_));
        }
        keep(parser, input_.first(size));
    }
    input_ = input_.subspan(size);
    body_bytes_ += size;
    remaining_ -= size;
    return remaining_ == 0;
}

// The size line is read; remaining_ is the chunk's size.
bool RequestReader::end_of_chunk_size(const HttpParser& parser, HttpError& error) {
    if (remaining_ > parser.body_bytes_max_ - body_bytes_) {
        error = {413, "body_too_large"};
        return false;
    }
    if (wire_bytes_ > limits::chunk_overhead_free_bytes &&
        body_bytes_ * limits::chunk_overhead_ratio_max < wire_bytes_) {
        error = {400, "chunks_too_small"};
        return false;
    }
    chunk_ = remaining_ == 0 ? Chunk::last_cr : Chunk::data;
    return true;
}

// RFC 9112 7.1 without trailers, blanks or quotes. False without an error: more is needed.
bool RequestReader::take_chunks(HttpParser& parser, HttpError& error) {
    while (!input_.empty()) {
        if (chunk_ == Chunk::data) {
            const std::size_t size =
                static_cast<std::size_t>(std::min<std::uint64_t>(remaining_, input_.size()));
            if (!discard_) {
                keep(parser, input_.first(size));
                parser.body_bytes_ += size;
            }
            input_ = input_.subspan(size);
            wire_bytes_ += size;
            body_bytes_ += size;
            remaining_ -= size;
            if (remaining_ == 0) {
                chunk_ = Chunk::data_cr;
            }
            continue;
        }
        const char c = static_cast<char>(input_.front());
        input_ = input_.subspan(1);
        ++wire_bytes_;
        switch (chunk_) {
            case Chunk::first_digit:
            case Chunk::digits: {
                const int digit = hex_digit(c);
                if (digit >= 0 && chunk_digits_ < 16) {
                    remaining_ = remaining_ << 4 | static_cast<std::uint64_t>(digit);
                    ++chunk_digits_;
                    ++chunk_line_bytes_;
                    chunk_ = Chunk::digits;
                } else if (chunk_ == Chunk::first_digit || (c != '\r' && c != ';')) {
                    error = {400, "bad_chunk_size"};
                    return false;
                } else if (c == '\r') {
                    chunk_ = Chunk::size_lf;
                } else {
                    chunk_ = Chunk::extension;
                    ++chunk_line_bytes_;
                    ++extension_bytes_;
                }
                break;
            }
            case Chunk::extension:
                if (c == '\r') {
                    chunk_ = Chunk::size_lf;
                } else if (c <= ' ' || c >= 0x7f || c == '"') {
                    error = {400, "bad_chunk_extension"};
                    return false;
                } else {
                    ++chunk_line_bytes_;
                    ++extension_bytes_;
                }
                break;
            case Chunk::size_lf:
                if (c != '\n') {
                    error = {400, "bad_chunk_size"};
                    return false;
                }
                if (!end_of_chunk_size(parser, error)) {
                    return false;
                }
                break;
            case Chunk::data:
                break;
            case Chunk::data_cr:
            case Chunk::last_cr:
                if (c != '\r') {
                    error = {400, chunk_ == Chunk::last_cr ? "trailers_refused" : "bad_chunk_end"};
                    return false;
                }
                chunk_ = chunk_ == Chunk::last_cr ? Chunk::last_lf : Chunk::data_lf;
                break;
            case Chunk::data_lf:
            case Chunk::last_lf:
                if (c != '\n') {
                    error = {400, "bad_chunk_end"};
                    return false;
                }
                if (chunk_ == Chunk::last_lf) {
                    chunk_ = Chunk::done;
                    return true;
                }
                chunk_ = Chunk::first_digit;
                chunk_digits_ = 0;
                chunk_line_bytes_ = 0;
                remaining_ = 0;
                break;
            case Chunk::done:
                return true;
        }
        if (chunk_line_bytes_ > limits::chunk_line_bytes_max ||
            extension_bytes_ > limits::chunk_extension_bytes_max) {
            error = {400, "chunk_line_too_long"};
            return false;
        }
    }
    return false;
}

}  // namespace ursula::net
