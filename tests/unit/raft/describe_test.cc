#include "raft/describe.h"

#include <doctest/doctest.h>

#include <vector>

#include "tests/unit/raft/one_voter.h"

namespace ursula::raft {
using test::id;
using test::OneVoter;

TEST_CASE("a log line's place names group, role and term") {
    OneVoter node(GroupId(117));
    node.start();
    CHECK(place(node.group()) == "g117F t0");
    node.timeout();
    CHECK(place(node.group()) == "g117C t1");
    node.persist();
    CHECK(place(node.group()) == "g117L t1");
}

TEST_CASE("inputs in words") {
    const std::vector<TermRun> runs = {{LogIndex(3), Term(1)}, {LogIndex(5), Term(2)}};
    CHECK(describe(Start{.hard_state = {Term(2), NodeId(1)},
                         .snapshot = id(1, 2),
                         .log_terms = runs,
                         .last = LogIndex(9),
                         .commit_hint = LogIndex(4),
                         .memberships = {}}) ==
          "start t2 vote n1, snapshot 1/2, last 9, commit hint 4, log t1 from 3 t2 from 5");
    CHECK(describe(Start{}) ==
          "start t0 vote none, snapshot 0/0, last 0, commit hint 0, log empty");
    CHECK(describe(Submit{.ticket = SubmitTicket(4), .bytes = 10}) == "submit #4 of 10 bytes");
    CHECK(describe(Persisted{.log = id(1, 2), .hard_state = {Term(1), NodeId(1)}}) ==
          "persisted 1/2, t1 vote n1");
    CHECK(describe(Timeout{}) == "timeout");
    CHECK(describe(ReadIndex{ReadContext(3)}) == "read index 3");
    CHECK(describe(Applied{LogIndex(3)}) == "applied 3");
    CHECK(describe(SnapshotTaken{id(1, 2)}) == "snapshot taken 1/2");
}

TEST_CASE("inputs and messages between nodes in words") {
    CHECK(describe(PeerDown{NodeId(2)}) == "n2 is down");
    CHECK(describe(PeerUp{NodeId(2)}) == "n2 is up");
    CHECK(describe(LeaderGone{NodeId(2), Term(4)}) == "n2 does not lead in t4");
    CHECK(describe(Transfer{NodeId(3)}) == "transfer to n3");
    CHECK(describe(DiskTrouble{true}) == "disk trouble");
    CHECK(describe(SnapshotComing{{Term(3), LogIndex(9)}}) == "snapshot coming 3/9");
    CHECK(describe(SnapshotFailed{}) == "snapshot failed");
    CHECK(describe(TurnEnd{}) == "turn end");
    CHECK(describe(Persisted{.log = id(1, 2), .hard_state = {}, .cuts = 2}) ==
          "persisted 1/2, t0 vote none, cut 2 times");
    const Message message{NodeId(1), NodeId(2), Term(3), Heartbeat{ReadContext(4), LogIndex(5)}};
    CHECK(describe(message) == "n1 > n2 t3 heartbeat round 4, commit 5");
    CHECK(describe(Received{&message}) == "received n1 > n2 t3 heartbeat round 4, commit 5");
    CHECK(describe(Message{NodeId(1), NodeId(2), Term(3), SnapshotOffer{id(2, 9), {}}}) ==
          "n1 > n2 t3 snapshot offer 2/9, members nobody from 0");
}

}  // namespace ursula::raft
