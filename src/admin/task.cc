#include "admin/task.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "admin/render.h"
#include "api/placement.h"
#include "base/limits.h"

namespace ursula::admin {

namespace {

namespace limits = base::limits;

Response json(int status, std::string body) {
    Response response;
    response.status = status;
    response.body = std::move(body);
    return response;
}

Response no_such_path() {
    return problem(404, "no_such_route", "No such path of the admin plane",
                   "there are /admin/v1/status, health, members, groups, groups/{g}, "
                   "webhooks/rotate-key, cluster/visit, cluster/admit and "
                   "streams/{bucket}/{stream}");
}

Response wrong_method(std::string_view allow) {
    Response response =
        problem(405, "method_not_allowed", "This path does not take that method", "use one of ");
    response.hint += allow;
    response.allow = allow;
    return response;
}

std::string node(base::NodeId id) {
    return "node " + std::to_string(id.value);
}

// Why a change is not taken, if so; `body` is what it takes.
std::optional<Response> refuse_change(const Request& request, std::string_view body) {
    if (request.method != Method::post) {
        return wrong_method("POST");
    }
    if (!request.may_change) {
        return problem(403, "admin_only", "Changes are taken over the admin plane alone",
                       "on the node's own machine: ursulactl --data-dir DIR, or the socket that "
                       "server.admin_listen names");
    }
    if (request.body.size() > limits::admin_body_bytes_max) {
        return problem(413, "body_too_large", "The body is longer than any request of this path",
                       "send " + std::string(body));
    }
    return std::nullopt;
}

// {"to": N} and nothing else; 0: it is not that.
base::NodeId read_transfer(base::Bytes body) {
    const std::string_view text = base::as_text(body);
    const auto parsed = nlohmann::json::parse(text.begin(), text.end(), nullptr, false);
    if (!parsed.is_object() || parsed.size() != 1 || !parsed.contains("to") ||
        !parsed["to"].is_number_unsigned()) {
        return {};
    }
    const auto number = parsed["to"].get<std::uint64_t>();
    return number > UINT32_MAX ? base::NodeId{} : base::NodeId(static_cast<std::uint32_t>(number));
}

Response transfer_response(base::GroupId group, base::NodeId to, const api::TransferReply& reply) {
    const std::string name = "group " + std::to_string(group.value);
    switch (reply.kind) {
        case api::TransferReply::Kind::begun:
        case api::TransferReply::Kind::leads_already:
            return json(reply.kind == api::TransferReply::Kind::begun ? 202 : 200,
                        render_transfer(group, to, reply));
        case api::TransferReply::Kind::not_leader:
            if (reply.leader == base::NodeId{}) {
                return problem(
                    409, "leaderless", "No leader of " + name + " is known",
                    "wait until it has one: ursulactl group show " + std::to_string(group.value));
            }
            return problem(409, "not_leader",
                           node(reply.leader) + " leads " + name + ", not this node",
                           "run the command on " + node(reply.leader));
        case api::TransferReply::Kind::not_a_voter:
            return problem(409, "not_a_voter", node(to) + " is no voter of " + name,
                           "see its members: ursulactl group show " + std::to_string(group.value));
        case api::TransferReply::Kind::not_up:
            return problem(409, "node_not_up", node(to) + " is down or still lacks data of " + name,
                           "hand over to another node, or wait until it has caught up");
        case api::TransferReply::Kind::under_way:
            return problem(409, "transfer_under_way",
                           "The leadership of " + name + " is being handed to another node",
                           "try again in a second");
    }
    return no_such_path();
}

}  // namespace

void Task::ask_every_shard() {
    ask_.every_shard = true;
    ask_.verb = api::InspectCall{};
}

std::optional<Response> Task::begin(const Request& request, const NodeFacts& facts) {
    constexpr std::string_view streams = "/v1/streams/";
    constexpr std::string_view groups = "/v1/groups/";
    if (request.path == "/v1/cluster/visit" || request.path == "/v1/cluster/admit") {
        if (auto response = begin_visit(request, request.path.ends_with("admit"))) {
            return response;
        }
    } else if (request.path == "/v1/webhooks/rotate-key") {
        if (auto response = begin_rotation(request)) {
            return response;
        }
    } else if (request.path.starts_with(groups)) {
        if (auto response = begin_group(request, request.path.substr(groups.size()))) {
            return response;
        }
    } else if (request.path == "/v1/status" || request.path == "/v1/health" ||
               request.path == "/v1/members" || request.path == "/v1/groups" ||
               request.path.starts_with(streams)) {
        if (request.method != Method::get) {
            return wrong_method("GET, HEAD");
        }
        kind_ = request.path == "/v1/status"    ? Kind::status
                : request.path == "/v1/health"  ? Kind::health
                : request.path == "/v1/members" ? Kind::members
                : request.path == "/v1/groups"  ? Kind::groups
                                                : Kind::stream;
        ask_every_shard();
        if (kind_ == Kind::stream) {
            if (!request.has_stream) {
                return problem(400, "not_a_stream", "The path behind streams names no stream",
                               "write /admin/v1/streams/BUCKET/STREAM, or "
                               "/admin/v1/streams/v1/stream/PATH");
            }
            stream_ = request.path.substr(streams.size());
            ask_ = {false, request.stream.group,
                    api::InspectCall{api::InspectCall::What::stream, request.stream}};
        }
    } else {
        return no_such_path();
    }
    if (!request.query.empty()) {
        return problem(400, "bad_query", "This path takes no query", "leave out what follows ?");
    }
    if (facts.started) {
        return std::nullopt;
    }
    // A shard that still reads its log answers no call; what is known without it is told.
    if (kind_ == Kind::status || kind_ == Kind::health) {
        return finish(facts);
    }
    return problem(503, "starting", "This node is still reading its log",
                   "wait for it: ursulactl wait --healthy");
}

std::optional<Response> Task::begin_group(const Request& request, std::string_view rest) {
    const std::size_t slash = rest.find('/');
    const std::string_view verb =
        slash == std::string_view::npos ? std::string_view() : rest.substr(slash + 1);
    if (slash != std::string_view::npos && verb != "transfer" && verb != "members") {
        return no_such_path();
    }
    const std::optional<std::uint32_t> group = parse_decimal<std::uint32_t>(rest.substr(0, slash));
    if (!group || *group >= request.groups) {
        return problem(404, "group_not_found", "No such group",
                       "groups are 0 to " + std::to_string(request.groups - 1));
    }
    ask_.group = base::GroupId(*group);
    if (!verb.empty()) {
        return verb == "transfer" ? begin_transfer(request) : begin_change(request);
    }
    if (request.method != Method::get) {
        return wrong_method("GET, HEAD");
    }
    kind_ = Kind::group;
    api::InspectCall call;
    call.what = api::InspectCall::What::group;
    call.key.group = ask_.group;
    ask_.verb = call;
    return std::nullopt;
}

std::optional<Response> Task::begin_transfer(const Request& request) {
    if (auto refused = refuse_change(request, "{\"to\": NODE}")) {
        return refused;
    }
    kind_ = Kind::transfer;
    to_ = read_transfer(request.body);
    if (to_ == base::NodeId{}) {
        return problem(400, "bad_body", "The body is not {\"to\": NODE}",
                       "name the node that shall lead by its number, as in {\"to\": 2}");
    }
    ask_.verb = api::TransferCall{ask_.group, to_};
    return std::nullopt;
}

std::optional<Response> Task::begin_visit(const Request& request, bool admits) {
    const std::string form =
        admits ? "{\"address\": ADDRESS, \"node\": N, \"incarnation\": \"DIGITS\"}"
               : "{\"address\": ADDRESS}";
    if (auto refused = refuse_change(request, form)) {
        return refused;
    }
    visit_ = read_visit(request.body, admits);
    if (!visit_) {
        return problem(400, "bad_body", "The body is not " + form,
                       "the address is that node's cluster.listen, as in \"10.0.0.4:4439\"");
    }
    return std::nullopt;
}

std::optional<Response> Task::begin_rotation(const Request& request) {
    if (auto refused = refuse_change(request, "{}")) {
        return refused;
    }
    kind_ = Kind::rotate_key;
    api::SubscriptionCall call;
    call.op = api::SubscriptionOp::rotate_key;
    ask_ = {false, api::bucket_group, call};
    return std::nullopt;
}

std::optional<Response> Task::begin_change(const Request& request) {
    constexpr std::string_view body = "{\"step\": \"remove\", \"node\": NODE}";
    if (auto refused = refuse_change(request, body)) {
        return refused;
    }
    kind_ = Kind::change;
    auto change = read_member_change(request.body);
    if (!change) {
        return problem(400, "bad_body", "The body is no change of members",
                       "name the step, add_learner, promote or remove, and the node by its "
                       "number, as in " +
                           std::string(body) +
                           "; an address is numeric with a port, a client URL ends without a "
                           "slash");
    }
    change_ = std::move(*change);
    ask_.verb = change_.call(ask_.group);
    return std::nullopt;
}

bool Task::take(api::Answer& answer) {
    if (const auto* refused = std::get_if<api::Refused>(&answer)) {
        refused_ = *refused;
    } else if (auto* found = std::get_if<api::InspectReply>(&answer)) {
        found_.groups.insert(found_.groups.end(), found->groups.begin(), found->groups.end());
        for (const api::NodeView& node : found->nodes) {
            const auto known = std::find_if(
                found_.nodes.begin(), found_.nodes.end(), [&node](const api::NodeView& one) {
                    return one.node == node.node && one.incarnation == node.incarnation;
                });
            if (known == found_.nodes.end()) {
                found_.nodes.push_back(node);
            } else {
                known->up = known->up || node.up;
            }
        }
        if (!found->streams.empty()) {
            found_.streams = std::move(found->streams);
            found_.content_type = std::move(found->content_type);
        }
    } else if (const auto* transfer = std::get_if<api::TransferReply>(&answer)) {
        transfer_ = *transfer;
    } else if (const auto* changed = std::get_if<api::ChangeMemberReply>(&answer)) {
        changed_ = *changed;
    } else if (const auto* rotated = std::get_if<api::SubscriptionReply>(&answer)) {
        if (!api::unpack(rotated->body.bytes(), keys_)) {
            refused_.why = api::Refusal::outcome_unknown;
        }
    }
    return --waiting_ == 0;
}

Response Task::finish(const NodeFacts& facts) {
    if (refused_.why == api::Refusal::stream_not_found) {
        return problem(404, "stream_not_found", "No stream " + stream_,
                       "list those of a bucket: ursulactl stream ls BUCKET");
    }
    if (refused_.why != api::Refusal::none && kind_ == Kind::change) {
        Response response;
        response.refused = refused_;
        return response;
    }
    if (refused_.why != api::Refusal::none) {
        return problem(503, "not_now", "The group or a core could not answer now",
                       "try again in a second");
    }
    std::sort(found_.groups.begin(), found_.groups.end(),
              [](const api::GroupView& a, const api::GroupView& b) { return a.group < b.group; });
    switch (kind_) {
        case Kind::status:
            return json(200, render_status(facts, found_));
        case Kind::health:
            return json(200, render_health(facts, found_));
        case Kind::members:
            return json(200, render_members(facts, found_));
        case Kind::groups:
            return json(200, render_groups(facts, found_));
        case Kind::group:
            return json(200, render_group(facts, found_));
        case Kind::stream:
            return json(200, render_stream(facts, stream_, found_));
        case Kind::transfer:
            return transfer_response(ask_.group, to_, transfer_);
        case Kind::change:
            return json(200, render_member_change(ask_.group, change_, changed_));
        case Kind::rotate_key: {
            nlohmann::ordered_json keys = nlohmann::ordered_json::array();
            for (const api::SigningKey& key : keys_.keys) {
                keys.push_back({{"kid", key.kid}, {"signs", key.retired_ms == 0}});
            }
            const nlohmann::ordered_json body = {{"schema", 1}, {"signing_keys", keys}};
            return json(200, body.dump() + "\n");
        }
    }
    return no_such_path();
}

}  // namespace ursula::admin
