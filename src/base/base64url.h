// RFC 4648 section 5, without padding: what stands in URLs, tokens and keys.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"

namespace ursula::base {

std::string to_base64url(Bytes bytes);
// Nothing: there is another character, or bits that no byte has. Each content has one spelling.
std::optional<std::vector<std::byte>> from_base64url(std::string_view text);

}  // namespace ursula::base
