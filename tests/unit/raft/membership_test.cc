#include "raft/membership.h"

#include <doctest/doctest.h>

#include "raft/describe.h"

namespace ursula::raft {
namespace {

Membership of(std::initializer_list<std::uint32_t> voters,
              std::initializer_list<std::uint32_t> learners = {}) {
    Membership made;
    for (const std::uint32_t voter : voters) {
        made.set({NodeId(voter), true, false, false});
    }
    for (const std::uint32_t learner : learners) {
        made.set({NodeId(learner), false, false, true});
    }
    return made;
}

}  // namespace

TEST_CASE("members stand in the order of their ids, once") {
    Membership membership = of({3, 1, 2});
    CHECK(membership.members()[0].id == NodeId(1));
    CHECK(membership.members()[2].id == NodeId(3));
    CHECK(membership == of({1, 2, 3}));
    membership.set({NodeId(2), false, false, true});
    CHECK(membership == of({1, 3}, {2}));
    CHECK(membership.voters() == 2);
    CHECK(membership.votes(NodeId(1)));
    CHECK_FALSE(membership.votes(NodeId(2)));
    CHECK_FALSE(membership.votes(NodeId(9)));
}

TEST_CASE("the bound on members: at it, and one above") {
    Membership membership;
    for (std::uint32_t i = 1; i <= limits::members_max; ++i) {
        CHECK(membership.set({NodeId(i), true, false, false}));
    }
    CHECK_FALSE(membership.set({NodeId(99), true, false, false}));
    CHECK(membership.set({NodeId(3), false, false, true}));
}

TEST_CASE("4.3: towards other voters there is a joint membership on the way") {
    Membership joint;
    REQUIRE(of({1, 2, 3}).towards(of({1, 2, 4}), joint));
    CHECK(joint.joint());
    CHECK(joint.votes(NodeId(3)));
    CHECK(joint.votes(NodeId(4)));
    CHECK(describe(joint) == "n1 n2 n4 of n1 n2 n3");
    CHECK(joint.left_joint() == of({1, 2, 4}));
}

TEST_CASE("a voter that stays as a learner counts on the old side until the change is over") {
    Membership joint;
    REQUIRE(of({1, 2, 3}).towards(of({1, 2}, {3}), joint));
    CHECK(joint.joint());
    CHECK(joint.votes(NodeId(3)));
    CHECK(describe(joint) == "n1 n2 of n1 n2 n3?");
    CHECK(joint.left_joint() == of({1, 2}, {3}));
}

TEST_CASE("learners come and go without a joint membership") {
    Membership next;
    REQUIRE(of({1, 2, 3}).towards(of({1, 2, 3}, {4}), next));
    CHECK_FALSE(next.joint());
    CHECK(next == of({1, 2, 3}, {4}));
    REQUIRE(of({1, 2, 3}, {4}).towards(of({1, 2, 3}), next));
    CHECK(next == of({1, 2, 3}));
}

TEST_CASE("a change whose two sides are too many members is none") {
    Membership next;
    CHECK_FALSE(of({1, 2, 3, 4, 5, 6, 7}).towards(of({11, 12, 13, 14, 15, 16}), next));
}

}  // namespace ursula::raft
