// Every crash state of a log's life (issue "One durable node"). The lines it prints say how much
// was covered. URSULA_CRASH_SEEDS=N runs so many seeds instead of the few of every run.
#include <doctest/doctest.h>
#include <fmt/core.h>

#include <cstdlib>

#include "log_workload.h"

namespace ursula::crash {
namespace {

std::uint64_t seeds_or(std::uint64_t usual) {
    const char* given = std::getenv("URSULA_CRASH_SEEDS");
    return given == nullptr ? usual : std::strtoull(given, nullptr, 10);
}

LogWorkload::Found run(std::uint64_t first_seed, std::uint64_t seeds, std::uint64_t steps,
                       std::uint64_t every) {
    sim::SimDisk::Seen seen;
    LogWorkload::Found total;
    for (std::uint64_t seed = first_seed; seed < first_seed + seeds; ++seed) {
        LogWorkload workload(seed);
        workload.run(steps, every, seen);
        const LogWorkload::Found& found = workload.found();
        INFO("seed " << seed << " check " << found.checks);
        REQUIRE(found.violation == "");
        total.images += found.images;
        total.checks += found.checks;
        total.nested += found.nested;
        total.crashes += found.crashes + 1;
        total.segments_recycled += found.segments_recycled;
        total.segments_made += found.segments_made;
        total.snapshots += found.snapshots;
        total.times_full += found.times_full;
        total.truncations += found.truncations;
        total.large += found.large;
        total.two_in_flight += found.two_in_flight;
    }
    fmt::print(
        "{} distinct images, {} checks, {} of crashes inside recovery; {} lives, {} segments made, "
        "{} recycled, {} snapshots, {} times full, {} truncations, {} large entries, {} turns with "
        "two ops in flight\n",
        total.images, total.checks, total.nested, total.crashes, total.segments_made,
        total.segments_recycled, total.snapshots, total.times_full, total.truncations, total.large,
        total.two_in_flight);
    return total;
}

TEST_CASE("every image that a power cut may leave recovers to what was acknowledged") {
    const LogWorkload::Found total = run(1, seeds_or(6), 100, 1);
    CHECK(total.images >= 10'000);
    CHECK(total.nested >= 1'000);
    CHECK(total.crashes > 1);
    CHECK(total.snapshots > 0);
    CHECK(total.truncations > 0);
    CHECK(total.large > 0);
    CHECK(total.two_in_flight > 0);
}

// Long lives, looked at now and then: segments are recycled, the volume fills and empties.
TEST_CASE("the same far from the beginning") {
    const LogWorkload::Found total = run(1001, seeds_or(8), 1500, 30);
    CHECK(total.crashes > 50);
    CHECK(total.segments_recycled > 20);
    CHECK(total.snapshots > 100);
    CHECK(total.times_full > 0);
    CHECK(total.truncations > 100);
    CHECK(total.large > 100);
}

}  // namespace
}  // namespace ursula::crash
