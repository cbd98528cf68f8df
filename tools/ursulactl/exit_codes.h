// What ursulactl's exit says; scripts hold on to it (README.md has the table).
#pragma once

namespace ursula::ctl {

enum ExitCode : int {
    exit_ok = 0,
    exit_failed = 1,
    exit_usage = 2,
    exit_not_found = 3,
    exit_denied = 4,
    exit_unreachable = 5,  // or not in time
    exit_conflict = 6,
    exit_unhealthy = 10,
    exit_interrupted = 130,
};

}  // namespace ursula::ctl
