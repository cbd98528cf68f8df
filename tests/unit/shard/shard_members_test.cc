// Members come and go while the cluster works (raft thesis 4; reliability-anchors 3.4, R11).
#include <doctest/doctest.h>

#include <algorithm>
#include <string>

#include "base/limits.h"
#include "member_cluster.h"

namespace ursula::shard::test {

namespace {

using Step = MemberCluster::Step;

bool has_event(const MemberCluster& cluster, ShardEvent::Kind kind) {
    return std::any_of(cluster.events.begin(), cluster.events.end(),
                       [kind](const ShardEvent& event) { return event.kind == kind; });
}

void check_content(MemberCluster& cluster, const std::vector<std::uint32_t>& nodes,
                   const std::string& text) {
    for (const std::uint32_t node : nodes) {
        for (std::uint32_t group = 0; group < MemberCluster::groups; ++group) {
            CHECK(cluster.content(node, group) == text);
        }
    }
}

}  // namespace

TEST_CASE("a cluster of one grows to three and five and shrinks to three") {
    for (const std::uint32_t shards : {1u, 2u}) {
        MemberCluster cluster(1, 5, shards);
        cluster.create();
        cluster.append_everywhere("a");
        cluster.add(2);
        cluster.append_everywhere("b");
        cluster.add(3);
        cluster.wait_for({1, 2, 3}, "1 2 3");
        cluster.append_everywhere("c");
        cluster.add(4);
        cluster.add(5);
        cluster.append_everywhere("d");
        cluster.wait_for({1, 2, 3, 4, 5}, "1 2 3 4 5");
        check_content(cluster, {1, 2, 3, 4, 5}, "abcd");
        // Two of five may go.
        cluster.kill(1);
        cluster.kill(2);
        cluster.append_everywhere("e");
        cluster.start(1);
        cluster.start(2);
        cluster.do_change(Step::remove, 1);
        cluster.do_change(Step::remove, 4);
        cluster.wait_for({2, 3, 5}, "2 3 5");
        cluster.kill(1);
        cluster.kill(4);
        cluster.append_everywhere("f");
        check_content(cluster, {2, 3, 5}, "abcdef");
        // Two of three go on, one does not.
        cluster.kill(2);
        cluster.append_everywhere("g");
        cluster.kill(3);
        CHECK(!cluster.append(0, "h", 3000));
    }
}

TEST_CASE("all members restart with their membership in the log") {
    MemberCluster cluster(1, 3);
    cluster.create();
    cluster.add(2);
    cluster.add(3);
    cluster.append_everywhere("a");
    cluster.wait_for({1, 2, 3}, "1 2 3");
    for (const std::uint32_t node : {1u, 2u, 3u}) {
        cluster.kill(node);
    }
    for (const std::uint32_t node : {1u, 2u, 3u}) {
        cluster.start(node);
        CHECK(cluster.members(node, 0) == "1 2 3");
    }
    cluster.append_everywhere("b");
    cluster.wait_for({1, 2, 3}, "1 2 3");
    check_content(cluster, {1, 2, 3}, "ab");
    // Addresses come from the log too: the founder's file names nobody else.
    cluster.restart(1);
    cluster.kill(2);
    cluster.append_everywhere("c");
}

TEST_CASE("a learner takes the log and counts for nothing") {
    MemberCluster cluster(2, 3);
    cluster.create();
    cluster.do_change(Step::add_learner, 3);
    cluster.append_everywhere("a");
    cluster.wait_for({1, 2, 3}, "1 2 +3");
    const std::uint32_t leader = cluster.wait_for_leader(0);
    cluster.kill(3 - leader);
    CHECK(!cluster.append(0, "b", 2000));
    cluster.start(3 - leader);
    cluster.append_everywhere("c");
    CHECK(cluster.leader(0) != 3);
}

TEST_CASE("an emptied node is another member: it counts only once it was replaced") {
    MemberCluster cluster(3, 3);
    cluster.create();
    cluster.append_everywhere("a");
    cluster.wait_for({1, 2, 3}, "1 2 3");
    cluster.wipe(3);
    cluster.run(2000);
    CHECK(cluster.members(3, 0) == "");
    CHECK(cluster.machine(3, 0).applied().index.value == 0);  // it was sent nothing
    CHECK(cluster.shard(1).strange_groups() + cluster.shard(3).strange_groups() == 0);
    // 1 and 2 go on; one of them and the emptied one do not.
    cluster.append_everywhere("b");
    cluster.kill(2);
    CHECK(!cluster.append(0, "x", 2000));
    CHECK(!cluster.append(1, "x", 2000));
    CHECK(has_event(cluster, ShardEvent::Kind::member_unheard));
    cluster.start(2);
    cluster.wait_for({1, 2}, "1 2 3");
    const api::ChangeMemberCall again = cluster.change(0, Step::add_learner, 3);
    std::uint64_t number = 0;
    CHECK(cluster.refusal(0, again, &number) == api::Refusal::member_other_storage);
    CHECK(number == 102);
    cluster.do_change(Step::remove, 3);
    cluster.add(3);
    cluster.wait_for({1, 2, 3}, "1 2 3");
    cluster.kill(1);
    cluster.append_everywhere("c");
    const std::string content = cluster.content(3, 0);
    CHECK(content == cluster.content(2, 0));
    CHECK(content.substr(0, 2) == "ab");
    CHECK(content.back() == 'c');
    // A removal of the old storage, asked once more, is done already.
    api::ChangeMemberCall old = cluster.change(0, Step::remove, 3);
    old.incarnation = 102;
    CHECK(cluster.refusal(0, old) == api::Refusal::none);
    CHECK(cluster.members(2, 0) == "1 2 3");
}

TEST_CASE("an emptied node that reads of its old self in the log does not vote") {
    // Node 1 was alone once: what it reads first says that it is the only voter.
    MemberCluster cluster(1, 3);
    cluster.create();
    cluster.append_everywhere("a");
    cluster.add(2);
    cluster.add(3);
    // 2 alone for a while, with 1 and 3 out.
    cluster.do_change(Step::remove, 1);
    cluster.do_change(Step::remove, 3);
    cluster.append_everywhere("b");
    cluster.add(1);
    cluster.add(3);
    cluster.do_change(Step::remove, 2);
    cluster.wait_for({1, 3}, "1 3");
    cluster.wipe(2);
    // The log that 2 is sent has itself as the only voter in its middle.
    cluster.do_change(Step::add_learner, 2);
    for (int i = 0; i < 60; ++i) {
        cluster.cut(2, i % 2 == 0);
        cluster.run(i % 2 == 0 ? 700 : 3);
        for (std::uint32_t group = 0; group < MemberCluster::groups; ++group) {
            CHECK(!cluster.replica(2, group).is_leader());
        }
    }
    cluster.cut(2, false);
    cluster.do_change(Step::promote, 2);
    cluster.wait_for({1, 2, 3}, "1 2 3");
    CHECK(has_event(cluster, ShardEvent::Kind::member_is_stranger));
}

TEST_CASE("a leader can be removed") {
    MemberCluster cluster(3, 3);
    cluster.create();
    cluster.append_everywhere("a");
    for (std::uint32_t group = 0; group < MemberCluster::groups; ++group) {
        const std::uint32_t leader = cluster.wait_for_leader(group);
        const std::optional<api::Answer> answer =
            cluster.ask(leader, group, cluster.change(group, Step::remove, leader));
        REQUIRE(answer);
        CHECK(std::holds_alternative<api::ChangeMemberReply>(*answer));
        cluster.run_until([&] {
            const std::uint32_t next = cluster.leader(group);
            return next != 0 && next != leader;
        });
        REQUIRE(cluster.append(group, "b"));
        CHECK(cluster.members(cluster.leader(group), group).find(std::to_string(leader)) ==
              std::string::npos);
    }
}

TEST_CASE("changes that cannot be are refused, and those that are already so are not") {
    MemberCluster cluster(3, 5);
    cluster.create();
    cluster.append_everywhere("a");
    cluster.wait_for({1, 2, 3}, "1 2 3");
    const std::uint32_t leader = cluster.wait_for_leader(0);
    const std::uint32_t other = leader == 1 ? 2 : 1;
    const std::uint32_t third = 6 - leader - other;

    CHECK(cluster.refusal(0, cluster.change(0, Step::promote, 4)) == api::Refusal::member_unknown);
    CHECK(cluster.refusal(0, cluster.change(0, Step::remove, 4)) == api::Refusal::none);
    CHECK(cluster.refusal(0, cluster.change(0, Step::promote, other)) == api::Refusal::none);
    CHECK(cluster.refusal(0, cluster.change(0, Step::add_learner, other)) == api::Refusal::none);
    CHECK(cluster.members(leader, 0) == "1 2 3");
    api::ChangeMemberCall bad = cluster.change(0, Step::add_learner, 4);
    bad.incarnation = 0;
    CHECK(cluster.refusal(0, bad) == api::Refusal::member_invalid);
    bad = cluster.change(0, Step::add_learner, 4);
    bad.shards = 0;
    CHECK(cluster.refusal(0, bad) == api::Refusal::member_invalid);
    bad = cluster.change(0, Step::add_learner, 4);
    bad.address = {};
    CHECK(cluster.refusal(0, bad) == api::Refusal::member_invalid);
    bad = cluster.change(0, Step::add_learner, other);
    bad.shards = 2;
    CHECK(cluster.refusal(0, bad) == api::Refusal::member_invalid);

    // A member moves: only what is known of it changes.
    bad = cluster.change(0, Step::add_learner, other);
    bad.address = "10.9.9.9:1";
    CHECK(cluster.refusal(0, bad) == api::Refusal::none);
    CHECK(cluster.members(leader, 0) == "1 2 3");

    // A learner that is down has not caught up.
    CHECK(cluster.refusal(0, cluster.change(0, Step::add_learner, 4)) == api::Refusal::none);
    cluster.kill(4);
    cluster.append_everywhere("b");
    cluster.run(500);
    CHECK(cluster.refusal(0, cluster.change(0, Step::promote, 4)) ==
          api::Refusal::member_not_caught_up);

    // With one of three down the other two are all there is.
    cluster.kill(third);
    cluster.run(500);
    REQUIRE(cluster.leader(0) == leader);
    CHECK(cluster.refusal(0, cluster.change(0, Step::remove, other)) ==
          api::Refusal::member_quorum);
    CHECK(cluster.refusal(0, cluster.change(0, Step::remove, third)) == api::Refusal::none);
    CHECK(cluster.append(0, "c"));
}

TEST_CASE("who no group names any more is dismissed by leaders, and nobody else is") {
    MemberCluster cluster(3, 4);
    cluster.create();
    cluster.append_everywhere("a");
    cluster.do_change(0, Step::remove, 3);
    constexpr auto while_ms = static_cast<std::uint32_t>(base::limits::stranger_link_ms * 2);
    const auto dismissed = [&cluster](std::uint32_t other) {
        const std::uint64_t incarnation = cluster.info(other).incarnation;
        bool any = false;
        for (std::uint32_t node = 1; node <= 3; ++node) {
            any = any || cluster.dismisses(node, other, incarnation);
        }
        return any;
    };
    // The other group still names it.
    cluster.run(while_ms);
    CHECK(!dismissed(3));
    cluster.do_change(1, Step::remove, 3);
    cluster.run(while_ms);
    CHECK(dismissed(3));
    CHECK(!cluster.dismisses(3, 1, cluster.info(1).incarnation));
    CHECK((!dismissed(1) && !dismissed(2)));
}

TEST_CASE("any node takes a change and passes it on to the leader") {
    MemberCluster cluster(3, 4);
    cluster.create();
    cluster.wait_for({1, 2, 3}, "1 2 3");
    const std::uint32_t leader = cluster.wait_for_leader(0);
    const std::uint32_t other = leader % 3 + 1;
    const auto ask = [&](Step step, std::uint32_t node) {
        const std::optional<api::Answer> answer =
            cluster.ask(other, 0, cluster.change(0, step, node));
        REQUIRE(answer);
        return *answer;
    };
    const api::Answer added = ask(Step::add_learner, 4);
    REQUIRE(std::holds_alternative<api::ChangeMemberReply>(added));
    CHECK(std::get<api::ChangeMemberReply>(added).changed);
    CHECK(cluster.members(leader, 0) == "1 2 3 +4");
    const api::Answer again = ask(Step::add_learner, 4);
    REQUIRE(std::holds_alternative<api::ChangeMemberReply>(again));
    CHECK(!std::get<api::ChangeMemberReply>(again).changed);
    CHECK(std::get<api::ChangeMemberReply>(again).index ==
          std::get<api::ChangeMemberReply>(added).index);
    // Its refusals come back as they are.
    cluster.kill(4);
    cluster.append_everywhere("a");
    cluster.run(500);
    const api::Answer behind = ask(Step::promote, 4);
    REQUIRE(std::holds_alternative<api::Refused>(behind));
    CHECK(std::get<api::Refused>(behind).why == api::Refusal::member_not_caught_up);
    CHECK(std::get<api::Refused>(behind).numbers[0] > 0);
    CHECK(cluster.shard(other).counters().forwards_sent == 3);
    CHECK(cluster.shard(other).counters().forwards_failed == 0);
}

TEST_CASE("a node that is no member says at once that it does not lead") {
    MemberCluster cluster(1, 2);
    cluster.create();
    cluster.run(2000);
    const auto answer =
        cluster.ask(2, 0, cluster.change(0, MemberCluster::Step::add_learner, 2), 20);
    REQUIRE(answer);
    REQUIRE(std::holds_alternative<api::Refused>(*answer));
    CHECK(std::get<api::Refused>(*answer).why == api::Refusal::not_leader);
    CHECK(std::get<api::Refused>(*answer).numbers[0] == 0);
    cluster.add(2);
    cluster.wait_for({1, 2}, "1 2");
}

TEST_CASE("a forwarded write outlives the end of another node's link") {
    // The first place in the others' lists becomes free. Answers the leader.
    const auto lose_first = [](MemberCluster& cluster) {
        cluster.create();
        cluster.append_everywhere("a");
        cluster.do_change(Step::remove, 1);
        const std::uint32_t leader = cluster.wait_for_leader(0);
        REQUIRE(leader != 1);
        cluster.wait_for({2, 3, 4, 5}, "2 3 4 5");
        cluster.kill(1);
        return leader;
    };
    // When that happens depends on the beats; two clusters of one history do the same.
    std::uint32_t known_ms = 0;
    {
        MemberCluster scout(5, 5);
        const std::uint32_t leader = lose_first(scout);
        const std::uint32_t other = leader == 5 ? 4 : 5;
        while (scout.knows(other, 1)) {
            REQUIRE(known_ms <= base::limits::stranger_link_ms);
            scout.run(1);
            ++known_ms;
        }
    }
    MemberCluster cluster(5, 5);
    const std::uint32_t leader = lose_first(cluster);
    cluster.run(known_ms - 60);
    REQUIRE(cluster.leader(0) == leader);
    const std::uint32_t other = leader == 5 ? 4 : 5;
    const auto part = [&](bool off) {
        for (std::uint32_t node = 2; node <= 5; ++node) {
            if (node != leader && node != other) {
                cluster.cut(node, off);
            }
        }
    };
    CHECK((cluster.knows(other, 1) && cluster.knows(leader, 1)));
    part(true);
    api::AppendCall append;
    const std::string name = MemberCluster::stream(0);
    append.key = cluster.key(0, name);
    append.content_type = "text/plain";
    append.has_content_type = true;
    append.body = base::as_bytes(std::string_view("b"));
    CHECK(!cluster.ask(other, 0, append, 20));
    CHECK(cluster.knows(other, 1));
    cluster.run(80);
    CHECK(!cluster.knows(other, 1));
    part(false);
    cluster.run(1000);
    CHECK(!cluster.knows(leader, 1));
    CHECK(cluster.leader(0) == leader);
    CHECK(cluster.content(other, 0) == "ab");
    CHECK(cluster.shard(other).counters().forwards_sent == 1);
    CHECK(cluster.shard(other).counters().forwards_failed == 0);
    cluster.run(static_cast<std::uint32_t>(base::limits::forward_timeout_ms));
    CHECK(cluster.shard(other).counters().forwards_failed == 0);
    // It comes back and takes the free place.
    cluster.start(1);
    cluster.add(1);
    cluster.wait_for({1, 2, 3, 4, 5}, "1 2 3 4 5");
    append.body = base::as_bytes(std::string_view("c"));
    const std::optional<api::Answer> answer = cluster.ask(1, 0, append);
    REQUIRE(answer);
    CHECK(std::holds_alternative<api::AppendReply>(*answer));
    CHECK(cluster.content(1, 0) == "abc");
}

TEST_CASE("a membership comes with a snapshot, to a restart and to who starts empty") {
    MemberCluster cluster(1, 4, 1, true);
    cluster.create();
    cluster.add(2);
    cluster.wait_for({1, 2}, "1 2");
    const auto forgotten = [&](std::uint32_t node, std::uint32_t group) {
        return cluster.replica(node, group).log().snapshot().index;
    };
    // Until the entries that set the membership are behind the snapshots.
    std::string all;
    const auto write_until_forgotten = [&](std::uint32_t node) {
        const auto end = cluster.machine(node, 0).applied().index;
        for (int i = 0; i < 400 && (forgotten(node, 0) < end || forgotten(node, 1) < end); ++i) {
            const std::string body(2000, static_cast<char>('a' + i % 26));
            cluster.append_everywhere(body);
            all += body;
            cluster.run(20);
        }
        REQUIRE(forgotten(node, 0) >= end);
    };
    write_until_forgotten(1);
    write_until_forgotten(2);
    for (const std::uint32_t node : {1u, 2u}) {
        cluster.kill(node);
    }
    for (const std::uint32_t node : {2u, 1u}) {
        cluster.start(node);
        CHECK(cluster.members(node, 0) == "1 2");
    }
    cluster.append_everywhere("x");
    all += "x";

    // Nothing in the logs that are left says that it is a learner.
    cluster.kill(3);
    cluster.do_change(Step::add_learner, 3);
    write_until_forgotten(1);
    write_until_forgotten(2);
    cluster.start(3);
    cluster.wait_for({1, 2, 3}, "1 2 +3");
    CHECK(cluster.shard(3).counters().snapshots_installed == MemberCluster::groups);
    CHECK(cluster.machine(3, 0).membership_index() == cluster.machine(1, 0).membership_index());
    check_content(cluster, {3}, all);
    cluster.restart(3);
    CHECK(cluster.members(3, 0) == "1 2 +3");
    cluster.do_change(Step::promote, 3);
    cluster.do_change(Step::remove, 1);
    cluster.kill(1);
    cluster.restart(3);
    cluster.wait_for({2, 3}, "2 3");
    cluster.append_everywhere("y");
    check_content(cluster, {2, 3}, all + "y");
}

TEST_CASE("one change at a time; whoever asks for the one under way waits for it") {
    MemberCluster cluster(3, 5);
    cluster.create();
    cluster.do_change(Step::add_learner, 4);
    cluster.wait_for({1, 2, 3, 4}, "1 2 3 +4");
    const std::uint32_t leader = cluster.wait_for_leader(0);
    // Nothing is committed while the others are away for less than it takes to miss them.
    for (std::uint32_t node = 1; node <= 3; ++node) {
        cluster.cut(node, node != leader);
    }
    CHECK(!cluster.ask(leader, 0, cluster.change(0, Step::promote, 4), 20));
    CHECK(!cluster.ask(leader, 0, cluster.change(0, Step::promote, 4), 20));
    CHECK(cluster.refusal(0, cluster.change(0, Step::add_learner, 5)) ==
          api::Refusal::member_change_under_way);
    for (std::uint32_t node = 1; node <= 3; ++node) {
        cluster.cut(node, false);
    }
    CHECK(cluster.refusal(0, cluster.change(0, Step::promote, 4)) == api::Refusal::none);
    cluster.run_until([&] { return cluster.members(leader, 0) == "1 2 3 4"; });
}

TEST_CASE("a follower that was away hears of members it does not know") {
    MemberCluster cluster(3, 5);
    cluster.create();
    cluster.append_everywhere("a");
    cluster.wait_for({1, 2, 3}, "1 2 3");
    cluster.cut(2, true);
    cluster.run(500);
    cluster.add(4);
    cluster.add(5);
    cluster.do_change(Step::remove, 1);
    cluster.kill(1);
    cluster.kill(3);
    cluster.run(500);
    CHECK(cluster.members(2, 0) == "1 2 3");
    CHECK(!cluster.append(0, "x", 1000));  // 4 and 5 of four
    // Only 2 can help, and all it hears of are strangers.
    cluster.cut(2, false);
    cluster.append_everywhere("b");
    cluster.wait_for({2, 4, 5}, "2 3 4 5");
}

TEST_CASE("a change goes on whoever is killed under way") {
    // Of each step's messages another one is the last before the kill.
    for (std::uint32_t after = 0; after < 12; ++after) {
        for (const Step step : {Step::add_learner, Step::promote, Step::remove}) {
            MemberCluster cluster(3, 4);
            cluster.create();
            if (step == Step::promote) {
                cluster.do_change(Step::add_learner, 4);
                cluster.wait_for({1, 2, 3, 4}, "1 2 3 +4");
            }
            cluster.append_everywhere("a");
            const std::uint32_t leader = cluster.wait_for_leader(0);
            const std::uint32_t node = step != Step::remove ? 4 : leader % 3 + 1;
            static_cast<void>(cluster.ask(leader, 0, cluster.change(0, step, node), after));
            cluster.kill(leader);
            cluster.run(1500);
            cluster.start(leader);
            for (std::uint32_t group = 0; group < MemberCluster::groups; ++group) {
                cluster.do_change(group, step, node);
            }
            const std::string wanted = step == Step::add_learner ? "1 2 3 +4"
                                       : step == Step::promote   ? "1 2 3 4"
                                       : node == 1               ? "2 3"
                                       : node == 2               ? "1 3"
                                                                 : "1 2";
            const std::vector<std::uint32_t> rest = step != Step::remove
                                                        ? std::vector<std::uint32_t>{1, 2, 3, 4}
                                                    : node == 1 ? std::vector<std::uint32_t>{2, 3}
                                                    : node == 2 ? std::vector<std::uint32_t>{1, 3}
                                                                : std::vector<std::uint32_t>{1, 2};
            cluster.append_everywhere("b");
            cluster.wait_for(rest, wanted);
            check_content(cluster, rest, "ab");
        }
    }
}

}  // namespace ursula::shard::test
