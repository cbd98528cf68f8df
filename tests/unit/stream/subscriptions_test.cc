// Subscriptions in one machine: what commands do to them, what appends leave for them, images.
#include "stream/subscriptions.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/limits.h"
#include "stream/image.h"
#include "tests/unit/stream/support.h"

namespace ursula::stream::test {

namespace {

namespace limits = base::limits;
using api::SubscriptionError;
using api::SubscriptionOp;

// A machine that is the only group, and the operations a leader makes for it.
struct World {
    Replica replica{plenty, true, {1, 2}, 0};
    std::int64_t now_ms = 1'000'000;
    std::uint64_t wakes = 0;

    api::SubscriptionAnswer run(SubscriptionOp op, std::string_view name, base::Bytes body,
                                const std::vector<api::GroupMarks>& marks = {}) {
        const std::vector<std::byte> bytes = pack_command(op, {++wakes, 500}, marks, body);
        Command command;
        command.kind = CommandKind::subscription;
        command.name = name;
        command.has_body = true;
        command.payload.bytes = bytes;
        step(command);
        api::SubscriptionAnswer answer;
        REQUIRE(api::unpack(all().answer(), answer));
        return answer;
    }
    Outcome step(const Command& command) {
        replica.apply(make_entry(replica.index + 1, now_ms, {command}));
        return replica.outcomes[0];
    }
    const Subscriptions& all() const { return *replica.machine.subscriptions(); }
    const Subscription& at(std::string_view name) const { return *all().find(name); }

    base::Incarnation put(std::string_view name, const api::SubscriptionConfig& config) {
        PutCommand put;
        put.put.config = config;
        const auto made = run(SubscriptionOp::put, name, api::pack(put));
        REQUIRE(made.error == SubscriptionError::none);
        return made.subscription;
    }
    // What its leader does with a fresh or changed one.
    void enroll(std::string_view name) {
        run(SubscriptionOp::enroll, name, api::pack(enrolment_of(at(name), name, 0)));
        const Subscription& one = at(name);
        run(SubscriptionOp::enrolled, name, api::pack(Enrolled{one.id, one.version, {0}, false}));
    }
    api::GroupMarks marks(base::Incarnation id) {
        return all().marks_of(replica.machine, id, 1000);
    }
    SubscriptionError tell(std::string_view name, base::Incarnation id,
                           const api::GroupMarks& marks) {
        return run(SubscriptionOp::take_marks, name, api::pack(api::PushMarks{id, marks})).error;
    }
    void clear(base::Incarnation id, const api::GroupMarks& marks) {
        run(SubscriptionOp::clear_marks, "", api::pack(ClearMarks{id, marks.marks}));
    }
    void sync(std::string_view name) {
        const base::Incarnation id = at(name).id;
        const api::GroupMarks told = marks(id);
        CHECK(tell(name, id, told) == SubscriptionError::none);
        clear(id, told);
    }
    api::SubscriptionAnswer ack(std::string_view name, AckCommand command) {
        const Subscription& one = at(name);
        command.checked = one.id;
        command.verdict = TokenVerdict::good;
        if (command.token_generation == 0) {
            command.token_generation = one.generation;
            command.ack.generation = one.generation;
            command.ack.wake_id = one.wake_id();
        }
        return run(SubscriptionOp::ack, name, api::pack(command));
    }
    void deliver(std::string_view name, bool ok, bool done) {
        const Subscription& one = at(name);
        run(SubscriptionOp::delivered, name,
            api::pack(Delivered{one.id, one.generation, ok, done}));
    }
};

api::SubscriptionConfig webhook(std::string pattern) {
    api::SubscriptionConfig config;
    config.pattern = std::move(pattern);
    config.url = "https://example.com/";
    config.lease_ttl_ms = 1000;
    return config;
}

api::SubscriptionConfig pull(std::string pattern) {
    api::SubscriptionConfig config = webhook(std::move(pattern));
    config.type = api::SubscriptionType::pull_wake;
    config.url.clear();
    config.wake_stream = "wake";
    return config;
}

}  // namespace

TEST_CASE("appends leave marks for what matches, once per stream") {
    World world;
    world.step(create("v1/a/old", "text/plain", "12345"));
    const base::Incarnation id = world.put("v1/s", webhook("a/*"));
    world.enroll("v1/s");
    CHECK(world.marks(id).marks.size() == 1);  // the old one, where it is
    CHECK(world.marks(id).marks[0].first == 5);
    world.sync("v1/s");
    CHECK(world.at("v1/s").links.at("a/old").acked == 5);
    CHECK_FALSE(world.at("v1/s").awake);

    world.step(create("v1/a/new"));
    world.step(create("v1/b/new", "text/plain", "x"));
    world.step(create("bucket/a", "text/plain", "x"));
    CHECK(world.marks(id).marks.empty());  // no data, or none of its
    world.step(append("v1/a/new", "x"));
    world.step(append("v1/a/new", "x"));
    world.step(close("v1/a/old"));
    REQUIRE(world.marks(id).marks.size() == 1);
    CHECK(world.marks(id).marks[0].first == api::before_all);
    CHECK(world.marks(id).marks[0].tail == 2);
    world.sync("v1/s");
    CHECK(world.marks(id).marks.empty());
    CHECK(world.at("v1/s").awake);
    CHECK(world.at("v1/s").links.at("a/new").pending());
    // An append that a producer of wake events makes wakes nobody.
    world.step(by(append("v1/a/new", "x"), "__ds/0.1.0", 1, 0));
    CHECK(world.marks(id).marks.empty());
}

TEST_CASE("a mark is cleared only if its stream is as it was told") {
    World world;
    const base::Incarnation id = world.put("v1/s", webhook("a/*"));
    world.enroll("v1/s");
    world.step(create("v1/a/1", "text/plain", "x"));
    const api::GroupMarks told = world.marks(id);
    world.step(append("v1/a/1", "y"));
    world.tell("v1/s", id, told);
    world.clear(id, told);
    CHECK(world.marks(id).marks.size() == 1);
    world.step(simple(CommandKind::remove_stream, "v1/a/1"));
    const api::GroupMarks gone = world.marks(id);
    REQUIRE(gone.marks.size() == 1);
    CHECK(gone.marks[0].gone);
    world.step(create("v1/a/1", "text/plain", "abc"));
    world.clear(id, gone);
    REQUIRE(world.marks(id).marks.size() == 1);
    CHECK_FALSE(world.marks(id).marks[0].gone);
    world.sync("v1/s");
    CHECK(world.at("v1/s").links.at("a/1").acked == api::before_all);
    CHECK(world.at("v1/s").links.at("a/1").tail == 3);
}

TEST_CASE("marks that come late are told to be stale and change nothing") {
    World world;
    const base::Incarnation id = world.put("v1/s", webhook("a/*"));
    world.enroll("v1/s");
    world.step(create("v1/a/1", "text/plain", "x"));
    const api::GroupMarks early = world.marks(id);
    world.step(simple(CommandKind::remove_stream, "v1/a/1"));
    CHECK(world.tell("v1/s", id, world.marks(id)) == SubscriptionError::none);
    CHECK(world.tell("v1/s", id, early) == SubscriptionError::stale);
    CHECK(world.at("v1/s").links.empty());
    base::Incarnation other = id;
    ++other.ordinal;
    CHECK(world.tell("v1/s", other, early) == SubscriptionError::not_found);
}

TEST_CASE("explicit links that go and come again begin at the tail of then") {
    World world;
    api::SubscriptionConfig config = webhook("");
    config.streams = {"m/1"};
    const base::Incarnation id = world.put("v1/s", config);
    world.step(create("v1/m/1", "text/plain", "12345"));
    world.enroll("v1/s");
    world.sync("v1/s");
    CHECK(world.at("v1/s").links.at("m/1").acked == 5);
    world.run(SubscriptionOp::change_streams, "v1/s",
              api::pack(api::ChangeSubscriptionStreams{{}, {"m/1"}}));
    CHECK(world.at("v1/s").links.empty());
    world.step(append("v1/m/1", "678"));
    world.run(SubscriptionOp::change_streams, "v1/s",
              api::pack(api::ChangeSubscriptionStreams{{"m/1"}, {}}));
    world.enroll("v1/s");  // its group never heard of the time between
    world.sync("v1/s");
    CHECK(world.at("v1/s").links.at("m/1").tail == 8);
    world.step(append("v1/m/1", "9"));
    CHECK(world.marks(id).marks.size() == 1);
}

TEST_CASE("what is not looked for any more is not told, whatever becomes of its stream") {
    World world;
    api::SubscriptionConfig config = webhook("");
    config.streams = {"m/1", "m/2"};
    const base::Incarnation id = world.put("v1/s", config);
    world.enroll("v1/s");
    world.step(create("v1/m/1", "text/plain", "x"));
    world.step(create("v1/m/2", "text/plain", "x"));
    CHECK(world.marks(id).marks.size() == 2);
    world.run(SubscriptionOp::change_streams, "v1/s",
              api::pack(api::ChangeSubscriptionStreams{{}, {"m/1"}}));
    world.enroll("v1/s");
    world.step(simple(CommandKind::remove_stream, "v1/m/1"));
    const api::GroupMarks left = world.marks(id);
    REQUIRE(left.marks.size() == 1);
    CHECK(left.marks[0].path == "m/2");
}

TEST_CASE("a delivery that has no room for all links does not acknowledge the others") {
    World world;
    world.put("v1/s", webhook("a/*"));
    world.enroll("v1/s");
    const auto name_of = [](std::size_t i) { return numbered("v1/a/", 10'000 + i); };
    const std::size_t count = limits::webhook_streams_max + 1;
    const auto tell_all = [&] {
        while (!world.marks(world.at("v1/s").id).marks.empty()) {
            world.sync("v1/s");
        }
    };
    const auto pending = [&] {
        const auto& links = world.at("v1/s").links;
        return static_cast<std::size_t>(std::count_if(
            links.begin(), links.end(), [](const auto& link) { return link.second.pending(); }));
    };
    for (std::size_t i = 0; i < count; ++i) {
        world.step(create(name_of(i), "text/plain", "x"));
    }
    tell_all();
    for (std::size_t i = 0; i < count; ++i) {
        world.step(append(name_of(i), "y"));
    }
    tell_all();
    world.deliver("v1/s", true, true);
    REQUIRE(pending() == count);  // the second appends of all
    CHECK(world.at("v1/s").view(limits::webhook_streams_max).size() == count - 1);
    world.deliver("v1/s", true, true);
    CHECK(pending() == 1);
    CHECK(world.at("v1/s").awake);
    world.deliver("v1/s", true, true);
    CHECK(pending() == 0);
    CHECK_FALSE(world.at("v1/s").awake);
}

TEST_CASE("a webhook's wake: retries own it, then the lease") {
    World world;
    world.put("v1/s", webhook("a/*"));
    world.enroll("v1/s");
    world.step(create("v1/a/1", "text/plain", "x"));
    world.sync("v1/s");
    CHECK(world.at("v1/s").generation == 1);
    const std::string wake = world.at("v1/s").wake_id();
    CHECK(world.at("v1/s").next_attempt_ms == world.now_ms);
    for (const std::int64_t pause : {1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000}) {
        world.deliver("v1/s", false, false);
        CHECK(world.at("v1/s").next_attempt_ms == world.now_ms + pause);
        CHECK(world.at("v1/s").failed);
        world.now_ms += pause;
        world.run(SubscriptionOp::look, "v1/s", {});  // no lease ends it
        CHECK(world.at("v1/s").wake_id() == wake);
    }
    world.deliver("v1/s", true, false);
    CHECK(world.at("v1/s").next_attempt_ms == 0);
    CHECK(world.at("v1/s").due_ms() == world.now_ms + 1000);
    world.now_ms += 999;
    world.run(SubscriptionOp::look, "v1/s", {});
    CHECK(world.at("v1/s").generation == 1);
    world.now_ms += 1;
    world.run(SubscriptionOp::look, "v1/s", {});
    CHECK(world.at("v1/s").generation == 2);
    // What is done acknowledges what was shown, not what came since.
    world.step(append("v1/a/1", "y"));
    world.sync("v1/s");
    world.deliver("v1/s", true, true);
    CHECK(world.at("v1/s").links.at("a/1").acked == 1);
    CHECK(world.at("v1/s").generation == 3);
    // A result of an earlier wake means nothing.
    world.run(SubscriptionOp::delivered, "v1/s",
              api::pack(Delivered{world.at("v1/s").id, 2, true, true}));
    CHECK(world.at("v1/s").links.at("a/1").acked == 1);
    CHECK(world.at("v1/s").awake);
}

TEST_CASE("acknowledgements are checked in their order, all or nothing") {
    World world;
    world.put("v1/s", pull("a/*"));
    world.enroll("v1/s");
    CHECK(world.run(SubscriptionOp::claim, "v1/s", api::pack(api::ClaimSubscription{"w"})).error ==
          SubscriptionError::no_pending_work);
    world.step(create("v1/a/1", "text/plain", "12345"));
    world.sync("v1/s");
    const auto claimed =
        world.run(SubscriptionOp::claim, "v1/s", api::pack(api::ClaimSubscription{"w"}));
    CHECK(claimed.error == SubscriptionError::none);
    CHECK(claimed.generation == 1);
    const auto busy =
        world.run(SubscriptionOp::claim, "v1/s", api::pack(api::ClaimSubscription{"x"}));
    CHECK(busy.error == SubscriptionError::already_claimed);
    CHECK(busy.holder == "w");
    const auto error_of = [&](std::vector<api::StreamAck> acks) {
        AckCommand command;
        command.ack.acks = std::move(acks);
        return world.ack("v1/s", command).error;
    };
    CHECK(error_of({{"a/1", 3}, {"a/2", 0}}) == SubscriptionError::invalid_offset);
    CHECK(error_of({{"a/1", 3}, {"a/1", 6}}) == SubscriptionError::invalid_offset);
    CHECK(error_of({{"a/1", -1}}) == SubscriptionError::invalid_offset);
    CHECK(world.at("v1/s").links.at("a/1").acked == api::before_all);
    CHECK(error_of({{"a/1", 3}}) == SubscriptionError::none);
    CHECK(error_of({{"a/1", 2}}) == SubscriptionError::invalid_offset);
    CHECK(error_of({{"a/1", 3}}) == SubscriptionError::none);
    AckCommand stale;
    stale.token_generation = 9;
    CHECK(world.ack("v1/s", stale).error == SubscriptionError::fenced);
    AckCommand release;
    release.ack.kind = api::AckSubscription::Kind::release;
    CHECK(world.ack("v1/s", release).error == SubscriptionError::none);
    CHECK(world.at("v1/s").generation == 2);
    CHECK(world.at("v1/s").notify_due);
    AckCommand unclaimed;
    CHECK(world.ack("v1/s", unclaimed).error == SubscriptionError::fenced);
}

TEST_CASE("an image has all of it, and the same hash") {
    World world;
    world.step(create("v1/a/0", "text/plain", "x"));
    for (int i = 0; i < 40; ++i) {
        const std::string name = numbered("v1/s", i);
        world.put(name, i % 2 == 0 ? webhook("a/*") : pull("a/**"));
        world.enroll(name);
        if (i % 3 == 0) {
            world.sync(name);
        }
    }
    for (int i = 0; i < 300; ++i) {
        world.step(create(numbered("v1/a/a-rather-long-name-of-a-stream-", i), "text/plain", "x"));
    }
    for (int i = 0; i < 40; i += 2) {
        world.sync(numbered("v1/s", i));
    }
    world.run(SubscriptionOp::remove, "v1/s7", {});
    MakeKey make;
    make.key.kid = "ds_1";
    world.run(SubscriptionOp::ensure_key, "", api::pack(make));
    std::vector<std::byte> image;
    std::vector<std::byte> locations;
    ImageWriter writer(world.replica.machine);
    while (!writer.done()) {
        writer.next_slice(1000, image, locations);
    }
    CHECK(writer.state_hash() == world.replica.machine.state_hash());
    Replica copy(plenty, true, {3, 4}, 0);
    ImageReader reader(copy.machine);
    REQUIRE(reader.feed(image));
    REQUIRE(reader.finish());
    CHECK(copy.machine.state_hash() == world.replica.machine.state_hash());
    CHECK(copy.machine.subscriptions()->all().size() == 39);
    CHECK(copy.machine.subscriptions()->marked() == world.all().marked());
    // And goes on as the first does.
    const Command next = append("v1/a/0", "y");
    world.step(next);
    copy.apply(make_entry(world.replica.index, world.now_ms, {next}));
    CHECK(copy.machine.state_hash() == world.replica.machine.state_hash());
}

TEST_CASE("limits hold at the limit and above") {
    World world;
    for (std::size_t i = 0; i < limits::subscriptions_per_group_max; ++i) {
        world.put(numbered("v1/s", i), pull("a"));
    }
    PutCommand one_more;
    one_more.put.config = pull("a");
    CHECK(world.run(SubscriptionOp::put, "v1/more", api::pack(one_more)).error ==
          SubscriptionError::too_many);
    api::ChangeSubscriptionStreams change;
    for (std::size_t i = 0; i < limits::subscription_links_max; ++i) {
        change.add.push_back(numbered("m/", i));
    }
    CHECK(world.run(SubscriptionOp::change_streams, "v1/s0", api::pack(change)).error ==
          SubscriptionError::none);
    change.add = {"one/more"};
    CHECK(world.run(SubscriptionOp::change_streams, "v1/s0", api::pack(change)).error ==
          SubscriptionError::too_many);
}

TEST_CASE("keys are made once, rotated on demand, and old ones stay for a while") {
    World world;
    MakeKey make;
    make.key.kid = "ds_1";
    make.key.private_key = "secret";
    const auto first = world.run(SubscriptionOp::ensure_key, "", api::pack(make));
    REQUIRE(first.keys.size() == 1);
    CHECK(first.keys[0].private_key.empty());
    make.key.kid = "ds_2";
    CHECK(world.run(SubscriptionOp::ensure_key, "", api::pack(make)).keys.back().kid == "ds_1");
    make.rotate = true;
    CHECK(world.run(SubscriptionOp::rotate_key, "", api::pack(make)).keys.size() == 2);
    CHECK(world.all().keys().back().kid == "ds_2");
    world.now_ms += limits::signing_key_kept_ms + 1;
    make.key.kid = "ds_3";
    CHECK(world.run(SubscriptionOp::rotate_key, "", api::pack(make)).keys.size() == 2);
}

}  // namespace ursula::stream::test
