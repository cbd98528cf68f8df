// Forks at the waist: made in steps over two groups, on one shard and on two; read as one stream;
// let go; and none of it half done after a crash at any moment.
#include <doctest/doctest.h>

#include <map>
#include <string>

#include "api/placement.h"
#include "base/limits.h"
#include "tests/unit/shard/shard_set.h"
#include "tests/unit/shard/trio.h"

namespace ursula::shard::test {

using api::CreateReply;
using api::ReadReply;
using api::Refusal;

namespace {

namespace limits = base::limits;

constexpr std::uint32_t groups = 6;

struct Ask {
    std::string name;
    std::string source;
    std::string body = {};
    bool has_offset = false;
    std::uint64_t offset = 0;
    std::uint64_t sub_offset = 0;
    std::string type = {};  // empty: not given
    std::int64_t ttl_ms = 0;
};

api::CallId fork(Node& node, const Ask& ask, std::uint32_t count) {
    api::ForkCall call;
    call.key = node.key(ask.name);
    call.key.group = api::group_of(ask.name, count);
    call.source = node.keep(ask.source);
    call.source_group = api::group_of(ask.source, count);
    call.has_content_type = !ask.type.empty();
    call.content_type = node.keep(ask.type);
    call.has_offset = ask.has_offset;
    call.offset = ask.offset;
    call.sub_offset = ask.sub_offset;
    call.body = node.keep_bytes(ask.body);
    if (ask.ttl_ms != 0) {
        call.expiry = {api::Expiry::Kind::ttl, ask.ttl_ms, {}};
    }
    return node.call(call);
}

class Shards : public ShardSet {
  public:
    explicit Shards(std::uint32_t count, bool memory = false) : ShardSet(count, groups, memory) {
        start();
    }
    void kill() {
        for (const auto& node : nodes_) {
            node->kill();
        }
    }
    void step() {
        for (const auto& node : nodes_) {
            node->turn();
        }
    }
    template <class T>
    T wait(Node& node, api::CallId id) {
        for (int i = 0; i < 20'000 && !node.answered(id); ++i) {
            step();
        }
        REQUIRE(node.answered(id));
        return node.wait<T>(id);
    }
    template <class T = CreateReply>
    T fork(const Ask& ask) {
        Node& node = of_stream(ask.name);
        return wait<T>(node, test::fork(node, ask, groups));
    }
    Refusal refusal(const Ask& ask) { return fork<api::Refused>(ask).why; }
    void create(const std::string& name, const std::string& body,
                const std::string& type = "text/plain") {
        Node& node = of_stream(name);
        CHECK(wait<CreateReply>(node, node.create(name, type, body)).created);
    }
    void append(const std::string& name, const std::string& body,
                const std::string& type = "text/plain") {
        Node& node = of_stream(name);
        wait<api::AppendReply>(node, node.append(name, body, type));
    }
    void remove(const std::string& name) {
        Node& node = of_stream(name);
        wait<api::RemoveReply>(node, node.remove(name));
    }
    ReadReply read(const std::string& name, std::uint64_t offset, std::uint64_t bytes_max) {
        Node& node = of_stream(name);
        return wait<ReadReply>(node, node.read(name, offset, bytes_max));
    }
    std::string content(const std::string& name, std::uint64_t bytes_max = 1 << 20) {
        std::string text;
        for (std::uint64_t at = 0;;) {
            const ReadReply part = read(name, at, bytes_max);
            CHECK(part.from == at);
            const std::string bytes = text_of(part.pieces);
            CHECK(bytes.size() == part.next - part.from);
            text += bytes;
            if (part.up_to_date) {
                return text;
            }
            REQUIRE(part.next > at);
            at = part.next;
        }
    }
    Refusal read_refusal(const std::string& name) {
        Node& node = of_stream(name);
        return wait<api::Refused>(node, node.head(name)).why;
    }
    const stream::Machine& machine(std::uint32_t group) {
        return nodes_[group % nodes_.size()]->shard().machine(base::GroupId(group));
    }
    const stream::Stream* find(const std::string& name) {
        const stream::Machine& m = machine(api::group_of(name, groups).value);
        return m.find(name, m.hash_of(name));
    }
    // All that is under way comes to an end, what was to be tried again later with it.
    void settle(int turns = 150) {
        for (int round = 0; round < 3; ++round) {
            for (int i = 0; i < turns; ++i) {
                step();
            }
            for (const auto& node : nodes_) {
                node->pass(base::milliseconds(limits::fork_retry_ms + 10));
            }
        }
    }
    // Every hold has its fork, every fork its hold, and no link is left.
    void check_whole() {
        std::map<base::Incarnation, std::string> holds;
        for (std::uint32_t group = 0; group < groups; ++group) {
            CHECK(machine(group).links().empty());
            for (const stream::Stream* s = machine(group).first(); s != nullptr; s = s->next()) {
                CHECK((!s->gone() || s->held()));
                if (s->held()) {
                    for (const base::Incarnation& id : *s->extra()->holds()) {
                        CHECK(holds.emplace(id, s->name()).second);
                    }
                }
            }
        }
        for (std::uint32_t group = 0; group < groups; ++group) {
            for (const stream::Stream* s = machine(group).first(); s != nullptr; s = s->next()) {
                if (const stream::ForkOrigin* origin = s->origin()) {
                    const auto hold = holds.find(origin->link);
                    REQUIRE(hold != holds.end());
                    CHECK(hold->second == origin->source_name);
                    holds.erase(hold);
                }
            }
        }
        CHECK(holds.empty());
    }
};

// A name of the group.
std::string name_in(std::uint32_t group, const std::string& prefix) {
    for (std::uint64_t i = 0;; ++i) {
        std::string name = numbered("v1/" + prefix, i);
        if (api::group_of(name, groups).value == group) {
            return name;
        }
    }
}

}  // namespace

TEST_CASE("a fork reads as one stream, whoever has its bytes") {
    for (const std::uint32_t shards : {1u, 2u}) {
        for (const bool memory : {true, false}) {
            for (std::uint32_t group = 0; group < groups; ++group) {
                CAPTURE(shards);
                CAPTURE(memory);
                CAPTURE(group);
                Shards node(shards, memory);
                const std::string source = name_in(0, "s");
                const std::string fork = name_in(group, "f");
                const std::string second = name_in((group + 1) % groups, "g");
                node.create(source, "one,");
                node.append(source, "two,");
                node.append(source, "three,");
                Ask ask{fork, source, "own,"};
                ask.has_offset = true;
                ask.offset = 8;
                const auto made = node.fork(ask);
                CHECK(made.created);
                CHECK(made.tail == 12);
                CHECK(base::as_text(made.content_type.bytes()) == "text/plain");
                CHECK_FALSE(node.fork(ask).created);
                node.append(source, "later,");
                node.append(fork, "more,");
                CHECK(node.content(fork) == "one,two,own,more,");
                CHECK(node.content(fork, 1) == "one,two,own,more,");
                CHECK(node.content(fork, 8) == "one,two,own,more,");
                CHECK(node.content(source) == "one,two,three,later,");
                // Inside an append: the whole of it.
                const ReadReply inside = node.read(fork, 5, 4);
                CHECK(inside.from == 4);
                CHECK(text_of(inside.pieces) == "two,");
                CHECK_FALSE(inside.up_to_date);
                CHECK(text_of(node.read(fork, 9, 1).pieces) == "own,");
                // A fork of the fork, inside of what that inherits, and bytes behind it.
                Ask deeper{second, fork, "deep"};
                deeper.has_offset = true;
                deeper.offset = 4;
                deeper.sub_offset = 2;
                CHECK(node.fork(deeper).tail == 10);
                CHECK(node.content(second) == "one,twdeep");
                CHECK(text_of(node.read(second, 5, 100).pieces) == "twdeep");
                // The middle goes, then the source: nobody sees it in the last one.
                node.remove(fork);
                node.remove(source);
                CHECK(node.read_refusal(fork) == Refusal::stream_deleted);
                CHECK(node.read_refusal(source) == Refusal::stream_deleted);
                CHECK(node.refusal(Ask{"v1/x", source}) == Refusal::fork_source_deleted);
                if (!memory) {
                    node.kill();
                    node.start();
                }
                CHECK(node.content(second) == "one,twdeep");
                node.settle();
                node.check_whole();
                node.remove(second);
                node.settle();
                node.check_whole();
                for (const std::string& name : {source, fork, second}) {
                    CHECK(node.find(name) == nullptr);
                }
            }
        }
    }
}

TEST_CASE("bytes that left memory are gathered from the disk, clamped inside a piece") {
    Shards node(2);
    const std::string source = name_in(0, "s");
    const std::string fork = name_in(1, "f");
    std::string whole;
    for (std::uint64_t i = 0; i < 60; ++i) {
        const std::string body = pattern(9000, i);
        if (i == 0) {
            node.create(source, body);
        } else {
            node.append(source, body);
        }
        whole += body;
    }
    Ask ask{fork, source, "own"};
    ask.has_offset = true;
    ask.offset = 9000 * 30;
    ask.sub_offset = 5001;
    CHECK(node.fork(ask).tail == 275'004);
    const std::string filler = name_in(2, "x");
    node.create(filler, "");
    for (std::uint64_t i = 0; i < 200; ++i) {
        node.append(filler, pattern(9000, i));
    }
    const std::string expected = whole.substr(0, 275'001) + "own";
    CHECK(node.content(fork) == expected);
    CHECK(node.content(fork, 20'000) == expected);
    node.kill();
    node.start();
    CHECK(node.content(fork, 50'000) == expected);
}

TEST_CASE("sub-offsets of JSON count elements of one append, through the chain") {
    Shards node(2);
    const std::string type = "application/json";
    const std::string source = name_in(0, "s");
    node.create(source, R"([{"a":[1,2]},"x,y",3])", type);
    node.append(source, R"([4,5])", type);
    const auto ask = [&](const std::string& name, const std::string& of, std::uint64_t offset,
                         std::uint64_t sub) {
        Ask one{name, of, {}};
        one.has_offset = true;
        one.offset = offset;
        one.sub_offset = sub;
        return one;
    };
    const std::string fork = name_in(1, "f");
    CHECK(node.fork(ask(fork, source, 0, 2)).created);
    CHECK(node.content(fork) == R"({"a":[1,2]},"x,y",)");
    CHECK(node.read(fork, 0, 100).json);
    const std::string again = name_in(2, "g");
    CHECK(node.fork(ask(again, fork, 0, 1)).created);
    CHECK(node.content(again) == R"({"a":[1,2]},)");
    const std::string all = name_in(3, "h");
    CHECK(node.fork(ask(all, source, 0, 3)).created);
    CHECK(node.content(all) == R"({"a":[1,2]},"x,y",3,)");
    // More than the append has, although another one follows.
    CHECK(node.refusal(ask("v1/n1", source, 0, 4)) == Refusal::fork_sub_offset_invalid);
    CHECK(node.refusal(ask("v1/n2", fork, 0, 3)) == Refusal::fork_sub_offset_invalid);
    Ask bad = ask("v1/n3", source, 0, 1);
    bad.body = "{";
    CHECK(node.refusal(bad) == Refusal::json_invalid);
    node.settle();
    node.check_whole();
    CHECK(node.find("v1/n3") == nullptr);
}

TEST_CASE("what a fork's PUT is refused for leaves nothing behind") {
    Shards node(2);
    const std::string source = name_in(0, "s");
    const std::string name = name_in(1, "f");
    CHECK(node.refusal(Ask{name, source}) == Refusal::fork_source_not_found);
    node.create(source, "hello");
    Ask ask{name, source};
    ask.type = "text/html";
    CHECK(node.refusal(ask) == Refusal::fork_type_mismatch);
    for (const std::uint64_t offset :
         {std::uint64_t{1}, std::uint64_t{4}, std::uint64_t{6}, UINT64_MAX}) {
        Ask at{name, source};
        at.has_offset = true;
        at.offset = offset;
        CHECK(node.refusal(at) == Refusal::fork_offset_invalid);
    }
    Ask sub{name, source};
    sub.sub_offset = 1;
    CHECK(node.refusal(sub) == Refusal::fork_sub_offset_invalid);
    sub.has_offset = true;
    sub.sub_offset = 6;
    CHECK(node.refusal(sub) == Refusal::fork_sub_offset_invalid);
    sub.offset = 5;
    sub.sub_offset = 1;
    CHECK(node.refusal(sub) == Refusal::fork_sub_offset_invalid);
    node.create(name, "");
    CHECK(node.refusal(Ask{name, source}) == Refusal::stream_exists_with_other_config);
    node.settle();
    node.check_whole();
    CHECK_FALSE(node.find(source)->held());
    node.remove(source);
    CHECK(node.read_refusal(source) == Refusal::stream_not_found);
}

TEST_CASE("a fork keeps its source's window, in its own time, and its end lets the source go") {
    Shards node(2);
    const std::string source = name_in(0, "s");
    const std::string fork = name_in(1, "f");
    {
        Node& shard = node.of_stream(source);
        api::CreateCall create;
        create.key = shard.key(source);
        create.content_type = "text/plain";
        create.body = shard.keep_bytes("hello");
        create.expiry = {api::Expiry::Kind::ttl, 5000, {}};
        node.wait<CreateReply>(shard, shard.call(create));
    }
    CHECK(node.fork(Ask{fork, source}).created);
    Node& shard = node.of_stream(fork);
    CHECK(node.wait<api::HeadReply>(shard, shard.head(fork)).ttl_ms == 5000);
    // Its readers keep the fork alone.
    for (int i = 0; i < 6; ++i) {
        node.of_stream(source).pass(base::milliseconds(1000));
        node.of_stream(fork).pass(base::milliseconds(1000));
        node.of_stream(source).shift_wall(1000);
        node.of_stream(fork).shift_wall(1000);
        CHECK(node.content(fork) == "hello");
    }
    node.settle();
    CHECK(node.read_refusal(source) == Refusal::stream_deleted);
    CHECK(node.find(source)->gone());
    node.of_stream(source).pass(base::milliseconds(6000));
    node.of_stream(fork).pass(base::milliseconds(6000));
    node.of_stream(source).shift_wall(6000);
    node.of_stream(fork).shift_wall(6000);
    node.settle();
    CHECK(node.find(fork) == nullptr);
    CHECK(node.find(source) == nullptr);
    node.check_whole();
}

// kill -9 after every turn that a fork's life takes: afterwards there is a whole fork or none, and
// the source can go.
TEST_CASE("a crash between any two steps leaves neither a dangling fork nor a hold for ever") {
    for (const std::uint32_t shards : {1u, 2u}) {
        for (const bool removing : {false, true}) {
            bool done = false;
            for (int turns = 0; !done && turns < 60; ++turns) {
                CAPTURE(shards);
                CAPTURE(removing);
                CAPTURE(turns);
                Shards node(shards);
                const std::string source = name_in(0, "s");
                const std::string fork = name_in(1, "f");
                node.create(source, "hello");
                Node& shard = node.of_stream(fork);
                api::CallId call;
                if (removing) {
                    CHECK(node.fork(Ask{fork, source, "own"}).created);
                    node.remove(source);
                    call = shard.remove(fork);
                } else {
                    call = test::fork(shard, Ask{fork, source, "own"}, groups);
                }
                for (int i = 0; i < turns; ++i) {
                    node.step();
                }
                done = shard.answered(call) && turns > 40;
                const bool acknowledged = shard.answered(call);
                node.kill();
                node.start();
                node.settle();
                node.check_whole();
                if (removing) {
                    if (node.find(fork) == nullptr) {
                        CHECK(node.find(source) == nullptr);
                    } else {
                        CHECK_FALSE(acknowledged);
                        CHECK(node.content(fork) == "helloown");
                        node.remove(fork);
                    }
                } else {
                    if (node.find(fork) != nullptr) {
                        CHECK(node.content(fork) == "helloown");
                        node.remove(fork);
                    } else {
                        CHECK_FALSE(acknowledged);
                    }
                    node.remove(source);
                }
                node.settle();
                node.check_whole();
                CHECK(node.find(fork) == nullptr);
                CHECK(node.find(source) == nullptr);
            }
            CHECK(done);
        }
    }
}

TEST_CASE("a hundred forks of one source at a time, all let go") {
    Shards node(2);
    const std::string source = name_in(0, "s");
    node.create(source, "hello");
    std::vector<std::pair<Node*, api::CallId>> calls;
    for (std::uint64_t i = 0; i < 100; ++i) {
        const std::string name = numbered("v1/many", i);
        calls.emplace_back(&node.of_stream(name),
                           test::fork(node.of_stream(name), Ask{name, source}, groups));
    }
    for (const auto& call : calls) {
        CHECK(node.wait<CreateReply>(*call.first, call.second).created);
    }
    CHECK(node.find(source)->extra()->holds()->size() == 100);
    node.check_whole();
    node.remove(source);
    for (std::uint64_t i = 0; i < 100; ++i) {
        node.remove(numbered("v1/many", i));
    }
    node.settle();
    CHECK(node.find(source) == nullptr);
    node.check_whole();
}

TEST_CASE("two PUTs of one fork at a time: one makes it, the other finds it") {
    Shards node(2);
    const std::string source = name_in(0, "s");
    const std::string name = name_in(1, "f");
    node.create(source, "hello");
    Node& shard = node.of_stream(name);
    const api::CallId first = test::fork(shard, Ask{name, source}, groups);
    const api::CallId second = test::fork(shard, Ask{name, source}, groups);
    const int created = (node.wait<CreateReply>(shard, first).created ? 1 : 0) +
                        (node.wait<CreateReply>(shard, second).created ? 1 : 0);
    CHECK(created == 1);
    node.settle();
    node.check_whole();
    CHECK(node.find(source)->extra()->holds()->size() == 1);
}

TEST_CASE("a chain of a thousand is made, read and let go without recursion") {
    Shards node(2, true);
    std::string expected = "r;";
    node.create("v1/c0", expected);
    for (std::uint64_t i = 1; i <= limits::fork_depth_max; ++i) {
        Ask ask{numbered("v1/c", i), numbered("v1/c", i - 1), numbered("x", i)};
        REQUIRE(node.fork(ask).created);
        expected += ask.body;
    }
    const std::string last = numbered("v1/c", limits::fork_depth_max);
    CHECK(node.refusal(Ask{"v1/beyond", last}) == Refusal::fork_too_deep);
    CHECK(node.content(last) == expected);
    CHECK(node.content(last, 1000) == expected);
    for (std::uint64_t i = 0; i <= limits::fork_depth_max; ++i) {
        node.remove(numbered("v1/c", i));
    }
    node.settle(10'000);
    for (std::uint64_t i = 0; i <= limits::fork_depth_max; ++i) {
        REQUIRE(node.find(numbered("v1/c", i)) == nullptr);
    }
    node.check_whole();
}

TEST_CASE("any node forks any stream, and reads it from its own replicas") {
    Trio trio;
    const std::uint32_t count = small_options().groups;
    trio.wait<CreateReply>(1, trio.node(1).create("v1/s", "text/plain", "hello,"));
    for (std::size_t number = 1; number <= Trio::size; ++number) {
        const std::string name = numbered("v1/f", number);
        const api::CallId call = test::fork(trio.node(number), Ask{name, "v1/s", "own"}, count);
        CHECK(trio.wait<CreateReply>(number, call).created);
        for (std::size_t reader = 1; reader <= Trio::size; ++reader) {
            const api::CallId read = trio.node(reader).read(name, 0, 1 << 20);
            CHECK(text_of(trio.wait<ReadReply>(reader, read).pieces) == "hello,own");
        }
    }
    trio.wait<api::RemoveReply>(2, trio.node(2).remove("v1/s"));
    CHECK(trio.refusal(3, trio.node(3).head("v1/s")) == Refusal::stream_deleted);
    for (std::size_t number = 1; number <= Trio::size; ++number) {
        trio.wait<api::RemoveReply>(number, trio.node(number).remove(numbered("v1/f", number)));
    }
    trio.run_until([&] {
        for (std::size_t number = 1; number <= Trio::size; ++number) {
            if (trio.node(number).shard().stream_count() != 0) {
                return false;
            }
        }
        return true;
    });
}

TEST_CASE("the leader of a fork's group dies in the middle: its successor finishes or undoes it") {
    for (int steps = 0; steps < 24; steps += 2) {
        CAPTURE(steps);
        Trio trio;
        const std::uint32_t count = small_options().groups;
        std::string name = "v1/f";
        while (api::group_of(name, count) == api::group_of("v1/s", count)) {
            name += "f";
        }
        const base::GroupId group = api::group_of(name, count);
        trio.make_leader(api::group_of("v1/s", count), 2);
        trio.make_leader(group, 1);
        trio.wait<CreateReply>(1, trio.node(1).create("v1/s", "text/plain", "hello,"));
        trio.settle();
        static_cast<void>(test::fork(trio.node(1), Ask{name, "v1/s", "own"}, count));
        for (int i = 0; i < steps; ++i) {
            trio.step();
        }
        trio.kill(1);
        trio.run_until([&] {
            const std::size_t leader = trio.leader(group);
            return leader == 2 || leader == 3;
        });
        const auto machine = [&](base::GroupId of) -> const stream::Machine& {
            return trio.node(2).shard().machine(of);
        };
        const auto find = [&](const std::string& stream) {
            const stream::Machine& m = machine(api::group_of(stream, count));
            return m.find(stream, m.hash_of(stream));
        };
        trio.run_until([&] {
            return machine(group).links().empty() && find("v1/s") != nullptr &&
                   find("v1/s")->held() == (find(name) != nullptr);
        });
        trio.run(base::milliseconds(500));
        CHECK(find("v1/s")->held() == (find(name) != nullptr));
        if (find(name) != nullptr) {
            const api::CallId read = trio.node(3).read(name, 0, 1 << 20);
            CHECK(text_of(trio.wait<ReadReply>(3, read).pieces) == "hello,own");
        }
    }
}

}  // namespace ursula::shard::test
