// What subscriptions prove things with, by OpenSSL: keys and signatures of webhooks, tokens of
// those who were woken.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "api/subscription.h"
#include "base/bytes.h"

namespace ursula::hooks {

void fill_random(base::MutableBytes out);

// Ed25519. kid: "ds_" and the RFC 7638 thumbprint of the public key.
api::SigningKey make_key();
// "t=...,kid=...,ed25519=...": over "t.body" (protocol digest 2.14).
std::string signature_header(const api::SigningKey& key, std::int64_t time_s,
                             std::string_view body);

// HMAC-SHA256 behind its content.
std::string make_token(std::string_view secret, base::Bytes content);
[[nodiscard]] bool read_token(std::string_view secret, std::string_view token,
                              std::vector<std::byte>& content);

}  // namespace ursula::hooks
