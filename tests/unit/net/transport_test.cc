// Ring, ReceiveBuffers and Transport over real sockets on loopback. The client side is plain
// blocking calls on the same thread; only `turns` moves the server.
#include "net/transport.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "net/buffers.h"
#include "net/connection.h"
#include "net/listener.h"
#include "net/ring.h"
#include "tests/support/loopback_client.h"

using namespace ursula;
using base::Instant;
using net::ConnectionId;
using net::InputPhase;
using net::Transport;
using net::TransportOptions;

namespace {

class Server {
  public:
    explicit Server(const TransportOptions& options = {},
                    const net::ReceiveBuffersOptions& buffers = {.count = 64, .bytes = 4096}) {
        auto ring = net::Ring::open({.sq_entries = 256, .cq_entries = 1024});
        REQUIRE_MESSAGE(ring.has_value(), ring.error().message);
        ring_ = std::move(*ring);
        auto opened = net::ReceiveBuffers::open(*ring_, buffers);
        REQUIRE(opened.has_value());
        buffers_ = std::move(*opened);
        transport = std::make_unique<Transport>(*ring_, *buffers_, options, now);
        auto listeners = net::open_listeners({.host = "127.0.0.1", .port = 0}, 1);
        REQUIRE(listeners.has_value());
        listener_ = listeners->sockets[0];
        port = listeners->port;
        transport->listen(listener_);
        turn();
    }
    ~Server() {
        transport.reset();
        buffers_.reset();
        ring_.reset();
        ::close(listener_);
    }

    // One turn with a handler for received bytes.
    template <class Handler>
    void turn(const Handler& handle) {
        REQUIRE(ring_->submit_and_wait(base::milliseconds(2)).has_value());
        ring_->reap();
        transport->begin_turn(now);
        for (const ConnectionId id : transport->accepted()) {
            accepted.push_back(id);
        }
        for (const ConnectionId id : transport->closed()) {
            closed.push_back(id);
        }
        for (const ConnectionId id : transport->drained()) {
            drained.push_back(id);
        }
        for (const net::Expired& one : transport->expired()) {
            expired.push_back(one);
        }
        for (const net::Received& one : transport->received()) {
            if (one.end_of_input) {
                ended.push_back(one.connection);
            }
            received[one.connection.slot] += base::as_text(one.bytes);
            handle(one);
        }
        transport->flush();
    }
    void turn() {
        turn([](const net::Received&) {});
    }
    void turns(int count) {
        for (int i = 0; i < count; ++i) {
            turn();
        }
    }
    template <class Condition>
    void turn_until(const Condition& condition) {
        for (int i = 0; i < 2000 && !condition(); ++i) {
            turn();
        }
        REQUIRE(condition());
    }
    ConnectionId accept_one() {
        const std::size_t before = accepted.size();
        turn_until([&] { return accepted.size() > before; });
        return accepted.back();
    }
    void echo(const net::Received& one) {
        if (!one.end_of_input) {
            transport->write(one.connection, one.bytes);
        }
    }
    net::Ring& ring() { return *ring_; }

    Instant now{base::seconds(1000).ns};
    std::unique_ptr<Transport> transport;
    std::uint16_t port = 0;
    std::vector<ConnectionId> accepted;
    std::vector<ConnectionId> closed;
    std::vector<ConnectionId> drained;
    std::vector<ConnectionId> ended;
    std::vector<net::Expired> expired;
    std::map<std::uint32_t, std::string> received;

  private:
    std::unique_ptr<net::Ring> ring_;
    std::unique_ptr<net::ReceiveBuffers> buffers_;
    int listener_ = -1;
};

class Client : public test_support::LoopbackClient {
  public:
    explicit Client(const Server& server, int receive_buffer = 0)
        : LoopbackClient(server.port, receive_buffer) {}
};

}  // namespace

TEST_CASE("echo, a byte at a time and in one piece") {
    Server server;
    Client client(server);
    const auto echo = [&](const net::Received& one) { server.echo(one); };
    std::string sent;
    std::string got;
    for (int i = 0; i < 50; ++i) {
        const char c = static_cast<char>('a' + i % 26);
        sent += c;
        client.send({&c, 1});
        server.turn(echo);
        got += client.receive();
    }
    const std::string large(100'000, 'L');
    sent += large;
    client.send(large);
    for (int i = 0; i < 500 && got.size() < sent.size(); ++i) {
        server.turn(echo);
        got += client.receive();
    }
    CHECK(got == sent);
    CHECK(server.transport->counters().received_bytes == sent.size());
    CHECK(server.transport->counters().sent_bytes == sent.size());
    CHECK(server.transport->counters().open == 1);
    client.close();
    server.turn_until([&] { return !server.ended.empty(); });
    CHECK(server.closed.empty());  // the caller decides what a FIN means
    server.transport->close_after_flush(server.accepted[0]);
    server.turn_until([&] { return !server.closed.empty(); });
    CHECK(server.closed[0] == server.accepted[0]);
    CHECK_FALSE(server.transport->alive(server.accepted[0]));
    CHECK(server.transport->counters().open == 0);
}

TEST_CASE("replies written in one turn leave in one send") {
    Server server;
    Client client(server);
    const ConnectionId id = server.accept_one();
    for (int i = 0; i < 30; ++i) {
        server.transport->write(id, base::as_bytes("reply "));
    }
    server.turns(3);
    CHECK(server.transport->counters().sends == 1);
    CHECK(client.receive().size() == 180);
}

TEST_CASE("many parts: copied bytes and slices leave in order") {
    Server server;
    Client client(server);
    const ConnectionId id = server.accept_one();
    std::string expected;
    for (int i = 0; i < 200; ++i) {
        const std::string text(static_cast<std::size_t>(i * 20), static_cast<char>('a' + i % 26));
        if (i % 2 == 0) {
            server.transport->write(id, base::Slice::copy_of(base::as_bytes(text)));
        } else {
            server.transport->write(id, base::as_bytes(text));
        }
        expected += text;
    }
    std::string got;
    for (int i = 0; i < 300 && got.size() < expected.size(); ++i) {
        server.turn();
        got += client.receive();
    }
    CHECK(got == expected);
    CHECK(server.transport->output_pending(id) == 0);
}

TEST_CASE("a client that has finished sending still gets its answer, also a late one") {
    Server server;
    Client client(server);
    client.send("question");
    client.finish_sending();
    server.turn_until([&] { return !server.ended.empty(); });
    const ConnectionId id = server.accepted[0];
    CHECK(server.received[id.slot] == "question");
    server.turns(20);  // a long-poll waiting
    CHECK(server.transport->alive(id));
    server.transport->write(id, base::as_bytes("answer"));
    server.transport->close_after_flush(id);
    server.turn_until([&] { return !server.closed.empty(); });
    CHECK(client.receive() == "answer");
    CHECK(client.over);
    CHECK(client.error == 0);
}

TEST_CASE("a reset frees the connection, also one that waits") {
    Server server;
    Client client(server);
    const ConnectionId id = server.accept_one();
    server.transport->set_input_phase(id, InputPhase::none);
    server.turn();
    client.reset();
    server.turn_until([&] { return !server.closed.empty(); });
    CHECK(server.closed[0] == id);
    CHECK(server.transport->counters().reset == 1);
    // A stale id does nothing.
    server.transport->write(id, base::as_bytes("x"));
    server.transport->set_input_phase(id, InputPhase::head);
    server.transport->pause_input(id);
    server.transport->report_drained(id);
    server.transport->abort(id);
    server.turns(3);
    CHECK(server.closed.size() == 1);
}

TEST_CASE("a refusal reaches a client that is still sending") {
    Server server;
    Client client(server);
    const ConnectionId id = server.accept_one();
    const std::string body(1 << 20, 'b');
    std::size_t sent = 0;
    bool refused = false;
    for (int i = 0; i < 3000 && sent < body.size(); ++i) {
        const ssize_t size =
            ::send(client.fd, body.data() + sent, body.size() - sent, MSG_NOSIGNAL);
        if (size > 0) {
            sent += static_cast<std::size_t>(size);
        }
        server.turn([&](const net::Received&) {
            if (!refused) {
                server.transport->write(id, base::as_bytes("413"));
                server.transport->close_after_flush(id);
                refused = true;
            }
        });
    }
    REQUIRE(sent == body.size());  // all of it was taken and dropped
    server.turns(5);
    CHECK(client.receive() == "413");
    CHECK(client.over);
    CHECK(client.error == 0);
    CHECK(server.closed.empty());
    client.close();
    server.turn_until([&] { return !server.closed.empty(); });
    // No more than the buffers held before the refusal.
    CHECK(server.received[id.slot].size() <= 64 * 4096);
}

TEST_CASE("draining has a bound in bytes and in time") {
    SUBCASE("bytes") {
        Server server({.drain_bytes_max = 10'000});
        Client client(server);
        const ConnectionId id = server.accept_one();
        server.transport->close_after_flush(id);
        server.turn();
        const std::string some(20'000, 'x');
        client.send(some);
        server.turn_until([&] { return !server.closed.empty(); });
    }
    SUBCASE("time") {
        Server server({.linger_timeout = base::seconds(2)});
        Client client(server);
        const ConnectionId id = server.accept_one();
        server.transport->close_after_flush(id);
        server.turns(3);
        CHECK(server.closed.empty());
        server.now = server.now + base::seconds(3);
        server.turn_until([&] { return !server.closed.empty(); });
        client.receive();
        CHECK(client.over);
    }
}

TEST_CASE(
    "a slow reader is bounded by the caller, told when it drained, and the others are served") {
    Server server;
    Client slow(server, 4096);
    const ConnectionId slow_id = server.accept_one();
    Client other(server);
    const ConnectionId other_id = server.accept_one();
    const base::Slice megabyte = base::Slice::copy_of(base::as_bytes(std::string(1 << 20, 'm')));
    for (int i = 0; i < 16; ++i) {
        server.transport->write(slow_id, megabyte);
    }
    server.turns(20);
    CHECK(server.transport->output_pending(slow_id) > (1 << 20));
    server.transport->report_drained(slow_id, 1 << 20);
    server.turns(3);
    CHECK(server.drained.empty());
    server.transport->write(other_id, base::as_bytes("hi"));
    server.turns(3);
    CHECK(other.receive() == "hi");
    std::size_t got = 0;
    for (int i = 0; i < 20000 && got < 16u << 20; ++i) {
        got += slow.receive().size();
        server.turn();
    }
    CHECK(got == 16u << 20);
    REQUIRE(server.drained.size() == 1);
    CHECK(server.drained[0] == slow_id);
    // Asked for when there is nothing pending, the report comes with the next turn.
    server.transport->report_drained(other_id);
    CHECK(server.transport->next_deadline() <= server.now);
    server.turn();
    REQUIRE(server.drained.size() == 2);
    CHECK(server.drained[1] == other_id);
}

TEST_CASE("a peer that takes no byte is given up; one that takes some is not") {
    Server server({.send_stall_timeout = base::seconds(30)});
    Client client(server, 65536);
    const ConnectionId id = server.accept_one();
    server.transport->set_input_phase(id, InputPhase::none);
    server.transport->write(id, base::Slice::copy_of(base::as_bytes(std::string(16 << 20, 'm'))));
    server.turns(20);
    for (int i = 0; i < 10; ++i) {
        server.now = server.now + base::seconds(16);
        std::size_t taken = 0;
        for (int k = 0; k < 20; ++k) {
            taken += client.receive(20'000).size();
            server.turn();
        }
        REQUIRE(taken > 0);
        REQUIRE(server.closed.empty());
    }
    int waits = 0;
    while (server.closed.empty() && waits < 10) {
        server.now = server.now + base::seconds(16);
        server.turns(3);
        ++waits;
    }
    CHECK(waits >= 2);
    CHECK(waits <= 3);
    CHECK(server.transport->counters().stalled == 1);
}

TEST_CASE("buffers run out and come back: nothing is lost") {
    Server server({}, {.count = 2, .bytes = 128});
    std::vector<std::unique_ptr<Client>> clients;
    std::vector<std::string> sent;
    for (int i = 0; i < 10; ++i) {
        clients.push_back(std::make_unique<Client>(server));
        server.accept_one();
        sent.push_back(std::string(5000, static_cast<char>('a' + i)));
        clients.back()->send(sent.back());
    }
    server.turn_until([&] {
        std::size_t total = 0;
        for (const auto& [slot, text] : server.received) {
            total += text.size();
        }
        return total == 50'000;
    });
    CHECK(server.transport->counters().out_of_buffers > 0);
    for (const ConnectionId id : server.accepted) {
        CHECK(std::find(sent.begin(), sent.end(), server.received[id.slot]) != sent.end());
    }
}

TEST_CASE("input pauses and resumes") {
    Server server({}, {.count = 8, .bytes = 1024});
    Client client(server);
    const ConnectionId id = server.accept_one();
    client.send("first");
    server.turn_until([&] { return server.received[id.slot] == "first"; });
    server.transport->pause_input(id);
    server.transport->pause_input(id);
    server.turns(3);
    client.send(std::string(50'000, 'x'));
    server.turns(10);
    const std::size_t held = server.received[id.slot].size();
    CHECK(held <= 5 + 8 * 1024);
    server.turns(10);
    CHECK(server.received[id.slot].size() == held);
    server.transport->resume_input(id);
    server.turn_until([&] { return server.received[id.slot].size() == 50'005; });
    // Paused and resumed before the cancel came back.
    server.transport->pause_input(id);
    server.transport->resume_input(id);
    client.send("last");
    server.turn_until([&] { return server.received[id.slot].ends_with("last"); });
    // A paused connection can still be closed from either side.
    server.transport->pause_input(id);
    server.turns(3);
    server.transport->abort(id);
    server.turn_until([&] { return !server.closed.empty(); });
    server.turns(3);
    CHECK(server.transport->counters().closed == 1);
}

TEST_CASE("deadlines of a head, a body and keep-alive") {
    Server server({.header_timeout = base::seconds(10),
                   .body_idle_timeout = base::seconds(60),
                   .keep_alive_timeout = base::seconds(75)});
    Client client(server);
    const ConnectionId id = server.accept_one();
    SUBCASE("an idle connection: keep-alive from its start") {
        server.now = server.now + base::seconds(74);
        server.turns(2);
        CHECK(server.expired.empty());
        server.now = server.now + base::seconds(2);
        server.turns(2);
        REQUIRE(server.expired.size() == 1);
        CHECK(server.expired[0].connection == id);
        CHECK(server.expired[0].phase == InputPhase::next_request);
        server.now = server.now + base::seconds(200);
        server.turns(2);
        CHECK(server.expired.size() == 1);
    }
    SUBCASE("a head: from its first byte, however many follow") {
        server.transport->set_input_phase(id, InputPhase::head);
        for (int i = 0; i < 9; ++i) {
            server.now = server.now + base::seconds(1);
            client.send("x");
            server.turn();
            server.transport->set_input_phase(id, InputPhase::head);
        }
        CHECK(server.expired.empty());
        server.now = server.now + base::seconds(2);
        server.turns(2);
        REQUIRE(server.expired.size() == 1);
        CHECK(server.expired[0].phase == InputPhase::head);
    }
    SUBCASE("a body: from its last byte") {
        server.transport->set_input_phase(id, InputPhase::body);
        for (int i = 0; i < 10; ++i) {
            server.now = server.now + base::seconds(50);
            client.send("x");
            server.turn_until(
                [&] { return server.received[id.slot].size() == static_cast<std::size_t>(i + 1); });
        }
        CHECK(server.expired.empty());
        server.now = server.now + base::seconds(61);
        server.turns(2);
        REQUIRE(server.expired.size() == 1);
        CHECK(server.expired[0].phase == InputPhase::body);
    }
    SUBCASE("none while a request is answered") {
        server.transport->set_input_phase(id, InputPhase::none);
        server.now = server.now + base::seconds(10'000);
        server.turns(3);
        CHECK(server.expired.empty());
        CHECK(server.transport->next_deadline() == Instant::never());
    }
    // A head's deadline is nearer than the keep-alive's that was set before it.
    server.transport->set_input_phase(id, InputPhase::next_request);
    server.transport->set_input_phase(id, InputPhase::head);
    CHECK(server.transport->next_deadline() <= server.now + base::seconds(11));
}

TEST_CASE("above the allowed number a connection gets a 503 it can read") {
    base::Capacity two(2);
    Server server({.connections = &two});
    Client first(server);
    Client second(server);
    server.accept_one();
    server.turn_until([&] { return server.accepted.size() == 2; });
    std::vector<std::unique_ptr<Client>> others;
    for (int i = 0; i < 100; ++i) {
        others.push_back(std::make_unique<Client>(server));
        ::send(others.back()->fd, "GET / HTTP/1.1\r\n", 16, MSG_NOSIGNAL);
    }
    server.turns(20);
    CHECK(server.accepted.size() == 2);
    CHECK(server.transport->counters().refused == 100);
    int readable = 0;
    for (const auto& client : others) {
        const std::string response = client->receive();
        readable += response.starts_with("HTTP/1.1 503 ") ? 1 : 0;
        CHECK(
            (response.empty() || (response.find("application/problem+json") != std::string::npos &&
                                  response.ends_with("\"request_id\":\"0000000000000000\"}\n"))));
    }
    CHECK(readable == base::limits::refused_at_once_max);  // the rest was cut off at once
    others.clear();
    server.turns(10);
    // A place that became free is given away again.
    server.transport->abort(server.accepted[0]);
    server.turn_until([&] { return !server.closed.empty(); });
    Client third(server);
    server.turn_until([&] { return server.accepted.size() == 3; });
    CHECK(server.transport->counters().open == 2);
}

TEST_CASE("a slot used again has another id, and no turn names it twice") {
    Server server;
    std::map<std::uint32_t, int> uses;
    for (int i = 0; i < 30; ++i) {
        Client client(server);
        const ConnectionId id = server.accept_one();
        ++uses[id.slot];
        CHECK(std::count(server.accepted.begin(), server.accepted.end(), id) == 1);
        server.transport->abort(id);
        const std::size_t before = server.closed.size();
        server.turn_until([&] { return server.closed.size() > before; });
        CHECK(server.closed.back() == id);
        server.turns(3);
    }
    CHECK(uses.size() <= 3);
    CHECK(server.transport->counters().closed == 30);
}

TEST_CASE("no more is accepted after stop_accepting; what is open stays") {
    Server server;
    Client first(server);
    const ConnectionId id = server.accept_one();
    server.transport->stop_accepting();
    server.turns(3);
    Client second(server);
    server.turns(5);
    CHECK(server.accepted.size() == 1);
    server.transport->write(id, base::as_bytes("still here"));
    server.turns(3);
    CHECK(first.receive() == "still here");
    server.transport->abort_all();
    server.turns(3);
    CHECK(server.closed.size() == 1);
    first.receive();
    CHECK(first.over);
}

TEST_CASE("out of file descriptors: accepting goes on when there are some again") {
    rlimit before{};
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
    rlimit low = before;
    low.rlim_cur = 100;
    // The kernel looks at the limit when the accept is armed.
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &low) == 0);
    Server server;
    Client first(server);
    const ConnectionId id = server.accept_one();
    Client second(server);
    Client third(server);
    std::vector<int> taken;
    for (int fd = ::dup(0); fd >= 0; fd = ::dup(0)) {
        taken.push_back(fd);
    }
    server.turns(10);
    CHECK(server.accepted.size() == 1);
    CHECK(server.transport->counters().accept_errors > 0);
    // The queue is left alone for a while instead of being asked again and again.
    server.turns(20);
    CHECK(server.transport->counters().accept_errors <= 2);
    server.transport->write(id, base::as_bytes("served"));
    server.turns(3);
    CHECK(first.receive() == "served");
    for (const int fd : taken) {
        ::close(fd);
    }
    CHECK(server.transport->next_deadline() <= server.now + base::milliseconds(100));
    server.now = server.now + base::milliseconds(200);
    server.turn_until([&] { return server.accepted.size() == 3; });
    CHECK(::setrlimit(RLIMIT_NOFILE, &before) == 0);
}

TEST_CASE("what an idle connection costs") {
    // Half of the 512 bytes that the whole server may spend on it; the rest is the HTTP front's.
    CHECK(sizeof(net::Connection) <= 256);
}
