// POST: append, close, both.
#include <array>

#include "api/placement.h"
#include "base/limits.h"
#include "base/verify.h"
#include "http/front.h"
#include "http/header_values.h"
#include "http/planted.h"
#include "http/tokens.h"
#include "net/uri.h"

namespace ursula::http {

namespace limits = base::limits;
using net::KnownHeader;

void Front::start_append(Exchange& exchange, const net::Request& request,
                         const api::StreamKey& key) {
    exchange.asked = Asked::append;
    const net::Headers& headers = request.headers;
    exchange.shard = api::shard_of(key.group, options_.shards);
    call_.id = exchange.call_id();
    call_.from = options_.shard;
    call_.redirect = !exchange.redirect_to.empty();
    auto& append = call_.verb.emplace<api::AppendCall>();
    append.key = key;
    append.body = request.body;
    append.close = says_closed(headers);
    Problem problem;
    if (!read_producer(headers, append.producer, problem)) {
        responder_.problem(exchange, problem);
        return;
    }
    if (headers.has(KnownHeader::content_type)) {
        append.content_type = headers.get(KnownHeader::content_type);
        append.has_content_type = !append.content_type.empty();
        exchange.content_type.assign(append.content_type);
    }
    append.stream_seq = headers.get(KnownHeader::stream_seq);
    if (append.stream_seq.size() > limits::stream_seq_bytes_max ||
        append.content_type.size() > limits::content_type_bytes_max) {
        responder_.problem(exchange,
                           bad_request("header_too_long", "Stream-Seq or Content-Type is too long",
                                       "send at most 256 bytes"));
        return;
    }
    if (!check_coding(headers, problem)) {
        responder_.problem(exchange, problem);
        return;
    }
    if (exchange.shard != options_.shard) {
        ++counters_.foreign_calls;
    }
    if (!calls_.send(exchange.shard, call_)) {
        ++counters_.mailbox_full;
        responder_.refuse(exchange, {api::Refusal::overloaded});
    }
}

// The stream has another type than the append's: the answer names both, and a HEAD knows the
// stream's.
void Front::ask_stream_type(Exchange& exchange) {
    const std::span<char> text = decode(exchange.path);
    VERIFY(!text.empty());  // as when it was appended to
    const api::StreamKey key = key_of(find_route(text.data(), text.size()));
    exchange.asked = Asked::stream_type;
    call(exchange, exchange.shard, api::HeadCall{key});
}

void Front::answer_append(Exchange& exchange, const api::AppendReply& reply) {
    if (reply.kind == api::AppendReply::Kind::appended && !reply.producer && !reply.closed) {
        responder_.append_accepted(exchange, reply.tail);
        return;
    }
    // 200 only for new data of a producer (digest 1.3).
    const bool fresh =
        reply.producer &&
        (reply.kind == api::AppendReply::Kind::appended ||
         (reply.kind == api::AppendReply::Kind::duplicate && planted(Planted::duplicate_is_new)));
    net::ResponseWriter writer = responder_.begin(exchange, fresh ? 200 : 204, false);
    std::array<char, offset_token_bytes> token;
    write_offset(token.data(), reply.tail);
    writer.header("Stream-Next-Offset", {token.data(), token.size()});
    if (reply.producer) {
        writer.header("Producer-Epoch", reply.producer_epoch)
            .header("Producer-Seq", reply.producer_seq);
    }
    if (reply.closed) {
        writer.constant("Stream-Closed: true\r\n");
    }
    responder_.end(exchange, fresh ? writer.end_with_body({}) : writer.end_without_body());
}

}  // namespace ursula::http
