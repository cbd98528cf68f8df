// Calls in, replies out: one shard at the waist, in memory and on a simulated disk.
#include "tests/unit/shard/shard_node.h"

namespace ursula::shard::test {

using api::AppendReply;
using api::CreateReply;
using api::HeadReply;
using api::ReadReply;
using api::Refusal;

namespace {

// Each case runs on both disks.
void on_both_disks(void (*test)(Node&)) {
    for (const bool memory : {true, false}) {
        CAPTURE(memory);
        Node node(small_options());
        if (memory) {
            node.use_memory();
        }
        node.start();
        test(node);
    }
}

}  // namespace

TEST_CASE("a stream's life: create, append, read, head, remove") {
    on_both_disks([](Node& node) {
        const auto created = node.wait<CreateReply>(node.create("v1/a", "text/plain", "one "));
        CHECK(created.created);
        CHECK(!created.closed);
        CHECK(created.tail == 4);
        CHECK(base::as_text(created.content_type.bytes()) == "text/plain");

        const auto appended = node.wait<AppendReply>(node.append("v1/a", "two "));
        CHECK(appended.kind == AppendReply::Kind::appended);
        CHECK(!appended.closed);
        CHECK(!appended.producer);
        CHECK(appended.tail == 8);

        auto read = node.wait<ReadReply>(node.read("v1/a", 0, 1024));
        CHECK(text_of(read.pieces) == "one two ");
        CHECK(read.from == 0);
        CHECK(read.next == 8);
        CHECK(read.up_to_date);
        CHECK(!read.closed);
        CHECK(!read.json);
        CHECK(base::as_text(read.content_type.bytes()) == "text/plain");

        // Inside an append: the whole append; bytes_max below one append: still one.
        read = node.wait<ReadReply>(node.read("v1/a", 5, 1024));
        CHECK(text_of(read.pieces) == "two ");
        CHECK(read.from == 4);
        read = node.wait<ReadReply>(node.read("v1/a", 0, 1));
        CHECK(text_of(read.pieces) == "one ");
        CHECK(read.next == 4);
        CHECK(!read.up_to_date);
        // At and beyond the tail: empty, up to date, next is the tail.
        for (const std::uint64_t offset : {std::uint64_t{8}, std::uint64_t{9}, UINT64_MAX}) {
            read = node.wait<ReadReply>(node.read("v1/a", offset, 1024));
            CHECK(read.pieces.empty());
            CHECK(read.next == 8);
            CHECK(read.up_to_date);
        }
        read = node.wait<ReadReply>(node.call(api::ReadCall{node.key("v1/a"), true, 0, 1024}));
        CHECK(read.pieces.empty());
        CHECK(read.next == 8);

        const auto head = node.wait<HeadReply>(node.head("v1/a"));
        CHECK(head.tail == 8);
        CHECK(!head.closed);
        CHECK(head.incarnation == read.incarnation);

        // Creating again: the same configuration is found, another is refused.
        const auto again = node.wait<CreateReply>(node.create("v1/a", "TEXT/plain; charset=x"));
        CHECK(!again.created);
        CHECK(again.tail == 8);
        CHECK(node.refusal(node.create("v1/a", "application/octet-stream")) ==
              Refusal::stream_exists_with_other_config);
        CHECK(node.refusal(node.create("v1/a", "text/plain", {}, true)) ==
              Refusal::stream_exists_with_other_config);

        node.wait<api::RemoveReply>(node.remove("v1/a"));
        CHECK(node.refusal(node.head("v1/a")) == Refusal::stream_not_found);
        CHECK(node.refusal(node.read("v1/a", 0, 10)) == Refusal::stream_not_found);
        CHECK(node.refusal(node.append("v1/a", "x")) == Refusal::stream_not_found);
        CHECK(node.refusal(node.remove("v1/a")) == Refusal::stream_not_found);
        CHECK(node.shard().stream_count() == 0);

        // The name again is another stream.
        node.wait<CreateReply>(node.create("v1/a"));
        const auto reborn = node.wait<HeadReply>(node.head("v1/a"));
        CHECK(reborn.tail == 0);
        CHECK(reborn.incarnation > head.incarnation);
        CHECK(node.content("v1/a").empty());
    });
}

TEST_CASE("what is refused about an append, in the protocol's order") {
    on_both_disks([](Node& node) {
        node.wait<CreateReply>(node.create("v1/t", "text/plain"));
        CHECK(node.refusal(node.append("v1/none", "x")) == Refusal::stream_not_found);
        CHECK(node.refusal(node.append("v1/t", "")) == Refusal::empty_append);
        CHECK(node.refusal(node.append("v1/t", "x", "")) == Refusal::content_type_missing);
        CHECK(node.refusal(node.append("v1/t", "x", "text/html")) ==
              Refusal::content_type_mismatch);
        CHECK(node.tail_after(node.append("v1/t", "x", "Text/Plain;charset=utf-8")) == 1);
        CHECK(node.content("v1/t") == "x");
    });
}

TEST_CASE("JSON is split, kept byte for byte and refused whole") {
    on_both_disks([](Node& node) {
        const std::string json = "application/json";
        const auto append = [&](std::string_view body) { return node.append("v1/j", body, json); };
        node.wait<CreateReply>(node.create("v1/j", json, "[1, 2]"));
        CHECK(node.content("v1/j") == "1, 2,");
        CHECK(node.tail_after(append(" [ {\"a\" : 1},\n\"x\" ] ")) == 5 + 15);
        CHECK(node.tail_after(append("{\"b\":[1,2]}")) == 20 + 12);
        CHECK(node.content("v1/j") == "1, 2,{\"a\" : 1},\n\"x\",{\"b\":[1,2]},");
        auto read = node.wait<ReadReply>(node.read("v1/j", 5, 3));
        CHECK(read.json);
        CHECK(text_of(read.pieces) == "{\"a\" : 1},\n\"x\",");

        CHECK(node.refusal(append("[]")) == Refusal::json_empty_array);
        CHECK(node.refusal(append("{\"a\":}")) == Refusal::json_invalid);
        CHECK(node.refusal(append("[1] 2")) == Refusal::json_invalid);
        CHECK(node.refusal(append(std::string(600, '[') + std::string(600, ']'))) ==
              Refusal::json_too_deep);
        CHECK(node.wait<HeadReply>(node.head("v1/j")).tail == 32);

        const auto empty = node.wait<CreateReply>(node.create("v1/e", json, "[]"));
        CHECK(empty.created);
        CHECK(empty.tail == 0);
        CHECK(node.refusal(node.create("v1/bad", json, "[1,")) == Refusal::json_invalid);
        CHECK(node.refusal(node.head("v1/bad")) == Refusal::stream_not_found);
        // A stream that is not there is 404 first, whatever the body.
        CHECK(node.refusal(node.append("v1/none", "{", json)) == Refusal::stream_not_found);
    });
}

TEST_CASE("closing: with data, without, again, and what a closed stream refuses") {
    on_both_disks([](Node& node) {
        node.wait<CreateReply>(node.create("v1/c", "text/plain", "ab"));
        const auto closed = node.wait<AppendReply>(node.close("v1/c", "cd"));
        CHECK(closed.kind == AppendReply::Kind::appended);
        CHECK(closed.closed);
        CHECK(closed.tail == 4);
        const auto again = node.wait<AppendReply>(node.close("v1/c"));
        CHECK(again.kind == AppendReply::Kind::closed);
        CHECK(again.closed);
        CHECK(again.tail == 4);
        const auto refused = node.wait<api::Refused>(node.append("v1/c", "x"));
        CHECK(refused.why == Refusal::stream_closed);
        CHECK(refused.closed);
        CHECK(refused.tail == 4);
        CHECK(node.refusal(node.close("v1/c", "more")) == Refusal::stream_closed);
        const auto read = node.wait<ReadReply>(node.read("v1/c", 0, 1024));
        CHECK(read.closed);
        CHECK(text_of(read.pieces) == "abcd");
        CHECK(!node.wait<ReadReply>(node.read("v1/c", 0, 2)).closed);
        CHECK(node.wait<HeadReply>(node.head("v1/c")).closed);

        node.wait<CreateReply>(node.create("v1/d"));
        const auto plain = node.wait<AppendReply>(node.close("v1/d"));
        CHECK(plain.kind == AppendReply::Kind::closed);
        CHECK(plain.tail == 0);
        const auto born = node.wait<CreateReply>(node.create("v1/f", "text/plain", "x", true));
        CHECK(born.created);
        CHECK(born.closed);
        CHECK(node.refusal(node.append("v1/f", "y")) == Refusal::stream_closed);
        CHECK(!node.wait<CreateReply>(node.create("v1/f", "text/plain", "x", true)).created);
    });
}

TEST_CASE("Stream-Seq rises by its bytes") {
    on_both_disks([](Node& node) {
        node.wait<CreateReply>(node.create("v1/s"));
        CHECK(node.tail_after(node.append_seq("b", "v1/s", "1")) == 1);
        CHECK(node.refusal(node.append_seq("b", "v1/s", "2")) ==
              Refusal::stream_seq_not_increasing);
        CHECK(node.refusal(node.append_seq("a9", "v1/s", "2")) ==
              Refusal::stream_seq_not_increasing);
        CHECK(node.tail_after(node.append_seq("b0", "v1/s", "2")) == 2);
        CHECK(node.tail_after(node.append("v1/s", "3")) == 3);
        CHECK(node.refusal(node.append_seq("b0", "v1/s", "4")) ==
              Refusal::stream_seq_not_increasing);
        CHECK(node.content("v1/s") == "123");
    });
}

TEST_CASE(
    "what is refused early never enters the log, unless something before it may change that") {
    on_both_disks([](Node& node) {
        node.wait<CreateReply>(node.create("v1/a"));
        node.run();
        const ShardCounters before = node.shard().counters();
        const std::uint64_t written = node.shard().wal().counters().entries;
        CHECK(node.refusal(node.append("v1/none", "x")) == Refusal::stream_not_found);
        CHECK(node.refusal(node.append("v1/a", "x", "text/html")) ==
              Refusal::content_type_mismatch);
        CHECK(node.refusal(node.remove("v1/none")) == Refusal::stream_not_found);
        CHECK(!node.wait<CreateReply>(node.create("v1/a")).created);
        node.run();
        CHECK(node.shard().counters().early_answers == before.early_answers + 4);
        CHECK(node.shard().counters().commands == before.commands);
        CHECK(node.shard().counters().entries == before.entries);
        CHECK(node.shard().wal().counters().entries == written);

        // In one turn: each is decided after those before it, whatever is true when they arrive.
        const auto created = node.create("v1/b");
        const auto appended = node.append("v1/b", "xy");
        const auto removed = node.remove("v1/b");
        const auto late = node.append("v1/b", "z");
        const auto recreated = node.create("v1/b", "text/html");
        const auto other = node.create("v1/b", "text/plain");
        node.turn();
        CHECK(node.wait<CreateReply>(created).created);
        CHECK(node.tail_after(appended) == 2);
        node.wait<api::RemoveReply>(removed);
        CHECK(node.refusal(late) == Refusal::stream_not_found);
        CHECK(node.wait<CreateReply>(recreated).created);
        CHECK(node.refusal(other) == Refusal::stream_exists_with_other_config);
        CHECK(node.shard().counters().early_answers == before.early_answers + 4);
        CHECK(node.shard().counters().commands == before.commands + 6);
        CHECK(node.shard().counters().entries == before.entries + 1);
        CHECK(node.content("v1/b").empty());
    });
}

TEST_CASE("an answer is not early while the disk has an entry that touches the stream") {
    Node node(small_options());
    node.start();
    node.wait<CreateReply>(node.create("v1/a"));
    node.run();
    // The write of the close is under way: an append that comes now is refused after it.
    base::Random late(1);
    node.set_random(&late);
    const auto closed = node.close("v1/a", "end");
    const auto first = node.append("v1/a", "x");
    node.turn();
    std::vector<api::CallId> refused{first};
    while (!node.answered(closed)) {
        refused.push_back(node.append("v1/a", "x"));
        node.turn();
        REQUIRE(refused.size() < 100);
    }
    const std::uint64_t early = node.shard().counters().early_answers;
    CHECK(node.tail_after(closed) == 3);
    for (const api::CallId id : refused) {
        CHECK(node.refusal(id) == Refusal::stream_closed);
    }
    CHECK(early <= 1);  // the last may have come in the turn that applied the close
    CHECK(node.content("v1/a") == "end");
}

TEST_CASE(
    "entries of several commands: one per group and turn, replies in order, whole after restart") {
    Node node(small_options());
    node.start();
    constexpr std::uint64_t streams = 20;
    std::vector<api::CallId> calls;
    const std::uint64_t before = node.shard().counters().entries;
    for (std::uint64_t i = 0; i < streams; ++i) {
        calls.push_back(node.create(numbered("v1/s", i)));
    }
    for (int round = 0; round < 10; ++round) {
        for (std::uint64_t i = 0; i < streams; ++i) {
            calls.push_back(node.append(numbered("v1/s", i), numbered(",", i)));
        }
    }
    node.turn();
    CHECK(node.shard().counters().entries - before == 4);  // one per group
    for (const api::CallId id : calls) {
        node.run_until_answered(id);
    }
    for (std::uint64_t i = 0; i < streams; ++i) {
        std::string expected;
        for (int round = 0; round < 10; ++round) {
            expected += numbered(",", i);
        }
        CHECK(node.content(numbered("v1/s", i)) == expected);
    }
    node.restart();
    CHECK(node.shard().stream_count() == streams);
    for (std::uint64_t i = 0; i < streams; ++i) {
        CHECK(node.content(numbered("v1/s", i)).size() == 10 * numbered(",", i).size());
    }
}

TEST_CASE("a turn's commands beyond a mebibyte go into several entries, in order") {
    Node node(small_options());
    node.options().groups = 1;
    node.options().hot_bytes = 8 << 20;
    node.start();
    node.wait<CreateReply>(node.create("v1/a"));
    node.run();
    const std::uint64_t entries = node.shard().counters().entries;
    std::string content;
    std::vector<api::CallId> calls;
    for (std::uint64_t i = 0; i < 30; ++i) {
        const std::string body = pattern(100'000, i);
        calls.push_back(node.append_as("p", 0, i, "v1/a", body));
        calls.push_back(node.append_as("p", 0, i, "v1/a", body));
        content += body;
    }
    node.turn();
    for (std::size_t i = 0; i < calls.size(); ++i) {
        const auto reply = node.wait<AppendReply>(calls[i]);
        CHECK(reply.kind ==
              (i % 2 == 0 ? AppendReply::Kind::appended : AppendReply::Kind::duplicate));
        CHECK(reply.tail == (i / 2 + 1) * 100'000);
    }
    CHECK(node.shard().counters().entries - entries >= 6);
    CHECK(node.shard().counters().entries - entries <= 7);
    for (const bool restarted : {false, true}) {
        CAPTURE(restarted);
        if (restarted) {
            node.restart();
        }
        const bool same = node.content("v1/a") == content;
        CHECK(same);
    }
}

TEST_CASE("listing a bucket's streams: prefix, after, count") {
    on_both_disks([](Node& node) {
        for (const char* name : {"b/one", "b/two", "b/three", "bb/four", "b/x/y"}) {
            node.wait<CreateReply>(node.create(name));
        }
        const auto list = [&](std::string_view prefix, std::string_view after,
                              std::uint32_t count) {
            api::ListStreamsCall call;
            call.bucket = node.keep("b");
            call.prefix = node.keep(prefix);
            call.after = node.keep(after);
            call.count_max = count;
            return node.wait<api::ListReply>(node.call(call));
        };
        CHECK(list("", "", 10).names == "one\nthree\ntwo\nx/y");
        CHECK(list("t", "", 10).names == "three\ntwo");
        const auto cut = list("", "one", 2);
        CHECK(cut.names == "three\ntwo");
        CHECK(cut.more);
        CHECK(!list("", "one", 3).more);
    });
}

TEST_CASE("a call that comes before the shard leads is refused as overloaded, not lost") {
    Node node(small_options());
    REQUIRE(node.try_start().has_value());
    const auto created = node.create("v1/a");
    const auto head = node.head("v1/a");
    node.turn();
    CHECK(node.refusal(created) == Refusal::overloaded);
    CHECK(node.refusal(head) == Refusal::overloaded);
    node.run_until_ready();
    CHECK(node.wait<CreateReply>(node.create("v1/a")).created);
}

}  // namespace ursula::shard::test
