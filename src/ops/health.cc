#include "ops/health.h"

namespace ursula::ops {

namespace {

std::string_view name_of(HealthStatus status) {
    switch (status) {
        case HealthStatus::ok:
            return "ok";
        case HealthStatus::degraded:
            return "degraded";
        case HealthStatus::down:
            return "down";
    }
    return {};
}

// Codes are words of ours: nothing in them needs an escape.
void put_status(std::string& out, std::string_view status,
                std::span<const std::string_view> reasons) {
    out.append("{\"status\":\"").append(status).append("\",\"reasons\":[");
    for (std::size_t i = 0; i < reasons.size(); ++i) {
        out.append(i > 0 ? ",\"" : "\"").append(reasons[i]).append("\"");
    }
    out.append("]");
}

void put_count(std::string& out, std::string_view name, std::uint64_t count) {
    out.append(out.back() == '{' ? "\"" : ",\"").append(name).append("\":");
    out.append(std::to_string(count));
}

}  // namespace

std::uint32_t stalled_shards(std::span<const ShardMetrics* const> shards, base::Instant now) {
    std::uint32_t stalled = 0;
    for (const ShardMetrics* shard : shards) {
        const base::Instant last{static_cast<std::int64_t>(shard->last_turn_ns.value())};
        stalled += last.ns != 0 && now - last > turn_age_max ? 1u : 0u;
    }
    return stalled;
}

std::vector<std::string_view> reasons_not_live(const HealthInput& input) {
    std::vector<std::string_view> reasons;
    if (input.stalled_shards > 0) {
        reasons.push_back("core_stalled");
    }
    return reasons;
}

std::vector<std::string_view> reasons_not_ready(const HealthInput& input) {
    std::vector<std::string_view> reasons;
    if (input.removed) {
        reasons.push_back("removed");
    } else if (!input.recovered) {
        reasons.push_back("starting");
    }
    if (input.draining) {
        reasons.push_back("draining");
    }
    if (input.disk_full) {
        reasons.push_back("disk_full");
    }
    return reasons;
}

Health assess_health(const HealthInput& input) {
    Health health;
    bool down = false;
    const auto because = [&health](bool is_so, std::string_view code) {
        if (is_so) {
            health.reasons.push_back(code);
        }
        return is_so;
    };
    down |= because(input.removed, "removed");
    down |= because(!input.recovered && !input.removed, "starting");
    because(input.draining, "draining");
    down |=
        because(input.stalled_shards > 0, "core_stalled") && input.stalled_shards == input.shards;
    down |= because(input.leaderless_groups > 0, "leaderless_groups") &&
            input.leaderless_groups == input.groups;
    because(input.peer_links_down > 0, "peers_unreachable");
    because(input.disk_full, "disk_full");
    because(input.memory_full, "memory_full");
    if (!health.reasons.empty()) {
        health.status = down ? HealthStatus::down : HealthStatus::degraded;
    }
    return health;
}

void write_health(std::string& out, const HealthInput& input) {
    const Health health = assess_health(input);
    put_status(out, name_of(health.status), health.reasons);
    out.append(",\"counts\":{");
    put_count(out, "shards", input.shards);
    put_count(out, "stalled_shards", input.stalled_shards);
    put_count(out, "groups", input.groups);
    put_count(out, "leaderless_groups", input.leaderless_groups);
    if (input.peer_links > 0) {
        put_count(out, "peer_links", input.peer_links);
        put_count(out, "peer_links_down", input.peer_links_down);
    }
    put_count(out, "streams", input.streams);
    put_count(out, "connections", input.connections);
    put_count(out, "live_readers", input.live_readers);
    out.append("}}\n");
}

void write_probe(std::string& out, std::span<const std::string_view> reasons) {
    put_status(out, reasons.empty() ? "ok" : "unavailable", reasons);
    out.append("}\n");
}

}  // namespace ursula::ops
