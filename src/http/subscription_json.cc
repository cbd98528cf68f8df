#include "http/subscription_json.h"

#include <time.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "api/content_type.h"
#include "base/base64url.h"
#include "base/limits.h"
#include "http/tokens.h"
#include "net/uri.h"
#include "net/webhook_url.h"

namespace ursula::http {

namespace limits = base::limits;
using nlohmann::json;
using nlohmann::ordered_json;

namespace {

BadSubscription invalid(std::string message) {
    return {"INVALID_REQUEST", std::move(message)};
}

json parse(std::string_view body) {
    return json::parse(body, nullptr, false);
}

// Null when it is not there, or JSON's null.
const json* member(const json& object, const char* name) {
    const auto found = object.find(name);
    return found == object.end() || found->is_null() ? nullptr : &*found;
}

bool is_text(const json* value, std::size_t bytes_max) {
    return value != nullptr && value->is_string() &&
           !value->get_ref<const std::string&>().empty() &&
           value->get_ref<const std::string&>().size() <= bytes_max;
}

BadSubscription read_paths(const json* list, std::vector<std::string>& paths) {
    if (list == nullptr || !list->is_array()) {
        return invalid("streams has to be an array of paths");
    }
    if (list->size() > limits::subscription_streams_per_call_max) {
        return invalid("streams has more than " +
                       std::to_string(limits::subscription_streams_per_call_max) + " paths");
    }
    for (const json& one : *list) {
        std::string& path = paths.emplace_back();
        if (!one.is_string() || !read_path(one.get_ref<const std::string&>(), path)) {
            return invalid("streams has something that is no path of a stream");
        }
    }
    std::sort(paths.begin(), paths.end());
    paths.erase(std::unique(paths.begin(), paths.end()), paths.end());
    return {};
}

std::string offset_of(std::int64_t offset) {
    return offset < 0 ? "-1" : offset_token(static_cast<std::uint64_t>(offset));
}

std::string instant_of(std::int64_t ms) {
    const time_t seconds = ms / 1000;
    tm parts{};
    gmtime_r(&seconds, &parts);
    char text[32];
    const std::size_t size = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
    std::string out(text, size);
    const std::string part = std::to_string(1000 + ms % 1000);
    return out + "." + part.substr(1) + "Z";
}

ordered_json streams_of(const std::vector<api::LinkView>& links, bool with_tails) {
    ordered_json streams = ordered_json::array();
    for (const api::LinkView& link : links) {
        ordered_json one = {{"path", link.path},
                            {"link_type", link.is_explicit ? "explicit" : "glob"},
                            {"acked_offset", offset_of(link.acked)}};
        if (with_tails) {
            one["tail_offset"] = offset_of(link.tail);
            one["has_pending"] = link.pending;
        }
        streams.push_back(std::move(one));
    }
    return streams;
}

std::string text_of(const ordered_json& value) {
    return value.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace

bool names_subscriptions(std::string_view raw_path) {
    return raw_path.starts_with("/v1/stream/__ds/") || raw_path.starts_with("/v1/streams/__ds/");
}

bool is_subscription_id(std::string_view id) {
    return !id.empty() && id.size() <= limits::subscription_id_bytes_max;
}

bool read_path(std::string_view text, std::string& path) {
    while (text.starts_with('/')) {
        text.remove_prefix(1);
    }
    while (text.ends_with('/')) {
        text.remove_suffix(1);
    }
    path = text;
    if (path.empty() || path.size() > limits::path_bytes_max || !net::may_be_in_path(path)) {
        return false;
    }
    std::size_t segments = 0;
    for (std::string_view left = path; !left.empty();) {
        const std::string_view segment = left.substr(0, left.find('/'));
        if (segment.empty() || segment == "." || segment == ".." ||
            (segments == 0 && api::equal_ignoring_case(segment, "__ds")) ||
            ++segments > limits::path_segments_max) {
            return false;
        }
        left.remove_prefix(std::min(left.size(), segment.size() + 1));
    }
    return true;
}

BadSubscription read_put(std::string_view body, const net::WebhookRules* rules,
                         api::SubscriptionConfig& config) {
    const json put = parse(body);
    if (!put.is_object()) {
        return invalid("the body has to be a JSON object");
    }
    const json* type = member(put, "type");
    if (type == nullptr || !type->is_string() || (*type != "webhook" && *type != "pull-wake")) {
        return invalid("type has to be webhook or pull-wake");
    }
    config.type =
        *type == "webhook" ? api::SubscriptionType::webhook : api::SubscriptionType::pull_wake;
    if (const json* pattern = member(put, "pattern")) {
        if (!is_text(pattern, limits::subscription_text_bytes_max) ||
            pattern->get_ref<const std::string&>().find_first_not_of('/') == std::string::npos) {
            return invalid("pattern has to be a text such as events/*, of at most " +
                           std::to_string(limits::subscription_text_bytes_max) + " bytes");
        }
        config.pattern = pattern->get<std::string>();
    }
    if (const json* streams = member(put, "streams")) {
        if (BadSubscription bad = read_paths(streams, config.streams); !bad.code.empty()) {
            return bad;
        }
    }
    if (config.pattern.empty() && config.streams.empty()) {
        return invalid("pattern or streams has to be given");
    }
    config.lease_ttl_ms = limits::lease_ttl_ms_default;
    if (const json* lease = member(put, "lease_ttl_ms")) {
        const bool whole = lease->is_number_integer() && *lease >= limits::lease_ttl_ms_min &&
                           *lease <= limits::lease_ttl_ms_max;
        if (!whole) {
            return invalid("lease_ttl_ms has to be a whole number from " +
                           std::to_string(limits::lease_ttl_ms_min) + " to " +
                           std::to_string(limits::lease_ttl_ms_max));
        }
        config.lease_ttl_ms = lease->get<std::uint32_t>();
    }
    if (const json* description = member(put, "description")) {
        if (!description->is_string() || description->get_ref<const std::string&>().size() >
                                             limits::subscription_text_bytes_max) {
            return invalid("description has to be a text of at most " +
                           std::to_string(limits::subscription_text_bytes_max) + " bytes");
        }
        config.description = description->get<std::string>();
    }
    if (config.type == api::SubscriptionType::pull_wake) {
        const json* stream = member(put, "wake_stream");
        if (stream == nullptr || !stream->is_string() ||
            !read_path(stream->get_ref<const std::string&>(), config.wake_stream)) {
            return invalid("wake_stream has to be the path of a stream");
        }
        return {};
    }
    const json* webhook = member(put, "webhook");
    const json* url =
        webhook != nullptr && webhook->is_object() ? member(*webhook, "url") : nullptr;
    if (url == nullptr || !url->is_string()) {
        return invalid("webhook.url has to be given");
    }
    config.url = url->get<std::string>();
    if (rules == nullptr) {
        return invalid("this server sends no webhooks");
    }
    if (config.url.size() > limits::webhook_url_bytes_max) {
        return {
            "WEBHOOK_URL_REJECTED",
            "the URL has more than " + std::to_string(limits::webhook_url_bytes_max) + " bytes"};
    }
    if (net::WebhookUrl checked = net::check_webhook_url(config.url, *rules);
        !checked.refusal.empty()) {
        return {"WEBHOOK_URL_REJECTED", std::move(checked.refusal)};
    }
    return {};
}

BadSubscription read_streams(std::string_view body, std::vector<std::string>& paths) {
    const json change = parse(body);
    if (!change.is_object()) {
        return invalid("the body has to be {\"streams\":[...]}");
    }
    return read_paths(member(change, "streams"), paths);
}

BadSubscription read_claim(std::string_view body, api::ClaimSubscription& claim) {
    const json asked = parse(body);
    const json* worker = asked.is_object() ? member(asked, "worker") : nullptr;
    if (!is_text(worker, limits::subscription_text_bytes_max)) {
        return invalid("worker has to be a text");
    }
    claim.worker = worker->get<std::string>();
    return {};
}

BadSubscription read_ack(std::string_view body, api::AckSubscription& ack) {
    const json asked = parse(body);
    if (!asked.is_object()) {
        return invalid("the body has to be a JSON object");
    }
    const json* wake = member(asked, "wake_id");
    const json* generation = member(asked, "generation");
    if (wake == nullptr || !wake->is_string() || generation == nullptr ||
        !generation->is_number_unsigned()) {
        return invalid("wake_id and generation have to be those of the wake");
    }
    ack.wake_id = wake->get<std::string>();
    ack.generation = generation->get<std::uint64_t>();
    if (const json* done = member(asked, "done")) {
        if (!done->is_boolean()) {
            return invalid("done has to be true or false");
        }
        ack.done = done->get<bool>();
    }
    const json* acks = member(asked, "acks");
    if (acks == nullptr) {
        return {};
    }
    if (!acks->is_array() || acks->size() > limits::subscription_streams_per_call_max) {
        return invalid("acks has to be an array of at most " +
                       std::to_string(limits::subscription_streams_per_call_max));
    }
    for (const json& one : *acks) {
        const json* path = one.is_object() ? member(one, "stream") : nullptr;
        if (path == nullptr && one.is_object()) {
            path = member(one, "path");
        }
        const json* offset = one.is_object() ? member(one, "offset") : nullptr;
        if (path == nullptr || !path->is_string() || offset == nullptr || !offset->is_string()) {
            return invalid("each of acks has to have a stream and an offset");
        }
        api::StreamAck& added = ack.acks.emplace_back();
        read_path(path->get_ref<const std::string&>(), added.path);
        const auto position = parse_offset(offset->get_ref<const std::string&>());
        added.offset = !position               ? api::before_all
                       : *position > INT64_MAX ? INT64_MAX
                                               : static_cast<std::int64_t>(*position);
    }
    return {};
}

std::string resource_json(const SubscriptionAsk& ask) {
    const api::SubscriptionAnswer& answer = ask.resource;
    const api::SubscriptionConfig& config = answer.config;
    const bool webhook = config.type == api::SubscriptionType::webhook;
    ordered_json out = {
        {"id", ask.id}, {"subscription_id", ask.id}, {"type", webhook ? "webhook" : "pull-wake"}};
    if (!config.pattern.empty()) {
        out["pattern"] = config.pattern;
    }
    out["streams"] = streams_of(answer.streams, false);
    if (webhook) {
        out["webhook"] = {
            {"url", config.url},
            {"signing",
             {{"alg", "ed25519"}, {"kid", ask.kid}, {"jwks_url", answer.base_url + "/jwks.json"}}}};
    } else {
        out["wake_stream"] = config.wake_stream;
    }
    out["lease_ttl_ms"] = config.lease_ttl_ms;
    out["created_at"] = instant_of(answer.created_ms);
    out["status"] = answer.failed ? "failed" : "active";
    if (!config.description.empty()) {
        out["description"] = config.description;
    }
    return text_of(out);
}

std::string claim_json(const api::SubscriptionAnswer& answer) {
    return text_of({{"wake_id", answer.wake_id},
                    {"generation", answer.generation},
                    {"token", answer.token},
                    {"streams", streams_of(answer.streams, true)},
                    {"lease_ttl_ms", answer.config.lease_ttl_ms}});
}

std::string keys_json(const api::SubscriptionAnswer& answer) {
    ordered_json keys = ordered_json::array();
    for (const api::SigningKey& key : answer.keys) {
        keys.push_back({{"kty", "OKP"},
                        {"crv", "Ed25519"},
                        {"x", base::to_base64url(base::as_bytes(key.public_key))},
                        {"kid", key.kid},
                        {"use", "sig"},
                        {"alg", "EdDSA"}});
    }
    return text_of({{"keys", std::move(keys)}});
}

std::string error_json(std::string_view code, std::string_view message,
                       const api::SubscriptionAnswer* answer) {
    ordered_json error = {{"code", code}, {"message", message}};
    if (answer != nullptr && answer->error == api::SubscriptionError::already_claimed) {
        error["current_holder"] = answer->holder;
        error["generation"] = answer->generation;
    }
    return text_of({{"error", std::move(error)}});
}

SubscriptionRefusal refusal_of(api::SubscriptionError error) {
    using Error = api::SubscriptionError;
    switch (error) {
        case Error::not_found:
            return {404, "SUBSCRIPTION_NOT_FOUND", "there is no subscription of this name"};
        case Error::exists:
            return {409, "SUBSCRIPTION_ALREADY_EXISTS",
                    "the subscription exists with another configuration"};
        case Error::wrong_type:
            return {400, "INVALID_REQUEST", "this is for subscriptions of the other type"};
        case Error::too_many:
            return {409, "LIMIT_EXCEEDED", "the subscription, or the server, has no room for more"};
        case Error::token_invalid:
            return {401, "TOKEN_INVALID",
                    "the bearer token is missing or is not of this subscription"};
        case Error::token_expired:
            return {401, "TOKEN_EXPIRED", "the bearer token is too old"};
        case Error::fenced:
            return {409, "FENCED", "another wake has taken the place of this one"};
        case Error::already_claimed:
            return {409, "ALREADY_CLAIMED", "another worker holds the lease"};
        case Error::no_pending_work:
            return {409, "NO_PENDING_WORK", "everything is acknowledged"};
        case Error::invalid_offset:
            return {409, "INVALID_OFFSET",
                    "an acknowledged offset is not between the last one and the tail of a linked "
                    "stream; nothing was acknowledged"};
        case Error::none:
        case Error::stale:
            break;
    }
    return {500, "INTERNAL", "the server did not understand itself"};
}

}  // namespace ursula::http
