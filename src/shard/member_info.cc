#include "shard/member_info.h"

#include <algorithm>

#include "base/wire.h"

namespace ursula::shard {

namespace {

namespace limits = base::limits;

constexpr std::uint8_t table_version = 1;
constexpr std::size_t head_bytes = 4;
constexpr std::size_t member_bytes = 24;  // without its texts
constexpr std::uint8_t voter_role = 1;
constexpr std::uint8_t outgoing_role = 2;
constexpr std::uint8_t learner_role = 4;

bool is_visible(std::string_view text) {
    return std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c <= '~'; });
}

// What raft makes (Membership::towards, left_joint) and nothing else.
bool is_possible(const raft::Member& member, bool joint) {
    if (!joint) {
        return !member.outgoing && member.voter != member.learner;
    }
    return (member.voter || member.outgoing || member.learner) && !(member.voter && member.learner);
}

}  // namespace

bool is_sound(const MemberInfo& info) {
    return info.node != base::NodeId{} && info.shards >= 1 && info.shards <= limits::shards_max &&
           info.address.size() <= limits::member_address_bytes_max &&
           info.client.size() <= limits::member_url_bytes_max && is_visible(info.address) &&
           is_visible(info.client);
}

std::size_t encoded_size(const MemberTable& table) {
    std::size_t size = head_bytes;
    for (const MemberInfo& info : table.infos) {
        size += member_bytes + info.address.size() + info.client.size();
    }
    return size;
}

void encode(const MemberTable& table, base::MutableBytes out) {
    const raft::Membership& membership = table.at.membership;
    VERIFY(membership.members().size() == table.infos.size());
    base::WireWriter to(out);
    to.put(table_version);
    to.put<std::uint8_t>(membership.joint() ? 1 : 0);
    to.put(static_cast<std::uint8_t>(table.infos.size()));
    to.put(std::uint8_t{0});
    for (std::size_t i = 0; i < table.infos.size(); ++i) {
        const raft::Member& member = membership.members()[i];
        const MemberInfo& info = table.infos[i];
        VERIFY(member.id == info.node && is_sound(info));
        to.put(info.node.value);
        to.put(static_cast<std::uint8_t>((member.voter ? voter_role : 0) |
                                         (member.outgoing ? outgoing_role : 0) |
                                         (member.learner ? learner_role : 0)));
        to.put(std::uint8_t{0});
        to.put(static_cast<std::uint16_t>(info.address.size()));
        to.put(static_cast<std::uint16_t>(info.client.size()));
        to.put(std::uint16_t{0});
        to.put(info.shards);
        to.put(info.incarnation);
        to.put_text(info.address);
        to.put_text(info.client);
    }
    VERIFY(to.used() == out.size());
}

bool decode(base::Bytes bytes, base::LogIndex index, MemberTable& table) {
    table = {};
    table.at.index = index;
    base::WireReader in(bytes);
    const auto version = in.get<std::uint8_t>();
    const auto joint = in.get<std::uint8_t>();
    const auto count = in.get<std::uint8_t>();
    if (version != table_version || joint > 1 || count == 0 || count > raft::limits::members_max ||
        in.get<std::uint8_t>() != 0) {
        return false;
    }
    table.at.membership.set_joint(joint == 1);
    std::size_t voters = 0;
    std::size_t outgoing = 0;
    for (std::uint8_t i = 0; i < count; ++i) {
        MemberInfo info;
        info.node = base::NodeId(in.get<std::uint32_t>());
        const auto roles = in.get<std::uint8_t>();
        auto zero = static_cast<unsigned>(in.get<std::uint8_t>());
        const auto address_size = in.get<std::uint16_t>();
        const auto client_size = in.get<std::uint16_t>();
        zero |= in.get<std::uint16_t>();
        info.shards = in.get<std::uint32_t>();
        info.incarnation = in.get<std::uint64_t>();
        info.address = in.get_text(address_size);
        info.client = in.get_text(client_size);
        const raft::Member member{info.node, (roles & voter_role) != 0,
                                  (roles & outgoing_role) != 0, (roles & learner_role) != 0};
        if (!in.ok() || zero != 0 || roles > (voter_role | outgoing_role | learner_role) ||
            !is_sound(info) || !is_possible(member, joint == 1) ||
            (i > 0 && info.node <= table.infos.back().node)) {
            return false;
        }
        voters += member.voter ? 1 : 0;
        outgoing += member.outgoing ? 1 : 0;
        VERIFY(table.at.membership.set(member));
        table.infos.push_back(std::move(info));
    }
    return in.left() == 0 && voters > 0 && (joint == 0 || outgoing > 0);
}

}  // namespace ursula::shard
