// Who belongs to a group (thesis 4): voters, learners, and during a joint change (4.3) the voters
// of both sides.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "raft/bounds.h"
#include "raft/types.h"

namespace ursula::raft {

struct Member {
    NodeId id;
    bool voter = false;     // counts in the only majority, in a joint change in the new one
    bool outgoing = false;  // joint change: counts in the old majority
    bool learner = false;   // receives the log; also of an outgoing voter that stays as one
    constexpr auto operator<=>(const Member&) const = default;
};

// A value of fixed size, members in order of their ids. A membership without voters is that of a
// node that was not added yet: it waits for a leader to tell it more.
class Membership {
  public:
    Membership() = default;
    // A group's first members, all voters. At most limits::members_max, distinct.
    static Membership of_voters(std::span<const NodeId> voters);

    std::span<const Member> members() const { return {members_.data(), count_}; }
    bool joint() const { return joint_; }
    const Member* find(NodeId id) const;
    // Voter of either side: may campaign and grant.
    bool votes(NodeId id) const;
    std::size_t voters() const;

    // The member is inserted at its place or replaced. False when there is no room.
    bool set(const Member& member);
    void set_joint(bool joint) { joint_ = joint; }

    // From this (not joint) membership towards `target` (not joint, at least one voter): the joint
    // one when the voters differ (4.3), else the target itself. False when both together are too
    // many members; `next` is undefined then.
    bool towards(const Membership& target, Membership& next) const;
    // What follows a committed joint membership: the new side alone.
    Membership left_joint() const;

    bool operator==(const Membership&) const = default;

  private:
    std::array<Member, limits::members_max> members_{};
    std::uint8_t count_ = 0;
    bool joint_ = false;
};

// The membership that the entry at `index` set; 0 for that of the group's beginning. It holds from
// the moment the entry is in the log, committed or not (4.1).
struct MembershipAt {
    LogIndex index;
    Membership membership;
    bool operator==(const MembershipAt&) const = default;
};

}  // namespace ursula::raft
