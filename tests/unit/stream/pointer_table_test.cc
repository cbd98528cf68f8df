#include "stream/pointer_table.h"

#include <doctest/doctest.h>

#include <map>
#include <memory>

#include "base/random.h"

using namespace ursula;
using ursula::stream::PointerTable;

namespace {

struct Node {
    std::uint32_t hash = 0;
    std::uint64_t key = 0;
};

}  // namespace

TEST_CASE("a table of pointers behaves like a map, also when hashes collide") {
    for (const std::uint32_t mask : {0xffffffffu, 0xffff0007u, 0x00000003u, 0x0u}) {
        base::Random random(mask);
        // Thousands of nodes, so that doubling is often under way; fewer where all collide.
        const std::uint64_t keys = mask > 0xff ? 20'000 : 300;
        PointerTable<Node> table;
        std::map<std::uint64_t, std::unique_ptr<Node>> model;
        for (std::uint64_t step = 0; step < keys * 20; ++step) {
            const std::uint64_t key = random.below(keys);
            const auto hash =
                static_cast<std::uint32_t>((key + 1) * 0x9e3779b97f4a7c15u >> 32) & mask;
            Node* found = table.find(hash, [key](const Node& node) { return node.key == key; });
            const auto known = model.find(key);
            REQUIRE((found != nullptr) == (known != model.end()));
            if (known == model.end()) {
                auto node = std::make_unique<Node>();
                node->hash = hash;
                node->key = key;
                table.insert(node.get());
                model[key] = std::move(node);
            } else {
                REQUIRE(found == known->second.get());
                // Growing first, then going up and down.
                if (random.chance(step < keys * 5 ? 1 : 9, 10)) {
                    table.erase(found);
                    model.erase(known);
                }
            }
            REQUIRE(table.size() == model.size());
        }
        for (const auto& [key, node] : model) {
            const Node* found = table.find(node->hash, [&wanted = *node](const Node& candidate) {
                return candidate.key == wanted.key;
            });
            REQUIRE(found == node.get());
        }
    }
}
