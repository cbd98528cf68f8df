// The admin plane over HTTP: requests to src/admin, its questions to shards, its answers back.
// Reading is open to every client, as /health and /metrics are; changes need the admin plane.
#include <cstring>

#include "admin/facts.h"
#include "admin/task.h"
#include "api/placement.h"
#include "base/test_clock.h"
#include "http/front.h"

namespace ursula::http {

using net::Method;

namespace {

admin::Method method_of(Method method) {
    return method == Method::get || method == Method::head ? admin::Method::get
           : method == Method::post                        ? admin::Method::post
                                                           : admin::Method::other;
}

}  // namespace

// The stream that `path` ("/bucket/stream", "/v1/stream/a/b") names by the rules for clients. The
// route is found in a copy, which it rewrites.
bool Front::find_admin_stream(std::string_view path, api::StreamKey& key) {
    char* text = arena_.room(path.size());
    std::memcpy(text, path.data(), path.size());
    const Route route = find_route(text, path.size());
    if (route.kind != RouteKind::stream) {
        return false;
    }
    key = key_of(route);
    return true;
}

// The admin plane listens from the first turn on, and serves data as well; data only once the node
// is ready, as clients have it: what was acknowledged before that might be missing unnoticed.
bool Front::refuse_early_data(Exchange& exchange, const Route& route) {
    const bool is_data = route.kind == RouteKind::stream ||
                         route.kind == RouteKind::subscriptions ||
                         route.kind == RouteKind::bucket || route.kind == RouteKind::root;
    if (!is_data || pages_.admin_facts().health.recovered) {
        return false;
    }
    Problem problem = problem_of_status(503, "starting");
    problem.hint = "the node is not ready yet: ursulactl wait --healthy";
    responder_.problem(exchange, problem);
    return true;
}

void Front::start_admin(Exchange& exchange, const net::Request& request, const Route& route) {
    constexpr std::string_view streams = "/v1/streams/";
    exchange.asked = Asked::admin;
    if constexpr (base::clock_moves) {
        if (request.method == Method::post && route.stream_name == "/test-clock") {
            base::move_clock(request.query);
            responder_.end(exchange, responder_.begin(exchange, 204, false).end_without_body());
            return;
        }
    }
    exchange.admin = std::make_unique<admin::Task>();
    admin::Request asked;
    asked.method = method_of(request.method);
    asked.path = route.stream_name;
    asked.query = request.query;
    asked.body = request.body;
    // A browser says where a page comes from; no page has business here, wherever it was loaded.
    asked.may_change =
        transport_.plane(exchange.connection) == net::Plane::admin && !exchange.has_origin;
    asked.groups = options_.groups;
    if (asked.path.starts_with(streams)) {
        asked.has_stream = find_admin_stream(asked.path.substr(streams.size() - 1), asked.stream);
    }
    exchange.has_origin = false;  // nothing of this plane is for other origins to read
    if (const auto response = exchange.admin->begin(asked, pages_.admin_facts())) {
        answer_admin(exchange, *response);
        return;
    }
    if (const std::optional<admin::Visit>& visit = exchange.admin->visit()) {
        pages_.visit(exchange.call_id(), *visit);
        return;
    }
    const admin::Ask& ask = exchange.admin->ask();
    exchange.admin->expect(ask.every_shard ? options_.shards : 1);
    if (!ask.every_shard) {
        call(exchange, api::shard_of(ask.group, options_.shards), ask.verb);
        return;
    }
    for (std::uint32_t shard = 0; shard < options_.shards && !exchange.done; ++shard) {
        call(exchange, base::ShardId(shard), ask.verb);
    }
}

void Front::take_admin(Exchange& exchange, api::Answer& answer) {
    if (exchange.admin->take(answer)) {
        answer_admin(exchange, exchange.admin->finish(pages_.admin_facts()));
    }
}

void Front::on_visit(api::CallId id, const admin::Visit& visit,
                     const admin::VisitOutcome& outcome) {
    Exchange* exchange = exchanges_.find(id);
    if (exchange != nullptr && !exchange->done) {
        answer_admin(*exchange, admin::visit_response(visit, outcome));
    }
}

void Front::answer_admin(Exchange& exchange, const admin::Response& response) {
    if (response.refused) {
        responder_.refuse(exchange, *response.refused);
        return;
    }
    if (!response.code.empty()) {
        const std::string allow = response.allow.empty()
                                      ? std::string()
                                      : "Allow: " + std::string(response.allow) + "\r\n";
        responder_.problem(
            exchange,
            {response.status, response.code, response.title, response.hint, response.status == 503},
            allow);
        return;
    }
    net::ResponseWriter writer = responder_.begin(exchange, response.status, false);
    writer.constant("Content-Type: application/json\r\nCache-Control: no-store\r\n");
    responder_.end(exchange, exchange.head_only
                                 ? writer.end_with_length(response.body.size())
                                 : writer.end_with_body(base::as_bytes(response.body)));
}

}  // namespace ursula::http
