// PUT of a stream, and everything about buckets.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <string>
#include <utility>

#include "api/content_type.h"
#include "api/placement.h"
#include "base/json_text.h"
#include "base/limits.h"
#include "http/front.h"
#include "http/header_values.h"
#include "http/tokens.h"
#include "net/uri.h"

namespace ursula::http {

namespace limits = base::limits;
using net::KnownHeader;
using net::Method;

namespace {

std::string_view or_default(std::string_view content_type) {
    return api::is_media_type(content_type) ? content_type : api::default_content_type;
}

}  // namespace

void Front::start_create(Exchange& exchange, const net::Request& request, const Route& route,
                         const api::StreamKey& key) {
    exchange.asked = Asked::create;
    const net::Headers& headers = request.headers;
    Problem problem;
    if (!check_coding(headers, problem)) {
        responder_.problem(exchange, problem);
        return;
    }
    ForkHeaders fork;
    if (!read_fork(headers, fork, problem)) {
        responder_.problem(exchange, problem);
        return;
    }
    api::StreamKey source;
    if (!fork.from.empty() && !find_source(exchange, fork.from, source)) {
        return;
    }
    api::Expiry expiry;
    if (!read_expiry(headers, expiry, problem)) {
        responder_.problem(exchange, problem);
        return;
    }
    const bool inherits =
        !fork.from.empty() && !api::is_media_type(headers.get(KnownHeader::content_type));
    const std::string_view content_type =
        inherits ? std::string_view() : or_default(headers.get(KnownHeader::content_type));
    if (content_type.size() > limits::content_type_bytes_max) {
        responder_.problem(exchange, bad_request("header_too_long", "Content-Type is too long",
                                                 "send at most 256 bytes"));
        return;
    }
    api::ForkCall forked;
    if (!fork.from.empty()) {
        forked.key = key;
        forked.source = source.name;
        forked.source_group = source.group;
        forked.has_content_type = !inherits;
        forked.has_offset = fork.has_offset;
        forked.closed = says_closed(headers);
        forked.offset = fork.offset;
        forked.sub_offset = fork.sub_offset;
        forked.content_type = content_type;
        forked.body = request.body;
        forked.expiry = expiry;
        if (route.built_in) {
            call(exchange, api::shard_of(key.group, options_.shards), forked);
            return;
        }
    }
    if (route.built_in) {
        api::CreateCall create;
        create.key = key;
        create.content_type = content_type;
        create.closed = says_closed(headers);
        create.body = request.body;
        create.expiry = expiry;
        call(exchange, api::shard_of(key.group, options_.shards), create);
        return;
    }
    // The bucket's id comes from group 0, maybe on another core: keep what the create will need.
    exchange.create = std::make_unique<WaitingCreate>();
    WaitingCreate& waiting = *exchange.create;
    waiting.name = key.name;
    waiting.hash = key.hash;
    waiting.group = key.group;
    waiting.content_type = content_type;
    waiting.closed = says_closed(headers);
    waiting.body = base::as_text(request.body);
    waiting.expiry = expiry;
    waiting.expires_at = expiry.text;
    waiting.expiry.text = {};
    waiting.bucket = route.bucket;
    waiting.source = source.name;
    waiting.fork = forked;
    call(exchange, api::shard_of(api::bucket_group, options_.shards),
         api::ResolveBucketCall{route.bucket});
}

void Front::send_create(Exchange& exchange, std::uint64_t bucket_id) {
    const WaitingCreate& waiting = *exchange.create;
    if (!waiting.source.empty()) {
        api::ForkCall fork = waiting.fork;
        fork.key = {arena_.keep(waiting.name), waiting.hash, waiting.group};
        fork.source = arena_.keep(waiting.source);
        fork.bucket_id = bucket_id;
        fork.content_type = arena_.keep(waiting.content_type);
        fork.body = base::as_bytes(arena_.keep(waiting.body));
        fork.expiry.text = arena_.keep(waiting.expires_at);
        call(exchange, api::shard_of(waiting.group, options_.shards), fork);
        return;
    }
    api::CreateCall create;
    create.key = {arena_.keep(waiting.name), waiting.hash, waiting.group};
    create.content_type = arena_.keep(waiting.content_type);
    create.closed = waiting.closed;
    create.bucket_id = bucket_id;
    create.body = base::as_bytes(arena_.keep(waiting.body));
    create.expiry = waiting.expiry;
    create.expiry.text = arena_.keep(waiting.expires_at);
    call(exchange, api::shard_of(waiting.group, options_.shards), create);
}

// What Stream-Forked-From names, read as a request's path is. False: it names no stream, and the
// client was told.
bool Front::find_source(Exchange& exchange, std::string_view path, api::StreamKey& source) {
    const std::span<char> text = decode(path);
    const Route route = text.empty() ? Route() : find_route(text.data(), text.size());
    if (route.kind != RouteKind::stream) {
        responder_.problem(exchange,
                           bad_request("forked_from", "Stream-Forked-From names no stream",
                                       "send the path of the source's URL, as in /v1/stream/NAME "
                                       "or /BUCKET/NAME"));
        return false;
    }
    source = key_of(route);
    return true;
}

// Of this server, as clients reach it.
std::string Front::base_url(const Exchange& exchange) const {
    return options_.public_url.empty() ? "http://" + exchange.host : options_.public_url;
}

void Front::answer_create(Exchange& exchange, const api::CreateReply& reply) {
    net::ResponseWriter writer = responder_.begin(exchange, reply.created ? 201 : 200, false);
    if (reply.created) {
        writer.header("Location", base_url(exchange) + exchange.path);
    }
    writer.header("Content-Type", base::as_text(reply.content_type.bytes()));
    std::array<char, offset_token_bytes> token;
    write_offset(token.data(), reply.tail);
    writer.header("Stream-Next-Offset", {token.data(), token.size()});
    if (reply.closed) {
        writer.constant("Stream-Closed: true\r\n");
    }
    responder_.end(exchange, writer.end_with_body({}));
}

void Front::start_bucket(Exchange& exchange, const net::Request& request, const Route& route) {
    const base::ShardId owner = api::shard_of(api::bucket_group, options_.shards);
    switch (request.method) {
        case Method::put: {
            bool stream_headers =
                request.headers.has(KnownHeader::content_type) || request.body_bytes > 0;
            for (std::size_t i = 0; i < request.headers.size(); ++i) {
                stream_headers =
                    stream_headers ||
                    (request.headers.name(i).size() > 7 &&
                     api::equal_ignoring_case(request.headers.name(i).substr(0, 7), "stream-"));
            }
            if (stream_headers) {
                responder_.problem(
                    exchange,
                    bad_request(
                        "bucket_takes_no_content",
                        "One path segment names a bucket, which has no content",
                        fmt::format("a stream is /{}/NAME, or /v1/stream/{} without a bucket",
                                    route.bucket, route.bucket)));
                return;
            }
            exchange.asked = Asked::create_bucket;
            note_redirect(exchange, request);
            call(exchange, owner, api::CreateBucketCall{route.bucket});
            return;
        }
        case Method::remove:
            exchange.asked = Asked::remove_bucket;
            note_redirect(exchange, request);
            call(exchange, owner, api::RemoveBucketCall{route.bucket});
            return;
        case Method::get:
        case Method::head:
            start_listing(exchange, request, route);
            return;
        case Method::post:
        case Method::options:
        case Method::other:
            refuse_method(exchange, allowed_methods(route.kind));
            return;
    }
}

void Front::answer_bucket(Exchange& exchange, const api::BucketReply& reply) {
    if (exchange.asked == Asked::remove_bucket) {
        net::ResponseWriter writer = responder_.begin(exchange, 204, false);
        responder_.end(exchange, writer.end_without_body());
        return;
    }
    net::ResponseWriter writer = responder_.begin(exchange, reply.created ? 201 : 200, false);
    if (reply.created) {
        writer.header("Location", base_url(exchange) + exchange.path);
    }
    responder_.end(exchange, writer.end_with_body({}));
}

// GET /{bucket}?prefix=&after=&limit= asks group 0 for the bucket, then every shard for its part;
// GET / with the same parameters asks group 0 for the buckets.
void Front::start_listing(Exchange& exchange, const net::Request& request, const Route& route) {
    exchange.listing = std::make_unique<Listing>();
    Listing& listing = *exchange.listing;
    listing.count_max = limits::listing_default_count;
    std::string prefix;
    std::string after;
    net::QueryIterator query(request.query);
    net::QueryParameter parameter;
    std::array<char, limits::path_bytes_max> buffer;
    bool prefix_given = false;
    bool after_given = false;
    bool limit_given = false;
    while (query.next(parameter)) {
        const net::DecodedPath value = net::decode_query_value(parameter.value, buffer);
        if (value.error != net::UriError::none) {
            responder_.problem(exchange, bad_request("bad_query", "A query value cannot be decoded",
                                                     "check its %XX escapes"));
            return;
        }
        const bool is_prefix = parameter.name == "prefix";
        const bool is_after = parameter.name == "after";
        const bool is_limit = parameter.name == "limit";
        if ((is_prefix && std::exchange(prefix_given, true)) ||
            (is_after && std::exchange(after_given, true)) ||
            (is_limit && std::exchange(limit_given, true))) {
            responder_.problem(exchange,
                               bad_request("query_repeated", "A query parameter stands twice",
                                           "send prefix, after and limit at most once each"));
            return;
        }
        if ((is_prefix || is_after) && !net::may_be_in_path(value.text)) {
            responder_.problem(
                exchange, bad_request("bad_query", "prefix or after can be in no stream's name",
                                      "send valid UTF-8 without control characters"));
            return;
        }
        if (is_prefix) {
            prefix = value.text;
        } else if (is_after) {
            after = value.text;
        } else if (is_limit) {
            std::uint32_t limit = 0;
            const char* end = value.text.data() + value.text.size();
            const auto parsed = std::from_chars(value.text.data(), end, limit);
            if (parsed.ec != std::errc() || parsed.ptr != end || limit == 0 ||
                limit > limits::listing_count_max) {
                responder_.problem(exchange,
                                   bad_request("bad_limit", "limit is not a number from 1 to 10000",
                                               "leave it out"));
                return;
            }
            listing.count_max = limit;
        }
    }
    listing.prefix = std::move(prefix);
    listing.after = std::move(after);
    if (route.kind == RouteKind::root) {
        exchange.asked = Asked::list_buckets;
        listing.waiting = 1;
        call(exchange, api::shard_of(api::bucket_group, options_.shards), api::ListBucketsCall{});
        return;
    }
    exchange.asked = Asked::list_streams;
    // The bucket itself first: an empty list and a missing bucket are not the same.
    listing.bucket = route.bucket;
    call(exchange, api::shard_of(api::bucket_group, options_.shards),
         api::ResolveBucketCall{route.bucket});
}

// The bucket is there: every shard is asked for its part.
void Front::send_listing(Exchange& exchange) {
    Listing& listing = *exchange.listing;
    listing.waiting = options_.shards;
    api::ListStreamsCall list;
    list.bucket = arena_.keep(listing.bucket);
    list.prefix = arena_.keep(listing.prefix);
    list.after = arena_.keep(listing.after);
    list.count_max = listing.count_max;
    for (std::uint32_t shard = 0; shard < options_.shards && !exchange.done; ++shard) {
        call(exchange, base::ShardId(shard), list);
    }
}

void Front::answer_list(Exchange& exchange, const api::ListReply& reply) {
    Listing& listing = *exchange.listing;
    std::string_view names = reply.names;
    while (!names.empty()) {
        const std::size_t end = names.find('\n');
        const std::string_view name = names.substr(0, end);
        // Shards choose their streams; of buckets group 0 has sent all there are.
        if (exchange.asked == Asked::list_streams ||
            (name.starts_with(listing.prefix) && name > listing.after)) {
            listing.parts.emplace_back(name);
        }
        names = end == std::string_view::npos ? std::string_view() : names.substr(end + 1);
    }
    listing.more = listing.more || reply.more;
    if (--listing.waiting > 0) {
        return;
    }
    std::sort(listing.parts.begin(), listing.parts.end());
    if (listing.parts.size() > listing.count_max) {
        listing.parts.resize(listing.count_max);
        listing.more = true;
    }
    std::string text = exchange.asked == Asked::list_buckets ? "{\"buckets\":[" : "{\"streams\":[";
    for (std::size_t i = 0; i < listing.parts.size(); ++i) {
        text += i == 0 ? "" : ",";
        base::append_json_name(text, listing.parts[i]);
    }
    text += ']';
    if (listing.more && !listing.parts.empty()) {
        text += ",\"after\":";
        base::append_json_name(text, listing.parts.back());
    }
    text += "}\n";
    net::ResponseWriter writer = responder_.begin(exchange, 200, true);
    writer.constant("Content-Type: application/json\r\nCache-Control: no-store\r\n");
    responder_.end(exchange, exchange.head_only ? writer.end_with_length(text.size())
                                                : writer.end_with_body(base::as_bytes(text)));
}

}  // namespace ursula::http
