// What one run of ursula-bench does, as the command line says it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace ursula::bench {

enum class Mode { append, tail, mixed, catchup, idle };

struct Endpoint {
    std::string address;  // IPv4
    std::uint16_t port = 0;
};

struct Options {
    Mode mode = Mode::append;
    std::string address = "127.0.0.1";  // IPv4
    std::uint16_t port = 4437;
    std::vector<Endpoint> also;  // other nodes: connections and readers take turns over all
    std::string bucket = "bench";
    std::size_t connections = 64;  // that append, or read in catchup
    std::size_t depth = 1;         // requests pipelined on each
    std::size_t streams = 1;
    std::size_t stay = 1;     // appends of a connection to one stream before it takes its next
    std::size_t readers = 0;  // SSE
    std::size_t body_bytes = 256;
    std::string content_type = "application/octet-stream";
    bool producer = false;  // idempotent producer headers
    bool create = true;     // the bucket and the streams; off for the bare loops, which have none
    double rate_per_s = 0;  // open loop over all connections; 0 is closed loop
    double warmup_s = 0.3;
    double duration_s = 1.0;
    std::uint64_t count = 0;              // appends in all, instead of warm-up and duration
    std::uint64_t fill_bytes = 64 << 20;  // catchup: size of the stream
    double settle_s = 1.5;     // pause between the last reader's connect and the first append
    bool until_close = false;  // the server ending the connections ends the run (its --stop-after)
    bool spin = false;         // never sleep between completions
    int cpu = -1;
    bool json_output = false;

    bool is_json() const { return content_type == "application/json"; }
    bool is_text() const { return content_type.starts_with("text/") || is_json(); }
};

const char* name_of(Mode mode);

}  // namespace ursula::bench
