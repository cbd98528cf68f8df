#include "tools/ursulactl/member_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>

#include "tools/ursulactl/output.h"

namespace ursula::ctl {

namespace {

using Json = nlohmann::ordered_json;

// Voters beyond a majority of those that are up.
int spare(int voters, int up) {
    return up - (voters / 2 + 1);
}

struct Count {
    int voters = 0;
    int up = 0;
    std::string missing;  // voters that are down, as "1, 3"

    void add(const Json& member) {
        ++voters;
        if (member.at("up") == true) {
            ++up;
        } else {
            missing += (missing.empty() ? "" : ", ") + text_of(member.at("node"));
        }
    }
};

}  // namespace

std::vector<MemberRow> MemberList::of(std::uint32_t id) const {
    std::vector<MemberRow> found;
    std::copy_if(rows.begin(), rows.end(), std::back_inserter(found),
                 [id](const MemberRow& row) { return row.id == id; });
    return found;
}

MemberList read_members(const std::string& body) {
    const Json json = Json::parse(body);
    MemberList list;
    list.self = json.at("node").get<std::uint32_t>();
    list.groups = json.at("groups").get<std::uint32_t>();
    for (const Json& member : json.at("members")) {
        MemberRow row;
        row.id = member.at("id").get<std::uint32_t>();
        row.address = member.at("address").get<std::string>();
        row.client = member.at("client").is_null() ? "" : member.at("client").get<std::string>();
        row.incarnation = member.at("incarnation").get<std::string>();
        row.voter = member.at("voter").get<std::uint32_t>();
        row.learner = member.at("learner").get<std::uint32_t>();
        row.leaving = member.at("leaving").get<std::uint32_t>();
        row.leads = member.at("leads").get<std::uint32_t>();
        row.reachable = member.at("reachable").get<bool>();
        list.rows.push_back(std::move(row));
    }
    return list;
}

Tolerance weigh(const std::string& groups, std::uint32_t node, const std::string& incarnation) {
    Tolerance tolerance;
    bool any = false;
    const Json parsed = Json::parse(groups);
    for (const Json& group : parsed.at("groups")) {
        Count now;
        Count then;
        bool is_voter = false;
        for (const Json& member : group.at("members")) {
            if (member.at("voter") != true) {
                continue;
            }
            now.add(member);
            if (member.at("node") == node && member.at("incarnation") == incarnation) {
                is_voter = true;
            } else {
                then.add(member);
            }
        }
        const int before = spare(now.voters, now.up);
        const int without = spare(then.voters, then.up);
        tolerance.before = any ? std::min(tolerance.before, before) : before;
        tolerance.without = any ? std::min(tolerance.without, without) : without;
        any = true;
        if (!is_voter || group.at("changing") == true || !tolerance.trouble.empty()) {
            continue;
        }
        const std::string name = "group " + text_of(group.at("id"));
        if (then.voters == 0) {
            tolerance.trouble = fmt::format("node {} is the last voter of {}", node, name);
        } else if (without < 0) {
            tolerance.trouble = fmt::format(
                "{} would lose its quorum: of the {} voters left {} must be up with all data, and "
                "node {} is not",
                name, then.voters, then.voters / 2 + 1, then.missing);
        }
    }
    return tolerance;
}

std::string add_body(const MemberRow& member, std::uint32_t shards) {
    Json body;
    body["step"] = "add_learner";
    body["node"] = member.id;
    body["incarnation"] = member.incarnation;
    body["shards"] = shards;
    body["address"] = member.address;
    body["client"] = member.client;
    return body.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string step_body(const std::string& step, std::uint32_t node, const std::string& incarnation) {
    Json body;
    body["step"] = step;
    body["node"] = node;
    body["incarnation"] = incarnation;
    return body.dump();
}

}  // namespace ursula::ctl
