#include "admin/health_report.h"

#include <algorithm>
#include <map>
#include <set>

namespace ursula::admin {

namespace {

std::string counted(std::uint64_t count, std::string_view one, std::string_view many) {
    return std::to_string(count) + " " + std::string(count == 1 ? one : many);
}

// The words for a code of ops/health.h.
Reason explain(std::string_view code, const ops::HealthInput& health) {
    if (code == "starting") {
        return {code, "this node is still reading its log or looking for its cluster",
                "wait for it: ursulactl wait --healthy"};
    }
    if (code == "draining") {
        return {code, "this node was asked to stop and finishes what it accepted",
                "start it again when that was not meant"};
    }
    if (code == "core_stalled") {
        return {code,
                counted(health.stalled_shards, "core has", "cores have") +
                    " not made a turn for ten seconds",
                "look for turn.slow in the node's log; restart the node if it stays"};
    }
    if (code == "leaderless_groups") {
        return {code,
                counted(health.leaderless_groups, "group has", "groups have") + " no leader (of " +
                    std::to_string(health.groups) + "): their streams take no appends",
                "see which: ursulactl group ls; a majority of their nodes must run"};
    }
    if (code == "peers_unreachable") {
        return {code,
                counted(health.peer_links_down, "link", "links") + " to other nodes of " +
                    std::to_string(health.peer_links) + " are down",
                "see that they run and that their cluster.listen can be reached"};
    }
    if (code == "removed") {
        return {code,
                "this node was removed from the cluster, or its storage replaced: no group counts "
                "it as a member any more",
                "stop it; with an emptied data directory it can be added again: ursulactl cluster "
                "add, on another node"};
    }
    if (code == "disk_full") {
        return {code, "the disk is down to storage.reserve: appends are refused",
                "free space or lower storage.reserve; reads and deletes go on"};
    }
    if (code == "memory_full") {
        return {code, "storage.hot_bytes is used up: appends are refused",
                "delete streams, raise storage.hot_bytes, or start with a data directory"};
    }
    return {code, std::string(code), "see the node's log"};
}

// Who is not yet, or no more, a voter of every group: a sentence, or nothing.
std::string half_members(const api::InspectReply& found) {
    std::map<base::NodeId, std::size_t> votes;
    std::size_t joint = 0;
    for (const api::GroupView& group : found.groups) {
        joint += group.joint ? 1 : 0;
        for (std::uint32_t i = 0; i < group.member_count; ++i) {
            votes[group.members[i].node] += group.members[i].voter ? 1 : 0;
        }
    }
    std::string out;
    for (const auto& [node, groups] : votes) {
        if (groups < found.groups.size()) {
            out += (out.empty() ? "node " : ", node ") + std::to_string(node.value) + " votes in " +
                   std::to_string(groups) + " of " +
                   counted(found.groups.size(), "group", "groups");
        }
    }
    if (out.empty() && joint > 0) {
        out = counted(joint, "group is", "groups are") + " between two memberships";
    }
    return out;
}

}  // namespace

std::string_view name_of(ops::HealthStatus status) {
    switch (status) {
        case ops::HealthStatus::ok:
            return "ok";
        case ops::HealthStatus::degraded:
            return "degraded";
        case ops::HealthStatus::down:
            return "down";
    }
    return {};
}

std::uint32_t leaderless(const NodeFacts& facts, const api::InspectReply& found) {
    if (!facts.started) {
        return facts.health.groups;
    }
    return static_cast<std::uint32_t>(
        std::count_if(found.groups.begin(), found.groups.end(),
                      [](const api::GroupView& group) { return group.leader == base::NodeId{}; }));
}

bool is_removed(const NodeFacts& facts, const api::InspectReply& found) {
    if (facts.health.removed) {
        return true;
    }
    bool any = false;
    for (const api::GroupView& group : found.groups) {
        for (std::uint32_t i = 0; i < group.member_count; ++i) {
            const api::GroupMember& member = group.members[i];
            any = true;
            if (member.node == facts.cluster->self && (member.voter || !member.outgoing)) {
                return false;
            }
        }
    }
    return any;
}

HealthReport report_health(const NodeFacts& facts, const api::InspectReply& found) {
    ops::HealthInput input = facts.health;
    input.leaderless_groups = leaderless(facts, found);
    if (!input.recovered) {
        input.leaderless_groups = 0;  // "starting" says it already
    }
    input.removed = is_removed(facts, found);
    const ops::Health health = ops::assess_health(input);
    HealthReport report;
    report.status = health.status;
    for (const std::string_view code : health.reasons) {
        report.reasons.push_back(explain(code, input));
    }
    if (input.removed) {
        return report;  // whom it hears says nothing any more
    }
    std::set<base::NodeId> missed;  // of a node with two storages one is enough
    for (const api::NodeView& node : found.nodes) {
        if (!node.up) {
            missed.insert(node.node);
        }
    }
    std::string nodes;
    for (const base::NodeId node : missed) {
        nodes += (nodes.empty() ? "" : ", ") + std::to_string(node.value);
    }
    if (!nodes.empty()) {
        report.reasons.push_back({"node_unreachable", "this node does not hear node " + nodes,
                                  "see that it runs and that its cluster.listen can be reached; "
                                  "when its data directory is lost: ursulactl cluster replace"});
        report.status = std::max(report.status, ops::HealthStatus::degraded);
    }
    if (const std::string half = half_members(found); !half.empty()) {
        report.reasons.push_back({"members_change",
                                  half + ": a change of members is under way, or stopped halfway",
                                  "give the same command once more, add, remove or replace; see "
                                  "ursulactl cluster members"});
        report.status = std::max(report.status, ops::HealthStatus::degraded);
    }
    return report;
}

}  // namespace ursula::admin
