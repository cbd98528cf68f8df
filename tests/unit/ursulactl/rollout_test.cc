#include "tools/ursulactl/rollout.h"

#include <doctest/doctest.h>

#include <deque>
#include <map>

#include "tools/ursulactl/member_plan.h"

namespace ursula::ctl {

namespace {

using std::chrono::milliseconds;

Reply done(bool changed) {
    Reply reply;
    reply.status = 200;
    reply.body = std::string("{\"changed\":") + (changed ? "true" : "false") + "}";
    return reply;
}

Reply refused(long status, const std::string& code) {
    Reply reply;
    reply.status = status;
    reply.body = "{\"code\":\"" + code + "\",\"title\":\"No: " + code + "\",\"hint\":\"h\"}";
    return reply;
}

// Groups that answer as they are told, once each; then that all is done.
struct Groups {
    Client client{Target{"", "http://h:1"}, GlobalFlags{}};
    std::map<std::string, std::deque<Reply>> answers;
    std::vector<std::string> asked;  // "path body"
    Rollout::Clock::time_point now{};

    Rollout rollout(std::vector<std::string> steps, std::uint32_t groups) {
        return {client, std::move(steps), groups,
                [this](const std::string& path, const std::string& body) {
                    asked.push_back(path + " " + body);
                    std::deque<Reply>& mine = answers[path];
                    if (mine.empty()) {
                        return done(true);
                    }
                    Reply reply = mine.front();
                    mine.pop_front();
                    return reply;
                }};
    }
    static std::string path(int group) {
        return "/admin/v1/groups/" + std::to_string(group) + "/members";
    }
};

int code_of(Rollout& rollout, Groups& groups, std::string& what) {
    try {
        static_cast<void>(rollout.round(groups.now));
    } catch (const Failure& failure) {
        what = failure.what();
        return failure.exit_code;
    }
    return exit_ok;
}

std::string group_json(const std::string& members, bool changing = false) {
    return std::string("{\"groups\":[{\"id\":7,\"changing\":") + (changing ? "true" : "false") +
           ",\"members\":[" + members + "]}]}";
}

std::string member(int node, bool up, bool voter = true, int incarnation = 1) {
    const auto word = [](bool value) { return std::string(value ? "true" : "false"); };
    return "{\"node\":" + std::to_string(node) + ",\"voter\":" + word(voter) +
           ",\"up\":" + word(up) + ",\"incarnation\":\"" + std::to_string(incarnation) + "\"}";
}

}  // namespace

TEST_CASE("every group takes every step in order, a few groups at a time") {
    Groups groups;
    Rollout rollout = groups.rollout({"add", "promote"}, 20);
    CHECK(rollout.round(groups.now));
    CHECK(rollout.groups_done() == 8);
    REQUIRE(groups.asked.size() == 16);
    CHECK(groups.asked[0] == Groups::path(0) + " add");
    CHECK(groups.asked[1] == Groups::path(0) + " promote");
    CHECK(groups.asked[2] == Groups::path(1) + " add");
    CHECK(rollout.round(groups.now));
    CHECK(rollout.round(groups.now));
    CHECK(rollout.done());
    CHECK(rollout.groups_changed() == 20);
    CHECK(groups.asked.size() == 40);
}

TEST_CASE("who has not caught up is asked again, and keeps only its own place") {
    Groups groups;
    groups.answers[Groups::path(0)] = {done(true), refused(409, "member_not_caught_up"),
                                       refused(409, "member_change_under_way"),
                                       refused(503, "no_leader"), refused(500, "outcome_unknown")};
    Reply late;
    late.trouble = Reply::Trouble::timeout;
    groups.answers[Groups::path(0)].push_back(late);
    Rollout rollout = groups.rollout({"add", "promote"}, 9);
    CHECK(rollout.round(groups.now));
    CHECK(rollout.waits_for() == "group 0: No: member_not_caught_up");
    CHECK(rollout.groups_done() == 7);
    CHECK(rollout.round(groups.now));  // the ninth group
    CHECK(rollout.groups_done() == 8);
    CHECK(!rollout.round(groups.now));
    CHECK(!rollout.round(groups.now));
    CHECK(!rollout.round(groups.now));
    CHECK(!rollout.done());
    CHECK(rollout.round(groups.now));
    CHECK(rollout.done());
    CHECK(rollout.waits_for().empty());
}

TEST_CASE("a change that is made again changes nothing and ends well") {
    Groups groups;
    groups.answers[Groups::path(0)] = {done(false), done(false)};
    groups.answers[Groups::path(1)] = {done(false), done(true)};
    Rollout rollout = groups.rollout({"add", "promote"}, 2);
    CHECK(rollout.round(groups.now));
    CHECK(rollout.done());
    CHECK(rollout.groups_changed() == 1);
}

TEST_CASE("what time does not mend ends it, and names the group") {
    std::string what;
    {
        Groups groups;
        groups.answers[Groups::path(1)] = {refused(409, "member_other_storage")};
        Rollout rollout = groups.rollout({"add"}, 4);
        CHECK(code_of(rollout, groups, what) == exit_conflict);
        CHECK(what == "group 1: No: member_other_storage");
    }
    {
        Groups groups;
        Reply gone;
        gone.trouble = Reply::Trouble::refused;
        groups.answers[Groups::path(0)] = {gone};
        Rollout rollout = groups.rollout({"add"}, 4);
        CHECK(code_of(rollout, groups, what) == exit_unreachable);
    }
    // A quorum may be there in a moment: a node that was just started is heard soon.
    Groups groups;
    for (int i = 0; i < 4; ++i) {
        groups.answers[Groups::path(0)].push_back(refused(409, "member_quorum"));
    }
    Rollout rollout = groups.rollout({"remove"}, 1);
    CHECK(code_of(rollout, groups, what) == exit_ok);
    groups.now += milliseconds(4'900);
    CHECK(code_of(rollout, groups, what) == exit_ok);
    CHECK(!rollout.done());
    groups.now += milliseconds(200);
    CHECK(code_of(rollout, groups, what) == exit_conflict);
    CHECK(what == "group 0: No: member_quorum");
}

TEST_CASE("what is left without a node") {
    const auto three = [](bool up1, bool up2, bool up3) {
        return group_json(member(1, up1) + "," + member(2, up2) + "," + member(3, up3));
    };
    Tolerance tolerance = weigh(three(true, true, true), 2, "1");
    CHECK(tolerance.before == 1);
    CHECK(tolerance.without == 0);
    CHECK(tolerance.trouble.empty());
    // The dead one may go, no other.
    tolerance = weigh(three(true, true, false), 3, "1");
    CHECK(tolerance.before == 0);
    CHECK(tolerance.without == 0);
    CHECK(tolerance.trouble.empty());
    tolerance = weigh(three(true, true, false), 2, "1");
    CHECK(tolerance.without == -1);
    CHECK(tolerance.trouble ==
          "group 7 would lose its quorum: of the 2 voters left 2 must be up with all data, and "
          "node 3 is not");
    CHECK(weigh(three(true, false, false), 3, "1").before == -1);
    CHECK(weigh(group_json(member(1, true)), 1, "1").trouble ==
          "node 1 is the last voter of group 7");
    // A learner takes nothing away, nor does another storage of the id.
    CHECK(weigh(group_json(member(1, true) + "," + member(2, true, false)), 2, "1").trouble == "");
    CHECK(weigh(group_json(member(1, true)), 1, "2").trouble.empty());
    CHECK(weigh(group_json(member(1, true), true), 1, "1").trouble.empty());
}

TEST_CASE("members: by id, with both storages of one that is being replaced") {
    const MemberList list = read_members(
        R"({"schema":1,"node":1,"cluster":null,"groups":64,"changing":0,"members":[)"
        R"({"id":1,"address":"10.0.0.1:4439","client":"http://a","incarnation":"11","shards":2,)"
        R"("voter":64,"learner":0,"leaving":0,"leads":64,"reachable":true},)"
        R"({"id":3,"address":"10.0.0.3:4439","client":null,"incarnation":"31","shards":1,)"
        R"("voter":60,"learner":0,"leaving":1,"leads":0,"reachable":false},)"
        R"({"id":3,"address":"10.0.0.3:4439","client":null,"incarnation":"32","shards":1,)"
        R"("voter":1,"learner":2,"leaving":0,"leads":0,"reachable":true}]})");
    CHECK(list.self == 1);
    CHECK(list.groups == 64);
    REQUIRE(list.of(3).size() == 2);
    CHECK(list.of(3)[0].incarnation == "31");
    CHECK(list.of(3)[0].client.empty());
    CHECK(list.of(3)[1].learner == 2);
    CHECK(list.of(2).empty());
    CHECK(add_body(list.of(1)[0], 2) ==
          R"({"step":"add_learner","node":1,"incarnation":"11","shards":2,)"
          R"("address":"10.0.0.1:4439","client":"http://a"})");
    CHECK(step_body("remove", 3, "31") == R"({"step":"remove","node":3,"incarnation":"31"})");
}

}  // namespace ursula::ctl
