// The loop of every bare server: multishot accept and receive, llhttp, one send in flight per
// connection. An App adds
//   struct Connection : HttpLoop<App>::Base
//   on_body(connection, data, bytes)   a piece of a request's body
//   on_request(connection)             a complete request
//   on_received(connection)            after all requests of one receive
//   on_sent(connection, bytes)         a send is done; the next may start
//   on_closed(connection)              before it is freed: drop every pointer to it
//   on_completion(user_data, result)   of entries of its own (user_data below HttpLoop::app_limit)
//   on_turn()                          before each submit
// Paths and methods mean nothing here, so ursula-bench can drive a bare loop like a server.
#pragma once

#include <arpa/inet.h>
#include <llhttp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstddef>
#include <memory>
#include <vector>

#include "tools/bare/ring.h"

namespace ursula::bare {

template <class App>
class HttpLoop {
  public:
    static constexpr std::uint64_t app_limit = 1 << 20;

    struct Base {
        int fd = -1;
        bool receiving = false;
        bool sending = false;
        bool broken = false;  // no more receive or send; freed when nothing refers to it
        unsigned pins = 0;    // references an App holds
        App* app = nullptr;
        llhttp_t parser;
    };

    HttpLoop(App& app, std::uint16_t port)
        : app_(app), ring_(4096, 16384), buffers_(ring_, 4096, 4096) {
        llhttp_settings_init(&settings_);
        settings_.on_body = [](llhttp_t* parser, const char* data, std::size_t bytes) {
            auto* connection = static_cast<typename App::Connection*>(parser->data);
            connection->app->on_body(*connection, data, bytes);
            return 0;
        };
        settings_.on_message_complete = [](llhttp_t* parser) {
            auto* connection = static_cast<typename App::Connection*>(parser->data);
            connection->app->on_request(*connection);
            return 0;
        };
        listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        const int on = 1;
        setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        setsockopt(listener_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(port);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        if (bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
            listen(listener_, 4096) != 0) {
            die("cannot listen", errno);
        }
        std::fprintf(stderr, "ready on http://127.0.0.1:%u\n", unsigned{port});
    }

    Ring& ring() { return ring_; }

    // Until stop() was called.
    void run() {
        arm_accept();
        while (!stopped_) {
            app_.on_turn();
            ring_.submit_and_wait();
            ring_.reap([this](std::uint64_t user_data, int result, std::uint32_t flags) {
                complete(user_data, result, flags);
            });
            rearm();
        }
    }
    void stop() { stopped_ = true; }

    void send(typename App::Connection& connection, const void* data, std::size_t bytes) {
        connection.sending = true;
        io_uring_sqe* sqe = ring_.sqe();
        io_uring_prep_send(sqe, connection.fd, data, bytes, MSG_WAITALL | MSG_NOSIGNAL);
        sqe->user_data = tag(connection, sent);
    }
    // Frees a broken connection once nothing refers to it; an App calls it after it dropped a pin.
    void release(typename App::Connection& connection) {
        if (!connection.broken || connection.receiving || connection.sending ||
            connection.pins > 0) {
            return;
        }
        app_.on_closed(connection);
        close(connection.fd);
        connections_[static_cast<std::size_t>(connection.fd)].reset();
    }

  private:
    // The low bits of a Connection's address say what completed; the address itself is above
    // app_limit.
    enum Kind : std::uint64_t { received = 0, sent = 1, accepted = 2, kind_mask = 3 };

    static std::uint64_t tag(typename App::Connection& connection, Kind kind) {
        return reinterpret_cast<std::uint64_t>(&connection) | kind;
    }
    void arm_accept() {
        io_uring_sqe* sqe = ring_.sqe();
        io_uring_prep_multishot_accept(sqe, listener_, nullptr, nullptr, SOCK_CLOEXEC);
        sqe->user_data = app_limit | accepted;
    }
    void rearm() {
        for (typename App::Connection* connection : starved_) {
            arm_receive(ring_.sqe(), connection->fd, tag(*connection, received));
        }
        starved_.clear();
    }
    void complete(std::uint64_t user_data, int result, std::uint32_t flags) {
        if (user_data < app_limit) {
            app_.on_completion(user_data, result);
            return;
        }
        if ((user_data & kind_mask) == accepted) {
            if (result >= 0) {
                open(result);
            }
            if ((flags & IORING_CQE_F_MORE) == 0) {
                arm_accept();
            }
            return;
        }
        auto& connection =
            *reinterpret_cast<typename App::Connection*>(user_data & ~std::uint64_t{kind_mask});
        if ((user_data & kind_mask) == sent) {
            connection.sending = false;
            if (result < 0) {
                break_off(connection);
            } else if (!connection.broken) {
                app_.on_sent(connection, static_cast<std::size_t>(result));
            }
            release(connection);
            return;
        }
        if (result > 0) {
            const char* data = buffers_.data(flags);
            if (llhttp_execute(&connection.parser, data, static_cast<std::size_t>(result)) !=
                HPE_OK) {
                break_off(connection);
            }
            buffers_.give_back(flags);
            if (!connection.broken) {
                app_.on_received(connection);
            }
        }
        if ((flags & IORING_CQE_F_MORE) == 0) {
            if (result == -ENOBUFS || result > 0) {
                starved_.push_back(
                    &connection);  // armed again after this batch returned its buffers
            } else {
                connection.receiving = false;
                break_off(connection);
                release(connection);
            }
        }
    }
    void open(int fd) {
        if (static_cast<std::size_t>(fd) >= connections_.size()) {
            connections_.resize(static_cast<std::size_t>(fd) + 64);
        }
        auto connection = std::make_unique<typename App::Connection>();
        connection->fd = fd;
        connection->app = &app_;
        llhttp_init(&connection->parser, HTTP_REQUEST, &settings_);
        connection->parser.data = connection.get();
        connection->receiving = true;
        arm_receive(ring_.sqe(), fd, tag(*connection, received));
        connections_[static_cast<std::size_t>(fd)] = std::move(connection);
    }
    void break_off(typename App::Connection& connection) {
        if (!connection.broken) {
            connection.broken = true;
            shutdown(connection.fd, SHUT_RDWR);  // ends a receive that is still armed
        }
    }

    App& app_;
    Ring ring_;
    BufferRing buffers_;
    llhttp_settings_t settings_;
    int listener_ = -1;
    bool stopped_ = false;
    std::vector<std::unique_ptr<typename App::Connection>> connections_;  // by descriptor
    std::vector<typename App::Connection*> starved_;
};

}  // namespace ursula::bare
