// What operators are told by a shard, and a hand-over of leadership: alone, and among three nodes.
#include <algorithm>
#include <array>

#include "api/inspect.h"
#include "tests/unit/shard/shard_node.h"

namespace ursula::shard::test {

using api::GroupMember;
using api::GroupRole;
using api::GroupView;
using api::InspectCall;
using api::InspectReply;
using api::TransferReply;

namespace {

InspectCall look_at_group(base::GroupId group) {
    InspectCall call;
    call.what = InspectCall::What::group;
    call.key.group = group;
    return call;
}

const GroupMember& member_of(const GroupView& group, std::uint32_t node) {
    const auto end = group.members.begin() + group.member_count;
    const auto at = std::find_if(group.members.begin(), end, [node](const GroupMember& member) {
        return member.node == base::NodeId(node);
    });
    REQUIRE(at != end);
    return *at;
}

// Three shards of one group each on simulated disks, turned one after the other; frames arrive at
// once.
class Trio {
  public:
    Trio() {
        for (std::size_t i = 0; i < 3; ++i) {
            Part& part = parts_[i];
            part.net.owner = this;
            part.net.self = i;
            ShardOptions options = small_options();
            options.groups = 1;
            options.node = node(i);
            options.founders = {
                {node(0), 1, 0, {}, {}}, {node(1), 1, 0, {}, {}}, {node(2), 1, 0, {}, {}}};
            options.peer_net = &part.net;
            options.cluster = 7;
            options.boot = 100 + i;
            part.shard = std::make_unique<Shard>(options, part.disk);
            REQUIRE(part.shard->start(now_).has_value());
        }
    }

    Shard& shard(std::size_t i) { return *parts_[i].shard; }
    void stop(std::size_t i) { parts_[i].up = false; }

    void turn() {
        now_.mono = now_.mono + base::milliseconds(10);
        now_.wall.ms += 10;
        for (Part& part : parts_) {
            if (!part.up) {
                continue;
            }
            std::vector<api::Reply> replies;
            std::vector<api::Call> internal;
            part.shard->advance(part.calls, now_, replies, internal);
            part.calls.clear();
            for (api::Reply& reply : replies) {
                answers_.push_back(std::move(reply));
            }
        }
    }
    template <class Condition>
    void turn_until(const Condition& condition) {
        for (int i = 0; i < 2000 && !condition(); ++i) {
            turn();
        }
        REQUIRE(condition());
    }
    std::size_t leader() {
        for (std::size_t i = 0; i < 3; ++i) {
            if (parts_[i].up && shard(i).group(base::GroupId(0)).is_leader()) {
                return i;
            }
        }
        return 3;
    }

    api::Answer ask(std::size_t i, const api::Verb& verb) {
        const api::CallId id(++next_call_);
        parts_[i].calls.push_back({id, base::ShardId(0), verb});
        const auto has = [&] { return !answers_.empty() && answers_.back().id == id; };
        answers_.clear();
        turn_until(has);
        return std::move(answers_.back().answer);
    }
    GroupView look(std::size_t i) {
        const api::Answer answer = ask(i, look_at_group(base::GroupId(0)));
        return std::get<InspectReply>(answer).groups.at(0);
    }
    TransferReply hand_over(std::size_t i, std::uint32_t to) {
        return std::get<TransferReply>(
            ask(i, api::TransferCall{base::GroupId(0), base::NodeId(to)}));
    }
    static base::NodeId node(std::size_t i) {
        return base::NodeId(static_cast<std::uint32_t>(i + 1));
    }

  private:
    struct Net final : PeerNet {
        Trio* owner = nullptr;
        std::size_t self = 0;
        std::vector<std::pair<PeerShard, std::vector<std::byte>>> inbox;
        std::vector<std::pair<PeerShard, std::vector<std::byte>>> shown;
        void know(base::NodeId /*node*/, std::span<const MemberInfo> /*infos*/) override {}
        void take(std::vector<ReceivedFrame>& frames, std::vector<LinkEvent>&) override {
            shown.swap(inbox);
            inbox.clear();
            for (const auto& [from, bytes] : shown) {
                frames.push_back({from, bytes});
            }
        }
        bool takes(PeerShard) const override { return true; }
        void send(PeerShard to, base::Bytes frame) override {
            Part& part = owner->parts_[to.node.value - 1];
            if (part.up) {
                part.net.inbox.push_back(
                    {PeerShard{Trio::node(self), base::ShardId(0)}, {frame.begin(), frame.end()}});
            }
        }
    };
    struct Part {
        bool up = true;
        Net net;
        sim::SimDisk disk;
        std::unique_ptr<Shard> shard;
        std::vector<api::Call> calls;
    };
    std::array<Part, 3> parts_;
    base::Now now_{base::Instant{1'000'000}, base::WallTime{1'700'000'000'000}};
    std::uint64_t next_call_ = 0;
    std::vector<api::Reply> answers_;
};

}  // namespace

TEST_CASE("a node of one leads all its groups and knows all of each") {
    Node node(small_options());
    node.start();
    node.wait<api::CreateReply>(node.create("v1/a", "text/plain", "hello"));
    const auto found = node.wait<InspectReply>(node.call(InspectCall{}));
    REQUIRE(found.groups.size() == small_options().groups);
    CHECK(found.nodes.empty());
    CHECK(found.streams.empty());
    std::uint64_t streams = 0;
    for (std::uint32_t i = 0; i < found.groups.size(); ++i) {
        const GroupView& group = found.groups[i];
        CHECK(group.group == base::GroupId(i));
        CHECK(group.role == GroupRole::leader);
        CHECK(group.leader == base::NodeId(1));
        CHECK(group.term.value >= 1);
        CHECK(group.applied == group.commit);
        CHECK(group.commit == group.last);
        REQUIRE(group.member_count == 1);
        const GroupMember& self = member_of(group, 1);
        CHECK(self.voter);
        CHECK(self.up);
        CHECK(self.match_known);
        CHECK(self.match == group.last);
        streams += group.streams;
    }
    CHECK(streams == 1);
}

TEST_CASE("a stream's place and its end") {
    Node node(small_options());
    node.start();
    node.wait<api::CreateReply>(node.create("v1/a", "text/plain", "hello"));
    node.wait<api::AppendReply>(node.close("v1/a", "!"));
    const api::StreamKey key = node.key("v1/a");
    auto found = node.wait<InspectReply>(node.call(InspectCall{InspectCall::What::stream, key}));
    REQUIRE(found.groups.size() == 1);
    CHECK(found.groups[0].group == key.group);
    REQUIRE(found.streams.size() == 1);
    CHECK(found.streams[0].tail == 6);
    CHECK(found.streams[0].closed);
    CHECK(found.streams[0].confirmed);
    CHECK(found.streams[0].incarnation.group == key.group);
    CHECK(base::as_text(found.content_type.bytes()) == "text/plain");

    CHECK(node.refusal(node.call(InspectCall{InspectCall::What::stream, node.key("v1/none")})) ==
          api::Refusal::stream_not_found);
}

TEST_CASE("a node of one has nobody to hand over to") {
    Node node(small_options());
    node.start();
    const auto ask = [&](std::uint32_t to) {
        return node
            .wait<TransferReply>(node.call(api::TransferCall{base::GroupId(1), base::NodeId(to)}))
            .kind;
    };
    CHECK(ask(1) == TransferReply::Kind::leads_already);
    CHECK(ask(2) == TransferReply::Kind::not_a_voter);
    CHECK(ask(0) == TransferReply::Kind::not_a_voter);
}

TEST_CASE("three nodes: the leader knows how far each is, the others themselves") {
    Trio trio;
    trio.turn_until([&] { return trio.leader() < 3; });
    const std::size_t leader = trio.leader();
    const std::size_t other = (leader + 1) % 3;
    trio.turn_until([&] {
        const GroupView group = trio.look(leader);
        return std::all_of(group.members.begin(), group.members.begin() + group.member_count,
                           [&](const GroupMember& member) {
                               return member.match_known && member.match == group.last;
                           });
    });
    const GroupView group = trio.look(other);
    CHECK(group.role == GroupRole::follower);
    CHECK(group.leader == Trio::node(leader));
    REQUIRE(group.member_count == 3);
    for (std::uint32_t id = 1; id <= 3; ++id) {
        CHECK(member_of(group, id).voter);
        CHECK(member_of(group, id).up);
        CHECK(member_of(group, id).match_known == (id == other + 1));
    }
    const api::Answer answer = trio.ask(leader, InspectCall{});
    const auto& nodes = std::get<InspectReply>(answer).nodes;
    REQUIRE(nodes.size() == 3);
    for (std::uint32_t id = 1; id <= 3; ++id) {
        CHECK(nodes[id - 1].node == base::NodeId(id));
        CHECK(nodes[id - 1].up);
        CHECK(nodes[id - 1].incarnation == member_of(group, id).incarnation);
    }
}

TEST_CASE("three nodes: leadership goes where it was asked to, and only from the leader") {
    Trio trio;
    trio.turn_until([&] { return trio.leader() < 3; });
    const std::size_t leader = trio.leader();
    const std::size_t other = (leader + 1) % 3;
    const auto to = static_cast<std::uint32_t>(other + 1);
    trio.turn_until([&] { return trio.look(other).leader == Trio::node(leader); });

    const auto third = static_cast<std::uint32_t>((leader + 2) % 3 + 1);
    const TransferReply asked_wrong = trio.hand_over(other, third);
    CHECK(asked_wrong.kind == TransferReply::Kind::not_leader);
    CHECK(asked_wrong.leader == Trio::node(leader));
    CHECK(trio.hand_over(leader, 4).kind == TransferReply::Kind::not_a_voter);

    const TransferReply begun = trio.hand_over(leader, to);
    CHECK(begun.kind == TransferReply::Kind::begun);
    CHECK(begun.leader == Trio::node(leader));
    trio.turn_until([&] { return trio.look(leader).leader == Trio::node(other); });
    CHECK(trio.look(leader).term > begun.term);
    CHECK(trio.hand_over(other, to).kind == TransferReply::Kind::leads_already);
}

TEST_CASE("three nodes: one that is down is seen to be, and is handed nothing") {
    Trio trio;
    trio.turn_until([&] { return trio.leader() < 3; });
    const std::size_t leader = trio.leader();
    const std::size_t gone = (leader + 1) % 3;
    const auto gone_id = static_cast<std::uint32_t>(gone + 1);
    trio.stop(gone);
    trio.turn_until([&] { return !member_of(trio.look(leader), gone_id).up; });
    const api::Answer answer = trio.ask(leader, InspectCall{});
    for (const api::NodeView& node : std::get<InspectReply>(answer).nodes) {
        CHECK(node.up == (node.node != Trio::node(gone)));
    }
    CHECK(trio.hand_over(leader, gone_id).kind == TransferReply::Kind::not_up);
    CHECK(trio.leader() == leader);
}

TEST_CASE("three nodes: without a majority a stream is shown as this replica has it") {
    Trio trio;
    trio.turn_until([&] { return trio.leader() < 3; });
    const std::size_t leader = trio.leader();
    const std::string name = "v1/a";
    api::CreateCall create;
    create.key = {name, base::siphash(small_options().table_key, base::as_bytes(name)),
                  base::GroupId(0)};
    create.content_type = "text/plain";
    create.body = base::as_bytes("hello");
    REQUIRE(std::holds_alternative<api::CreateReply>(trio.ask(leader, create)));
    const std::size_t left = (leader + 1) % 3;
    InspectCall look{InspectCall::What::stream, create.key};
    // Behind its leader's confirmation a follower shows what was acknowledged.
    const api::Answer confirmed = trio.ask(left, look);
    REQUIRE(std::holds_alternative<InspectReply>(confirmed));
    CHECK(std::get<InspectReply>(confirmed).streams.at(0).confirmed);
    CHECK(std::get<InspectReply>(confirmed).streams.at(0).tail == 5);

    trio.stop(leader);
    trio.stop((leader + 2) % 3);
    trio.turn_until([&] { return trio.look(left).leader == base::NodeId{}; });
    const api::Answer alone = trio.ask(left, look);
    REQUIRE(std::holds_alternative<InspectReply>(alone));
    CHECK(!std::get<InspectReply>(alone).streams.at(0).confirmed);
    CHECK(std::get<InspectReply>(alone).streams.at(0).tail == 5);
    CHECK(std::get<InspectReply>(alone).groups.at(0).leader == base::NodeId{});
    const TransferReply nobody = trio.hand_over(left, static_cast<std::uint32_t>(leader + 1));
    CHECK(nobody.kind == TransferReply::Kind::not_leader);
    CHECK(nobody.leader == base::NodeId{});
}

}  // namespace ursula::shard::test
