#include "admin/members.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "admin/response.h"
#include "base/client_url.h"
#include "base/limits.h"

namespace ursula::admin {

namespace {

using Json = nlohmann::ordered_json;

constexpr int schema = 1;

struct StepName {
    api::ChangeMemberCall::Step step;
    std::string_view name;
};
constexpr StepName step_names[] = {
    {api::ChangeMemberCall::Step::add_learner, "add_learner"},
    {api::ChangeMemberCall::Step::promote, "promote"},
    {api::ChangeMemberCall::Step::remove, "remove"},
};

bool read_step(const Json& value, api::ChangeMemberCall::Step& step) {
    for (const StepName& one : step_names) {
        if (value == one.name) {
            step = one.step;
            return true;
        }
    }
    return false;
}

// At least 1: no node, and no number of shards, is 0.
bool read_number(const Json& value, std::uint32_t& number) {
    if (!value.is_number_unsigned()) {
        return false;
    }
    const auto wide = value.get<std::uint64_t>();
    number = static_cast<std::uint32_t>(wide);
    return wide >= 1 && wide <= UINT32_MAX;
}

bool read_text(const Json& value, std::string& text) {
    if (!value.is_string()) {
        return false;
    }
    text = value.get<std::string>();
    return true;
}

// Dialled as it is, so no name; whether a node is there is found out before, by a visit.
bool read_address(const Json& value, std::string& text) {
    if (!read_text(value, text)) {
        return false;
    }
    const std::size_t colon = text.rfind(':');
    if (colon == std::string::npos || colon == 0) {
        return false;
    }
    const auto port = parse_decimal<std::uint32_t>(text.substr(colon + 1));
    return port && *port >= 1 && *port <= UINT16_MAX &&
           text.find_first_not_of("0123456789abcdefABCDEF.:[]") == std::string::npos;
}

// Empty: clients are not sent to it.
bool read_client(const Json& value, std::string& text) {
    return read_text(value, text) && (text.empty() || base::is_client_url(text));
}

bool read_incarnation(const Json& value, std::uint64_t& incarnation) {
    std::string text;
    if (!read_text(value, text)) {
        return false;
    }
    const auto number = parse_decimal<std::uint64_t>(text);
    incarnation = number.value_or(0);
    return number.has_value();
}

bool read_member(const std::string& key, const Json& value, MemberChange& change) {
    if (key == "step") {
        return read_step(value, change.step);
    }
    if (key == "node") {
        std::uint32_t node = 0;
        const bool read = read_number(value, node) && node <= base::limits::node_id_max;
        change.node = base::NodeId(node);
        return read;
    }
    return key == "incarnation" ? read_incarnation(value, change.incarnation)
           : key == "shards"    ? read_number(value, change.shards)
           : key == "address"   ? read_address(value, change.address)
           : key == "client"    ? read_client(value, change.client)
                                : false;
}

struct Row {
    const api::NodeView* node = nullptr;
    std::uint32_t voter = 0;
    std::uint32_t learner = 0;
    std::uint32_t leaving = 0;
    std::uint32_t leads = 0;
};

}  // namespace

api::ChangeMemberCall MemberChange::call(base::GroupId group) const {
    api::ChangeMemberCall out;
    out.group = group;
    out.step = step;
    out.node = node;
    out.incarnation = incarnation;
    out.shards = shards;
    out.address = address;
    out.client = client;
    return out;
}

std::optional<MemberChange> read_member_change(base::Bytes body) {
    const std::string_view text = base::as_text(body);
    const auto parsed = Json::parse(text.begin(), text.end(), nullptr, false);
    if (!parsed.is_object() || !parsed.contains("step") || !parsed.contains("node")) {
        return std::nullopt;
    }
    MemberChange change;
    for (const auto& [key, value] : parsed.items()) {
        if (!read_member(key, value, change)) {
            return std::nullopt;
        }
    }
    return change;
}

std::string render_member_change(base::GroupId group, const MemberChange& change,
                                 const api::ChangeMemberReply& reply) {
    Json json;
    json["schema"] = schema;
    json["group"] = group.value;
    json["node"] = change.node.value;
    json["changed"] = reply.changed;
    json["index"] = reply.index.value;
    return json.dump() + "\n";
}

std::string render_members(const NodeFacts& facts, const api::InspectReply& found) {
    std::map<std::pair<base::NodeId, std::uint64_t>, Row> rows;
    for (const api::NodeView& node : found.nodes) {
        rows[{node.node, node.incarnation}].node = &node;
    }
    std::uint32_t changing = 0;
    for (const api::GroupView& group : found.groups) {
        changing += group.joint ? 1 : 0;
        for (std::uint32_t i = 0; i < group.member_count; ++i) {
            const api::GroupMember& member = group.members[i];
            Row& row = rows[{member.node, member.incarnation}];
            row.voter += member.voter ? 1 : 0;
            row.leaving += member.outgoing && !member.voter ? 1 : 0;
            row.learner += !member.voter && !member.outgoing ? 1 : 0;
            row.leads += member.node == group.leader ? 1 : 0;
        }
    }
    Json json;
    json["schema"] = schema;
    json["node"] = facts.cluster->self.value;
    json["cluster"] = facts.cluster->name.empty() ? Json() : Json(facts.cluster->name);
    json["groups"] = facts.health.groups;
    json["changing"] = changing;
    Json members = Json::array();
    for (const auto& [key, row] : rows) {
        if (row.node == nullptr) {
            continue;  // of a node alone: it has no peers, and is none
        }
        Json member;
        member["id"] = key.first.value;
        member["address"] = base::as_text(row.node->address.bytes());
        const std::string_view client = base::as_text(row.node->client.bytes());
        member["client"] = client.empty() ? Json() : Json(client);
        member["incarnation"] = std::to_string(key.second);
        member["shards"] = row.node->shards;
        member["voter"] = row.voter;
        member["learner"] = row.learner;
        member["leaving"] = row.leaving;
        member["leads"] = row.leads;
        member["reachable"] = row.node->up;
        members.push_back(std::move(member));
    }
    json["members"] = std::move(members);
    return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace ursula::admin
