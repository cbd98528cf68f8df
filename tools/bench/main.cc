// ursula-bench: the load generator. The command line, and which part runs; the only file that sees
// CLI11.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "tools/bare/ring.h"
#include "tools/bench/body.h"
#include "tools/bench/catchup.h"
#include "tools/bench/client.h"
#include "tools/bench/load.h"
#include "tools/bench/options.h"
#include "tools/bench/report.h"

namespace ursula::bench {
namespace {

// http://ADDRESS:PORT, with or without a slash at the end.
Endpoint endpoint_of(std::string url) {
    constexpr std::string_view scheme = "http://";
    if (url.starts_with(scheme)) {
        url.erase(0, scheme.size());
    }
    if (url.ends_with('/')) {
        url.pop_back();
    }
    const std::size_t colon = url.rfind(':');
    const unsigned long port =
        colon == std::string::npos ? 0 : std::strtoul(url.c_str() + colon + 1, nullptr, 10);
    if (port == 0 || port > 65535) {
        throw CLI::ValidationError("url", "expected http://ADDRESS:PORT");
    }
    return {url.substr(0, colon), static_cast<std::uint16_t>(port)};
}

void check_options(const Options& options) {
    if (options.readers > 0 && options.body_bytes < stamped_body_bytes_min) {
        throw CLI::ValidationError("--bytes", "bodies that readers measure have at least 80 bytes");
    }
    if (options.streams == 0 || options.connections == 0 || options.depth == 0 ||
        options.body_bytes == 0) {
        throw CLI::ValidationError("--connections, --depth, --streams, --bytes", "at least 1");
    }
}

Options parse(int argc, char** argv) {
    Options options;
    std::string url;
    std::vector<std::string> also;
    std::string output;
    bool json = false;
    bool no_create = false;
    CLI::App app{
        "ursula-bench: load for a server of append-only streams, on io_uring and one thread.\n"
        "append: closed loop, or open loop with --rate. tail: one writer and SSE readers.\n"
        "mixed: writers and SSE readers. catchup: reads of a filled stream. idle: makes streams "
        "and\n"
        "readers, prints a line and holds them until SIGTERM.\n"
        "Any wrong status, lost delivery or missing byte ends the run without a figure, exit code "
        "1."};
    const std::map<std::string, Mode> modes{{"append", Mode::append},
                                            {"tail", Mode::tail},
                                            {"mixed", Mode::mixed},
                                            {"catchup", Mode::catchup},
                                            {"idle", Mode::idle}};
    app.add_option("mode", options.mode, "append, tail, mixed, catchup or idle")
        ->required()
        ->transform(CLI::Transformer(modes));
    app.add_option("url", url, "http://ADDRESS:PORT")->required();
    app.add_option("--also", also, "URL of another node: connections take turns over all nodes");
    auto* connections = app.add_option("-c,--connections", options.connections,
                                       "that append (64; tail 1), or read in catchup (8)");
    app.add_option("-d,--depth", options.depth, "requests pipelined on each")
        ->capture_default_str();
    app.add_option("-n,--streams", options.streams, "streams used, /BUCKET/s0 and on")
        ->capture_default_str();
    app.add_option(
           "--stay", options.stay,
           "appends of a connection to one of its streams before the next: pipelined appends "
           "of one group are under way together, those of several follow each other")
        ->capture_default_str();
    auto* readers =
        app.add_option("--readers", options.readers, "SSE readers (tail and mixed 100)");
    app.add_option("-b,--bytes", options.body_bytes, "of one append")->capture_default_str();
    auto* type =
        app.add_option("--content-type", options.content_type,
                       "of the streams (application/octet-stream; tail and mixed text/plain)");
    app.add_flag("--json", json, "short for --content-type application/json")->excludes(type);
    app.add_flag("--producer", options.producer, "with idempotent producer headers");
    app.add_option("--rate", options.rate_per_s, "open loop: appends/s over all (tail 50)");
    app.add_option("--warmup", options.warmup_s, "seconds before the window")
        ->capture_default_str();
    auto* duration = app.add_option("--duration", options.duration_s,
                                    "seconds of the window (1; idle: until SIGTERM)");
    app.add_option("--count", options.count, "so many appends instead of --warmup and --duration");
    app.add_option("--fill-bytes", options.fill_bytes, "catchup: bytes in the stream")
        ->capture_default_str();
    app.add_option("--settle", options.settle_s, "seconds from the last reader to the first append")
        ->capture_default_str();
    app.add_option("--bucket", options.bucket, "bucket of the streams")->capture_default_str();
    app.add_flag("--no-create", no_create, "nothing to create or verify: a bare loop");
    app.add_flag("--until-close", options.until_close, "the server ends the run by closing");
    app.add_flag("--spin", options.spin, "poll for completions instead of sleeping");
    app.add_option("--cpu", options.cpu, "CPU to pin to");
    app.add_option("-o,--output", output, "json: one object on stdout")
        ->check(CLI::IsMember({"json"}));
    try {
        app.parse(argc, argv);
        const Endpoint first = endpoint_of(url);
        options.address = first.address;
        options.port = first.port;
        for (const std::string& other : also) {
            options.also.push_back(endpoint_of(other));
        }
        options.create = !no_create;
        options.json_output = output == "json";
        const bool tailing = options.mode == Mode::tail || options.mode == Mode::mixed;
        if (json) {
            options.content_type = "application/json";
        } else if (tailing && type->empty()) {
            options.content_type = "text/plain";
        }
        if (tailing && readers->empty()) {
            options.readers = 100;
        }
        if (options.mode == Mode::tail) {
            options.connections = connections->empty() ? 1 : options.connections;
            options.rate_per_s = options.rate_per_s > 0 ? options.rate_per_s : 50;
        }
        if (options.mode == Mode::catchup && connections->empty()) {
            options.connections = 8;
        }
        if (options.mode == Mode::idle && duration->empty()) {
            options.duration_s = 0;
        }
        check_options(options);
    } catch (const CLI::ParseError& error) {
        std::exit(app.exit(error) == 0 ? 0 : 2);
    }
    return options;
}

// Appends options.fill_bytes to one stream and returns its size; 0 for a bare loop.
std::uint64_t fill_stream(const Options& options) {
    if (!options.create) {
        return 0;
    }
    Options filling = options;
    filling.connections = 16;
    filling.depth = 16;
    filling.streams = 1;
    filling.readers = 0;
    Load load(filling);
    load.create_streams();
    const std::uint64_t tail = Client(filling).tail_of(0);
    if (tail < options.fill_bytes) {
        load.fill((options.fill_bytes - tail + options.body_bytes - 1) / options.body_bytes);
    }
    return Client(filling).tail_of(0);
}

void run_idle(const Options& options) {
    Load load(options);
    if (options.create) {
        load.create_streams();
    }
    load.connect_readers();
    std::printf("idle with %zu streams and %zu readers\n", options.streams, options.readers);
    std::fflush(stdout);
    load.hold(options.duration_s);
}

int run_load(const Options& options) {
    Load load(options);
    if (options.create) {
        load.create_streams();
    }
    load.connect_readers();
    const LoadResult result = load.run();
    if (result.lost > 0 || result.repeated > 0) {
        fail(std::to_string(result.lost) + " of " + std::to_string(result.expected) +
             " deliveries lost, " + std::to_string(result.repeated) + " repeated");
    }
    report_load(options, result);
    return 0;
}

}  // namespace
}  // namespace ursula::bench

int main(int argc, char** argv) {
    using namespace ursula::bench;
    const Options options = parse(argc, argv);
    ursula::bare::pin_to(options.cpu);
    switch (options.mode) {
        case Mode::catchup:
            report_catchup(options, run_catchup(options, fill_stream(options)));
            return 0;
        case Mode::idle:
            run_idle(options);
            return 0;
        case Mode::append:
        case Mode::tail:
        case Mode::mixed:
            return run_load(options);
    }
    return 2;
}
