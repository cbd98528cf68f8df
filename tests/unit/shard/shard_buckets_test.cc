// Buckets: created, resolved, removed in committed steps over all groups and shards, and a removal
// that a crash interrupted goes on after the start.
#include "api/placement.h"
#include "tests/unit/shard/shard_set.h"

namespace ursula::shard::test {

using api::BucketReply;
using api::CreateReply;
using api::Refusal;

namespace {

class Shards : public ShardSet {
  public:
    explicit Shards(std::uint32_t count, bool memory = false) : ShardSet(count, 6, memory) {}
    Node& operator[](std::size_t i) { return *nodes_[i]; }
    Node& of_group_0() { return *nodes_[0]; }
    std::vector<std::unique_ptr<Node>>& all() { return nodes_; }
    // All shards until none has a reason for a turn.
    void run(base::Duration horizon = base::milliseconds(100)) {
        for (bool moved = true; moved;) {
            moved = false;
            for (const auto& node : nodes_) {
                const base::Instant before = node->now().mono;
                node->run(horizon);
                moved = moved || node->now().mono > before;
            }
        }
    }

    CreateReply create(std::string_view name, std::uint64_t bucket_id) {
        Node& node = of_stream(name);
        return node.wait<CreateReply>(node.create(name, "text/plain", "x", false, bucket_id));
    }
    std::uint64_t create_bucket(std::string_view bucket) {
        return of_group_0().wait<BucketReply>(of_group_0().create_bucket(bucket)).bucket_id;
    }
    // 0: there is none; UINT64_MAX: it is being removed.
    std::uint64_t resolve(std::string_view bucket) {
        Node& node = of_group_0();
        const api::CallId id = node.resolve_bucket(bucket);
        node.run_until_answered(id);
        const api::Answer answer = node.take(id);
        if (const auto* found = std::get_if<BucketReply>(&answer)) {
            return found->bucket_id;
        }
        const Refusal why = std::get<api::Refused>(answer).why;
        REQUIRE((why == Refusal::bucket_not_found || why == Refusal::bucket_being_removed));
        return why == Refusal::bucket_not_found ? 0 : UINT64_MAX;
    }
};

// Names of streams in bucket b that lie in each of the groups.
std::vector<std::string> one_stream_per_group(std::uint32_t groups) {
    std::vector<std::string> names(groups);
    std::uint32_t found = 0;
    for (std::uint64_t i = 0; found < groups; ++i) {
        std::string name = numbered("b/s", i);
        std::string& slot = names[api::group_of(name, groups).value];
        if (slot.empty()) {
            slot = name;
            ++found;
        }
    }
    return names;
}

void bucket_life(std::uint32_t shards, bool memory) {
    CAPTURE(shards);
    CAPTURE(memory);
    Shards node(shards, memory);
    node.start();
    Node& first = node.of_group_0();
    CHECK(node.resolve("b") == 0);
    CHECK(first.refusal(first.remove_bucket("b")) == Refusal::bucket_not_found);
    auto made = first.wait<BucketReply>(first.create_bucket("b"));
    CHECK(made.created);
    made = first.wait<BucketReply>(first.create_bucket("b"));
    CHECK(!made.created);
    const std::uint64_t id = made.bucket_id;
    CHECK(node.resolve("b") == id);
    CHECK(node.create_bucket("c") != id);
    CHECK(first.wait<api::ListReply>(first.call(api::ListBucketsCall{})).names == "b\nc");

    for (const std::string& name : one_stream_per_group(6)) {
        CAPTURE(name);
        CHECK(node.create(name, id).created);
        // Not empty: everything is as before.
        CHECK(first.refusal(first.remove_bucket("b")) == Refusal::bucket_not_empty);
        CHECK(node.resolve("b") == id);
        Node& owner = node.of_stream(name);
        CHECK(owner.content(name) == "x");
        CHECK(!node.create(name, id).created);
        const std::string other = name + "/more";
        CHECK(node.create(other, id).created);
        Node& other_owner = node.of_stream(other);
        other_owner.wait<api::RemoveReply>(other_owner.remove(other));
        owner.wait<api::RemoveReply>(owner.remove(name));
    }
    first.wait<BucketReply>(first.remove_bucket("b"));
    CHECK(node.resolve("b") == 0);
    CHECK(first.refusal(first.remove_bucket("b")) == Refusal::bucket_not_found);
    // A create that resolved before is refused everywhere; the bucket's next life is another.
    for (const std::string& name : one_stream_per_group(6)) {
        Node& owner = node.of_stream(name);
        CHECK(owner.refusal(owner.create(name, "text/plain", "x", false, id)) ==
              Refusal::bucket_being_removed);
    }
    const std::uint64_t next = node.create_bucket("b");
    CHECK(next > id);
    for (const std::string& name : one_stream_per_group(6)) {
        CHECK(node.create(name, next).created);
    }
}

}  // namespace

TEST_CASE("a bucket's life on one shard and on two") {
    bucket_life(1, true);
    bucket_life(1, false);
    bucket_life(2, true);
    bucket_life(2, false);
}

TEST_CASE("calls of one turn about one bucket take effect in their order") {
    Shards node(1);
    node.start();
    Node& first = node.of_group_0();
    const api::CallId made = first.create_bucket("b");
    const api::CallId removed = first.remove_bucket("b");
    CHECK(first.wait<BucketReply>(made).created);
    first.wait<BucketReply>(removed);
    CHECK(node.resolve("b") == 0);

    node.create_bucket("b");
    const api::CallId one = first.remove_bucket("b");
    const api::CallId two = first.remove_bucket("b");
    CHECK(first.refusal(two) == Refusal::bucket_being_removed);
    first.wait<BucketReply>(one);
    // A removal that finds nothing when it is applied ends.
    const std::uint64_t commands = first.shard().counters().commands;
    CHECK(first.refusal(first.remove_bucket("b")) == Refusal::bucket_not_found);
    first.run();
    CHECK(first.shard().counters().commands == commands);
}

TEST_CASE("a removal that comes before the shard leads waits for it") {
    Shards node(1);
    node.start();
    node.create_bucket("b");
    node[0].run();
    node[0].kill();
    REQUIRE(node[0].try_start().has_value());
    const api::CallId there = node[0].remove_bucket("b");
    const api::CallId missing = node[0].remove_bucket("nothing");
    node[0].wait<BucketReply>(there);
    CHECK(node[0].refusal(missing) == Refusal::bucket_not_found);
    node[0].run();
    CHECK(node.resolve("b") == 0);
}

TEST_CASE("while a bucket is being removed it can neither be resolved nor created") {
    Shards node(1);
    node.start();
    const std::uint64_t id = node.create_bucket("b");
    const std::string name = one_stream_per_group(6)[3];
    CHECK(node.create(name, id).created);
    Node& first = node.of_group_0();
    base::Random late(3);
    first.set_random(&late);
    const api::CallId removed = first.remove_bucket("b");
    std::size_t closing = 0;
    while (!first.answered(removed)) {
        const api::CallId resolved = first.resolve_bucket("b");
        const api::CallId created = first.create_bucket("b");
        const api::CallId stream = first.create(name, "text/plain", "x", false, id);
        first.turn();
        if (first.answered(resolved)) {
            const api::Answer answer = first.take(resolved);
            const auto* refused = std::get_if<api::Refused>(&answer);
            closing += refused != nullptr ? 1 : 0;
            CHECK((refused == nullptr || refused->why == Refusal::bucket_being_removed));
        }
        static_cast<void>(created);
        static_cast<void>(stream);
    }
    CHECK(closing > 0);
    CHECK(first.refusal(removed) == Refusal::bucket_not_empty);
    first.set_random(nullptr);
    first.run();
    CHECK(node.resolve("b") == id);
    CHECK(node.create("b/new", id).created);
}

// Killed, or its power cut, after each turn of a removal.
TEST_CASE("a removal interrupted at any turn is finished or taken back by the next start") {
    for (const std::uint32_t shards : {1u, 2u}) {
        for (const bool has_stream : {false, true}) {
            bool finished = false;
            for (int turns = 0; !finished; ++turns) {
                REQUIRE(turns < 200);
                for (const bool power : {false, true}) {
                    CAPTURE(shards);
                    CAPTURE(has_stream);
                    CAPTURE(turns);
                    CAPTURE(power);
                    base::Random random(static_cast<std::uint64_t>(turns) + 1);
                    Shards node(shards);
                    node.start();
                    const std::uint64_t id = node.create_bucket("b");
                    const std::string name = one_stream_per_group(6)[5];
                    if (has_stream) {
                        CHECK(node.create(name, id).created);
                    }
                    node.run();
                    for (const auto& one : node.all()) {
                        one->set_random(&random);
                    }
                    Node& first = node.of_group_0();
                    const api::CallId removed = first.remove_bucket("b");
                    for (int i = 0; i < turns && !first.answered(removed); ++i) {
                        for (const auto& one : node.all()) {
                            one->turn();
                        }
                    }
                    finished = first.answered(removed);
                    const bool was_removed =
                        finished && !has_stream &&
                        std::holds_alternative<BucketReply>(first.take(removed));
                    for (const auto& one : node.all()) {
                        if (power) {
                            one->cut_power(random);
                        } else {
                            one->kill();
                        }
                        one->set_random(nullptr);
                    }
                    node.start();
                    node.run();
                    const std::uint64_t found = node.resolve("b");
                    if (has_stream) {
                        CHECK(found == id);
                        CHECK(node.of_stream(name).content(name) == "x");
                        for (const std::string& other : one_stream_per_group(6)) {
                            node.create(other + "/x", id);
                        }
                        continue;
                    }
                    CHECK((found == id || found == 0));
                    CHECK((!was_removed || found == 0));
                    if (found == id) {  // it had not begun
                        CHECK(node.create(name, id).created);
                    } else {
                        const std::uint64_t next = node.create_bucket("b");
                        CHECK(next > id);
                        CHECK(node.create(name, next).created);
                    }
                }
            }
        }
    }
}

}  // namespace ursula::shard::test
