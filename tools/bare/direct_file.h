// A file whose every block was written with zeros before use, opened for direct I/O: a synced write
// to it changes no extent and no size, so it costs the device's write and flush and no journal
// commit (notes: performance 2.2).
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>

#include "tools/bare/ring.h"

namespace ursula::bare {

constexpr std::size_t block_bytes = 4096;

struct FreeMemory {
    void operator()(char* at) const { std::free(at); }
};
using AlignedBuffer = std::unique_ptr<char[], FreeMemory>;

// `bytes` (a multiple of a block) of page-aligned zeros, so every page is touched.
inline AlignedBuffer aligned_buffer(std::size_t bytes) {
    void* at = std::aligned_alloc(block_bytes, bytes);
    if (at == nullptr) {
        die("aligned_alloc", ENOMEM);
    }
    std::memset(at, 0, bytes);
    return AlignedBuffer{static_cast<char*>(at)};
}

class DirectFile {
  public:
    // `bytes` is a multiple of 1 MiB. The file has no name after this: it goes with the process,
    // however that ends.
    DirectFile(const std::string& path, std::uint64_t bytes) {
        fd_ = open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_DIRECT | O_CLOEXEC, 0600);
        if (fd_ < 0) {
            die(("cannot create for direct I/O: " + path).c_str(), errno);
        }
        unlink(path.c_str());
        constexpr std::size_t step = 1 << 20;
        const AlignedBuffer zeros = aligned_buffer(step);
        for (std::uint64_t at = 0; at < bytes; at += step) {
            if (pwrite(fd_, zeros.get(), step, static_cast<off_t>(at)) !=
                static_cast<ssize_t>(step)) {
                die("cannot fill the file with zeros", errno);
            }
        }
        if (fsync(fd_) != 0) {
            die("fsync", errno);
        }
    }
    ~DirectFile() { close(fd_); }
    DirectFile(const DirectFile&) = delete;
    DirectFile& operator=(const DirectFile&) = delete;

    // A write that completes when its bytes are on the disk. `data` and `bytes` are multiples of
    // block_bytes.
    void write_synced(Ring& ring, const char* data, std::size_t bytes, std::uint64_t offset,
                      std::uint64_t user_data) {
        io_uring_sqe* sqe = ring.sqe();
        io_uring_prep_write(sqe, fd_, data, static_cast<unsigned>(bytes), offset);
        sqe->rw_flags = RWF_DSYNC;
        sqe->user_data = user_data;
    }

  private:
    int fd_ = -1;
};

}  // namespace ursula::bare
