// The rules that need several nodes, one case each: of the thesis (raft/types.h) with its section
// first, of reliability-anchors 3.4 under the name its table gives the test.
#include <doctest/doctest.h>

#include "base/limits.h"
#include "raft/bounds.h"
#include "raft/describe.h"
#include "tests/unit/raft/cluster.h"
#include "tests/unit/raft/one_voter.h"

namespace ursula::raft {
using test::Cluster;
using test::id;

namespace {

NodeId node_id(std::size_t node) {
    return NodeId(static_cast<std::uint32_t>(node));
}

// Three voters, n1 leads term 1, everybody has its noop and is quiet.
struct Three : Cluster {
    explicit Three(std::size_t nodes = 3, std::size_t voters = 3) : Cluster(nodes, voters, 1) {
        elect(1);
        quiesce();
    }
    ~Three() { CHECK(failure() == ""); }
    Three(const Three&) = delete;
    Three& operator=(const Three&) = delete;

    void quiesce() {
        settle();
        REQUIRE(network.empty());
    }
    // Everything that goes between these two, with the writes of both; the rest stays.
    void talk(std::size_t a, std::size_t b) {
        for (bool busy = true; busy;) {
            busy = false;
            for (std::size_t node : {a, b}) {
                if (is_up(node) && staged(node) > 0) {
                    persist(node);
                    busy = true;
                }
                if (is_up(node) && group(node).wants_turn_end()) {
                    end_turn(node);
                    busy = true;
                }
            }
            for (std::size_t i = 0; i < network.size(); ++i) {
                const std::size_t from = network[i].message.from.value;
                const std::size_t to = network[i].message.to.value;
                if ((from == a && to == b) || (from == b && to == a)) {
                    deliver(i);
                    busy = true;
                    break;
                }
            }
        }
    }
    // A submit by the leader whose message is sent and lies in the network.
    EntryId put(std::size_t node, std::uint64_t bytes = 10) {
        const EntryId made = submit(node, bytes).entries_to_write.front().id;
        end_turn(node);
        return made;
    }
    void lose_all() { network.clear(); }
    void restart(std::size_t node) {
        crash(node);
        start(node);
    }
    // n hears nothing of the leader any more and asks for votes.
    void lose_leader(std::size_t node) {
        step(node, LeaderGone{group(node).leader(), group(node).term()});
    }
    Membership members(std::initializer_list<int> voters,
                       std::initializer_list<int> learners = {}) {
        Membership made;
        for (int voter : voters) {
            made.set({node_id(static_cast<std::size_t>(voter)), true, false, false});
        }
        for (int learner : learners) {
            made.set({node_id(static_cast<std::size_t>(learner)), false, false, true});
        }
        return made;
    }
    // The leader is gone; n2 got n3's encouragement, and its vote for itself is not durable yet.
    void campaign() {
        crash(1);
        lose_leader(2);
        lose_leader(3);
        expire(2);
        deliver(find<PreVote>(2, 3));
        deliver(find<PreVoted>(3, 2));
    }
    const Effects& change(std::size_t node, const Membership& target) {
        return step(node, ChangeMembership{SubmitTicket(77), target});
    }
    const Peer& peer(std::size_t leader, std::size_t of) {
        status_ = group(leader).status();
        for (const Peer& found : status_.peers) {
            if (found.id == node_id(of)) {
                return found;
            }
        }
        FAIL("no such peer");
        return status_.peers.front();
    }

  private:
    Status status_;
};

template <class Body>
const Body* sent(const Effects& effects, std::size_t to) {
    for (const Message& message : effects.messages) {
        if (message.to == node_id(to)) {
            if (const auto* body = std::get_if<Body>(&message.body)) {
                return body;
            }
        }
    }
    return nullptr;
}

}  // namespace

// --- 3.4 elections ---

TEST_CASE("3.4: a majority of votes makes a leader, and the others learn of it") {
    Three three;
    CHECK(three.group(1).is_leader());
    CHECK(three.group(2).leader() == NodeId(1));
    CHECK(three.group(3).leader() == NodeId(1));
    CHECK(three.committed() == LogIndex(1));
    CHECK(three.group(3).log().applied() == LogIndex(1));
}

TEST_CASE("3.4: election timeouts are random, from the replica's own state") {
    std::vector<Instant> deadlines;
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        Cluster cluster(3, 3, seed);
        for (std::size_t i = 1; i <= 3; ++i) {
            const Instant at = cluster.group(i).deadline();
            CHECK(at >= cluster.now.mono + limits::election_timeout);
            CHECK(at < cluster.now.mono + limits::election_timeout + limits::election_spread);
            deadlines.push_back(at);
        }
    }
    std::sort(deadlines.begin(), deadlines.end());
    CHECK(std::unique(deadlines.begin(), deadlines.end()) == deadlines.end());
}

TEST_CASE("3.4: a candidate that learns of a leader of its term follows it") {
    Cluster cluster(3, 3, 1);
    // All three campaign in term 1; n1 wins by n2's vote, which n2 gives as pre-candidate.
    cluster.expire(1);
    cluster.expire(3);
    cluster.deliver(cluster.find<PreVote>(3, 2));
    cluster.deliver(cluster.find<PreVoted>(2, 3));
    cluster.persist(3);  // candidate, asks
    cluster.deliver(cluster.find<PreVote>(1, 2));
    cluster.deliver(cluster.find<PreVoted>(2, 1));
    cluster.persist(1);
    cluster.deliver(cluster.find<Vote>(1, 2));
    cluster.persist(2);
    cluster.deliver(cluster.find<Voted>(2, 1));
    REQUIRE(cluster.group(1).is_leader());
    CHECK(cluster.group(3).role() == Role::candidate);
    cluster.settle();
    CHECK(cluster.group(3).leader() == NodeId(1));
    CHECK(cluster.failure() == "");
}

TEST_CASE("3.4: two whose questions cross do not split the votes") {
    Three three;
    three.crash(1);
    three.lose_leader(2);
    three.lose_leader(3);
    three.expire(2);
    three.expire(3);
    three.deliver(three.find<PreVote>(2, 3));
    three.deliver(three.find<PreVote>(3, 2));
    CHECK(three.group(2).role() == Role::pre_candidate);
    three.deliver(three.find<PreVoted>(3, 2));
    CHECK(three.group(2).role() == Role::candidate);
    three.deliver(three.find<PreVoted>(2, 3));
    CHECK(three.group(3).role() != Role::candidate);
    three.settle();  // no timeout is needed
    CHECK(three.group(2).is_leader());
    CHECK(three.group(2).term() == Term(2));
    CHECK(three.group(3).leader() == NodeId(2));
}

TEST_CASE("3.4: a pre-candidate yields to one that answered it: it may never win itself") {
    Three five(5, 5);
    five.crash(1);
    for (std::size_t i : {2u, 3u}) {
        five.lose_leader(i);
        five.expire(i);
    }
    five.deliver(five.find<PreVote>(2, 3));
    five.deliver(five.find<PreVoted>(3, 2));  // one is missing still, which n2 does not reach
    REQUIRE(five.group(2).role() == Role::pre_candidate);
    const Effects& answer = five.deliver(five.find<PreVote>(3, 2));
    CHECK(answer.messages == std::vector<Message>{{NodeId(2), NodeId(3), Term(2), PreVoted{true}}});
}

TEST_CASE("3.4: a vote of an earlier term counts for nothing") {
    Three three;
    three.campaign();
    three.persist(2);
    REQUIRE(three.group(2).role() == Role::candidate);
    const Message stale{NodeId(3), NodeId(2), Term(1), Voted{true}};
    three.step(2, Received{&stale});
    CHECK(three.group(2).role() == Role::candidate);
    const Message vote{NodeId(3), NodeId(2), Term(2), Voted{true}};
    three.step(2, Received{&vote});
    CHECK(three.group(2).is_leader());
}

TEST_CASE("3.4: votes under way to slow disks: nobody begins another term meanwhile") {
    Three three;
    three.campaign();
    REQUIRE(three.group(2).role() == Role::candidate);
    three.expire(2);  // its own vote is not durable
    CHECK(three.group(2).term() == Term(2));
    CHECK(three.group(2).role() == Role::candidate);
    three.persist(2);
    three.deliver(three.find<Vote>(2, 3));
    three.expire(3);  // nor is that of n3, which asks nobody
    CHECK(three.group(3).role() == Role::follower);
    const Effects& again = three.expire(2);  // the same question, in the same term
    REQUIRE(again.messages.size() == 2);
    CHECK(std::holds_alternative<Vote>(again.messages.front().body));
    CHECK(three.group(2).term() == Term(2));
    three.settle();
    CHECK(three.group(2).is_leader());
    CHECK(three.group(2).term() == Term(2));
}

TEST_CASE("3.4: one vote per term, first come first served") {
    Cluster cluster(3, 3, 1);
    for (std::size_t i : {1u, 3u}) {
        cluster.expire(i);
        cluster.deliver(cluster.find<PreVote>(i, 2));
        cluster.deliver(cluster.find<PreVoted>(2, i));
        cluster.persist(i);
    }
    cluster.deliver(cluster.find<Vote>(1, 2));
    const Effects& refused = cluster.deliver(cluster.find<Vote>(3, 2));
    CHECK(refused.messages == std::vector<Message>{{NodeId(2), NodeId(3), Term(1), Voted{false}}});
    CHECK(cluster.failure() == "");
}

TEST_CASE("3.6.1: no vote for a log that is behind") {
    Three three;
    three.put(1);
    three.lose_all();
    three.put(1);
    three.lose_all();
    three.persist(1);
    // n2 has neither entry. n1 was cut off from n3 and is heard of no more; it would vote.
    three.step(1, PeerDown{NodeId(2)});
    three.step(1, PeerDown{NodeId(3)});
    REQUIRE(three.group(1).role() == Role::follower);
    three.lose_leader(2);
    three.expire(2);
    const Effects& answer = three.deliver(three.find<PreVote>(2, 1));
    REQUIRE(sent<PreVoted>(answer, 2) != nullptr);
    CHECK_FALSE(sent<PreVoted>(answer, 2)->granted);
}

TEST_CASE("raft.reply_before_sync: a vote leaves when term and vote are durable") {
    Cluster cluster(3, 3, 1);
    cluster.expire(1);
    cluster.deliver(cluster.find<PreVote>(1, 2));
    cluster.deliver(cluster.find<PreVoted>(2, 1));
    // The question too: asked only when the own vote is durable.
    CHECK(cluster.find<Vote>(1, 2) == Cluster::npos);
    cluster.persist(1);
    const Effects& granted = cluster.deliver(cluster.find<Vote>(1, 2));
    CHECK(granted.hard_state == HardState{Term(1), NodeId(1)});
    CHECK(granted.messages.empty());
    const Effects& told = cluster.persist(2);
    REQUIRE(sent<Voted>(told, 1) != nullptr);
    CHECK(sent<Voted>(told, 1)->granted);
}

TEST_CASE("raft.reply_before_sync: entries are acknowledged when they are durable") {
    Three three;
    three.put(1);
    CHECK(three.deliver(three.find<Replicate>(1, 2)).messages.empty());
    const Effects& told = three.persist(2);
    REQUIRE(sent<Replicated>(told, 1) != nullptr);
    CHECK(sent<Replicated>(told, 1)->match == LogIndex(2));
}

TEST_CASE("raft.reply_before_sync: nothing is acknowledged in a term that is not durable") {
    Three three;
    three.lose_leader(2);
    three.expire(2);
    three.step(3, LeaderGone{NodeId(1), Term(1)});
    three.talk(2, 3);
    REQUIRE(three.group(2).is_leader());
    // n1 hears the new leader's question, whose answer needs no write but that of the term.
    const std::size_t at = three.find<Replicate>(2, 1);
    REQUIRE(at != Cluster::npos);
    auto& entries = std::get<Replicate>(three.network[at].message.body);
    entries.last = entries.prev.index;
    entries.run_count = 0;
    const Effects& heard = three.deliver(at);
    CHECK(heard.hard_state->term == Term(2));
    CHECK(sent<Replicated>(heard, 2) == nullptr);
    CHECK(sent<Replicated>(three.persist(1), 2) != nullptr);
}

TEST_CASE("9.6: a node that was cut off does not raise the term when it comes back") {
    Three three;
    three.step(3, PeerDown{NodeId(1)});
    for (int i = 0; i < 5; ++i) {
        three.expire(3);
        three.lose_all();
    }
    CHECK(three.group(3).term() == Term(1));
    three.expire(3);
    three.settle();
    CHECK(three.group(1).is_leader());
    CHECK(three.group(1).term() == Term(1));
    // And it found its leader again.
    CHECK(three.group(3).leader() == NodeId(1));
}

TEST_CASE("4.2.3: whoever hears a leader ignores votes against it") {
    Three three;
    const Message vote{NodeId(3), NodeId(2), Term(9), Vote{id(9, 99), false}};
    CHECK(three.step(2, Received{&vote}).empty());
    CHECK(three.group(2).term() == Term(1));
    // Unless the leader wants it (3.10).
    const Message transfer{NodeId(3), NodeId(2), Term(9), Vote{id(9, 99), true}};
    CHECK(three.step(2, Received{&transfer}).hard_state == HardState{Term(9), NodeId(3)});
}

TEST_CASE("raft.prevote_deadlock: one with a newer term and an older log is heard, then led") {
    Three three;
    // n3 reached term 5 by itself (say, before a change of software) and missed an entry.
    three.put(1);
    three.talk(1, 2);
    three.lose_all();
    const Message later{NodeId(2), NodeId(3), Term(5), Voted{false}};
    three.step(3, Received{&later});
    three.settle();
    REQUIRE(three.group(3).term() == Term(5));
    // It asks; nobody votes for its log, but its term is learned, and a leader comes of it.
    for (int i = 0; i < 4 && three.group(3).leader() == NodeId{}; ++i) {
        three.expire(3);
        three.settle();
        for (std::size_t node : {1u, 2u}) {
            if (three.group(node).deadline() <= three.now.mono + base::milliseconds(600)) {
                three.expire(node);
                three.settle();
            }
        }
    }
    CHECK(three.leader() != 0);
    CHECK(three.group(three.leader()).term() > Term(5));
    CHECK(three.group(3).log().last() == three.group(1).log().last());
}

TEST_CASE("raft.partial_mesh: a follower that only its leader cannot reach deposes nobody") {
    Three three;
    three.step(3, PeerDown{NodeId(1)});
    for (int i = 0; i < 3; ++i) {
        three.expire(3);
        three.talk(2, 3);
        three.lose_all();
    }
    CHECK(three.group(1).is_leader());
    CHECK(three.group(2).term() == Term(1));
}

TEST_CASE("6.2: a leader that hears no majority steps down at once (check-quorum)") {
    Three three;
    three.step(1, PeerDown{NodeId(2)});
    CHECK(three.group(1).is_leader());
    const Effects& effects = three.step(1, PeerDown{NodeId(3)});
    CHECK(effects.role_change == RoleChange{Role::follower, Term(1), NodeId{}});
}

TEST_CASE("raft.election_herd: after a restart of all, groups of one node do not vote at once") {
    std::vector<Instant> deadlines;
    for (std::uint32_t group = 0; group < 64; ++group) {
        Group one(GroupId(group), NodeId(1));
        const NodeId voters[] = {NodeId(1), NodeId(2), NodeId(3)};
        const MembershipAt members[] = {{LogIndex{}, Membership::of_voters(voters)}};
        Effects effects;
        one.step(Start{.hard_state = {},
                       .snapshot = {},
                       .log_terms = {},
                       .last = {},
                       .commit_hint = {},
                       .memberships = members,
                       .life = 7},
                 Now{}, effects);
        deadlines.push_back(one.deadline());
    }
    std::sort(deadlines.begin(), deadlines.end());
    CHECK(deadlines.back() - deadlines.front() > limits::election_spread / 2);
    CHECK(std::unique(deadlines.begin(), deadlines.end()) == deadlines.end());
}

TEST_CASE("raft.many_groups: an idle group has no timer and sends nothing") {
    Three three;
    three.put(1);
    three.settle();
    // One look that finds nothing missing, and then silence.
    for (std::size_t i = 1; i <= 3; ++i) {
        if (three.group(i).deadline() != Instant::never()) {
            three.expire(i);
        }
        CHECK(three.group(i).deadline() == Instant::never());
        CHECK_FALSE(three.group(i).wants_turn_end());
    }
    CHECK(three.network.empty());
}

// --- 3.5, 3.6 replication ---

TEST_CASE("3.5: followers take the leader's log over, and cut off what conflicts") {
    Three three;
    three.put(1);
    three.put(1);
    three.lose_all();
    three.persist(1);  // 1/2 and 1/3 are n1's alone
    three.step(1, PeerDown{NodeId(2)});
    three.step(1, PeerDown{NodeId(3)});
    three.lose_leader(3);
    three.lose_leader(2);
    three.expire(2);
    three.talk(2, 3);
    REQUIRE(three.group(2).is_leader());
    three.put(2);
    three.talk(1, 2);
    CHECK(three.group(1).log().last_id() == three.group(2).log().last_id());
    CHECK(three.group(1).log().term_at(LogIndex(2)) == Term(2));
    CHECK(three.disk(1).entries == three.disk(2).entries);
    three.settle();
}

TEST_CASE("3.5: the conflict is found in a round trip per term, not per entry") {
    Three three;
    for (int i = 0; i < 50; ++i) {
        three.put(1);
        three.lose_all();
    }
    three.persist(1);
    three.step(1, PeerDown{NodeId(2)});
    three.step(1, PeerDown{NodeId(3)});
    three.lose_leader(3);
    three.lose_leader(2);
    three.expire(2);
    three.talk(2, 3);
    for (int i = 0; i < 60; ++i) {
        three.put(2);
    }
    three.talk(2, 3);
    three.lose_all();
    three.step(2, PeerUp{NodeId(1)});
    three.end_turn(2);
    int rejected = 0;
    while (three.group(1).log().last_id() != three.group(2).log().last_id()) {
        const std::size_t to = three.find<Replicate>(2, 1);
        REQUIRE(to != Cluster::npos);
        three.deliver(to);
        three.persist(1);
        const std::size_t back = three.find<Replicated>(1, 2);
        if (back == Cluster::npos) {
            continue;
        }
        rejected += std::get<Replicated>(three.network[back].message.body).accepted ? 0 : 1;
        three.deliver(back);
        three.end_turn(2);
    }
    CHECK(rejected <= 2);
    three.settle();
}

TEST_CASE("raft.figure8: an entry of an earlier term on a majority is not committed by counting") {
    // Figure 3.7 with three nodes: the entry of term 1 is on two of them when term 3 leads.
    Three three;
    const EntryId early = three.put(1);
    three.lose_all();
    three.persist(1);
    three.restart(1);
    three.lose_leader(2);
    three.lose_leader(3);
    three.expire(2);
    three.talk(2, 3);  // n2 leads term 2 without it
    REQUIRE(three.group(2).is_leader());
    three.lose_all();
    three.crash(2);
    // n1's log ends in term 1, n3's in term 2: n3 leads term 3. The other way round n1 cannot win.
    three.expire(1);
    three.step(3, LeaderGone{NodeId(2), Term(2)});
    three.talk(1, 3);
    CHECK_FALSE(three.group(1).is_leader());
    three.expire(3);
    three.talk(1, 3);
    REQUIRE(three.group(3).is_leader());
    CHECK(three.group(1).log().term_at(early.index) == Term(2));
    three.start(2);
    three.settle();
}

TEST_CASE("raft.figure8: with the old entry on a majority, only the leader's own commits it") {
    Three three;
    const EntryId early = three.put(1);
    three.lose_all();
    three.persist(1);
    three.restart(1);
    three.lose_leader(2);
    three.lose_leader(3);
    three.expire(1);
    three.talk(1, 2);
    REQUIRE(three.group(1).is_leader());
    // What follows by hand: n3 gets the old entry and says so before the noop is anywhere.
    CHECK(three.group(1).term() == Term(2));
    CHECK(three.group(1).log().committed() == LogIndex(3));
    CHECK(three.group(1).log().term_at(early.index) == Term(1));
    three.settle();
}

TEST_CASE("raft.self_ack: a leader's own entry counts when its own disk has it") {
    Three three;
    three.put(1);
    // One follower has it durable, the leader has not: one of three.
    three.deliver(three.find<Replicate>(1, 2));
    three.persist(2);
    three.deliver(three.find<Replicated>(2, 1));
    CHECK(three.group(1).log().committed() == LogIndex(1));
    three.persist(1);
    CHECK(three.group(1).log().committed() == LogIndex(2));
    three.settle();
}

TEST_CASE("10.2.1: the leader sends in the turn in which it writes, and followers may be first") {
    Three three;
    three.put(1);
    CHECK(three.staged(1) == 1);
    for (std::size_t i : {2u, 3u}) {
        three.deliver(three.find<Replicate>(1, i));
        three.persist(i);
        three.deliver(three.find<Replicated>(i, 1));
    }
    // A majority without the leader: committed, but this node applies what its own disk has.
    CHECK(three.group(1).log().committed() == LogIndex(2));
    CHECK(three.group(1).status().commit_told == LogIndex(1));
    CHECK(three.persist(1).commit_to == LogIndex(2));
    three.settle();
}

TEST_CASE("10.2.2: entries are sent without waiting for the answers to those before") {
    Three three;
    for (int i = 0; i < 5; ++i) {
        three.put(1);
    }
    CHECK(three.peer(1, 2).inflight.size() == 5);
    CHECK(three.peer(1, 2).next == LogIndex(7));
    three.settle();
    CHECK(three.peer(1, 2).inflight.empty());
    CHECK(three.committed() == LogIndex(6));
}

TEST_CASE("the window: at its limit entries wait and leave together") {
    Three three;
    for (std::size_t i = 0; i < limits::inflight_messages_max + 5; ++i) {
        three.put(1);
    }
    CHECK(three.peer(1, 2).inflight.size() == limits::inflight_messages_max);
    three.persist(1);
    const std::size_t first = 0;
    three.deliver(first);
    three.persist(2);
    three.deliver(three.find<Replicated>(2, 1));
    const Effects& more = three.end_turn(1);
    REQUIRE(sent<Replicate>(more, 2) != nullptr);
    CHECK(sent<Replicate>(more, 2)->last.value - sent<Replicate>(more, 2)->prev.index.value == 5);
    three.settle();
}

TEST_CASE("the window in bytes: large entries, one message each, bounded in sum") {
    Three three;
    const std::uint64_t large = limits::message_bytes_max;
    for (int i = 0; i < 12; ++i) {
        three.put(1, large);
    }
    const std::uint64_t flying = three.peer(1, 2).inflight_bytes;
    CHECK(flying >= limits::inflight_bytes_max);
    CHECK(flying < limits::inflight_bytes_max + large + IdLog::entry_overhead_bytes);
    three.settle();
    CHECK(three.committed() == LogIndex(13));
}

TEST_CASE("raft.append_aba: an answer for an entry that was cut off and written again counts not") {
    Three three;
    // n3 writes 1/2 and is slow. A leader of term 2 replaces it, one of term 3 has it again.
    const NodeId from(1);
    const auto replicate = [&](Term term, EntryId prev, Term entry, std::uint64_t number) {
        Replicate entries;
        entries.prev = prev;
        entries.last = prev.index.next();
        entries.runs[0] = {entries.last, entry};
        entries.run_count = 1;
        entries.number = number;
        return Message{from, NodeId(3), term, entries};
    };
    Group group = three.group(3);
    Effects effects;
    const auto step = [&](const Input& input) {
        effects.clear();
        group.step(input, three.now, effects);
    };
    const Message first = replicate(Term(1), id(1, 1), Term(1), 9);
    step(Received{&first});
    const Message second = replicate(Term(2), id(1, 1), Term(2), 1);
    step(Received{&second});
    CHECK(effects.truncate_from == LogIndex(2));
    const Message third = replicate(Term(3), id(1, 1), Term(1), 1);
    step(Received{&third});
    CHECK(effects.truncate_from == LogIndex(2));
    CHECK(group.log().last_id() == id(1, 2));
    // The first write of 1/2 is done. On the disk are then 1/2, soon a cut and 2/2.
    step(Persisted{.log = id(1, 2), .hard_state = {Term(3), NodeId{}}, .cuts = 0});
    CHECK(group.log().persisted() == LogIndex(1));
    REQUIRE(sent<Replicated>(effects, 1) != nullptr);
    CHECK(sent<Replicated>(effects, 1)->match == LogIndex(1));
    step(Persisted{.log = id(1, 2), .hard_state = {}, .cuts = 2});
    CHECK(group.log().persisted() == LogIndex(2));
    CHECK(sent<Replicated>(effects, 1)->match == LogIndex(2));
}

TEST_CASE("raft.reconnect_order: messages doubled and overtaken change nothing") {
    Three three;
    for (int i = 0; i < 6; ++i) {
        three.put(1);
    }
    three.persist(1);
    // To n2 backwards and twice.
    for (int round = 0; round < 2; ++round) {
        for (std::size_t i = three.network.size(); i > 0; --i) {
            if (three.network[i - 1].message.to == NodeId(2)) {
                three.duplicate(i - 1);
                three.deliver(i - 1);
                three.persist(2);
            }
            if (i > three.network.size()) {
                break;
            }
        }
    }
    three.settle();
    CHECK(three.disk(2).entries == three.disk(1).entries);
}

TEST_CASE("a message that is lost is asked for again, and a slow disk is no loss") {
    Three three;
    three.put(1);
    three.drop(three.find<Replicate>(1, 2));
    three.deliver(three.find<Replicate>(1, 3));  // and n3's disk hangs
    three.persist(1);
    int to_slow = 0;
    for (int i = 0; i < 4; ++i) {
        three.expire(1);
        three.end_turn(1);
        while (!three.network.empty()) {
            if (const auto* entries = std::get_if<Replicate>(&three.network.front().message.body)) {
                to_slow += three.network.front().message.to == NodeId(3) &&
                                   entries->last > entries->prev.index
                               ? 1
                               : 0;
            }
            const std::size_t to = three.network.front().message.to.value;
            three.deliver(0);
            if (to == 2) {
                three.persist(2);
            }
            if (three.group(1).wants_turn_end()) {
                three.end_turn(1);
            }
        }
    }
    CHECK(three.committed() == LogIndex(2));
    CHECK(to_slow == 0);  // it has the entry, which it says though it is not durable
    three.settle();
}

TEST_CASE("3.3: a refusal meant for the leader of an earlier term is none of this one's") {
    // It names a number of the earlier term's messages, and a leader may lead again.
    Three three;
    three.put(1);
    three.settle();
    const Message stale{NodeId(3), NodeId(1), three.group(1).term(),
                        Replicated{.accepted = false, .number = 1000}};
    CHECK(three.step(1, Received{&stale}).reverted == NodeId{});
    three.put(1);
    three.settle();
    CHECK(three.group(3).log().committed() == three.group(1).log().last());
}

TEST_CASE("raft.reversion: a follower whose log went back has no voice") {
    Three three;
    three.put(1);
    three.settle();
    // n3's disk is replaced by one that knows the members and nothing else.
    Three blank(3, 3);
    three.crash(3);
    Group lost(GroupId(7), NodeId(3));
    Effects effects;
    const MembershipAt members[] = {{LogIndex{}, three.members({1, 2, 3})}};
    lost.step(Start{.hard_state = {},
                    .snapshot = {},
                    .log_terms = {},
                    .last = {},
                    .commit_hint = {},
                    .memberships = members,
                    .life = 99},
              three.now, effects);
    three.put(1);
    const Message message = three.network[three.find<Replicate>(1, 3)].message;
    three.lose_all();
    effects.clear();
    lost.step(Received{&message}, three.now, effects);
    lost.step(Persisted{.log = {}, .hard_state = {Term(1), NodeId{}}}, three.now, effects);
    const Replicated* rejected = sent<Replicated>(effects, 1);
    REQUIRE(rejected != nullptr);
    CHECK_FALSE(rejected->accepted);
    const Message answer{NodeId(3), NodeId(1), Term(1), *rejected};
    CHECK(three.step(1, Received{&answer}).reverted == NodeId(3));
    // What it says counts for nothing: with n2 silent nothing commits.
    three.persist(1);
    const Message acknowledged{NodeId(3), NodeId(1), Term(1),
                               Replicated{.accepted = true,
                                          .number = 99,
                                          .match = LogIndex(3),
                                          .last = LogIndex(3),
                                          .hint = {},
                                          .rejected = {},
                                          .commit = {}}};
    three.step(1, Received{&acknowledged});
    CHECK(three.group(1).log().committed() == LogIndex(2));
}

TEST_CASE("raft.amnesia: a node that knows of no membership has no vote") {
    Three three(3, 3);
    Cluster blank(4, 3, 5);
    const Message vote{NodeId(1), NodeId(4), Term(3), Vote{id(2, 9), false}};
    const Effects& answer = blank.step(4, Received{&vote});
    REQUIRE(sent<Voted>(answer, 1) != nullptr);
    CHECK_FALSE(sent<Voted>(answer, 1)->granted);
    CHECK(blank.group(4).deadline() == Instant::never());
}

TEST_CASE("raft.amnesia: a leader without what is committed here is contradicted, not followed") {
    // A majority came back from older copies and has elected one of them.
    const auto replicate = [](std::uint64_t prev, std::uint64_t later, std::uint64_t last) {
        Three three;
        three.put(1);
        three.put(1);
        three.settle();
        const Term term = three.group(2).term();
        REQUIRE(three.group(2).log().committed() == LogIndex(3));
        Replicate entries;
        entries.number = 1;
        entries.prev = {Term(term.value + later), LogIndex(prev)};
        entries.last = LogIndex(last);
        entries.runs[0] = {LogIndex(prev + 1), term.next()};
        entries.run_count = last > prev ? 1 : 0;
        const Message message{NodeId(3), NodeId(2), term.next(), entries};
        return LogIndex(three.step(2, Received{&message}).contradicted);
    };
    CHECK(replicate(2, 0, 2) == LogIndex{});
    CHECK(replicate(2, 0, 3) == LogIndex(3));
    CHECK(replicate(2, 1, 2) == LogIndex(2));
    CHECK(replicate(1, 0, 3) == LogIndex(2));
}

TEST_CASE("raft.amnesia: a contradiction is found inside a run of entries too") {
    Three three;
    three.put(1);
    three.settle();
    const Term first = three.group(2).term();
    const LogIndex last = three.group(2).log().committed();
    while (three.leader() != 3) {
        three.step(three.leader(), Transfer{NodeId(3)});
        three.settle();
    }
    three.put(3);
    three.settle();
    REQUIRE(three.group(2).log().committed() > last);
    REQUIRE(three.group(2).log().term_at(last.next()) > first);
    Replicate entries;
    entries.number = 1;
    entries.prev = {Term{}, LogIndex{}};
    entries.last = last.next();
    entries.runs[0] = {LogIndex(1), first};
    entries.run_count = 1;
    const Message message{NodeId(1), NodeId(2), three.group(2).term().next(), entries};
    CHECK(three.step(2, Received{&message}).contradicted == last.next());
}

TEST_CASE("raft.amnesia: a second leader of a term is not followed, nor does it stop the first") {
    Three three;
    three.put(1);
    three.settle();
    const Term term = three.group(1).term();
    for (const std::uint32_t at : {1u, 2u}) {
        const Message second{NodeId(3), NodeId(at), term, Heartbeat{ReadContext(1), LogIndex(1)}};
        three.step(at, Received{&second});
        CHECK(three.group(at).leader() == NodeId(1));
    }
}

TEST_CASE("raft.faux_leader: a leader that commits nothing for long gives up its place") {
    Three three;
    three.put(1);
    three.lose_all();
    const Instant begun = three.now.mono;
    while (three.group(1).is_leader() && three.now.mono < begun + base::seconds(20)) {
        three.expire(1);
        three.lose_all();
    }
    CHECK_FALSE(three.group(1).is_leader());
    CHECK(three.now.mono >= begun + limits::commit_stall);
    CHECK(three.now.mono < begun + limits::commit_stall * 2);
}

TEST_CASE("raft.faux_leader: the time in which there was nothing to commit does not count") {
    Three three;
    for (int round = 0; round < 3; ++round) {
        three.put(1);
        three.settle();
        while (three.group(1).deadline() != Instant::never()) {
            three.expire(1);
            three.settle();
        }
        three.now.mono = three.now.mono + limits::commit_stall * 2;
        three.put(1);
        three.lose_all();
        const Instant begun = three.now.mono;
        while (three.now.mono - begun < limits::commit_stall - limits::retry_interval) {
            three.expire(1);
            three.lose_all();
            REQUIRE(three.group(1).is_leader());
        }
        three.settle();
    }
}

TEST_CASE("raft.faux_leader: a leader whose disk is in trouble hands over") {
    Three three;
    three.step(1, DiskTrouble{true});
    three.settle();
    CHECK(three.leader() != 1);
    CHECK(three.leader() != 0);
    // And campaigns last.
    three.step(1, LeaderGone{three.group(1).leader(), three.group(1).term()});
    CHECK(three.group(1).deadline() >= three.now.mono + limits::last_resort_delay);
}

// --- 6.4 reads ---

TEST_CASE("6.4: a read is answered when a majority recognised the leader after it was asked") {
    Three three;
    CHECK_FALSE(three.read(1).reads_ready.has_value());
    three.end_turn(1);
    three.deliver(three.find<Heartbeat>(1, 2));
    const Effects& ready = three.deliver(three.find<HeartbeatSeen>(2, 1));
    CHECK(ready.reads_ready == ReadsReady{ReadContext(1), LogIndex(1)});
}

TEST_CASE("6.4: a follower asks its leader and reads its own state") {
    Three three;
    three.put(1);
    three.settle();
    three.read(3);
    const Effects& asked = three.end_turn(3);
    REQUIRE(sent<ReadRequest>(asked, 1) != nullptr);
    three.deliver(three.find<ReadRequest>(3, 1));
    three.end_turn(1);
    three.deliver(three.find<Heartbeat>(1, 2));
    three.deliver(three.find<HeartbeatSeen>(2, 1));
    const Effects& ready = three.deliver(three.find<ReadReply>(1, 3));
    CHECK(ready.reads_ready == ReadsReady{ReadContext(1), LogIndex(2)});
}

TEST_CASE("raft.stale_leader_read: a leader that was replaced answers nothing") {
    Three three;
    three.lose_leader(2);
    three.lose_leader(3);
    three.expire(2);
    three.talk(2, 3);
    REQUIRE(three.group(2).is_leader());
    REQUIRE(three.group(1).is_leader());
    three.put(2);
    three.talk(2, 3);
    three.read(1);
    three.end_turn(1);
    const Effects& refused = [&]() -> const Effects& {
        three.deliver(three.find<Heartbeat>(1, 3));
        return three.deliver(three.find<HeartbeatSeen>(3, 1));
    }();
    CHECK_FALSE(refused.reads_ready.has_value());
    CHECK(refused.reads_refused == ReadContext(1));
    CHECK_FALSE(three.group(1).is_leader());
    three.settle();
}

TEST_CASE("raft.readindex_reuse: an answer to an earlier question confirms no later read") {
    Three three;
    three.read(1);
    three.end_turn(1);
    three.deliver(three.find<Heartbeat>(1, 2));
    const std::size_t first = three.find<HeartbeatSeen>(2, 1);
    three.duplicate(first);
    three.deliver(first);
    CHECK(three.reads_answered == 1);
    three.read(1);
    three.end_turn(1);
    // The same answer again, and the one of n3 to the first question.
    CHECK_FALSE(three.deliver(three.find<HeartbeatSeen>(2, 1)).reads_ready.has_value());
    three.settle();
    CHECK(three.reads_answered == 2);
}

TEST_CASE(
    "raft.readindex_reuse: a read asked while one is under way waits for a round of its own") {
    Three three;
    three.read(1);
    three.end_turn(1);
    three.read(1);
    three.end_turn(1);
    three.deliver(three.find<Heartbeat>(1, 2));
    const Effects& first = three.deliver(three.find<HeartbeatSeen>(2, 1));
    CHECK(first.reads_ready->context == ReadContext(1));
    three.settle();
    CHECK(three.reads_answered == 2);
}

TEST_CASE("raft.readindex_reuse: an answer to an earlier life of the node is none") {
    Three three;
    three.read(3);
    three.end_turn(3);
    three.deliver(three.find<ReadRequest>(3, 1));
    three.end_turn(1);
    three.deliver(three.find<Heartbeat>(1, 2));
    three.deliver(three.find<HeartbeatSeen>(2, 1));
    three.restart(3);
    three.step(1, PeerUp{NodeId(3)});
    three.end_turn(1);
    three.deliver(three.find<Replicate>(1, 3));
    three.read(3);
    const std::size_t old = three.find<ReadReply>(1, 3);
    REQUIRE(old != Cluster::npos);
    CHECK_FALSE(three.deliver(old).reads_ready.has_value());
    three.settle();
    CHECK(three.reads_answered == 1);
}

TEST_CASE("raft.lease_pause: no read is answered by a clock; every one asks a majority") {
    Three three;
    for (int i = 0; i < 3; ++i) {
        three.read(1);
        three.settle();
    }
    three.read(1);
    three.end_turn(1);
    three.lose_all();
    CHECK(three.reads_answered == 3);
}

TEST_CASE("6.4 step 1: with several voters too, no read before the term's own entry is committed") {
    Cluster cluster(3, 3, 1);
    cluster.expire(1);
    while (!cluster.group(1).is_leader()) {
        for (std::size_t i = 1; i <= 3; ++i) {
            cluster.persist(i);
        }
        REQUIRE(!cluster.network.empty());
        cluster.deliver(0);
    }
    cluster.read(1);
    cluster.end_turn(1);
    cluster.deliver(cluster.find<Heartbeat>(1, 2));
    CHECK_FALSE(cluster.deliver(cluster.find<HeartbeatSeen>(2, 1)).reads_ready.has_value());
    cluster.settle();
    CHECK(cluster.reads_answered == 1);
    CHECK(cluster.failure() == "");
}

TEST_CASE("6.4: a follower's read is asked again when the answer is lost, refused without leader") {
    Three three;
    three.read(2);
    three.end_turn(2);
    three.lose_all();
    three.expire(2);
    three.settle();
    CHECK(three.reads_answered == 1);
    three.read(2);
    three.end_turn(2);
    three.lose_all();
    CHECK(three.step(2, PeerDown{NodeId(1)}).reads_refused == ReadContext(2));
    CHECK(three.read(2).reads_refused == ReadContext(3));
}

// --- 3.10 transfer ---

TEST_CASE("3.10: leadership goes to the successor without a pause") {
    Three three;
    three.put(1);
    three.step(1, Transfer{NodeId(3)});
    CHECK(three.submit(1, 1).refused_submits.front().why == SubmitRefusal::transferring);
    three.settle();
    CHECK(three.leader() == 3);
    CHECK(three.group(3).term() == Term(2));
    CHECK(three.committed() == LogIndex(3));
}

TEST_CASE("3.10: a transfer that does not come about is given up") {
    Three three;
    three.step(1, Transfer{NodeId(3)});
    three.lose_all();
    while (three.group(1).status().transfer_to != NodeId{}) {
        three.expire(1);
        three.lose_all();
    }
    CHECK(three.group(1).is_leader());
    CHECK(three.submit(1, 1).refused_submits.empty());
    three.settle();
}

TEST_CASE("3.10: nobody hands over to one that is down or no voter") {
    Three three(4, 3);
    three.step(1, PeerDown{NodeId(2)});
    three.step(1, Transfer{NodeId(2)});
    CHECK(three.group(1).status().transfer_to == NodeId{});
    three.step(1, Transfer{NodeId(4)});
    CHECK(three.group(1).status().transfer_to == NodeId{});
    three.settle();
}

// --- 4 membership ---

TEST_CASE("4.3: voters change through a joint membership, which the leader leaves by itself") {
    Three three(4, 3);
    REQUIRE(three.change(1, three.members({1, 2, 3}, {4})).refused_submits.empty());
    three.settle();
    CHECK(three.group(4).log().last() == three.group(1).log().last());
    const Effects& joint = three.change(1, three.members({1, 2, 4}));
    CHECK(joint.memberships_to_write.front().membership.joint());
    three.settle();
    const Membership now = three.group(1).membership().membership;
    CHECK(now == three.members({1, 2, 4}));
    CHECK(three.group(4).membership().membership == now);
    CHECK(three.group(1).log().committed() == three.group(1).log().last());
}

TEST_CASE("4.3: in a joint change both sides must agree") {
    Three three(5, 3);
    three.change(1, three.members({1, 2, 3}, {4, 5}));
    three.settle();
    three.change(1, three.members({1, 4, 5}));
    three.end_turn(1);
    const LogIndex joint = three.group(1).log().last();
    // The old side alone.
    three.talk(1, 2);
    three.talk(1, 3);
    CHECK(three.group(1).log().committed() < joint);
    // And one of the new.
    three.talk(1, 4);
    CHECK(three.group(1).log().committed() >= joint);
    three.settle();
}

TEST_CASE("raft.joint_interleave: one change at a time") {
    Three three(4, 3);
    three.change(1, three.members({1, 2, 3}, {4}));
    const Effects& second = three.change(1, three.members({1, 2}));
    CHECK(second.refused_submits.front().why == SubmitRefusal::change_in_flight);
    three.settle();
    three.change(1, three.members({1, 2, 4}));
    // Joint, then left: in flight until both are committed.
    CHECK(three.change(1, three.members({1, 2})).refused_submits.front().why ==
          SubmitRefusal::change_in_flight);
    three.settle();
    CHECK(three.change(1, three.members({1, 2})).refused_submits.empty());
    three.settle();
}

TEST_CASE("raft.joint_interleave: a new leader leaves the joint membership it finds") {
    Three three(4, 3);
    three.change(1, three.members({1, 2, 3}, {4}));
    three.settle();
    three.change(1, three.members({1, 2, 4}));
    three.end_turn(1);
    for (std::size_t i : {2u, 3u, 4u}) {
        three.deliver(three.find<Replicate>(1, i));
        three.persist(i);
    }
    three.lose_all();
    three.crash(1);
    for (std::size_t i : {2u, 3u, 4u}) {
        three.lose_leader(i);
    }
    three.expire(2);
    three.settle();
    REQUIRE(three.leader() == 2);
    CHECK(three.group(2).membership().membership == three.members({1, 2, 4}));
    three.start(1);
    three.settle();
}

TEST_CASE(
    "raft.single_server_2015: no change before an entry of the leader's own term is committed") {
    Three three(4, 3);
    three.put(1);
    three.lose_leader(2);
    three.lose_all();
    three.lose_leader(3);
    three.expire(2);
    while (!three.group(2).is_leader()) {
        for (std::size_t i = 1; i <= 3; ++i) {
            three.persist(i);
        }
        REQUIRE(!three.network.empty());
        three.deliver(0);
    }
    CHECK(three.change(2, three.members({1, 2, 3}, {4})).refused_submits.front().why ==
          SubmitRefusal::change_in_flight);
    three.settle();
    CHECK(three.change(2, three.members({1, 2, 3}, {4})).refused_submits.empty());
    three.settle();
}

TEST_CASE("raft.config_truncate: a membership holds when appended and goes with its entry") {
    Three three(4, 3);
    three.change(1, three.members({1, 2, 3}, {4}));
    three.end_turn(1);
    three.deliver(three.find<Replicate>(1, 3));
    CHECK(three.group(3).membership().membership.find(NodeId(4)) != nullptr);
    three.persist(3);
    three.lose_all();
    // n3 and n1 are cut off with it; n2 leads without... n3's vote is needed, so n1's is taken.
    three.crash(1);  // its disk has no such entry
    three.crash(3);
    three.start(1);
    three.lose_leader(2);
    three.expire(2);
    three.talk(1, 2);
    REQUIRE(three.group(2).is_leader());
    three.start(3);
    CHECK(three.group(3).membership().membership.find(NodeId(4)) != nullptr);
    three.settle();
    CHECK(three.group(3).membership().membership == three.members({1, 2, 3}));
    CHECK(three.group(3).membership().index == LogIndex{});
}

TEST_CASE("raft.learner_promote: a new voter is a learner that has caught up") {
    Three three(4, 3);
    CHECK(three.change(1, three.members({1, 2, 3, 4})).refused_submits.front().why ==
          SubmitRefusal::not_caught_up);
    three.change(1, three.members({1, 2, 3}, {4}));
    three.end_turn(1);
    three.talk(1, 2);
    three.talk(1, 3);
    three.lose_all();
    for (std::uint64_t i = 0; i < limits::promotion_gap_entries_max + 1; ++i) {
        three.put(1);
        three.talk(1, 2);
        three.lose_all();
    }
    CHECK(three.change(1, three.members({1, 2, 3, 4})).refused_submits.front().why ==
          SubmitRefusal::not_caught_up);
    three.step(1, PeerUp{NodeId(4)});
    three.settle();
    CHECK(three.change(1, three.members({1, 2, 3, 4})).refused_submits.empty());
    three.settle();
    CHECK(three.group(4).membership().membership.votes(NodeId(4)));
}

TEST_CASE("4.2.1: a learner does not vote, campaign or count") {
    Three three(4, 3);
    three.change(1, three.members({1, 2, 3}, {4}));
    three.settle();
    three.put(1);
    three.deliver(three.find<Replicate>(1, 4));
    three.persist(4);
    three.persist(1);
    three.deliver(three.find<Replicated>(4, 1));
    CHECK(three.group(1).log().committed() < three.group(1).log().last());
    three.step(4, PeerDown{NodeId(1)});
    three.expire(4);
    CHECK(three.group(4).role() == Role::follower);
    three.settle();
}

TEST_CASE("a change that would leave no majority alive is refused") {
    Three three;
    three.step(1, PeerDown{NodeId(3)});
    CHECK(three.change(1, three.members({1, 3})).refused_submits.front().why ==
          SubmitRefusal::no_quorum);
    CHECK(three.change(1, three.members({})).refused_submits.front().why ==
          SubmitRefusal::no_quorum);
    CHECK(three.change(1, three.members({1, 2})).refused_submits.empty());
    three.settle();
}

TEST_CASE("raft.removed_node: a removed leader leads until that is committed, then goes") {
    Three three;
    three.change(1, three.members({2, 3}));
    three.settle();
    CHECK(three.group(1).role() == Role::follower);
    CHECK(three.group(1).deadline() == Instant::never());
    // One of the others did not wait for silence.
    CHECK(three.leader() > 1);
    CHECK(three.group(three.leader()).membership().membership == three.members({2, 3}));
}

TEST_CASE("raft.removed_node: a removed node that knows nothing of it disturbs nobody") {
    Three three;
    three.change(1, three.members({1, 2}));
    three.end_turn(1);
    // n3 hears the joint membership and never that it was left.
    three.talk(1, 3);
    three.talk(1, 2);
    three.lose_all();
    three.step(3, PeerDown{NodeId(1)});
    for (int i = 0; i < 3; ++i) {
        three.expire(3);
        three.settle();
    }
    CHECK(three.group(1).is_leader());
    CHECK(three.group(1).term() == Term(1));
    CHECK(three.group(2).leader() == NodeId(1));
}

TEST_CASE("4.2.2: one whose removal is nowhere else may still be needed to lead") {
    Three three(2, 2);
    three.change(1, three.members({2}));
    three.end_turn(1);
    three.talk(1, 2);
    three.settle();
    CHECK(three.leader() == 2);
    CHECK(three.group(2).membership().membership == three.members({2}));
}

// --- 5 snapshots ---

TEST_CASE("5.3: a follower that is behind what is compacted is offered the snapshot") {
    Three three;
    for (int i = 0; i < 5; ++i) {
        three.put(1);
        three.talk(1, 2);
        three.lose_all();
    }
    three.apply(1);
    three.snapshot(1);
    three.step(1, PeerUp{NodeId(3)});
    three.end_turn(1);
    const Effects& offered = three.deliver(three.find<SnapshotOffer>(1, 3));
    CHECK(offered.fetch_snapshot == FetchSnapshot{NodeId(1), id(1, 6)});
    // Again, while it is on its way: no second fetch.
    const Message again{NodeId(1), NodeId(3), Term(1),
                        SnapshotOffer{id(1, 6), three.group(1).membership()}};
    const Effects& second = three.step(3, Received{&again});
    CHECK_FALSE(second.fetch_snapshot.has_value());
    CHECK(sent<SnapshotStatus>(second, 1) != nullptr);
    three.settle();
    CHECK(three.group(3).log().last() == three.group(1).log().last());
    CHECK(three.group(3).log().snapshot() == id(1, 6));
}

TEST_CASE("raft.snapshot_race: an older snapshot than what is committed changes nothing") {
    Three three;
    three.put(1);
    three.settle();
    const Message offer{NodeId(1), NodeId(2), Term(1),
                        SnapshotOffer{id(1, 1), three.group(1).membership()}};
    const Effects& effects = three.step(2, Received{&offer});
    CHECK_FALSE(effects.fetch_snapshot.has_value());
    CHECK_FALSE(three.group(2).needs_snapshot(id(1, 1)));
    REQUIRE(sent<Replicated>(effects, 1) != nullptr);
    CHECK(sent<Replicated>(effects, 1)->match == LogIndex(2));
}

TEST_CASE(
    "raft.snapshot_race: entries that come while a snapshot is fetched, and make it needless") {
    Three three;
    for (int i = 0; i < 3; ++i) {
        three.put(1);
        three.talk(1, 2);
    }
    std::vector<test::TestFrame> kept = three.network;  // all to n3
    three.lose_all();
    three.apply(1);
    three.snapshot(1);
    const Message offer{NodeId(1), NodeId(3), Term(1),
                        SnapshotOffer{id(1, 4), three.group(1).membership()}};
    three.step(3, Received{&offer});
    REQUIRE(three.fetches(3));
    three.network = kept;
    three.settle();  // the old messages, then the fetch that is not needed any more
    CHECK(three.group(3).log().last() == three.group(1).log().last());
    CHECK(three.installs == 0);
}

TEST_CASE(
    "raft.snapshot_race: what follows an entry that the snapshot contradicts goes before it") {
    const NodeId ids[] = {NodeId(1), NodeId(2), NodeId(3)};
    const MembershipAt memberships[] = {{LogIndex{}, Membership::of_voters(ids)}};
    const TermRun runs[] = {{LogIndex(1), Term(1)}};
    for (const std::uint64_t last : {3u, 5u, 9u}) {
        CAPTURE(last);
        Group group(GroupId(0), NodeId(1));
        Effects effects;
        Start start;
        start.hard_state = {Term(1), NodeId(1)};
        start.log_terms = runs;
        start.last = LogIndex(last);
        start.memberships = memberships;
        start.life = 4;
        group.step(start, {}, effects);
        effects.clear();
        const Message offer{NodeId(2), NodeId(1), Term(2), SnapshotOffer{id(2, 5), memberships[0]}};
        group.step(Received{&offer}, {}, effects);
        REQUIRE(effects.fetch_snapshot.has_value());
        CHECK(effects.truncate_from == LogIndex{});
        effects.clear();
        const Status before = group.status();
        group.step(SnapshotComing{id(2, 5)}, {}, effects);
        CHECK(check_step(before, group.status(), effects) == "");
        CHECK(check_state(group.status()) == "");
        // Only what lies beyond: what may be on a majority without being known stays until the
        // snapshot is there.
        CHECK(effects.truncate_from == LogIndex(last > 5 ? 6 : 0));
        CHECK(group.log().last() == LogIndex(std::min<std::uint64_t>(last, 5)));
        CHECK(group.status().cuts == (last > 5 ? 1 : 0));
        effects.clear();
        // Said again, it changes nothing.
        group.step(SnapshotComing{id(2, 5)}, {}, effects);
        CHECK(effects.empty());
        group.step(SnapshotInstalled{id(2, 5), memberships[0]}, {}, effects);
        CHECK(group.log().last_id() == id(2, 5));
        CHECK(group.status().cuts == (last > 5 ? 2 : 1));
    }
}

TEST_CASE("5.1: a snapshot carries the membership in force at its last entry") {
    Three three(4, 3);
    three.change(1, three.members({1, 2, 3}, {4}));
    three.settle();
    three.put(1);
    three.settle();
    three.snapshot(1);
    CHECK(three.disk(1).snapshot_membership.membership == three.members({1, 2, 3}, {4}));
    three.restart(1);
    CHECK(three.group(1).membership().membership == three.members({1, 2, 3}, {4}));
}

TEST_CASE("a replica with disk trouble campaigns after the others had their turn") {
    Three three;
    three.step(3, DiskTrouble{true});
    three.step(2, PeerDown{NodeId(1)});
    three.step(3, PeerDown{NodeId(1)});
    CHECK(three.group(3).deadline() - three.now.mono >= limits::last_resort_delay);
    CHECK(three.group(2).deadline() - three.now.mono < limits::election_spread);
    // But it votes, and leads when nobody else can.
    three.crash(1);
    three.crash(2);
    three.start(2);
    three.expire(3);
    three.settle();
    CHECK(three.leader() == 3);
}

TEST_CASE("raft.apply_cap: uncommitted bytes are bounded with several voters too") {
    Three three;
    std::uint64_t taken = 0;
    for (int i = 0; i < 40; ++i) {
        taken += three.submit(1, base::limits::uncommitted_bytes_max / 16).refused_submits.empty();
    }
    CHECK(taken == 15);
    three.settle();
    CHECK(three.submit(1, 1).refused_submits.empty());
    three.settle();
}

TEST_CASE("R11: a refusal from a member's earlier time in the group is no lost log") {
    Three cluster(3, 2);
    cluster.elect(1);
    // n3 is a learner whose log was refused once; that answer is late.
    cluster.change(1, cluster.members({1, 2}, {3}));
    cluster.settle();
    for (int i = 0; i < 5; ++i) {
        cluster.put(1);
        cluster.settle();
    }
    const std::uint64_t number = cluster.peer(1, 3).number;
    const Message late{NodeId(3), NodeId(1), cluster.group(1).term(),
                       Replicated{.accepted = false,
                                  .number = number,
                                  .match = {},
                                  .last = LogIndex(1),
                                  .hint = {},
                                  .rejected = LogIndex(2),
                                  .commit = {}}};
    // It goes and comes back while the same leader leads.
    cluster.change(1, cluster.members({1, 2}));
    cluster.settle();
    cluster.change(1, cluster.members({1, 2}, {3}));
    cluster.settle();
    REQUIRE(cluster.group(1).is_leader());
    CHECK(cluster.peer(1, 3).number > number);
    CHECK(cluster.step(1, Received{&late}).reverted == NodeId{});
    CHECK_FALSE(cluster.peer(1, 3).reverted);
    cluster.put(1);
    cluster.settle();
    CHECK(cluster.peer(1, 3).match == cluster.group(1).log().last());
}

}  // namespace ursula::raft
