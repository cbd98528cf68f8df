// Seeded lives of a cluster.
//   URSULA_SEEDS       how many (default 300), from URSULA_FIRST (default 1) on
//   URSULA_SEED        only this one; tells what happens in it
//   URSULA_SIM='...'   only this life, as a failure printed it (swarm.h); tells what happens in it
//   URSULA_JOBS        how many at a time
//   URSULA_HASHES      the name of a file: the hashes of the lives go there, by seed, to be
//   compared
//                      with those of another compiler's build
//   URSULA_SHRINK_S    how long a failing life is made smaller (default 60)
#include "sim/cluster.h"

#include <doctest/doctest.h>
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>

#include "sim/runner.h"
#include "sim/shrink.h"

namespace ursula::sim {

namespace {

struct Sum {
    ClusterFigures all;
    std::uint64_t seeds = 0;
    std::uint64_t vacuous = 0;
    std::uint64_t slowest_seed = 0;

    void add(const Swarm& swarm, const ClusterReport& one) {
        ++seeds;
        vacuous += one.acknowledged * 10 < one.appends * 3 ? 1 : 0;
        all.events += one.events;
        all.simulated_ms += one.simulated_ms;
        all.appends += one.appends;
        all.acknowledged += one.acknowledged;
        all.unknown += one.unknown;
        all.reads += one.reads;
        all.crashes += one.crashes;
        all.lost_nodes += one.lost_nodes;
        all.elections += one.elections;
        all.changes += one.changes;
        all.fetches += one.fetches;
        all.forwards += one.forwards;
        all.forwards_again += one.forwards_again;
        all.snapshots += one.snapshots;
        all.installed += one.installed;
        all.given_up += one.given_up;
        all.fetched_bytes += one.fetched_bytes;
        all.kept_bytes += one.kept_bytes;
        all.gone += one.gone;
        all.sources += one.sources;
        all.entries_lost += one.entries_lost;
        all.expired += one.expired;
        all.forks += one.forks;
        all.frames += one.frames;
        all.frames_lost += one.frames_lost;
        if (one.healed_ms > all.healed_ms) {
            all.healed_ms = one.healed_ms;
            slowest_seed = swarm.seed;
        }
    }
    void print() const {
        fmt::print(
            "{} seeds: {} events, {} simulated s, {} appends, {} acknowledged, {} without answer, "
            "{} reads, {} crashes, {} lost nodes, {} elections, {} changes of members, "
            "{} reads of the log for followers, {} writes forwarded, {} of them again, {} frames, "
            "{} lost; the slowest healing took {} ms (seed {}); {} vacuous\n",
            seeds, all.events, all.simulated_ms / 1000, all.appends, all.acknowledged, all.unknown,
            all.reads, all.crashes, all.lost_nodes, all.elections, all.changes, all.fetches,
            all.forwards, all.forwards_again, all.frames, all.frames_lost, all.healed_ms,
            slowest_seed, vacuous);
        fmt::print(
            "{} snapshots, {} installed from another node, {} fetches given up, {} bytes fetched, "
            "{} bytes found here, {} streams gone meanwhile, {} asked for at another node, "
            "{} reads of rotten entries, {} times one with a ttl was gone, {} forks\n",
            all.snapshots, all.installed, all.given_up, all.fetched_bytes, all.kept_bytes, all.gone,
            all.sources, all.entries_lost, all.expired, all.forks);
    }
};

void run_one(const Swarm& swarm) {
    const ClusterReport report = Cluster(swarm, true).run();
    fmt::print("{} hash {:016x}\n", to_text(swarm), report.hash);
    CHECK_MESSAGE(report.failure.empty(), report.failure);
}

// One line that replays it, and one that replays less of it.
void tell_failure(const Swarm& swarm, const ClusterReport& report, bool shrinks) {
    fmt::print("URSULA_SIM='{}' shows: {}\n", to_text(swarm), report.failure);
    std::fflush(stdout);
    if (shrinks) {
        const auto seconds = static_cast<std::int64_t>(from_environment("URSULA_SHRINK_S", 60));
        const Shrunk small = shrink(swarm, report.failure, base::seconds(seconds));
        fmt::print("shrunk in {} lives: URSULA_SIM='{}' shows: {}\n", small.attempts,
                   to_text(small.swarm), small.failure);
        std::fflush(stdout);
    }
}

void write_hashes(const char* path, const std::map<std::uint64_t, std::uint64_t>& hashes) {
    std::FILE* file = std::fopen(path, "w");
    REQUIRE(file != nullptr);
    for (const auto& [seed, hash] : hashes) {
        fmt::print(file, "{} {:016x}\n", seed, hash);
    }
    REQUIRE(std::fclose(file) == 0);
}

}  // namespace

TEST_CASE("a cluster keeps what it acknowledged, agrees, and comes back") {
    if (const char* text = std::getenv("URSULA_SIM")) {
        Swarm swarm;
        REQUIRE_MESSAGE(parse_swarm(text, swarm), "not a life: ", text);
        run_one(swarm);
        return;
    }
    if (const std::uint64_t only = from_environment("URSULA_SEED", 0); only != 0) {
        run_one(draw_swarm(only));
        return;
    }
    const std::uint64_t first = from_environment("URSULA_FIRST", 1);
    const std::uint64_t last = first + from_environment("URSULA_SEEDS", 300) - 1;
    Sum sum;
    std::uint64_t failures = 0;
    std::map<std::uint64_t, std::uint64_t> hashes;
    const auto begin = std::chrono::steady_clock::now();
    run_seeds(first, last, default_jobs(), [&](const Swarm& swarm, const ClusterReport& report) {
        sum.add(swarm, report);
        hashes[swarm.seed] = report.hash;
        if (!report.failure.empty()) {
            tell_failure(swarm, report, ++failures == 1);
        } else if (swarm.seed % 50 == 0) {
            // The same seed, the same run.
            const ClusterReport again = Cluster(swarm, false).run();
            CHECK(again.hash == report.hash);
            CHECK(again.events == report.events);
        }
        return failures < 5;
    });
    CHECK(failures == 0);
    if (const char* path = std::getenv("URSULA_HASHES")) {
        write_hashes(path, hashes);
    }
    sum.print();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    fmt::print("{:.1f} s, {:.2f} M events/s\n", took.count(),
               static_cast<double>(sum.all.events) / 1e6 / took.count());
    // Few lives may well be quiet ones.
    if (sum.seeds >= 100) {
        CHECK(sum.vacuous * 20 <= sum.seeds);
        CHECK(sum.all.unknown > 0);
        CHECK(sum.all.crashes > sum.seeds);
        CHECK(sum.all.elections > sum.seeds * 2);
        CHECK(sum.all.fetches > 0);
        CHECK(sum.all.installed > sum.seeds / 4);
        CHECK(sum.all.fetched_bytes > 0);
        CHECK(sum.all.kept_bytes > 0);
        CHECK(sum.all.forwards > sum.seeds * 50);
        CHECK(sum.all.lost_nodes > 0);
        CHECK(sum.all.changes > sum.seeds);
        CHECK(sum.all.expired > sum.seeds);
        CHECK(sum.all.forks > sum.seeds);
    }
    if (sum.seeds >= 1000) {
        CHECK(sum.all.entries_lost > 0);
    }
    // These are rare.
    if (sum.seeds >= 300) {
        CHECK(sum.all.given_up > 0);
        CHECK(sum.all.gone > 0);
        CHECK(sum.all.forwards_again > 0);
        CHECK(sum.all.sources > 0);
    }
    // What a run of CI must have seen.
    if (sum.seeds >= 5'000) {
        CHECK(sum.all.events >= 100'000'000);
    }
}

}  // namespace ursula::sim
