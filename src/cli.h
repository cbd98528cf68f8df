// The command line of `ursula` (INTERFACE.md section 1). The code behind this header throws
// nothing.
#pragma once

#include <cstdint>
#include <string>

#include "config.h"

namespace ursula {

// What main does: print `out` to stdout and `err` to stderr, then either exit with `exit_code` or
// run the server.
struct CommandLine {
    bool run = false;
    int exit_code = 0;  // when not run: 0, or 2 for wrong usage or configuration
    std::string out;
    std::string err;  // when run: warnings
    Config config;
    ConfigSources sources;  // to load again at SIGHUP
    // For measuring only, so not in --help: end after so many requests (0: at a signal); take
    // snapshots after so many bytes of log (0: as ShardOptions says).
    std::uint64_t stop_after = 0;
    std::uint64_t snapshot_after = 0;
};

// `environment`: "NAME=value" entries ended by a null pointer, as main's third argument; may be
// null.
[[nodiscard]] CommandLine parse_command_line(int argc, const char* const* argv,
                                             const char* const* environment);

// "0.1.0"
[[nodiscard]] const char* version();

}  // namespace ursula
