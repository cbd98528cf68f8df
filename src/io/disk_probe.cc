// What the disk under a directory can do, found out by doing it.
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "base/random.h"
#include "base/verify.h"
#include "io/data_dir.h"
#include "net/ring.h"

namespace ursula::io {
namespace {

constexpr std::uint32_t alignment_default = 4096;  // when the file system does not say
constexpr std::uint32_t alignment_max = 4096;      // batches start on one; larger is not worth it
constexpr int timed_writes = 8;
// No device answers a flushed write of one block faster; memory does, an overlay on it too.
constexpr base::Duration memory_write_max = base::microseconds(8);

struct FreeAligned {
    void operator()(std::byte* bytes) const { std::free(bytes); }
};
using AlignedBytes = std::unique_ptr<std::byte, FreeAligned>;

// alignment_max bytes, on a multiple of it.
AlignedBytes make_block() {
    AlignedBytes block(static_cast<std::byte*>(std::aligned_alloc(alignment_max, alignment_max)));
    VERIFY(block != nullptr);
    return block;
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

// The fastest of a few durable writes of a block; zero when one fails. By plain system calls: how
// soon a worker of the ring gets to run says nothing about the disk.
base::Duration time_writes(int fd, base::Bytes block) {
    base::Duration best = base::seconds(1);
    for (int i = 0; i < timed_writes; ++i) {
        const iovec part{const_cast<std::byte*>(block.data()), block.size()};
        const base::Instant begin = clock_now();
        if (::pwritev2(fd, &part, 1, 0, RWF_DSYNC) != static_cast<ssize_t>(block.size())) {
            return {};
        }
        best = std::min(best, clock_now() - begin);
    }
    return best;
}

// Writes `block` with RWF_DSYNC through the ring and reads it back into `back`, which has its size.
// 0, -errno, or -EILSEQ when something else was read than written.
int round_trip(net::Ring& ring, int fd, base::Bytes block, base::MutableBytes back) {
    Waited write;
    ring.write_durable(write, fd, block, 0);
    const std::int32_t written = wait_for(ring, write);
    if (written != static_cast<std::int32_t>(block.size())) {
        return written < 0 ? written : -EIO;
    }
    Waited read;
    ring.read(read, fd, back, 0);
    const std::int32_t size = wait_for(ring, read);
    if (size != static_cast<std::int32_t>(back.size())) {
        return size < 0 ? size : -EIO;
    }
    return base::equal_bytes(block, back) ? 0 : -EILSEQ;
}

// Sets all of the profile when direct I/O works, else only the reason.
void try_direct(int directory, net::Ring& ring, base::MutableBytes block, DiskProfile& profile) {
    const ScratchFile file(directory, O_DIRECT);
    if (file.fd() < 0) {
        profile.reason = std::string("the file system refuses O_DIRECT: ") + std::strerror(errno);
        return;
    }
    const std::uint32_t alignment = alignment_of(file.fd());
    if (alignment == 0 || alignment > alignment_max) {
        profile.reason = "the file system has no direct I/O in units of 4096 bytes or less";
        return;
    }
    const AlignedBytes back = make_block();
    std::memset(back.get(), 0, alignment);
    const int error = round_trip(ring, file.fd(), block.first(alignment), {back.get(), alignment});
    if (error != 0 && error != -ENOSPC) {
        profile.reason = error == -EILSEQ ? "a direct write did not read back"
                                          : std::string("a direct, durable write failed: ") +
                                                std::strerror(-error);
        return;
    }
    profile.direct = true;
    profile.alignment = alignment;
    if (error == -ENOSPC) {
        // A full disk still serves what it has, and files grow again as before once there is space.
        profile.reason = "the file system takes O_DIRECT; it had no space to try a write";
        return;
    }
    profile.durable_write = time_writes(file.fd(), block.first(alignment));
    profile.reason =
        "direct writes with RWF_DSYNC work in units of " + std::to_string(alignment) + " bytes";
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
    const AlignedBytes block = make_block();
    base::Random random(static_cast<std::uint64_t>(clock_now().ns));
    for (std::uint32_t i = 0; i < alignment_max; ++i) {
        block.get()[i] = static_cast<std::byte>(random.next());
    }
    try_direct(directory, **ring, {block.get(), alignment_max}, profile);
    if (!profile.direct && wanted == DirectIo::on) {
        return base::fail("storage.direct = on, but " + profile.reason +
                          ": use storage.direct = auto, or another file system");
    }
    if (!profile.direct) {
        const ScratchFile file(directory, 0);
        profile.durable_write =
            file.fd() < 0 ? base::Duration{} : time_writes(file.fd(), {block.get(), alignment_max});
    }
    if (profile.durable_write.ns != 0 && profile.durable_write < memory_write_max) {
        profile.memory_backed = true;
    }
    return profile;
}

}  // namespace ursula::io
