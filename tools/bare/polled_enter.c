// polled_enter: preloaded under valgrind (LD_PRELOAD), which runs one thread at a time and up to
// version 3.19 does not give way in io_uring_enter, so a thread that waits there stops all others.
// Here a wait becomes: submit, then naps (where valgrind gives way) until something completed.
#define _GNU_SOURCE
#include <errno.h>
#include <linux/time_types.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

// From the kernel's io_uring ABI; liburing's header would declare the functions replaced here.
enum {
    enter_getevents = 1,
    enter_ext_arg = 8,
    nap_ns = 500000,
};
struct getevents_arg {
    uint64_t sigmask;
    uint32_t sigmask_size;
    uint32_t min_wait_us;
    uint64_t timeout;
};

static int enter(unsigned fd, unsigned to_submit, unsigned flags) {
    const long result =
        syscall(__NR_io_uring_enter, fd, to_submit, 0, flags & ~(unsigned)enter_ext_arg, NULL, 8);
    return result < 0 ? -errno : (int)result;
}

int io_uring_enter2(unsigned fd, unsigned to_submit, unsigned min_complete, unsigned flags,
                    sigset_t* arg, size_t size) {
    (void)size;
    int submitted = 0;
    if (to_submit > 0 || min_complete == 0) {
        submitted = enter(fd, to_submit, flags);
        if (submitted < 0 || min_complete == 0) {
            return submitted;
        }
    }
    int64_t left_ns = INT64_MAX;
    if ((flags & enter_ext_arg) != 0 && arg != NULL) {
        const struct getevents_arg* events = (const struct getevents_arg*)arg;
        if (events->timeout != 0) {
            const struct __kernel_timespec* limit =
                (const struct __kernel_timespec*)(uintptr_t)events->timeout;
            left_ns = limit->tv_sec * 1000000000 + limit->tv_nsec;
        }
    }
    // Deferred task work does not end the sleep, so it is short and followed by a look.
    for (;;) {
        const int reaped = enter(fd, 0, flags | enter_getevents);
        struct pollfd ring = {(int)fd, POLLIN, 0};
        if (reaped < 0 && submitted == 0) {
            return reaped;
        }
        if (poll(&ring, 1, 0) > 0) {
            return submitted;
        }
        if (left_ns <= 0) {
            return submitted > 0 ? submitted : -ETIME;
        }
        const struct timespec nap = {0, left_ns < nap_ns ? left_ns : nap_ns};
        nanosleep(&nap, NULL);
        left_ns -= nap_ns;
    }
}

// A registered descriptor is an index, which poll() does not know.
int io_uring_register_ring_fd(void* ring) {
    (void)ring;
    return -EINVAL;
}
