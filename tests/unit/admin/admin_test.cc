// What is made of the shards' answers: a cluster of three as one of its nodes sees it.
#include <doctest/doctest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "admin/health_report.h"
#include "admin/members.h"
#include "admin/render.h"
#include "admin/task.h"

namespace ursula::admin {

namespace {

using Json = nlohmann::json;

api::GroupView group_of_three(std::uint32_t id, std::uint32_t leader, std::uint32_t self) {
    api::GroupView group;
    group.group = base::GroupId(id);
    group.role = leader == self ? api::GroupRole::leader : api::GroupRole::follower;
    group.leader = base::NodeId(leader);
    group.term = base::Term(4);
    group.last = base::LogIndex(100);
    group.commit = base::LogIndex(90);
    group.applied = base::LogIndex(80);
    group.streams = 2;
    group.member_count = 3;
    for (std::uint32_t i = 0; i < 3; ++i) {
        api::GroupMember& member = group.members[i];
        member.node = base::NodeId(i + 1);
        member.voter = true;
        member.incarnation = 1001 + i;
        member.up = true;
        member.match_known = leader == self || i + 1 == self;
        member.match = base::LogIndex(member.match_known ? 100 - 10 * i : 0);
    }
    return group;
}

api::NodeView node_view(std::uint32_t id, bool up, std::string_view client) {
    const std::string address = "10.0.0." + std::to_string(id) + ":4439";
    return {base::NodeId(id),
            up,
            2,
            1000 + id,
            base::Slice::copy_of(base::as_bytes(address)),
            base::Slice::copy_of(base::as_bytes(client))};
}

struct Three {
    ClusterView cluster{"prod",
                        base::NodeId(1),
                        {{base::NodeId(1), "10.0.0.1:4439", "http://10.0.0.1:4437"},
                         {base::NodeId(2), "10.0.0.2:4439", "http://10.0.0.2:4437"},
                         {base::NodeId(3), "10.0.0.3:4439", ""}}};
    NodeFacts facts;
    api::InspectReply found;
    Three() {
        facts.cluster = &cluster;
        facts.version = "1.2.3";
        facts.started = true;
        facts.health.recovered = true;
        facts.health.shards = 1;
        facts.health.groups = 4;
        found.groups = {group_of_three(0, 1, 1), group_of_three(1, 2, 1), group_of_three(2, 2, 1),
                        group_of_three(3, 0, 1)};
        found.nodes = {node_view(1, true, "http://10.0.0.1:4437"),
                       node_view(2, true, "http://10.0.0.2:4437"), node_view(3, false, "")};
    }
    Json status() const { return Json::parse(render_status(facts, found)); }
};

}  // namespace

TEST_CASE("all nodes are rows, also those that are gone") {
    const Three three;
    const Json status = three.status();
    CHECK(status["schema"] == 1);
    CHECK(status["cluster"] == "prod");
    CHECK(status["version"] == "1.2.3");
    REQUIRE(status["nodes"].size() == 3);
    const Json& nodes = status["nodes"];
    CHECK(nodes[0]["id"] == 1);
    CHECK(nodes[0]["address"] == "10.0.0.1:4439");
    CHECK(nodes[0]["client"] == "http://10.0.0.1:4437");
    CHECK(nodes[0]["reachable"] == true);
    CHECK(nodes[0]["state"] == "ready");
    CHECK(nodes[0]["leads"] == 1);
    CHECK(nodes[0]["replicas"] == 4);
    CHECK(nodes[1]["reachable"] == true);
    CHECK(nodes[1]["leads"] == 2);
    CHECK(nodes[2]["reachable"] == false);
    CHECK(nodes[2]["state"] == "unreachable");
    CHECK(nodes[2]["leads"] == 0);
    CHECK(nodes[2]["client"].is_null());
    CHECK(status["groups"]["total"] == 4);
    CHECK(status["groups"]["leaderless"] == 1);
    CHECK(status["streams"] == 8);
    CHECK(status["health"] == "degraded");
}

TEST_CASE("rows are those of the groups' members: an added node is there, a removed one is not") {
    Three three;
    three.found.groups[0].member_count = 4;
    three.found.groups[0].members[3].node = base::NodeId(9);
    three.found.nodes.push_back(node_view(9, false, "http://10.0.0.9:4437"));
    Json status = three.status();
    REQUIRE(status["nodes"].size() == 4);
    CHECK(status["nodes"][3]["id"] == 9);
    CHECK(status["nodes"][3]["address"] == "10.0.0.9:4439");
    CHECK(status["nodes"][3]["client"] == "http://10.0.0.9:4437");
    CHECK(status["nodes"][3]["reachable"] == false);
    CHECK(status["nodes"][3]["replicas"] == 1);

    for (api::GroupView& group : three.found.groups) {
        group.member_count = 2;
        group.leader = base::NodeId(1);
    }
    three.found.nodes.resize(2);
    status = three.status();
    REQUIRE(status["nodes"].size() == 2);
    CHECK(status["nodes"][1]["id"] == 2);
    CHECK(status["health"] == "ok");

    // Nobody can be asked yet: what the directory says.
    three.found = {};
    three.facts.started = false;
    CHECK(three.status()["nodes"].size() == 3);
}

TEST_CASE("a node that no group counts any more says so") {
    Three three;
    three.cluster.self = base::NodeId(3);
    for (api::GroupView& group : three.found.groups) {
        group.members[2].voter = false;
        group.members[2].outgoing = true;
    }
    REQUIRE(is_removed(three.facts, three.found));
    CHECK(three.status()["nodes"][2]["state"] == "removed");
    const HealthReport report = report_health(three.facts, three.found);
    CHECK(report.status == ops::HealthStatus::down);
    CHECK(std::any_of(report.reasons.begin(), report.reasons.end(),
                      [](const Reason& reason) { return reason.code == "removed"; }));
    for (api::GroupView& group : three.found.groups) {
        group.member_count = 2;
    }
    CHECK(is_removed(three.facts, three.found));
    CHECK(three.status()["nodes"].size() == 3);
    three.found.groups[1].member_count = 3;
    CHECK(is_removed(three.facts, three.found));
    three.found.groups[1].members[2].outgoing = false;  // a learner
    CHECK(!is_removed(three.facts, three.found));
    three.found.groups.clear();
    CHECK(!is_removed(three.facts, three.found));
    three.facts.health.removed = true;
    CHECK(three.status()["nodes"][2]["state"] == "removed");
}

TEST_CASE("members: who is what in how many groups, each storage of an id by itself") {
    Three three;
    three.found.groups[0].members[2].voter = false;
    three.found.groups[1].members[2].voter = false;
    three.found.groups[1].members[2].outgoing = true;
    three.found.groups[1].joint = true;
    three.found.groups[3].members[2].incarnation = 5;
    three.found.nodes.push_back(node_view(3, true, ""));
    three.found.nodes.back().incarnation = 5;
    const Json members = Json::parse(render_members(three.facts, three.found));
    CHECK(members["schema"] == 1);
    CHECK(members["groups"] == 4);
    CHECK(members["changing"] == 1);
    REQUIRE(members["members"].size() == 4);
    const Json& one = members["members"][0];
    CHECK(one["id"] == 1);
    CHECK(one["address"] == "10.0.0.1:4439");
    CHECK(one["client"] == "http://10.0.0.1:4437");
    CHECK(one["incarnation"] == "1001");
    CHECK(one["shards"] == 2);
    CHECK(one["voter"] == 4);
    CHECK(one["leads"] == 1);
    CHECK(one["reachable"] == true);
    const Json& emptied = members["members"][2];
    CHECK(emptied["incarnation"] == "5");
    CHECK(emptied["voter"] == 1);
    CHECK(emptied["reachable"] == true);
    const Json& old = members["members"][3];
    CHECK(old["id"] == 3);
    CHECK(old["client"].is_null());
    CHECK(old["voter"] == 1);
    CHECK(old["learner"] == 1);
    CHECK(old["leaving"] == 1);
    CHECK(old["reachable"] == false);
}

TEST_CASE("a change of members: what is one and what is none") {
    const auto read = [](std::string_view body) {
        return read_member_change(base::as_bytes(body));
    };
    const auto add =
        read(R"({"step":"add_learner","node":4,"incarnation":"18446744073709551615","shards":2,)"
             R"("address":"10.0.0.4:4439","client":"http://10.0.0.4:4437"})");
    REQUIRE(add.has_value());
    const api::ChangeMemberCall call = add->call(base::GroupId(7));
    CHECK(call.group == base::GroupId(7));
    CHECK(call.step == api::ChangeMemberCall::Step::add_learner);
    CHECK(call.node == base::NodeId(4));
    CHECK(call.incarnation == UINT64_MAX);
    CHECK(call.shards == 2);
    CHECK(call.address == "10.0.0.4:4439");
    CHECK(call.client == "http://10.0.0.4:4437");
    const auto remove = read(R"({"step":"remove","node":2})");
    REQUIRE(remove.has_value());
    CHECK(remove->step == api::ChangeMemberCall::Step::remove);
    CHECK(remove->incarnation == 0);
    for (const std::string_view body :
         {"",
          "{}",
          "[]",
          "4",
          R"({"step":"remove"})",
          R"({"node":2})",
          R"({"step":"go","node":2})",
          R"({"step":"remove","node":0})",
          R"({"step":"remove","node":-1})",
          R"({"step":"remove","node":"2"})",
          R"({"step":"remove","node":4294967296})",
          R"({"step":"remove","node":2,"more":1})",
          R"({"step":"remove","node":2,"incarnation":7})",
          R"({"step":"remove","node":2,"incarnation":""})",
          R"({"step":"remove","node":2,"incarnation":"7x"})",
          R"({"step":"remove","node":2,"incarnation":"18446744073709551616"})",
          R"({"step":"promote","node":2,"shards":0})",
          R"({"step":"promote","node":2,"address":1})",
          R"({"step":"promote","node":65536})",
          R"({"step":"add_learner","node":2,"address":"host.example:4439"})",
          R"({"step":"add_learner","node":2,"address":"10.0.0.1"})",
          R"({"step":"add_learner","node":2,"address":"10.0.0.1:0"})",
          R"({"step":"add_learner","node":2,"client":"10.0.0.1:4437"})",
          R"({"step":"add_learner","node":2,"client":"http://10.0.0.1:4437/"})",
          R"({"step":"add_learner","node":2,"client":"http://10.0.0.1:4437\nX: y"})"}) {
        CAPTURE(body);
        CHECK(!read(body).has_value());
    }
}

TEST_CASE("health: reasons with words and a next step") {
    Three three;
    HealthReport report = report_health(three.facts, three.found);
    CHECK(report.status == ops::HealthStatus::degraded);
    REQUIRE(report.reasons.size() == 2);
    CHECK(report.reasons[0].code == "leaderless_groups");
    CHECK(report.reasons[0].text.find("1 group has no leader (of 4)") == 0);
    CHECK(report.reasons[1].code == "node_unreachable");
    CHECK(report.reasons[1].text.find("node 3") != std::string::npos);

    // No leader anywhere: nothing can be written.
    for (api::GroupView& group : three.found.groups) {
        group.leader = {};
    }
    CHECK(report_health(three.facts, three.found).status == ops::HealthStatus::down);

    Three well;
    well.found.groups[3].leader = base::NodeId(3);
    well.found.nodes[2].up = true;
    CHECK(report_health(well.facts, well.found).status == ops::HealthStatus::ok);
    CHECK(report_health(well.facts, well.found).reasons.empty());

    // Somebody added or removed a node, and not in every group yet.
    Three half;
    half.found.groups[3].leader = base::NodeId(3);
    half.found.nodes[2].up = true;
    half.found.groups[1].members[2].voter = false;
    report = report_health(half.facts, half.found);
    CHECK(report.status == ops::HealthStatus::degraded);
    REQUIRE(report.reasons.size() == 1);
    CHECK(report.reasons[0].code == "members_change");
    CHECK(report.reasons[0].text.find("node 3 votes in 3 of 4 groups") == 0);
    half.found.groups[1].members[2].voter = true;
    half.found.groups[1].joint = true;
    report = report_health(half.facts, half.found);
    REQUIRE(report.reasons.size() == 1);
    CHECK(report.reasons[0].text.find("1 group is between two memberships") == 0);

    // Every code that ops/health.h can give has words of its own.
    ops::HealthInput& input = well.facts.health;
    input.draining = input.disk_full = input.memory_full = input.removed = true;
    input.stalled_shards = 1;
    for (const bool recovered : {true, false}) {
        input.recovered = recovered;
        for (const Reason& reason : report_health(well.facts, well.found).reasons) {
            CAPTURE(reason.code);
            CHECK(reason.text != reason.code);
            CHECK(!reason.next.empty());
        }
    }
    CHECK(report_health(well.facts, well.found).status == ops::HealthStatus::down);
}

TEST_CASE("a group: lag is known to its leader alone") {
    Three three;
    three.found.groups.resize(2);
    const Json groups = Json::parse(render_groups(three.facts, three.found))["groups"];
    CHECK(groups[0]["role"] == "leader");
    CHECK(groups[0]["lag"] == 20);
    CHECK(groups[0]["members"][2]["lag"] == 20);
    CHECK(groups[0]["members"][2]["match"] == 80);
    CHECK(groups[0]["members"][0]["role"] == "leader");
    CHECK(groups[0]["members"][0]["applied"] == 80);
    CHECK(groups[0]["members"][1]["applied"].is_null());
    CHECK(groups[1]["role"] == "follower");
    CHECK(groups[1]["leader"] == 2);
    CHECK(groups[1]["lag"].is_null());
    CHECK(groups[1]["members"][1]["role"] == "leader");
    CHECK(groups[1]["members"][1]["match"].is_null());
    CHECK(groups[1]["members"][0]["match"] == 100);
    three.found.groups[0].members[2].voter = false;
    three.found.groups[0].leader = {};
    const Json changed = Json::parse(render_groups(three.facts, three.found))["groups"][0];
    CHECK(changed["leader"].is_null());
    CHECK(changed["members"][2]["role"] == "learner");
}

TEST_CASE("a stream of any content type is JSON") {
    Three three;
    three.found.groups.resize(1);
    three.found.streams = {{{base::GroupId(0), base::LogIndex(7), 2},
                            12,
                            true,
                            false,
                            api::Expiry::Kind::ttl,
                            3'600'000,
                            3'599'000}};
    const std::string type = "text/\xff\"\x01";
    three.found.content_type = base::Slice::copy_of(base::as_bytes(type));
    const Json stream = Json::parse(render_stream(three.facts, "demo/\"x", three.found));
    CHECK(stream["stream"] == "demo/\"x");
    CHECK(stream["tail"] == 12);
    CHECK(stream["next_offset"] == "0000000000000000_0000000000000012");
    CHECK(stream["incarnation"] == "0.7.2");
    CHECK(stream["closed"] == true);
    CHECK(stream["ttl_s"] == 3600);
    CHECK(stream["expires_in_ms"] == 3'599'000);
    CHECK(stream["confirmed"] == false);
    CHECK(stream["replicas"].size() == 3);
    CHECK(stream["content_type"].get<std::string>().find("\"") != std::string::npos);
}

TEST_CASE("what a hand-over comes to") {
    const Three three;
    const auto status_of = [&](api::TransferReply::Kind kind, std::uint32_t leader = 2) {
        Request request;
        request.method = Method::post;
        request.path = "/v1/groups/3/transfer";
        const std::string body = "{\"to\": 3}";
        request.body = base::as_bytes(body);
        request.may_change = true;
        request.groups = 4;
        Task task;
        REQUIRE(!task.begin(request, three.facts));
        REQUIRE(!task.ask().every_shard);
        CHECK(task.ask().group == base::GroupId(3));
        task.expect(1);
        api::Answer answer = api::TransferReply{kind, base::NodeId(leader), base::Term(1)};
        REQUIRE(task.take(answer));
        return task.finish(three.facts);
    };
    using Kind = api::TransferReply::Kind;
    CHECK(status_of(Kind::begun).status == 202);
    CHECK(status_of(Kind::leads_already).status == 200);
    for (const Kind kind : {Kind::not_leader, Kind::not_a_voter, Kind::not_up, Kind::under_way}) {
        CHECK(status_of(kind).status == 409);
        CHECK(!status_of(kind).hint.empty());
    }
    CHECK(status_of(Kind::not_leader).title == "node 2 leads group 3, not this node");
    CHECK(status_of(Kind::not_leader, 0).code == "leaderless");
}

}  // namespace ursula::admin
