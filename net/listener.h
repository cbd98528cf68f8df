// Listening sockets. One set per address: one SO_REUSEPORT socket per loop, so that accepts share
// no lock. SO_REUSEPORT alone would let a second server of the same user join the port unseen;
// open_listeners makes that an error.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace ursula::net {

struct ListenAddress {
    std::string host;        // a numeric address or a name that resolves to one
    std::uint16_t port = 0;  // 0: the kernel picks
};

// "127.0.0.1:4437", "[::1]:4437", "localhost:0".
[[nodiscard]] base::Result<ListenAddress> parse_listen_address(std::string_view text);

struct Listeners {
    std::vector<int> sockets;  // owned by the caller; one per loop
    std::uint16_t port = 0;    // the real one
    bool loopback = false;     // only this machine can reach it
};

// Binds and listens `count` sockets. Called once per address by the thread that composes the node,
// before the loops run: the sockets of one process are opened in order by one thread, so they
// cannot collide with each other. A port that any other process listens on, with or without
// SO_REUSEPORT, is an error that says so.
[[nodiscard]] base::Result<Listeners> open_listeners(const ListenAddress& address, unsigned count,
                                                     int backlog = 4096);

}  // namespace ursula::net
