// GET (catch-up, long-poll, SSE) and HEAD of a stream.
#include <array>
#include <optional>
#include <utility>

#include "api/content_type.h"
#include "api/placement.h"
#include "base/limits.h"
#include "http/front.h"
#include "http/planted.h"
#include "http/tokens.h"
#include "net/uri.h"

namespace ursula::http {

namespace limits = base::limits;
using net::KnownHeader;

namespace {

// Compressing takes the loop some milliseconds per MiB, so it is done in smaller chunks.
constexpr std::uint64_t gzip_chunk_bytes = 256 * 1024;

struct ReadQuery {
    bool has_offset = false;
    bool offset_given = false;
    bool from_now = false;
    std::uint64_t offset = 0;
    bool long_poll = false;
    bool sse = false;
    std::array<char, limits::cursor_bytes_max> cursor_buffer{};
    std::string_view cursor;
};

// Digest 1.8: the offset is exactly -1, now or a token of ours; other values of live and unknown
// parameters are ignored. Those that are known stand at most once: of two, a proxy may see the
// other.
BadQuery read_query(std::string_view query, ReadQuery& out) {
    net::QueryIterator iterator(query);
    net::QueryParameter parameter;
    std::array<char, limits::query_value_bytes_max> buffer;
    bool live_given = false;
    bool cursor_given = false;
    while (iterator.next(parameter)) {
        const bool offset = parameter.name == "offset";
        const bool live = parameter.name == "live";
        if (!offset && !live && parameter.name != "cursor") {
            continue;
        }
        const net::DecodedPath value = net::decode_query_value(parameter.value, buffer);
        if (!offset) {
            if (std::exchange(live ? live_given : cursor_given, true)) {
                return BadQuery::repeated;
            }
            if (value.error != net::UriError::none) {
                continue;
            }
            if (live) {
                out.long_poll = value.text == "long-poll";
                out.sse = value.text == "sse";
            } else if (value.text.size() <= out.cursor_buffer.size()) {
                const std::size_t size =
                    value.text.copy(out.cursor_buffer.data(), out.cursor_buffer.size());
                out.cursor = {out.cursor_buffer.data(), size};
            }
            continue;
        }
        if (out.offset_given || value.error != net::UriError::none) {
            return BadQuery::offset_malformed;
        }
        out.offset_given = true;
        if (value.text == "-1") {
            out.offset = 0;
        } else if (value.text == "now") {
            out.from_now = true;
        } else {
            const std::optional<std::uint64_t> position = parse_offset(value.text);
            if (!position) {
                return BadQuery::offset_malformed;
            }
            out.offset = *position;
        }
    }
    return (out.long_poll || out.sse) && !out.offset_given ? BadQuery::offset_missing
                                                           : BadQuery::none;
}

}  // namespace

void Front::start_read(Exchange& exchange, const net::Request& request, const api::StreamKey& key,
                       base::Now now) {
    ReadQuery query;
    const BadQuery bad_query = read_query(request.query, query);
    if (bad_query != BadQuery::none) {
        // A missing stream is told first (digest 1.8): let the shard say so.
        exchange.asked = Asked::read;
        exchange.bad_query = bad_query;
        call(exchange, api::shard_of(key.group, options_.shards), api::HeadCall{key});
        return;
    }
    exchange.form = wanted_form(request.headers.get(KnownHeader::accept),
                                request.headers.get(KnownHeader::accept_encoding));
    if (query.long_poll || query.sse) {
        exchange.asked = Asked::tail;
        TailHub::Start start;
        start.mode = query.sse ? TailMode::sse : TailMode::long_poll;
        start.key = key;
        start.from_now = query.from_now;
        start.offset = query.offset;
        start.cursor = query.cursor;
        // EventSource reconnects with the offset of the last control event (DESIGN "Tails": id).
        if (query.sse && request.headers.has(KnownHeader::last_event_id)) {
            if (const auto position =
                    parse_offset(request.headers.get(KnownHeader::last_event_id))) {
                start.offset = *position;
                start.from_now = false;
            }
        }
        if (const api::Refusal why = tails_.start(exchange, start, now);
            why != api::Refusal::none) {
            responder_.refuse(exchange, {why});
        }
        return;
    }
    exchange.asked = Asked::read;
    exchange.from_now = query.from_now;
    exchange.if_none_match.assign(request.headers.get(KnownHeader::if_none_match));
    api::ReadCall read;
    read.key = key;
    read.from_now = query.from_now;
    read.offset = query.offset;
    read.bytes_max = exchange.form.gzip ? std::min(options_.read_chunk_bytes, gzip_chunk_bytes)
                                        : options_.read_chunk_bytes;
    call(exchange, api::shard_of(key.group, options_.shards), read);
}

void Front::refuse_query(Exchange& exchange) {
    if (exchange.bad_query == BadQuery::repeated) {
        responder_.problem(exchange, bad_request("query_repeated", "A query parameter stands twice",
                                                 "send offset, live and cursor at most once each"));
        return;
    }
    responder_.problem(
        exchange,
        exchange.bad_query == BadQuery::offset_missing
            ? bad_request(
                  "offset_missing", "A live read needs an offset",
                  "add offset=-1 for everything, offset=now, or the last Stream-Next-Offset")
            : bad_request("offset_malformed", "Not an offset",
                          "send -1, now, or a Stream-Next-Offset as it was given, once"));
}

void Front::answer_head(Exchange& exchange, const api::HeadReply& reply) {
    net::ResponseWriter writer = responder_.begin(exchange, 200, true);
    writer.header("Content-Type", base::as_text(reply.content_type.bytes()));
    std::array<char, offset_token_bytes> token;
    write_offset(token.data(), reply.tail);
    writer.header("Stream-Next-Offset", {token.data(), token.size()});
    if (reply.closed) {
        writer.constant("Stream-Closed: true\r\n");
    }
    if (reply.expires == api::Expiry::Kind::ttl) {
        writer.header("Stream-TTL", static_cast<std::uint64_t>(reply.ttl_ms / 1000));
    } else if (reply.expires == api::Expiry::Kind::at) {
        writer.header("Stream-Expires-At", base::as_text(reply.expires_at.bytes()));
    }
    writer.constant("Cache-Control: no-store\r\n");
    writer.constant(  // as its GET
        Responder::vary(api::is_json(base::as_text(reply.content_type.bytes()))));
    responder_.end(exchange, writer.end_without_body());
}

void Front::answer_read(Exchange& exchange, const api::ReadReply& reply) {
    const Form form = Responder::form_of(exchange, reply);
    const std::string tag =
        etag(options_.data_id, reply.incarnation, reply.from, reply.next, reply.closed, form);
    const bool not_modified = !exchange.from_now && !exchange.if_none_match.empty() &&
                              etag_matches(exchange.if_none_match, tag);
    net::ResponseWriter writer = responder_.begin(exchange, not_modified ? 304 : 200, true);
    std::array<char, offset_token_bytes> token;
    write_offset(token.data(), reply.next);
    writer.header("Stream-Next-Offset", {token.data(), token.size()});
    if (reply.up_to_date || planted(Planted::always_up_to_date)) {
        writer.constant("Stream-Up-To-Date: true\r\n");
    }
    if (reply.closed) {
        writer.constant("Stream-Closed: true\r\n");
    }
    if (exchange.from_now) {
        writer.constant("Cache-Control: no-store\r\n");
    } else {
        writer.header("ETag", tag);
        // A chunk below the tail, or of a closed stream, never changes; one at an open tail is
        // asked for again.
        writer.constant(!reply.up_to_date || reply.closed
                            ? "Cache-Control: public, max-age=60, stale-while-revalidate=300\r\n"
                            : "Cache-Control: no-cache\r\n");
    }
    if (not_modified) {
        writer.constant(Responder::vary(reply.json));
        responder_.end(exchange, writer.end_without_body());
        return;
    }
    responder_.body(exchange, writer, reply, form);
}

}  // namespace ursula::http
