// One life story of a shard: random calls, power cuts at random moments, restarts; everything it
// answers and everything it has after a restart is compared with the model.
#pragma once

#include <cstdint>
#include <string>

#include "tests/shard/survival_model.h"

namespace ursula::shard::test {

struct SurvivalPlants {
    bool disk_lies = false;  // durable writes complete before they are durable
    WrongModel wrong = WrongModel::no;
};

struct SurvivalReport {
    std::string failure;  // empty: all was right
    std::uint64_t writes = 0;
    std::uint64_t acknowledged = 0;  // changes among them
    std::uint64_t reads = 0;
    std::uint64_t cuts = 0;
    std::uint64_t unknown = 0;           // writes without an answer when the power went
    std::uint64_t unknown_survived = 0;  // and were there after it
    std::uint64_t disk_full = 0;         // writes refused because the disk was
    std::uint64_t snapshots = 0;
    std::uint64_t recycled = 0;
};

SurvivalReport survive(std::uint64_t seed, const SurvivalPlants& plants);

}  // namespace ursula::shard::test
