#include "net/unix_listener.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <utility>

namespace ursula::net {

namespace {

constexpr mode_t file_mode = 0660;
// A look stands in the other's queue for a moment: few of them, each after twice the pause, 1.3 s
// in all.
constexpr int live_tries = 7;
constexpr long live_pause_ns = 10'000'000;
constexpr int bind_tries = 3;

// The address of a path. Longer ones than sun_path are named through an open descriptor of their
// directory, which lives as long as this.
class Address {
  public:
    ~Address() {
        if (directory_ >= 0) {
            ::close(directory_);
        }
    }
    Address() = default;
    Address(const Address&) = delete;
    Address& operator=(const Address&) = delete;

    // False: errno says why.
    bool fill(const std::string& path) {
        address_.sun_family = AF_UNIX;
        std::string name = path;
        if (name.size() >= sizeof address_.sun_path) {
            const std::size_t slash = path.find_last_of('/');
            if (slash == std::string::npos) {
                errno = ENAMETOOLONG;
                return false;
            }
            directory_ =
                ::open(path.substr(0, slash + 1).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
            if (directory_ < 0) {
                return false;
            }
            name = fmt::format("/proc/self/fd/{}/{}", directory_, path.substr(slash + 1));
            if (name.size() >= sizeof address_.sun_path) {
                errno = ENAMETOOLONG;
                return false;
            }
        }
        std::memcpy(address_.sun_path, name.data(), name.size());
        size_ = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size() + 1);
        return true;
    }
    const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&address_); }
    socklen_t size() const { return size_; }

  private:
    sockaddr_un address_{};
    socklen_t size_ = 0;
    int directory_ = -1;
};

enum class Found { nothing, dead, live, no_socket, unknown };

Found look_at(const std::string& path, const Address& address) {
    struct stat status {};
    if (::lstat(path.c_str(), &status) != 0) {
        return errno == ENOENT ? Found::nothing : Found::unknown;
    }
    if (!S_ISSOCK(status.st_mode)) {
        return Found::no_socket;
    }
    const int probe = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const bool connected = probe >= 0 && ::connect(probe, address.get(), address.size()) == 0;
    const int error = errno;
    if (probe >= 0) {
        ::close(probe);
    }
    // A full backlog (EAGAIN) is somebody's too.
    return connected || error == EAGAIN ? Found::live
           : error == ECONNREFUSED      ? Found::dead
           : error == ENOENT            ? Found::nothing
                                        : Found::unknown;
}

tl::unexpected<base::Error> refuse(const std::string& path, int error) {
    return base::fail(fmt::format("cannot listen on unix:{}: {}", path, std::strerror(error)),
                      error);
}

}  // namespace

base::Result<UnixListener> UnixListener::open(const std::string& path, int backlog) {
    Address address;
    if (!address.fill(path)) {
        return refuse(path, errno);
    }
    UnixListener listener;
    listener.path_ = path;
    listener.socket_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener.socket_ < 0) {
        return refuse(path, errno);
    }
    for (int tries = 0;; ++tries) {
        const mode_t umask_before = ::umask(static_cast<mode_t>(~file_mode & 0777));
        const bool bound = ::bind(listener.socket_, address.get(), address.size()) == 0;
        const int error = errno;
        ::umask(umask_before);
        if (bound) {
            break;
        }
        if (error != EADDRINUSE || tries == bind_tries) {
            return refuse(path, error);
        }
        Found found = look_at(path, address);
        // A server that was just killed is let go of by the kernel some milliseconds later.
        for (int looks = 0; found == Found::live && looks < live_tries; ++looks) {
            const timespec pause{0, live_pause_ns << looks};
            ::nanosleep(&pause, nullptr);
            found = look_at(path, address);
        }
        if (found == Found::live) {
            return base::fail(
                fmt::format("another process listens on unix:{}: stop it or listen elsewhere",
                            path),
                EADDRINUSE);
        }
        if (found == Found::no_socket) {
            return base::fail(
                fmt::format("{} is there and is no socket: remove it or listen elsewhere", path),
                EADDRINUSE);
        }
        if (found == Found::unknown ||
            (found == Found::dead && ::unlink(path.c_str()) != 0 && errno != ENOENT)) {
            return refuse(path, errno);
        }
    }
    struct stat status {};
    if (::lstat(path.c_str(), &status) == 0) {
        listener.device_ = status.st_dev;
        listener.inode_ = status.st_ino;
    }
    if (::listen(listener.socket_, backlog) != 0) {
        return refuse(path, errno);
    }
    return listener;
}

UnixListener::~UnixListener() {
    if (socket_ >= 0) {
        remove_file();
        ::close(socket_);
    }
}

UnixListener::UnixListener(UnixListener&& other) noexcept
    : path_(std::move(other.path_)),
      socket_(std::exchange(other.socket_, -1)),
      device_(other.device_),
      inode_(other.inode_) {}

UnixListener& UnixListener::operator=(UnixListener&& other) noexcept {
    std::swap(path_, other.path_);
    std::swap(socket_, other.socket_);
    std::swap(device_, other.device_);
    std::swap(inode_, other.inode_);
    return *this;
}

void UnixListener::remove_file() const {
    struct stat status {};
    if (inode_ != 0 && ::lstat(path_.c_str(), &status) == 0 && status.st_dev == device_ &&
        status.st_ino == inode_) {
        ::unlink(path_.c_str());
    }
}

}  // namespace ursula::net
