// Pages of the node itself: /, /livez, /readyz, /health, /metrics.
#include "http/front.h"

namespace ursula::http {

using net::KnownHeader;
using net::Method;

namespace {

constexpr std::string_view root_text =
    "Ursula: append-only event streams over HTTP.\n"
    "\n"
    "  curl -X PUT  localhost:4437/demo\n"
    "  curl -X PUT  localhost:4437/demo/hello -H 'Content-Type: text/plain'\n"
    "  curl -X POST localhost:4437/demo/hello -H 'Content-Type: text/plain' -d 'first event'\n"
    "  curl         localhost:4437/demo/hello?offset=-1\n"
    "  curl -N      'localhost:4437/demo/hello?offset=-1&live=sse'\n"
    "\n"
    "The same protocol under /v1/stream/{path}. Buckets as JSON: GET / with Accept: "
    "application/json.\n";

}  // namespace

void Front::start_page(Exchange& exchange, const net::Request& request, const Route& route) {
    if (request.method != Method::get && request.method != Method::head) {
        refuse_method(exchange, allowed_methods(route.kind));
        return;
    }
    std::string text;
    std::string_view type = "text/plain; charset=utf-8";
    int status = 200;
    switch (route.kind) {
        case RouteKind::root:
            if (request.headers.get(KnownHeader::accept).find("application/json") !=
                std::string_view::npos) {
                start_listing(exchange, request, route);
                return;
            }
            text = root_text;
            break;
        case RouteKind::livez:
            type = "application/json";
            status = pages_.live(text) ? 200 : 503;
            break;
        case RouteKind::readyz:
            type = "application/json";
            status = pages_.ready(text) ? 200 : 503;
            break;
        case RouteKind::health:
            type = "application/json";
            text = pages_.health();
            break;
        case RouteKind::metrics:
            type = "text/plain; version=0.0.4; charset=utf-8";
            text = pages_.metrics();
            break;
        case RouteKind::admin:
        case RouteKind::subscriptions:
        case RouteKind::bucket:
        case RouteKind::stream:
        case RouteKind::refused:
            return;
    }
    net::ResponseWriter writer = responder_.begin(exchange, status, true);
    writer.header("Content-Type", type).header("Cache-Control", "no-store");
    responder_.end(exchange, exchange.head_only ? writer.end_with_length(text.size())
                                                : writer.end_with_body(base::as_bytes(text)));
}

}  // namespace ursula::http
