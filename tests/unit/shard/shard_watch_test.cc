// Watches and posts: what a loop with live readers is told, once per turn and without a gap.
#include "base/limits.h"
#include "tests/unit/shard/shard_node.h"

namespace ursula::shard::test {

using api::Post;
using api::Refusal;
using api::WatchReply;

namespace {

Post take_post(Node& node, api::CallId watch) {
    return node.wait<Post>(watch);
}

}  // namespace

TEST_CASE("one post per turn, with the bytes of all its appends") {
    for (const bool memory : {true, false}) {
        CAPTURE(memory);
        Node node(small_options());
        if (memory) {
            node.use_memory();
        }
        node.start();
        CHECK(node.refusal(node.watch("v1/none")) == Refusal::stream_not_found);
        node.wait<api::CreateReply>(node.create("v1/w", "text/plain", "old "));
        const api::CallId watch = node.watch("v1/w");
        const auto opened = node.wait<WatchReply>(watch);
        CHECK(opened.tail == 4);
        CHECK(!opened.closed);

        node.append("v1/w", "one ");
        node.append("v1/w", "two ");
        node.append("v1/none", "x");
        node.turn();
        node.run();
        REQUIRE(node.answer_count(watch) == 1);
        Post post = take_post(node, watch);
        CHECK(post.from == 4);
        CHECK(post.to == 12);
        CHECK(!post.closed);
        CHECK(!post.removed);
        CHECK(text_of(post.pieces) == "one two ");

        // Nothing changes, nothing is posted: refusals, other streams, reads, a second create.
        node.append("v1/w", "x", "text/html");
        node.create("v1/w");
        node.create("v1/other", "text/plain", "y");
        node.read("v1/w", 0, 10);
        node.run();
        CHECK(node.answer_count(watch) == 0);

        node.append("v1/w", "three");
        node.close("v1/w", "!");
        node.turn();
        node.run();
        REQUIRE(node.answer_count(watch) == 1);
        post = take_post(node, watch);
        CHECK(post.closed);
        CHECK(post.from == 12);
        CHECK(post.to == 18);
        CHECK(text_of(post.pieces) == "three!");
        CHECK(node.shard().counters().posts == 2);
    }
}

TEST_CASE("closing without data is a post without bytes") {
    Node node(small_options());
    node.start();
    node.wait<api::CreateReply>(node.create("v1/w", "text/plain", "abc"));
    const api::CallId watch = node.watch("v1/w");
    node.wait<WatchReply>(watch);
    node.wait<api::AppendReply>(node.close("v1/w"));
    const Post post = take_post(node, watch);
    CHECK(post.closed);
    CHECK(post.from == 3);
    CHECK(post.to == 3);
    CHECK(post.pieces.empty());
    // A watch of a closed stream says so at once.
    const auto late = node.wait<WatchReply>(node.watch("v1/w"));
    CHECK(late.closed);
    CHECK(late.tail == 3);
}

TEST_CASE("a removed stream's watchers are told, and the name's next stream is not theirs") {
    Node node(small_options());
    node.start();
    node.wait<api::CreateReply>(node.create("v1/w"));
    const api::CallId first = node.watch("v1/w");
    const api::CallId second = node.watch("v1/w");
    node.wait<WatchReply>(first);
    node.wait<WatchReply>(second);
    // Growth, removal and rebirth in one turn.
    node.append("v1/w", "gone");
    node.remove("v1/w");
    node.create("v1/w");
    const auto after = node.append("v1/w", "new life");
    node.turn();
    node.tail_after(after);
    node.run();
    for (const api::CallId watch : {first, second}) {
        REQUIRE(node.answer_count(watch) == 1);
        CHECK(take_post(node, watch).removed);
    }
    node.wait<api::AppendReply>(node.append("v1/w", "more"));
    node.run();
    CHECK(node.answer_count(first) == 0);
    // Unwatching what is gone is harmless; its number serves the next watch.
    node.unwatch("v1/w", first);
    node.unwatch("v1/none", second);
    const api::CallId third = node.watch("v1/w");
    CHECK(node.wait<WatchReply>(third).tail == 12);
    node.wait<api::AppendReply>(node.append("v1/w", "x"));
    CHECK(take_post(node, third).to == 13);
}

TEST_CASE("two watchers: each is told; unwatching one leaves the other; watching again goes on") {
    Node node(small_options());
    node.start();
    node.wait<api::CreateReply>(node.create("v1/w"));
    const api::CallId a = node.watch("v1/w");
    const api::CallId b = node.watch("v1/w");
    node.wait<WatchReply>(a);
    node.wait<WatchReply>(b);
    node.wait<api::AppendReply>(node.append("v1/w", "1"));
    CHECK(text_of(take_post(node, a).pieces) == "1");
    CHECK(text_of(take_post(node, b).pieces) == "1");
    node.unwatch("v1/w", a);
    node.wait<api::AppendReply>(node.append("v1/w", "2"));
    CHECK(text_of(take_post(node, b).pieces) == "2");
    CHECK(node.answer_count(a) == 0);
    const api::CallId again = node.watch("v1/w");
    CHECK(node.wait<WatchReply>(again).tail == 2);
    node.unwatch("v1/w", b);
    node.wait<api::AppendReply>(node.append("v1/w", "3"));
    const Post post = take_post(node, again);
    CHECK(post.from == 2);
    CHECK(text_of(post.pieces) == "3");
    CHECK(node.answer_count(b) == 0);
    node.unwatch("v1/w", again);
    node.wait<api::AppendReply>(node.append("v1/w", "4"));
    node.run();
    CHECK(node.answer_count(again) == 0);
    // Gone and back in one turn, with growth around it.
    const api::CallId once = node.watch("v1/w");
    node.wait<WatchReply>(once);
    node.append("v1/w", "5");
    node.unwatch("v1/w", once);
    const api::CallId back = node.watch("v1/w");
    node.append("v1/w", "6");
    node.turn();
    node.run();
    CHECK(node.answer_count(once) == 0);
    std::uint64_t at = node.wait<WatchReply>(back).tail;
    std::string seen;
    while (node.answer_count(back) > 0) {
        const Post part = take_post(node, back);
        CHECK(part.from == at);
        at = part.to;
        seen += text_of(part.pieces);
    }
    CHECK(at == 6);
    CHECK(seen == std::string("123456").substr(6 - seen.size()));
}

TEST_CASE("a post carries bytes up to its bound and none beyond it") {
    constexpr std::uint64_t bound = base::limits::tail_post_bytes_max;
    Node node(small_options());
    node.options().hot_bytes = 8 << 20;
    node.start();
    node.wait<api::CreateReply>(node.create("v1/w"));
    const api::CallId watch = node.watch("v1/w");
    node.wait<WatchReply>(watch);
    std::uint64_t tail = 0;
    for (const std::uint64_t size : {bound, bound + 1, 10 * bound, std::uint64_t{1}}) {
        CAPTURE(size);
        const std::string body = pattern(size, size);
        tail += size;
        CHECK(node.tail_after(node.append("v1/w", body)) == tail);
        const Post post = take_post(node, watch);
        CHECK(post.from == tail - size);
        CHECK(post.to == tail);
        const bool right = text_of(post.pieces) == (size > bound ? std::string() : body);
        CHECK(right);
    }
    // Several appends of one turn that exceed it together.
    const std::string half = pattern(bound / 2 + 1, 7);
    node.append("v1/w", half);
    const auto last = node.append("v1/w", half);
    node.turn();
    tail = node.tail_after(last);
    const Post post = take_post(node, watch);
    CHECK(post.to == tail);
    CHECK(post.pieces.empty());
}

TEST_CASE("a post whose bytes left memory before it went out carries none") {
    Node node(small_options());
    node.options().hot_bytes = 16 << 10;
    node.start();
    node.wait<api::CreateReply>(node.create("v1/w"));
    node.wait<api::CreateReply>(node.create("v1/flood"));
    const api::CallId watch = node.watch("v1/w");
    node.wait<WatchReply>(watch);
    node.append("v1/w", "watched");
    std::vector<api::CallId> flood;
    for (int i = 0; i < 40; ++i) {
        flood.push_back(node.append("v1/flood", pattern(4000, 1)));
    }
    node.turn();
    for (const api::CallId id : flood) {
        node.wait<api::AppendReply>(id);
    }
    const Post post = take_post(node, watch);
    CHECK(post.to == 7);
    const std::string carried = text_of(post.pieces);
    CHECK((carried.empty() || carried == "watched"));
    CHECK(node.content("v1/w") == "watched");
}

TEST_CASE("watchers that join at any moment see every byte once, and the end after them") {
    for (std::uint64_t seed = 1; seed <= 40; ++seed) {
        CAPTURE(seed);
        base::Random random(seed);
        Node node(small_options());
        node.start();
        node.wait<api::CreateReply>(node.create("v1/w"));
        node.set_random(&random);
        struct Reader {
            api::CallId watch;
            bool opened = false;
            bool closed = false;
            std::uint64_t at = 0;
            std::string seen;
            std::uint64_t from = 0;
        };
        std::vector<Reader> readers;
        std::string content;
        const auto drain = [&](Reader& reader) {
            while (node.answer_count(reader.watch) > 0) {
                api::Answer answer = node.take(reader.watch);
                if (const auto* opened = std::get_if<WatchReply>(&answer)) {
                    CHECK(!reader.opened);
                    reader.opened = true;
                    reader.at = reader.from = opened->tail;
                    // Said with this tail: nothing may follow.
                    reader.closed = opened->closed;
                    continue;
                }
                const auto& post = std::get<Post>(answer);
                CHECK(reader.opened);
                CHECK(!reader.closed);
                CHECK(post.from == reader.at);
                reader.at = post.to;
                reader.seen += text_of(post.pieces);
                reader.closed = post.closed;
            }
        };
        api::CallId closing{};
        for (int turn = 0; closing.value == 0 || !node.answered(closing); ++turn) {
            REQUIRE(turn < 1000);
            if (turn < 30 && random.chance(1, 2)) {
                const std::string body = numbered("<", random.next());
                content += body;
                node.append("v1/w", body);
            } else if (turn >= 30 && closing.value == 0) {
                content += "end";
                closing = node.close("v1/w", "end");
            }
            readers.push_back({node.watch("v1/w")});
            node.turn();
            for (Reader& reader : readers) {
                drain(reader);
            }
        }
        node.set_random(nullptr);
        node.run();
        for (Reader& reader : readers) {
            drain(reader);
            CHECK(reader.opened);
            CHECK(reader.closed);
            CHECK(reader.at == content.size());
            CHECK(reader.seen == content.substr(reader.from));
        }
    }
}

}  // namespace ursula::shard::test
