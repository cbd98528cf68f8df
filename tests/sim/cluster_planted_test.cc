// The simulator finds what is planted (shard/planted.h, storage/planted.h). The seeds it takes are
// printed. URSULA_SEEDS: how many seeds a bug may take, default 2000.
#include <doctest/doctest.h>
#include <fmt/core.h>

#include <string>

#include "shard/planted.h"
#include "sim/runner.h"
#include "sim/swarm.h"
#include "storage/planted.h"

namespace ursula::sim {

namespace {

std::uint64_t seeds_max() {
    return from_environment("URSULA_SEEDS", 2000);
}

void finds(const char* name) {
    for (std::uint64_t seed = 1; seed <= seeds_max(); ++seed) {
        const std::string failure = run_apart(draw_swarm(seed)).failure;
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
}

TEST_CASE("the simulator finds a log that acknowledges before it has") {
    storage::planted_bug = storage::Planted::ack_before_sync;
    finds("ack_before_sync");
    storage::planted_bug = storage::Planted::none;
}

}  // namespace ursula::sim
