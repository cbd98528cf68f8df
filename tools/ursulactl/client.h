// HTTP to one node, over its Unix socket or TCP. Blocking; one connection, kept.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include "tools/ursulactl/target.h"

namespace ursula::ctl {

// Thrown in place of the first request when --print-curl asked for the command alone.
struct CurlPrinted {
    std::string command;
};

// What a node said, or why nothing came.
struct Reply {
    // hung_up: the connection ended before the first byte of an answer. A connection that is made
    // in the moment after a node's end, while the kernel still holds its listening socket, ends so.
    enum class Trouble { none, refused, denied, no_socket, hung_up, timeout, other };
    Trouble trouble = Trouble::none;
    std::string error;  // of a trouble, one line
    long status = 0;
    std::string body;
};

class Client {
  public:
    Client(Target target, const GlobalFlags& flags);
    ~Client();
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    const Target& target() const { return target_; }

    // One request, whatever comes of it. `body` is JSON; empty: GET.
    Reply ask(const std::string& path, const std::string& body, std::chrono::milliseconds timeout);
    // The body of a 2xx answer, an object in JSON. Anything else is a Failure with the exit code
    // that fits it, what happened, and what to do next. A read that is refused for the moment (503)
    // is asked again until --timeout.
    std::string get(const std::string& path);
    std::string post(const std::string& path, const std::string& body);

    // The Failure that a reply without success is.
    Failure failure_of(const Reply& reply, const std::string& path) const;

  private:
    std::string curl_command(const std::string& path, const std::string& body) const;
    std::string checked(Reply&& reply, const std::string& path) const;

    struct Handle;
    Target target_;
    bool verbose_;
    bool print_curl_;
    std::chrono::milliseconds timeout_;
    std::unique_ptr<Handle> handle_;
    int directory_ = -1;       // of a socket whose path is too long for the kernel
    std::string socket_path_;  // as the kernel gets it
};

// The code of the problem that a body is; empty: it is none.
std::string problem_code(const std::string& body);

// One segment or a whole path for a URL: everything but unreserved characters and '/' is escaped.
std::string escape_path(std::string_view path);

}  // namespace ursula::ctl
