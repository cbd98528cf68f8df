// Subscriptions through shards at the waist, with receivers that are part of the test: one node of
// two shards on a disk that is killed, and three nodes that lose a leader.
#include <doctest/doctest.h>

#include <deque>
#include <string>
#include <vector>

#include "api/placement.h"
#include "shard/webhooks.h"
#include "tests/unit/shard/shard_node.h"
#include "tests/unit/shard/trio.h"

namespace ursula::shard::test {

namespace {

using api::SubscriptionError;
using api::SubscriptionOp;

// Takes deliveries; the test says when they end and how. Secrets and tokens are transparent.
class Receiver final : public Webhooks {
  public:
    bool send(Delivery&& delivery) override {
        taken.push_back(std::move(delivery));
        return true;
    }
    void take_results(std::vector<DeliveryResult>& out) override {
        out.insert(out.end(), results.begin(), results.end());
        results.clear();
    }
    void fill_random(base::MutableBytes out) override {
        for (std::byte& byte : out) {
            byte = static_cast<std::byte>(random.next() & 255);
        }
    }
    api::SigningKey make_key() override {
        return {"ds_test", std::string(32, 'p'), std::string(32, 's'), 0, 0};
    }
    std::string make_token(std::string_view secret, base::Bytes content) override {
        return std::string(secret) + std::string(base::as_text(content));
    }
    bool read_token(std::string_view secret, std::string_view token,
                    std::vector<std::byte>& content) override {
        if (!token.starts_with(secret)) {
            return false;
        }
        const base::Bytes rest = base::as_bytes(token.substr(secret.size()));
        content.assign(rest.begin(), rest.end());
        return true;
    }
    void end(std::size_t at, bool ok, bool done) {
        results.push_back({taken.at(at).number, ok, done});
    }

    std::vector<Delivery> taken;
    std::vector<DeliveryResult> results;
    base::Random random{7};
};

std::string put_body(const char* pattern) {
    api::PutSubscription put;
    put.config.pattern = pattern;
    put.config.url = "https://example.com/";
    put.config.lease_ttl_ms = 1000;
    const std::vector<std::byte> bytes = api::pack(put);
    return std::string(base::as_text(bytes));
}

api::CallId ask(Node& node, SubscriptionOp op, std::string_view name, const std::string& body) {
    api::SubscriptionCall call;
    call.group =
        name.empty() ? api::bucket_group : api::group_of_subscription(name, node.options().groups);
    call.name = node.keep(name);
    call.op = op;
    call.body = node.keep_bytes(body);
    return node.call(call);
}

api::SubscriptionAnswer answer_of(const api::Answer& answer) {
    REQUIRE(std::holds_alternative<api::SubscriptionReply>(answer));
    api::SubscriptionAnswer out;
    REQUIRE(api::unpack(std::get<api::SubscriptionReply>(answer).body.bytes(), out));
    return out;
}

api::SubscriptionAnswer wait(Node& node, SubscriptionOp op, std::string_view name,
                             const std::string& body = {}) {
    return answer_of(node.wait<api::SubscriptionReply>(ask(node, op, name, body)));
}

}  // namespace

TEST_CASE("a wake survives a kill in the middle of its delivery, with its schedule") {
    Receiver receiver;
    ShardOptions options = small_options();
    options.webhooks = &receiver;
    Node node(options);
    node.start();
    CHECK(wait(node, SubscriptionOp::ensure_key, "").keys.size() == 1);
    CHECK(wait(node, SubscriptionOp::put, "v1/s", put_body("a/*")).changed);
    CHECK_FALSE(wait(node, SubscriptionOp::put, "v1/s", put_body("a/*")).changed);
    CHECK(wait(node, SubscriptionOp::put, "v1/s", put_body("b/*")).error ==
          SubscriptionError::exists);
    node.wait<api::CreateReply>(node.create("v1/a/1", "text/plain", "data"));
    node.run();
    REQUIRE(receiver.taken.size() == 1);
    CHECK(receiver.taken[0].generation == 1);
    REQUIRE(receiver.taken[0].streams.size() == 1);
    CHECK(receiver.taken[0].streams[0].path == "a/1");
    CHECK(receiver.taken[0].streams[0].tail == 4);
    CHECK(receiver.taken[0].key.private_key == std::string(32, 's'));

    node.restart();
    node.run();
    REQUIRE(receiver.taken.size() == 2);
    CHECK(receiver.taken[1].wake_id == receiver.taken[0].wake_id);
    receiver.end(0, true, true);  // of the life before: nobody waits for it
    receiver.end(1, false, false);
    node.turn();
    node.run();
    CHECK(receiver.taken.size() == 2);
    CHECK(wait(node, SubscriptionOp::get, "v1/s").failed);
    node.restart();
    node.run(base::milliseconds(500));
    CHECK(receiver.taken.size() == 2);  // not before its time
    node.pass(base::seconds(2));  // a second, and its jitter
    node.run();
    REQUIRE(receiver.taken.size() == 3);
    receiver.end(2, true, true);
    node.turn();
    node.run();
    const auto now = wait(node, SubscriptionOp::get, "v1/s");
    CHECK_FALSE(now.failed);
    CHECK(now.streams.at(0).acked == 4);
    CHECK(node.shard().machine(base::GroupId(0)).subscriptions()->marked().empty());
    CHECK(wait(node, SubscriptionOp::remove, "v1/s").changed);
    node.run();
    CHECK(wait(node, SubscriptionOp::get, "v1/s").error == SubscriptionError::not_found);
    for (std::uint32_t group = 0; group < options.groups; ++group) {
        CHECK(node.shard().machine(base::GroupId(group)).subscriptions()->enrolments().empty());
    }
}

TEST_CASE("two shards of one node tell each other what they have seen") {
    Receiver receiver;
    ShardOptions options = small_options();
    options.webhooks = &receiver;
    options.shards = 2;
    Node even(options);
    options.id = base::ShardId(1);
    Node odd(options);
    even.set_peers({&even, &odd});
    odd.set_peers({&even, &odd});
    even.start();
    odd.start();
    const auto of = [&](std::uint32_t group) -> Node& { return group % 2 == 0 ? even : odd; };
    wait(even, SubscriptionOp::ensure_key, "");
    Node& home = of(api::group_of_subscription("v1/s", options.groups).value);
    CHECK(wait(home, SubscriptionOp::put, "v1/s", put_body("**")).changed);
    for (int i = 0; i < 20; ++i) {
        const std::string name = numbered("v1/a/", static_cast<std::uint64_t>(i));
        Node& owner = of(api::group_of(name, options.groups).value);
        owner.wait<api::CreateReply>(owner.create(name, "text/plain", "x"));
    }
    for (int i = 0; i < 200; ++i) {
        even.turn();
        odd.turn();
    }
    REQUIRE_FALSE(receiver.taken.empty());
    CHECK(wait(home, SubscriptionOp::get, "v1/s").streams.size() == 20);
}

TEST_CASE("the next leader delivers what the last one had under way") {
    Receiver receivers[Trio::size];
    ShardOptions options = small_options();
    Trio trio(options);
    for (std::size_t number = 1; number <= Trio::size; ++number) {
        trio.kill(number);
        trio.node(number).options().webhooks = &receivers[number - 1];
        trio.start(number);
    }
    trio.settle();
    const auto run = [&](std::size_t number, SubscriptionOp op, std::string_view name,
                         const std::string& body = {}) {
        Node& node = trio.node(number);
        const api::CallId call = ask(node, op, name, body);
        trio.run_until([&] { return node.answered(call); });
        return answer_of(node.take(call));
    };
    const base::GroupId home = api::group_of_subscription("v1/s", options.groups);
    trio.make_leader(home, 1);
    CHECK(run(2, SubscriptionOp::ensure_key, "").keys.size() == 1);
    CHECK(run(3, SubscriptionOp::put, "v1/s", put_body("a/*")).changed);
    const api::CallId create = trio.node(2).create("v1/a/1", "text/plain", "data");
    trio.run_until([&] { return trio.node(2).answered(create); });
    trio.run_until([&] { return !receivers[0].taken.empty(); });
    trio.kill(1);
    trio.run_until([&] { return receivers[1].taken.size() + receivers[2].taken.size() > 0; });
    Receiver& next = receivers[1].taken.empty() ? receivers[2] : receivers[1];
    CHECK(next.taken[0].wake_id == receivers[0].taken[0].wake_id);
    CHECK(next.taken[0].callback_token != receivers[0].taken[0].callback_token);
    next.end(0, true, true);
    trio.run_until([&] {
        const auto now = run(2, SubscriptionOp::get, "v1/s");
        return now.streams.size() == 1 && now.streams[0].acked == 4;
    });
    trio.start(1);
    trio.settle();
    CHECK(run(1, SubscriptionOp::get, "v1/s").streams.at(0).acked == 4);
}

}  // namespace ursula::shard::test
