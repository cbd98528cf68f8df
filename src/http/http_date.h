// HTTP dates (RFC 9110 5.6.7), in the one form that a server sends.
#pragma once

#include <cstddef>

#include "base/time.h"

namespace ursula::http {

constexpr std::size_t http_date_bytes = 29;  // "Sun, 06 Nov 1994 08:49:37 GMT"

// Writes that many bytes, no NUL. Of the years 0 to 9999; a clock outside is shown at its bound.
void write_http_date(char* out, base::WallTime at);

}  // namespace ursula::http
