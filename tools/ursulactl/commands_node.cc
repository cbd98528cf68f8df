// status, health, wait, version: the cluster as one node sees it.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <thread>

#include "tools/ursulactl/client.h"
#include "tools/ursulactl/output.h"

namespace ursula::ctl {

namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds wait_usual{60'000};
constexpr std::chrono::milliseconds poll_pause{200};
constexpr std::chrono::milliseconds poll_timeout{2'000};

std::string upper(std::string text) {
    std::transform(text.begin(), text.end(), text.begin(), [](char c) {
        return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
    });
    return text;
}

void print_reasons(Output& out, const Json& reasons) {
    for (const Json& reason : reasons) {
        out.line(fmt::format("{}: {}", text_of(reason.at("code")), text_of(reason.at("text"))));
        out.line("  " + text_of(reason.at("next")));
    }
}

int run_status(Context& context) {
    const std::string body = context.client.get("/admin/v1/status");
    if (context.out.json(body, "nodes")) {
        return exit_ok;
    }
    const Json status = Json::parse(body);
    const Json& groups = status.at("groups");
    const Json& storage = status.at("storage");
    const std::string health = text_of(status.at("health"));
    Table cluster({{"CLUSTER"},
                   {"VERSION"},
                   {"HEALTH"},
                   {"GROUPS"},
                   {"LEADERLESS"},
                   {"STREAMS"},
                   {"READERS"},
                   {"UP"},
                   {"IN MEMORY", true},
                   {"ON DISK", true},
                   {"FREE", true}});
    const Json& free = storage.at("free_bytes");
    cluster.add(
        {{text_of(status.at("cluster"))},
         {text_of(status.at("version"))},
         {upper(health), health == "ok" ? Mood::good : Mood::bad},
         {text_of(groups.at("total")), Mood::plain, true},
         {text_of(groups.at("leaderless")), Mood::plain, true},
         {text_of(status.at("streams")), Mood::plain, true},
         {text_of(status.at("live_readers")), Mood::plain, true},
         {human_seconds(status.at("uptime_seconds").get<std::uint64_t>())},
         {human_bytes(storage.at("memory_bytes").get<std::uint64_t>()), Mood::plain, true},
         {human_bytes(storage.at("disk_bytes").get<std::uint64_t>()), Mood::plain, true},
         {free.is_null() ? "-" : human_bytes(free.get<std::uint64_t>()), Mood::plain, true}});
    context.out.print(cluster);
    Table nodes({{"NODE"}, {"ADDRESS"}, {"STATE"}, {"LEADS"}, {"REPLICAS"}, {"CLIENT", true}});
    for (const Json& node : status.at("nodes")) {
        const std::string state = text_of(node.at("state"));
        const std::string self = node.at("id") == status.at("node") ? "*" : "";
        nodes.add({{text_of(node.at("id")) + self},
                   {text_of(node.at("address"))},
                   {state, state == "ready" ? Mood::good : Mood::bad},
                   {text_of(node.at("leads")), Mood::plain, true},
                   {text_of(node.at("replicas")), Mood::plain, true},
                   {text_of(node.at("client"))}});
    }
    context.out.print(nodes);
    print_reasons(context.out, status.at("reasons"));
    return exit_ok;
}

int run_health(Context& context) {
    const std::string body = context.client.get("/admin/v1/health");
    const Json health = Json::parse(body);
    const bool ok = health.at("status") == "ok";
    if (!context.out.json(body)) {
        context.out.line(text_of(health.at("status")));
        print_reasons(context.out, health.at("reasons"));
    }
    return ok ? exit_ok : exit_unhealthy;
}

// Short of all reasons: their codes.
std::string codes_of(const Json& reasons) {
    std::string codes;
    for (const Json& reason : reasons) {
        codes += (codes.empty() ? "" : ", ") + text_of(reason.at("code"));
    }
    return codes;
}

int run_wait(Context& context) {
    const auto end = Clock::now() + context.timeout_or(wait_usual);
    std::string last;
    for (;;) {
        const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now());
        const Reply reply =
            context.client.ask("/admin/v1/health", "", std::min(left, poll_timeout));
        std::string now;
        if (reply.trouble == Reply::Trouble::none && reply.status == 200) {
            const Json health = Json::parse(reply.body);
            if (health.at("status") == "ok") {
                if (!context.out.json(reply.body)) {
                    context.out.line("healthy");
                }
                return exit_ok;
            }
            now = text_of(health.at("status")) + ": " + codes_of(health.at("reasons"));
        } else {
            const Failure failure = context.client.failure_of(reply, "/admin/v1/health");
            if (failure.exit_code != exit_unreachable) {
                throw failure;  // waiting does not help
            }
            now = failure.what();
        }
        if (now != last && !context.flags.quiet) {
            talk("waiting: " + now);
        }
        last = now;
        if (Clock::now() + poll_pause >= end) {
            throw Failure(exit_unreachable, "not healthy in time: " + last,
                          "see why: ursulactl health");
        }
        std::this_thread::sleep_for(poll_pause);
    }
}

int run_version(Context& context) {
    Json versions;
    versions["schema"] = 1;
    versions["ursulactl"] = URSULA_VERSION;
    const Reply reply = context.client.ask("/admin/v1/status", "",
                                           context.timeout_or(std::chrono::milliseconds(3'000)));
    if (reply.trouble == Reply::Trouble::none && reply.status == 200) {
        versions["server"] = Json::parse(reply.body).at("version");
    } else {
        versions["server"] = nullptr;
        if (!context.flags.quiet) {
            talk(std::string("no server asked: ") +
                 context.client.failure_of(reply, "/admin/v1/status").what());
        }
    }
    if (!context.out.json(versions.dump())) {
        context.out.line("ursulactl " + text_of(versions["ursulactl"]));
        if (!versions["server"].is_null()) {
            context.out.line("server    " + text_of(versions["server"]));
        }
    }
    return exit_ok;
}

constexpr Parameter wait_parameters[] = {
    {"--healthy", "", "until the node answers that all is well", true},
};

const Command commands[] = {
    {"status",
     "Show the cluster as a node sees it: nodes, groups, health.",
     {},
     "  ursulactl status                  one screen; * is the node that answers\n"
     "  ursulactl status -o wide          with memory, disk and client addresses\n"
     "  ursulactl status -o json | jq '.nodes[] | select(.reachable|not) | .id'\n",
     "",
     run_status},
    {"health",
     "Say whether all is well, why not, and what to do next.",
     {},
     "  ursulactl health                  ok, degraded or down, with reasons\n"
     "  ursulactl health -q               the exit code alone\n",
     "10 when it is degraded or down.",
     run_health},
    {"wait", "Wait until something is so.", wait_parameters,
     "  ursulactl wait --healthy                  a minute at most\n"
     "  ursulactl wait --healthy --timeout 30s    before a test or a rollout goes on\n",
     "5 when the time is over, whatever was missing.", run_wait},
    {"version",
     "Print the versions of ursulactl and of the node.",
     {},
     "  ursulactl version\n"
     "  ursulactl version -o json\n",
     "",
     run_version},
};

}  // namespace

std::span<const Command> node_commands() {
    return commands;
}

}  // namespace ursula::ctl
