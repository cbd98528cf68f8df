#include "http/responder.h"

#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/limits.h"
#include "base/log.h"
#include "base/random.h"
#include "http/http_date.h"
#include "http/tokens.h"
#include "net/http_message.h"

namespace ursula::http {
namespace {

namespace limits = base::limits;

constexpr std::string_view date_name = "Date: ";
constexpr std::string_view append_status = "HTTP/1.1 204 No Content\r\n";
constexpr std::string_view safe_headers =
    "X-Content-Type-Options: nosniff\r\nCross-Origin-Resource-Policy: cross-origin\r\n";
// A stream may hold a page of anybody's: opened as one, it runs nothing and belongs to no origin.
constexpr std::string_view stream_policy =
    "Content-Security-Policy: default-src 'none'; sandbox\r\n";
// By name, so that a browser page can read every header of the protocol (digest 2.11).
constexpr std::string_view exposed_headers =
    "Access-Control-Expose-Headers: Stream-Next-Offset, Stream-Cursor, Stream-Up-To-Date, "
    "Stream-Closed, "
    "Stream-TTL, Stream-Expires-At, Stream-SSE-Data-Encoding, Producer-Epoch, Producer-Seq, "
    "Producer-Expected-Seq, Producer-Received-Seq, ETag, Location, Retry-After, Content-Type, "
    "Content-Encoding, Vary, Allow, X-Request-Id\r\n";
constexpr std::string_view preflight_lines =
    "Access-Control-Allow-Methods: GET, POST, PUT, DELETE, HEAD, OPTIONS\r\n"
    "Access-Control-Max-Age: 86400\r\n"
    "Access-Control-Allow-Headers: Content-Type, Authorization, Accept, If-None-Match, If-Match, "
    "Last-Event-ID, "
    "Stream-Seq, Stream-TTL, Stream-Expires-At, Stream-Closed, Stream-Forked-From, "
    "Stream-Fork-Offset, "
    "Stream-Fork-Sub-Offset, Producer-Id, Producer-Epoch, Producer-Seq, Prefer";

}  // namespace

Responder::Responder(const EdgeOptions& options, net::Transport& transport, EdgeCounters& counters,
                     base::WallTime now)
    : options_(options),
      transport_(transport),
      counters_(counters),
      read_room_(options, transport),
      request_number_(base::Random(options.random_seed).next()) {
    options_changed();
    first_lines_ = date_name;
    first_lines_ += std::string(http_date_bytes, ' ');
    first_lines_ += "\r\n";
    first_lines_ += safe_headers;
    append_head_ = append_status;
    append_head_ += first_lines_;
    append_head_ += "Stream-Next-Offset: ";
    append_offset_at_ = append_head_.size();
    append_head_ += std::string(offset_token_bytes, '0');
    append_head_ += "\r\n\r\n";
    write_date(now);
}

void Responder::write_date(base::WallTime now) {
    const std::int64_t into_second = now.ms % 1000;
    dated_ms_ = now.ms - into_second - (into_second < 0 ? 1000 : 0);
    char* date = first_lines_.data() + date_name.size();
    write_http_date(date, now);
    std::copy_n(date, http_date_bytes,
                append_head_.data() + append_status.size() + date_name.size());
}

void Responder::options_changed() {
    open_cors_.clear();
    const auto& origins = options_.cors_origins;
    if (std::find(origins.begin(), origins.end(), "*") != origins.end()) {
        open_cors_ = "Access-Control-Allow-Origin: *\r\n";
        open_cors_ += exposed_headers;
    }
}

std::string_view Responder::cors(const Exchange& exchange, bool cross_origin) {
    if (!open_cors_.empty()) {
        return cross_origin || exchange.has_origin ? std::string_view(open_cors_)
                                                   : std::string_view();
    }
    if (options_.cors_origins.empty()) {
        return {};
    }
    listed_cors_ = "Vary: Origin\r\n";
    const auto& list = options_.cors_origins;
    if (exchange.has_origin && std::find(list.begin(), list.end(), exchange.origin) != list.end()) {
        listed_cors_ += "Access-Control-Allow-Origin: " + exchange.origin + "\r\n";
        listed_cors_ += exposed_headers;
    }
    return listed_cors_;
}

net::OutputBuffer& Responder::output(Exchange& exchange) {
    if (!exchange.held_aside) {
        return transport_.output(exchange.connection);
    }
    if (exchange.held == nullptr) {
        exchange.held = std::make_unique<net::OutputBuffer>(held_pool_);
    }
    return *exchange.held;
}

net::ResponseWriter Responder::begin(Exchange& exchange, int status, bool cross_origin) {
    ++counters_.responses[exchange.method][std::clamp(status / 100, 0, 5)];
    net::ResponseWriter writer(output(exchange), status, first_lines_);
    writer.constant(cors(exchange, cross_origin));
    if (!exchange.keep_alive) {
        writer.connection_close();
    } else if (exchange.http_1_0) {
        writer.constant(
            "Connection: keep-alive\r\n");  // else it would take the end for its answer's
    }
    return writer;
}

void Responder::end(Exchange& exchange, bool ok) {
    if (!ok) {
        // A value we were about to send had a control character: nothing of that response left.
        exchange.keep_alive = false;
        net::ResponseWriter writer = begin(exchange, 500, false);
        ok = writer.end_with_body({});
    }
    exchange.done = true;
    ended_.push_back(exchange.index);
}

std::string Responder::next_request_id() {
    // Weyl sequence through a mixer: unique for 2^64 requests of this loop, and telling nothing.
    request_number_ += 0x9e37'79b9'7f4a'7c15u;
    std::uint64_t value = request_number_;
    value = (value ^ (value >> 32)) * 0xd6e8'feb8'6659'fd93u;
    value ^= value >> 32;
    std::string id(16, '0');
    for (char& digit : id) {
        digit = "0123456789abcdef"[value & 15];
        value >>= 4;
    }
    return id;
}

std::string Responder::preflight_headers(std::string_view wanted) const {
    std::string lines(preflight_lines);
    // Names, commas and blanks only: it goes back as it came.
    const bool plain =
        wanted.size() <= limits::preflight_headers_bytes_max &&
        std::all_of(wanted.begin(), wanted.end(), [](char c) {
            return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                   std::string_view("!#$%&'*+-.^_`|~, ").find(c) != std::string_view::npos;
        });
    if (!wanted.empty() && plain) {
        lines += ", ";
        lines += wanted;
    }
    lines += "\r\n";
    return lines;
}

// Ordinary refusals are part of the protocol and clients can cause any number of them: only some
// lines of them are written, and how many were left out.
void Responder::log_refusal(const Exchange& exchange, const Problem& problem, std::string_view id) {
    const bool ours = problem.status >= 500;
    LogRoom& room = log_rooms_[ours ? 1 : 0];
    const std::int64_t second = dated_ms_ / 1000;
    if (second != room.filled_s) {
        const std::int64_t passed = room.filled_s == 0 || second < room.filled_s
                                        ? limits::refusal_log_burst
                                        : second - room.filled_s;
        room.lines = std::min(room.lines + passed, limits::refusal_log_burst);
        room.filled_s = second;
    }
    if (room.lines == 0) {
        ++room.left_out;
        return;
    }
    --room.lines;
    base::log(ours ? base::Event::request_failed : base::Event::request_refused,
              {{"request_id", id},
               {"status", problem.status},
               {"code", problem.code},
               {"method", net::method_names[exchange.method]},
               {"path", exchange.path},
               {"left_out", std::exchange(room.left_out, 0)}});
}

void Responder::problem(Exchange& exchange, const Problem& problem,
                        std::string_view extra_header_lines) {
    net::ResponseWriter writer = begin(exchange, problem.status, false);
    writer.header("Content-Type", "application/problem+json").header("Cache-Control", "no-store");
    if (problem.retry_after) {
        writer.header("Retry-After", "1");
    }
    writer.constant(extra_header_lines);
    const std::string id = next_request_id();
    writer.header("X-Request-Id", id);  // a HEAD has no body to read it from
    log_refusal(exchange, problem, id);
    const std::string text = problem_body(problem, id);
    if (exchange.head_only) {
        end(exchange, writer.end_with_length(text.size()));
    } else {
        end(exchange, writer.end_with_body(base::as_bytes(text)));
    }
}

void Responder::refuse(Exchange& exchange, const api::Refused& refused) {
    std::string extra;
    // Not for a create that finds a closed stream of another configuration: clients take that
    // header on a 409 for the refusal itself.
    if (refused.why == api::Refusal::stream_closed) {
        extra +=
            "Stream-Closed: true\r\nStream-Next-Offset: " + offset_token(refused.tail) + "\r\n";
    }
    if (refused.why == api::Refusal::stream_closed && refused.numbers[1] != 0) {
        // A producer with several appends under way takes a 409 without these for "start at 0", and
        // sends its own again and again (digest 5.3).
        const std::string seq = std::to_string(refused.numbers[0]);
        extra += "Producer-Expected-Seq: " + seq + "\r\nProducer-Received-Seq: " + seq + "\r\n";
    } else if (refused.why == api::Refusal::producer_epoch_stale) {
        extra += "Producer-Epoch: " + std::to_string(refused.numbers[0]) + "\r\n";
    } else if (refused.why == api::Refusal::producer_gap) {
        extra += "Producer-Expected-Seq: " + std::to_string(refused.numbers[0]) +
                 "\r\nProducer-Received-Seq: " + std::to_string(refused.numbers[1]) + "\r\n";
    }
    problem(exchange, problem_of(refused, place(exchange)), extra);
}

bool Responder::has_room(Exchange& exchange, base::ShardId from, const api::ReadReply& read,
                         base::Instant now) {
    if (read_room_.take(exchange.connection, read, from != options_.shard, now)) [[likely]] {
        return true;
    }
    ++counters_.reads_refused;
    Problem why = problem_of_status(503, "reads_not_taken");
    why.hint = "too many clients do not take what they asked for; try again in a second";
    problem(exchange, why);
    return false;
}

void Responder::append_accepted(Exchange& exchange, std::uint64_t tail) {
    if (exchange.has_origin || !exchange.keep_alive || exchange.http_1_0 || open_cors_.empty()) {
        net::ResponseWriter writer = begin(exchange, 204, false);
        std::array<char, offset_token_bytes> token;
        write_offset(token.data(), tail);
        writer.header("Stream-Next-Offset", {token.data(), token.size()});
        end(exchange, writer.end_without_body());
        return;
    }
    ++counters_.responses[exchange.method][2];
    net::OutputBuffer& out = output(exchange);
    std::byte* at = out.reserve(append_head_.size());
    base::copy_bytes(at, base::as_bytes(append_head_));
    write_offset(reinterpret_cast<char*>(at) + append_offset_at_, tail);
    out.commit(append_head_.size());
    end(exchange, true);
}

Form Responder::form_of(const Exchange& exchange, const api::ReadReply& read) {
    return {exchange.form.lines && read.json, is_compressed(exchange.form, read.next - read.from)};
}

void Responder::body(Exchange& exchange, net::ResponseWriter& writer, const api::ReadReply& read,
                     const Form& form) {
    writer.header("Content-Type", form.lines ? std::string_view("application/x-ndjson")
                                             : base::as_text(read.content_type.bytes()));
    writer.constant(vary(read.json));
    writer.constant(stream_policy);
    if (form.lines || form.gzip) {
        converted_body(exchange, writer, read, form);
        return;
    }
    std::uint64_t stored = 0;
    for (const base::Slice& piece : read.pieces) {
        stored += piece.size();
    }
    // JSON: two brackets for the last comma, or "[]".
    const std::uint64_t length = !read.json ? stored : (stored == 0 ? 2 : stored + 1);
    if (!writer.end_with_length(length)) {
        end(exchange, false);
        return;
    }
    net::OutputBuffer& out = output(exchange);
    if (read.json) {
        out.write(std::string_view("["));
    }
    for (std::size_t i = 0; i < read.pieces.size(); ++i) {
        const bool last = read.json && i + 1 == read.pieces.size();
        out.write(last ? read.pieces[i].sub(0, read.pieces[i].size() - 1) : read.pieces[i]);
    }
    if (read.json) {
        out.write(std::string_view("]"));
    }
    end(exchange, true);
}

void Responder::converted_body(Exchange& exchange, net::ResponseWriter& writer,
                               const api::ReadReply& read, const Form& form) {
    std::string text;
    if (form.lines) {
        text = as_lines(read.pieces);
    }
    if (form.gzip) {
        std::vector<std::string_view> parts;
        if (form.lines) {
            parts.push_back(text);
        } else {
            parts.push_back(read.json ? "[" : "");
            for (const base::Slice& piece : read.pieces) {
                parts.push_back(base::as_text(piece.bytes()));
            }
            if (read.json) {
                parts.back().remove_suffix(1);
                parts.push_back("]");
            }
        }
        text = compress(parts);
        writer.constant("Content-Encoding: gzip\r\n");
    }
    end(exchange, writer.end_with_body(base::as_bytes(text)));
}

}  // namespace ursula::http
