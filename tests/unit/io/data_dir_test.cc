#include "io/data_dir.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>

#include "tests/support/temp_dir.h"

namespace ursula::io {
namespace {

namespace fs = std::filesystem;
using test_support::TempDir;

unsigned mode_of(const std::string& path) {
    struct stat status {};
    REQUIRE(::stat(path.c_str(), &status) == 0);
    return status.st_mode & 0777;
}

std::string content_of(const std::string& path) {
    std::ifstream in(path);
    return {std::istreambuf_iterator<char>(in), {}};
}

class OpenedDirectory {
  public:
    explicit OpenedDirectory(const std::string& path)
        : fd_(::open(path.c_str(), O_RDONLY | O_DIRECTORY)) {
        REQUIRE(fd_ >= 0);
    }
    ~OpenedDirectory() { ::close(fd_); }
    int fd() const { return fd_; }

  private:
    int fd_;
};

}  // namespace

TEST_CASE("a data directory is made with its parents, for its owner only") {
    const TempDir temp;
    const std::string path = temp / "a/b/data";
    const auto opened = DataDir::open(path + "/");
    REQUIRE(opened.has_value());
    CHECK((*opened)->path() == path);
    CHECK(fs::exists(temp.path()));
    CHECK(mode_of(path) == 0700);
    CHECK(mode_of(path + "/LOCK") == 0600);
    CHECK(content_of(path + "/LOCK") == std::to_string(::getpid()) + "\n");
}

TEST_CASE("a second server is refused, in a sentence that names the first") {
    const TempDir temp;
    auto first = DataDir::open(temp.path());
    REQUIRE(first.has_value());
    const auto second = DataDir::open(temp.path());
    REQUIRE_FALSE(second.has_value());
    CHECK(second.error().errno_value == 0);
    CHECK(second.error().message ==
          "the data directory " + temp.path() + " is in use by another server (process " +
              std::to_string(::getpid()) +
              "): stop that one, or give this one a directory of its own");

    // Something that is no process id is not repeated.
    std::ofstream(temp / "LOCK") << "rm -rf /\n";
    const auto third = DataDir::open(temp.path());
    REQUIRE_FALSE(third.has_value());
    CHECK(third.error().message.find("process") == std::string::npos);

    // The lock goes with its holder, whatever the file says.
    first->reset();
    CHECK(DataDir::open(temp.path()).has_value());
}

TEST_CASE("a directory that holds something else is refused and left as it was") {
    const TempDir temp;
    CHECK(DataDir::open(temp.path()).has_value());
    CHECK(DataDir::open(temp.path()).has_value());  // LOCK does not count
    // Killed in the middle of the first start; or the mount point of a fresh file system.
    std::ofstream(temp / "probe.tmp") << "x";
    std::ofstream(temp / "node.tmp") << "x";
    fs::create_directory(temp / "lost+found");
    CHECK(DataDir::open(temp.path()).has_value());
    fs::remove(temp / "LOCK");
    std::ofstream(temp / "something") << "x";
    const auto refused = DataDir::open(temp.path());
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().errno_value == 0);
    CHECK_FALSE(fs::exists(temp / "LOCK"));
    std::ofstream(temp / "node") << "x";
    CHECK(DataDir::open(temp.path()).has_value());
}

TEST_CASE("what cannot be a data directory says why") {
    const TempDir temp;
    std::ofstream(temp / "file") << "x";
    const auto file = DataDir::open(temp / "file");
    REQUIRE_FALSE(file.has_value());
    CHECK(file.error().errno_value == ENOTDIR);
    CHECK(file.error().message.find(temp / "file") != std::string::npos);
    const auto below = DataDir::open(temp / "file/data");
    REQUIRE_FALSE(below.has_value());
    CHECK(below.error().errno_value == ENOTDIR);
    std::ofstream(temp / "node") << "x";
    fs::create_symlink(temp / "elsewhere", temp / "LOCK");
    const auto linked = DataDir::open(temp.path());
    REQUIRE_FALSE(linked.has_value());
    CHECK(linked.error().errno_value == ELOOP);
}

TEST_CASE("shards have subdirectories that stay") {
    const TempDir temp;
    {
        const auto data = *DataDir::open(temp.path());
        std::ofstream(temp / "node") << "x";
        const auto shard = data->open_shard(base::ShardId(3), false);
        REQUIRE(shard.has_value());
        const int made = ::openat(*shard, "here", O_CREAT | O_WRONLY, 0600);
        CHECK(made >= 0);
        ::close(made);
    }
    CHECK(fs::exists(temp / "shard-0003/here"));
    CHECK(mode_of(temp / "shard-0003") == 0700);
    const auto data = *DataDir::open(temp.path());
    CHECK(data->open_shard(base::ShardId(3), true).has_value());
    CHECK(fs::exists(temp / "shard-0003/here"));
    std::ofstream(temp / "shard-0004") << "x";
    CHECK_FALSE(data->open_shard(base::ShardId(4), false).has_value());
    const auto missing = data->open_shard(base::ShardId(5), true);
    REQUIRE_FALSE(missing.has_value());
    CHECK(missing.error().errno_value == 0);
    CHECK_FALSE(fs::exists(temp / "shard-0005"));
}

TEST_CASE("space of the file system") {
    const TempDir temp;
    const OpenedDirectory directory(temp.path());
    const auto space = space_of(directory.fd());
    REQUIRE(space.has_value());
    CHECK(space->total_bytes > 0);
    CHECK(space->free_bytes <= space->total_bytes);
    CHECK_FALSE(space_of(-1).has_value());
}

TEST_CASE("the probe: forced off writes nothing and says so") {
    const TempDir temp;
    const OpenedDirectory directory(temp.path());
    const auto profile = probe_disk(directory.fd(), DirectIo::off);
    REQUIRE(profile.has_value());
    CHECK_FALSE(profile->direct);
    CHECK(profile->alignment == 4096);
    CHECK(profile->reason == "storage.direct = off");
    CHECK(profile->durable_write == base::Duration{});
    CHECK(fs::is_empty(temp.path()));
}

TEST_CASE("the probe: by trying, and forced on where trying works") {
    const TempDir temp;
    const OpenedDirectory directory(temp.path());
    const auto profile = probe_disk(directory.fd(), DirectIo::by_probe);
    REQUIRE(profile.has_value());
    CHECK(fs::is_empty(temp.path()));
    CHECK(profile->alignment >= 512);
    CHECK(profile->alignment <= 4096);
    CHECK((profile->alignment & (profile->alignment - 1)) == 0);
    CHECK_FALSE(profile->reason.empty());
    CHECK(profile->durable_write > base::Duration{});
    const auto forced = probe_disk(directory.fd(), DirectIo::on);
    CHECK(forced.has_value() == profile->direct);
}

TEST_CASE("the probe: forced on where no file can be made is refused with the way out") {
    const OpenedDirectory proc("/proc");
    const auto profile = probe_disk(proc.fd(), DirectIo::on);
    REQUIRE_FALSE(profile.has_value());
    CHECK(profile.error().message.find("storage.direct = on, but ") == 0);
    CHECK(profile.error().message.find("use storage.direct = auto") != std::string::npos);
}

TEST_CASE("the probe: memory is told from a disk, by its name and by its latency") {
    const std::string shm = "/dev/shm";
    struct statfs status {};
    REQUIRE(::statfs(shm.c_str(), &status) == 0);
    const bool is_memory = status.f_type == TMPFS_MAGIC || status.f_type == RAMFS_MAGIC;
    const OpenedDirectory directory(shm);
    for (const DirectIo wanted : {DirectIo::off, DirectIo::by_probe}) {
        const auto profile = probe_disk(directory.fd(), wanted);
        REQUIRE(profile.has_value());
        CHECK(profile->memory_backed == is_memory);
        if (is_memory && wanted == DirectIo::by_probe) {
            MESSAGE("durable write to memory: " << profile->durable_write.ns << " ns");
        }
    }
}

}  // namespace ursula::io
