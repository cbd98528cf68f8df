#include "net/listener.h"

#include <doctest/doctest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

using namespace ursula;
using net::ListenAddress;
using net::open_listeners;
using net::parse_listen_address;

namespace {

struct Owned {
    net::Listeners listeners;
    ~Owned() {
        for (const int socket : listeners.sockets) {
            ::close(socket);
        }
    }
};

int connect_to(std::uint16_t port) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
        ::close(fd);
        return -1;
    }
    return fd;
}

}  // namespace

TEST_CASE("addresses") {
    CHECK(parse_listen_address("127.0.0.1:4437")->host == "127.0.0.1");
    CHECK(parse_listen_address("127.0.0.1:4437")->port == 4437);
    CHECK(parse_listen_address("[::1]:0")->host == "::1");
    CHECK(parse_listen_address("localhost:65535")->port == 65535);
    for (const char* text : {"", ":80", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536",
                             "127.0.0.1:-1", "::1:80", "[::1]", "[]:80", "[::1:80", "h:80 "}) {
        CHECK_FALSE(parse_listen_address(text).has_value());
    }
}

TEST_CASE("one socket per loop on one port, each of them served") {
    auto opened = open_listeners({.host = "127.0.0.1", .port = 0}, 3);
    REQUIRE_MESSAGE(opened.has_value(), opened.error().message);
    const Owned owned{*opened};
    CHECK(owned.listeners.sockets.size() == 3);
    CHECK(owned.listeners.port != 0);
    CHECK(owned.listeners.loopback);
    // The kernel spreads connections by a hash: with 60 of them every listener has its share.
    std::vector<int> clients;
    for (int i = 0; i < 60; ++i) {
        clients.push_back(connect_to(owned.listeners.port));
        REQUIRE(clients.back() >= 0);
    }
    int total = 0;
    for (const int listener : owned.listeners.sockets) {
        int here = 0;
        for (;;) {
            const int fd = ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
            // The listener itself blocks: take only what the count says is left.
            REQUIRE(fd >= 0);
            int no_delay = 0;
            socklen_t size = sizeof(no_delay);
            ::getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &no_delay, &size);
            CHECK(no_delay != 0);
            ::close(fd);
            ++here;
            tcp_info info{};
            size = sizeof(info);
            ::getsockopt(listener, IPPROTO_TCP, TCP_INFO, &info, &size);
            if (info.tcpi_unacked == 0) {  // of a listener: connections waiting
                break;
            }
        }
        CHECK(here > 0);
        total += here;
    }
    CHECK(total == 60);
    for (const int fd : clients) {
        ::close(fd);
    }
}

TEST_CASE("a port that another process serves is an error, also when that one set SO_REUSEPORT") {
    auto first = open_listeners({.host = "127.0.0.1", .port = 0}, 2);
    REQUIRE(first.has_value());
    const Owned owned{*first};
    // Another open_listeners call stands for another process: the kernel tells sockets apart, not
    // processes.
    const auto second = open_listeners({.host = "127.0.0.1", .port = owned.listeners.port}, 2);
    REQUIRE_FALSE(second.has_value());
    CHECK(second.error().errno_value == EADDRINUSE);
    CHECK(second.error().message.find("in use") != std::string::npos);

    // A real other process too.
    const pid_t child = ::fork();
    if (child == 0) {
        const auto third = open_listeners({.host = "127.0.0.1", .port = owned.listeners.port}, 1);
        ::_exit(third.has_value() ? 1 : 0);
    }
    int status = -1;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0);
}

TEST_CASE("connections in TIME_WAIT do not keep a restarted server from its port") {
    std::uint16_t port = 0;
    {
        auto opened = open_listeners({.host = "127.0.0.1", .port = 0}, 1);
        REQUIRE(opened.has_value());
        const Owned owned{*opened};
        port = owned.listeners.port;
        const int client = connect_to(port);
        const int server = ::accept(owned.listeners.sockets[0], nullptr, nullptr);
        ::close(server);  // the side that closes first keeps TIME_WAIT
        ::close(client);
    }
    auto again = open_listeners({.host = "127.0.0.1", .port = port}, 2);
    REQUIRE_MESSAGE(again.has_value(), again.error().message);
    const Owned owned{*again};
    CHECK(owned.listeners.port == port);
}

TEST_CASE("an address that is not ours") {
    const auto opened = open_listeners({.host = "192.0.2.1", .port = 0}, 1);
    REQUIRE_FALSE(opened.has_value());
    CHECK(opened.error().message.find("192.0.2.1:0") != std::string::npos);
}
