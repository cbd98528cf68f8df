#include "net/unix_listener.h"

#include <doctest/doctest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <string>

#include "tests/support/temp_dir.h"

using namespace ursula;
using net::UnixListener;

namespace {

bool connects(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    REQUIRE(path.size() < sizeof address.sun_path);
    std::memcpy(address.sun_path, path.data(), path.size());
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const bool ok = ::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
    ::close(fd);
    return ok;
}

bool exists(const std::string& path) {
    struct stat status {};
    return ::lstat(path.c_str(), &status) == 0;
}

// What a killed process leaves: the file, and nobody behind it.
void leave_dead_socket(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.data(), path.size());
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    REQUIRE(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    ::close(fd);
}

}  // namespace

TEST_CASE("only owner and group may connect, whatever the umask") {
    const test_support::TempDir dir;
    const std::string path = dir.path() + "/a.sock";
    for (const mode_t mask : {0000u, 0022u, 0077u, 0777u}) {
        const mode_t before = ::umask(mask);
        auto listener = UnixListener::open(path);
        const mode_t after = ::umask(before);
        REQUIRE(listener);
        CHECK(after == mask);
        struct stat status {};
        REQUIRE(::lstat(path.c_str(), &status) == 0);
        CHECK((status.st_mode & 07777) == 0660);
        CHECK(connects(path));
    }
    CHECK(!exists(path));
}

TEST_CASE("the socket of a dead process is replaced, a live one is not") {
    const test_support::TempDir dir;
    const std::string path = dir.path() + "/a.sock";
    leave_dead_socket(path);
    REQUIRE(!connects(path));
    auto first = UnixListener::open(path);
    REQUIRE(first);
    CHECK(connects(path));
    auto second = UnixListener::open(path);
    REQUIRE(!second);
    CHECK(second.error().errno_value == EADDRINUSE);
    CHECK(second.error().message.find("another process") != std::string::npos);
    CHECK(connects(path));
}

TEST_CASE("a live socket whose queue is full is a live one") {
    const test_support::TempDir dir;
    const std::string path = dir.path() + "/a.sock";
    auto first = UnixListener::open(path, 1);
    REQUIRE(first);
    CHECK(connects(path));
    CHECK(connects(path));
    auto second = UnixListener::open(path);
    REQUIRE(!second);
    CHECK(second.error().errno_value == EADDRINUSE);
}

TEST_CASE("what is no socket stays") {
    const test_support::TempDir dir;
    const std::string path = dir.path() + "/letter";
    std::ofstream(path) << "dear";
    auto listener = UnixListener::open(path);
    REQUIRE(!listener);
    CHECK(listener.error().message.find("no socket") != std::string::npos);
    CHECK(exists(path));
}

TEST_CASE("a missing directory is an error that names the path") {
    const test_support::TempDir dir;
    auto listener = UnixListener::open(dir.path() + "/none/a.sock");
    REQUIRE(!listener);
    CHECK(listener.error().errno_value == ENOENT);
    CHECK(listener.error().message.find("/none/a.sock") != std::string::npos);
}

TEST_CASE("a path longer than the kernel's own limit") {
    const test_support::TempDir dir;
    std::string path = dir.path();
    for (int i = 0; i < 3; ++i) {
        path += "/" + std::string(60, 'd');
        REQUIRE(::mkdir(path.c_str(), 0700) == 0);
    }
    path += "/a.sock";
    {
        auto listener = UnixListener::open(path);
        REQUIRE(listener);
        CHECK(exists(path));
        CHECK(!UnixListener::open(path));
    }
    CHECK(!exists(path));
}

TEST_CASE("the file of a successor is left alone") {
    const test_support::TempDir dir;
    const std::string path = dir.path() + "/a.sock";
    auto first = UnixListener::open(path);
    REQUIRE(first);
    REQUIRE(::unlink(path.c_str()) == 0);
    auto second = UnixListener::open(path);
    REQUIRE(second);
    *first = UnixListener();
    CHECK(connects(path));
}
