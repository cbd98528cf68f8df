// The simulator finds what is planted (raft/planted.h, shard/planted.h, storage/planted.h): the
// table of seeds to detect. Each bug has the seed that found it last; that one is tried first, then
// seeds from 1 on.
//   URSULA_SEEDS    how many of those (default 200; tools/planted-sweep: 2000, without the first)
//   URSULA_PLANTED  only the bug of this name
#include <doctest/doctest.h>
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "raft/planted.h"
#include "shard/planted.h"
#include "sim/runner.h"
#include "sim/shrink.h"
#include "sim/swarm.h"
#include "storage/planted.h"

namespace ursula::sim {

namespace {

struct Bug {
    const char* name;
    std::uint64_t seed;  // that found it last; 0: none yet
    void (*plant)();
};

template <auto bug>
void plant() {
    base::planted_bug<std::remove_const_t<decltype(bug)>> = bug;
}

void plant_nothing() {
    plant<raft::Planted::none>();
    plant<shard::Planted::none>();
    plant<storage::Planted::none>();
}

const Bug bugs[] = {
    {"vote_unpersisted", 1, plant<raft::Planted::vote_unpersisted>},
    {"campaign_unpersisted", 1, plant<raft::Planted::campaign_unpersisted>},
    {"vote_twice", 2, plant<raft::Planted::vote_twice>},
    {"vote_forgotten", 1, plant<raft::Planted::vote_forgotten>},
    {"short_log_elected", 6, plant<raft::Planted::short_log_elected>},
    {"minority_elects", 1, plant<raft::Planted::minority_elects>},
    {"ack_unpersisted", 1, plant<raft::Planted::ack_unpersisted>},
    {"undurable_counted", 1, plant<raft::Planted::undurable_counted>},
    {"self_ack", 1, plant<raft::Planted::self_ack>},
    {"old_term_commit", 1, plant<raft::Planted::old_term_commit>},
    {"previous_unchecked", 88, plant<raft::Planted::previous_unchecked>},
    {"cut_on_repeat", 2, plant<raft::Planted::cut_on_repeat>},
    {"commit_unverified", 955, plant<raft::Planted::commit_unverified>},
    {"reads_before_noop", 1, plant<raft::Planted::reads_before_noop>},
    {"never_asked_again", 3, plant<raft::Planted::never_asked_again>},
    {"refused_term_ignored", 1003, plant<raft::Planted::refused_term_ignored>},
    {"late_membership", 13, plant<raft::Planted::late_membership>},
    {"learner_counted", 22, plant<raft::Planted::learner_counted>},
    {"removed_counted", 201, plant<raft::Planted::removed_counted>},
    {"change_unguarded", 99, plant<raft::Planted::change_unguarded>},
    {"vote_before_sync", 3, plant<shard::Planted::vote_before_sync>},
    {"hint_ahead", 32, plant<shard::Planted::hint_ahead>},
    {"ticket_by_index", 93, plant<shard::Planted::ticket_by_index>},
    {"reads_unconfirmed", 1, plant<shard::Planted::reads_unconfirmed>},
    {"bodies_shifted", 2, plant<shard::Planted::bodies_shifted>},
    {"lost_acknowledged", 88, plant<shard::Planted::lost_acknowledged>},
    {"applied_early", 2, plant<shard::Planted::applied_early>},
    {"entry_skipped", 2, plant<shard::Planted::entry_skipped>},
    {"producer_forgotten", 1, plant<shard::Planted::producer_forgotten>},
    {"wrong_group", 1, plant<shard::Planted::wrong_group>},
    {"silence_unnoticed", 16, plant<shard::Planted::silence_unnoticed>},
    {"reads_unapplied", 2, plant<shard::Planted::reads_unapplied>},
    {"amnesiac_counts", 130, plant<shard::Planted::amnesiac_counts>},
    {"forward_resent", 6, plant<shard::Planted::forward_resent>},
    {"forward_twice", 2, plant<shard::Planted::forward_twice>},
    {"submitted_rerouted", 11, plant<shard::Planted::submitted_rerouted>},
    {"unknown_as_refused", 6, plant<shard::Planted::unknown_as_refused>},
    {"refused_reads_served", 3, plant<shard::Planted::refused_reads_served>},
    {"json_unjudged", 1, plant<shard::Planted::json_unjudged>},
    {"early_unconfirmed", 1, plant<shard::Planted::early_unconfirmed>},
    {"release_unabandoned", 5, plant<shard::Planted::release_unabandoned>},
    {"created_unheld", 23, plant<shard::Planted::created_unheld>},
    {"intent_forgotten", 27, plant<shard::Planted::intent_forgotten>},
    {"inherited_unapplied", 19, plant<shard::Planted::inherited_unapplied>},
    {"install_without_restart", 5, plant<shard::Planted::install_without_restart>},
    {"clock_believed", 674, plant<shard::Planted::clock_believed>},
    {"touch_forgotten", 14, plant<shard::Planted::touch_forgotten>},
    {"touch_not_waited", 490, plant<shard::Planted::touch_not_waited>},
    {"live_not_told", 5, plant<shard::Planted::live_not_told>},
    {"gap_too_short", 8, plant<shard::Planted::gap_too_short>},
    {"other_incarnation", 30, plant<shard::Planted::other_incarnation>},
    {"piece_twice", 38, plant<shard::Planted::piece_twice>},
    {"source_not_changed", 15, plant<shard::Planted::source_not_changed>},
    {"rotten_entry_sent", 455, plant<shard::Planted::rotten_entry_sent>},
    {"ack_before_sync", 1, plant<storage::Planted::ack_before_sync>},
    {"checksum_ignored", 129, plant<storage::Planted::checksum_ignored>},
    {"truncate_forgotten", 5, plant<storage::Planted::truncate_forgotten>},
};

struct Finding {
    std::uint64_t seed = 0;
    std::uint64_t tries = 0;
    std::string failure;
};

Finding look_for(const Bug& bug, std::uint64_t seeds) {
    Finding found;
    const auto visit = [&found](const Swarm& swarm, const ClusterReport& report) {
        ++found.tries;
        if (!report.failure.empty() && found.failure.empty()) {
            found.seed = swarm.seed;
            found.failure = report.failure;
        }
        return found.failure.empty();
    };
    if (bug.seed != 0) {
        run_seeds(bug.seed, bug.seed, 1, visit);
    }
    if (found.failure.empty()) {
        run_seeds(1, seeds, default_jobs(), visit);
    }
    return found;
}

}  // namespace

TEST_CASE("the simulator finds what is planted") {
    const std::uint64_t seeds = from_environment("URSULA_SEEDS", 200);
    const char* only = std::getenv("URSULA_PLANTED");
    const bool sweep = from_environment("URSULA_SWEEP", 0) != 0;
    std::vector<std::uint64_t> tries;
    std::size_t looked_for = 0;
    const auto begin = std::chrono::steady_clock::now();
    for (Bug bug : bugs) {
        if (only != nullptr && std::string_view(only) != bug.name) {
            continue;
        }
        ++looked_for;
        bug.seed = sweep ? 0 : bug.seed;
        bug.plant();
        const Finding found = look_for(bug, seeds);
        plant_nothing();
        if (found.failure.empty()) {
            FAIL_CHECK(std::string(bug.name) << " is not found in " << found.tries << " seeds");
            continue;
        }
        tries.push_back(found.tries);
        fmt::print("{:<24} seed {:>5}, after {:>4}: {:.150}\n", bug.name, found.seed, found.tries,
                   found.failure);
        std::fflush(stdout);
    }
    REQUIRE(looked_for > 0);
    std::sort(tries.begin(), tries.end());
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    fmt::print(
        "{} of {} planted bugs found, median after {} seeds, the slowest after {}; {:.0f} s\n",
        tries.size(), looked_for, tries.empty() ? 0 : tries[tries.size() / 2],
        tries.empty() ? 0 : tries.back(), took.count());
}

TEST_CASE("a failing life becomes a smaller one that fails in the same way") {
    if (std::getenv("URSULA_PLANTED") != nullptr) {
        return;
    }
    plant<raft::Planted::ack_unpersisted>();
    const Swarm swarm = draw_swarm(1);
    const std::string failure = run_apart(swarm).failure;
    REQUIRE(!failure.empty());
    const Shrunk small = shrink(swarm, failure, base::seconds(5));
    fmt::print("{} lives shrink it to '{}': {}\n", small.attempts, to_text(small.swarm),
               small.failure);
    CHECK(small.swarm.clients < swarm.clients);
    CHECK(small.swarm.faults == 0);
    Swarm read;
    REQUIRE(parse_swarm(to_text(small.swarm), read));
    CHECK(read == small.swarm);
    CHECK(run_apart(read).failure == small.failure);
    plant_nothing();
    CHECK(run_apart(read).failure.empty());
    for (const char* wrong : {"", "nodes=3", "seed=x", "seed=1 off=rain", "seed=1 shards="}) {
        CHECK_MESSAGE(!parse_swarm(wrong, read), wrong);
    }
}

TEST_CASE("nothing is found where nothing is planted") {
    if (std::getenv("URSULA_PLANTED") != nullptr) {
        return;
    }
    run_seeds(1, 20, default_jobs(), [](const Swarm& swarm, const ClusterReport& report) {
        CHECK_MESSAGE(report.failure.empty(), to_text(swarm), ": ", report.failure);
        return true;
    });
}

}  // namespace ursula::sim
