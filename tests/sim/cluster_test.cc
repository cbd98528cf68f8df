// Seeded lives of a cluster. URSULA_SEEDS says how many (default 300), URSULA_SEED runs one and
// tells what happens in it.
#include "sim/cluster.h"

#include <doctest/doctest.h>
#include <fmt/core.h>

#include <cstdlib>

namespace ursula::sim {

namespace {

std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
    const char* text = std::getenv(name);
    return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

}  // namespace

TEST_CASE("a cluster keeps what it acknowledged, agrees, and comes back") {
    const std::uint64_t only = from_environment("URSULA_SEED", 0);
    const std::uint64_t first = only != 0 ? only : 1;
    const std::uint64_t last = only != 0 ? only : from_environment("URSULA_SEEDS", 300);
    ClusterReport sum;
    std::uint64_t vacuous = 0;
    std::uint64_t failures = 0;
    for (std::uint64_t seed = first; seed <= last; ++seed) {
        const ClusterReport report = Cluster(seed, only != 0).run();
        INFO("URSULA_SEED=", seed, " shows: ", report.failure);
        CHECK(report.failure.empty());
        failures += report.failure.empty() ? 0 : 1;
        if (failures == 5) {
            break;
        }
        if (seed % 50 == 1) {
            // The same seed, the same run.
            const ClusterReport again = Cluster(seed, false).run();
            CHECK(again.hash == report.hash);
            CHECK(again.events == report.events);
        }
        vacuous += report.acknowledged * 10 < report.appends * 3 ? 1 : 0;
        sum.events += report.events;
        sum.simulated_ms += report.simulated_ms;
        sum.appends += report.appends;
        sum.acknowledged += report.acknowledged;
        sum.unknown += report.unknown;
        sum.reads += report.reads;
        sum.crashes += report.crashes;
        sum.elections += report.elections;
        sum.fetches += report.fetches;
        sum.snapshots += report.snapshots;
        sum.installed += report.installed;
        sum.given_up += report.given_up;
        sum.fetched_bytes += report.fetched_bytes;
        sum.kept_bytes += report.kept_bytes;
        sum.gone += report.gone;
        sum.frames += report.frames;
        sum.frames_lost += report.frames_lost;
        sum.healed_ms = std::max(sum.healed_ms, report.healed_ms);
        if (only != 0) {
            fmt::print("seed {} hash {:016x}\n", seed, report.hash);
        }
    }
    const std::uint64_t seeds = last - first + 1;
    fmt::print(
        "{} seeds: {} events, {} simulated s, {} appends, {} acknowledged, {} without answer, {} "
        "reads, {} crashes, {} elections, {} reads of the log for followers, {} snapshots, {} "
        "frames, "
        "{} lost; "
        "the slowest healing took {} ms; {} vacuous\n",
        seeds, sum.events, sum.simulated_ms / 1000, sum.appends, sum.acknowledged, sum.unknown,
        sum.reads, sum.crashes, sum.elections, sum.fetches, sum.snapshots, sum.frames,
        sum.frames_lost, sum.healed_ms, vacuous);
    fmt::print(
        "{} snapshots installed from another node, {} fetches given up, {} bytes fetched, {} bytes "
        "found here, {} streams gone meanwhile\n",
        sum.installed, sum.given_up, sum.fetched_bytes, sum.kept_bytes, sum.gone);
    // Few lives may well be quiet ones.
    if (only == 0 && seeds >= 100) {
        CHECK(vacuous * 20 <= seeds);
        CHECK(sum.unknown > 0);
        CHECK(sum.crashes > seeds);
        CHECK(sum.elections > seeds * 2);
        CHECK(sum.fetches > 0);
        CHECK(sum.installed > seeds / 4);
        CHECK(sum.kept_bytes > sum.fetched_bytes / 2);
        CHECK(sum.fetched_bytes > 0);
    }
    // These are rare.
    if (only == 0 && seeds >= 300) {
        CHECK(sum.given_up > 0);
        CHECK(sum.gone > 0);
    }
}

}  // namespace ursula::sim
