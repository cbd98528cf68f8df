// One node of one or more shards, in memory of the test; each stream is asked of the shard that
// owns it.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "api/placement.h"
#include "tests/unit/shard/shard_node.h"

namespace ursula::shard::test {

class ShardSet {
  public:
    ShardSet(std::uint32_t count, std::uint32_t groups, bool memory) {
        for (std::uint32_t i = 0; i < count; ++i) {
            ShardOptions options = small_options();
            options.id = base::ShardId(i);
            options.shards = count;
            options.groups = groups;
            nodes_.push_back(std::make_unique<Node>(options));
            if (memory) {
                nodes_.back()->use_memory();
            }
        }
        std::vector<Node*> peers;
        for (const auto& node : nodes_) {
            peers.push_back(node.get());
        }
        for (const auto& node : nodes_) {
            node->set_peers(peers);
        }
    }
    // The second shard starts later, so what the first one wants of it at once comes too early.
    void start() {
        for (const auto& node : nodes_) {
            node->start();
        }
    }
    Node& of_stream(std::string_view name) {
        const base::GroupId group = api::group_of(name, nodes_[0]->options().groups);
        return *nodes_[group.value % nodes_.size()];
    }

  protected:
    std::vector<std::unique_ptr<Node>> nodes_;
};

}  // namespace ursula::shard::test
