// What the disk under a directory can do, found out by doing it.
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "base/random.h"
#include "io/data_dir.h"
#include "net/ring.h"

namespace ursula::io {
namespace {

constexpr const char* probe_name = "probe.tmp";
constexpr std::uint32_t alignment_default = 4096;  // when the file system does not say
constexpr std::uint32_t alignment_max = 4096;      // batches start on one; larger is not worth it
constexpr int timed_writes = 8;
// No device answers a flushed write of one block faster through a ring; memory does.
constexpr base::Duration memory_write_max = base::microseconds(8);

struct FreeAligned {
    void operator()(std::byte* bytes) const { std::free(bytes); }
};
using AlignedBytes = std::unique_ptr<std::byte, FreeAligned>;

AlignedBytes make_aligned(std::size_t size) {
    return AlignedBytes(static_cast<std::byte*>(std::aligned_alloc(alignment_max, size)));
}

base::Instant clock_now() {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    return {now.tv_sec * 1'000'000'000 + now.tv_nsec};
}

// One operation on a ring of its own, waited for.
struct Waited : net::Op {
    Waited() {
        reap = [](net::Op* op, std::int32_t outcome, std::uint32_t /*flags*/) {
            static_cast<Waited*>(op)->result = outcome;
            static_cast<Waited*>(op)->done = true;
        };
    }
    std::int32_t result = 0;
    bool done = false;
};

// The operation's result; -errno of the ring when that fails.
std::int32_t wait_for(net::Ring& ring, Waited& op) {
    while (!op.done) {
        const base::Result<void> waited = ring.submit_and_wait(base::seconds(1));
        if (!waited) {
            return -(waited.error().errno_value == 0 ? EIO : waited.error().errno_value);
        }
        ring.reap();
    }
    return op.result;
}

// Removes the scratch file whatever happens.
class ScratchFile {
  public:
    ScratchFile(int directory, int flags)
        : directory_(directory),
          fd_(::openat(directory, probe_name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | flags,
                       0600)) {}
    ~ScratchFile() {
        if (fd_ >= 0) {
            ::close(fd_);
        }
        ::unlinkat(directory_, probe_name, 0);
    }
    ScratchFile(const ScratchFile&) = delete;
    ScratchFile& operator=(const ScratchFile&) = delete;
    int fd() const { return fd_; }

  private:
    int directory_;
    int fd_;
};

bool named_memory(int directory) {
    struct statfs status {};
    if (::fstatfs(directory, &status) != 0) {
        return false;
    }
    return status.f_type == TMPFS_MAGIC || status.f_type == RAMFS_MAGIC;
}

// Alignment of direct I/O on the open file: 0 = not to be had, by the file system's own word.
std::uint32_t alignment_of(int fd) {
    struct statx status {};
    if (::statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &status) != 0 ||
        (status.stx_mask & STATX_DIOALIGN) == 0) {
        return alignment_default;
    }
    if (status.stx_dio_offset_align == 0 || status.stx_dio_mem_align == 0) {
        return 0;
    }
    // Never below a sector; the stricter of the two, so one figure serves buffers and positions.
    return std::max({512u, status.stx_dio_offset_align, status.stx_dio_mem_align});
}

// Writes a block with RWF_DSYNC through the ring, a few times, and reads it back. Sets alignment,
// durable_write and, when it does not work, reason.
bool try_direct(int directory, net::Ring& ring, DiskProfile& profile) {
    const ScratchFile file(directory, O_DIRECT);
    if (file.fd() < 0) {
        profile.reason = std::string("the file system refuses O_DIRECT: ") + std::strerror(errno);
        return false;
    }
    const std::uint32_t alignment = alignment_of(file.fd());
    if (alignment == 0 || alignment > alignment_max) {
        profile.reason = "the file system has no direct I/O in units of 4096 bytes or less";
        return false;
    }
    const AlignedBytes written = make_aligned(alignment_max);
    const AlignedBytes read = make_aligned(alignment_max);
    base::Random random(static_cast<std::uint64_t>(clock_now().ns));
    for (std::uint32_t i = 0; i < alignment; ++i) {
        written.get()[i] = static_cast<std::byte>(random.next());
    }
    profile.durable_write = base::seconds(1);
    for (int i = 0; i < timed_writes; ++i) {
        Waited write;
        const base::Instant begin = clock_now();
        ring.write_durable(write, file.fd(), {written.get(), alignment}, alignment);
        const std::int32_t result = wait_for(ring, write);
        profile.durable_write = std::min(profile.durable_write, clock_now() - begin);
        if (result == -ENOSPC) {
            // A full disk still serves reads and deletes; its files are written as before it
            // filled.
            profile.alignment = alignment;
            profile.durable_write = {};
            profile.reason = "no space to try a write; the file opened for direct I/O";
            return true;
        }
        if (result != static_cast<std::int32_t>(alignment)) {
            profile.reason = std::string("a direct, durable write failed: ") +
                             (result < 0 ? std::strerror(-result) : "it was cut short");
            return false;
        }
    }
    Waited back;
    std::memset(read.get(), 0, alignment);
    ring.read(back, file.fd(), {read.get(), alignment}, alignment);
    if (wait_for(ring, back) != static_cast<std::int32_t>(alignment) ||
        std::memcmp(written.get(), read.get(), alignment) != 0) {
        profile.reason = "a direct write did not read back";
        return false;
    }
    profile.alignment = alignment;
    profile.reason =
        "direct writes with RWF_DSYNC work in units of " + std::to_string(alignment) + " bytes";
    return true;
}

}  // namespace

base::Result<DiskProfile> probe_disk(int directory, DirectIo wanted) {
    DiskProfile profile;
    profile.memory_backed = named_memory(directory);
    if (wanted == DirectIo::off) {
        profile.reason = "storage.direct = off";
        return profile;
    }
    base::Result<std::unique_ptr<net::Ring>> ring =
        net::Ring::open({.sq_entries = 8, .cq_entries = 32});
    if (!ring) {
        return tl::unexpected(ring.error());
    }
    profile.direct = try_direct(directory, **ring, profile);
    if (!profile.direct && wanted == DirectIo::on) {
        return base::fail("storage.direct = on, but " + profile.reason +
                          ": use storage.direct = auto, or another file system");
    }
    if (profile.direct && profile.durable_write.ns != 0 &&
        profile.durable_write < memory_write_max) {
        profile.memory_backed = true;
    }
    return profile;
}

}  // namespace ursula::io
