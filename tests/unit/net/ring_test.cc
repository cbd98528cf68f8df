#include "net/ring.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "net/buffers.h"

using namespace ursula;
using net::Op;
using net::ReceiveBuffers;
using net::Ring;
using net::RingOptions;

namespace {

struct Done : Op {
    std::vector<std::pair<std::int32_t, std::uint32_t>> results;
    Done() {
        reap = [](Op* op, std::int32_t result, std::uint32_t flags) {
            static_cast<Done*>(op)->results.push_back({result, flags});
        };
    }
    std::int32_t last() const { return results.back().first; }
};

std::unique_ptr<Ring> open_ring(const RingOptions& options = {.sq_entries = 64,
                                                              .cq_entries = 256}) {
    auto ring = Ring::open(options);
    REQUIRE_MESSAGE(ring.has_value(), ring.error().message);
    return std::move(*ring);
}

// Turns until `done` holds; never for ever.
template <class Condition>
void turn_until(Ring& ring, const Condition& condition) {
    for (int i = 0; i < 500 && !condition(); ++i) {
        REQUIRE(ring.submit_and_wait(base::milliseconds(20)).has_value());
        ring.reap();
    }
    REQUIRE(condition());
}

struct Pair {
    int a = -1;
    int b = -1;
    Pair() {
        std::array<int, 2> sockets{};
        REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets.data()) == 0);
        a = sockets[0];
        b = sockets[1];
    }
    ~Pair() {
        ::close(a);
        ::close(b);
    }
};

struct TempFile {
    std::string path = "/tmp/ursula_ring_test_XXXXXX";
    int fd = -1;
    TempFile() { fd = ::mkstemp(path.data()); }
    ~TempFile() {
        ::close(fd);
        ::unlink(path.c_str());
    }
};

}  // namespace

TEST_CASE("operations come back through their reap, in every mode of the ring") {
    for (const bool deferred : {true, false}) {
        auto ring =
            open_ring({.sq_entries = 64, .cq_entries = 256, .allow_deferred_task_run = deferred});
        CHECK(((ring->setup_flags() & (1u << 13)) != 0) == deferred);
        Done first;
        Done second;
        ring->no_op(first);
        ring->no_op(second);
        CHECK(first.results.empty());
        turn_until(*ring, [&] { return !first.results.empty() && !second.results.empty(); });
        CHECK(first.last() == 0);
        CHECK(ring->counters().submitted >= 2);
    }
}

TEST_CASE("one system call submits a turn and waits for it") {
    auto ring = open_ring();
    REQUIRE(ring->submit_and_wait({}).has_value());  // arms the doorbell's poll
    const std::uint64_t before = ring->counters().enters;
    std::array<Done, 20> ops;
    for (Done& op : ops) {
        ring->no_op(op);
    }
    REQUIRE(ring->submit_and_wait(base::milliseconds(100)).has_value());
    CHECK(ring->counters().enters == before + 1);
    CHECK(ring->reap() == 20);
}

TEST_CASE("a wait ends at its deadline, never later than a second") {
    auto ring = open_ring();
    REQUIRE(ring->submit_and_wait(base::milliseconds(30)).has_value());
    CHECK(ring->reap() == 0);
    REQUIRE(ring->submit_and_wait(base::seconds(-5)).has_value());
    REQUIRE(ring->submit_and_wait({INT64_MAX}).has_value());  // returns: that is the test
}

TEST_CASE("nothing is lost when more is queued than the queue holds") {
    auto ring = open_ring({.sq_entries = 8, .cq_entries = 16});
    std::vector<Done> ops(1000);
    for (Done& op : ops) {
        ring->no_op(op);
    }
    CHECK(ring->counters().sq_full > 0);
    turn_until(*ring, [&] {
        for (const Done& op : ops) {
            if (op.results.size() != 1) {
                return false;
            }
        }
        return true;
    });
    // The completion queue holds 16: what did not fit was kept by the kernel, and counted here.
    CHECK(ring->counters().overflows > 0);
}

TEST_CASE("files") {
    auto ring = open_ring();
    TempFile file;
    Done write;
    Done sync;
    Done allocate;
    Done read;
    ring->allocate(allocate, file.fd, 0, 0, 8192);
    turn_until(*ring, [&] { return !allocate.results.empty(); });
    CHECK(allocate.last() == 0);
    const std::string text = "hello";
    ring->write_then_sync(write, sync, file.fd, base::as_bytes(text), 100);
    turn_until(*ring, [&] { return !sync.results.empty(); });
    CHECK(write.last() == 5);
    CHECK(sync.last() == 0);
    Done durable;
    ring->write_durable(durable, file.fd, base::as_bytes(text), 105);
    turn_until(*ring, [&] { return !durable.results.empty(); });
    CHECK(durable.last() == 5);
    std::array<std::byte, 10> back{};
    ring->read(read, file.fd, back, 100);
    turn_until(*ring, [&] { return !read.results.empty(); });
    CHECK(read.last() == 10);
    CHECK(std::memcmp(back.data(), "hellohello", 10) == 0);

    Done open;
    const std::string name = file.path.substr(file.path.rfind('/') + 1) + ".b";
    const std::string other = name + "c";
    const int directory = ::open("/tmp", O_DIRECTORY | O_CLOEXEC);
    ring->open_at(open, directory, name.c_str(), O_CREAT | O_RDWR, 0600);
    turn_until(*ring, [&] { return !open.results.empty(); });
    REQUIRE(open.last() >= 0);
    Done close;
    Done rename;
    Done unlink;
    ring->close(close, open.last());
    ring->rename_at(rename, directory, name.c_str(), other.c_str());
    turn_until(*ring, [&] { return !rename.results.empty(); });
    CHECK(rename.last() == 0);
    ring->unlink_at(unlink, directory, other.c_str());
    turn_until(*ring, [&] { return !unlink.results.empty() && !close.results.empty(); });
    CHECK(unlink.last() == 0);
    CHECK(close.last() == 0);
    ::close(directory);
}

TEST_CASE("a linked pair is never torn apart, even by a full queue") {
    auto ring = open_ring({.sq_entries = 4, .cq_entries = 64});
    TempFile file;
    const std::string text(4096, 'x');
    std::vector<Done> writes(50);
    std::vector<Done> syncs(50);
    Done odd;
    for (std::size_t i = 0; i < writes.size(); ++i) {
        ring->write_then_sync(writes[i], syncs[i], file.fd, base::as_bytes(text), i * 4096);
        if (i % 3 == 0) {
            ring->no_op(odd);
        }
    }
    turn_until(*ring, [&] {
        for (const Done& sync : syncs) {
            if (sync.results.empty()) {
                return false;
            }
        }
        return true;
    });
    for (std::size_t i = 0; i < writes.size(); ++i) {
        CHECK(writes[i].last() == 4096);
        CHECK(syncs[i].last() == 0);
    }
}

TEST_CASE("a failed write takes its sync with it") {
    auto ring = open_ring();
    Done write;
    Done sync;
    const std::string text = "x";
    const int read_only = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    ring->write_then_sync(write, sync, read_only, base::as_bytes(text), 0);
    turn_until(*ring, [&] { return !sync.results.empty() && !write.results.empty(); });
    CHECK(write.last() == -EBADF);
    CHECK(sync.last() == -ECANCELED);
    ::close(read_only);
}

TEST_CASE("multishot receive from provided buffers, until they run out and come back") {
    auto ring = open_ring();
    auto buffers = ReceiveBuffers::open(*ring, {.count = 4, .bytes = 16, .group = 3});
    REQUIRE_MESSAGE(buffers.has_value(), buffers.error().message);
    Pair pair;
    Done receive;
    ring->receive_multishot(receive, pair.a, (*buffers)->group());
    const std::string text = "0123456789abcdef0123456789ABCDEF0123456789abcdef0123456789ABCDEFrest";
    REQUIRE(::send(pair.b, text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()));
    turn_until(*ring, [&] { return !receive.results.empty() && receive.last() == -ENOBUFS; });
    CHECK_FALSE(net::more_follow(receive.results.back().second));
    REQUIRE(receive.results.size() == 5);
    std::string got;
    for (std::size_t i = 0; i < 4; ++i) {
        const auto [size, flags] = receive.results[i];
        REQUIRE(net::has_buffer(flags));
        got +=
            base::as_text((*buffers)->take(net::buffer_id(flags), static_cast<std::size_t>(size)));
        (*buffers)->give_back(net::buffer_id(flags));
    }
    CHECK((*buffers)->publish());
    CHECK_FALSE((*buffers)->publish());
    CHECK((*buffers)->taken() == 0);
    receive.results.clear();
    ring->receive_multishot(receive, pair.a, (*buffers)->group());
    turn_until(*ring, [&] { return !receive.results.empty(); });
    got += base::as_text((*buffers)->take(net::buffer_id(receive.results[0].second),
                                          static_cast<std::size_t>(receive.results[0].first)));
    CHECK(got == text);
    (*buffers)->give_back(net::buffer_id(receive.results[0].second));
    // Cancelled, the multishot ends with ECANCELED.
    receive.results.clear();
    ring->cancel(receive);
    turn_until(*ring, [&] { return !receive.results.empty(); });
    CHECK(receive.last() == -ECANCELED);
}

TEST_CASE("poll and send") {
    auto ring = open_ring();
    Pair pair;
    Done poll;
    Done send;
    ring->poll(poll, pair.b, POLLIN);
    REQUIRE(ring->submit_and_wait(base::milliseconds(5)).has_value());
    ring->reap();
    CHECK(poll.results.empty());
    const std::string text = "hi";
    ring->send(send, pair.a, base::as_bytes(text), MSG_NOSIGNAL);
    turn_until(*ring, [&] { return !poll.results.empty() && !send.results.empty(); });
    CHECK((poll.last() & POLLIN) != 0);
    CHECK(send.last() == 2);
}

TEST_CASE("a doorbell wakes another loop's wait, by message or by eventfd") {
    for (const bool message : {true, false}) {
        std::atomic<int> doorbell_fd{-1};
        std::atomic<bool> heard{false};
        std::thread sleeper([&] {
            auto ring =
                Ring::open({.sq_entries = 64, .cq_entries = 256, .allow_message_ring = message});
            REQUIRE(ring.has_value());
            doorbell_fd.store((*ring)->doorbell_fd());
            for (int i = 0; i < 20 && !heard; ++i) {
                REQUIRE((*ring)->submit_and_wait(base::seconds(1)).has_value());
                (*ring)->reap();
                if ((*ring)->take_doorbells() > 0) {
                    heard = true;
                    CHECK((*ring)->counters().doorbells_in > 0);
                }
                CHECK((*ring)->take_doorbells() == 0);
            }
        });
        auto ring = open_ring({.sq_entries = 64, .cq_entries = 256, .allow_message_ring = message});
        while (doorbell_fd.load() < 0) {
            std::this_thread::yield();
        }
        ring->doorbell(doorbell_fd);
        REQUIRE(ring->submit_and_wait({}).has_value());
        sleeper.join();
        CHECK(heard);
        // The target is gone: ringing it is harmless.
        ring->doorbell(doorbell_fd);
        REQUIRE(ring->submit_and_wait(base::milliseconds(20)).has_value());
        ring->reap();
        CHECK(ring->counters().doorbells_out == 2);
    }
}

TEST_CASE("a thread without a ring can ring too, again and again") {
    auto ring = open_ring();
    REQUIRE(ring->submit_and_wait({}).has_value());
    for (int i = 0; i < 3; ++i) {
        std::thread([&] { Ring::ring_foreign_doorbell(ring->foreign_doorbell_fd()); }).join();
        std::uint32_t heard = 0;
        turn_until(*ring, [&] { return (heard += ring->take_doorbells()) > 0; });
        CHECK(heard == 1);
    }
}

TEST_CASE("spinning finds a completion without sleeping and otherwise sleeps") {
    auto ring = open_ring({.sq_entries = 64, .cq_entries = 256, .spin = base::microseconds(50)});
    Done op;
    for (int i = 0; i < 10; ++i) {
        ring->no_op(op);
        turn_until(*ring, [&] { return op.results.size() == static_cast<std::size_t>(i + 1); });
    }
    REQUIRE(ring->submit_and_wait(base::milliseconds(10)).has_value());
    CHECK(ring->reap() == 0);
}

namespace {

// Makes io_uring_setup fail for this process and its children, as a container's profile does.
bool forbid_io_uring(unsigned error) {
    std::array<sock_filter, 4> program = {{
        {BPF_LD | BPF_W | BPF_ABS, 0, 0, 0},  // the system call's number
        {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, SYS_io_uring_setup},
        {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | error},
        {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW},
    }};
    const sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
    return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

}  // namespace

TEST_CASE("io_uring forbidden or missing is an error that names the remedy") {
    for (const int error : {EPERM, ENOSYS}) {
        const pid_t child = ::fork();
        if (child == 0) {
            if (!forbid_io_uring(static_cast<unsigned>(error))) {
                ::_exit(3);
            }
            const auto ring = Ring::open();
            const char* remedy = error == EPERM ? "kernel.io_uring_disabled=0" : "Linux 6.0";
            const bool told = !ring.has_value() && ring.error().errno_value == error &&
                              ring.error().message.find(remedy) != std::string::npos &&
                              ring.error().message.find("seccomp") != std::string::npos;
            ::_exit(told ? 0 : 1);
        }
        int status = -1;
        REQUIRE(::waitpid(child, &status, 0) == child);
        REQUIRE(WIFEXITED(status));
        CHECK(WEXITSTATUS(status) == 0);
    }
}
