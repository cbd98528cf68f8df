#include "http/routes.h"

#include <doctest/doctest.h>

#include <string>

using namespace ursula::http;

namespace {
struct Found {
    std::string text;
    Route route;
};
Found find(std::string path) {
    Found found{std::move(path), {}};
    found.route = find_route(found.text.data(), found.text.size());
    return found;
}
}  // namespace

TEST_CASE("streams have one canonical name and a place") {
    Found two = find("/demo/hello");
    CHECK(two.route.kind == RouteKind::stream);
    CHECK(two.route.stream_name == "demo/hello");
    CHECK(two.route.placed_by == "demo/hello");
    CHECK(two.route.bucket == "demo");
    Found three = find("/demo/user-7/.index");
    CHECK(three.route.stream_name == "demo/user-7/.index");
    CHECK(three.route.placed_by == "demo/user-7");
    Found built_in = find("/v1/stream/yjs/svc/docs/a..b/.updates");
    CHECK(built_in.route.kind == RouteKind::stream);
    CHECK(built_in.route.built_in);
    CHECK(built_in.route.stream_name == "v1/yjs/svc/docs/a..b/.updates");
    Found alias = find("/v1/streams/yjs/x");
    CHECK(alias.route.stream_name == "v1/yjs/x");
    CHECK(find("/v1/stream/__dsx").route.stream_name == "v1/__dsx");
}

TEST_CASE("the server's own paths") {
    CHECK(find("/").route.kind == RouteKind::root);
    CHECK(find("/livez").route.kind == RouteKind::livez);
    CHECK(find("/readyz").route.kind == RouteKind::readyz);
    CHECK(find("/health").route.kind == RouteKind::health);
    CHECK(find("/metrics").route.kind == RouteKind::metrics);
    CHECK(find("/demo").route.kind == RouteKind::bucket);
}

TEST_CASE("what is refused says why") {
    CHECK(find("/admin").route.why == NameTrouble::reserved_bucket);
    CHECK(find("/health/x").route.why == NameTrouble::reserved_bucket);
    CHECK(find("/v1").route.why == NameTrouble::reserved_bucket);
    CHECK(find("/v1/other/x").route.why == NameTrouble::reserved_bucket);
    CHECK(find("/v1/stream/__ds").route.kind == RouteKind::subscriptions);
    CHECK(find("/v1/stream/__ds/jwks.json").route.kind == RouteKind::subscriptions);
    CHECK(find("/demo/attrs").route.why == NameTrouble::reserved_segment);
    CHECK(find("/demo/a/$transaction").route.why == NameTrouble::reserved_segment);
    CHECK(find("/demo/__ds/x").route.kind == RouteKind::subscriptions);
    // In any mix of cases; what only begins like it is anybody's.
    for (const char* path :
         {"/v1/stream/__DS", "/v1/stream/__Ds/x", "/demo/__dS", "/demo/__DS/x", "/demo/a/__DS"}) {
        CAPTURE(path);
        CHECK(find(path).route.why == NameTrouble::reserved_segment);
    }
    for (const char* path : {"/Health", "/READYZ", "/Admin/x", "/Metrics/x", "/V1/stream/x", "/V1",
                             "/__DS/x", "/__Ursula"}) {
        CAPTURE(path);
        CHECK(find(path).route.why == NameTrouble::reserved_bucket);
    }
    CHECK(find("/v1/stream/__DSx").route.kind == RouteKind::stream);
    CHECK(find("/v1/stream/a/__DS").route.kind == RouteKind::stream);
    CHECK(find("/demo/").route.why == NameTrouble::empty_segment);
    CHECK(find("//demo").route.why == NameTrouble::empty_segment);
    CHECK(find("/v1/stream/").route.why == NameTrouble::empty_segment);
    CHECK(find("/v1/stream/a//b").route.why == NameTrouble::empty_segment);
    CHECK(find("/a/b/c/d").route.why == NameTrouble::too_many_segments);
    CHECK(find("/b\xC3\xA4/x").route.why == NameTrouble::bad_bucket_name);
    CHECK(find("/__mine").route.why == NameTrouble::bad_bucket_name);
    CHECK(find("/v1/stream/" + std::string(1025, 'a')).route.why == NameTrouble::too_long);
    CHECK(find("/v1/stream/" + std::string(1024, 'a')).route.kind == RouteKind::stream);
}
