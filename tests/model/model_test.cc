// The explorations of CI; URSULA_MODEL_STATES=n sets how many states each may find (the long run).
// With sanitizers a part of them, which is no proof of anything but clean memory.
#include "tests/model/model.h"

#include <doctest/doctest.h>

#include <cstdlib>

namespace ursula::raft::model {
namespace {

std::uint64_t states_max(std::uint64_t otherwise) {
    const char* text = std::getenv("URSULA_MODEL_STATES");
    if (text != nullptr) {
        return std::strtoull(text, nullptr, 10);
    }
#if defined(URSULA_CHECKED)
    return otherwise / 20;
#else
    return otherwise;
#endif
}
// Whether the exploration was long enough to have been where it matters; CI's must be.
bool was_long(const Model& model, std::uint64_t max) {
    const bool is_long = model.states() >= 2'000'000;
    CHECK((is_long || max < 2'000'000));
    return is_long;
}

Membership voters(std::initializer_list<std::uint32_t> ids) {
    std::vector<NodeId> nodes;
    for (const std::uint32_t id : ids) {
        nodes.push_back(NodeId(id));
    }
    return Membership::of_voters(nodes);
}

void say(const Scenario& scenario, const Model& model) {
    MESSAGE(scenario.name << ": " << model.states() << " states, " << model.steps()
                          << " steps, depth " << model.depth() << ", " << model.distinct_nodes()
                          << " nodes; two leaders " << model.reached().two_leaders
                          << ", entries cut off " << model.reached().cuts << ", joint "
                          << model.reached().joint << ", committed in a later term "
                          << model.reached().later_commits);
}

}  // namespace

TEST_CASE("two more terms, three more entries") {
    Scenario scenario;
    scenario.name = "elections and entries";
    scenario.first = voters({1, 2, 3});
    Model model(scenario);
    const std::uint64_t max = states_max(6'000'000);
    CHECK(model.explore(max) == "");
    say(scenario, model);
    const bool is_long = was_long(model, max);
    CHECK((!is_long || model.reached().two_leaders > 0));
    CHECK((!is_long || model.reached().cuts > 0));
    CHECK((!is_long || model.reached().later_commits > 0));
}

TEST_CASE("a voter is replaced by another while leaders change") {
    Scenario scenario;
    scenario.name = "one change of members";
    scenario.first = voters({1, 2});
    scenario.first.set({NodeId(3), false, false, true});
    scenario.changes_membership = true;
    scenario.target = voters({1, 3});
    scenario.last_max = 3;
    Model model(scenario);
    const std::uint64_t max = states_max(5'000'000);
    CHECK(model.explore(max) == "");
    say(scenario, model);
    const bool is_long = was_long(model, max);
    CHECK((!is_long || model.reached().joint > 0));
    CHECK((!is_long || model.reached().later_commits > 0));
}

TEST_CASE("with the question before the vote") {
    Scenario scenario;
    scenario.name = "pre-vote";
    scenario.first = voters({1, 2, 3});
    scenario.last_max = 2;
    scenario.term_max = 2;
    scenario.skips_pre_vote = false;
    Model model(scenario);
    const std::uint64_t max = states_max(2'000'000);
    CHECK(model.explore(max) == "");
    say(scenario, model);
    const bool is_long = was_long(model, max);
    CHECK((!is_long || model.reached().two_leaders > 0));
}

TEST_CASE("a disk that says it has what it has not is found out") {
    Scenario scenario;
    scenario.name = "lying disk";
    scenario.first = voters({1, 2, 3});
    scenario.disk_lies = true;
    Model model(scenario);
    CHECK(model.explore(1'000'000) != "");
    say(scenario, model);
}

}  // namespace ursula::raft::model
