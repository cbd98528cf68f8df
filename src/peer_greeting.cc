#include "peer_greeting.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/crc32c.h"
#include "base/wire.h"

namespace ursula {

namespace {

using net::block_header_bytes;

void seal(std::vector<std::byte>& block, std::uint32_t magic) {
    base::store(block.data(), magic);
    base::store(block.data() + 8, peer_version);
    base::store(block.data() + 12, static_cast<std::uint32_t>(block.size()));
    base::store(block.data() + 4, base::crc32c(base::Bytes(block).subspan(8)));
}

std::vector<std::byte> encode_sentence(std::string_view sentence, std::uint32_t magic) {
    sentence = sentence.substr(0, base::limits::peer_refusal_bytes_max);
    std::vector<std::byte> block(block_header_bytes + sentence.size());
    base::copy_bytes(block.data() + block_header_bytes, base::as_bytes(sentence));
    seal(block, magic);
    return block;
}

// Empty: it is a whole block of our version.
std::string open(base::Bytes block) {
    if (block.size() < block_header_bytes ||
        base::load<std::uint32_t>(block.data() + 12) != block.size() ||
        base::load<std::uint32_t>(block.data() + 4) != base::crc32c(block.subspan(8))) {
        return "a greeting arrived damaged";
    }
    if (const auto version = base::load<std::uint32_t>(block.data() + 8); version != peer_version) {
        return fmt::format(
            "the two nodes speak versions {} and {} of the peer protocol: run the same ursula on "
            "both",
            peer_version, version);
    }
    return {};
}

}  // namespace

std::string cluster_name(std::uint64_t id) {
    return fmt::format("cluster {:016x}", id);
}

std::string not_proved(base::NodeId node) {
    return fmt::format("the certificate is not that of node {} of this cluster", node.value);
}

std::vector<std::byte> encode_hello(const Hello& hello) {
    std::vector<std::byte> block(hello_bytes);
    base::WireWriter out(base::MutableBytes(block).subspan(block_header_bytes));
    out.put(hello.cluster);
    out.put(hello.incarnation);
    out.put(hello.boot);
    out.put(hello.run);
    out.put(hello.node.value);
    out.put(hello.shard.value);
    out.put(hello.shards);
    out.put(hello.groups);
    out.put(hello.to_node.value);
    out.put(hello.to_shard.value);
    seal(block, hello_magic);
    return block;
}

std::string decode_hello(base::Bytes block, Hello& out) {
    if (std::string refusal = open(block); !refusal.empty()) {
        return refusal;
    }
    base::WireReader in(block.subspan(block_header_bytes));
    out.cluster = in.get<std::uint64_t>();
    out.incarnation = in.get<std::uint64_t>();
    out.boot = in.get<std::uint64_t>();
    out.run = in.get<std::uint64_t>();
    out.node = base::NodeId(in.get<std::uint32_t>());
    out.shard = base::ShardId(in.get<std::uint32_t>());
    out.shards = in.get<std::uint32_t>();
    out.groups = in.get<std::uint32_t>();
    out.to_node = base::NodeId(in.get<std::uint32_t>());
    out.to_shard = base::ShardId(in.get<std::uint32_t>());
    return in.ok() && in.left() == 0 ? std::string() : "a greeting has the wrong length";
}

std::vector<std::byte> encode_standing(const Standing& standing) {
    const std::vector<std::byte> record = storage::encode_cluster_record(standing.cluster);
    std::vector<std::byte> block(block_header_bytes + 32 + record.size());
    base::WireWriter out(base::MutableBytes(block).subspan(block_header_bytes));
    out.put(standing.plan);
    out.put(standing.incarnation);
    out.put(standing.node.value);
    out.put(standing.shards);
    out.put(standing.groups);
    out.put(std::uint32_t{0});
    out.put_bytes(record);
    seal(block, standing_magic);
    return block;
}

std::string decode_standing(base::Bytes block, Standing& out) {
    if (std::string refusal = open(block); !refusal.empty()) {
        return refusal;
    }
    base::WireReader in(block.subspan(block_header_bytes));
    out.plan = in.get<std::uint64_t>();
    out.incarnation = in.get<std::uint64_t>();
    out.node = base::NodeId(in.get<std::uint32_t>());
    out.shards = in.get<std::uint32_t>();
    out.groups = in.get<std::uint32_t>();
    const auto zero = in.get<std::uint32_t>();
    if (!in.ok() || zero != 0 || out.node.value == 0 ||
        out.node.value > base::limits::node_id_max || out.shards == 0 ||
        out.shards > base::limits::shards_max || out.groups == 0 ||
        out.groups > base::limits::groups_max ||
        !storage::decode_cluster_record(in.get_bytes(in.left()), out.cluster)) {
        return "a greeting has fields out of range";
    }
    return {};
}

std::vector<std::byte> encode_admission(const Admission& admission) {
    std::vector<std::byte> block(block_header_bytes + 32 + admission.name.size());
    base::WireWriter out(base::MutableBytes(block).subspan(block_header_bytes));
    out.put(admission.cluster);
    out.put(admission.incarnation);
    out.put(admission.node.value);
    out.put(admission.groups);
    out.put(admission.by.value);
    out.put(std::uint16_t{0});
    out.put(static_cast<std::uint16_t>(admission.name.size()));
    out.put_text(admission.name);
    seal(block, admission_magic);
    return block;
}

std::string decode_admission(base::Bytes block, Admission& out) {
    if (std::string refusal = open(block); !refusal.empty()) {
        return refusal;
    }
    base::WireReader in(block.subspan(block_header_bytes));
    out.cluster = in.get<std::uint64_t>();
    out.incarnation = in.get<std::uint64_t>();
    out.node = base::NodeId(in.get<std::uint32_t>());
    out.groups = in.get<std::uint32_t>();
    out.by = base::NodeId(in.get<std::uint32_t>());
    const auto zero = in.get<std::uint16_t>();
    const std::size_t name = in.get<std::uint16_t>();
    out.name = std::string(in.get_text(name));
    if (!in.ok() || in.left() != 0 || zero != 0 || out.cluster == 0 || out.node.value == 0 ||
        out.by.value == 0 || out.groups == 0 || out.groups > base::limits::groups_max ||
        name > base::limits::cluster_name_bytes_max) {
        return "an admission has fields out of range";
    }
    return {};
}

std::vector<std::byte> encode_refusal(std::string_view sentence) {
    return encode_sentence(sentence, refusal_magic);
}

std::vector<std::byte> encode_dismissal(std::string_view sentence) {
    return encode_sentence(sentence, dismissal_magic);
}

std::string decode_refusal(base::Bytes block) {
    if (std::string refusal = open(block); !refusal.empty()) {
        return refusal;
    }
    std::string text(base::as_text(block.subspan(block_header_bytes)));
    std::replace_if(
        text.begin(), text.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
    return text;
}

std::string dismissal_of(const Hello& theirs, const std::vector<shard::MemberInfo>& members) {
    const std::uint32_t node = theirs.node.value;
    // Of a node that nobody names any more `members` may still have what was known last.
    bool replaced = false;
    bool known = false;
    for (const shard::MemberInfo& member : members) {
        const bool is_it = member.node == theirs.node;
        known = known || (is_it && member.is(theirs.incarnation));
        replaced = replaced || (is_it && !member.is(theirs.incarnation));
    }
    if (replaced && !known) {
        return fmt::format(
            "{} has a node {} with other storage than this: if this directory was replaced, stop "
            "the node; if it is the new one, put it in: ursulactl cluster replace {}",
            cluster_name(theirs.cluster), node, node);
    }
    return fmt::format(
        "node {} was removed from {}, or is still being added: no group that leads here names it; "
        "a removed node is to be stopped, or emptied and added again: ursulactl cluster add --id "
        "{}",
        node, cluster_name(theirs.cluster), node);
}

std::string older_copy(const Hello& theirs, std::uint64_t newest_run) {
    const std::uint32_t node = theirs.node.value;
    return fmt::format(
        "node {} comes with an older copy of its data directory (of its start {}; it has made its "
        "start {} since): what it acknowledged meanwhile may be missing there, so it has no voice; "
        "stop it, empty the directory, start it and put it back: ursulactl cluster replace {}",
        node, theirs.run, newest_run, node);
}

std::string check_hello(const Hello& theirs, const Hello& ours,
                        const std::vector<shard::MemberInfo>& members) {
    const std::uint32_t node = theirs.node.value;
    if (theirs.cluster != ours.cluster) {
        return fmt::format("node {} is of {} and node {} of {}: they are not peers", node,
                           cluster_name(theirs.cluster), ours.node.value,
                           cluster_name(ours.cluster));
    }
    if (theirs.node == ours.node) {
        return fmt::format(
            "two nodes of {} have id {}: one of them runs a copy of the other's "
            "data directory, or with its cluster.node_id",
            cluster_name(ours.cluster), node);
    }
    if (theirs.groups != ours.groups) {
        return fmt::format(
            "node {} has {} groups and node {} has {}: {} is damaged on one of "
            "them",
            node, theirs.groups, ours.node.value, ours.groups, cluster_name(ours.cluster));
    }
    const auto member =
        std::find_if(members.begin(), members.end(), [&theirs](const shard::MemberInfo& one) {
            return one.node == theirs.node && one.incarnation == theirs.incarnation;
        });
    const std::uint32_t known = member == members.end() ? theirs.shards : member->shards;
    if (theirs.shards != known || theirs.shards > base::limits::shards_max ||
        theirs.shard.value >= theirs.shards || theirs.node == base::NodeId{}) {
        return fmt::format("node {} has {} shards where {} knows {}", node, theirs.shards,
                           cluster_name(ours.cluster), known);
    }
    if (theirs.to_node != ours.node || theirs.to_shard != ours.shard) {
        return fmt::format(
            "node {} means to reach shard {} of node {} and got shard {} of node {}: are the "
            "addresses of the members right?",
            node, theirs.to_shard.value, theirs.to_node.value, ours.shard.value, ours.node.value);
    }
    return {};
}

}  // namespace ursula
