// Idempotent producers, the whole state machine (protocol digest 1.4), through restarts and
// through snapshots.
#include "tests/unit/shard/shard_node.h"

namespace ursula::shard::test {

using api::AppendReply;
using api::Refusal;
using Kind = api::AppendReply::Kind;

namespace {

enum class Between : std::uint8_t { nothing, restart, snapshot };

void after_step(Node& node, Between between) {
    if (between == Between::nothing) {
        return;
    }
    node.run(base::seconds(1));
    const BootReport report = node.restart();
    if (between == Between::snapshot) {
        CHECK(report.entries == 0);  // all of it comes from the snapshots
    }
}

struct Accepted {
    Kind kind;
    std::uint64_t tail;
    std::uint64_t epoch;
    std::uint64_t seq;  // the highest accepted
    bool closed = false;
};

void producer_script(Between between) {
    Node node(small_options());
    if (between == Between::snapshot) {
        node.options().snapshot_log_bytes = 1;
    }
    node.start();
    node.wait<api::CreateReply>(node.create("v1/p"));
    after_step(node, between);

    const auto accepted = [&](api::CallId id, const Accepted& expected) {
        const auto reply = node.wait<AppendReply>(id);
        CHECK(reply.kind == expected.kind);
        CHECK(reply.producer);
        CHECK(reply.tail == expected.tail);
        CHECK(reply.producer_epoch == expected.epoch);
        CHECK(reply.producer_seq == expected.seq);
        CHECK(reply.closed == expected.closed);
        after_step(node, between);
    };
    const auto refused = [&](api::CallId id, Refusal why, std::uint64_t number0 = 0,
                             std::uint64_t number1 = 0) {
        const auto reply = node.wait<api::Refused>(id);
        CHECK(reply.why == why);
        CHECK(reply.numbers[0] == number0);
        CHECK(reply.numbers[1] == number1);
        after_step(node, between);
    };

    // A new producer starts at 0.
    refused(node.append_as("a", 0, 1, "v1/p", "x"), Refusal::producer_gap, 0, 1);
    accepted(node.append_as("a", 0, 0, "v1/p", "a0"), {Kind::appended, 2, 0, 0});
    accepted(node.append_as("a", 0, 0, "v1/p", "a0"), {Kind::duplicate, 2, 0, 0});
    // A duplicate by its number, whatever its body.
    accepted(node.append_as("a", 0, 0, "v1/p", "other"), {Kind::duplicate, 2, 0, 0});
    refused(node.append_as("a", 0, 2, "v1/p", "x"), Refusal::producer_gap, 1, 2);
    accepted(node.append_as("a", 0, 1, "v1/p", "a1"), {Kind::appended, 4, 0, 1});
    accepted(node.append_as("a", 0, 0, "v1/p", "a0"), {Kind::duplicate, 4, 0, 1});
    // A new epoch starts at 0 and fences the old one.
    refused(node.append_as("a", 2, 1, "v1/p", "x"), Refusal::producer_epoch_must_start_at_zero);
    accepted(node.append_as("a", 2, 0, "v1/p", "A0"), {Kind::appended, 6, 2, 0});
    refused(node.append_as("a", 1, 0, "v1/p", "x"), Refusal::producer_epoch_stale, 2);
    refused(node.append_as("a", 0, 2, "v1/p", "x"), Refusal::producer_epoch_stale, 2);
    accepted(node.append_as("a", 2, 1, "v1/p", "A1"), {Kind::appended, 8, 2, 1});
    // Others do not mix with it: another producer, none at all, one that begins late.
    accepted(node.append_as("b", 7, 0, "v1/p", "b0"), {Kind::appended, 10, 7, 0});
    CHECK(node.tail_after(node.append("v1/p", "--")) == 12);
    accepted(node.append_as("a", 2, 1, "v1/p", "A1"), {Kind::duplicate, 12, 2, 1});
    accepted(node.append_as("b", 7, 1, "v1/p", "b1"), {Kind::appended, 14, 7, 1});
    // A refusal for another reason moves nothing: content type, empty, sequence.
    api::AppendCall wrong;
    wrong.key = node.key("v1/p");
    wrong.content_type = "text/html";
    wrong.has_content_type = true;
    wrong.producer = {true, "b", 7, 2};
    wrong.body = base::as_bytes("x");
    refused(node.call(wrong), Refusal::content_type_mismatch);
    refused(node.append_as("b", 7, 2, "v1/p", ""), Refusal::empty_append);
    accepted(node.append_as("b", 7, 2, "v1/p", "b2"), {Kind::appended, 16, 7, 2});
    // Closed by a producer: its own retry is a duplicate, everything else is refused.
    accepted(node.append_as("b", 7, 3, "v1/p", "b3", true), {Kind::appended, 18, 7, 3, true});
    accepted(node.append_as("b", 7, 3, "v1/p", "b3", true), {Kind::duplicate, 18, 7, 3, true});
    refused(node.append_as("b", 7, 2, "v1/p", "b2"), Refusal::stream_closed, 2, 1);
    refused(node.append_as("a", 2, 2, "v1/p", "x"), Refusal::stream_closed, 2, 1);
    refused(node.append("v1/p", "x"), Refusal::stream_closed);
    CHECK(node.content("v1/p") == "a0a1A0A1b0--b1b2b3");

    // Closed without data by a producer.
    node.wait<api::CreateReply>(node.create("v1/q"));
    accepted(node.append_as("c", 0, 0, "v1/q", "", true), {Kind::closed, 0, 0, 0, true});
    accepted(node.append_as("c", 0, 0, "v1/q", "", true), {Kind::duplicate, 0, 0, 0, true});
    // Removed and created again: the producers are gone with the stream.
    node.wait<api::RemoveReply>(node.remove("v1/p"));
    node.wait<api::CreateReply>(node.create("v1/p"));
    after_step(node, between);
    refused(node.append_as("a", 2, 2, "v1/p", "x"), Refusal::producer_gap, 0, 2);
    accepted(node.append_as("a", 0, 0, "v1/p", "n"), {Kind::appended, 1, 0, 0});
}

}  // namespace

TEST_CASE("producers: the whole state machine") {
    producer_script(Between::nothing);
}
TEST_CASE("producers: the same with a restart after each step") {
    producer_script(Between::restart);
}
TEST_CASE("producers: the same with a snapshot and a restart after each step") {
    producer_script(Between::snapshot);
}

TEST_CASE("duplicates of one turn are one append, and each is told so") {
    Node node(small_options());
    node.start();
    node.wait<api::CreateReply>(node.create("v1/p"));
    std::vector<api::CallId> calls;
    for (int i = 0; i < 5; ++i) {
        calls.push_back(node.append_as("a", 0, 0, "v1/p", "once"));
    }
    const api::CallId next = node.append_as("a", 0, 1, "v1/p", "next");
    const std::uint64_t before = node.shard().counters().appends;
    node.turn();
    CHECK(node.wait<AppendReply>(calls[0]).kind == Kind::appended);
    for (std::size_t i = 1; i < calls.size(); ++i) {
        const auto reply = node.wait<AppendReply>(calls[i]);
        CHECK(reply.kind == Kind::duplicate);
        CHECK(reply.producer_seq == 0);
    }
    CHECK(node.tail_after(next) == 8);
    CHECK(node.shard().counters().appends == before + 2);
    CHECK(node.shard().counters().duplicates == 4);
    CHECK(node.content("v1/p") == "oncenext");
}

TEST_CASE("many producers of one stream survive a snapshot") {
    Node node(small_options());
    node.options().snapshot_log_bytes = 1;
    node.options().groups = 1;
    node.start();
    node.wait<api::CreateReply>(node.create("v1/p"));
    constexpr std::uint64_t producers = 3000;
    for (std::uint64_t i = 0; i < producers; ++i) {
        node.append_as(numbered("producer-", i), i, 0, "v1/p", "x");
        if (i % 100 == 99) {
            node.turn();
        }
    }
    node.run(base::seconds(1));
    // A round is due at twice the images: a part of the 30 entries may be newer.
    CHECK(node.restart().entries < 30);
    CHECK(node.shard().counters().elections == 1);
    node.forget_answers();
    for (std::uint64_t i = 0; i < producers; i += 7) {
        const auto reply =
            node.wait<AppendReply>(node.append_as(numbered("producer-", i), i, 0, "v1/p", "x"));
        CHECK(reply.kind == Kind::duplicate);
        CHECK(reply.tail == producers);
    }
    CHECK(node.content("v1/p").size() == producers);
}

}  // namespace ursula::shard::test
