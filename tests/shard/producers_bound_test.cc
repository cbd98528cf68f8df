// limits::producers_per_stream_max: one more is not refused, the least recently used are forgotten.
#include "base/limits.h"
#include "tests/unit/shard/shard_node.h"

namespace ursula::shard::test {

TEST_CASE("a stream at its bound of producers forgets the least recently used") {
    constexpr std::uint64_t bound = base::limits::producers_per_stream_max;
    constexpr std::uint64_t forgotten = bound / 100;
    Node node(small_options());
    node.options().hot_bytes = 64 << 20;
    node.use_memory();
    node.start();
    node.wait<api::CreateReply>(node.create("v1/p"));
    const auto send = [&](std::uint64_t producer) {
        return node.append_as(numbered("p", producer), 0, 0, "v1/p", "x");
    };
    std::uint64_t made = 0;
    while (made < bound) {
        for (int i = 0; i < 4000 && made < bound; ++i) {
            send(made++);
        }
        node.turn();
        REQUIRE(node.last_replies().size() <= 4000);
        node.forget_answers();
    }
    const auto kind = [&](std::uint64_t producer) {
        return node.wait<api::AppendReply>(send(producer)).kind;
    };
    using Kind = api::AppendReply::Kind;
    // At the bound all are known. Asking changes nothing, not even who was used last.
    CHECK(kind(0) == Kind::duplicate);
    CHECK(kind(bound - 1) == Kind::duplicate);
    const std::uint64_t commands = node.shard().counters().commands;
    // One more: it is accepted, and so is who was forgotten and comes again.
    CHECK(kind(bound) == Kind::appended);
    node.run();
    CHECK(node.shard().counters().commands == commands + 2);
    CHECK(kind(bound) == Kind::duplicate);
    CHECK(kind(bound - 1) == Kind::duplicate);
    CHECK(kind(forgotten + 1) == Kind::duplicate);
    CHECK(kind(0) == Kind::appended);
    CHECK(kind(forgotten) == Kind::appended);
    // Far from the bound again: nothing more is forgotten.
    node.run();
    CHECK(node.shard().counters().commands == commands + 4);
    CHECK(node.wait<api::HeadReply>(node.head("v1/p")).tail == bound + 3);
}

}  // namespace ursula::shard::test
