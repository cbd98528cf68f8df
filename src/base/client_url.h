// The URL under which clients reach a node, as redirects name it: http or https, visible ASCII,
// bounded, and without a slash at its end, because a path follows it.
#pragma once

#include <algorithm>
#include <string_view>

#include "base/limits.h"

namespace ursula::base {

inline bool is_client_url(std::string_view text) {
    const std::size_t scheme = text.starts_with("http://")    ? 7
                               : text.starts_with("https://") ? 8
                                                              : 0;
    return scheme != 0 && text.size() > scheme && text.size() <= limits::member_url_bytes_max &&
           !text.ends_with('/') &&
           std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 0x7f; });
}

}  // namespace ursula::base
