// What a node does with the answers to the writes it forwarded: one real shard, its peers played by
// the test frame by frame.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "base/limits.h"
#include "shard/call_wire.h"
#include "tests/unit/shard/shard_node.h"

namespace ursula::shard::test {

namespace {

namespace limits = base::limits;

constexpr std::uint64_t own_boot = 77;
const base::GroupId group{0};

PeerShard peer(std::uint32_t number) {
    return {base::NodeId(number), base::ShardId(0)};
}

struct SentItem {
    std::uint32_t to = 0;
    bool is_call = false;
    std::uint64_t number = 0;
    std::string name;
    api::Answer answer;
};

class Script final : public PeerNet {
  public:
    void know(base::NodeId /*node*/, std::span<const MemberInfo> /*infos*/) override {}
    void take(std::vector<ReceivedFrame>& frames, std::vector<LinkEvent>& told) override {
        shown_ = std::move(inbox_);
        inbox_.clear();
        for (const Mail& mail : shown_) {
            frames.push_back({peer(mail.from), mail.bytes});
        }
        told = std::move(events);
        events.clear();
    }
    bool takes(PeerShard /*to*/) const override { return true; }
    void send(PeerShard to, base::Bytes frame) override {
        FrameReader reader;
        FrameItem item;
        REQUIRE(reader.open(frame));
        while (reader.next(item)) {
            SentItem sent;
            sent.to = to.node.value;
            sent.number = item.number;
            sent.is_call = item.kind == FrameItem::Kind::call;
            if (sent.is_call) {
                api::Verb verb;
                REQUIRE(read_call(item.bytes, item.group, verb));
                sent.name = std::get<api::RemoveCall>(verb).key.name;
            } else if (item.kind == FrameItem::Kind::answer) {
                REQUIRE(read_answer(item.bytes, sent.answer));
            } else {
                continue;
            }
            items.push_back(std::move(sent));
        }
        REQUIRE(reader.ok());
    }
    // One frame of node `from` with what `fill` puts into it.
    template <class Fill>
    std::vector<std::byte> frame(std::uint32_t from, const Fill& fill, std::uint64_t boot = 0) {
        FrameWriter writer;
        fill(writer);
        FrameHeader header;
        header.cluster = 7;
        header.from = peer(from);
        header.to = peer(2);
        header.boot = boot != 0 ? boot : 1000 + from;
        header.to_boot = own_boot;
        header.sequence = ++sequence_;
        const base::Bytes bytes = writer.finish(header);
        return {bytes.begin(), bytes.end()};
    }
    void hand_over(std::uint32_t from, std::vector<std::byte> bytes) {
        inbox_.push_back({from, std::move(bytes)});
    }

    std::vector<SentItem> items;  // calls and answers that were sent
    std::vector<LinkEvent> events;

  private:
    struct Mail {
        std::uint32_t from = 0;
        std::vector<std::byte> bytes;
    };
    std::vector<Mail> inbox_;
    std::vector<Mail> shown_;
    std::uint64_t sequence_ = 0;
};

// Node 2 of three; one group.
struct Follower {
    Script net;
    Node node;

    Follower() : node(options(net)) {
        REQUIRE(node.try_start().has_value());
        lead(1, 1);
    }
    static ShardOptions options(Script& net) {
        ShardOptions options = small_options();
        options.groups = 1;
        options.node = base::NodeId(2);
        options.cluster = 7;
        options.boot = own_boot;
        options.peer_net = &net;
        options.founders = {{base::NodeId(1), 1, 0, {}, {}},
                            {base::NodeId(2), 1, 0, {}, {}},
                            {base::NodeId(3), 1, 0, {}, {}}};
        return options;
    }
    // A turn in which `number` says that it leads in that term.
    void lead(std::uint32_t number, std::uint64_t term) {
        net.hand_over(number, net.frame(number, [&](FrameWriter& writer) {
            writer.add(group, {base::NodeId(number), base::NodeId(2), base::Term(term),
                               raft::Heartbeat{raft::ReadContext(term), base::LogIndex{}}});
        }));
        node.turn();
        REQUIRE(node.shard().group(group).leader() == base::NodeId(number));
    }
    void answer(std::uint32_t from, std::uint64_t number, const api::Answer& answer) {
        std::vector<std::byte> bytes;
        write_answer(answer, bytes);
        net.hand_over(from, net.frame(from, [&](FrameWriter& writer) {
            writer.add_answer(group, number, bytes);
        }));
    }
    void refuse(std::uint32_t from, std::uint64_t number) {
        answer(from, number, api::Refused{api::Refusal::not_leader});
    }
    std::vector<SentItem> take_items() {
        std::vector<SentItem> items = std::move(net.items);
        net.items.clear();
        return items;
    }
    // A call of another node, numbered: removes a stream.
    std::vector<std::byte> call_of(std::uint32_t from, std::uint64_t number, std::uint64_t boot) {
        std::vector<std::byte> bytes;
        write_call(api::RemoveCall{{"v1/x", 0, group}}, bytes);
        return net.frame(
            from, [&](FrameWriter& writer) { writer.add_call(group, number, bytes); }, boot);
    }
};

}  // namespace

TEST_CASE("bytes of a frame that is not whole yet are a sign of life") {
    for (const bool comes : {true, false}) {
        CAPTURE(comes);
        Follower f;
        for (int i = 0; i < 20; ++i) {
            f.node.pass(base::milliseconds(100));
            if (comes) {
                f.net.events.push_back({peer(1), true, true});
            }
            f.node.turn();
        }
        CHECK((f.node.shard().group(group).leader() == base::NodeId(1)) == comes);
    }
}

TEST_CASE("refused by who does not lead, a call waits for another leader and is sent once more") {
    Follower f;
    const api::CallId one = f.node.remove("v1/1");
    const api::CallId two = f.node.remove("v1/2");
    f.node.turn();
    std::vector<SentItem> sent = f.take_items();
    REQUIRE(sent.size() == 2);
    CHECK((sent[0].to == 1 && sent[0].number == 1 && sent[0].name == "v1/1"));
    CHECK((sent[1].to == 1 && sent[1].number == 2 && sent[1].name == "v1/2"));
    f.refuse(1, 1);
    f.node.turn();
    // The second may still be taken by node 1: the first does not overtake it, nor does a third.
    const api::CallId three = f.node.remove("v1/3");
    f.node.turn();
    CHECK(f.take_items().empty());
    f.refuse(1, 2);
    f.node.turn();
    f.node.turn();
    CHECK(f.take_items().empty());  // not to node 1 again
    CHECK((!f.node.answered(one) && !f.node.answered(two) && !f.node.answered(three)));
    f.lead(3, 2);
    sent = f.take_items();
    REQUIRE(sent.size() == 3);
    for (std::size_t i = 0; i < 3; ++i) {
        CHECK((sent[i].to == 3 && sent[i].number == i + 1));
        CHECK(sent[i].name == numbered("v1/", i + 1));
    }
    // An answer of node 1 to the first attempt is nobody's any more.
    f.answer(1, 1, api::RemoveReply{});
    f.node.turn();
    CHECK(!f.node.answered(one));
    f.answer(3, 1, api::RemoveReply{});
    f.refuse(3, 2);
    f.refuse(3, 3);
    f.node.turn();
    CHECK(std::holds_alternative<api::RemoveReply>(f.node.take(one)));
    // A second refusal is the client's; the third call was sent only once, so it may go on.
    CHECK(f.node.refusal(two) == api::Refusal::not_leader);
    CHECK(!f.node.answered(three));
    f.lead(1, 3);
    sent = f.take_items();
    REQUIRE(sent.size() == 1);
    CHECK((sent[0].to == 1 && sent[0].name == "v1/3"));
}

TEST_CASE("a refused call is not sent again when a later one had, or may have had, its effect") {
    for (const int how : {0, 1, 2}) {
        CAPTURE(how);
        Follower f;
        const api::CallId one = f.node.remove("v1/1");
        const api::CallId two = f.node.remove("v1/2");
        f.node.turn();
        f.take_items();
        f.refuse(1, 1);
        f.node.turn();
        if (how == 0) {
            f.answer(1, 2, api::RemoveReply{});
        } else if (how == 1) {
            f.answer(1, 2, api::Refused{api::Refusal::outcome_unknown});
        } else {
            f.net.events.push_back({peer(1), true});
        }
        f.node.turn();
        CHECK(f.node.refusal(one) == api::Refusal::not_leader);
        if (how == 0) {
            CHECK(std::holds_alternative<api::RemoveReply>(f.node.take(two)));
        } else {
            CHECK(f.node.refusal(two) == api::Refusal::outcome_unknown);
        }
        f.lead(3, 2);
        CHECK(f.take_items().empty());
    }
}

TEST_CASE("a later call that went to the next leader: the earlier one's refusal is final") {
    Follower f;
    const api::CallId one = f.node.remove("v1/1");
    f.node.turn();
    f.take_items();
    f.lead(3, 2);
    f.node.remove("v1/2");
    f.node.turn();
    const std::vector<SentItem> sent = f.take_items();
    REQUIRE(sent.size() == 1);
    CHECK((sent[0].to == 3 && sent[0].number == 1));
    f.refuse(1, 1);
    f.node.turn();
    CHECK(f.node.refusal(one) == api::Refusal::not_leader);
    CHECK(f.take_items().empty());
}

TEST_CASE("a new life of the leader's node: unknown at once, and its answers are dropped") {
    Follower f;
    const api::CallId one = f.node.remove("v1/1");
    f.node.turn();
    f.take_items();
    f.net.hand_over(1, f.net.frame(
                           1, [](FrameWriter& writer) { writer.add_beat({}, false, {}); }, 4711));
    f.node.turn();
    CHECK(f.node.refusal(one) == api::Refusal::outcome_unknown);
    f.answer(1, 1, api::RemoveReply{});
    f.node.turn();
    CHECK(!f.node.answered(one));
    CHECK(f.take_items().empty());
}

TEST_CASE("calls of another node: each number once and in order, per life of that node") {
    Follower f;
    const auto hand = [&f](std::uint64_t number, std::uint64_t boot) {
        f.net.hand_over(3, f.call_of(3, number, boot));
        f.node.turn();
        return f.take_items();
    };
    // This node does not lead: it says so and who does, and sends nothing on.
    std::vector<SentItem> sent = hand(1, 5);
    REQUIRE(sent.size() == 1);
    CHECK((!sent[0].is_call && sent[0].to == 3 && sent[0].number == 1));
    const auto& refused = std::get<api::Refused>(sent[0].answer);
    CHECK(refused.why == api::Refusal::not_leader);
    CHECK(refused.numbers[0] == 1);
    CHECK(hand(1, 5).empty());  // doubled
    CHECK(hand(4, 5).size() == 1);
    CHECK(hand(3, 5).empty());  // overtaken
    CHECK(hand(5, 5).size() == 1);
    // Another life counts anew; the frames of both may come mixed.
    CHECK(hand(1, 6).size() == 1);
    CHECK(hand(5, 5).empty());
    CHECK(hand(1, 6).empty());
    CHECK(hand(6, 5).size() == 1);
    CHECK(f.node.shard().counters().forwards_taken == 5);
    CHECK(f.node.shard().counters().forwards_sent == 0);
}

}  // namespace ursula::shard::test
