// The rules of the thesis (types.h) that one voter can break, one case per rule, its section first.
#include <doctest/doctest.h>

#include "raft/group.h"
#include "tests/unit/raft/one_voter.h"

namespace ursula::raft {
using test::id;
using test::OneVoter;

TEST_CASE("3.3: servers begin as followers, in the term they had") {
    OneVoter node;
    node.durable.hard_state = {Term(6), OneVoter::self};
    node.start();
    CHECK(node.group().role() == Role::follower);
    CHECK(node.group().term() == Term(6));
    CHECK(node.group().leader() == NodeId{});
}

TEST_CASE("3.3: time is divided into terms, numbered upwards; one leader at most in each") {
    OneVoter node;
    for (std::uint64_t term = 1; term <= 5; ++term) {
        node.lead();
        CHECK(node.group().is_leader());
        CHECK(node.group().term() == Term(term));
        node.restart();
        node = [&node] {
            OneVoter next;
            next.durable = node.durable;
            return next;
        }();
    }
}

TEST_CASE("3.4: a follower that hears nothing starts an election when its timeout is over") {
    OneVoter node;
    node.start();
    CHECK(node.group().deadline() == node.now.mono);
    // Not before.
    node.now.mono.ns -= 1;
    CHECK(node.timeout().empty());
    node.now.mono.ns += 1;
    const Effects& effects = node.timeout();
    CHECK(effects.hard_state == HardState{Term(1), OneVoter::self});
    CHECK(effects.role_change == RoleChange{Role::candidate, Term(1), NodeId{}});
}

TEST_CASE("3.4: a candidate increments its term and votes for itself") {
    OneVoter node;
    node.durable.hard_state = {Term(6), NodeId{}};
    node.start();
    CHECK(node.timeout().hard_state == HardState{Term(7), OneVoter::self});
}

TEST_CASE("3.8: a vote is durable before it counts") {
    OneVoter node;
    node.start();
    node.timeout();
    CHECK(node.group().role() == Role::candidate);
    // The disk speaks of something older: still no vote.
    CHECK(node.step(Persisted{.log = {}, .hard_state = {}}).empty());
    CHECK(node.group().role() == Role::candidate);
    const Effects& effects = node.persist();
    CHECK(effects.role_change == RoleChange{Role::leader, Term(1), OneVoter::self});
}

TEST_CASE("3.8: a vote that was not durable at a crash was not given") {
    OneVoter node;
    node.start();
    node.timeout();
    node.restart();
    CHECK(node.group().term() == Term(0));
    CHECK(node.timeout().hard_state == HardState{Term(1), OneVoter::self});
}

TEST_CASE("3.8: term and vote outlive a crash, so no term is voted in twice") {
    OneVoter node;
    node.lead();
    node.restart();
    CHECK(node.group().term() == Term(1));
    CHECK(node.timeout().hard_state == HardState{Term(2), OneVoter::self});
}

TEST_CASE("3.5: new entries go to the end of the leader's log, in its term") {
    OneVoter node;
    node.lead();
    CHECK(node.submit(1).entries_to_write.front().id == id(1, 2));
    CHECK(node.submit(1).entries_to_write.front().id == id(1, 3));
}

TEST_CASE("3.5: leader append-only: a new leader keeps every entry it finds") {
    OneVoter node;
    node.lead();
    node.submit(1);
    node.submit(1);
    node.persist();
    node.restart();
    CHECK(node.group().log().last_id() == id(1, 3));
    node.timeout();
    node.persist();
    CHECK(node.group().log().last_id() == id(2, 4));
    CHECK(node.group().log().term_at(LogIndex(3)) == Term(1));
}

TEST_CASE("3.5: entries that were not durable at a crash are gone, and their places are reused") {
    OneVoter node;
    node.lead();
    node.submit(1);
    node.submit(1);
    node.persist(1);
    node.restart();
    CHECK(node.group().log().last_id() == id(1, 2));
    node.timeout();
    node.persist();
    CHECK(node.group().log().last_id() == id(2, 3));
}

TEST_CASE("3.6.2: an entry commits when a majority has it on disk (raft.self_ack, 10.2.1)") {
    OneVoter node;
    node.lead();
    CHECK(node.submit(1).commit_to == LogIndex{});
    CHECK(node.group().log().committed() == LogIndex(1));
    CHECK(node.persist().commit_to == LogIndex(2));
}

TEST_CASE("3.6.2: commit follows what is durable, not what was written") {
    OneVoter node;
    node.lead();
    for (int i = 0; i < 4; ++i) {
        node.submit(1);
    }
    CHECK(node.persist(3).commit_to == LogIndex(4));
    CHECK(node.persist().commit_to == LogIndex(5));
}

TEST_CASE("3.6.2, figure 3.7: entries of earlier terms are not committed by counting") {
    OneVoter node;
    node.lead();
    node.submit(1);
    node.persist();
    node.restart();
    node.timeout();
    // Leads again, and its whole old log is on its disk: a majority. It commits nothing yet.
    const Effects& leads = node.persist();
    CHECK(leads.role_change->role == Role::leader);
    CHECK(leads.commit_to == LogIndex{});
    CHECK(node.step(Persisted{.log = id(1, 2), .hard_state = {}}).commit_to == LogIndex{});
    // Its own noop brings the older ones along.
    CHECK(node.persist().commit_to == LogIndex(3));
}

TEST_CASE("3.6.1: what was known committed may be applied at once after a restart") {
    OneVoter node;
    node.lead();
    node.submit(1);
    node.submit(1);
    node.persist();
    node.durable.commit_hint = LogIndex(2);
    CHECK(node.restart().commit_to == LogIndex(2));
    CHECK(node.group().log().applied() == LogIndex(0));
}

TEST_CASE("3.7: applied follows commit") {
    OneVoter node;
    node.lead();
    node.submit(1);
    node.persist();
    CHECK(node.group().log().applied() == LogIndex(1));
    node.step(Applied{LogIndex(2)});
    CHECK(node.group().log().applied() == LogIndex(2));
}

TEST_CASE("5.1: a snapshot takes the place of the log it covers") {
    OneVoter node;
    node.lead();
    node.submit(1);
    node.persist();
    node.apply();
    node.snapshot(id(1, 2));
    CHECK(node.group().log().first() == LogIndex(3));
    node.restart();
    CHECK(node.group().log().last_id() == id(1, 2));
    CHECK(node.group().log().committed() == LogIndex(2));
    CHECK(node.group().log().applied() == LogIndex(2));
    node.timeout();
    CHECK(node.persist().entries_to_write.front().id == id(2, 3));
}

TEST_CASE("6.4 step 1: a new leader writes a noop at once and answers no read before it commits") {
    OneVoter node;
    node.start();
    node.timeout();
    CHECK(node.persist().entries_to_write ==
          std::vector<EntryToWrite>{{id(1, 1), EntryKind::noop, SubmitTicket{}}});
    CHECK(node.read().empty());
    CHECK(node.read().empty());
    const Effects& effects = node.persist();
    CHECK(effects.commit_to == LogIndex(1));
    // Both, by the newest context.
    CHECK(effects.reads_ready == ReadsReady{ReadContext(2), LogIndex(1)});
}

TEST_CASE("6.4 step 2: a read sees every entry committed when it was asked") {
    OneVoter node;
    node.lead();
    node.submit(1);
    CHECK(node.read().reads_ready == ReadsReady{ReadContext(1), LogIndex(1)});
    node.persist();
    CHECK(node.read().reads_ready == ReadsReady{ReadContext(2), LogIndex(2)});
}

TEST_CASE("6.4: a server that does not lead refuses reads") {
    OneVoter node;
    node.start();
    CHECK(node.read().reads_refused == ReadContext(1));
    node.timeout();
    CHECK(node.read().reads_refused == ReadContext(2));
    CHECK_FALSE(node.persist().reads_ready.has_value());
}

}  // namespace ursula::raft
