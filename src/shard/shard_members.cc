// Memberships (raft thesis 4): what their entries carry on the way through the log, the machine and
// a restart, and an operator's changes. The group decides who votes; here is who the members are.
//
// A member is its id and its storage: a node whose directory was emptied is another member of the
// same id (reliability-anchors R11). What such a node says to a group that still names the old
// storage is not heard (take_item), and as long as the log it reads names the old one, it does not
// vote itself (as_seen_here).
#include <algorithm>

#include "base/limits.h"
#include "shard/entry_body.h"
#include "shard/planted.h"
#include "shard/shard.h"

namespace ursula::shard {

namespace limits = base::limits;

namespace {

constexpr raft::SubmitTicket change_ticket{2};

// The membership once the change under way is through.
raft::Membership settled(const raft::Membership& membership) {
    return membership.joint() ? membership.left_joint() : membership;
}

// Whether it is what the step wants already.
bool is_done(const MemberTable& table, const api::ChangeMemberCall& change,
             const MemberInfo& wanted) {
    const raft::Membership membership = settled(table.at.membership);
    const raft::Member* member = membership.find(change.node);
    const MemberInfo* info = table.find(change.node);
    switch (change.step) {
        case api::ChangeMemberCall::Step::add_learner:
            return member != nullptr && *info == wanted;
        case api::ChangeMemberCall::Step::promote:
            return member != nullptr && member->voter && info->is(change.incarnation);
        case api::ChangeMemberCall::Step::remove:
            return member == nullptr || !info->is(change.incarnation);
    }
    return false;
}

raft::Membership without(const raft::Membership& membership, base::NodeId node) {
    raft::Membership rest;
    for (const raft::Member& member : membership.members()) {
        if (member.id != node) {
            VERIFY(rest.set(member));
        }
    }
    return rest;
}

api::Refusal refusal_of(raft::SubmitRefusal why) {
    switch (why) {
        case raft::SubmitRefusal::not_leader:
            return api::Refusal::not_leader;
        case raft::SubmitRefusal::uncommitted_full:
            return api::Refusal::overloaded;
        case raft::SubmitRefusal::transferring:
        case raft::SubmitRefusal::change_in_flight:
            return api::Refusal::member_change_under_way;
        case raft::SubmitRefusal::not_caught_up:
            return api::Refusal::member_not_caught_up;
        case raft::SubmitRefusal::no_quorum:
            return api::Refusal::member_quorum;
        case raft::SubmitRefusal::too_many_members:
            return api::Refusal::members_too_many;
    }
    return api::Refusal::member_change_under_way;
}

}  // namespace

// The membership before any entry sets one.
void Shard::found(Replica& replica) {
    MemberTable table;
    if (has_peers()) {
        table.infos = options_.founders;
    } else {
        table.infos.push_back({options_.node, options_.shards, options_.incarnation, {}, {}});
    }
    for (const MemberInfo& info : table.infos) {
        VERIFY(is_sound(info) && table.at.membership.set({info.node, true, false, false}));
    }
    replica.tables.assign(1, std::move(table));
}

// What the group is told. A node that is named with other storage is no voter: it may have promised
// what it does not remember.
raft::Membership Shard::as_seen_here(const MemberTable& table) const {
    raft::Membership membership = table.at.membership;
    const MemberInfo* own = table.find(options_.node);
    if (own != nullptr && !own->is(options_.incarnation) && !planted(Planted::amnesiac_counts)) {
        VERIFY(membership.set({options_.node, false, false, true}));
    }
    return membership;
}

std::vector<raft::MembershipAt> Shard::memberships_of(const Replica& replica) const {
    std::vector<raft::MembershipAt> all;
    for (const MemberTable& table : replica.tables) {
        all.push_back({table.at.index, as_seen_here(table)});
    }
    return all;
}

// The membership among a Replicate's entries: its body, not the message, says what it is, because
// whoever sends it may see it differently. False: entries and message do not fit.
bool Shard::read_membership(FrameItem& item, MemberTable& table) const {
    auto* message = std::get_if<raft::Replicate>(&item.message.body);
    if (message == nullptr) {
        return true;
    }
    bool found = false;
    base::LogIndex index = message->prev.index.next();
    for (const FrameEntry& entry : item.entries) {
        if (entry.kind == raft::EntryKind::membership) {
            if (found || !message->membership || message->membership->index != index ||
                !decode(commands_of(entry.body), index, table)) {
                return false;
            }
            found = true;
            message->membership->membership = as_seen_here(table);
        }
        index = index.next();
    }
    return found == message->membership.has_value();
}

// An entry of this leader's own.
void Shard::write_membership(Replica& replica, const raft::EntryToWrite& entry) {
    const std::vector<raft::MembershipAt>& all = replica.effects.memberships_to_write;
    const auto at = std::find_if(all.begin(), all.end(), [&entry](const auto& membership) {
        return membership.index == entry.id.index;
    });
    VERIFY(at != all.end());
    MemberTable table;
    table.at = *at;
    for (const raft::Member& member : at->membership.members()) {
        const MemberInfo* info = joining_ != nullptr && joining_->node == member.id
                                     ? joining_
                                     : replica.tables.back().find(member.id);
        VERIFY(info != nullptr);
        table.infos.push_back(*info);
    }
    const base::MutableBytes body =
        wal_->stage_entry(replica.id(), entry.id, static_cast<std::uint8_t>(entry.kind),
                          commit_hint_bytes + encoded_size(table));
    write_commit_hint(body, replica.group.log().committed());
    encode(table, body.subspan(commit_hint_bytes));
    wal_->finish_entry();
    adopt(replica, std::move(table));
}

// A membership is in force as soon as its entry is in the log (4.1).
void Shard::adopt(Replica& replica, MemberTable&& table) {
    VERIFY(replica.tables.back().at.index < table.at.index);
    replica.tables.push_back(std::move(table));
    links_due_ = true;
}

// Entries from this index on are gone.
void Shard::cut_tables(Replica& replica, base::LogIndex from) {
    while (replica.tables.size() > 1 && replica.tables.back().at.index >= from) {
        replica.tables.pop_back();
        links_due_ = true;
    }
    VERIFY(replica.tables.back().at.index < from);
    std::erase_if(replica.changes, [this, from](const PendingChange& change) {
        if (change.index < from) {
            return false;
        }
        reply(change.from, change.call, api::Refused{api::Refusal::outcome_unknown});
        return true;
    });
}

void Shard::recover_membership(Replica& replica, const storage::RecoveredEntry& entry) {
    MemberTable table;
    VERIFY(decode(commands_of(entry.body), entry.id.index, table));
    adopt(replica, std::move(table));
}

void Shard::apply_membership(Replica& replica, base::LogIndex index, base::Bytes body) {
    replica.machine.set_membership(body);
    links_due_ = true;
    const auto table =
        std::find_if(replica.tables.begin(), replica.tables.end(),
                     [index](const MemberTable& one) { return one.at.index == index; });
    VERIFY(table != replica.tables.end());
    if (table->at.membership.joint()) {
        return;
    }
    std::erase_if(replica.changes, [this, index](const PendingChange& change) {
        if (change.index > index) {
            return false;
        }
        reply(change.from, change.call, api::ChangeMemberReply{change.changed, index});
        return true;
    });
}

// After the machine's state came from a snapshot: all there is of the log's memberships.
raft::MembershipAt Shard::restore_membership(Replica& replica) {
    const base::Bytes bytes = replica.machine.membership();
    if (bytes.empty()) {
        found(replica);
    } else {
        MemberTable table;
        VERIFY(decode(bytes, replica.machine.membership_index(), table));
        replica.tables.assign(1, std::move(table));
    }
    for (const PendingChange& change : replica.changes) {
        reply(change.from, change.call, api::Refused{api::Refusal::outcome_unknown});
    }
    replica.changes.clear();
    links_due_ = true;
    const MemberTable& table = replica.tables.back();
    return {table.at.index, as_seen_here(table)};
}

// Another membership is in force.
void Shard::look_at_membership(Replica& replica) {
    links_due_ = true;
    const MemberInfo* own = replica.tables.back().find(options_.node);
    const bool stranger = own != nullptr && !own->is(options_.incarnation);
    if (stranger && !replica.stranger) {
        events_.push_back(
            {ShardEvent::Kind::member_is_stranger,
             "group " + std::to_string(replica.id().value) + ": its members name node " +
                 std::to_string(options_.node.value) +
                 " with other storage than this node's; it has no vote until it is removed and "
                 "added again"});
    }
    replica.stranger = stranger;
}

// --- an operator's changes ---

void Shard::take_change(const api::Call& call, const api::ChangeMemberCall& change) {
    if (!has_peers()) {
        reply(call.from, call.id, api::Refused{api::Refusal::member_invalid});
        return;
    }
    change_members(this->replica(change.group), call, change);
}

void Shard::change_members(Replica& replica, const api::Call& call,
                           const api::ChangeMemberCall& change) {
    const auto refuse = [this, &call](api::Refusal why, std::uint64_t number = 0) {
        api::Refused refused{why};
        refused.numbers[0] = number;
        reply(call.from, call.id, refused);
    };
    if (replica.changes.size() >= limits::member_changes_max) {
        return refuse(api::Refusal::overloaded);
    }
    const MemberTable& now = replica.tables.back();
    MemberInfo wanted;
    wanted.node = change.node;
    wanted.shards = change.shards;
    wanted.incarnation = change.incarnation;
    wanted.address = change.address;
    wanted.client = change.client;
    if (is_done(now, change, wanted)) {
        if (now.at.index <= replica.machine.applied().index && !now.at.membership.joint()) {
            reply(call.from, call.id, api::ChangeMemberReply{false, now.at.index});
        } else {
            replica.changes.push_back({now.at.index, false, call.id, call.from});
        }
        return;
    }
    const MemberInfo* known = now.find(change.node);
    if (known != nullptr && !known->is(change.incarnation)) {
        refuse(api::Refusal::member_other_storage, known->incarnation);
        return;
    }
    raft::Membership target = settled(now.at.membership);
    switch (change.step) {
        case api::ChangeMemberCall::Step::add_learner:
            if (!is_sound(wanted) || wanted.incarnation == 0 || wanted.address.empty() ||
                (known != nullptr && known->shards != wanted.shards)) {
                refuse(api::Refusal::member_invalid);
                return;
            }
            if (target.find(change.node) == nullptr &&
                !target.set({change.node, false, false, true})) {
                refuse(api::Refusal::members_too_many);
                return;
            }
            break;
        case api::ChangeMemberCall::Step::promote:
            if (target.find(change.node) == nullptr) {
                refuse(api::Refusal::member_unknown);
                return;
            }
            VERIFY(target.set({change.node, true, false, false}));
            break;
        case api::ChangeMemberCall::Step::remove:
            target = without(target, change.node);
            break;
    }
    joining_ = change.step == api::ChangeMemberCall::Step::add_learner ? &wanted : nullptr;
    replica.group.step(raft::ChangeMembership{change_ticket, target}, now_, replica.effects);
    if (!replica.effects.refused_submits.empty()) {
        const raft::SubmitRefusal why = replica.effects.refused_submits.front().why;
        replica.effects.refused_submits.clear();
        std::uint64_t number = 0;
        if (why == raft::SubmitRefusal::not_leader) {
            number = replica.group.leader().value;
        } else if (why == raft::SubmitRefusal::not_caught_up) {
            const raft::Status status = replica.group.status();
            for (const raft::Peer& peer : status.peers) {
                number =
                    peer.id == change.node ? status.last.index.value - peer.match.value : number;
            }
        }
        refuse(refusal_of(why), number);
    } else {
        VERIFY(replica.effects.entries_to_write.size() == 1);
        const base::LogIndex index = replica.effects.entries_to_write.front().id.index;
        replica.changes.push_back({index, true, call.id, call.from});
        carry_out(replica);
    }
    joining_ = nullptr;
}

}  // namespace ursula::shard
