// MemberInfo: what the others must know of a member to reach it and to tell it from an impostor.
// MemberTable: a membership with the infos of all it names. Each membership entry carries one, so a
// group's log alone tells every replica who its peers are. Plain values.
//
//   body of a membership entry, behind the commit hint (shard/entry_body.h), little-endian
//     version          u8     1
//     joint            u8     0 or 1
//     members          u8     n, at least 1
//     zero             u8
//     n members, by rising node
//       node           u32    at least 1
//       roles          u8     1 voter + 2 outgoing + 4 learner, as raft::Member
//       zero           u8
//       address size   u16
//       client size    u16
//       zero           u16
//       shards         u32
//       incarnation    u64    0: not known
//       address, client       visible ASCII
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/limits.h"
#include "raft/membership.h"

namespace ursula::shard {

struct MemberInfo {
    base::NodeId node;
    std::uint32_t shards = 1;  // of this incarnation; never changes
    // Of its storage: a node whose directory was emptied has another one, and is another member
    // (reliability-anchors R11). 0: not known, any passes for it.
    std::uint64_t incarnation = 0;
    std::string address;  // where its peers reach it: numeric, with the port
    std::string client;   // URL where clients do
    bool operator==(const MemberInfo&) const = default;

    // Whether storage of that incarnation is this member's.
    bool is(std::uint64_t storage) const {
        return storage == 0 || incarnation == 0 || storage == incarnation;
    }
};

struct MemberTable {
    raft::MembershipAt at;
    std::vector<MemberInfo> infos;  // by rising node: those `at` names, and no other

    const MemberInfo* find(base::NodeId node) const {
        for (const MemberInfo& info : infos) {
            if (info.node == node) {
                return &info;
            }
        }
        return nullptr;
    }
    bool operator==(const MemberTable&) const = default;
};

// Whether it may become a member: every bound is kept.
bool is_sound(const MemberInfo& info);

std::size_t encoded_size(const MemberTable& table);
// Fills exactly encoded_size(table) bytes.
void encode(const MemberTable& table, base::MutableBytes out);
// The table that the entry at `index` sets. False: it is none; `table` is undefined then.
bool decode(base::Bytes bytes, base::LogIndex index, MemberTable& table);

}  // namespace ursula::shard
