#include "net/buffers.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstring>

#include "base/asan.h"
#include "base/verify.h"
#include "net/ring.h"
#include "net/uring_abi.h"

namespace ursula::net {

namespace {

// Touched at once: a page fault while serving costs 2 us (performance note 2.1).
void* map_populated(std::size_t size) {
    void* memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    return memory == MAP_FAILED ? nullptr : memory;
}

}  // namespace

ReceiveBuffers::ReceiveBuffers(Ring& ring, const ReceiveBuffersOptions& options)
    : ring_(ring), options_(options) {}

base::Result<std::unique_ptr<ReceiveBuffers>> ReceiveBuffers::open(
    Ring& ring, const ReceiveBuffersOptions& options) {
    VERIFY(options.count > 0 && options.count <= 32768);
    VERIFY((options.count & (options.count - 1)) == 0);
    std::unique_ptr<ReceiveBuffers> buffers(new ReceiveBuffers(ring, options));
    TRY(buffers->set_up());
    return buffers;
}

base::Result<void> ReceiveBuffers::set_up() {
    entries_ =
        static_cast<io_uring_buf_ring*>(map_populated(options_.count * sizeof(io_uring_buf)));
    memory_ = static_cast<std::byte*>(map_populated(std::size_t{options_.count} * options_.bytes));
    if (entries_ == nullptr || memory_ == nullptr) {
        return base::fail("no memory for receive buffers", ENOMEM);
    }
    io_uring_buf_ring_init(entries_);
    io_uring_buf_reg registration{};
    registration.ring_addr = reinterpret_cast<std::uintptr_t>(entries_);
    registration.ring_entries = options_.count;
    registration.bgid = options_.group;
    const int error = -io_uring_register_buf_ring(ring_.raw(), &registration, 0);
    if (error == ENOMEM) {
        return base::fail(
            "the receive buffers could not be locked in memory: raise the limit (ulimit -l, or "
            "LimitMEMLOCK= of the service) to at least 64 MiB",
            error);
    }
    if (error != 0) {
        return base::fail(fmt::format("io_uring buffer ring: {}", std::strerror(error)), error);
    }
    registered_ = true;
    taken_ = options_.count;
    for (std::uint32_t id = 0; id < options_.count; ++id) {
        give_back(static_cast<std::uint16_t>(id));
    }
    publish();
    return {};
}

ReceiveBuffers::~ReceiveBuffers() {
    if (registered_) {
        io_uring_unregister_buf_ring(ring_.raw(), options_.group);
    }
    if (memory_ != nullptr) {
        const std::size_t size = std::size_t{options_.count} * options_.bytes;
        base::unpoison(memory_, size);
        ::munmap(memory_, size);
    }
    if (entries_ != nullptr) {
        ::munmap(entries_, options_.count * sizeof(io_uring_buf));
    }
}

base::Bytes ReceiveBuffers::take(std::uint16_t id, std::size_t size) {
    VERIFY(id < options_.count && size <= options_.bytes);
    ++taken_;
    base::unpoison(data_of(id), size);
    return {data_of(id), size};
}

void ReceiveBuffers::give_back(std::uint16_t id) {
    DVERIFY(taken_ > 0);
    --taken_;
    base::poison(data_of(id), options_.bytes);
    io_uring_buf_ring_add(entries_, data_of(id), options_.bytes, id,
                          static_cast<int>(options_.count - 1), static_cast<int>(given_back_));
    ++given_back_;
}

bool ReceiveBuffers::publish() {
    if (given_back_ == 0) {
        return false;
    }
    io_uring_buf_ring_advance(entries_, static_cast<int>(given_back_));
    given_back_ = 0;
    return true;
}

}  // namespace ursula::net
