#include "sim/runner.h"

#include <fmt/format.h>
#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <type_traits>
#include <vector>

#include "base/verify.h"

namespace ursula::sim {

namespace {

static_assert(std::is_trivially_copyable_v<ClusterFigures>);

// What a child tells of one life.
struct Head {
    std::uint64_t seed = 0;
    ClusterFigures figures;
    std::uint64_t failure_bytes = 0;
};

struct Child {
    pid_t pid = -1;
    int pipe = -1;
    std::string received;
};

bool write_all(int fd, const void* data, std::size_t size) {
    const char* at = static_cast<const char*>(data);
    while (size > 0) {
        const ssize_t written = write(fd, at, size);
        if (written <= 0) {
            return false;
        }
        at += written;
        size -= static_cast<std::size_t>(written);
    }
    return true;
}

bool tell(int fd, const Swarm& swarm, const ClusterReport& report) {
    Head head;
    head.seed = swarm.seed;
    head.figures = report;
    head.failure_bytes = report.failure.size();
    return write_all(fd, &head, sizeof head) &&
           write_all(fd, report.failure.data(), report.failure.size());
}

// Takes the first whole report off the text.
bool take(std::string& text, std::uint64_t& seed, ClusterReport& report) {
    Head head;
    if (text.size() < sizeof head) {
        return false;
    }
    std::memcpy(&head, text.data(), sizeof head);
    if (text.size() < sizeof head + head.failure_bytes) {
        return false;
    }
    static_cast<ClusterFigures&>(report) = head.figures;
    report.failure = text.substr(sizeof head, head.failure_bytes);
    seed = head.seed;
    text.erase(0, sizeof head + head.failure_bytes);
    return true;
}

// A child that calls live(fd) and ends.
template <class Live>
Child begin(Live live) {
    int ends[2];
    VERIFY(pipe(ends) == 0);
    std::fflush(nullptr);
    Child child;
    child.pid = fork();
    VERIFY(child.pid >= 0);
    if (child.pid == 0) {
        // The test's framework has handlers of its own; here a crash is an answer.
        for (const int signal : {SIGABRT, SIGSEGV, SIGFPE, SIGBUS, SIGILL}) {
            std::signal(signal, SIG_DFL);
        }
        close(ends[0]);
        _exit(live(ends[1]) ? 0 : 1);
    }
    close(ends[1]);
    child.pipe = ends[0];
    return child;
}

// False: the child has closed its end.
bool receive(Child& child) {
    char part[8192];
    const ssize_t size = read(child.pipe, part, sizeof part);
    if (size > 0) {
        child.received.append(part, static_cast<std::size_t>(size));
    }
    return size > 0;
}

int end(Child& child) {
    close(child.pipe);
    int status = 0;
    VERIFY(waitpid(child.pid, &status, 0) == child.pid);
    child.pid = -1;
    return status;
}

std::string end_text(int status) {
    return WIFSIGNALED(status)
               ? fmt::format("the process ends itself with signal {}: a VERIFY", WTERMSIG(status))
               : fmt::format("the process ends with {}", WEXITSTATUS(status));
}

// Shared with the children.
struct Board {
    std::atomic<std::uint64_t> next;         // seed that nobody has taken
    std::atomic<std::uint64_t> running[64];  // by child
};

}  // namespace

std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
    const char* text = std::getenv(name);
    return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

unsigned default_jobs() {
    cpu_set_t cores;
    const int count = sched_getaffinity(0, sizeof cores, &cores) == 0 ? CPU_COUNT(&cores) : 1;
    const std::uint64_t jobs = from_environment("URSULA_JOBS", static_cast<std::uint64_t>(count));
    return static_cast<unsigned>(std::clamp<std::uint64_t>(jobs, 1, 64));
}

ClusterReport run_apart(const Swarm& swarm) {
    Child child = begin([&](int fd) { return tell(fd, swarm, Cluster(swarm, false).run()); });
    while (receive(child)) {
    }
    const int status = end(child);
    ClusterReport report;
    std::uint64_t seed = 0;
    if (!take(child.received, seed, report)) {
        report.failure = end_text(status);
    }
    return report;
}

void run_seeds(std::uint64_t first, std::uint64_t last, unsigned jobs, const Visit& visit) {
    void* memory =
        mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    VERIFY(memory != MAP_FAILED);
    Board& board = *new (memory) Board{};
    board.next = first;
    jobs = static_cast<unsigned>(
        std::min<std::uint64_t>(std::min(jobs, 64u), last >= first ? last - first + 1 : 0));
    const auto live = [&](std::size_t at) {
        return begin([&board, last, at](int fd) {
            for (;;) {
                const std::uint64_t seed = board.next++;
                if (seed > last) {
                    return true;
                }
                board.running[at] = seed;
                const Swarm swarm = draw_swarm(seed);
                if (!tell(fd, swarm, Cluster(swarm, false).run())) {
                    return false;
                }
            }
        });
    };
    std::vector<Child> children;
    for (unsigned at = 0; at < jobs; ++at) {
        children.push_back(live(at));
    }
    std::vector<pollfd> polls(children.size());
    std::size_t alive = children.size();
    while (alive > 0) {
        for (std::size_t i = 0; i < children.size(); ++i) {
            polls[i] = {children[i].pid < 0 ? -1 : children[i].pipe, POLLIN, 0};
        }
        poll(polls.data(), polls.size(), -1);
        for (std::size_t i = 0; i < children.size(); ++i) {
            Child& child = children[i];
            if (child.pid < 0 || polls[i].revents == 0) {
                continue;
            }
            const bool open = receive(child);
            std::uint64_t seed = 0;
            ClusterReport report;
            bool more = true;
            while (more && take(child.received, seed, report)) {
                more = visit(draw_swarm(seed), report);
            }
            if (!open) {
                const int status = end(child);
                if (status == 0) {
                    --alive;
                } else {
                    report = {};
                    report.failure = end_text(status);
                    more = visit(draw_swarm(board.running[i]), report) && more;
                    children[i] = live(i);
                }
            }
            if (!more) {
                board.next = last + 1;
            }
        }
    }
    munmap(memory, sizeof(Board));
}

}  // namespace ursula::sim
