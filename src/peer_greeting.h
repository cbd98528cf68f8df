// What nodes say to each other before any frame: on a connection between two shards each side's
// Hello, on one to a node's control target each side's Standing, and instead of either a refusal,
// one sentence. Instead of its Standing a member may say an Admission: then the node that has no
// cluster yet is of this one, and says so by its Standing. All are blocks (net/peer_wire.h) whose
// checksum is CRC-32C of [8, length).
//
//   hello body     16: cluster 8, incarnation 8, boot 8, node 4, shard 4, shards 4, groups 4,
//                      to node 4, to shard 4
//   standing body  16: plan 8, incarnation 8, node 4, shards 4, groups 4, zero 4,
//                      the cluster's record (storage/node_file.h)
//   admission body 16: cluster 8, incarnation 8, node 4, groups 4, by node 4, zero 2, 2 + the
//                      cluster's name
//   refusal body   16: text
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/limits.h"
#include "net/peer_wire.h"
#include "shard/member_info.h"
#include "storage/node_file.h"

namespace ursula {

constexpr std::uint32_t hello_magic = 0x3148'7255;      // "UrH1"
constexpr std::uint32_t standing_magic = 0x3153'7255;   // "UrS1"
constexpr std::uint32_t admission_magic = 0x3141'7255;  // "UrA1"
constexpr std::uint32_t refusal_magic = 0x3152'7255;    // "UrR1"
// A refusal too, of a node that leaders know to be no member (any more).
constexpr std::uint32_t dismissal_magic = 0x3144'7255;  // "UrD1"
constexpr std::uint32_t peer_version = 2;
constexpr std::size_t hello_bytes = net::block_header_bytes + 56;

// What is welcome before a connection is a link.
constexpr net::BlockKind refusal_kind{
    refusal_magic, net::block_header_bytes,
    net::block_header_bytes + base::limits::peer_refusal_bytes_max};
constexpr net::BlockKind dismissal_kind{dismissal_magic, refusal_kind.bytes_min,
                                        refusal_kind.bytes_max};
constexpr std::array<net::BlockKind, 3> hello_kinds = {{
    {hello_magic, net::block_header_bytes, base::limits::peer_greeting_bytes_max},
    refusal_kind,
    dismissal_kind,
}};
constexpr std::array<net::BlockKind, 2> standing_kinds = {{
    {standing_magic, net::block_header_bytes, base::limits::peer_greeting_bytes_max},
    refusal_kind,
}};
// What a node's control target is asked.
constexpr std::array<net::BlockKind, 2> request_kinds = {{
    {standing_magic, net::block_header_bytes, base::limits::peer_greeting_bytes_max},
    {admission_magic, net::block_header_bytes, base::limits::peer_greeting_bytes_max},
}};

struct Hello {
    std::uint64_t cluster = 0;
    std::uint64_t incarnation = 0;  // of the sender's storage
    std::uint64_t boot = 0;         // the sender's life
    std::uint64_t run = 0;          // storage::NodeFile::run of it
    base::NodeId node;
    base::ShardId shard;
    std::uint32_t shards = 0;
    std::uint32_t groups = 0;
    base::NodeId to_node;  // whom the sender means to talk to
    base::ShardId to_shard;
    bool operator==(const Hello&) const = default;
};

// A node of a cluster, or one that is to become one.
struct Standing {
    std::uint64_t plan = 0;  // hash of the configuration that must be the same on all members
    std::uint64_t incarnation = 0;
    base::NodeId node;
    std::uint32_t shards = 0;
    std::uint32_t groups = 0;
    storage::ClusterRecord cluster;
    bool operator==(const Standing&) const = default;
};

// A member of a formed cluster takes a node in that has none: before any group names it.
struct Admission {
    std::uint64_t cluster = 0;
    std::uint64_t incarnation = 0;  // of the node's storage, as it said
    base::NodeId node;
    std::uint32_t groups = 0;
    base::NodeId by;   // who says this
    std::string name;  // the cluster's
    bool operator==(const Admission&) const = default;
};

std::vector<std::byte> encode_hello(const Hello& hello);
std::vector<std::byte> encode_standing(const Standing& standing);
std::vector<std::byte> encode_admission(const Admission& admission);
std::vector<std::byte> encode_refusal(std::string_view sentence);
std::vector<std::byte> encode_dismissal(std::string_view sentence);

// Empty: `out` is set. Else the sentence that refuses the block; nothing in it is trusted.
std::string decode_hello(base::Bytes block, Hello& out);
std::string decode_standing(base::Bytes block, Standing& out);
std::string decode_admission(base::Bytes block, Admission& out);
// The sentence, of a dismissal too, with anything but visible ASCII replaced.
std::string decode_refusal(base::Bytes block);

// Empty when a connection with this greeting is a link between the two; else why not. `ours` is
// what this side says to it; `members` are those this node knows. Another one of the same cluster
// is heard too, and so is other storage than the member's: whoever is behind does not know the
// newest members, and what anybody's word counts is for the groups to say (shard_peers.cc).
std::string check_hello(const Hello& theirs, const Hello& ours,
                        const std::vector<shard::MemberInfo>& members);

// The sentence for a node that no group names: not at all, or with other storage.
std::string dismissal_of(const Hello& theirs, const std::vector<shard::MemberInfo>& members);

// The refusal of a node that comes with a directory on which it has started more often already.
std::string older_copy(const Hello& theirs, std::uint64_t newest_run);

// The refusal of who says it is this node, and has another one's certificate.
std::string not_proved(base::NodeId node);

// "cluster 00c0ffee00c0ffee"
std::string cluster_name(std::uint64_t id);

}  // namespace ursula
