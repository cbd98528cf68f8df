// ReceiveBuffers: the provided-buffer ring of one loop. The kernel fills a buffer per receive; its
// bytes are looked at in place during the turn and the buffer goes back at the turn's end, so
// nothing may keep a view beyond it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

struct io_uring_buf_ring;

namespace ursula::net {

class Ring;

struct ReceiveBuffersOptions {
    std::uint32_t count = 1024;  // a power of two, at most 32768
    std::uint32_t bytes = 8192;  // of one buffer
    std::uint16_t group = 0;     // unique within the ring
};

class ReceiveBuffers {
  public:
    // Maps and touches everything, so that serving never faults. The Ring must outlive it.
    [[nodiscard]] static base::Result<std::unique_ptr<ReceiveBuffers>> open(
        Ring& ring, const ReceiveBuffersOptions& options = {});
    ~ReceiveBuffers();
    ReceiveBuffers(const ReceiveBuffers&) = delete;
    ReceiveBuffers& operator=(const ReceiveBuffers&) = delete;

    std::uint16_t group() const { return options_.group; }
    // What a completion brought. Valid until the id is given back. Poisoned for ASan while the
    // kernel owns it.
    base::Bytes take(std::uint16_t id, std::size_t size);
    // The buffer returns to the kernel with the next publish().
    void give_back(std::uint16_t id);
    // True when something was given back since the last publish.
    bool publish();
    std::uint32_t taken() const { return taken_; }

  private:
    explicit ReceiveBuffers(Ring& ring, const ReceiveBuffersOptions& options);
    base::Result<void> set_up();
    std::byte* data_of(std::uint16_t id) { return memory_ + std::size_t{id} * options_.bytes; }

    Ring& ring_;
    ReceiveBuffersOptions options_;
    io_uring_buf_ring* entries_ = nullptr;
    std::byte* memory_ = nullptr;
    std::uint32_t given_back_ = 0;
    std::uint32_t taken_ = 0;
    bool registered_ = false;
};

}  // namespace ursula::net
