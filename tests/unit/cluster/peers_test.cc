// Two nodes' links over loopback sockets, all on one ring: greetings, refusals, frames of every
// size, ends of connections, and strangers.
#include "peers.h"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <vector>

#include "base/limits.h"
#include "base/log.h"
#include "net/listener.h"
#include "net/peer_door.h"
#include "net/ring.h"
#include "shard/frame.h"
#include "tests/support/certificates.h"
#include "tests/unit/cluster/real_time.h"

using namespace ursula;
namespace limits = base::limits;

namespace {

std::vector<std::byte> frame_of(std::size_t size, std::uint8_t fill) {
    std::vector<std::byte> frame(size, static_cast<std::byte>(fill));
    base::store(frame.data(), shard::frame_magic);
    base::store(frame.data() + 12, static_cast<std::uint32_t>(size));
    return frame;
}

// What one side's shard saw.
struct Seen {
    std::vector<std::vector<std::byte>> frames;
    std::vector<bool> events;
    std::size_t parts = 0;  // how often bytes came and no frame was whole
    bool up() const { return !events.empty() && events.back(); }
};

constexpr shard::PeerShard shard_of(std::uint32_t node) {
    return {base::NodeId(node), base::ShardId(0)};
}

void write_all(int fd, base::Bytes bytes) {
    REQUIRE(::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
            static_cast<ssize_t>(bytes.size()));
}

// What a life of that node, with that storage, says to node 1.
Hello hello_to_one(std::uint32_t node, std::uint64_t incarnation, std::uint64_t boot = 3) {
    Hello hello;
    hello.cluster = 77;
    hello.incarnation = incarnation;
    hello.boot = boot;
    hello.node = base::NodeId(node);
    hello.shards = 1;
    hello.groups = 4;
    hello.to_node = base::NodeId(1);
    return hello;
}

// Node 1 listens, node 2 dials.
class Pair {
  public:
    Pair() {
        base::set_log_descriptor(-1);
        ring_ = std::move(*net::Ring::open());
        listeners_ = *net::open_listeners({.host = "127.0.0.1", .port = 0}, 1);
        door_ = std::make_unique<net::PeerDoor>(*ring_, listeners_.sockets.front());
        one_options = options_of(1);
        two_options = options_of(2);
    }
    ~Pair() {
        for (Peers* peers : {one.get(), two.get()}) {
            if (peers != nullptr) {
                peers->close();
            }
        }
        door_->close();
        const bool ended = run([this] {
            return door_->idle() && (one == nullptr || one->idle()) &&
                   (two == nullptr || two->idle());
        });
        CHECK(ended);
        ::close(listeners_.sockets.front());
    }

    PeersOptions options_of(std::uint32_t node) const {
        PeersOptions options;
        options.node = base::NodeId(node);
        options.groups = 4;
        options.cluster = 77;
        options.incarnation = 100 + node;
        options.boot = node;
        options.random_seed = node;
        return options;
    }
    shard::MemberInfo member(std::uint32_t id) const {
        return {base::NodeId(id), 1, 100 + id, "127.0.0.1:" + std::to_string(listeners_.port), {}};
    }
    void start_one() {
        one = std::make_unique<Peers>(one_options, *ring_, one_tls.get(), mono_now());
        one->know(base::NodeId(2), std::array{member(2)});
    }
    void start_two() {
        two = std::make_unique<Peers>(two_options, *ring_, two_tls.get(), mono_now());
        two->know(base::NodeId(1), std::array{member(1)});
    }

    void turn() {
        const base::Instant now = mono_now();
        ring_->reap();
        std::vector<net::PeerDoor::Arrival> arrivals;
        door_->begin_turn(now, arrivals);
        for (const net::PeerDoor::Arrival& arrival : arrivals) {
            targets.push_back(arrival.target);
            Peers* host = two_listens ? two.get() : one.get();
            if (host != nullptr && arrival.target == 0) {
                host->adopt(arrival.socket);
            } else {
                ::close(arrival.socket);
            }
        }
        for (const bool first : {true, false}) {
            Peers* peers = first ? one.get() : two.get();
            if (peers == nullptr) {
                continue;
            }
            Seen& seen = first ? one_saw : two_saw;
            peers->begin_turn(now);
            std::vector<shard::ReceivedFrame> frames;
            std::vector<shard::LinkEvent> events;
            peers->take(frames, events);
            for (const shard::LinkEvent& event : events) {
                CHECK((any_peer || event.peer == shard_of(first ? 2 : 1)));
                if (event.bytes) {
                    ++seen.parts;
                } else {
                    seen.events.push_back(event.up);
                }
            }
            for (const shard::ReceivedFrame& frame : frames) {
                seen.frames.emplace_back(frame.bytes.begin(), frame.bytes.end());
            }
        }
        if (one != nullptr) {
            one->flush();
        }
        if (two != nullptr) {
            two->flush();
        }
        REQUIRE(ring_->submit_and_wait(base::milliseconds(5)).has_value());
    }

    template <class Done>
    bool run(Done done) {
        return turn_until(done, [this] { turn(); });
    }
    void use_tls() {
        const test_support::Authority authority;
        one_tls = std::move(*net::TlsContext::make(authority.issue({"prod", 1})));
        two_tls = std::move(*net::TlsContext::make(authority.issue({"prod", 2})));
    }
    bool connect() {
        start_one();
        start_two();
        return run([this] { return one_saw.up() && two_saw.up(); });
    }

    // A stranger's own socket, which this test reads and writes by hand.
    int stranger() const {
        const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(listeners_.port);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        REQUIRE(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
        return fd;
    }
    // All that comes on it until it is closed; "" with `closed` false when it stays open.
    std::string read_to_end(int fd, bool& closed) {
        std::string text;
        closed = run([&] {
            pollfd poll{fd, POLLIN, 0};
            while (::poll(&poll, 1, 0) > 0) {
                char buffer[4096];
                const ssize_t size = ::read(fd, buffer, sizeof buffer);
                if (size <= 0) {
                    return true;
                }
                text.append(buffer, static_cast<std::size_t>(size));
            }
            return false;
        });
        ::close(fd);
        return text;
    }
    // What node 1 says to who comes with that greeting and is refused.
    std::string answer_to(const Hello& hello) {
        const int fd = stranger();
        write_all(fd, net::encode_preamble(0));
        write_all(fd, encode_hello(hello));
        bool closed = false;
        return read_to_end(fd, closed);
    }

    PeersOptions one_options;
    PeersOptions two_options;
    std::unique_ptr<net::TlsContext> one_tls;
    std::unique_ptr<net::TlsContext> two_tls;
    std::unique_ptr<Peers> one;
    std::unique_ptr<Peers> two;
    Seen one_saw;
    Seen two_saw;
    bool two_listens = false;  // in one's place
    bool any_peer = false;     // others come as well
    std::vector<std::uint32_t> targets;

  private:
    std::unique_ptr<net::Ring> ring_;
    net::Listeners listeners_;
    std::unique_ptr<net::PeerDoor> door_;
};

}  // namespace

TEST_CASE("two nodes greet and exchange frames of every size, in order") {
    Pair pair;
    SUBCASE("plain") {}
    SUBCASE("with TLS") {
        pair.use_tls();
    }
    REQUIRE(pair.connect());
    CHECK(pair.one->counters().links == 1);
    const std::vector<std::size_t> sizes = {
        shard::frame_header_bytes,     100,       5'000, 70'000, 3'000'000,
        shard::frame_header_bytes + 1, 9'000'000, 1'000};
    std::uint8_t fill = 1;
    for (const std::size_t size : sizes) {
        CHECK(pair.one->takes(shard_of(2)));
        pair.one->send(shard_of(2), frame_of(size, fill));
        pair.two->send(shard_of(1), frame_of(size, fill));
        ++fill;
        if (size == 5'000) {
            pair.turn();  // those before leave alone
        }
    }
    REQUIRE(pair.run([&] {
        return pair.one_saw.frames.size() == sizes.size() &&
               pair.two_saw.frames.size() == sizes.size();
    }));
    for (const Seen* seen : {&pair.one_saw, &pair.two_saw}) {
        for (std::size_t i = 0; i < sizes.size(); ++i) {
            CHECK(seen->frames[i] == frame_of(sizes[i], static_cast<std::uint8_t>(i + 1)));
        }
        CHECK(seen->parts > 0);  // of the large ones
    }
    CHECK(pair.two->counters().frames_received == sizes.size());
}

TEST_CASE("a queue that is full takes no frame, an empty one takes any") {
    Pair pair;
    REQUIRE(pair.connect());
    const std::vector<std::byte> frame = frame_of(limits::peer_queue_bytes_max + 10, 3);
    pair.two->send(shard_of(1), frame);
    CHECK_FALSE(pair.two->takes(shard_of(1)));
    REQUIRE(pair.run([&] { return !pair.one_saw.frames.empty(); }));
    CHECK(pair.one_saw.frames.front() == frame);
    CHECK(pair.run([&] { return pair.two->takes(shard_of(1)); }));
    CHECK_FALSE(pair.two->takes({base::NodeId(9), base::ShardId(0)}));
}

TEST_CASE("a node that goes is missed at once, and met again when it is back") {
    Pair pair;
    SUBCASE("plain") {}
    SUBCASE("with TLS") {
        pair.use_tls();
    }
    REQUIRE(pair.connect());
    // The last frame of a connection still arrives; then its end is told.
    pair.two->send(shard_of(1), frame_of(200, 9));
    pair.two->flush();
    pair.turn();
    pair.two->close();
    REQUIRE(pair.run([&] { return pair.two->idle(); }));
    REQUIRE(pair.run([&] { return !pair.one_saw.up(); }));
    CHECK(pair.one_saw.frames.size() == 1);
    CHECK_FALSE(pair.one->takes(shard_of(2)));
    CHECK(pair.one->counters().links == 0);
    pair.two_saw = {};
    pair.start_two();
    REQUIRE(pair.run([&] { return pair.one_saw.up() && pair.two_saw.up(); }));

    // The other way round: the dialler dials until it is answered.
    pair.one->close();
    REQUIRE(pair.run([&] { return pair.one->idle() && !pair.two_saw.up(); }));
    pair.one.reset();
    for (int turns = 0; turns < 20; ++turns) {
        pair.turn();
    }
    pair.one_saw = {};
    pair.start_one();
    REQUIRE(pair.run([&] { return pair.one_saw.up() && pair.two_saw.up(); }));
}

TEST_CASE("a newer connection takes the place of one that its dialler has given up") {
    Pair pair;
    REQUIRE(pair.connect());
    auto old = std::move(pair.two);
    pair.two_saw = {};
    const std::size_t events = pair.one_saw.events.size();
    pair.start_two();
    REQUIRE(pair.run([&] { return pair.two_saw.up(); }));
    REQUIRE(pair.run([&] { return pair.one_saw.events.size() > events; }));
    CHECK(pair.one_saw.up());
    CHECK(pair.one->counters().links == 1);
    pair.one->send(shard_of(2), frame_of(300, 1));
    REQUIRE(pair.run([&] { return pair.two_saw.frames.size() == 1; }));
    old->close();
    REQUIRE(pair.run([&] {
        old->begin_turn(mono_now());
        old->flush();
        return old->idle();
    }));
}

TEST_CASE("members are learnt and forgotten at run time") {
    Pair pair;
    pair.start_one();
    pair.start_two();
    pair.one->know(base::NodeId(2), {});
    pair.two->know(base::NodeId(1), {});
    const base::Instant end = mono_now() + base::milliseconds(200);
    pair.run([&] { return mono_now() >= end; });
    CHECK(pair.targets.empty());
    CHECK(pair.two->counters().links_in_all == 0);

    // Whom 1 does not know, or knows with other storage, comes and is heard all the same.
    SUBCASE("a stranger") {}
    SUBCASE("other storage") {
        shard::MemberInfo old = pair.member(2);
        old.incarnation = 5;
        old.address = {};
        pair.one->know(base::NodeId(2), std::array{old});
    }
    pair.two->know(base::NodeId(1), std::array{pair.member(1)});
    REQUIRE(pair.run([&] { return pair.one_saw.up() && pair.two_saw.up(); }));
    CHECK(pair.one->takes(shard_of(2)));
    pair.one->send(shard_of(2), frame_of(300, 1));
    REQUIRE(pair.run([&] { return pair.two_saw.frames.size() == 1; }));

    // Who is not named any more is heard as long as its connection lasts.
    pair.two->know(base::NodeId(1), {});
    pair.one->know(base::NodeId(2), {});
    pair.turn();
    CHECK(pair.two->takes(shard_of(1)));
    pair.one->close();
    REQUIRE(pair.run([&] { return pair.one->idle() && !pair.two_saw.up(); }));
    REQUIRE(pair.run([&] { return pair.two->counters().links_in_all == 0; }));
    CHECK(pair.targets.size() == 1);
}

TEST_CASE("a node that no group names is dismissed, is told so, and may come back as a member") {
    Pair pair;
    REQUIRE(pair.connect());
    CHECK(pair.two->counters().dismissed == base::Instant{});
    pair.one->know(base::NodeId(2), {});
    pair.one->dismiss(base::NodeId(2), 55);  // other storage
    pair.turn();
    CHECK(pair.one_saw.up());
    pair.one->dismiss(base::NodeId(2), 102);
    REQUIRE(pair.run([&] { return !pair.one_saw.up() && !pair.two_saw.up(); }));
    CHECK(pair.two->counters().dismissed != base::Instant{});
    CHECK(pair.two->counters().links == 0);

    // Whoever comes with that storage is told at once.
    const std::string told = pair.answer_to(hello_to_one(2, 102));
    CHECK(net::magic_of(base::as_bytes(told)) == dismissal_magic);
    CHECK(decode_refusal(base::as_bytes(told)).find("node 2 was removed from cluster") == 0);

    // Named again, it is let in.
    pair.one->know(base::NodeId(2), std::array{pair.member(2)});
    pair.two->know(base::NodeId(1), {});
    pair.two->know(base::NodeId(1), std::array{pair.member(1)});
    REQUIRE(pair.run([&] { return pair.one_saw.up() && pair.two_saw.up(); }));
    // Another storage of its id does not take its place.
    const std::string other = pair.answer_to(hello_to_one(2, 103));
    CHECK(net::magic_of(base::as_bytes(other)) == refusal_magic);
    CHECK(decode_refusal(base::as_bytes(other)).find("has a node 2 with other storage") !=
          std::string::npos);
    CHECK(pair.one_saw.up());
    CHECK(pair.one->counters().links == 1);
}

TEST_CASE("an older copy of a directory is refused, a connection of the same life is not") {
    Pair pair;
    pair.one_options.run = 3;
    pair.two_options.run = 7;
    REQUIRE(pair.connect());
    // A copy from before its last starts, and one that has made the same start once more.
    for (const std::uint64_t run : {3u, 7u}) {
        CAPTURE(run);
        Hello hello = hello_to_one(2, 102, 99);
        hello.run = run;
        const std::string answer = pair.answer_to(hello);
        const std::string told = decode_refusal(base::as_bytes(answer));
        CHECK(told.find("node 2 comes with an older copy of its data directory") == 0);
        CHECK(told.find("cluster replace 2") != std::string::npos);
        CHECK(pair.one_saw.up());
    }
    // The node itself begins connections anew as often as it likes, and lives again later.
    pair.two->know(base::NodeId(1), {});
    pair.two->know(base::NodeId(1), std::array{pair.member(1)});
    REQUIRE(pair.run([&] { return pair.one_saw.up() && pair.two_saw.up(); }));
    pair.two->close();
    REQUIRE(pair.run([&] { return pair.two->idle(); }));
    pair.two_options.run = 8;
    pair.two_options.boot = 55;
    pair.start_two();
    REQUIRE(pair.run([&] { return pair.one_saw.up() && pair.two->counters().links == 1; }));
}

TEST_CASE("a link to storage that was replaced ends") {
    Pair pair;
    REQUIRE(pair.connect());
    shard::MemberInfo moved = pair.member(2);
    moved.address = "127.0.0.1:1";
    pair.one->know(base::NodeId(2), std::array{moved});
    pair.turn();
    CHECK(pair.one_saw.up());  // the same, elsewhere
    shard::MemberInfo next = moved;
    next.incarnation = 202;
    const std::size_t events = pair.one_saw.events.size();
    pair.one->know(base::NodeId(2), std::array{next});
    REQUIRE(pair.run([&] { return pair.one_saw.events.size() > events; }));
    CHECK_FALSE(pair.one_saw.events[events]);
}

TEST_CASE("nodes that no group names have so many links and no more") {
    Pair pair;
    pair.any_peer = true;
    pair.start_one();
    std::vector<int> held;
    const auto come = [&](std::size_t at) {
        held.push_back(pair.stranger());
        write_all(held.back(), net::encode_preamble(0));
        write_all(held.back(), encode_hello(hello_to_one(static_cast<std::uint32_t>(100 + at), 7)));
    };
    for (std::size_t i = 0; i < limits::stranger_links_max; ++i) {
        come(i);
        REQUIRE(pair.run([&] { return pair.one->counters().links == i + 1; }));
    }
    come(limits::stranger_links_max);
    bool closed = false;
    const std::string answer = pair.read_to_end(held.back(), closed);
    held.pop_back();
    CHECK(closed);
    CHECK(decode_refusal(base::as_bytes(answer)) ==
          "too many nodes that no group names are connected");
    for (const int fd : held) {
        ::close(fd);
    }
    CHECK(pair.run([&] { return pair.one->counters().links == 0; }));
}

TEST_CASE("a node with the lower id dials when the other one does not come") {
    Pair pair;
    pair.two_listens = true;
    pair.start_one();
    pair.start_two();
    SUBCASE("it does not know where") {
        shard::MemberInfo lost = pair.member(1);
        lost.address = "127.0.0.1:1";
        pair.two->know(base::NodeId(1), std::array{lost});
    }
    SUBCASE("it does not know whom") {
        pair.two->know(base::NodeId(1), {});
    }
    REQUIRE(pair.run([&] { return pair.one_saw.up() && pair.two_saw.up(); }));
    CHECK(pair.two->counters().links == 1);
    pair.two->send(shard_of(1), frame_of(300, 1));
    REQUIRE(pair.run([&] { return pair.one_saw.frames.size() == 1; }));
}

TEST_CASE("who is no peer is refused, and both know why") {
    Pair pair;
    SUBCASE("another cluster") {
        pair.two_options.cluster = 78;
    }
    SUBCASE("other groups") {
        pair.two_options.groups = 5;
    }
    SUBCASE("other shards") {
        pair.two_options.shards = 2;
    }
    pair.start_one();
    pair.start_two();
    const base::Instant end = mono_now() + base::milliseconds(300);
    pair.run([&] { return mono_now() >= end; });
    CHECK(pair.targets.size() >= 1);
    CHECK(pair.targets.size() <= 3);  // it is not tried in a hurry
    CHECK(pair.one_saw.events.empty());
    CHECK(pair.two_saw.events.empty());

    // The sentence itself, as the other side gets it.
    const int fd = pair.stranger();
    Hello hello;
    hello.cluster = 78;
    hello.node = base::NodeId(2);
    write_all(fd, net::encode_preamble(0));
    write_all(fd, encode_hello(hello));
    bool closed = false;
    const std::string answer = pair.read_to_end(fd, closed);
    CHECK(closed);
    CHECK(decode_refusal(base::as_bytes(answer)) ==
          "node 2 is of cluster 000000000000004e and node 1 of cluster 000000000000004d: they are "
          "not peers");
}

TEST_CASE("strangers: half a preamble, nonsense, half a greeting, and silence end in time") {
    Pair pair;
    pair.start_one();
    bool closed = false;
    int fd = pair.stranger();
    write_all(fd, base::as_bytes("GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
    CHECK(pair.read_to_end(fd, closed) == "");
    CHECK(closed);

    fd = pair.stranger();
    write_all(fd, net::encode_preamble(0));
    write_all(fd, base::as_bytes("sixteen bytes of nonsense"));
    CHECK(decode_refusal(base::as_bytes(pair.read_to_end(fd, closed))) ==
          "a greeting was expected");
    CHECK(closed);

    // A greeting that claims to be long.
    fd = pair.stranger();
    std::vector<std::byte> block = encode_hello(Hello{});
    base::store(block.data() + 12, std::uint32_t{200'000'000});
    write_all(fd, net::encode_preamble(0));
    write_all(fd, block);
    CHECK(decode_refusal(base::as_bytes(pair.read_to_end(fd, closed))) ==
          "a greeting was expected");
    CHECK(closed);

    const auto preamble = net::encode_preamble(0);
    const std::vector<std::byte> hello = encode_hello(Hello{});
    const int silent = pair.stranger();
    const int half = pair.stranger();
    write_all(half, base::Bytes(preamble).first(7));
    const int quiet = pair.stranger();
    write_all(quiet, preamble);
    write_all(quiet, base::Bytes(hello).first(30));
    for (const int one : {silent, half, quiet}) {
        CHECK(pair.read_to_end(one, closed) == "");
        CHECK(closed);
    }

    // More than may wait at once, and a peer is still welcome among them.
    std::vector<int> crowd;
    for (std::size_t i = 0; i < limits::peer_strangers_max + 8; ++i) {
        crowd.push_back(pair.stranger());
        if (i % 2 == 0) {
            write_all(crowd.back(), preamble);
        }
        pair.turn();
    }
    pair.start_two();
    CHECK(pair.run([&] { return pair.one_saw.up() && pair.two_saw.up(); }));
    for (const int one : crowd) {
        pair.read_to_end(one, closed);
        CHECK(closed);
    }
}

TEST_CASE("a link that carries anything but frames is ended") {
    Pair pair;
    pair.start_one();
    const int fd = pair.stranger();
    write_all(fd, net::encode_preamble(0));
    write_all(fd, encode_hello(hello_to_one(2, 102)));
    REQUIRE(pair.run([&] { return pair.one_saw.up(); }));
    SUBCASE("nonsense") {
        write_all(fd, base::as_bytes("these are no sixteen bytes of ours"));
    }
    SUBCASE("a frame longer than any") {
        std::vector<std::byte> frame = frame_of(100, 1);
        base::store(frame.data() + 12, static_cast<std::uint32_t>(limits::frame_bytes_max + 1));
        write_all(fd, frame);
    }
    SUBCASE("a frame shorter than its header") {
        std::vector<std::byte> frame = frame_of(100, 1);
        base::store(frame.data() + 12, std::uint32_t{20});
        write_all(fd, frame);
    }
    CHECK(pair.run([&] { return !pair.one_saw.up(); }));
    bool closed = false;
    pair.read_to_end(fd, closed);
    CHECK(closed);
}

TEST_CASE("with TLS a node is who its certificate says, and nobody without one is a peer") {
    Pair pair;
    const test_support::Authority authority;
    const test_support::Authority stranger;
    pair.one_tls = std::move(*net::TlsContext::make(authority.issue({"prod", 1})));
    SUBCASE("another node's certificate") {
        pair.two_tls = std::move(*net::TlsContext::make(authority.issue({"prod", 3})));
    }
    SUBCASE("another cluster's") {
        pair.two_tls = std::move(*net::TlsContext::make(authority.issue({"test", 2})));
    }
    SUBCASE("another authority's") {
        net::TlsFiles files = stranger.issue({"prod", 2});
        files.authority = authority.pem();
        pair.two_tls = std::move(*net::TlsContext::make(files));
    }
    SUBCASE("none") {}
    pair.start_one();
    pair.start_two();
    CHECK(pair.run([&] { return pair.targets.size() >= 3; }));
    CHECK(pair.one_saw.events.empty());
    CHECK(pair.two_saw.events.empty());
}
