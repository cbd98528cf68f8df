// A ring and a provided-buffer ring for the bare loops and the load generator: the options that
// measured best (no SQPOLL, task work deferred to the one thread), with the plainer set where a
// kernel lacks them.
#pragma once

#include <liburing.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/verify.h"

#ifndef RWF_DSYNC
#define RWF_DSYNC 0x00000002
#endif

namespace ursula::bare {

[[noreturn]] inline void die(const char* what, int error) {
    std::fprintf(stderr, "%s: %s\n", what, std::strerror(error));
    std::exit(1);
}

inline void pin_to(int cpu) {
    if (cpu < 0) {
        return;
    }
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(static_cast<std::size_t>(cpu), &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0) {
        die("cannot pin to the CPU asked for", errno);
    }
}

class Ring {
  public:
    // The calling thread is the only one that may use it.
    Ring(unsigned sq_entries, unsigned cq_entries) {
        io_uring_params params{};
        params.flags = IORING_SETUP_CQSIZE | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER |
                       IORING_SETUP_COOP_TASKRUN | IORING_SETUP_DEFER_TASKRUN |
                       IORING_SETUP_TASKRUN_FLAG;
        params.cq_entries = cq_entries;
        int error = io_uring_queue_init_params(sq_entries, &ring_, &params);
        if (error == -EINVAL) {
            params = io_uring_params{};
            params.flags = IORING_SETUP_CQSIZE;
            params.cq_entries = cq_entries;
            error = io_uring_queue_init_params(sq_entries, &ring_, &params);
        }
        if (error < 0) {
            die("io_uring_setup (is io_uring allowed here?)", -error);
        }
        io_uring_register_ring_fd(&ring_);  // saves a file lookup per enter; fine without
    }
    ~Ring() { io_uring_queue_exit(&ring_); }
    Ring(const Ring&) = delete;
    Ring& operator=(const Ring&) = delete;

    // A cleared entry; submits what is queued when the queue is full.
    io_uring_sqe* sqe() {
        io_uring_sqe* entry = io_uring_get_sqe(&ring_);
        while (entry == nullptr)
            [[unlikely]] {
                submit();
                entry = io_uring_get_sqe(&ring_);
            }
        return entry;
    }
    void submit() { check(io_uring_submit(&ring_)); }
    void submit_and_wait() { check(io_uring_submit_and_wait(&ring_, 1)); }
    // Waits at most `ns`; 0 only collects what has completed.
    void submit_and_wait_for(std::int64_t ns) {
        if (ns <= 0) {
            check(io_uring_submit_and_get_events(&ring_));
            return;
        }
        __kernel_timespec limit{ns / 1'000'000'000, ns % 1'000'000'000};
        io_uring_cqe* first = nullptr;
        check(io_uring_submit_and_wait_timeout(&ring_, &first, 1, &limit, nullptr));
    }
    // Calls handle(user_data, result, flags) for each completion that is there now.
    template <class Handle>
    void reap(Handle&& handle) {
        unsigned head = 0;
        unsigned count = 0;
        io_uring_cqe* cqe = nullptr;
        io_uring_for_each_cqe(&ring_, head, cqe) {
            handle(cqe->user_data, cqe->res, cqe->flags);
            ++count;
        }
        io_uring_cq_advance(&ring_, count);
    }
    io_uring* raw() { return &ring_; }

  private:
    static void check(int result) {
        if (result < 0 && result != -EINTR && result != -ETIME && result != -EBUSY &&
            result != -EAGAIN) {
            die("io_uring_enter", -result);
        }
    }
    io_uring ring_{};
};

// `count` buffers (a power of two) of `bytes` each, group 0 of the ring, all touched before the
// first use.
class BufferRing {
  public:
    BufferRing(Ring& ring, unsigned count, unsigned bytes) : count_(count), bytes_(bytes) {
        const std::size_t ring_bytes = count * sizeof(io_uring_buf);
        entries_ = static_cast<io_uring_buf_ring*>(map(ring_bytes));
        data_ = static_cast<char*>(map(std::size_t{count} * bytes));
        io_uring_buf_reg registration{};
        registration.ring_addr = reinterpret_cast<std::uint64_t>(entries_);
        registration.ring_entries = count;
        const int error = io_uring_register_buf_ring(ring.raw(), &registration, 0);
        if (error < 0) {
            die("io_uring_register_buf_ring", -error);
        }
        io_uring_buf_ring_init(entries_);
        for (unsigned id = 0; id < count; ++id) {
            add(id, static_cast<int>(id));
        }
        io_uring_buf_ring_advance(entries_, static_cast<int>(count));
    }
    const char* data(std::uint32_t cqe_flags) const {
        return data_ + std::size_t{cqe_flags >> IORING_CQE_BUFFER_SHIFT} * bytes_;
    }
    void give_back(std::uint32_t cqe_flags) {
        add(cqe_flags >> IORING_CQE_BUFFER_SHIFT, 0);
        io_uring_buf_ring_advance(entries_, 1);
    }

  private:
    static void* map(std::size_t bytes) {
        void* at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
        if (at == MAP_FAILED) {
            die("mmap", errno);
        }
        return at;
    }
    void add(unsigned id, int position) {
        io_uring_buf_ring_add(entries_, data_ + std::size_t{id} * bytes_, bytes_,
                              static_cast<unsigned short>(id), io_uring_buf_ring_mask(count_),
                              position);
    }
    unsigned count_;
    unsigned bytes_;
    io_uring_buf_ring* entries_ = nullptr;
    char* data_ = nullptr;
};

inline void arm_receive(io_uring_sqe* sqe, int fd, std::uint64_t user_data) {
    io_uring_prep_recv_multishot(sqe, fd, nullptr, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = 0;
    sqe->user_data = user_data;
}

}  // namespace ursula::bare
