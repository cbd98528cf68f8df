// /v1/stream/__ds/... and /{bucket}/__ds/...: subscriptions and the keys of their webhooks. Each
// request is one to three calls, one after the other: a PUT makes sure of a signing key, puts, then
// reads what it made.
#include <utility>

#include "api/content_type.h"
#include "api/placement.h"
#include "base/limits.h"
#include "http/front.h"
#include "http/subscription_json.h"

namespace ursula::http {

namespace limits = base::limits;
using api::SubscriptionOp;
using net::KnownHeader;
using net::Method;

namespace {

constexpr std::string_view json_type =
    "Content-Type: application/json\r\nCache-Control: no-store\r\n";

std::string_view bearer_of(const net::Headers& headers) {
    if (!headers.has(KnownHeader::authorization)) {
        return {};
    }
    const std::string_view value = headers.get(KnownHeader::authorization);
    constexpr std::string_view scheme = "bearer ";
    if (value.size() <= scheme.size() ||
        !api::equal_ignoring_case(value.substr(0, scheme.size()), scheme)) {
        return {};
    }
    return value.substr(scheme.size());
}

}  // namespace

void Front::start_subscription(Exchange& exchange, const net::Request& request,
                               const Route& route) {
    exchange.asked = Asked::subscription;
    std::string_view rest = route.stream_name;
    const auto next = [&rest] {
        while (rest.starts_with('/')) {
            rest.remove_prefix(1);
        }
        const std::string_view segment = rest.substr(0, rest.find('/'));
        rest.remove_prefix(segment.size());
        return segment;
    };
    const std::string_view first = next();
    if (first == "jwks.json" && rest.empty()) {
        start_keys(exchange, request);
        return;
    }
    const std::string_view id = next();
    if (first != "subscriptions" || !is_subscription_id(id)) {
        refuse_subscription(exchange, 404, "NOT_FOUND", "there is nothing of this name");
        return;
    }
    if (request.body.size() > limits::subscription_body_bytes_max) {
        refuse_subscription(exchange, 413, "INVALID_REQUEST", "the body is too long");
        return;
    }
    exchange.subscription = std::make_unique<SubscriptionAsk>();
    SubscriptionAsk& ask = *exchange.subscription;
    ask.id = id;
    const std::string bucket(route.bucket);
    ask.name = (bucket.empty() ? "v1" : bucket) + "/" + ask.id;
    ask.base_url = base_url(exchange) + (bucket.empty() ? "/v1/stream" : "/" + bucket) + "/__ds";
    const std::string_view action = next();
    const auto wrong_method = [&](std::string_view allow) {
        refuse_subscription(exchange, 405, "METHOD_NOT_ALLOWED", "not with this method",
                            "Allow: " + std::string(allow) + "\r\n");
    };
    if (action.empty()) {
        if (request.method == Method::get || request.method == Method::head) {
            ask_subscription(exchange, SubscriptionOp::get);
        } else if (request.method == Method::remove) {
            ask.op = SubscriptionOp::remove;
            ask_subscription(exchange, SubscriptionOp::remove);
        } else if (request.method == Method::put) {
            api::PutSubscription put;
            put.base_url = ask.base_url;
            const BadSubscription bad =
                read_put(base::as_text(request.body), options_.webhooks, put.config);
            if (!bad.code.empty()) {
                refuse_subscription(exchange, 400, bad.code, bad.message);
                return;
            }
            ask.op = SubscriptionOp::put;
            ask.body = api::pack(put);
            ask.is_webhook = put.config.type == api::SubscriptionType::webhook;
            ask.bucket = bucket;
            put_subscription(exchange);
        } else {
            wrong_method("GET, HEAD, PUT, DELETE, OPTIONS");
        }
        return;
    }
    if (action == "streams" && !rest.empty()) {
        api::ChangeSubscriptionStreams change;
        if (request.method != Method::remove) {
            wrong_method("DELETE, OPTIONS");
        } else if (!read_path(rest, change.remove.emplace_back())) {
            refuse_subscription(exchange, 400, "INVALID_REQUEST", "no stream has such a path");
        } else {
            ask.op = SubscriptionOp::change_streams;
            ask.body = api::pack(change);
            ask_subscription(exchange, ask.op);
        }
        return;
    }
    if (!rest.empty() || (action != "streams" && action != "callback" && action != "claim" &&
                          action != "ack" && action != "release")) {
        refuse_subscription(exchange, 404, "NOT_FOUND", "there is nothing of this name");
        return;
    }
    if (request.method != Method::post) {
        wrong_method("POST, OPTIONS");
        return;
    }
    start_subscription_post(exchange, request, action);
}

// Its bucket, then a key, then itself.
void Front::put_subscription(Exchange& exchange) {
    SubscriptionAsk& ask = *exchange.subscription;
    if (!ask.bucket.empty()) {
        call(exchange, api::shard_of(api::bucket_group, options_.shards),
             api::ResolveBucketCall{arena_.keep(ask.bucket)});
        return;
    }
    ask_subscription(exchange, ask.is_webhook ? SubscriptionOp::ensure_key : SubscriptionOp::put);
}

void Front::start_subscription_post(Exchange& exchange, const net::Request& request,
                                    std::string_view action) {
    SubscriptionAsk& ask = *exchange.subscription;
    const std::string_view body = base::as_text(request.body);
    BadSubscription bad;
    if (action == "streams") {
        api::ChangeSubscriptionStreams change;
        bad = read_streams(body, change.add);
        ask.op = SubscriptionOp::change_streams;
        ask.body = api::pack(change);
    } else if (action == "claim") {
        api::ClaimSubscription claim;
        bad = read_claim(body, claim);
        ask.op = SubscriptionOp::claim;
        ask.body = api::pack(claim);
    } else {
        api::AckSubscription ack;
        bad = read_ack(body, ack);
        ack.kind = action == "callback" ? api::AckSubscription::Kind::callback
                   : action == "ack"    ? api::AckSubscription::Kind::ack
                                        : api::AckSubscription::Kind::release;
        ack.token = bearer_of(request.headers);
        ask.op = SubscriptionOp::ack;
        ask.releases = action == "release";
        ask.body = api::pack(ack);
    }
    if (!bad.code.empty()) {
        refuse_subscription(exchange, 400, bad.code, bad.message);
        return;
    }
    ask_subscription(exchange, ask.op);
}

void Front::start_keys(Exchange& exchange, const net::Request& request) {
    if (request.method != Method::get && request.method != Method::head) {
        refuse_subscription(exchange, 405, "METHOD_NOT_ALLOWED", "not with this method",
                            "Allow: GET, HEAD, OPTIONS\r\n");
        return;
    }
    exchange.subscription = std::make_unique<SubscriptionAsk>();
    exchange.subscription->op = SubscriptionOp::keys;
    ask_subscription(exchange, SubscriptionOp::keys);
}

void Front::ask_subscription(Exchange& exchange, SubscriptionOp op) {
    SubscriptionAsk& ask = *exchange.subscription;
    ask.step = op;
    const bool of_keys = op == SubscriptionOp::ensure_key || op == SubscriptionOp::keys;
    api::SubscriptionCall asked;
    asked.group =
        of_keys ? api::bucket_group : api::group_of_subscription(ask.name, options_.groups);
    asked.name = of_keys ? std::string_view() : arena_.keep(ask.name);
    asked.op = op;
    if (op == ask.op && !api::is_read(op)) {
        asked.body = base::as_bytes(arena_.keep(base::as_text(ask.body)));
    }
    call(exchange, api::shard_of(asked.group, options_.shards), asked);
}

void Front::take_subscription(Exchange& exchange, const api::Answer& given) {
    SubscriptionAsk& ask = *exchange.subscription;
    if (const auto* refused = std::get_if<api::Refused>(&given)) {
        const Problem problem = problem_of(*refused, responder_.place(exchange));
        refuse_subscription(exchange, problem.status,
                            problem.status == 404   ? "BUCKET_NOT_FOUND"
                            : problem.status == 409 ? "BUCKET_BEING_REMOVED"
                                                    : "UNAVAILABLE",
                            problem.title, problem.retry_after ? "Retry-After: 1\r\n" : "");
        return;
    }
    if (std::holds_alternative<api::BucketReply>(given)) {
        ask.bucket.clear();
        put_subscription(exchange);
        return;
    }
    api::SubscriptionAnswer answer;
    const auto* reply = std::get_if<api::SubscriptionReply>(&given);
    if (reply == nullptr || !api::unpack(reply->body.bytes(), answer)) {
        refuse_subscription(exchange, 500, "INTERNAL", "the server did not understand itself");
        return;
    }
    // What is not there is not there any more either.
    const bool absent =
        answer.error == api::SubscriptionError::not_found && ask.step == SubscriptionOp::remove;
    if (answer.error != api::SubscriptionError::none && !absent) {
        const SubscriptionRefusal refusal = refusal_of(answer.error);
        refuse_subscription(exchange, refusal.status, refusal.code, refusal.message, {}, &answer);
        return;
    }
    switch (ask.step) {
        case SubscriptionOp::ensure_key:
            ask.kid = answer.keys.empty() ? std::string() : answer.keys.back().kid;
            ask_subscription(exchange, SubscriptionOp::put);
            return;
        case SubscriptionOp::put:
            ask.created = answer.changed;
            ask_subscription(exchange, SubscriptionOp::get);
            return;
        case SubscriptionOp::get:
            ask.resource = std::move(answer);
            if (ask.resource.config.type == api::SubscriptionType::webhook && ask.kid.empty()) {
                ask_subscription(exchange, SubscriptionOp::keys);
                return;
            }
            send_subscription(exchange, ask.created ? 201 : 200, resource_json(ask), json_type);
            return;
        case SubscriptionOp::keys:
            if (ask.op == SubscriptionOp::keys) {
                send_subscription(exchange, 200, keys_json(answer),
                                  "Content-Type: application/jwk-set+json\r\n"
                                  "Cache-Control: public, max-age=300\r\n");
                return;
            }
            ask.kid = answer.keys.empty() ? std::string() : answer.keys.back().kid;
            send_subscription(exchange, 200, resource_json(ask), json_type);
            return;
        case SubscriptionOp::claim:
            send_subscription(exchange, 200, claim_json(answer), json_type);
            return;
        case SubscriptionOp::ack:
            if (!ask.releases) {
                send_subscription(exchange, 200,
                                  answer.changed ? "{\"ok\":true,\"next_wake\":true}\n"
                                                 : "{\"ok\":true,\"next_wake\":false}\n",
                                  json_type);
                return;
            }
            break;
        case SubscriptionOp::remove:
        case SubscriptionOp::change_streams:
        case SubscriptionOp::rotate_key:
        case SubscriptionOp::enroll:
        case SubscriptionOp::take_marks:
        case SubscriptionOp::signing_key:
        case SubscriptionOp::marks:
        case SubscriptionOp::enrolled:
        case SubscriptionOp::delivered:
        case SubscriptionOp::notified:
        case SubscriptionOp::look:
        case SubscriptionOp::clear_marks:
            break;
    }
    net::ResponseWriter writer = responder_.begin(exchange, 204, true);
    responder_.end(exchange, writer.end_without_body());
}

void Front::send_subscription(Exchange& exchange, int status, const std::string& body,
                              std::string_view headers) {
    net::ResponseWriter writer = responder_.begin(exchange, status, true);
    writer.constant(headers);
    responder_.end(exchange, exchange.head_only ? writer.end_with_length(body.size())
                                                : writer.end_with_body(base::as_bytes(body)));
}

void Front::refuse_subscription(Exchange& exchange, int status, std::string_view code,
                                std::string_view message, std::string_view headers,
                                const api::SubscriptionAnswer* answer) {
    exchange.asked = Asked::subscription;
    const std::string id = responder_.name_refusal(exchange, {status, code, {}, {}, false});
    send_subscription(
        exchange, status, error_json(code, message, answer),
        std::string(json_type) + "X-Request-Id: " + id + "\r\n" + std::string(headers));
}

}  // namespace ursula::http
