#include "tools/bare/arguments.h"

#include <CLI/CLI.hpp>
#include <cstdlib>

namespace ursula::bare {

Arguments parse_arguments(int argc, char** argv, const char* description) {
    Arguments arguments;
    std::string output;
    CLI::App app{description};
    app.add_option("--port", arguments.port, "TCP port on 127.0.0.1")->capture_default_str();
    app.add_option("--cpu", arguments.cpu, "CPU to pin to, -1 for none")->capture_default_str();
    app.add_option("--stop-after", arguments.stop_after, "exit after N requests, 0 for never");
    app.add_option("--file", arguments.file, "log file of bare-wal and dsync-probe")
        ->capture_default_str();
    app.add_option("--writes", arguments.writes, "bare-wal: writes in flight")
        ->check(CLI::Range(1, 16))
        ->capture_default_str();
    app.add_option("--chunk-bytes", arguments.chunk_bytes, "bare-send: body bytes of a response")
        ->capture_default_str();
    app.add_option("--write-bytes", arguments.write_bytes, "dsync-probe: bytes of one write")
        ->check(CLI::Range(512, 1 << 20))
        ->capture_default_str();
    app.add_option("--seconds", arguments.seconds, "dsync-probe: duration")->capture_default_str();
    app.add_option("-o,--output", output, "dsync-probe: json")->check(CLI::IsMember({"json"}));
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        std::exit(app.exit(error) == 0 ? 0 : 2);
    }
    arguments.json = output == "json";
    return arguments;
}

}  // namespace ursula::bare
