// The three questions of a balancer, a supervisor and a person (notes/ecosystem-anchors.md 1.1): is
// the process alive, does this node take requests, is the whole well. Short reason codes only:
// the answers are given to anybody, so they carry no address, path, name or error text.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "ops/metrics.h"

namespace ursula::ops {

// A core that has not begun a turn for so long is wedged.
constexpr base::Duration turn_age_max = base::seconds(10);

// Shards whose loop last began a turn longer ago than turn_age_max. A loop that has not begun its
// first turn is not counted: it is still starting.
[[nodiscard]] std::uint32_t stalled_shards(std::span<const ShardMetrics* const> shards,
                                           base::Instant now);

// What the node knows of itself.
struct HealthInput {
    bool recovered = false;    // every shard has read its log and every listener is open
    bool draining = false;     // a signal asked for the end
    bool disk_full = false;    // below storage.reserve
    bool memory_full = false;  // in memory: at storage.hot_bytes
    std::uint32_t shards = 0;
    std::uint32_t stalled_shards = 0;
    std::uint32_t groups = 0;
    std::uint32_t leaderless_groups = 0;
    std::uint32_t peer_links = 0;  // to shards of other nodes; 0: alone
    std::uint32_t peer_links_down = 0;
    bool removed = false;  // leaders say that no group names this node
    std::uint64_t streams = 0;
    std::uint64_t connections = 0;
    std::uint64_t live_readers = 0;
};

enum class HealthStatus : std::uint8_t { ok, degraded, down };

struct Health {
    HealthStatus status = HealthStatus::ok;
    std::vector<std::string_view> reasons;  // codes, static text
};

// GET /health. `down`: nobody's request succeeds; `degraded`: some do not.
[[nodiscard]] Health assess_health(const HealthInput& input);

// GET /livez and /readyz: no reason means 200, else 503. Readiness does not depend on leaders:
// one group without one must not take a node out of its balancer.
[[nodiscard]] std::vector<std::string_view> reasons_not_live(const HealthInput& input);
[[nodiscard]] std::vector<std::string_view> reasons_not_ready(const HealthInput& input);

// Bodies, JSON in one line with a newline:
//   {"status":"ok","reasons":[],"counts":{"shards":2,...}}
//   {"status":"ok","reasons":[]} for /livez and /readyz, where the status is ok or unavailable
void write_health(std::string& out, const HealthInput& input);
void write_probe(std::string& out, std::span<const std::string_view> reasons);

}  // namespace ursula::ops
