// JoinListener: the sockets of `cluster invite`. Whoever connects gets a bounded time, a bounded
// message and one answer; of more than connections_max the oldest goes. TLS 1.3, proved with the
// authority's key; nothing is parsed before its handshake.
#pragma once

#include <chrono>
#include <cstdint>
#include <list>
#include <string>

#include "config.h"
#include "tools/ursulactl/join/certificates.h"
#include "tools/ursulactl/join/desk.h"
#include "tools/ursulactl/join/join_openssl.h"

namespace ursula::ctl {

class JoinListener {
  public:
    static constexpr std::size_t connections_max = 64;
    static constexpr std::chrono::milliseconds connection_time{10'000};

    // Listens. `issuer` is make_issuer's. A Failure (exit 5, or 6 when the port is taken).
    JoinListener(const ListenAddress& address, const CertifiedKey& issuer,
                 const std::string& authority);
    ~JoinListener();
    JoinListener(const JoinListener&) = delete;
    JoinListener& operator=(const JoinListener&) = delete;

    // With the port that the kernel gave.
    const ListenAddress& address() const { return address_; }

    // Until every node joined, the time is over, or somebody guesses; desk.invitations() tells
    // which. What is said already is sent first.
    void serve(JoinDesk& desk);
    // Connections that ended without an answer.
    std::uint64_t fruitless() const { return fruitless_; }

  private:
    using Clock = std::chrono::steady_clock;
    enum class Stage { shaking_hands, reading, writing };
    struct Connection {
        int socket = -1;
        SslPointer ssl;
        std::string from;
        Clock::time_point until;
        Stage stage = Stage::shaking_hands;
        short wants = 0;  // of poll
        std::string text;
        std::size_t written = 0;
    };

    void accept_all();
    // Whether it goes on.
    bool go_on(Connection& connection, JoinDesk& desk);
    bool wait_for_more(Connection& connection, int result);
    void close(Connection& connection);
    void turn(JoinDesk& desk, Clock::time_point until, bool accepts);

    int socket_ = -1;
    ListenAddress address_;
    SslContextPointer context_;
    std::list<Connection> connections_;  // the oldest first
    std::uint64_t fruitless_ = 0;
};

}  // namespace ursula::ctl
