// UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above 10FFFF.
#pragma once

#include <cstddef>

#include "base/bytes.h"

namespace ursula::stream {

// Bytes before the first ill-formed sequence; bytes.size() when all is well.
[[nodiscard]] std::size_t valid_utf8_prefix(base::Bytes bytes);

}  // namespace ursula::stream
