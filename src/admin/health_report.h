// The health of the cluster as this node sees it, for a person: each reason with what it means and
// what to do next.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "admin/facts.h"
#include "api/inspect.h"

namespace ursula::admin {

struct Reason {
    std::string_view code;
    std::string text;
    std::string_view next;
};

struct HealthReport {
    ops::HealthStatus status = ops::HealthStatus::ok;
    std::vector<Reason> reasons;
};

[[nodiscard]] std::string_view name_of(ops::HealthStatus status);
// Groups of the node without a leader that it knows.
[[nodiscard]] std::uint32_t leaderless(const NodeFacts& facts, const api::InspectReply& found);
// Leaders said so, or no group counts this node any more, though they have members.
[[nodiscard]] bool is_removed(const NodeFacts& facts, const api::InspectReply& found);
[[nodiscard]] HealthReport report_health(const NodeFacts& facts, const api::InspectReply& found);

}  // namespace ursula::admin
