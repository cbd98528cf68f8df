// Tokens and digests; they are written in base/base64url.h.
#pragma once

#include <array>
#include <cstddef>
#include <string>

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

}  // namespace ursula::ctl
