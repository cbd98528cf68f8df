// group ls, show, transfer: the replicated logs.
#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <thread>

#include "tools/ursulactl/client.h"
#include "tools/ursulactl/output.h"

namespace ursula::ctl {

namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds transfer_usual{10'000};
constexpr std::chrono::milliseconds poll_pause{50};

Cell number(const Json& value) {
    return {text_of(value), Mood::plain, true};
}

// "1 2 3", learners in brackets, those that are down with an exclamation mark.
std::string members_of(const Json& group) {
    std::string members;
    for (const Json& member : group.at("members")) {
        std::string one = text_of(member.at("node"));
        one += member.at("up") == true ? "" : "!";
        members += (members.empty() ? "" : " ");
        members += member.at("voter") == true ? one : "(" + one + ")";
    }
    return members;
}

int run_ls(Context& context) {
    const std::string body = context.client.get("/admin/v1/groups");
    Json groups = Json::parse(body);
    if (context.has("--leaderless")) {
        Json left = Json::array();
        for (Json& group : groups.at("groups")) {
            if (group.at("leader").is_null()) {
                left.push_back(std::move(group));
            }
        }
        groups["groups"] = std::move(left);
    }
    if (context.out.json(groups.dump(), "groups")) {
        return exit_ok;
    }
    Table table({{"GROUP"},
                 {"LEADER"},
                 {"ROLE"},
                 {"TERM"},
                 {"COMMIT"},
                 {"LAG"},
                 {"STREAMS"},
                 {"MEMBERS"},
                 {"SHARD", true},
                 {"APPLIED", true},
                 {"LAST", true}});
    for (const Json& group : groups.at("groups")) {
        const bool leaderless = group.at("leader").is_null();
        table.add({number(group.at("id")),
                   {leaderless ? "none" : text_of(group.at("leader")),
                    leaderless ? Mood::bad : Mood::plain, true},
                   {text_of(group.at("role"))},
                   number(group.at("term")),
                   number(group.at("commit")),
                   number(group.at("lag")),
                   number(group.at("streams")),
                   {members_of(group)},
                   number(group.at("shard")),
                   number(group.at("applied")),
                   number(group.at("last"))});
    }
    context.out.print(table);
    return exit_ok;
}

std::string path_of(Context& context) {
    return "/admin/v1/groups/" + std::to_string(context.number("GROUP", 0, UINT32_MAX));
}

int run_show(Context& context) {
    const std::string body = context.client.get(path_of(context));
    if (context.out.json(body)) {
        return exit_ok;
    }
    const Json group = Json::parse(body);
    context.out.line(fmt::format(
        "group {}: {}, term {}, committed {}, applied {}, last {}{}", text_of(group.at("id")),
        group.at("leader").is_null() ? "no leader is known"
                                     : "led by node " + text_of(group.at("leader")),
        text_of(group.at("term")), text_of(group.at("commit")), text_of(group.at("applied")),
        text_of(group.at("last")),
        group.at("changing") == true ? ", its members are changing" : ""));
    context.out.print(members_table(group.at("members").dump()));
    return exit_ok;
}

int run_transfer(Context& context) {
    const std::string path = path_of(context);
    const std::uint64_t to = context.number("--to", 1, UINT32_MAX);
    const auto end = Clock::now() + context.timeout_or(transfer_usual);
    Json begun = Json::parse(context.client.post(path + "/transfer", Json({{"to", to}}).dump()));
    const std::string name = "group " + text_of(begun.at("group"));
    while (begun.at("state") != "done") {
        if (Clock::now() + poll_pause >= end) {
            throw Failure(exit_unreachable, name + " was not handed over in time",
                          "see its leader: ursulactl group show " + text_of(begun.at("group")));
        }
        std::this_thread::sleep_for(poll_pause);
        const Json now = Json::parse(context.client.get(path));
        if (now.at("leader") == to) {
            begun["state"] = "done";
            begun["term"] = now.at("term");
        } else if (now.at("leader") == begun.at("from") && now.at("term") == begun.at("term") &&
                   now.at("transfer_to").is_null()) {
            throw Failure(
                exit_failed,
                fmt::format("node {} did not take {} over; node {} still leads it", to, name,
                            text_of(now.at("leader"))),
                "see how far it is behind: ursulactl group show " + text_of(begun.at("group")));
        } else if (!now.at("leader").is_null() && now.at("leader") != begun.at("from")) {
            throw Failure(exit_conflict,
                          fmt::format("node {} leads {} now, another election came between",
                                      text_of(now.at("leader")), name),
                          "try again on that node");
        }
    }
    if (!context.out.json(begun.dump())) {
        context.out.line(fmt::format("node {} leads {}", to, name));
    }
    return exit_ok;
}

constexpr Parameter ls_parameters[] = {
    {"--leaderless", "", "only groups without a leader"},
};
constexpr Parameter show_parameters[] = {
    {"GROUP", "", "its number", true},
};
constexpr Parameter transfer_parameters[] = {
    {"GROUP", "", "its number", true},
    {"--to", "NODE", "the number of the node that shall lead", true},
};

const Command commands[] = {
    {"group ls", "List the replicated logs with their leaders.", ls_parameters,
     "  ursulactl group ls                    lag: entries the slowest member lacks,\n"
     "                                        which its leader alone knows\n"
     "  ursulactl group ls --leaderless       those that take no appends\n"
     "  ursulactl group ls -o ndjson | jq .leader | sort | uniq -c\n",
     "", run_ls},
    {"group show", "Show one group and its members.", show_parameters,
     "  ursulactl group show 12\n"
     "  ursulactl group show 12 -o json | jq '.members[].lag'\n",
     "3 when there is no such group.", run_show},
    {"group transfer", "Hand the leadership of a group to another node.", transfer_parameters,
     "  ursulactl group transfer 12 --to 2    waits until node 2 leads\n"
     "  ursulactl group transfer 12 --to 2 --print-curl\n",
     "6 when this node does not lead it or the other cannot.", run_transfer},
};

}  // namespace

Table members_table(const std::string& members) {
    Table table({{"NODE"}, {"ROLE"}, {"STATE"}, {"MATCH"}, {"APPLIED"}, {"LAG"}});
    for (const Json& member : Json::parse(members)) {
        const bool up = member.at("up") == true;
        table.add({number(member.at("node")),
                   {text_of(member.at("role"))},
                   {up ? "up" : "down", up ? Mood::good : Mood::bad},
                   number(member.at("match")),
                   number(member.at("applied")),
                   number(member.at("lag"))});
    }
    return table;
}

std::span<const Command> group_commands() {
    return commands;
}

}  // namespace ursula::ctl
