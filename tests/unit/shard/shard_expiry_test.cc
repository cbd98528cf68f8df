// Streams that go by themselves, at the waist: when, by whose clock, and what keeps them.
#include <doctest/doctest.h>

#include <string>

#include "api/placement.h"
#include "base/limits.h"
#include "tests/unit/shard/trio.h"

namespace ursula::shard::test {

using api::Refusal;

namespace {

namespace limits = base::limits;

const std::string name = "v1/s";

base::GroupId group_of(const std::string& stream) {
    return api::group_of(stream, small_options().groups);
}

api::CallId create_with(Node& node, const api::Expiry& expiry,
                        const std::string& type = "text/plain") {
    api::CreateCall create;
    create.key = node.key(name);
    create.content_type = node.keep(type);
    create.expiry = expiry;
    create.expiry.text = node.keep(expiry.text);
    return node.call(create);
}

api::CallId create_with_ttl(Node& node, std::int64_t ms, const std::string& type = "text/plain") {
    return create_with(node, {api::Expiry::Kind::ttl, ms, {}}, type);
}

bool is_there(Node& node) {
    const stream::Machine& machine = node.shard().machine(group_of(name));
    return machine.find(name, machine.hash_of(name)) != nullptr;
}

// One node with a stream that has this window.
struct Alone {
    Node node{small_options()};
    explicit Alone(std::int64_t ttl_ms, bool memory = false) {
        if (memory) {
            node.use_memory();
        }
        node.start();
        node.wait<api::CreateReply>(create_with_ttl(node, ttl_ms));
    }
    // Nothing but what the shard itself wants.
    void let_pass(std::int64_t ms) {
        const base::Instant end = node.now().mono + base::milliseconds(ms);
        node.run(base::milliseconds(ms));
        if (node.now().mono < end) {
            node.pass(end - node.now().mono);
        }
    }
};

}  // namespace

TEST_CASE("a stream that nobody touches goes by itself, to the millisecond") {
    for (const bool memory : {true, false}) {
        CAPTURE(memory);
        Alone alone(5000, memory);
        const std::int64_t created = alone.node.now().wall.ms;
        const std::uint64_t commands = alone.node.shard().counters().commands;
        for (int i = 0; i < 20'000 && is_there(alone.node); ++i) {
            REQUIRE(alone.node.wants_turn(alone.node.now().mono + base::seconds(2)));
            alone.node.run(base::milliseconds(1));
            alone.node.pass(base::milliseconds(1));
        }
        const std::int64_t lived = alone.node.now().wall.ms - created;
        CHECK(lived >= 4990);
        CHECK(lived <= 5010);
        CHECK(alone.node.shard().counters().commands == commands + 1);
        CHECK(alone.node.refusal(alone.node.head(name)) == Refusal::stream_not_found);
        // And a node without such streams does not look at its clock any more.
        alone.node.run();
        CHECK_FALSE(alone.node.wants_turn(alone.node.now().mono + base::milliseconds(20)));
    }
}

TEST_CASE("reads and writes begin the window anew, HEAD does not") {
    Alone alone(4000);
    Node& node = alone.node;
    alone.let_pass(3000);
    CHECK(node.tail_after(node.append(name, "one")) == 3);
    alone.let_pass(3000);
    CHECK(text_of(node.wait<api::ReadReply>(node.read(name, 0, 100)).pieces) == "one");
    alone.let_pass(3000);
    api::ReadCall now;
    now.key = node.key(name);
    now.from_now = true;
    node.wait<api::ReadReply>(node.call(now));
    alone.let_pass(3000);
    node.wait<api::AppendReply>(node.append_as("p", 0, 0, name, "two"));
    alone.let_pass(3000);
    // Told early, if it were not for the touch.
    CHECK(node.wait<api::AppendReply>(node.append_as("p", 0, 0, name, "two")).kind ==
          api::AppendReply::Kind::duplicate);
    alone.let_pass(3000);
    node.wait<api::AppendReply>(node.close(name));
    alone.let_pass(3000);
    node.wait<api::AppendReply>(node.close(name));
    alone.let_pass(2000);
    const auto head = node.wait<api::HeadReply>(node.head(name));
    CHECK(head.expires == api::Expiry::Kind::ttl);
    CHECK(head.ttl_ms == 4000);
    alone.let_pass(2100);
    CHECK(node.refusal(node.read(name, 0, 100)) == Refusal::stream_not_found);
}

TEST_CASE("touches of reads are coalesced, and old ones are waited for") {
    Alone alone(8000);
    Node& node = alone.node;
    for (int i = 0; i < 100; ++i) {
        node.wait<api::ReadReply>(node.read(name, 0, 100));
    }
    CHECK(node.shard().counters().touches == 0);  // younger than an eighth
    alone.let_pass(1500);
    // A touch is under way, nobody waits for it.
    node.gate().held = true;
    for (int i = 0; i < 10; ++i) {
        node.wait<api::ReadReply>(node.read(name, 0, 100));
    }
    CHECK(node.shard().counters().touches == 1);
    node.gate().held = false;
    node.run();
    alone.let_pass(3000);
    node.gate().held = true;
    const api::CallId one = node.read(name, 0, 100);
    const api::CallId other = node.read(name, 0, 100);
    const api::CallId head = node.head(name);
    node.run();
    CHECK_FALSE(node.answered(one));
    CHECK_FALSE(node.answered(other));
    CHECK(node.answered(head));
    node.gate().held = false;
    node.wait<api::ReadReply>(one);
    node.wait<api::ReadReply>(other);
    CHECK(node.shard().counters().touches == 2);
}

TEST_CASE("after the deadline: reads wait for the group's word, writes find nothing") {
    for (int what = 0; what < 4; ++what) {
        CAPTURE(what);
        Alone alone(1000);
        Node& node = alone.node;
        node.wait<api::AppendReply>(node.append(name, "old"));
        node.pass(base::milliseconds(1001));
        if (what == 0) {
            CHECK(node.refusal(node.head(name)) == Refusal::stream_not_found);
        } else if (what == 1) {
            CHECK(node.refusal(node.read(name, 0, 100)) == Refusal::stream_not_found);
        } else if (what == 2) {
            CHECK(node.refusal(node.append(name, "x", "text/html")) == Refusal::stream_not_found);
            CHECK(node.refusal(node.remove(name)) == Refusal::stream_not_found);
        } else {
            // Of another type, which the old one would refuse from applied state.
            const auto created =
                node.wait<api::CreateReply>(create_with_ttl(node, 9000, "text/html"));
            CHECK(created.created);
            CHECK(created.tail == 0);
            alone.let_pass(5000);
            CHECK(is_there(node));
        }
    }
}

TEST_CASE("a read that comes first does not bring it back") {
    Alone alone(1000);
    Node& node = alone.node;
    node.pass(base::milliseconds(1001));
    node.gate().held = true;
    const api::CallId read = node.read(name, 0, 100);
    const api::CallId append = node.append(name, "x");
    node.run();
    CHECK_FALSE(node.answered(read));
    node.gate().held = false;
    CHECK(node.refusal(read) == Refusal::stream_not_found);
    CHECK(node.refusal(append) == Refusal::stream_not_found);
    CHECK_FALSE(is_there(node));
}

TEST_CASE("no window: created, and not there") {
    Node node(small_options());
    node.start();
    CHECK(node.wait<api::CreateReply>(create_with_ttl(node, 0)).created);
    CHECK(node.refusal(node.head(name)) == Refusal::stream_not_found);
    CHECK(
        node.wait<api::CreateReply>(create_with(node, {api::Expiry::Kind::at, 5, "1970"})).created);
    CHECK(node.refusal(node.read(name, 0, 9)) == Refusal::stream_not_found);
    node.run();
    CHECK(node.shard().stream_count() == 0);
}

TEST_CASE("live readers keep it, with few touches; without them it goes") {
    Alone alone(1000);
    Node& node = alone.node;
    const api::CallId first = node.watch(name);
    node.wait<api::WatchReply>(first);
    const api::CallId second = node.watch(name);
    node.wait<api::WatchReply>(second);
    alone.let_pass(10'000);
    CHECK(is_there(node));
    CHECK(node.shard().counters().touches <= 85);
    CHECK(node.answer_count(first) == 0);
    node.unwatch(name, first);
    alone.let_pass(3000);
    CHECK(is_there(node));
    node.unwatch(name, second);
    alone.let_pass(1300);
    CHECK_FALSE(is_there(node));
}

TEST_CASE("an instant ends its readers") {
    Node node(small_options());
    node.start();
    const std::int64_t at = node.now().wall.ms + 3000;
    node.wait<api::CreateReply>(create_with(node, {api::Expiry::Kind::at, at, "then"}));
    const auto head = node.wait<api::HeadReply>(node.head(name));
    CHECK(head.expires == api::Expiry::Kind::at);
    CHECK(base::as_text(head.expires_at.bytes()) == "then");
    const api::CallId watch = node.watch(name);
    node.wait<api::WatchReply>(watch);
    node.run(base::milliseconds(2900));
    CHECK(node.answer_count(watch) == 0);
    CHECK(node.wait<api::Post>(watch).removed);
    CHECK(node.now().wall.ms <= at + 20);
    CHECK(node.shard().counters().touches == 0);
}

TEST_CASE("a watch given up before it was answered keeps nothing") {
    Alone alone(1000);
    Node& node = alone.node;
    node.pass(base::milliseconds(600));
    const api::CallId watch = node.watch(name);  // waits for its touch
    node.unwatch(name, watch);
    node.run();
    CHECK_FALSE(node.answered(watch));
    alone.let_pass(1200);
    CHECK_FALSE(is_there(node));
}

TEST_CASE("a restart in the middle of a window is not the beginning of another one") {
    Alone alone(4000);
    Node& node = alone.node;
    alone.let_pass(1000);
    node.wait<api::AppendReply>(node.append(name, "x"));
    alone.let_pass(3000);
    node.restart();
    CHECK(is_there(node));
    alone.let_pass(900);
    CHECK(is_there(node));
    alone.let_pass(200);
    CHECK_FALSE(is_there(node));
    node.restart();
    CHECK_FALSE(is_there(node));
    // Over while the node was down.
    node.wait<api::CreateReply>(create_with_ttl(node, 1000));
    node.kill();
    node.pass(base::seconds(5));
    node.start();
    CHECK(node.refusal(node.head(name)) == Refusal::stream_not_found);
}

TEST_CASE("a node alone follows its clock wherever it goes") {
    Alone alone(3'600'000);
    alone.let_pass(1000);
    alone.node.shift_wall(4'000'000);
    alone.let_pass(1500);  // it looks every second
    CHECK_FALSE(is_there(alone.node));
}

TEST_CASE("many at once are taken in turns") {
    Node node(small_options());
    node.use_memory();
    node.start();
    for (std::uint64_t i = 0; i < 1000; ++i) {
        api::CreateCall create;
        create.key = node.key(numbered("v1/many-", i));
        create.content_type = "text/plain";
        create.expiry = {api::Expiry::Kind::ttl, 1000, {}};
        node.call(create);
    }
    node.turn();
    node.run();
    REQUIRE(node.shard().stream_count() == 1000);
    node.pass(base::seconds(1));
    node.turn();
    CHECK(node.shard().stream_count() >= 1000 - limits::expiries_per_turn_max);
    node.run();
    CHECK(node.shard().stream_count() == 0);
}

// --- several nodes ---

namespace {

struct Three {
    Trio trio;
    base::GroupId group = group_of(name);
    explicit Three(std::int64_t ttl_ms) {
        trio.make_leader(group, 1);
        trio.wait<api::CreateReply>(1, create_with_ttl(trio.node(1), ttl_ms));
        trio.settle();
    }
    bool everywhere(bool there) {
        for (std::size_t number = 1; number <= Trio::size; ++number) {
            if (trio.up(number) && is_there(trio.node(number)) != there) {
                return false;
            }
        }
        return true;
    }
    void read(std::size_t number) {
        trio.wait<api::ReadReply>(number, trio.node(number).read(name, 0, 100));
    }
    // Milliseconds until it is gone everywhere.
    std::int64_t life() {
        const base::Instant begin = trio.node(2).now().mono;
        trio.run_until([&] { return everywhere(false); });
        return (trio.node(2).now().mono - begin).ms();
    }
};

}  // namespace

TEST_CASE("three nodes: reads at any of them keep it, and all lose it") {
    Three three(4000);
    for (const std::size_t number : {2u, 3u, 1u, 2u}) {
        three.trio.run(base::milliseconds(3000));
        REQUIRE(three.everywhere(true));
        three.read(number);
    }
    const std::int64_t life = three.life();
    CHECK(life >= 3900);
    CHECK(life <= 4300);
    for (std::size_t number = 1; number <= Trio::size; ++number) {
        CHECK(three.trio.refusal(number, three.trio.node(number).head(name)) ==
              Refusal::stream_not_found);
    }
}

TEST_CASE("three nodes: a live reader at a follower keeps it") {
    Three three(1000);
    Node& follower = three.trio.node(3);
    const api::CallId watch = follower.watch(name);
    three.trio.wait<api::WatchReply>(3, watch);
    three.trio.run(base::seconds(5));
    CHECK(three.everywhere(true));
    CHECK(follower.shard().counters().touches <= 45);
    follower.unwatch(name, watch);
    CHECK(three.life() <= 1300);
}

TEST_CASE("a follower whose clock is wrong touches all the same") {
    for (const std::int64_t shift : {-3'600'000, 3'600'000}) {
        CAPTURE(shift);
        Three three(2000);
        three.trio.node(2).shift_wall(shift);
        for (int i = 0; i < 5; ++i) {
            three.trio.run(base::milliseconds(1500));
            REQUIRE(three.everywhere(true));
            three.read(2);
        }
        CHECK(three.trio.node(2).shard().counters().touches <= 6);
    }
}

TEST_CASE("the next leader knows the window") {
    Three three(5000);
    three.trio.run(base::milliseconds(2000));
    three.read(2);
    three.trio.kill(1);
    const std::int64_t life = three.life();
    CHECK(life >= 4800);
    CHECK(life <= 5300);
    three.trio.start(1);
    three.trio.settle();
    CHECK_FALSE(is_there(three.trio.node(1)));
}

TEST_CASE("a read whose touch is lost with its leader goes to the next one") {
    Three three(60'000);
    three.trio.run(base::milliseconds(20'000));
    const Shard& shard = three.trio.node(2).shard();
    const api::CallId read = three.trio.node(2).read(name, 0, 100);
    three.trio.run_until([&] { return shard.counters().touches == 1; });
    three.trio.kill(1);
    CHECK_FALSE(three.trio.node(2).answered(read));
    three.trio.wait<api::ReadReply>(2, read);
    CHECK(shard.counters().touches == 2);
}

TEST_CASE("a leader's clock that jumps neither ends a window nor stops it") {
    for (const std::int64_t shift : {-3'600'000, 3'600'000}) {
        CAPTURE(shift);
        Three three(5000);
        three.trio.run(base::milliseconds(2000));
        three.trio.node(1).shift_wall(shift);
        const std::int64_t life = three.life();
        CHECK(life >= 1900);
        CHECK(life <= 4300);
    }
}

TEST_CASE("a leader whose clock is behind expires later, never earlier") {
    Three three(3000);
    three.trio.node(2).shift_wall(-2000);
    three.trio.node(3).shift_wall(-2000);
    three.read(2);
    three.trio.kill(1);
    const std::int64_t life = three.life();
    CHECK(life >= 2900);
    CHECK(life <= 5300);
}

}  // namespace ursula::shard::test
