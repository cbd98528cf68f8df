#include "tools/ursulactl/join/listener.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <vector>

#include "base/verify.h"
#include "tools/ursulactl/command.h"
#include "tools/ursulactl/join/wall_clock.h"

namespace ursula::ctl {

namespace {

constexpr int backlog = 64;
constexpr std::size_t accepts_per_turn = 64;

SslContextPointer context_of(const CertifiedKey& issuer, const std::string& authority) {
    ERR_clear_error();
    SslContextPointer context(SSL_CTX_new(TLS_server_method()));
    const CertificatePointer certificate = read_certificate(issuer.certificate);
    const CertificatePointer above = read_certificate(authority);
    const KeyPointer key = read_key(issuer.key);
    if (!context || !certificate || !above || !key ||
        SSL_CTX_set_min_proto_version(context.get(), TLS1_3_VERSION) != 1 ||
        SSL_CTX_use_certificate(context.get(), certificate.get()) != 1 ||
        SSL_CTX_use_PrivateKey(context.get(), key.get()) != 1 ||
        SSL_CTX_add1_chain_cert(context.get(), above.get()) != 1) {
        throw Failure(exit_failed, "TLS cannot be set up: " + openssl_reason());
    }
    SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(context.get(), 0);
    SSL_CTX_set_mode(context.get(), SSL_MODE_ENABLE_PARTIAL_WRITE);
    return context;
}

// The kernel's address for ours and back.
struct SocketAddress {
    sockaddr_storage bytes{};
    socklen_t size = sizeof(sockaddr_storage);
    sockaddr* any() { return reinterpret_cast<sockaddr*>(&bytes); }
};

SocketAddress address_of(const ListenAddress& address) {
    SocketAddress out;
    if (address.ipv6) {
        auto* six = reinterpret_cast<sockaddr_in6*>(&out.bytes);
        six->sin6_family = AF_INET6;
        six->sin6_port = htons(address.port);
        ::inet_pton(AF_INET6, address.host.c_str(), &six->sin6_addr);
        out.size = sizeof *six;
    } else {
        auto* four = reinterpret_cast<sockaddr_in*>(&out.bytes);
        four->sin_family = AF_INET;
        four->sin_port = htons(address.port);
        ::inet_pton(AF_INET, address.host.c_str(), &four->sin_addr);
        out.size = sizeof *four;
    }
    return out;
}

std::string host_of(const SocketAddress& address) {
    std::array<char, INET6_ADDRSTRLEN> text{};
    const void* host = address.bytes.ss_family == AF_INET6
                           ? static_cast<const void*>(
                                 &reinterpret_cast<const sockaddr_in6*>(&address.bytes)->sin6_addr)
                           : &reinterpret_cast<const sockaddr_in*>(&address.bytes)->sin_addr;
    const char* got = ::inet_ntop(address.bytes.ss_family, host, text.data(), text.size());
    return got == nullptr ? "?" : got;
}

}  // namespace

JoinListener::JoinListener(const ListenAddress& address, const CertifiedKey& issuer,
                           const std::string& authority)
    : address_(address), context_(context_of(issuer, authority)) {
    SocketAddress own = address_of(address);
    const int family = address.ipv6 ? AF_INET6 : AF_INET;
    const int yes = 1;
    socket_ = ::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (socket_ < 0 || ::setsockopt(socket_, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) != 0 ||
        ::bind(socket_, own.any(), own.size) != 0 || ::listen(socket_, backlog) != 0 ||
        ::getsockname(socket_, own.any(), &own.size) != 0) {
        const int error = errno;
        if (socket_ >= 0) {
            ::close(socket_);
        }
        throw Failure(error == EADDRINUSE ? exit_conflict : exit_failed,
                      fmt::format("cannot listen on {}: {}", address.text(), std::strerror(error)),
                      error == EADDRNOTAVAIL
                          ? "no interface has it: listen on all, --listen 0.0.0.0:4440"
                          : "give another port: --listen ADDRESS:PORT");
    }
    address_.port =
        ntohs(address.ipv6 ? reinterpret_cast<const sockaddr_in6*>(&own.bytes)->sin6_port
                           : reinterpret_cast<const sockaddr_in*>(&own.bytes)->sin_port);
}

JoinListener::~JoinListener() {
    for (Connection& connection : connections_) {
        close(connection);
    }
    ::close(socket_);
}

void JoinListener::close(Connection& connection) {
    fruitless_ += connection.stage == Stage::writing ? 0 : 1;
    connection.ssl.reset();
    ::close(connection.socket);
}

void JoinListener::accept_all() {
    for (std::size_t i = 0; i < accepts_per_turn; ++i) {
        SocketAddress other;
        const int accepted =
            ::accept4(socket_, other.any(), &other.size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (accepted < 0) {
            if ((errno == EMFILE || errno == ENFILE) && !connections_.empty()) {
                close(connections_.front());
                connections_.pop_front();
                continue;
            }
            return;
        }
        if (connections_.size() == connections_max) {
            close(connections_.front());
            connections_.pop_front();
        }
        Connection connection;
        connection.socket = accepted;
        connection.ssl.reset(SSL_new(context_.get()));
        VERIFY(connection.ssl != nullptr && SSL_set_fd(connection.ssl.get(), accepted) == 1);
        SSL_set_accept_state(connection.ssl.get());
        connection.from = host_of(other);
        connection.until = Clock::now() + connection_time;
        connection.wants = POLLIN;
        connections_.push_back(std::move(connection));
    }
}

bool JoinListener::wait_for_more(Connection& connection, int result) {
    const int error = SSL_get_error(connection.ssl.get(), result);
    connection.wants = error == SSL_ERROR_WANT_WRITE ? POLLOUT : POLLIN;
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
}

bool JoinListener::go_on(Connection& connection, JoinDesk& desk) {
    ERR_clear_error();
    if (connection.stage == Stage::shaking_hands) {
        const int result = SSL_do_handshake(connection.ssl.get());
        if (result != 1) {
            return wait_for_more(connection, result);
        }
        connection.stage = Stage::reading;
    }
    if (connection.stage == Stage::reading) {
        std::array<char, 4096> buffer;
        std::size_t size = 0;
        if (SSL_read_ex(connection.ssl.get(), buffer.data(), buffer.size(), &size) != 1) {
            return wait_for_more(connection, 0);
        }
        connection.text.append(buffer.data(), size);
        const std::size_t end = connection.text.find('\n');
        if (end == std::string::npos) {
            connection.wants = SSL_has_pending(connection.ssl.get()) == 1 ? 0 : POLLIN;
            return connection.text.size() <= message_bytes_max;
        }
        connection.text.resize(end);
        connection.text =
            desk.answer(connection.text, connection.from, Clock::now(), wall_seconds()) + "\n";
        connection.stage = Stage::writing;
    }
    while (connection.written < connection.text.size()) {
        std::size_t size = 0;
        if (SSL_write_ex(connection.ssl.get(), connection.text.data() + connection.written,
                         connection.text.size() - connection.written, &size) != 1) {
            return wait_for_more(connection, 0);
        }
        connection.written += size;
    }
    SSL_shutdown(connection.ssl.get());
    return false;
}

void JoinListener::turn(JoinDesk& desk, Clock::time_point until, bool accepts) {
    std::vector<pollfd> polled;
    polled.push_back({accepts ? socket_ : -1, POLLIN, 0});
    bool has_more = false;
    for (const Connection& connection : connections_) {
        polled.push_back({connection.socket, connection.wants, 0});
        until = std::min(until, connection.until);
        has_more = has_more || connection.wants == 0;
    }
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now()).count();
    const int wait_ms =
        has_more ? 0 : static_cast<int>(std::clamp<std::int64_t>(left + 1, 0, 60'000));
    if (::poll(polled.data(), polled.size(), wait_ms) < 0) {
        return;  // a signal
    }
    std::size_t at = 1;
    for (auto one = connections_.begin(); one != connections_.end(); ++at) {
        const bool is_due = polled[at].revents != 0 || one->wants == 0;
        if ((is_due && !go_on(*one, desk)) || Clock::now() >= one->until) {
            close(*one);
            one = connections_.erase(one);
        } else {
            ++one;
        }
    }
    if (accepts && polled[0].revents != 0) {
        accept_all();
    }
}

void JoinListener::serve(JoinDesk& desk) {
    const auto is_over = [&desk] {
        return desk.invitations().open().empty() || desk.invitations().guessed() ||
               Clock::now() >= desk.invitations().until();
    };
    while (!is_over()) {
        turn(desk, desk.invitations().until(), true);
    }
    // Answers on their way; whoever has none gets none.
    const Clock::time_point end = Clock::now() + connection_time;
    for (;;) {
        for (auto one = connections_.begin(); one != connections_.end();) {
            if (one->stage == Stage::writing && Clock::now() < end) {
                ++one;
            } else {
                close(*one);
                one = connections_.erase(one);
            }
        }
        if (connections_.empty()) {
            return;
        }
        turn(desk, end, false);
    }
}

}  // namespace ursula::ctl
