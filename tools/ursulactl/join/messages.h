// What a joining node and `cluster invite` say to each other, a line of JSON each, once TLS has
// shown the node that it talks to the authority of its join line. Readers take any bytes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tools/ursulactl/join/secrets.h"

namespace ursula::ctl {

constexpr std::size_t message_bytes_max = 16'384;

struct JoinRequest {
    std::vector<std::byte> token;
    std::uint32_t node = 0;
    std::string address;  // where its peers reach it; empty: where they did until now
    std::string request;  // PEM, join/certificates.h
};

struct JoinMember {
    std::uint32_t node = 0;
    std::string address;

    bool operator==(const JoinMember&) const = default;
};

enum class Refusal {
    none,
    unknown_token,
    used_token,
    expired_token,
    bad_request,
    conflict,
    failed
};

struct JoinReply {
    Refusal refusal = Refusal::none;
    std::string why;  // of a refusal: a sentence
    std::string certificate;
    std::string authority;
    std::vector<JoinMember> members;     // who has a certificate, by rising node
    std::vector<std::uint32_t> awaited;  // who is invited and did not join yet
    bool formed = false;                 // the cluster runs already
    bool again = false;                  // the node had a certificate before
};

// Without a newline.
std::string text_of(const JoinRequest& request);
std::string text_of(const JoinReply& reply);
// Nothing: it is none, or of another version.
std::optional<JoinRequest> read_request(const std::string& text);
std::optional<JoinReply> read_reply(const std::string& text);

}  // namespace ursula::ctl
