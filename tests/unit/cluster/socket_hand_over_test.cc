#include "socket_hand_over.h"

#include <doctest/doctest.h>

#include <thread>
#include <vector>

using namespace ursula;

TEST_CASE("a handful of sockets waits, in any order; more are not taken") {
    SocketHandOver sockets;
    CHECK(sockets.take() == -1);
    int pushed = 0;
    while (sockets.push(pushed)) {
        ++pushed;
    }
    CHECK(pushed == 16);
    std::vector<bool> seen(16);
    for (int i = 0; i < pushed; ++i) {
        const int socket = sockets.take();
        REQUIRE(socket >= 0);
        CHECK_FALSE(seen[static_cast<std::size_t>(socket)]);
        seen[static_cast<std::size_t>(socket)] = true;
    }
    CHECK(sockets.take() == -1);
    CHECK(sockets.push(7));
    CHECK(sockets.take() == 7);
}

TEST_CASE("each socket that several threads hand over is taken once") {
    SocketHandOver sockets;
    constexpr int per_thread = 5'000;
    constexpr int threads = 3;
    std::vector<std::thread> pushers;
    for (int thread = 0; thread < threads; ++thread) {
        pushers.emplace_back([&sockets, thread] {
            for (int i = 0; i < per_thread; ++i) {
                while (!sockets.push(thread * per_thread + i)) {
                    std::this_thread::yield();
                }
            }
        });
    }
    std::vector<int> taken(threads * per_thread);
    for (int left = threads * per_thread; left > 0;) {
        const int socket = sockets.take();
        if (socket >= 0) {
            ++taken[static_cast<std::size_t>(socket)];
            --left;
        } else {
            std::this_thread::yield();
        }
    }
    for (std::thread& thread : pushers) {
        thread.join();
    }
    CHECK(sockets.take() == -1);
    for (const int times : taken) {
        CHECK(times == 1);
    }
}
