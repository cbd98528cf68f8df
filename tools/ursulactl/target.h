// Which node ursulactl talks to. Pure but for one question to the file system, which is passed in.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tools/ursulactl/command.h"

namespace ursula::ctl {

struct Target {
    std::string socket;    // path of a Unix socket; empty: TCP
    std::string base_url;  // "http://127.0.0.1:4437"; of a socket "http://localhost"
    // Names it in messages: "unix:/run/ursula/admin.sock", "http://127.0.0.1:4437".
    std::string name() const { return socket.empty() ? base_url : "unix:" + socket; }
};

// What the environment says, by name; empty: not set.
using Environment = std::function<std::string(const char* name)>;
using SocketExists = std::function<bool(const std::string& path)>;

// Order: --server or --data-dir, URSULACTL_SERVER, URSULACTL_DATA_DIR, /run/ursula/admin.sock if it
// is there, admin.sock in URSULA_STORAGE__PATH if it is there, http://127.0.0.1:4437. A Failure
// (exit 2) when what was given cannot be read.
Target choose_target(const GlobalFlags& flags, const Environment& environment,
                     const SocketExists& exists);

}  // namespace ursula::ctl
