// Tables of members: what is written is read back, and nothing else is read.
#include "shard/member_info.h"

#include <doctest/doctest.h>

#include "base/random.h"

namespace ursula::shard {

namespace {

using base::LogIndex;
using base::NodeId;

MemberTable some_table() {
    MemberTable table;
    table.at.index = LogIndex(17);
    table.at.membership.set({NodeId(1), true, true, false});
    table.at.membership.set({NodeId(2), false, true, false});
    table.at.membership.set({NodeId(7), true, false, false});
    table.at.membership.set({NodeId(9), false, false, true});
    table.at.membership.set_joint(true);
    table.infos = {{NodeId(1), 2, 0x1234'5678'9abc'def0u, "10.0.0.1:4439", "http://a:4437"},
                   {NodeId(2), 64, 1, "[::1]:1", ""},
                   {NodeId(7), 1, 0, "", ""},
                   {NodeId(9), 3, UINT64_MAX, std::string(64, 'a'), std::string(256, '~')}};
    return table;
}

std::vector<std::byte> encoded(const MemberTable& table) {
    std::vector<std::byte> bytes(encoded_size(table));
    encode(table, bytes);
    return bytes;
}

bool readable(base::Bytes bytes) {
    MemberTable table;
    return decode(bytes, LogIndex(1), table);
}

MemberTable of_one(const raft::Member& member, bool joint) {
    MemberTable table;
    table.at.membership.set(member);
    table.at.membership.set_joint(joint);
    MemberInfo info;
    info.node = member.id;
    table.infos.push_back(std::move(info));
    return table;
}

}  // namespace

TEST_CASE("a table of members is read back as it was written") {
    const MemberTable table = some_table();
    MemberTable read;
    REQUIRE(decode(encoded(table), LogIndex(17), read));
    CHECK(read == table);
    CHECK(read.find(NodeId(7))->shards == 1);
    CHECK(read.find(NodeId(3)) == nullptr);
}

TEST_CASE("a table of members that is cut short or goes on is refused") {
    std::vector<std::byte> bytes = encoded(some_table());
    for (std::size_t size = 0; size < bytes.size(); ++size) {
        CHECK(!readable(base::Bytes(bytes).first(size)));
    }
    bytes.push_back(std::byte{0});
    CHECK(!readable(bytes));
}

// Whatever a flip gives is refused or is a table that is written the same way.
TEST_CASE("a flipped bit in a table of members does no harm") {
    const std::vector<std::byte> good = encoded(some_table());
    std::size_t refused = 0;
    for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
        std::vector<std::byte> bytes = good;
        bytes[bit / 8] ^= static_cast<std::byte>(1u << bit % 8);
        MemberTable read;
        if (!decode(bytes, LogIndex(17), read)) {
            ++refused;
            continue;
        }
        CHECK(encoded(read) == bytes);
        CHECK(!(read == some_table()));
    }
    CHECK(refused > 100);
    base::Random random(1);
    for (int i = 0; i < 10'000; ++i) {
        std::vector<std::byte> bytes(random.below(200));
        for (std::byte& one : bytes) {
            one = static_cast<std::byte>(random.below(256));
        }
        if (bytes.size() > 4) {
            bytes[0] = std::byte{1};
            bytes[1] = std::byte{0};
            bytes[3] = std::byte{0};
        }
        static_cast<void>(readable(bytes));
    }
}

TEST_CASE("memberships that Raft does not make are refused") {
    const NodeId node(4);
    CHECK(readable(encoded(of_one({node, true, false, false}, false))));
    CHECK(!readable(encoded(of_one({node, false, false, true}, false))));  // no voter
    CHECK(!readable(encoded(of_one({node, true, false, true}, false))));   // both
    CHECK(!readable(encoded(of_one({node, true, true, false}, false))));   // outgoing, not joint
    CHECK(readable(encoded(of_one({node, true, true, false}, true))));
    CHECK(!readable(encoded(of_one({node, true, false, false}, true))));  // nobody goes
    CHECK(!readable(encoded(of_one({node, false, true, false}, true))));  // nobody stays
}

TEST_CASE("infos have bounds") {
    MemberInfo info;
    CHECK(!is_sound(info));  // no node
    info.node = NodeId(1);
    CHECK(is_sound(info));
    info.shards = 0;
    CHECK(!is_sound(info));
    info.shards = base::limits::shards_max + 1;
    CHECK(!is_sound(info));
    info.shards = 1;
    info.address = std::string(base::limits::member_address_bytes_max + 1, 'a');
    CHECK(!is_sound(info));
    info.address = "a b";
    CHECK(!is_sound(info));
    info.address = "a\nb";
    CHECK(!is_sound(info));
    info.address = "a";
    info.client = std::string(base::limits::member_url_bytes_max + 1, 'a');
    CHECK(!is_sound(info));
    info.client.clear();
    info.incarnation = 5;
    CHECK(info.is(5));
    CHECK(info.is(0));
    CHECK(!info.is(6));
}

}  // namespace ursula::shard
