// Catch-up: connections that read one stream from its start to its end, again and again.
#pragma once

#include <cstdint>

#include "tools/bench/options.h"

namespace ursula::bench {

struct CatchupResult {
    std::uint64_t body_bytes = 0;  // received inside the window
    std::uint64_t responses = 0;
    std::uint64_t passes = 0;  // reads of the whole stream that ended inside the window
    double seconds = 0;
    double generator_cpu = 0;
};

// `stream_bytes` is what a pass must have read; 0 when the server is a bare loop, whose stream has
// no end.
CatchupResult run_catchup(const Options& options, std::uint64_t stream_bytes);

}  // namespace ursula::bench
