// alloc_count: preloaded into a process (LD_PRELOAD), counts its heap calls in a shared file, so
// that another process reads them while it runs: ALLOC_COUNT_FILE names a file of two 64-bit
// little-endian counters, allocations then frees.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

// glibc's own entry points: the symbols it keeps for exactly this, so no lookup can recurse into
// malloc.
extern void* __libc_malloc(size_t bytes);
extern void* __libc_calloc(size_t count, size_t bytes);
extern void* __libc_realloc(void* at, size_t bytes);
extern void* __libc_memalign(size_t alignment, size_t bytes);
extern void __libc_free(void* at);

struct counters {
    _Atomic uint64_t allocations;
    _Atomic uint64_t frees;
};

static struct counters before_the_file;
static struct counters* counters = &before_the_file;

__attribute__((constructor)) static void open_the_file(void) {
    const char* path = getenv("ALLOC_COUNT_FILE");
    if (path == NULL) {
        return;
    }
    const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, (off_t)sizeof(struct counters)) != 0) {
        return;
    }
    void* at = mmap(NULL, sizeof(struct counters), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (at != MAP_FAILED) {
        counters = at;
    }
}

static void count_allocation(void) {
    atomic_fetch_add_explicit(&counters->allocations, 1, memory_order_relaxed);
}

void* malloc(size_t bytes) {
    count_allocation();
    return __libc_malloc(bytes);
}
void* calloc(size_t count, size_t bytes) {
    count_allocation();
    return __libc_calloc(count, bytes);
}
void* realloc(void* at, size_t bytes) {
    count_allocation();
    return __libc_realloc(at, bytes);
}
void* memalign(size_t alignment, size_t bytes) {
    count_allocation();
    return __libc_memalign(alignment, bytes);
}
void* aligned_alloc(size_t alignment, size_t bytes) {
    count_allocation();
    return __libc_memalign(alignment, bytes);
}
int posix_memalign(void** out, size_t alignment, size_t bytes) {
    count_allocation();
    *out = __libc_memalign(alignment, bytes);
    return *out == NULL ? ENOMEM : 0;
}
void free(void* at) {
    if (at != NULL) {
        atomic_fetch_add_explicit(&counters->frees, 1, memory_order_relaxed);
        __libc_free(at);
    }
}
