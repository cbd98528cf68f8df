#include "raft/membership.h"

#include <algorithm>

#include "base/verify.h"

namespace ursula::raft {

Membership Membership::of_voters(std::span<const NodeId> voters) {
    Membership membership;
    for (const NodeId voter : voters) {
        VERIFY(membership.find(voter) == nullptr);
        VERIFY(membership.set({voter, true, false, false}));
    }
    return membership;
}

const Member* Membership::find(NodeId id) const {
    for (const Member& member : members()) {
        if (member.id == id) {
            return &member;
        }
    }
    return nullptr;
}

bool Membership::votes(NodeId id) const {
    const Member* member = find(id);
    return member != nullptr && (member->voter || member->outgoing);
}

std::size_t Membership::voters() const {
    const std::span<const Member> all = members();
    return static_cast<std::size_t>(
        std::count_if(all.begin(), all.end(), [](const Member& member) { return member.voter; }));
}

bool Membership::set(const Member& member) {
    VERIFY(member.id != NodeId{});
    std::size_t place = 0;
    while (place < count_ && members_[place].id < member.id) {
        ++place;
    }
    if (place < count_ && members_[place].id == member.id) {
        members_[place] = member;
        return true;
    }
    if (count_ == members_.size()) {
        return false;
    }
    std::move_backward(members_.begin() + static_cast<std::ptrdiff_t>(place),
                       members_.begin() + count_, members_.begin() + count_ + 1);
    members_[place] = member;
    ++count_;
    return true;
}

bool Membership::towards(const Membership& target, Membership& next) const {
    VERIFY(!joint_ && !target.joint_);
    bool same_voters = true;
    next = target;
    for (const Member& old : members()) {
        if (!old.voter) {
            continue;
        }
        const Member* kept = target.find(old.id);
        same_voters = same_voters && kept != nullptr && kept->voter;
        Member member = kept != nullptr ? *kept : Member{old.id, false, false, false};
        member.outgoing = true;
        if (!next.set(member)) {
            return false;
        }
    }
    same_voters = same_voters && voters() == target.voters();
    if (same_voters) {
        next = target;
    } else {
        next.joint_ = true;
    }
    return true;
}

Membership Membership::left_joint() const {
    VERIFY(joint_);
    Membership left;
    for (const Member& member : members()) {
        if (member.voter || member.learner) {
            VERIFY(left.set({member.id, member.voter, false, member.learner && !member.voter}));
        }
    }
    return left;
}

}  // namespace ursula::raft
