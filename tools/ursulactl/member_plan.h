// What a change of members is decided by: who the members are, as a node told it, and what a group
// loses when one of its voters goes. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace ursula::ctl {

// One storage of a node: an id may have two while it is being replaced.
struct MemberRow {
    std::uint32_t id = 0;
    std::string address;
    std::string client;  // empty: not known
    std::string incarnation;
    std::uint32_t voter = 0;  // in so many groups
    std::uint32_t learner = 0;
    std::uint32_t leaving = 0;
    std::uint32_t leads = 0;
    bool reachable = false;
};

struct MemberList {
    std::uint32_t self = 0;  // who told it
    std::uint32_t groups = 0;
    std::vector<MemberRow> rows;

    std::vector<MemberRow> of(std::uint32_t id) const;
};

// Of GET /admin/v1/members.
MemberList read_members(const std::string& body);

// How many nodes the groups can lose and still take appends, the weakest group counting; negative:
// so many are missing already.
struct Tolerance {
    int before = 0;
    int without = 0;  // the node that goes
    // Why it may not go: the first group that would have no majority, or no voter; else empty.
    std::string trouble;
};

// Of GET /admin/v1/groups, for a node that goes with this storage. A group whose members are
// changing is left to its leader to judge.
Tolerance weigh(const std::string& groups, std::uint32_t node, const std::string& incarnation);

// Bodies of POST /admin/v1/groups/{g}/members.
std::string add_body(const MemberRow& member, std::uint32_t shards);
std::string step_body(const std::string& step, std::uint32_t node, const std::string& incarnation);

}  // namespace ursula::ctl
