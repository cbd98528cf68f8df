// When a shard wants a turn: never while it can only wait for its disk (it would spin), and always
// when something is left to do (the tests' node would stand still).
#include "tests/unit/shard/shard_node.h"

namespace ursula::shard::test {

TEST_CASE("a shard whose disk is silent waits for it, whatever it was doing") {
    for (std::uint64_t seed = 1; seed <= 30; ++seed) {
        CAPTURE(seed);
        base::Random random(seed);
        Node node(small_options());
        node.options().snapshot_log_bytes = seed % 3 == 0 ? 1 << 30 : 1;
        node.start();
        node.set_random(&random);
        for (int i = 0; i < 40; ++i) {
            const std::string name = numbered("v1/s", random.below(6));
            const std::string bucket = numbered("b", random.below(3));
            switch (random.below(6)) {
                case 0:
                    node.create(name, "text/plain", pattern(random.between(1, 9000), seed));
                    break;
                case 1:
                    node.remove(name);
                    break;
                case 2:
                    node.create_bucket(bucket);
                    break;
                case 3:
                    node.remove_bucket(bucket);
                    break;
                case 4:
                    node.read(name, 0, 1 << 20);
                    break;
                default:
                    node.append(name, pattern(random.between(1, 20'000), seed));
                    break;
            }
            for (std::uint64_t turns = random.below(4); turns > 0; --turns) {
                node.turn();
            }
            node.gate().held = true;
            int turns = 0;
            while (node.wants_turn(node.now().mono) && turns < 1000) {
                node.turn();
                ++turns;
            }
            CHECK(turns < 100);
            node.gate().held = false;
        }
        node.set_random(nullptr);
        node.run(base::seconds(1));
        node.forget_answers();
    }
}

TEST_CASE("an idle shard sleeps") {
    for (const bool memory : {true, false}) {
        CAPTURE(memory);
        Node node(small_options());
        if (memory) {
            node.use_memory();
        }
        node.start();
        node.wait<api::CreateReply>(node.create("v1/a", "text/plain", "x"));
        node.wait<api::BucketReply>(node.create_bucket("b"));
        node.wait<api::BucketReply>(node.remove_bucket("b"));
        node.run(base::seconds(1));
        CHECK(node.shard().deadline() == base::Instant::never());
    }
}

}  // namespace ursula::shard::test
