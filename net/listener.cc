#include "net/listener.h"

#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <memory>

#include "base/verify.h"

namespace ursula::net {

namespace {

struct FreeAddresses {
    void operator()(addrinfo* list) const { ::freeaddrinfo(list); }
};

std::string described(const ListenAddress& address) {
    const bool bracket = address.host.find(':') != std::string::npos;
    return fmt::format("{}{}{}:{}", bracket ? "[" : "", address.host, bracket ? "]" : "",
                       address.port);
}

bool is_loopback(const sockaddr* address) {
    if (address->sa_family == AF_INET) {
        const auto* v4 = reinterpret_cast<const sockaddr_in*>(address);
        return (ntohl(v4->sin_addr.s_addr) >> 24) == 127;
    }
    if (address->sa_family == AF_INET6) {
        const auto* v6 = reinterpret_cast<const sockaddr_in6*>(address);
        return IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr) != 0;
    }
    return false;
}

void set_port(sockaddr* address, std::uint16_t port) {
    if (address->sa_family == AF_INET) {
        reinterpret_cast<sockaddr_in*>(address)->sin_port = htons(port);
    } else {
        reinterpret_cast<sockaddr_in6*>(address)->sin6_port = htons(port);
    }
}

std::uint16_t port_of(int socket) {
    sockaddr_storage storage{};
    socklen_t size = sizeof(storage);
    ::getsockname(socket, reinterpret_cast<sockaddr*>(&storage), &size);
    return storage.ss_family == AF_INET
               ? ntohs(reinterpret_cast<sockaddr_in*>(&storage)->sin_port)
               : ntohs(reinterpret_cast<sockaddr_in6*>(&storage)->sin6_port);
}

bool set_option(int socket, int level, int option, int value) {
    return ::setsockopt(socket, level, option, &value, sizeof(value)) == 0;
}

// The first socket binds and listens without SO_REUSEPORT: the kernel lets that succeed only when
// nobody else listens on the port, and of two servers that start at once only one gets through (the
// second listen() fails). SO_REUSEADDR is set so that connections of a former run that are still in
// TIME_WAIT are no obstacle; it does not admit a second listener. Once it listens, SO_REUSEPORT is
// set on it so that our further sockets may join. A later server cannot slip in by this, because
// its own first socket comes without SO_REUSEPORT too.
int open_one(sockaddr* address, socklen_t size, bool first, int backlog) {
    const int fd = ::socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
    if (fd < 0) {
        return -1;
    }
    bool ok = set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1) &&
              set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1) &&  // accepted sockets inherit it
              (first || set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1));
    if (ok && address->sa_family == AF_INET6) {
        ok = set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    }
    ok = ok && ::bind(fd, address, size) == 0 && ::listen(fd, backlog) == 0 &&
         (!first || set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1));
    if (!ok) {
        const int error = errno;
        ::close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

}  // namespace

base::Result<ListenAddress> parse_listen_address(std::string_view text) {
    const std::size_t colon = text.rfind(':');
    if (colon == std::string_view::npos || colon == 0) {
        return base::fail(fmt::format("'{}' is not an address: write HOST:PORT", text));
    }
    std::string_view host = text.substr(0, colon);
    const std::string_view digits = text.substr(colon + 1);
    if (host.front() == '[') {
        if (host.size() < 3 || host.back() != ']') {
            return base::fail(fmt::format("'{}' is not an address: write [IPV6]:PORT", text));
        }
        host = host.substr(1, host.size() - 2);
    } else if (host.find(':') != std::string_view::npos) {
        return base::fail(fmt::format("'{}': an IPv6 address needs brackets: [IPV6]:PORT", text));
    }
    std::uint16_t port = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
    if (digits.empty() || error != std::errc() || end != digits.data() + digits.size()) {
        return base::fail(fmt::format("'{}': the port must be a number from 0 to 65535", text));
    }
    return ListenAddress{std::string(host), port};
}

base::Result<Listeners> open_listeners(const ListenAddress& address, unsigned count, int backlog) {
    VERIFY(count > 0);
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
    addrinfo* raw = nullptr;
    const std::string port = fmt::format("{}", address.port);
    const int error = ::getaddrinfo(address.host.c_str(), port.c_str(), &hints, &raw);
    if (error != 0) {
        return base::fail(
            fmt::format("cannot listen on {}: {}", described(address), ::gai_strerror(error)));
    }
    const std::unique_ptr<addrinfo, FreeAddresses> list(raw);
    Listeners listeners;
    listeners.loopback = is_loopback(list->ai_addr);
    listeners.port = address.port;
    for (unsigned i = 0; i < count; ++i) {
        set_port(list->ai_addr, listeners.port);
        const int fd = open_one(list->ai_addr, list->ai_addrlen, i == 0, backlog);
        if (fd < 0) {
            const int failure = errno;
            for (const int socket : listeners.sockets) {
                ::close(socket);
            }
            if (failure == EADDRINUSE) {
                return base::fail(
                    fmt::format("{} is in use by another process: stop it or listen elsewhere",
                                described(address)),
                    failure);
            }
            return base::fail(
                fmt::format("cannot listen on {}: {}", described(address), std::strerror(failure)),
                failure);
        }
        listeners.sockets.push_back(fd);
        listeners.port = port_of(fd);
    }
    return listeners;
}

}  // namespace ursula::net
