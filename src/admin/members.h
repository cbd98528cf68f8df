// Membership for operators: the body of a change of one group's members, and who the members of all
// groups are.
//
//   {"step": "add_learner", "node": 4, "incarnation": "1234567890123", "shards": 2,
//    "address": "10.0.0.4:4439", "client": "http://10.0.0.4:4437"}
//   {"step": "promote" or "remove", "node": 4, "incarnation": "1234567890123"}
//
// An incarnation is a decimal string: a JSON number would lose digits in many readers. Without one,
// promote and remove mean the member of that id, whichever storage it has.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "admin/facts.h"
#include "api/call.h"
#include "api/inspect.h"
#include "api/reply.h"

namespace ursula::admin {

struct MemberChange {
    api::ChangeMemberCall::Step step = api::ChangeMemberCall::Step::remove;
    base::NodeId node;
    std::uint64_t incarnation = 0;
    std::uint32_t shards = 0;
    std::string address;
    std::string client;

    // Its texts are those of this.
    api::ChangeMemberCall call(base::GroupId group) const;
};

// Nothing: the body is no such object.
std::optional<MemberChange> read_member_change(base::Bytes body);

std::string render_member_change(base::GroupId group, const MemberChange& change,
                                 const api::ChangeMemberReply& reply);
// `found` holds every group of the node.
std::string render_members(const NodeFacts& facts, const api::InspectReply& found);

}  // namespace ursula::admin
