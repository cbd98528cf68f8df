// Grammars of the protocol's request headers (digest 1.1). Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "api/call.h"
#include "http/problem.h"
#include "net/http_message.h"

namespace ursula::http {

// The first header of the protocol that stands more than once in the head, as it is spelled in
// problems: which of them counts could be read two ways, so the request is refused. Empty: none.
std::string_view repeated_header(const net::Headers& headers);

// Request bodies are stored as they come. False: another Content-Encoding than identity; `problem`
// is filled.
bool check_coding(const net::Headers& headers, Problem& problem);

// `true` in any case, once; everything else counts as absent.
bool says_closed(const net::Headers& headers);

// 1*DIGIT up to 2^53 - 1, leading zeros allowed.
std::optional<std::uint64_t> parse_producer_number(std::string_view digits);

// "Prefer: redirect" (RFC 7240: a list, in one line or several).
bool prefers_redirect(const net::Headers& headers);

// All three headers or none. On a violation `problem` is filled and false returned.
bool read_producer(const net::Headers& headers, api::Producer& producer, Problem& problem);

// Stream-TTL or Stream-Expires-At, not both. On a violation `problem` is filled and false returned.
// The text is the header's.
bool read_expiry(const net::Headers& headers, api::Expiry& expiry, Problem& problem);

// Stream-Forked-From and what goes with it. `from` empty: no fork is asked for.
struct ForkHeaders {
    std::string_view from;  // as sent: a path of this server
    bool has_offset = false;
    std::uint64_t offset = 0;
    std::uint64_t sub_offset = 0;
};

// On a violation `problem` is filled and false returned.
bool read_fork(const net::Headers& headers, ForkHeaders& fork, Problem& problem);

}  // namespace ursula::http
