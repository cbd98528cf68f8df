#include "io/data_dir.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string_view>
#include <utility>

#include "base/verify.h"
#include "storage/node_file.h"

namespace ursula::io {
namespace {

constexpr int lock_tries = 100;  // of 10 ms

constexpr mode_t directory_mode = 0700;
constexpr mode_t file_mode = 0600;
constexpr const char* lock_name = "LOCK";

tl::unexpected<base::Error> system_error(const std::string& what, int error) {
    return base::fail(what + ": " + std::strerror(error), error);
}

// What does not make a directory somebody's: our own files from before a first start was complete,
// and what mkfs puts into a fresh file system.
// A node's certificate is there before its first start, and on one node the authority's own folder
// (tls-authority), each first as NAME.new.
constexpr std::string_view tls_name = "tls";

bool counts_as_nothing(std::string_view name) {
    return name == "." || name == ".." || name == lock_name || name == probe_name ||
           name == "node.tmp" || name == "lost+found" || name.starts_with(tls_name);
}

// The directory that holds `path`, "." for a single name.
std::string parent_of(const std::string& path) {
    const std::size_t slash = path.find_last_of('/');
    if (slash == std::string::npos) {
        return ".";
    }
    return slash == 0 ? "/" : path.substr(0, slash);
}

base::Result<void> sync_directory_at(const std::string& path) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const bool synced = fd >= 0 && ::fsync(fd) == 0;
    const int error = errno;
    if (fd >= 0) {
        ::close(fd);
    }
    if (!synced) {
        return system_error("cannot sync " + path, error);
    }
    return {};
}

// Makes the directory and what is missing above it. A name that was made is synced in its parent:
// else a power cut could take the whole directory with it.
base::Result<void> make_directories(const std::string& path) {
    if (::mkdir(path.c_str(), directory_mode) == 0) {
        return sync_directory_at(parent_of(path));
    }
    int error = errno;
    if (error == EEXIST) {
        return {};
    }
    if (error == ENOENT && parent_of(path) != path) {
        TRY(make_directories(parent_of(path)));
        if (::mkdir(path.c_str(), directory_mode) == 0) {
            return sync_directory_at(parent_of(path));
        }
        error = errno;
    }
    return system_error("cannot make the directory " + path, error);
}

std::string without_end_slashes(std::string path) {
    while (path.size() > 1 && path.back() == '/') {
        path.pop_back();
    }
    return path;
}

// Who holds the lock, as it wrote itself; empty when it did not.
std::string owner_in(int lock) {
    char text[32] = {};
    const ssize_t size = ::pread(lock, text, sizeof text - 1, 0);
    std::string_view owner(text, size > 0 ? static_cast<std::size_t>(size) : 0);
    owner = owner.substr(0, owner.find('\n'));
    if (owner.find_first_not_of("0123456789") != std::string_view::npos) {
        return {};
    }
    return std::string(owner);
}

}  // namespace

base::Result<storage::Space> space_of(int directory) {
    struct statvfs status {};
    if (::fstatvfs(directory, &status) != 0) {
        return system_error("cannot ask the file system for its space", errno);
    }
    return storage::Space{.total_bytes = status.f_blocks * status.f_frsize,
                          .free_bytes = status.f_bavail * status.f_frsize};
}

base::Result<std::unique_ptr<DataDir>> DataDir::open(const std::string& path) {
    std::unique_ptr<DataDir> made(new DataDir(without_end_slashes(path)));
    TRY(make_directories(made->path_));
    made->directory_ = ::open(made->path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (made->directory_ < 0) {
        return system_error("cannot open the data directory " + made->path_, errno);
    }
    TRY(made->look_around());
    TRY(made->take_lock());
    return made;
}

DataDir::~DataDir() {
    for (const int shard : shards_) {
        ::close(shard);
    }
    if (directory_ >= 0) {
        ::close(directory_);
    }
    if (lock_ >= 0) {
        ::close(lock_);  // gives the lock back; the file stays, its name is never reused
    }
}

base::Result<void> DataDir::take_lock() {
    lock_ = ::openat(directory_, lock_name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, file_mode);
    if (lock_ < 0) {
        return system_error("cannot write in the data directory " + path_, errno);
    }
    // A server that was just killed holds the lock until the kernel has taken it apart, which with
    // io_uring outlasts the signal by some milliseconds; one that runs on holds it for longer than
    // this wait.
    int locked = ::flock(lock_, LOCK_EX | LOCK_NB);
    for (int tries = 0; locked != 0 && errno == EWOULDBLOCK && tries < lock_tries; ++tries) {
        const timespec pause{0, 10'000'000};
        ::nanosleep(&pause, nullptr);
        locked = ::flock(lock_, LOCK_EX | LOCK_NB);
    }
    if (locked != 0) {
        if (errno != EWOULDBLOCK) {
            return system_error("cannot lock the data directory " + path_, errno);
        }
        const std::string owner = owner_in(lock_);
        return base::fail("the data directory " + path_ + " is in use by another server" +
                          (owner.empty() ? "" : " (process " + owner + ")") +
                          ": stop that one, or give this one a directory of its own");
    }
    const std::string self = std::to_string(::getpid()) + "\n";
    if (::ftruncate(lock_, 0) != 0 ||
        ::pwrite(lock_, self.data(), self.size(), 0) != static_cast<ssize_t>(self.size())) {
        // A full disk must not keep a server from serving what it has; the id is for people only.
        return errno == ENOSPC ? base::Result<void>{}
                               : system_error("cannot write in the data directory " + path_, errno);
    }
    return {};
}

base::Result<void> DataDir::look_around() const {
    const int fd = ::openat(directory_, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR* listing = fd < 0 ? nullptr : ::fdopendir(fd);
    if (listing == nullptr) {
        const int error = errno;
        if (fd >= 0) {
            ::close(fd);
        }
        return system_error("cannot list the data directory " + path_, error);
    }
    bool is_empty = true;
    bool is_ours = false;
    while (const dirent* entry = ::readdir(listing)) {
        is_empty = is_empty && counts_as_nothing(entry->d_name);
        is_ours = is_ours || entry->d_name == storage::node_file_name;
    }
    ::closedir(listing);
    if (!is_empty && !is_ours) {
        return base::fail(path_ +
                          " is not empty and is not a data directory of ursula (it has no file "
                          "`node`): give an empty directory, or restore the file from a backup");
    }
    return {};
}

base::Result<int> DataDir::open_shard(base::ShardId shard, bool must_exist) {
    char name[32];
    std::snprintf(name, sizeof name, "shard-%04u", shard.value);
    if (must_exist && ::faccessat(directory_, name, F_OK, AT_SYMLINK_NOFOLLOW) != 0 &&
        errno == ENOENT) {
        return base::fail(path_ + "/" + name +
                          " is missing: it holds the log of a part of the streams; put it back");
    }
    if (::mkdirat(directory_, name, directory_mode) == 0) {
        if (::fsync(directory_) != 0) {
            return system_error("cannot sync the data directory " + path_, errno);
        }
    } else if (errno != EEXIST) {
        return system_error("cannot make " + path_ + "/" + name, errno);
    }
    const int fd = ::openat(directory_, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        return system_error("cannot open " + path_ + "/" + name, errno);
    }
    shards_.push_back(fd);
    return fd;
}

}  // namespace ursula::io
