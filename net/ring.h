// Ring: one io_uring of one loop. Operations are queued by the calls below, handed to the kernel by
// submit_and_wait (one system call per turn) and come back through reap() as calls of op.reap.
// Every call belongs to the thread that opened the ring.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <deque>
#include <memory>

#include "base/bytes.h"
#include "base/result.h"
#include "base/time.h"
#include "net/op.h"

struct io_uring;
struct io_uring_sqe;

namespace ursula::net {

struct RingOptions {
    unsigned sq_entries = 4096;
    unsigned cq_entries = 16384;  // at least 4 x SQ: multishots bring many completions per entry
                                  // (performance note 6.1)
    base::Duration
        spin{};  // 0 .. 50 us: how long to poll before sleeping, only when traffic was recent
    // Tests force the fallbacks with these.
    bool allow_deferred_task_run = true;
    bool allow_message_ring = true;
};

struct RingCounters {
    std::uint64_t enters = 0;       // io_uring_enter calls
    std::uint64_t submitted = 0;    // operations handed over
    std::uint64_t completions = 0;  // taken by reap, doorbells included
    std::uint64_t overflows =
        0;  // turns that found the completion queue overflowed (nothing is lost, only slower)
    std::uint64_t sq_full =
        0;  // times the submission queue had to be handed over in the middle of a turn
    std::uint64_t doorbells_in = 0;
    std::uint64_t doorbells_out = 0;
    std::uint64_t doorbells_failed =
        0;  // harmless: the target looks at its mailboxes every turn anyway
};

class Ring {
  public:
    // Opens on the calling thread, which alone may use it. When io_uring is forbidden or too old
    // the error's sentence names the remedy.
    [[nodiscard]] static base::Result<std::unique_ptr<Ring>> open(const RingOptions& options = {});
    ~Ring();
    Ring(const Ring&) = delete;
    Ring& operator=(const Ring&) = delete;

    // --- sockets. Buffers, addresses and message headers stay untouched until the completion. ---
    void accept_multishot(Op& op, int listener);  // results: sockets, close-on-exec, blocking
    void receive_multishot(Op& op, int socket, std::uint16_t buffer_group);
    void receive(Op& op, int socket, base::MutableBytes buffer);
    void send(Op& op, int socket, base::Bytes bytes, int flags);
    void send_message(Op& op, int socket, const msghdr* message, int flags);
    void connect(Op& op, int socket, const sockaddr* address, socklen_t size);
    void poll(Op& op, int fd, unsigned events);  // once; result: the events
    void poll_multishot(Op& op, int fd, unsigned events);

    // --- files. Paths stay untouched until the completion. ---
    void read(Op& op, int fd, base::MutableBytes buffer, std::uint64_t position);
    void write(Op& op, int fd, base::Bytes bytes, std::uint64_t position);
    void write_durable(Op& op, int fd, base::Bytes bytes, std::uint64_t position);  // RWF_DSYNC
    void sync(Op& op, int fd, bool data_only);
    void allocate(Op& op, int fd, int mode, std::uint64_t position, std::uint64_t size);
    void open_at(Op& op, int directory, const char* path, int flags, mode_t mode);
    void rename_at(Op& op, int directory, const char* path, const char* new_path,
                   unsigned flags = 0);  // flags: RENAME_*
    void unlink_at(Op& op, int directory, const char* path);
    // The sync starts only when the write succeeded in full; else it completes with -ECANCELED.
    void write_then_sync(Op& write_op, Op& sync_op, int fd, base::Bytes bytes,
                         std::uint64_t position);

    // --- either ---
    void close(Op& op, int fd);
    void close_and_forget(int fd);  // no completion
    void cancel(Op& target);  // target completes with -ECANCELED or its own result; the cancel
                              // reports nothing
    void no_op(Op& op);       // completes with 0

    // Calls op.reap for every completion there is; returns how many there were. Call once, first
    // thing in a turn.
    unsigned reap();

    // Hands over everything queued and waits until a completion is there or the timeout is over
    // (zero: does not wait). A negative timeout waits zero; one above 1 s waits 1 s: every wait is
    // finite. Interrupted waits count as over. An error means the ring is unusable: the loop ends.
    [[nodiscard]] base::Result<void> submit_and_wait(base::Duration timeout);

    // --- doorbells: wake another loop's submit_and_wait. They carry no data; what is to be seen
    // must have been published by release/acquire before. Lost or doubled doorbells are harmless.
    // --- What other loops pass to doorbell() to wake this ring. Constant after open; readable from
    // any thread.
    int doorbell_fd() const { return doorbell_fd_; }
    void doorbell(int target_doorbell_fd);
    // Doorbells seen since the last call.
    std::uint32_t take_doorbells();
    // For threads without a ring (signals, object store): blocks never, works whatever this ring's
    // mode.
    int foreign_doorbell_fd() const { return event_fd_; }
    static void ring_foreign_doorbell(int foreign_doorbell_fd);

    const RingCounters& counters() const { return counters_; }
    // The setup flags the kernel granted, for the log line at start.
    std::uint32_t setup_flags() const;
    io_uring* raw() { return ring_.get(); }  // for ReceiveBuffers

  private:
    explicit Ring(const RingOptions& options);
    base::Result<void> set_up();
    io_uring_sqe* next_sqe();
    io_uring_sqe* prepare(Op& op);
    void flush_backlog();
    void no_op_ignored();
    int enter(unsigned wait_count, const base::Duration* timeout);
    bool spin(base::Duration limit);
    void arm_event_poll();
    void check_submit(Op& op, const void* buffer, std::size_t size);

    RingOptions options_;
    std::unique_ptr<io_uring> ring_;
    std::deque<io_uring_sqe> backlog_;  // operations that found the queue full even after handing
                                        // it over; normally empty
    bool opened_ = false;
    bool message_ring_ = false;
    int event_fd_ = -1;
    int doorbell_fd_ = -1;
    struct EventPoll : Op {
        Ring* ring = nullptr;
    };
    EventPoll event_poll_;
    bool event_poll_armed_ = false;
    std::uint32_t doorbells_ = 0;
    base::Instant last_traffic_{};  // of the spin's own clock
    RingCounters counters_;
};

}  // namespace ursula::net
