// Tokens, digests and how they are written: base64 for URLs without padding (RFC 4648 section 5).
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"

namespace ursula::ctl {

// 144 random bits: reliability-anchors 6.2 wants 128 at least, and 18 bytes are 24 characters.
using Token = std::array<std::byte, 18>;
using Digest = std::array<std::byte, 32>;  // SHA-256

Token random_token();
Digest digest_of(base::Bytes bytes);
// In a time that does not tell where they differ.
bool same_secret(base::Bytes a, base::Bytes b);
// Zeroes what must not stay in memory.
void forget(std::string& secret);

std::string to_base64url(base::Bytes bytes);
// Nothing: there is another character, or bits that no byte has.
std::optional<std::vector<std::byte>> from_base64url(std::string_view text);

}  // namespace ursula::ctl
