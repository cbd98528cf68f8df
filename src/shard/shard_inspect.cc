// What operators ask: how this shard's replicas see their groups, one stream's replica, and a
// hand-over of leadership. Nothing here is on a hot path.
#include <algorithm>

#include "raft/bounds.h"
#include "shard/shard.h"

namespace ursula::shard {

namespace {

static_assert(api::group_members_max == raft::limits::members_max);

api::GroupRole role_of(raft::Role role) {
    switch (role) {
        case raft::Role::follower:
            return api::GroupRole::follower;
        case raft::Role::pre_candidate:
            return api::GroupRole::pre_candidate;
        case raft::Role::candidate:
            return api::GroupRole::candidate;
        case raft::Role::leader:
            return api::GroupRole::leader;
    }
    return api::GroupRole::follower;
}

api::GroupMember view_of(const raft::Status& status, const raft::Peer& peer) {
    const bool is_self = peer.id == status.self;
    const bool leads = status.role == raft::Role::leader;
    api::GroupMember member;
    member.node = peer.id;
    member.voter = peer.voter;
    member.outgoing = peer.outgoing;
    member.up = is_self || !peer.down;
    // A leader has not heard of a follower's log before its first answer; its own log is durable
    // up to `persisted`, and so is a follower's own.
    member.match_known = is_self || (leads && peer.match.value != 0);
    member.match = is_self ? status.persisted : member.match_known ? peer.match : base::LogIndex{};
    return member;
}

api::GroupView view_of(const Replica& replica, base::ShardId shard) {
    const raft::Status status = replica.group.status();
    api::GroupView view;
    view.group = status.group;
    view.shard = shard;
    view.role = role_of(status.role);
    view.joint = status.membership.membership.joint();
    view.leader = status.leader;
    view.transfer = status.transfer_to;
    view.term = status.hard_state.term;
    view.commit = status.committed.index;
    view.applied = replica.machine.applied().index;
    view.last = status.last.index;
    view.streams = replica.machine.streams();
    for (const raft::Peer& peer : status.peers) {
        api::GroupMember& member = view.members[view.member_count++];
        member = view_of(status, peer);
        if (const MemberInfo* info = replica.tables.back().find(peer.id)) {
            member.incarnation = info->incarnation;
        }
    }
    return view;
}

base::Slice slice_of(const std::string& text) {
    return base::Slice::copy_of(base::as_bytes(text));
}

}  // namespace

void Shard::inspect(const api::Call& call, const api::InspectCall& what) {
    if (what.what == api::InspectCall::What::stream) {
        Replica& replica = this->replica(what.key.group);
        if (!has_peers()) {
            serve_stream_view(replica, call.from, call.id, what, confirm_reads(replica));
        } else if (replica.group.leader() == base::NodeId{}) {
            // Nobody can confirm it; an operator wants to see what there is all the more.
            serve_stream_view(replica, call.from, call.id, what, false);
        } else {
            park(replica, call, what.key.name);
        }
        return;
    }
    api::InspectReply out;
    if (what.what == api::InspectCall::What::group) {
        out.groups.push_back(view_of(replica(what.key.group), options_.id));
    } else {
        out.groups.reserve(replicas_.size());
        for (const auto& replica : replicas_) {
            out.groups.push_back(view_of(*replica, options_.id));
        }
    }
    out.nodes = named_nodes();
    reply(call.from, call.id, std::move(out));
}

// A node alone names nobody.
std::vector<api::NodeView> Shard::named_nodes() const {
    std::vector<MemberInfo> infos;
    for (const auto& replica : replicas_) {
        if (!has_peers()) {
            break;
        }
        for (const MemberInfo& info : replica->tables.back().infos) {
            if (std::find(infos.begin(), infos.end(), info) == infos.end()) {
                infos.push_back(info);
            }
        }
    }
    std::vector<api::NodeView> nodes;
    nodes.reserve(infos.size());
    for (const MemberInfo& info : infos) {
        const bool heard = std::any_of(links_.begin(), links_.end(), [&info](const PeerLink& link) {
            return link.peer.node == info.node && link.boot != 0 && !link.down &&
                   info.is(link.incarnation);
        });
        const bool is_self = info.node == options_.node && info.is(options_.incarnation);
        nodes.push_back({info.node, heard || is_self, info.shards, info.incarnation,
                         slice_of(info.address), slice_of(info.client)});
    }
    return nodes;
}

void Shard::serve_stream_view(Replica& replica, base::ShardId from, api::CallId id,
                              const api::InspectCall& what, bool confirmed) {
    const stream::Stream* stream = replica.machine.find(what.key.name, what.key.hash);
    if (stream == nullptr || stream->gone() || replica.machine.is_dead(*stream)) {
        reply(from, id, api::Refused{api::Refusal::stream_not_found});
        return;
    }
    api::InspectReply out;
    out.groups.push_back(view_of(replica, options_.id));
    api::StreamView& view = out.streams.emplace_back();
    view.incarnation = stream->incarnation(replica.id());
    view.tail = stream->tail();
    view.closed = stream->closed();
    view.confirmed = confirmed;
    if (const stream::Expiry* expiry = stream->expiry()) {
        const std::int64_t now_ms = replica.group.is_leader() ? group_clock(replica) : now_.wall.ms;
        view.expires = expiry->kind;
        view.ttl_ms = expiry->slides() ? expiry->ms : 0;
        view.left_ms = std::max<std::int64_t>(expiry->deadline_ms() - now_ms, 0);
    }
    out.content_type = stream->content_type_slice();
    reply(from, id, std::move(out));
}

// Begins it; that it is over is seen in the group's leader. raft/transfer.cc ignores what cannot
// be done, so it is looked at first.
void Shard::transfer(const api::Call& call, const api::TransferCall& transfer) {
    Replica& replica = this->replica(transfer.group);
    const raft::Status status = replica.group.status();
    api::TransferReply out;
    out.leader = status.leader;
    out.term = status.hard_state.term;
    const auto to = std::find_if(status.peers.begin(), status.peers.end(),
                                 [&](const raft::Peer& peer) { return peer.id == transfer.to; });
    if (status.leader == transfer.to && transfer.to != base::NodeId{}) {
        out.kind = api::TransferReply::Kind::leads_already;
    } else if (status.role != raft::Role::leader) {
        out.kind = api::TransferReply::Kind::not_leader;
    } else if (to == status.peers.end() || !to->voter) {
        out.kind = api::TransferReply::Kind::not_a_voter;
    } else if (to->down || to->reverted) {
        out.kind = api::TransferReply::Kind::not_up;
    } else if (status.transfer_to != base::NodeId{} && status.transfer_to != transfer.to) {
        out.kind = api::TransferReply::Kind::under_way;
    } else {
        replica.group.step(raft::Transfer{transfer.to, true}, now_, replica.effects);
        carry_out(replica);
    }
    reply(call.from, call.id, out);
}

}  // namespace ursula::shard
