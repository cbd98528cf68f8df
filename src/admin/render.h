// What the shards said, as JSON (src/admin/task.h names the resources).
#pragma once

#include <string>
#include <string_view>

#include "admin/facts.h"
#include "api/inspect.h"

namespace ursula::admin {

// Each ends in a newline. `found` holds every group of the node, or none while it starts.
std::string render_status(const NodeFacts& facts, const api::InspectReply& found);
std::string render_health(const NodeFacts& facts, const api::InspectReply& found);
std::string render_groups(const NodeFacts& facts, const api::InspectReply& found);
// `found` holds the one group.
std::string render_group(const NodeFacts& facts, const api::InspectReply& found);
// `found` holds the stream and its group.
std::string render_stream(const NodeFacts& facts, std::string_view name,
                          const api::InspectReply& found);
std::string render_transfer(base::GroupId group, base::NodeId to, const api::TransferReply& reply);

}  // namespace ursula::admin
