// cluster members, add, remove, replace: which nodes the groups consist of. One command changes all
// groups (rollout.h); the nodes know nothing of it but their groups' own steps, so whoever makes
// the change anew finishes it.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>

#include "base/client_url.h"
#include "base/limits.h"
#include "tools/ursulactl/client.h"
#include "tools/ursulactl/member_plan.h"
#include "tools/ursulactl/output.h"
#include "tools/ursulactl/rollout.h"

namespace ursula::ctl {

namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds change_usual{600'000};
constexpr milliseconds visit_patience{10'000};  // a node that was just started may not listen yet
constexpr milliseconds seen_patience{5'000};
constexpr milliseconds ask_timeout{10'000};
constexpr milliseconds poll_pause{100};

milliseconds left_of(Clock::time_point end) {
    return std::max(milliseconds(1), std::chrono::duration_cast<milliseconds>(end - Clock::now()));
}

MemberList look(Context& context) {
    MemberList list = read_members(context.client.get("/admin/v1/members"));
    if (list.rows.empty()) {
        throw Failure(exit_conflict, "this node is alone: there is no cluster to change",
                      "a cluster is made by starting its first nodes with cluster.members");
    }
    return list;
}

int run_members(Context& context) {
    const std::string body = context.client.get("/admin/v1/members");
    if (context.out.json(body, "members")) {
        return exit_ok;
    }
    const MemberList list = read_members(body);
    Table table({{"NODE"},
                 {"ADDRESS"},
                 {"STATE"},
                 {"VOTER"},
                 {"LEARNER"},
                 {"LEAVING"},
                 {"LEADS"},
                 {"CLIENT", true},
                 {"INCARNATION", true}});
    const auto number = [](std::uint32_t value) {
        return Cell{std::to_string(value), Mood::plain, true};
    };
    for (const MemberRow& row : list.rows) {
        table.add({{std::to_string(row.id) + (row.id == list.self ? "*" : "")},
                   {printable(row.address)},
                   {row.reachable ? "up" : "down", row.reachable ? Mood::good : Mood::bad},
                   number(row.voter),
                   number(row.learner),
                   number(row.leaving),
                   number(row.leads),
                   {row.client.empty() ? "-" : printable(row.client)},
                   {printable(row.incarnation)}});
    }
    context.out.print(table);
    return exit_ok;
}

// --- a change of all groups ---

struct Change {
    std::string verb;  // "add"
    std::uint32_t node = 0;
    std::string plan;   // what it does, a sentence
    std::string state;  // what is so when it is done: "node 4 is a voter of all 64 groups"
    std::vector<std::string> steps;
};

std::uint32_t node_of(Context& context, std::string_view name) {
    return static_cast<std::uint32_t>(context.number(name, 1, base::limits::node_id_max));
}

// Where redirects send clients; empty when none is given.
std::string client_of(Context& context) {
    std::string url = context.text("--client");
    while (url.ends_with('/')) {
        url.pop_back();
    }
    if (context.has("--client") && !base::is_client_url(url)) {
        throw Failure(exit_usage, "--client " + printable(url) + " is no URL",
                      "write it as http://10.0.0.4:4437");
    }
    return url;
}

Clock::time_point end_of(Context& context) {
    return Clock::now() + context.timeout_or(change_usual);
}

int finish(Context& context, const Change& change, std::uint32_t groups, std::uint32_t changed) {
    Json json;
    json["schema"] = 1;
    json["change"] = change.verb;
    json["node"] = change.node;
    json["groups"] = groups;
    json["changed"] = changed;
    json["state"] = "done";
    if (!context.out.json(json.dump())) {
        context.out.line(change.state + (changed == 0 ? " already" : ""));
    }
    return exit_ok;
}

int show_plan(Context& context, const Change& change, const Tolerance& tolerance) {
    Json json;
    json["schema"] = 1;
    json["change"] = change.verb;
    json["node"] = change.node;
    json["plan"] = change.plan;
    json["refused"] = tolerance.trouble.empty() ? Json() : Json(tolerance.trouble);
    json["state"] = "not_begun";
    if (!context.out.json(json.dump())) {
        context.out.line(change.plan);
        if (!tolerance.trouble.empty()) {
            context.out.line("It would be refused: " + tolerance.trouble);
        }
    }
    return tolerance.trouble.empty() ? exit_ok : exit_conflict;
}

// What takes something away is asked for once more.
void ask_first(Context& context, const Change& change) {
    if (context.flags.yes) {
        return;
    }
    if (::isatty(STDIN_FILENO) == 0 || ::isatty(STDERR_FILENO) == 0) {
        throw Failure(exit_usage, "cluster " + change.verb + " needs --yes where nobody is asked",
                      "--dry-run shows what it would do");
    }
    const std::string question = printable(change.plan) + "\nGo on? [y/N] ";
    std::fwrite(question.data(), 1, question.size(), stderr);
    std::string answer;
    std::getline(std::cin, answer);
    if (answer != "y" && answer != "Y" && answer != "yes") {
        throw Failure(exit_failed, "nothing was changed");
    }
}

// What this node shows may come a little after the leaders said that it is so, and that counts.
void wait_until_seen(Context& context, Clock::time_point end,
                     const std::function<bool(const MemberList&)>& is_so) {
    end = std::min(end, Clock::now() + seen_patience);
    const std::string path = "/admin/v1/members";
    for (;;) {
        const Reply reply = context.client.ask(path, "", left_of(end));
        const bool told = reply.trouble == Reply::Trouble::none && reply.status == 200;
        if ((told && is_so(read_members(reply.body))) || Clock::now() + poll_pause >= end) {
            return;
        }
        std::this_thread::sleep_for(poll_pause);
    }
}

int carry_out(Context& context, const Change& change, std::uint32_t groups, Clock::time_point end,
              const std::function<bool(const MemberList&)>& is_so) {
    const auto ask = [&context, end](const std::string& path, const std::string& body) {
        return context.client.ask(path, body, std::min(left_of(end), ask_timeout));
    };
    Rollout rollout(context.client, change.steps, groups, ask);
    Progress progress(context.flags.quiet, ::isatty(STDERR_FILENO) == 1);
    const std::string again =
        "the same command goes on where it stopped: " + change.state + " when it is done";
    try {
        while (!rollout.done()) {
            const bool went_on = rollout.round(Clock::now());
            const std::string waits = rollout.waits_for();
            progress.show(fmt::format("{} node {}: {} of {} groups{}{}", change.verb, change.node,
                                      rollout.groups_done(), groups, waits.empty() ? "" : "; ",
                                      waits));
            if (Clock::now() >= end) {
                throw Failure(
                    exit_unreachable,
                    fmt::format("not done in time: {} of {} groups{}{}", rollout.groups_done(),
                                groups, waits.empty() ? "" : "; ", waits),
                    again);
            }
            if (!went_on) {
                std::this_thread::sleep_for(poll_pause);
            }
        }
    } catch (const Failure& failure) {
        progress.end();
        if (rollout.groups_done() > 0 && failure.next != again) {
            talk(fmt::format("{} of {} groups are changed and stay so; {}", rollout.groups_done(),
                             groups, again));
        }
        throw;
    }
    progress.end();
    wait_until_seen(context, end, is_so);
    return finish(context, change, groups, rollout.groups_changed());
}

// --- the node that comes ---

struct Visited {
    std::uint32_t node = 0;
    std::string incarnation;
    std::uint32_t shards = 0;
    std::string stage;
};

Visited read_visit(const std::string& body) {
    const Json json = Json::parse(body);
    return {json.at("node").get<std::uint32_t>(), json.at("incarnation").get<std::string>(),
            json.at("shards").get<std::uint32_t>(), json.at("stage").get<std::string>()};
}

// Asks the node at an address, through the one this command talks to.
Visited visit(Context& context, const std::string& address, Clock::time_point end) {
    const std::string path = "/admin/v1/cluster/visit";
    end = std::min(end, Clock::now() + visit_patience);
    bool said = context.flags.quiet;
    for (;;) {
        const Reply reply = context.client.ask(path, Json({{"address", address}}).dump(),
                                               std::min(left_of(end), ask_timeout));
        if (reply.trouble == Reply::Trouble::none && reply.status == 200) {
            return read_visit(reply.body);
        }
        const Failure failure = context.client.failure_of(reply, path);
        if (failure.exit_code != exit_unreachable || reply.trouble != Reply::Trouble::none ||
            Clock::now() + poll_pause >= end) {
            throw failure;
        }
        if (!said) {
            talk("waiting: " + std::string(failure.what()));
            said = true;
        }
        std::this_thread::sleep_for(poll_pause);
    }
}

// From here on the node waits for this cluster's leaders, and for no other's.
Visited admit(Context& context, const MemberRow& member) {
    Json body;
    body["address"] = member.address;
    body["node"] = member.id;
    body["incarnation"] = member.incarnation;
    return read_visit(context.client.post("/admin/v1/cluster/admit", body.dump()));
}

void check_visited(const Visited& visited, std::uint32_t node, const std::string& address) {
    if (visited.node != node) {
        throw Failure(exit_conflict,
                      fmt::format("the node at {} is node {}, not {}", printable(address),
                                  visited.node, node),
                      "its number is its cluster.node_id");
    }
    if (visited.stage == "forming") {
        throw Failure(exit_conflict,
                      fmt::format("node {} is forming a cluster of its own with others", node),
                      "stop it, empty its data directory and leave cluster.members out of its "
                      "configuration");
    }
}

void check_address(const MemberList& list, std::uint32_t node, const std::string& address) {
    for (const MemberRow& row : list.rows) {
        if (row.id != node && row.address == address) {
            throw Failure(exit_conflict,
                          fmt::format("{} is the address of node {}", printable(address), row.id),
                          "see them: ursulactl cluster members");
        }
    }
}

// Learner first: it counts in no majority before it has what the others have.
void add_steps(Change& change, const MemberRow& member, std::uint32_t shards) {
    change.steps.push_back(add_body(member, shards));
    change.steps.push_back(step_body("promote", member.id, member.incarnation));
}

bool is_in(const MemberList& list, const MemberRow& member) {
    const std::vector<MemberRow> rows = list.of(member.id);
    return rows.size() == 1 && rows.front().incarnation == member.incarnation &&
           rows.front().voter == list.groups && rows.front().address == member.address &&
           rows.front().client == member.client;
}

std::string in_all(std::uint32_t node, std::uint32_t groups) {
    return fmt::format("node {} is a voter of all {} groups", node, groups);
}

void say_no_client(Context& context, const MemberRow& member) {
    if (member.client.empty() && !context.flags.quiet) {
        talk("no --client URL: as long as one member has none, no node redirects clients");
    }
}

int add(Context& context, const MemberList& list, MemberRow member, Clock::time_point end) {
    check_address(list, member.id, member.address);
    const std::vector<MemberRow> known = list.of(member.id);
    if (known.size() == 1 && !context.has("--client")) {
        member.client = known.front().client;
    }
    Change change{"add",
                  member.id,
                  fmt::format("Node {} gets a copy of all {} groups as a learner, which counts in "
                              "no majority, and becomes a voter of each when it has caught up.",
                              member.id, list.groups),
                  in_all(member.id, list.groups),
                  {}};
    std::optional<Visited> visited;
    try {
        visited = visit(context, member.address, end);
    } catch (const Failure& failure) {
        if (failure.exit_code != exit_unreachable || known.size() != 1) {
            throw;
        }
        member.incarnation = known.front().incarnation;
        if (!is_in(list, member)) {
            throw;
        }
        talk(std::string("it cannot be asked now: ") + failure.what());
        return finish(context, change, list.groups, 0);
    }
    check_visited(*visited, member.id, member.address);
    member.incarnation = visited->incarnation;
    for (const MemberRow& row : known) {
        if (row.incarnation != member.incarnation) {
            throw Failure(exit_conflict,
                          fmt::format("node {} is a member already, with other storage than the "
                                      "node at {} has now",
                                      member.id, printable(member.address)),
                          fmt::format("ursulactl cluster replace {}", member.id));
        }
    }
    if (is_in(list, member)) {
        return finish(context, change, list.groups, 0);
    }
    if (context.has("--dry-run")) {
        return show_plan(context, change, {});
    }
    say_no_client(context, member);
    const Visited admitted = admit(context, member);
    add_steps(change, member, admitted.shards);
    return carry_out(context, change, list.groups, end,
                     [&member](const MemberList& now) { return is_in(now, member); });
}

int run_add(Context& context) {
    const auto end = end_of(context);
    MemberRow member;
    member.id = node_of(context, "--id");
    member.address = context.text("--address");
    member.client = client_of(context);
    return add(context, look(context), std::move(member), end);
}

// --- the node that goes ---

void check_not_self(const MemberList& list, std::uint32_t node, const std::string& verb) {
    if (node == list.self) {
        throw Failure(exit_conflict,
                      fmt::format("node {} cannot {} itself: it would not see the end", node, verb),
                      "run it on another node");
    }
}

std::string survive(int nodes) {
    return nodes > 0 ? fmt::format("survive the loss of {} more", nodes)
                     : "stop taking appends when one more is lost";
}

int run_remove(Context& context) {
    const auto end = end_of(context);
    const std::uint32_t node = node_of(context, "NODE");
    const MemberList list = look(context);
    Change change{"remove", node, "", fmt::format("node {} is a member of no group", node), {}};
    const std::vector<MemberRow> rows = list.of(node);
    if (rows.empty()) {
        return finish(context, change, list.groups, 0);
    }
    check_not_self(list, node, "remove");
    Tolerance tolerance;
    const std::string groups = context.client.get("/admin/v1/groups");
    for (const MemberRow& row : rows) {
        tolerance = weigh(groups, node, row.incarnation);
        change.steps.push_back(step_body("remove", node, row.incarnation));
        if (!tolerance.trouble.empty()) {
            break;
        }
    }
    change.plan = fmt::format(
        "Node {} leaves all {} groups; what it leads goes to others. Now the groups {}; "
        "without it they {}.",
        node, list.groups, survive(tolerance.before), survive(tolerance.without));
    if (context.has("--dry-run")) {
        return show_plan(context, change, tolerance);
    }
    if (!tolerance.trouble.empty()) {
        throw Failure(exit_conflict, tolerance.trouble,
                      "bring the others up or add a node first: ursulactl cluster members");
    }
    ask_first(context, change);
    return carry_out(context, change, list.groups, end,
                     [node](const MemberList& now) { return now.of(node).empty(); });
}

int run_replace(Context& context) {
    const auto end = end_of(context);
    const std::uint32_t node = node_of(context, "NODE");
    const MemberList list = look(context);
    const std::vector<MemberRow> rows = list.of(node);
    MemberRow member;
    member.id = node;
    if (rows.empty()) {
        if (!context.has("--address")) {
            throw Failure(exit_not_found, fmt::format("node {} is a member of no group", node),
                          fmt::format("ursulactl cluster add --id {} --address HOST:PORT", node));
        }
        member.address = context.text("--address");
        member.client = client_of(context);
        return add(context, list, std::move(member), end);
    }
    check_not_self(list, node, "replace");
    member.address = context.has("--address") ? context.text("--address") : rows.front().address;
    check_address(list, node, member.address);
    member.client = context.has("--client")                  ? client_of(context)
                    : member.address == rows.front().address ? rows.front().client
                                                             : "";
    const Visited visited = visit(context, member.address, end);
    check_visited(visited, node, member.address);
    member.incarnation = visited.incarnation;
    Change change{"replace", node, "", in_all(node, list.groups) + " with its new storage", {}};
    if (is_in(list, member)) {
        return finish(context, change, list.groups, 0);
    }
    Tolerance tolerance;
    const std::string groups = context.client.get("/admin/v1/groups");
    for (const MemberRow& row : rows) {
        if (row.incarnation != member.incarnation) {
            tolerance = weigh(groups, node, row.incarnation);
            change.steps.push_back(step_body("remove", node, row.incarnation));
        }
    }
    change.plan = fmt::format(
        "In each of {} groups node {} leaves with its old storage, comes back as a learner with "
        "the new one, and votes again when it has caught up. Now the groups {}; until it votes "
        "again they {}.",
        list.groups, node, survive(tolerance.before), survive(tolerance.without));
    if (context.has("--dry-run")) {
        return show_plan(context, change, tolerance);
    }
    if (!tolerance.trouble.empty()) {
        throw Failure(exit_conflict, tolerance.trouble,
                      "bring the others up first: ursulactl cluster members");
    }
    ask_first(context, change);
    say_no_client(context, member);
    const Visited admitted = admit(context, member);
    add_steps(change, member, admitted.shards);
    return carry_out(context, change, list.groups, end,
                     [&member](const MemberList& now) { return is_in(now, member); });
}

constexpr Parameter add_parameters[] = {
    {"--id", "NODE", "its cluster.node_id", true},
    {"--address", "HOST:PORT", "its cluster.listen, numeric", true},
    {"--client", "URL", "where clients reach it"},
    {"--dry-run", "", "say what would be done"},
};
constexpr Parameter remove_parameters[] = {
    {"NODE", "", "its number", true},
    {"--dry-run", "", "say what would be done, and whether it is refused"},
};
constexpr Parameter replace_parameters[] = {
    {"NODE", "", "its number", true},
    {"--address", "HOST:PORT", "its cluster.listen, if it is another one now"},
    {"--client", "URL", "where clients reach it, if elsewhere now"},
    {"--dry-run", "", "say what would be done, and whether it is refused"},
};

const Command commands[] = {
    {"cluster members",
     "List the nodes that the groups have as members.",
     {},
     "  ursulactl cluster members             in how many groups each votes\n"
     "  ursulactl cluster members -o wide     with clients' URLs, storage\n"
     "  ursulactl cluster members -o ndjson | jq 'select(.reachable|not) | .id'\n",
     "",
     run_members},
    {"cluster add", "Add a node with an empty data directory to all groups.", add_parameters,
     "  ursulactl cluster add --id 4 --address 10.0.0.4:4439\n"
     "Start it first: it waits. It copies all data as a learner, a few groups at a\n"
     "time, then votes. Interrupted, the same command goes on.\n"
     "Four voters survive the loss of one, as three do; five that of two.\n",
     "5 when it is not done in time, 6 when a group refuses.", run_add},
    {"cluster remove", "Take a node out of all groups.", remove_parameters,
     "  ursulactl cluster remove 2 --dry-run  what is left without it\n"
     "  ursulactl cluster remove 2            asks first; --yes does not\n"
     "The node may be dead. Refused where those left would be no quorum.\n"
     "Interrupted, the same command goes on. Run it on another node.\n",
     "5 when it is not done in time, 6 when a group refuses.", run_remove},
    {"cluster replace", "Take a node whose storage is new for the one it was.", replace_parameters,
     "  ursulactl cluster replace 3           its data directory was emptied\n"
     "  ursulactl cluster replace 3 --address 10.0.0.9:4439\n"
     "An emptied node remembers no vote, so its old self leaves each group before\n"
     "it comes back as a learner. Until it votes again a cluster of three is one\n"
     "of two: both others are needed. Interrupted, the same command goes on.\n",
     "5 when it is not done in time, 6 when a group refuses.", run_replace},
};

}  // namespace

std::span<const Command> member_commands() {
    return commands;
}

}  // namespace ursula::ctl
