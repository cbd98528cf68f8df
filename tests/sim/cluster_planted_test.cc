// The simulator finds what is planted (shard/planted.h, storage/planted.h). The seeds it takes are
// printed. URSULA_SEEDS: how many seeds a bug may take, default 2000.
#include <doctest/doctest.h>
#include <fmt/core.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "shard/planted.h"
#include "sim/cluster.h"
#include "storage/planted.h"

namespace ursula::sim {

namespace {

std::uint64_t seeds_max() {
    const char* text = std::getenv("URSULA_SEEDS");
    return text == nullptr ? 2000 : std::strtoull(text, nullptr, 10);
}

// In a child, since a VERIFY of the product may be what finds it. Empty: nothing was found.
std::string run_apart(std::uint64_t seed) {
    int ends[2];
    REQUIRE(pipe(ends) == 0);
    std::fflush(nullptr);
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        for (const int signal : {SIGABRT, SIGSEGV}) {
            std::signal(signal, SIG_DFL);
        }
        const std::string failure = Cluster(seed, false).run().failure;
        const bool written =
            write(ends[1], failure.data(), failure.size()) == static_cast<ssize_t>(failure.size());
        _exit(written ? 0 : 1);
    }
    close(ends[1]);
    std::string failure;
    char part[512];
    for (ssize_t size = 0; (size = read(ends[0], part, sizeof part)) > 0;) {
        failure.append(part, static_cast<std::size_t>(size));
    }
    close(ends[0]);
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    return WIFSIGNALED(status) ? "the process ends itself: a VERIFY" : failure;
}

void finds(const char* name) {
    for (std::uint64_t seed = 1; seed <= seeds_max(); ++seed) {
        const std::string failure = run_apart(seed);
        if (!failure.empty()) {
            fmt::print("{:<20} seed {:>4}: {:.160}\n", name, seed, failure);
            return;
        }
    }
    FAIL_CHECK(name << " is not found");
}

}  // namespace

TEST_CASE("the simulator finds bugs planted in the shard") {
    const auto plant = [](shard::Planted bug, const char* name) {
        shard::planted_bug = bug;
        finds(name);
        shard::planted_bug = shard::Planted::none;
    };
    plant(shard::Planted::vote_before_sync, "vote_before_sync");
    plant(shard::Planted::hint_ahead, "hint_ahead");
    plant(shard::Planted::ticket_by_index, "ticket_by_index");
    plant(shard::Planted::reads_unconfirmed, "reads_unconfirmed");
    plant(shard::Planted::bodies_shifted, "bodies_shifted");
    plant(shard::Planted::install_without_restart, "install_without_restart");
    plant(shard::Planted::live_not_told, "live_not_told");
    plant(shard::Planted::gap_too_short, "gap_too_short");
    plant(shard::Planted::other_incarnation, "other_incarnation");
    plant(shard::Planted::piece_twice, "piece_twice");
    plant(shard::Planted::reads_not_asked_anew, "reads_not_asked_anew");
}

TEST_CASE("the simulator finds a log that acknowledges before it has") {
    storage::planted_bug = storage::Planted::ack_before_sync;
    finds("ack_before_sync");
    storage::planted_bug = storage::Planted::none;
}

}  // namespace ursula::sim
