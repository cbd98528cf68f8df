#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "base/crc32c.h"
#include "base/random.h"
#include "base/wire.h"
#include "peer_greeting.h"

using namespace ursula;

namespace {

std::vector<storage::ClusterMember> three_members() {
    std::vector<storage::ClusterMember> members;
    for (std::uint32_t id = 1; id <= 3; ++id) {
        storage::ClusterMember member;
        member.id = base::NodeId(id);
        member.shards = id;
        member.incarnation = 100 + id;
        member.address = "10.0.0." + std::to_string(id) + ":4439";
        member.client = "http://10.0.0." + std::to_string(id) + ":4437";
        members.push_back(member);
    }
    return members;
}

// What shard 1 of node 2 says to shard 1 of node 3.
Hello hello_of_two() {
    Hello hello;
    hello.cluster = 77;
    hello.incarnation = 102;
    hello.boot = 5;
    hello.run = 6;
    hello.node = base::NodeId(2);
    hello.shard = base::ShardId(1);
    hello.shards = 2;
    hello.groups = 8;
    hello.to_node = base::NodeId(3);
    hello.to_shard = base::ShardId(1);
    return hello;
}

Hello hello_of_three() {
    Hello hello = hello_of_two();
    hello.incarnation = 103;
    hello.node = base::NodeId(3);
    hello.shard = base::ShardId(1);
    hello.shards = 3;
    hello.to_node = base::NodeId(2);
    hello.to_shard = base::ShardId(1);
    return hello;
}

Standing standing() {
    Standing standing;
    standing.plan = 9;
    standing.incarnation = 103;
    standing.node = base::NodeId(3);
    standing.shards = 3;
    standing.groups = 8;
    standing.cluster = {storage::ClusterStage::formed, 77, three_members()};
    return standing;
}

Admission admission() {
    Admission admission;
    admission.cluster = 77;
    admission.incarnation = 104;
    admission.node = base::NodeId(4);
    admission.groups = 8;
    admission.by = base::NodeId(2);
    admission.name = "prod";
    return admission;
}

void seal_again(std::vector<std::byte>& block) {
    base::store(block.data() + 12, static_cast<std::uint32_t>(block.size()));
    base::store(block.data() + 4, base::crc32c(base::Bytes(block).subspan(8)));
}

}  // namespace

TEST_CASE("greetings come back as written") {
    Hello hello;
    CHECK(decode_hello(encode_hello(hello_of_two()), hello) == "");
    CHECK(hello == hello_of_two());
    Standing back;
    CHECK(decode_standing(encode_standing(standing()), back) == "");
    CHECK(back == standing());
    Standing empty = standing();
    empty.cluster = {};
    CHECK(decode_standing(encode_standing(empty), back) == "");
    CHECK(back == empty);
    Admission taken;
    CHECK(decode_admission(encode_admission(admission()), taken) == "");
    CHECK(taken == admission());
    CHECK(decode_refusal(encode_refusal("no, thank you")) == "no, thank you");
    CHECK(decode_refusal(encode_dismissal("go")) == "go");
    CHECK(net::magic_of(encode_dismissal("go")) != net::magic_of(encode_refusal("go")));
    CHECK(decode_refusal(encode_refusal("a\nb\x1b[2J\xff")) == "a?b?[2J?");
    CHECK(decode_refusal(encode_refusal(std::string(10'000, 'x'))).size() ==
          base::limits::peer_refusal_bytes_max);
}

TEST_CASE("no damaged greeting is taken, whichever byte it is") {
    for (const std::vector<std::byte>& whole :
         {encode_hello(hello_of_two()), encode_standing(standing()), encode_refusal("why"),
          encode_admission(admission())}) {
        for (std::size_t at = 4; at < whole.size(); ++at) {
            std::vector<std::byte> block = whole;
            block[at] ^= std::byte{0x20};
            Hello hello;
            Standing other;
            CHECK(decode_hello(block, hello) != "");
            Admission taken;
            CHECK(decode_standing(block, other) != "");
            CHECK(decode_admission(block, taken) != "");
            CHECK(decode_refusal(block) != "why");
        }
    }
}

TEST_CASE("another version is named") {
    std::vector<std::byte> block = encode_hello(hello_of_two());
    base::store(block.data() + 8, std::uint32_t{7});
    seal_again(block);
    Hello hello;
    CHECK(decode_hello(block, hello) ==
          "the two nodes speak versions 2 and 7 of the peer protocol: run the same ursula on both");
}

TEST_CASE("greetings that are sealed but wrong are refused, shorter and longer ones too") {
    const std::vector<std::byte> whole = encode_standing(standing());
    base::Random random(1);
    Standing out;
    for (std::size_t size = net::block_header_bytes; size < whole.size(); ++size) {
        std::vector<std::byte> block(whole.begin(),
                                     whole.begin() + static_cast<std::ptrdiff_t>(size));
        seal_again(block);
        CHECK(decode_standing(block, out) != "");
        block.resize(size + whole.size());
        seal_again(block);
        CHECK(decode_standing(block, out) != "");
    }
    for (int i = 0; i < 20'000; ++i) {
        std::vector<std::byte> block = whole;
        const std::uint64_t changes = random.between(1, 4);
        for (std::uint64_t change = 0; change < changes; ++change) {
            block[net::block_header_bytes + random.below(block.size() - net::block_header_bytes)] =
                static_cast<std::byte>(random.below(256));
        }
        seal_again(block);
        if (decode_standing(block, out).empty()) {
            CHECK(out.node.value >= 1);
            CHECK(out.shards >= 1);
            CHECK(out.shards <= base::limits::shards_max);
            CHECK(out.cluster.members.size() <= base::limits::cluster_members_max);
        }
    }
    Hello hello;
    std::vector<std::byte> block = encode_hello(hello_of_two());
    block.push_back(std::byte{});
    seal_again(block);
    CHECK(decode_hello(block, hello) != "");
    block.resize(hello_bytes - 1);
    seal_again(block);
    CHECK(decode_hello(block, hello) != "");
}

TEST_CASE("admissions that are sealed but wrong are refused") {
    const auto refused = [](auto change) {
        Admission wrong = admission();
        change(wrong);
        Admission out;
        return decode_admission(encode_admission(wrong), out) != "";
    };
    CHECK_FALSE(refused([](Admission&) {}));
    CHECK_FALSE(refused([](Admission& one) { one.name = {}; }));
    CHECK(refused([](Admission& one) { one.cluster = 0; }));
    CHECK(refused([](Admission& one) { one.node = base::NodeId{}; }));
    CHECK(refused([](Admission& one) { one.by = base::NodeId{}; }));
    CHECK(refused([](Admission& one) { one.groups = 0; }));
    CHECK(refused([](Admission& one) { one.groups = base::limits::groups_max + 1; }));
    CHECK(refused([](Admission& one) { one.name = std::string(65, 'x'); }));
    const std::vector<std::byte> whole = encode_admission(admission());
    for (std::size_t size = net::block_header_bytes; size < whole.size(); ++size) {
        std::vector<std::byte> block(whole.begin(),
                                     whole.begin() + static_cast<std::ptrdiff_t>(size));
        seal_again(block);
        Admission out;
        CHECK(decode_admission(block, out) != "");
    }
}

TEST_CASE("what a node is told that no group names") {
    const std::vector<shard::MemberInfo> members = {{base::NodeId(2), 1, 500, "10.0.0.2:4439", {}}};
    CHECK(dismissal_of(hello_of_two(), members) ==
          "cluster 000000000000004d has a node 2 with other storage than this: if this directory "
          "was replaced, stop the node; if it is the new one, put it in: ursulactl cluster replace "
          "2");
    CHECK(dismissal_of(hello_of_two(), {{base::NodeId(2), 1, 102, "10.0.0.2:4439", {}}})
              .find("node 2 was removed") == 0);
    CHECK(dismissal_of(hello_of_three(), members) ==
          "node 3 was removed from cluster 000000000000004d, or is still being added: no group "
          "that leads here names it; a removed node is to be stopped, or emptied and added again: "
          "ursulactl cluster add --id 3");
}

TEST_CASE("who may be a peer") {
    std::vector<shard::MemberInfo> members;
    for (const storage::ClusterMember& member : three_members()) {
        members.push_back(
            {member.id, member.shards, member.incarnation, member.address, member.client});
    }
    const Hello ours = hello_of_three();
    CHECK(check_hello(hello_of_two(), ours, members) == "");
    CHECK(check_hello(ours, hello_of_two(), members) == "");

    const auto refusal = [&](auto change) {
        Hello theirs = hello_of_two();
        change(theirs);
        return check_hello(theirs, ours, members);
    };
    CHECK(refusal([](Hello& hello) { hello.cluster = 78; }) ==
          "node 2 is of cluster 000000000000004e and node 3 of cluster 000000000000004d: they are "
          "not peers");
    CHECK(refusal([](Hello& hello) { hello.node = base::NodeId(3); }).find("two nodes of") == 0);
    // A newer member, or newer storage of one, as far as this node knows.
    CHECK(refusal([](Hello& hello) { hello.node = base::NodeId(9); }) == "");
    CHECK(refusal([](Hello& hello) { hello.incarnation = 1; }) == "");
    CHECK(refusal([](Hello& hello) { hello.groups = 9; }).find("9 groups") != std::string::npos);
    CHECK(refusal([](Hello& hello) { hello.shards = 3; }) ==
          "node 2 has 3 shards where cluster 000000000000004d knows 2");
    CHECK(refusal([](Hello& hello) { hello.shard = base::ShardId(2); }) != "");
    CHECK(refusal([](Hello& hello) { hello.to_node = base::NodeId(1); }).find("means to reach") !=
          std::string::npos);
    CHECK(refusal([](Hello& hello) { hello.to_shard = base::ShardId(0); }) != "");
}
