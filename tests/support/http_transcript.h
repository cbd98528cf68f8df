// What RequestReader makes of some bytes, as text: for golden exchanges, the splitting property and
// the fuzzer. Two ways of cutting the same bytes must give the same text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ursula::net {
class HttpParser;
}

namespace ursula::test_support {

struct HttpTranscriptOptions {
    std::uint64_t body_bytes_max = 1 << 20;
    // Positions at which the bytes are cut into separate receives, ascending.
    std::vector<std::size_t> cuts;
    // Stop asking after each request until the next receive, as a front with a full pipeline does.
    bool hold_after_each = false;
    // Take each request only when it is offered for the second time, a turn later.
    bool put_back_each = false;
    // Used instead of a new one: making one is slow under sanitizers, and what it remembers must
    // not show. Its own limit counts then.
    net::HttpParser* parser = nullptr;
};

// One line per fact; see tests/golden/http for what they look like.
[[nodiscard]] std::string http_transcript(std::string_view bytes,
                                          const HttpTranscriptOptions& options = {});

// Printable ASCII as it is, the rest as \r \n \t \\ \xNN; long runs of one byte as \{COUNTxC}.
[[nodiscard]] std::string escape_bytes(std::string_view bytes);
[[nodiscard]] std::string unescape_bytes(std::string_view text);

}  // namespace ursula::test_support
