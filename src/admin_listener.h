// The listener of the admin plane, by server.admin_listen.
#pragma once

#include <string>

#include "base/result.h"
#include "config.h"
#include "net/unix_listener.h"

namespace ursula {

// Owns what is open. `where` is for people: "unix:/run/ursula/admin.sock", "http://127.0.0.1:4438",
// or "none".
struct AdminListener {
    net::UnixListener file;
    int tcp = -1;
    std::string where = "none";

    int socket() const { return file.socket() >= 0 ? file.socket() : tcp; }
    // When no loop uses it any more; removes the socket file.
    void close();
};

// The default takes the first that can be had: /run/ursula/admin.sock where there is that
// directory, admin.sock in the data directory, none - with a line in the log when one was tried.
// Two nodes of one machine, and a person who tries the server out beside an installed one, get
// along by that. Anything else is meant: an error when it cannot be had. `data_dir` is empty in
// memory.
[[nodiscard]] base::Result<AdminListener> open_admin_listener(const AdminListen& wanted,
                                                              const std::string& data_dir);

}  // namespace ursula
