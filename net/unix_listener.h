// A listening Unix socket: a file that only its owner and group may connect to.
#pragma once

#include <string>

#include "base/result.h"

namespace ursula::net {

// Owns the socket and its file; both go with it, the file only while it is still this socket's.
class UnixListener {
  public:
    // Binds `path` with mode 0660 whatever the umask, and listens. A socket file that nobody
    // listens on any more, left by a process that was killed, is replaced; one that somebody
    // listens on, and anything that is no socket, is an error that says so (errno EADDRINUSE). Of
    // any length: the kernel's 107 bytes are got around by way of the directory. Changes the
    // process's umask for a moment: before any other thread runs.
    [[nodiscard]] static base::Result<UnixListener> open(const std::string& path, int backlog = 64);

    UnixListener() = default;
    ~UnixListener();
    UnixListener(UnixListener&& other) noexcept;
    UnixListener& operator=(UnixListener&& other) noexcept;

    int socket() const { return socket_; }  // -1: none
    const std::string& path() const { return path_; }

  private:
    void remove_file() const;

    std::string path_;
    int socket_ = -1;
    unsigned long device_ = 0;  // of the file, as stat gives it
    unsigned long inode_ = 0;
};

}  // namespace ursula::net
