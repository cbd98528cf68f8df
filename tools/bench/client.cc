#include "tools/bench/client.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include "tools/bench/response_parser.h"

namespace ursula::bench {

std::int64_t clock_ns() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

double cpu_seconds() {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    const auto seconds = [](const timeval& time) {
        return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
    };
    return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

void fail(const std::string& why) {
    std::fflush(stdout);
    std::fprintf(stderr, "ursula-bench: %s\n", why.c_str());
    std::_Exit(1);
}

int connect_to(const Options& options, std::size_t turn) {
    const std::size_t at = turn % (options.also.size() + 1);
    const Endpoint to = at == 0 ? Endpoint{options.address, options.port} : options.also[at - 1];
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        fail(fmt::format("no further socket: {} (raise ulimit -n)", std::strerror(errno)));
    }
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(to.port);
    if (inet_pton(AF_INET, to.address.c_str(), &address.sin_addr) != 1) {
        fail(fmt::format("{} is no IPv4 address", to.address));
    }
    if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        fail(fmt::format("cannot connect to {}:{}: {}", to.address, to.port, std::strerror(errno)));
    }
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

std::string path_of_stream(const Options& options, std::size_t stream) {
    return fmt::format("/{}/s{}", options.bucket, stream);
}

Client::Client(const Options& options) : options_(options), fd_(connect_to(options)) {}
Client::~Client() {
    close(fd_);
}

namespace {

struct ReplySink {
    Client::Reply reply;
    bool ended = false;
    void on_head(int status, std::string_view head) {
        reply.status = status;
        reply.head = head;
    }
    void on_body(std::string_view bytes) { reply.body.append(bytes); }
    void on_end() { ended = true; }
};

}  // namespace

Client::Reply Client::send(std::string_view method, std::string_view path,
                           std::string_view headers) {
    const std::string request =
        fmt::format("{} {} HTTP/1.1\r\nHost: {}:{}\r\n{}{}\r\n", method, path, options_.address,
                    options_.port, headers, method == "PUT" ? "Content-Length: 0\r\n" : "");
    if (::send(fd_, request.data(), request.size(), MSG_NOSIGNAL) !=
        static_cast<ssize_t>(request.size())) {
        fail(fmt::format("cannot send {} {}: {}", method, path, std::strerror(errno)));
    }
    ResponseParser parser;
    ReplySink sink;
    char buffer[16384];
    while (!sink.ended) {
        const ssize_t got = recv(fd_, buffer, sizeof buffer, 0);
        if (got <= 0) {
            fail(fmt::format("no reply to {} {}", method, path));
        }
        const bool good = parser.feed({buffer, static_cast<std::size_t>(got)}, sink);
        if (method == "HEAD" && sink.reply.status != 0) {
            break;  // whatever length its head announces, or does not, no body follows
        }
        if (!good) {
            fail(fmt::format("the reply to {} {} is no HTTP response", method, path));
        }
    }
    return std::move(sink.reply);
}

std::uint64_t Client::tail_of(std::size_t stream) {
    const std::string path = path_of_stream(options_, stream);
    const Reply reply = send("HEAD", path);
    const std::string_view offset = find_header(reply.head, "stream-next-offset");
    const std::size_t at = offset.find('_');
    std::uint64_t tail = 0;
    if (reply.status != 200 || at == std::string_view::npos ||
        std::from_chars(offset.data() + at + 1, offset.data() + offset.size(), tail).ec !=
            std::errc{}) {
        fail(fmt::format("HEAD {} answered {} with Stream-Next-Offset '{}'", path, reply.status,
                         offset));
    }
    return tail;
}

}  // namespace ursula::bench
