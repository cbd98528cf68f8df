// Every crash state of a log's life (issue "One durable node"). The last lines it prints say how
// much was covered.
#include <doctest/doctest.h>
#include <fmt/core.h>

#include <cstdlib>

#include "log_workload.h"

namespace ursula::crash {
namespace {

TEST_CASE("every image that a power cut may leave recovers to what was acknowledged") {
    std::unordered_set<std::uint64_t> seen;
    LogWorkload::Found total;
    const char* given = std::getenv("URSULA_CRASH_SEEDS");
    const std::uint64_t seeds = given == nullptr ? 9 : std::strtoull(given, nullptr, 10);
    for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
        LogWorkload workload(seed);
        workload.run(110, seen);
        const LogWorkload::Found& found = workload.found();
        INFO("seed " << seed << " image " << found.images);
        REQUIRE(found.violation == "");
        total.images += found.images;
        total.nested += found.nested;
        total.crashes += found.crashes;
        total.segments_recycled += found.segments_recycled;
        total.segments_made += found.segments_made;
        total.snapshots += found.snapshots;
        total.times_full += found.times_full;
        total.truncations += found.truncations;
        total.large += found.large;
        total.two_in_flight += found.two_in_flight;
    }
    fmt::print(
        "{} distinct images, {} of crashes inside recovery; {} lives, {} segments made, {} "
        "recycled, {} snapshots, "
        "{} times full, {} truncations, {} large entries, {} turns with two ops in flight\n",
        total.images, total.nested, total.crashes + seeds, total.segments_made,
        total.segments_recycled, total.snapshots, total.times_full, total.truncations, total.large,
        total.two_in_flight);
    CHECK(total.images >= 10'000);
    CHECK(total.nested >= 1'000);
    CHECK(total.crashes > 0);
    CHECK(total.segments_recycled > 0);
    CHECK(total.snapshots > 0);
    CHECK(total.times_full > 0);
    CHECK(total.truncations > 0);
    CHECK(total.large > 0);
    CHECK(total.two_in_flight > 0);
}

}  // namespace
}  // namespace ursula::crash
