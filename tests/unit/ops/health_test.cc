#include "ops/health.h"

#include <doctest/doctest.h>

#include <memory>
#include <string>

namespace ursula::ops {

namespace {

HealthInput good_node() {
    HealthInput input;
    input.recovered = true;
    input.shards = 2;
    input.groups = 64;
    input.streams = 1000;
    input.connections = 12;
    input.live_readers = 3;
    return input;
}

using Codes = std::vector<std::string_view>;

}  // namespace

TEST_CASE("a good node: ok everywhere") {
    const HealthInput input = good_node();
    CHECK(assess_health(input).status == HealthStatus::ok);
    CHECK(reasons_not_live(input).empty());
    CHECK(reasons_not_ready(input).empty());
    std::string text;
    write_health(text, input);
    CHECK(text ==
          "{\"status\":\"ok\",\"reasons\":[],\"counts\":{\"shards\":2,\"stalled_shards\":0,"
          "\"groups\":64,\"leaderless_groups\":0,\"streams\":1000,\"connections\":12,"
          "\"live_readers\":3}}\n");
}

TEST_CASE("leaders are no question of readiness") {
    HealthInput input = good_node();
    input.leaderless_groups = 1;
    CHECK(assess_health(input).status == HealthStatus::degraded);
    CHECK(assess_health(input).reasons == Codes{"leaderless_groups"});
    input.removed = true;
    CHECK(assess_health(input).reasons == Codes{"removed", "leaderless_groups"});
    CHECK(assess_health(input).status == HealthStatus::down);
    input.removed = false;
    CHECK(reasons_not_ready(input).empty());
    input.leaderless_groups = 64;
    CHECK(assess_health(input).status == HealthStatus::down);
    CHECK(reasons_not_ready(input).empty());
}

TEST_CASE("starting, draining and a full disk are") {
    HealthInput input = good_node();
    input.recovered = false;
    CHECK(reasons_not_ready(input) == Codes{"starting"});
    CHECK(assess_health(input).status == HealthStatus::down);
    input = good_node();
    input.draining = true;
    CHECK(reasons_not_ready(input) == Codes{"draining"});
    CHECK(assess_health(input).status == HealthStatus::degraded);
    input = good_node();
    input.disk_full = true;
    CHECK(reasons_not_ready(input) == Codes{"disk_full"});
    CHECK(assess_health(input).status == HealthStatus::degraded);
    CHECK(reasons_not_live(input).empty());
}

TEST_CASE("a stalled core is a question of liveness") {
    HealthInput input = good_node();
    input.stalled_shards = 1;
    CHECK(reasons_not_live(input) == Codes{"core_stalled"});
    CHECK(assess_health(input).status == HealthStatus::degraded);
    input.stalled_shards = 2;
    CHECK(assess_health(input).status == HealthStatus::down);
}

TEST_CASE("several reasons stand side by side, the worst decides") {
    HealthInput input = good_node();
    input.memory_full = true;
    input.draining = true;
    input.leaderless_groups = 64;
    std::string text;
    write_health(text, input);
    CHECK(
        text.starts_with("{\"status\":\"down\",\"reasons\":[\"draining\",\"leaderless_groups\","
                         "\"memory_full\"],\"counts\":"));
}

TEST_CASE("probes") {
    std::string text;
    write_probe(text, {});
    CHECK(text == "{\"status\":\"ok\",\"reasons\":[]}\n");
    text.clear();
    const Codes reasons = {"starting", "disk_full"};
    write_probe(text, reasons);
    CHECK(text == "{\"status\":\"unavailable\",\"reasons\":[\"starting\",\"disk_full\"]}\n");
}

TEST_CASE("stalled: older than the bound, and only once begun") {
    const auto shard = std::make_unique<ShardMetrics>();
    const ShardMetrics* const shards[] = {shard.get()};
    CHECK(stalled_shards(shards, base::Instant{} + base::seconds(1000)) == 0);
    shard->last_turn_ns.set(5);
    CHECK(stalled_shards(shards, base::Instant{5} + turn_age_max) == 0);
    CHECK(stalled_shards(shards, base::Instant{6} + turn_age_max) == 1);
}

}  // namespace ursula::ops
