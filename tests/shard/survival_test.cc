// Every acknowledged append survives: seeded stories of calls, power cuts and restarts against a
// model. URSULA_SEEDS says how many (default 100), URSULA_SEED runs one and tells about it.
#include "tests/shard/survival.h"

#include <doctest/doctest.h>
#include <fmt/core.h>

#include <cstdlib>

namespace ursula::shard::test {

namespace {

std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
    const char* text = std::getenv(name);
    return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

// Stories until one fails; 0: none of them did.
std::uint64_t seeds_until_found(const SurvivalPlants& plants, std::uint64_t seeds) {
    for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
        if (!survive(seed, plants).failure.empty()) {
            return seed;
        }
    }
    return 0;
}

}  // namespace

TEST_CASE("every acknowledged write is there after any power cut, once and whole") {
    const std::uint64_t only = from_environment("URSULA_SEED", 0);
    const std::uint64_t first = only != 0 ? only : 1;
    const std::uint64_t last = only != 0 ? only : from_environment("URSULA_SEEDS", 100);
    SurvivalReport sum;
    for (std::uint64_t seed = first; seed <= last; ++seed) {
        const SurvivalReport report = survive(seed, {});
        INFO("URSULA_SEED=", seed, " shows: ", report.failure);
        CHECK(report.failure.empty());
        sum.writes += report.writes;
        sum.acknowledged += report.acknowledged;
        sum.reads += report.reads;
        sum.cuts += report.cuts;
        sum.unknown += report.unknown;
        sum.unknown_survived += report.unknown_survived;
        sum.disk_full += report.disk_full;
        sum.snapshots += report.snapshots;
        sum.recycled += report.recycled;
    }
    fmt::print(
        "{} stories: {} writes, {} acknowledged changes, {} reads, {} cuts, {} of {} writes "
        "without "
        "answer survived, {} refused by a full disk, {} snapshots, {} segments recycled\n",
        last - first + 1, sum.writes, sum.acknowledged, sum.reads, sum.cuts, sum.unknown_survived,
        sum.unknown, sum.disk_full, sum.snapshots, sum.recycled);
    if (only == 0) {
        // Stories in which nothing happens would all be right.
        CHECK(sum.acknowledged > (last - first) * 20);
        CHECK(sum.unknown_survived > 0);
        CHECK(sum.unknown_survived < sum.unknown);
        CHECK(sum.disk_full > 0);
        CHECK(sum.snapshots > 0);
        CHECK(sum.recycled > 0);
    }
}

TEST_CASE(
    "the stories find what is planted: a disk that acknowledges before it has, wrong models") {
    const SurvivalPlants planted[] = {
        {true, WrongModel::no},
        {false, WrongModel::duplicates_are_appended},
        {false, WrongModel::close_keeps_open},
    };
    for (const SurvivalPlants& plants : planted) {
        const std::uint64_t seed = seeds_until_found(plants, 20);
        CHECK(seed != 0);
        fmt::print("found by story {}: {:.120}\n", seed, survive(seed, plants).failure);
    }
}

}  // namespace ursula::shard::test
