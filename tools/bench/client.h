// What the parts of the generator share: the clock, leaving with a reason, sockets, and one request
// at a time.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "tools/bench/options.h"

namespace ursula::bench {

std::int64_t clock_ns();  // CLOCK_MONOTONIC
double cpu_seconds();     // of this process, user and kernel

// A run that went wrong has no figure: one line on stderr, exit code 1.
[[noreturn]] void fail(const std::string& why);

// A connected blocking socket with TCP_NODELAY; fails the run when the server does not accept.
int connect_to(const Options& options, std::size_t turn = 0);

std::string path_of_stream(const Options& options, std::size_t stream);

// Requests one after the other on a connection of its own, waiting for each reply: set-up and
// checks, never measured.
class Client {
  public:
    explicit Client(const Options& options);
    ~Client();
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    struct Reply {
        int status = 0;
        std::string head;
        std::string body;
    };
    // `headers` are whole lines ending in CRLF. The body of a reply to HEAD is empty.
    Reply send(std::string_view method, std::string_view path, std::string_view headers = {});
    // Byte position of the stream's end, from its Stream-Next-Offset.
    std::uint64_t tail_of(std::size_t stream);

  private:
    const Options& options_;
    int fd_;
};

}  // namespace ursula::bench
