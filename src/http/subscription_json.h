// Subscriptions as JSON (protocol digest 2.13): request bodies into what shards are asked, answers
// into response bodies. No sockets, no header with JSON.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "api/subscription.h"
#include "base/bytes.h"

namespace ursula::net {
struct WebhookRules;
}

namespace ursula::http {

// A request about subscriptions while it is being answered.
struct SubscriptionAsk {
    std::string id;    // decoded
    std::string name;  // "v1/" and the id
    std::string base_url;
    std::vector<std::byte> body;                          // of the call
    api::SubscriptionOp op = api::SubscriptionOp::get;    // asked for
    api::SubscriptionOp step = api::SubscriptionOp::get;  // being answered
    std::string bucket;  // still to be found; empty: none, or it is there
    bool is_webhook = false;
    bool created = false;
    bool releases = false;
    std::string kid;
    api::SubscriptionAnswer resource;
};

// Code and message of a 400; no code: nothing is wrong.
struct BadSubscription {
    std::string_view code;
    std::string message;
};

// Whether a raw path is meant for subscriptions, for those that cannot be decoded.
bool names_subscriptions(std::string_view raw_path);
// One path segment, decoded.
bool is_subscription_id(std::string_view id);

BadSubscription read_put(std::string_view body, const net::WebhookRules* rules,
                         api::SubscriptionConfig& config);
BadSubscription read_streams(std::string_view body, std::vector<std::string>& paths);
BadSubscription read_claim(std::string_view body, api::ClaimSubscription& claim);
BadSubscription read_ack(std::string_view body, api::AckSubscription& ack);
// A path without slashes at its ends; false: no stream can have it.
bool read_path(std::string_view text, std::string& path);

std::string resource_json(const SubscriptionAsk& ask);
std::string claim_json(const api::SubscriptionAnswer& answer);
std::string keys_json(const api::SubscriptionAnswer& answer);
// {"error":{"code","message"}}, with the holder of an answer that has one.
std::string error_json(std::string_view code, std::string_view message,
                       const api::SubscriptionAnswer* answer = nullptr);

struct SubscriptionRefusal {
    int status;
    std::string_view code;
    std::string_view message;
};
SubscriptionRefusal refusal_of(api::SubscriptionError error);

}  // namespace ursula::http
