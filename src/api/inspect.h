// What an operator asks of a node and is told: how its replicas see their groups, one stream's
// replica, a hand-over of leadership. Facts as this node knows them now; only a stream's are
// confirmed by its group first, when it has a leader.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "api/call.h"
#include "base/ids.h"
#include "base/slice.h"

namespace ursula::api {

enum class GroupRole : std::uint8_t { follower, pre_candidate, candidate, leader };

struct GroupMember {
    base::NodeId node;
    bool voter = false;     // counts in the only majority, in a joint change in the new one
    bool outgoing = false;  // joint change: counts in the old majority
    bool up = false;        // heard of lately; this node itself always is
    bool match_known = false;
    base::LogIndex match;           // known to the leader: the member's log is durable up to here
    std::uint64_t incarnation = 0;  // of its storage, as the group names it; 0: not known
};

// As many as a group can have (raft::limits::members_max).
constexpr std::size_t group_members_max = 12;

// One replica of this node. Trivially copyable: it is mailed between cores as it is.
struct GroupView {
    base::GroupId group;
    base::ShardId shard;
    GroupRole role = GroupRole::follower;
    bool joint = false;     // its members are changing
    base::NodeId leader;    // 0: none is known
    base::NodeId transfer;  // leader: it hands over to this node; 0: it does not
    base::Term term;
    base::LogIndex commit;
    base::LogIndex applied;
    base::LogIndex last;
    std::uint64_t streams = 0;
    std::uint32_t member_count = 0;
    std::array<GroupMember, group_members_max> members;
};

// A node that groups of the shard name as a member, this one too. One of another incarnation, or
// with another address while that changes, is another row.
struct NodeView {
    base::NodeId node;
    bool up = false;  // heard of lately, with that storage; this node always is
    std::uint32_t shards = 1;
    std::uint64_t incarnation = 0;
    base::Slice address;
    base::Slice client;
};

struct StreamView {
    base::Incarnation incarnation;
    std::uint64_t tail = 0;
    bool closed = false;
    bool confirmed = false;  // by the group's leader; else what this replica has applied
    Expiry::Kind expires = Expiry::Kind::none;
    std::int64_t ttl_ms = 0;   // ttl
    std::int64_t left_ms = 0;  // ttl, at: until it goes if nobody touches it, by this node's clock
};

struct InspectReply {
    std::vector<GroupView> groups;
    std::vector<NodeView> nodes;
    std::vector<StreamView> streams;  // none or one
    base::Slice content_type;         // of that one
};

struct TransferReply {
    enum class Kind : std::uint8_t {
        begun,
        leads_already,  // the node named
        not_leader,     // this node does not lead the group
        not_a_voter,    // the node named
        not_up,         // the node named is down, or lacks data of the group
        under_way,      // to another node
    };
    Kind kind = Kind::begun;
    base::NodeId leader;  // 0: none is known
    base::Term term;      // as the leader of which this node hands over
};

}  // namespace ursula::api
