// Each check is shown a state or a step that breaks it: a check that cannot fail checks nothing.
#include "raft/invariants.h"

#include <doctest/doctest.h>

#include <functional>

#include "tests/unit/raft/cluster.h"
#include "tests/unit/raft/one_voter.h"

namespace ursula::raft {
using test::id;
using test::OneVoter;

namespace {

// A leader with entries in every stage: compacted, applied, committed, persisted, written.
OneVoter busy_leader() {
    OneVoter node;
    node.lead();
    for (int i = 0; i < 6; ++i) {
        node.submit(10);
    }
    node.persist(4);
    node.step(Applied{LogIndex(4)});
    node.snapshot(id(1, 2));
    node.read();
    return node;
}

std::string_view broken_state(const std::function<void(Status&)>& breakage) {
    const OneVoter node = busy_leader();
    Status status = node.group().status();
    CHECK(check_state(status) == "");
    breakage(status);
    return check_state(status);
}

// The step that persists the rest of the log: commits and answers a read.
std::string_view broken_step(const std::function<void(Status&, Status&, Effects&)>& breakage) {
    OneVoter node = busy_leader();
    Status before = node.group().status();
    Effects effects = node.persist();
    Status after = node.group().status();
    CHECK(check_step(before, after, effects) == "");
    breakage(before, after, effects);
    return check_step(before, after, effects);
}

}  // namespace

TEST_CASE("states that cannot be") {
    CHECK(broken_state([](Status& s) { s.peers.clear(); }) != "");
    CHECK(broken_state([](Status& s) { s.hard_state_persisted.term = Term(9); }) != "");
    CHECK(broken_state([](Status& s) { s.reads_answered = ReadContext(99); }) != "");
    CHECK(broken_state([](Status& s) { s.applied = LogIndex(1); }) != "");
    CHECK(broken_state([](Status& s) { s.applied = LogIndex(6); }) != "");
    CHECK(broken_state([](Status& s) { s.committed.index = LogIndex(99); }) != "");
    CHECK(broken_state([](Status& s) { s.persisted = LogIndex(99); }) != "");
    CHECK(broken_state([](Status& s) { s.persisted = LogIndex(1); }) != "");
    CHECK(broken_state([](Status& s) { s.snapshot.term = Term(2); }) != "");
    CHECK(broken_state([](Status& s) { s.last.term = Term(2); }) != "");
    CHECK(broken_state([](Status& s) { s.committed.index = s.last.index; }) != "");
}

TEST_CASE("leaders that cannot be") {
    CHECK(broken_state([](Status& s) { s.leader = NodeId(2); }) != "");
    CHECK(broken_state([](Status& s) { s.hard_state_persisted.vote = NodeId{}; }) ==
          "leads a term that is not durable");
    CHECK(broken_state([](Status& s) { s.hard_state.vote = NodeId(2); }) != "");
    CHECK(broken_state([](Status& s) { s.peers.front().granted = false; }) != "");
    CHECK(broken_state([](Status& s) { s.term_start = LogIndex(99); }) != "");
    CHECK(broken_state([](Status& s) { s.peers.front().match = s.last.index; }) ==
          "counts itself before its own write is durable");
    CHECK(broken_state([](Status& s) { s.peers.front().match = LogIndex(1); }) ==
          "committed without a majority");
    CHECK(broken_state([](Status& s) { s.deadline = Instant{5}; }) != "");
}

TEST_CASE("followers and candidates that cannot be") {
    OneVoter node;
    node.start();
    Status follower = node.group().status();
    CHECK(check_state(follower) == "");
    follower.reads_asked = ReadContext(3);
    CHECK(check_state(follower) != "");

    node.timeout();
    const Status candidate = node.group().status();
    CHECK(check_state(candidate) == "");
    Status other = candidate;
    other.hard_state.vote = NodeId(2);
    CHECK(check_state(other) != "");
    other = candidate;
    other.leader = NodeId(1);
    CHECK(check_state(other) != "");
    other = candidate;
    other.peers.front().granted = true;
    CHECK(check_state(other) != "");
}

TEST_CASE("steps that cannot be") {
    CHECK(broken_step([](Status& b, Status&, Effects&) { b.group = GroupId(1); }) != "");
    CHECK(broken_step([](Status& b, Status&, Effects&) { b.hard_state.term = Term(2); }) ==
          "the term went back");
    CHECK(broken_step([](Status& b, Status&, Effects&) { b.hard_state.vote = NodeId(2); }) ==
          "a second vote in one term");
    CHECK(broken_step([](Status&, Status& a, Effects&) { a.hard_state.term = Term(2); }) ==
          "a changed hard state that is not written");
    CHECK(broken_step([](Status& b, Status&, Effects&) { b.persisted = LogIndex(99); }) ==
          "a mark went back");
    CHECK(broken_step([](Status& b, Status&, Effects&) { b.last.index = LogIndex(99); }) ==
          "a log shortened without a cut");
    CHECK(broken_step([](Status&, Status&, Effects& e) {
              e.entries_to_write.push_back({id(1, 9), EntryKind::command, SubmitTicket(1)});
          }) == "an entry out of its place");
    CHECK(broken_step([](Status&, Status& a, Effects&) { a.last.index = LogIndex(8); }) ==
          "an entry that is not written");
    CHECK(broken_step([](Status&, Status& a, Effects& e) {
              e.entries_to_write.push_back({id(1, 8), EntryKind::command, SubmitTicket(1)});
              a.last.index = LogIndex(8);
              a.role = Role::follower;
          }) == "a new entry without a leader");
    CHECK(broken_step([](Status&, Status&, Effects& e) { e.commit_to = LogIndex(6); }) ==
          "a commit that is not told");
    CHECK(broken_step([](Status&, Status& a, Effects&) { a.committed.term = Term(0); }) ==
          "committed by counting an entry of an earlier term");
    CHECK(broken_step([](Status&, Status& a, Effects&) { a.role = Role::follower; }) ==
          "a role change that is not told");
    CHECK(broken_step([](Status& b, Status&, Effects& e) {
              b.role = Role::candidate;
              e.role_change = RoleChange{Role::leader, Term(3), NodeId(1)};
          }) == "a role change told wrongly");
}

TEST_CASE("reads that cannot be") {
    const auto broken_read = [](const std::function<void(Status&, Status&, Effects&)>& breakage) {
        OneVoter node = busy_leader();
        Status before = node.group().status();
        Effects effects = node.read();
        Status after = node.group().status();
        breakage(before, after, effects);
        return check_step(before, after, effects);
    };
    CHECK(broken_read([](Status&, Status&, Effects&) {}) == "");
    CHECK(broken_read([](Status& b, Status& a, Effects&) {
              b.role = Role::candidate;
              a.role = Role::candidate;
          }) == "a read answered without a leader");
    CHECK(broken_read([](Status&, Status& a, Effects&) { a.term_start = LogIndex(99); }) ==
          "a read answered before an entry of this term was committed");
    CHECK(broken_read([](Status&, Status&, Effects& e) { e.reads_ready->index = LogIndex(1); }) ==
          "a read at another index");
    CHECK(broken_read([](Status& b, Status&, Effects&) { b.reads_answered = ReadContext(99); }) ==
          "a read answered twice or never asked");
}

TEST_CASE("members and followers that cannot be") {
    test::Cluster cluster(3, 3, 1);
    cluster.elect(1);
    cluster.submit(1, 10);
    cluster.end_turn(1);
    const Status status = cluster.group(1).status();
    REQUIRE(check_state(status) == "");
    const auto broken = [&](const std::function<void(Status&)>& breakage) {
        Status other = status;
        breakage(other);
        return check_state(other);
    };
    CHECK(broken([](Status& s) { s.peers.pop_back(); }) == "peers that are not the members");
    CHECK(broken([](Status& s) { s.peers[1].voter = false; }) == "peers that are not the members");
    CHECK(broken([](Status& s) { s.membership.membership.set_joint(true); }) != "");
    CHECK(broken([](Status& s) { s.membership.index = LogIndex(99); }) != "");
    CHECK(broken([](Status& s) { s.verified = LogIndex(99); }) != "");
    CHECK(broken([](Status& s) { s.commit_told = LogIndex(2); }) != "");
    CHECK(broken([](Status& s) { s.peers[1].match = LogIndex(99); }) != "");
    CHECK(broken([](Status& s) { s.peers[1].next = LogIndex(1); }) != "");
    CHECK(broken([](Status& s) { s.peers[1].inflight_bytes = 1; }) ==
          "bytes in flight counted wrongly");
    CHECK(broken([](Status& s) { s.peers[1].pace = Pace::probe; }) != "");
    CHECK(broken([](Status& s) { s.peers[1].inflight.front().last = LogIndex(1); }) != "");
    Status follower = cluster.group(2).status();
    REQUIRE(check_state(follower) == "");
    follower.leader_silent = true;
    CHECK(check_state(follower) == "a voter that hears no leader and waits for nothing");
    follower = cluster.group(2).status();
    follower.leader = NodeId(2);
    CHECK(check_state(follower) == "a follower of itself");
    follower = cluster.group(2).status();
    follower.transfer_to = NodeId(1);
    CHECK(check_state(follower) != "");
}

TEST_CASE("messages that may not leave, and steps of followers that cannot be") {
    test::Cluster cluster(3, 3, 1);
    cluster.elect(1);
    cluster.submit(1, 10);
    cluster.end_turn(1);
    const Status before = cluster.group(2).status();
    const Effects accepted = cluster.deliver(cluster.find<Replicate>(1, 2));
    const Status after = cluster.group(2).status();
    REQUIRE(check_step(before, after, accepted) == "");
    const auto broken = [&](const MessageBody& body, Term term) {
        Effects effects = accepted;
        effects.messages.push_back({NodeId(2), NodeId(1), term, body});
        return check_step(before, after, effects);
    };
    CHECK(broken(Vote{}, Term(2)) == "asks for votes before its own is durable");
    CHECK(broken(Voted{true}, Term(2)) == "a vote told before it is durable");
    Replicated answer;
    answer.accepted = true;
    answer.match = LogIndex(2);
    CHECK(broken(answer, Term(1)) == "entries acknowledged before they are durable");
    CHECK(broken(answer, Term(2)) == "entries acknowledged in a term that is not durable");
    Replicate entries;
    entries.commit = LogIndex(2);
    CHECK(broken(entries, Term(1)) == "replicates what it may not");
    Effects effects = accepted;
    effects.messages.push_back({NodeId(2), NodeId(2), Term(1), Voted{}});
    CHECK(check_step(before, after, effects) == "a message to nobody else");
    effects = accepted;
    effects.truncate_from = LogIndex(1);
    CHECK(check_step(before, after, effects) == "a cut that is not counted");
    effects = accepted;
    effects.entries_to_accept->first = LogIndex(1);
    CHECK(check_step(before, after, effects) == "entries accepted out of their place");
    Status other = after;
    other.leader = NodeId(3);
    CHECK(check_step(before, other, accepted) != "");
    other = after;
    other.membership.index = LogIndex(2);
    CHECK(check_step(before, other, accepted) == "a change of members that is not told");
}

}  // namespace ursula::raft
