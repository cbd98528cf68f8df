// A client over loopback for tests that move the server themselves, on the same thread: plain
// calls, nothing waits.
#pragma once

#include <doctest/doctest.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ursula::test_support {

class LoopbackClient {
  public:
    explicit LoopbackClient(std::uint16_t port, int receive_buffer = 0) {
        fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (receive_buffer > 0) {
            ::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof(receive_buffer));
        }
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(port);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        REQUIRE(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0);
        REQUIRE(::fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
    }
    ~LoopbackClient() { close(); }
    LoopbackClient(const LoopbackClient&) = delete;
    LoopbackClient& operator=(const LoopbackClient&) = delete;
    void send(std::string_view text) {
        REQUIRE(::send(fd, text.data(), text.size(), MSG_NOSIGNAL) ==
                static_cast<ssize_t>(text.size()));
    }
    // What there is now, up to a limit. `over` is set at end of file, `error` at a reset.
    std::string receive(std::size_t size_max = SIZE_MAX) {
        std::string text;
        std::vector<char> buffer(65536);
        while (text.size() < size_max) {
            const ssize_t size =
                ::recv(fd, buffer.data(), std::min(buffer.size(), size_max - text.size()), 0);
            if (size <= 0) {
                over = over || size == 0;
                error = size < 0 && errno != EAGAIN ? errno : error;
                return text;
            }
            text.append(buffer.data(), static_cast<std::size_t>(size));
        }
        return text;
    }
    void finish_sending() { ::shutdown(fd, SHUT_WR); }
    void reset() {
        const linger now{1, 0};
        ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
        close();
    }
    void close() {
        if (fd >= 0) {
            ::close(fd);
        }
        fd = -1;
    }
    int fd = -1;
    bool over = false;
    int error = 0;
};

}  // namespace ursula::test_support
