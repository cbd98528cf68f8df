// Node: the composition root. Opens the data directory and the listeners, makes one loop per shard
// on its own thread, waits for signals, and ends everything in order.
#pragma once

#include "cli.h"

namespace ursula {

// Runs until SIGTERM, SIGINT, --stop-after or a failure; returns the process's exit code
// (INTERFACE.md section 1). SIGHUP loads line.sources again.
int run_node(const CommandLine& line);

}  // namespace ursula
