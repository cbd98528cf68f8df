#include "net/ring.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <utility>

#include "base/asan.h"
#include "base/verify.h"
#include "net/uring_abi.h"

namespace ursula::net {

namespace {

constexpr base::Duration wait_max = base::seconds(1);
// Spinning pays only while requests keep coming; an idle server must sleep.
constexpr base::Duration traffic_is_recent = base::milliseconds(5);
constexpr base::Duration spin_max = base::microseconds(50);

// Only the spin reads a clock here: its 50 us cannot be measured by the turn's `now`.
base::Instant spin_clock() {
    timespec time{};
    ::clock_gettime(CLOCK_MONOTONIC, &time);
    return {time.tv_sec * std::int64_t{1'000'000'000} + time.tv_nsec};
}

base::Error refusal(int error) {
    if (error == EPERM || error == EACCES) {
        return {
            "io_uring is forbidden here: allow it with `sysctl -w kernel.io_uring_disabled=0`, and "
            "in a container with a "
            "seccomp profile that permits io_uring_setup, io_uring_enter and io_uring_register",
            error};
    }
    if (error == ENOSYS) {
        return {
            "this kernel or sandbox has no io_uring: use Linux 6.0 or newer, and in a container a "
            "seccomp profile that "
            "permits io_uring_setup, io_uring_enter and io_uring_register",
            error};
    }
    if (error == ENOMEM) {
        return {
            "io_uring could not lock the memory of its queues: raise the limit (ulimit -l, or "
            "LimitMEMLOCK= of the "
            "service) to at least 64 MiB",
            error};
    }
    return {fmt::format("io_uring could not be set up: {}", std::strerror(error)), error};
}

// Until 6.3 a message to a ring with deferred task work might not wake its sleeper.
bool kernel_wakes_by_message() {
    utsname name{};
    if (::uname(&name) != 0) {
        return false;
    }
    char* end = nullptr;
    const long major = std::strtol(name.release, &end, 10);
    const long minor = *end == '.' ? std::strtol(end + 1, nullptr, 10) : 0;
    return major > 6 || (major == 6 && minor >= 3);
}

}  // namespace

Ring::Ring(const RingOptions& options) : options_(options), ring_(std::make_unique<io_uring>()) {
    options_.spin = std::min(options_.spin, spin_max);
}

Ring::~Ring() {
    if (opened_) {
        io_uring_queue_exit(ring_.get());
    }
    if (event_fd_ >= 0) {
        ::close(event_fd_);
    }
}

base::Result<std::unique_ptr<Ring>> Ring::open(const RingOptions& options) {
    std::unique_ptr<Ring> ring(new Ring(options));
    TRY(ring->set_up());
    return ring;
}

base::Result<void> Ring::set_up() {
    // From best to plain; a kernel that does not know a flag answers EINVAL (performance note 2.4
    // for what each is worth).
    constexpr unsigned plain = IORING_SETUP_CQSIZE;
    constexpr unsigned all = plain | IORING_SETUP_SUBMIT_ALL;
    constexpr unsigned cooperative = all | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG;
    constexpr unsigned single = cooperative | IORING_SETUP_SINGLE_ISSUER;
    constexpr unsigned deferred = single | IORING_SETUP_DEFER_TASKRUN;
    int error = EINVAL;
    for (const unsigned flags : {deferred, single, cooperative, all, plain}) {
        if (flags == deferred && !options_.allow_deferred_task_run) {
            continue;
        }
        io_uring_params parameters{};
        parameters.flags = flags;
        parameters.cq_entries = options_.cq_entries;
        error = -io_uring_queue_init_params(options_.sq_entries, ring_.get(), &parameters);
        if (error != EINVAL) {
            break;
        }
    }
    if (error != 0) {
        return tl::unexpected(refusal(error));
    }
    opened_ = true;
    io_uring_ring_dontfork(ring_.get());
    constexpr unsigned needed = IORING_FEAT_EXT_ARG | IORING_FEAT_NODROP | IORING_FEAT_CQE_SKIP;
    io_uring_probe* probe = io_uring_get_probe_ring(ring_.get());
    const bool new_enough = (ring_->features & needed) == needed && probe != nullptr &&
                            io_uring_opcode_supported(probe, opcode_of_linux_6_0) != 0;
    message_ring_ = new_enough && options_.allow_message_ring && kernel_wakes_by_message() &&
                    io_uring_opcode_supported(probe, IORING_OP_MSG_RING) != 0;
    if (probe != nullptr) {
        io_uring_free_probe(probe);
    }
    if (!new_enough) {
        return base::fail("this kernel's io_uring is too old: Linux 6.0 or newer is needed");
    }
    // Saves looking up the file at each enter; without it everything still works.
    io_uring_register_ring_fd(ring_.get());

    event_fd_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (event_fd_ < 0) {
        return base::fail(fmt::format("eventfd: {}", std::strerror(errno)), errno);
    }
    doorbell_fd_ = message_ring_ ? ring_->ring_fd : event_fd_;
    return {};
}

std::uint32_t Ring::setup_flags() const {
    return ring_->flags;
}

// A free entry of the submission queue, cleared. When the queue is full what it holds is handed
// over first; when that does not help (the kernel is out of memory for requests) the operation
// waits in the backlog.
io_uring_sqe* Ring::next_sqe() {
    io_uring_sqe* sqe = nullptr;
    if (backlog_.empty()) {
        sqe = io_uring_get_sqe(ring_.get());
        if (sqe == nullptr) [[unlikely]] {
            ++counters_.sq_full;
            enter(0, nullptr);
            sqe = io_uring_get_sqe(ring_.get());
        }
    }
    if (sqe == nullptr) [[unlikely]] {
        backlog_.emplace_back();
        sqe = &backlog_.back();
    }
    return sqe;
}

void Ring::flush_backlog() {
    while (!backlog_.empty()) {
        // A linked pair goes together: a link does not reach beyond one system call.
        const bool pair = (backlog_.front().flags & IOSQE_IO_LINK) != 0;
        for (int left = pair ? 2 : 1; left > 0; --left) {
            if (io_uring_sq_space_left(ring_.get()) < static_cast<unsigned>(left)) {
                return;
            }
            *io_uring_get_sqe(ring_.get()) = backlog_.front();
            backlog_.pop_front();
        }
    }
}

io_uring_sqe* Ring::prepare(Op& op) {
    io_uring_sqe* sqe = next_sqe();
    io_uring_sqe_set_data(sqe, &op);
    DVERIFY(op.reap != nullptr);
    return sqe;
}

void Ring::check_submit([[maybe_unused]] Op& op, [[maybe_unused]] const void* buffer,
                        [[maybe_unused]] std::size_t size) {
#if defined(URSULA_CHECKED)
    VERIFY(!base::region_poisoned(buffer, size));
    op.buffer = buffer;
    op.buffer_size = size;
#endif
}

void Ring::accept_multishot(Op& op, int listener) {
    io_uring_prep_multishot_accept(prepare(op), listener, nullptr, nullptr, SOCK_CLOEXEC);
}

void Ring::receive_multishot(Op& op, int socket, std::uint16_t buffer_group) {
    io_uring_sqe* sqe = prepare(op);
    io_uring_prep_recv_multishot(sqe, socket, nullptr, 0, 0);
    sqe->flags = IOSQE_BUFFER_SELECT;
    sqe->buf_group = buffer_group;
}

void Ring::receive(Op& op, int socket, base::MutableBytes buffer) {
    check_submit(op, buffer.data(), buffer.size());
    io_uring_prep_recv(prepare(op), socket, buffer.data(), buffer.size(), 0);
}

void Ring::send(Op& op, int socket, base::Bytes bytes, int flags) {
    check_submit(op, bytes.data(), bytes.size());
    io_uring_prep_send(prepare(op), socket, bytes.data(), bytes.size(), flags);
}

void Ring::send_message(Op& op, int socket, const msghdr* message, int flags) {
#if defined(URSULA_CHECKED)
    for (std::size_t i = 0; i < message->msg_iovlen; ++i) {
        VERIFY(!base::region_poisoned(message->msg_iov[i].iov_base, message->msg_iov[i].iov_len));
    }
    check_submit(op, message, sizeof(*message));
#endif
    io_uring_prep_sendmsg(prepare(op), socket, message, static_cast<unsigned>(flags));
}

void Ring::connect(Op& op, int socket, const sockaddr* address, socklen_t size) {
    check_submit(op, address, size);
    io_uring_prep_connect(prepare(op), socket, address, size);
}

void Ring::poll(Op& op, int fd, unsigned events) {
    io_uring_prep_poll_add(prepare(op), fd, events);
}

void Ring::poll_multishot(Op& op, int fd, unsigned events) {
    io_uring_prep_poll_multishot(prepare(op), fd, events);
}

void Ring::read(Op& op, int fd, base::MutableBytes buffer, std::uint64_t position) {
    check_submit(op, buffer.data(), buffer.size());
    io_uring_prep_read(prepare(op), fd, buffer.data(), static_cast<unsigned>(buffer.size()),
                       position);
}

void Ring::write(Op& op, int fd, base::Bytes bytes, std::uint64_t position) {
    check_submit(op, bytes.data(), bytes.size());
    io_uring_prep_write(prepare(op), fd, bytes.data(), static_cast<unsigned>(bytes.size()),
                        position);
}

void Ring::write_durable(Op& op, int fd, base::Bytes bytes, std::uint64_t position) {
    check_submit(op, bytes.data(), bytes.size());
    io_uring_sqe* sqe = prepare(op);
    io_uring_prep_write(sqe, fd, bytes.data(), static_cast<unsigned>(bytes.size()), position);
    sqe->rw_flags = RWF_DSYNC;
}

void Ring::write_then_sync(Op& write_op, Op& sync_op, int fd, base::Bytes bytes,
                           std::uint64_t position) {
    if (backlog_.empty() && io_uring_sq_space_left(ring_.get()) < 2) {
        ++counters_.sq_full;
        enter(0, nullptr);
    }
    if (backlog_.empty() && io_uring_sq_space_left(ring_.get()) == 1) {
        no_op_ignored();  // the pair goes to the backlog whole
    }
    check_submit(write_op, bytes.data(), bytes.size());
    io_uring_sqe* sqe = prepare(write_op);
    io_uring_prep_write(sqe, fd, bytes.data(), static_cast<unsigned>(bytes.size()), position);
    sqe->flags = IOSQE_IO_LINK;
    sync(sync_op, fd, true);
}

void Ring::sync(Op& op, int fd, bool data_only) {
    io_uring_prep_fsync(prepare(op), fd, data_only ? IORING_FSYNC_DATASYNC : 0);
}

void Ring::allocate(Op& op, int fd, int mode, std::uint64_t position, std::uint64_t size) {
    io_uring_prep_fallocate(prepare(op), fd, mode, static_cast<off_t>(position),
                            static_cast<off_t>(size));
}

void Ring::open_at(Op& op, int directory, const char* path, int flags, mode_t mode) {
    io_uring_prep_openat(prepare(op), directory, path, flags | O_CLOEXEC, mode);
}

void Ring::rename_at(Op& op, int directory, const char* path, const char* new_path,
                     unsigned flags) {
    io_uring_prep_renameat(prepare(op), directory, path, directory, new_path, flags);
}

void Ring::unlink_at(Op& op, int directory, const char* path) {
    io_uring_prep_unlinkat(prepare(op), directory, path, 0);
}

void Ring::close(Op& op, int fd) {
    io_uring_prep_close(prepare(op), fd);
}

void Ring::close_and_forget(int fd) {
    io_uring_sqe* sqe = next_sqe();
    io_uring_prep_close(sqe, fd);
    sqe->flags = IOSQE_CQE_SKIP_SUCCESS;
    sqe->user_data = user_data_ignored;
}

void Ring::cancel(Op& target) {
    io_uring_sqe* sqe = next_sqe();
    io_uring_prep_cancel64(sqe, reinterpret_cast<std::uintptr_t>(&target), 0);
    sqe->flags = IOSQE_CQE_SKIP_SUCCESS;
    sqe->user_data = user_data_ignored;
}

void Ring::no_op(Op& op) {
    io_uring_prep_nop(prepare(op));
}

void Ring::no_op_ignored() {
    io_uring_sqe* sqe = next_sqe();
    io_uring_prep_nop(sqe);
    sqe->flags = IOSQE_CQE_SKIP_SUCCESS;
    sqe->user_data = user_data_ignored;
}

unsigned Ring::reap() {
    io_uring_cq& queue = ring_->cq;
    const std::uint32_t flags = __atomic_load_n(ring_->sq.kflags, __ATOMIC_RELAXED);
    if ((flags & IORING_SQ_CQ_OVERFLOW) != 0) [[unlikely]] {
        ++counters_.overflows;  // the kernel keeps what did not fit; the next enter brings it
    }
    unsigned head = *queue.khead;
    const unsigned tail = __atomic_load_n(queue.ktail, __ATOMIC_ACQUIRE);
    const unsigned count = tail - head;
    for (; head != tail; ++head) {
        const io_uring_cqe& cqe = queue.cqes[head & queue.ring_mask];
        switch (cqe.user_data) {
            case user_data_ignored:
                break;
            case user_data_doorbell:
                ++doorbells_;
                ++counters_.doorbells_in;
                break;
            case user_data_doorbell_failed:
                ++counters_.doorbells_failed;
                break;
            default: {
                Op* op = reinterpret_cast<Op*>(static_cast<std::uintptr_t>(cqe.user_data));
#if defined(URSULA_CHECKED)
                VERIFY(!base::region_poisoned(op, sizeof(*op)));
                VERIFY(!base::region_poisoned(op->buffer, op->buffer_size));
                if (!more_follow(cqe.flags)) {
                    op->buffer = nullptr;
                    op->buffer_size = 0;
                }
#endif
                op->reap(op, cqe.res, cqe.flags);
                break;
            }
        }
    }
    __atomic_store_n(queue.khead, head, __ATOMIC_RELEASE);
    counters_.completions += count;
    if (options_.spin.ns > 0 && count > 0) {
        last_traffic_ = spin_clock();
    }
    return count;
}

int Ring::enter(unsigned wait_count, const base::Duration* timeout) {
    io_uring_sq& queue = ring_->sq;
    const unsigned tail = queue.sqe_tail;
    queue.sqe_head = tail;
    __atomic_store_n(queue.ktail, tail, __ATOMIC_RELEASE);
    const unsigned to_submit = tail - __atomic_load_n(queue.khead, __ATOMIC_ACQUIRE);
    unsigned flags = IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG;
    if (ring_->enter_ring_fd != ring_->ring_fd) {
        flags |= IORING_ENTER_REGISTERED_RING;
    }
    __kernel_timespec time{};
    io_uring_getevents_arg argument{};
    if (timeout != nullptr) {
        time.tv_sec = timeout->ns / 1'000'000'000;
        time.tv_nsec = timeout->ns % 1'000'000'000;
        argument.ts = reinterpret_cast<std::uintptr_t>(&time);
    }
    ++counters_.enters;
    const int result =
        io_uring_enter2(static_cast<unsigned>(ring_->enter_ring_fd), to_submit, wait_count, flags,
                        reinterpret_cast<sigset_t*>(&argument), sizeof(argument));
    if (result > 0) {
        counters_.submitted += static_cast<unsigned>(result);
    }
    return result;
}

// Polls until a completion is there; false when the time was over.
bool Ring::spin(base::Duration limit) {
    const base::Instant end = spin_clock() + limit;
    do {
        for (int i = 0; i < 16; ++i) {
            if (io_uring_cq_ready(ring_.get()) > 0) {
                return true;
            }
            // With deferred task work nothing is posted until we enter.
            if ((__atomic_load_n(ring_->sq.kflags, __ATOMIC_RELAXED) & IORING_SQ_TASKRUN) != 0) {
                enter(0, nullptr);
                if (io_uring_cq_ready(ring_.get()) > 0) {
                    return true;
                }
            }
            __builtin_ia32_pause();
        }
    } while (spin_clock() < end);
    return false;
}

base::Result<void> Ring::submit_and_wait(base::Duration timeout) {
    if (!event_poll_armed_) [[unlikely]] {
        arm_event_poll();
    }
    if (!backlog_.empty()) [[unlikely]] {
        flush_backlog();
        if (!backlog_.empty()) {
            timeout = {};
        }
    }
    timeout = std::clamp(timeout, base::Duration{}, wait_max);
    int result = 0;
    if (timeout.ns > 0 && options_.spin.ns > 0 &&
        spin_clock() - last_traffic_ < traffic_is_recent) {
        result = enter(0, nullptr);
        if (result < 0 || spin(std::min(timeout, options_.spin))) {
            timeout = {};
        }
    }
    if (timeout.ns > 0) {
        result = enter(1, &timeout);
    } else if (options_.spin.ns == 0 || io_uring_cq_ready(ring_.get()) == 0) {
        result = enter(0, nullptr);
    }
    switch (-result) {
        case ETIME:
        case EINTR:
        case EAGAIN:  // no memory for a request right now: what was not taken stays queued
        case EBUSY:   // completions must be taken first
            return {};
        default:
            break;
    }
    if (result < 0) {
        return base::fail(fmt::format("io_uring_enter: {}", std::strerror(-result)), -result);
    }
    return {};
}

void Ring::arm_event_poll() {
    event_poll_.ring = this;
    event_poll_.reap = [](Op* op, std::int32_t, std::uint32_t flags) {
        Ring& ring = *static_cast<EventPoll*>(op)->ring;
        ++ring.doorbells_;
        ++ring.counters_.doorbells_in;
        ring.event_poll_armed_ = more_follow(flags);
    };
    poll_multishot(event_poll_, event_fd_, POLLIN);
    event_poll_armed_ = true;
}

void Ring::doorbell(int target_doorbell_fd) {
    ++counters_.doorbells_out;
    io_uring_sqe* sqe = next_sqe();
    if (message_ring_) {
        io_uring_prep_msg_ring(sqe, target_doorbell_fd, 0, user_data_doorbell, 0);
    } else {
        static const std::uint64_t one = 1;
        io_uring_prep_write(sqe, target_doorbell_fd, &one, sizeof(one), 0);
    }
    sqe->flags = IOSQE_CQE_SKIP_SUCCESS;
    sqe->user_data = user_data_doorbell_failed;
}

std::uint32_t Ring::take_doorbells() {
    return std::exchange(doorbells_, 0);
}

void Ring::ring_foreign_doorbell(int foreign_doorbell_fd) {
    const std::uint64_t one = 1;
    // Fails only when the counter is full, and then the target has been woken already.
    [[maybe_unused]] const ssize_t written = ::write(foreign_doorbell_fd, &one, sizeof(one));
}

}  // namespace ursula::net
