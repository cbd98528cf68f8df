#include "admin/render.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "admin/health_report.h"

namespace ursula::admin {

namespace {

using Json = nlohmann::ordered_json;

constexpr int schema = 1;

// Names are UTF-8 already, content types need not be.
std::string text_of(const Json& json) {
    return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

// Null where there is none.
Json id_or_null(base::NodeId node) {
    return node == base::NodeId{} ? Json() : Json(node.value);
}

std::string_view name_of(api::GroupRole role) {
    switch (role) {
        case api::GroupRole::follower:
            return "follower";
        case api::GroupRole::pre_candidate:
            return "pre_candidate";
        case api::GroupRole::candidate:
            return "candidate";
        case api::GroupRole::leader:
            return "leader";
    }
    return {};
}

std::span<const api::GroupMember> members_of(const api::GroupView& group) {
    return {group.members.data(), group.member_count};
}

// Entries that the member's log is behind, as far as the leader knows; it alone knows.
Json lag_of(const api::GroupView& group, const api::GroupMember& member) {
    if (group.role != api::GroupRole::leader || !member.match_known) {
        return {};
    }
    return group.last > member.match ? group.last.value - member.match.value : 0;
}

Json member_json(const NodeFacts& facts, const api::GroupView& group,
                 const api::GroupMember& member) {
    const bool is_self = member.node == facts.cluster->self;
    Json json;
    json["node"] = member.node.value;
    json["role"] = member.node == group.leader       ? "leader"
                   : is_self && member.voter         ? std::string(name_of(group.role))
                   : member.voter || member.outgoing ? "follower"
                                                     : "learner";
    json["voter"] = member.voter || member.outgoing;
    json["up"] = member.up;
    json["incarnation"] = std::to_string(member.incarnation);
    json["match"] = member.match_known ? Json(member.match.value) : Json();
    json["applied"] = is_self ? Json(group.applied.value) : Json();
    json["lag"] = lag_of(group, member);
    return json;
}

Json members_json(const NodeFacts& facts, const api::GroupView& group) {
    Json members = Json::array();
    for (const api::GroupMember& member : members_of(group)) {
        members.push_back(member_json(facts, group, member));
    }
    return members;
}

Json group_json(const NodeFacts& facts, const api::GroupView& group) {
    Json json;
    json["id"] = group.group.value;
    json["shard"] = group.shard.value;
    json["role"] = name_of(group.role);
    json["leader"] = id_or_null(group.leader);
    json["term"] = group.term.value;
    json["commit"] = group.commit.value;
    json["applied"] = group.applied.value;
    json["last"] = group.last.value;
    Json lag;
    for (const api::GroupMember& member : members_of(group)) {
        const Json of_member = lag_of(group, member);
        if (!of_member.is_null() && (lag.is_null() || lag < of_member)) {
            lag = of_member;
        }
    }
    json["lag"] = lag;
    json["streams"] = group.streams;
    json["changing"] = group.joint;
    json["transfer_to"] = id_or_null(group.transfer);
    json["members"] = members_json(facts, group);
    return json;
}

std::string_view state_of_self(const NodeFacts& facts, const api::InspectReply& found) {
    const ops::HealthInput& health = facts.health;
    return is_removed(facts, found)    ? "removed"
           : !health.recovered         ? "starting"
           : health.draining           ? "draining"
           : health.stalled_shards > 0 ? "stalled"
                                       : "ready";
}

struct Seen {
    NodeRow row;
    bool heard = false;
    std::uint32_t leads = 0;
    std::uint32_t replicas = 0;
};

// By id: those that groups have as members, and this one. As long as the groups cannot be asked,
// those that the node's directory names.
std::map<std::uint32_t, Seen> nodes_of(const NodeFacts& facts, const api::InspectReply& found) {
    std::map<std::uint32_t, Seen> nodes;
    for (const NodeRow& row : facts.cluster->nodes) {
        if (found.nodes.empty() || row.id == facts.cluster->self) {
            nodes[row.id.value].row = row;
        }
    }
    for (const api::NodeView& node : found.nodes) {
        Seen& seen = nodes[node.node.value];
        seen.row = {node.node, std::string(base::as_text(node.address.bytes())),
                    std::string(base::as_text(node.client.bytes()))};
        seen.heard = seen.heard || node.up;
    }
    for (const api::GroupView& group : found.groups) {
        for (const api::GroupMember& member : members_of(group)) {
            ++nodes[member.node.value].replicas;
        }
        if (group.leader != base::NodeId{}) {
            ++nodes[group.leader.value].leads;
        }
    }
    return nodes;
}

Json nodes_json(const NodeFacts& facts, const api::InspectReply& found) {
    Json rows = Json::array();
    for (const auto& [id, seen] : nodes_of(facts, found)) {
        const bool is_self = id == facts.cluster->self.value;
        Json row;
        row["id"] = id;
        row["address"] = seen.row.address;
        row["client"] = seen.row.client.empty() ? Json() : Json(seen.row.client);
        row["reachable"] = is_self || seen.heard;
        row["state"] = is_self ? state_of_self(facts, found) : seen.heard ? "ready" : "unreachable";
        row["leads"] = seen.leads;
        row["replicas"] = seen.replicas;
        rows.push_back(std::move(row));
    }
    return rows;
}

Json reasons_json(const HealthReport& report) {
    Json reasons = Json::array();
    for (const Reason& reason : report.reasons) {
        Json json;
        json["code"] = reason.code;
        json["text"] = reason.text;
        json["next"] = reason.next;
        reasons.push_back(std::move(json));
    }
    return reasons;
}

Json begin(const NodeFacts& facts) {
    Json json;
    json["schema"] = schema;
    json["node"] = facts.cluster->self.value;
    return json;
}

Json groups_total(const NodeFacts& facts, const api::InspectReply& found) {
    Json json;
    json["total"] = facts.health.groups;
    json["leaderless"] = leaderless(facts, found);
    return json;
}

std::string offset_token(std::uint64_t offset) {
    char text[40];
    std::snprintf(text, sizeof text, "%016d_%016llu", 0, static_cast<unsigned long long>(offset));
    return text;
}

}  // namespace

std::string render_status(const NodeFacts& facts, const api::InspectReply& found) {
    const HealthReport report = report_health(facts, found);
    std::uint64_t streams = 0;  // every node has a replica of every group
    for (const api::GroupView& group : found.groups) {
        streams += group.streams;
    }
    Json json = begin(facts);
    json["cluster"] = facts.cluster->name.empty() ? Json() : Json(facts.cluster->name);
    json["version"] = facts.version;
    json["health"] = admin::name_of(report.status);
    json["reasons"] = reasons_json(report);
    json["uptime_seconds"] = facts.uptime_seconds;
    json["nodes"] = nodes_json(facts, found);
    json["groups"] = groups_total(facts, found);
    json["streams"] = streams;
    json["connections"] = facts.health.connections;
    json["live_readers"] = facts.health.live_readers;
    json["appended_bytes"] = facts.appended_bytes;
    Json storage;
    storage["memory_bytes"] = facts.memory_bytes;
    storage["disk_bytes"] = facts.disk_bytes;
    storage["free_bytes"] = facts.has_free_bytes ? Json(facts.free_bytes) : Json();
    json["storage"] = std::move(storage);
    return text_of(json);
}

std::string render_health(const NodeFacts& facts, const api::InspectReply& found) {
    const HealthReport report = report_health(facts, found);
    Json json = begin(facts);
    json["status"] = admin::name_of(report.status);
    json["reasons"] = reasons_json(report);
    json["groups"] = groups_total(facts, found);
    return text_of(json);
}

std::string render_groups(const NodeFacts& facts, const api::InspectReply& found) {
    Json json = begin(facts);
    Json groups = Json::array();
    for (const api::GroupView& group : found.groups) {
        groups.push_back(group_json(facts, group));
    }
    json["groups"] = std::move(groups);
    return text_of(json);
}

std::string render_group(const NodeFacts& facts, const api::InspectReply& found) {
    Json json = begin(facts);
    json.update(group_json(facts, found.groups.front()));
    return text_of(json);
}

std::string render_stream(const NodeFacts& facts, std::string_view name,
                          const api::InspectReply& found) {
    const api::GroupView& group = found.groups.front();
    const api::StreamView& stream = found.streams.front();
    Json json = begin(facts);
    json["stream"] = name;
    json["group"] = group.group.value;
    json["shard"] = group.shard.value;
    json["leader"] = id_or_null(group.leader);
    json["replicas"] = members_json(facts, group);
    json["tail"] = stream.tail;
    json["next_offset"] = offset_token(stream.tail);
    json["cold_offset"] = 0;  // nothing leaves the replicas: there is no object store yet
    json["closed"] = stream.closed;
    json["content_type"] = base::as_text(found.content_type.bytes());
    const bool slides = stream.expires == api::Expiry::Kind::ttl;
    json["ttl_s"] = slides ? Json(stream.ttl_ms / 1000) : Json();
    json["expires_in_ms"] =
        stream.expires == api::Expiry::Kind::none ? Json() : Json(stream.left_ms);
    json["incarnation"] = std::to_string(stream.incarnation.group.value) + "." +
                          std::to_string(stream.incarnation.index.value) + "." +
                          std::to_string(stream.incarnation.ordinal);
    json["confirmed"] = stream.confirmed;
    return text_of(json);
}

std::string render_transfer(base::GroupId group, base::NodeId to, const api::TransferReply& reply) {
    Json json;
    json["schema"] = schema;
    json["group"] = group.value;
    json["from"] = id_or_null(reply.leader);
    json["to"] = to.value;
    json["term"] = reply.term.value;
    json["state"] = reply.kind == api::TransferReply::Kind::leads_already ? "done" : "under_way";
    return text_of(json);
}

}  // namespace ursula::admin
