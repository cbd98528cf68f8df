// Several nodes on simulated disks with a net between them that loses nothing but what is cut off,
// in steps of a virtual millisecond: for tests of what the members of a cluster do together.
#pragma once

#include <doctest/doctest.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "shard/shard.h"
#include "sim/sim_disk.h"

namespace ursula::shard::test {

class MemberCluster {
  public:
    using Step = api::ChangeMemberCall::Step;
    static constexpr std::uint32_t groups = 2;

    // Nodes 1 to `founders` are the cluster's first members, the others up to `nodes` wait to be
    // added. `shards`: how many each has. `forgetful`: snapshots soon take the place of the log.
    MemberCluster(std::uint32_t founders, std::uint32_t nodes, std::uint32_t shards = 1,
                  bool forgetful = false);
    ~MemberCluster();

    // --- life ---
    void start(std::uint32_t node);
    void kill(std::uint32_t node);
    void restart(std::uint32_t node) {
        kill(node);
        start(node);
    }
    // Its directory is emptied; it starts anew with other storage and waits to be added.
    void wipe(std::uint32_t node);
    void cut(std::uint32_t node, bool off);  // from all others
    bool up(std::uint32_t node) const { return nodes_[node - 1].up; }
    Shard& shard(std::uint32_t node, std::uint32_t at = 0) {
        return *nodes_[node - 1].parts[at].shard;
    }
    std::vector<ShardEvent> events;  // of all nodes

    // --- time ---
    void run(std::uint32_t ms);
    // REQUIREs that it comes true within 20 virtual seconds.
    void run_until(const std::function<bool()>& condition);

    // --- groups ---
    const raft::Group& replica(std::uint32_t node, std::uint32_t group) const;
    const stream::Machine& machine(std::uint32_t node, std::uint32_t group) const;
    // Of the group, as the nodes that are up have it; 0: none.
    std::uint32_t leader(std::uint32_t group) const;
    std::uint32_t wait_for_leader(std::uint32_t group);
    // "1 2 +3": voters, and learners with a plus; with a slash, the outgoing side of a joint one.
    std::string members(std::uint32_t node, std::uint32_t group) const;
    // Whether every one of these nodes is up, has those members in every group, and has applied all
    // that any of them has.
    bool agreed(const std::vector<std::uint32_t>& nodes, const std::string& text) const;
    void wait_for(const std::vector<std::uint32_t>& nodes, const std::string& text) {
        run_until([&] { return agreed(nodes, text); });
    }

    // Whether its net was told who the other one is.
    bool knows(std::uint32_t node, std::uint32_t other) const;
    // Whether its net was asked to send that storage of the other one away.
    bool dismisses(std::uint32_t node, std::uint32_t other, std::uint64_t incarnation) const;

    // --- calls ---
    MemberInfo info(std::uint32_t node) const;
    api::ChangeMemberCall change(std::uint32_t group, Step step, std::uint32_t node) const;
    // Its answer, when it comes within `ms`.
    std::optional<api::Answer> ask(std::uint32_t node, std::uint32_t group, const api::Verb& verb,
                                   std::uint32_t ms = 2000);
    // At whoever leads, again and again while it is refused for now, until it is so.
    void do_change(std::uint32_t group, Step step, std::uint32_t node);
    void do_change(Step step, std::uint32_t node);  // in all groups
    void add(std::uint32_t node) {
        do_change(Step::add_learner, node);
        do_change(Step::promote, node);
    }
    // Of the leader, once; none refused means it was done.
    api::Refusal refusal(std::uint32_t group, const api::ChangeMemberCall& call,
                         std::uint64_t* number = nullptr);

    // --- streams: one per group ---
    static std::string stream(std::uint32_t group);
    void create();
    // Acknowledged by the group's leader, or not within `ms`.
    bool append(std::uint32_t group, const std::string& text, std::uint32_t ms = 5000);
    void append_everywhere(const std::string& text);
    std::string content(std::uint32_t node, std::uint32_t group);
    api::StreamKey key(std::uint32_t group, const std::string& name) const;

  private:
    class Port;
    struct Part {
        sim::Image image;
        std::unique_ptr<sim::SimDisk> disk;
        std::unique_ptr<Port> port;
        std::unique_ptr<Shard> shard;
        std::vector<api::Call> calls;
    };
    struct Node {
        std::uint32_t number = 0;
        std::uint64_t incarnation = 0;
        bool founder = false;
        bool up = false;
        bool cut = false;
        std::vector<Part> parts;
    };
    void step();

    std::uint32_t founders_;
    std::uint32_t shards_;
    bool forgetful_;
    std::vector<Node> nodes_;
    base::Now now_{base::Instant{1'000'000'000}, base::WallTime{1'700'000'000'000}};
    std::uint64_t next_boot_ = 1;
    std::uint64_t next_call_ = 1;
    std::map<std::uint64_t, api::Answer> answers_;
};

}  // namespace ursula::shard::test
