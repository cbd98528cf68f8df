// Three nodes of one shard each at the waist, on simulated disks, with a network that does what a
// test tells it. All clocks go together, a millisecond at a time.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "shard/peer_net.h"
#include "tests/unit/shard/shard_node.h"

namespace ursula::shard::test {

class Trio {
  public:
    static constexpr std::size_t size = 3;

    explicit Trio(const ShardOptions& options = small_options());
    ~Trio();
    Trio(const Trio&) = delete;
    Trio& operator=(const Trio&) = delete;

    // Nodes are numbered from 1.
    Node& node(std::size_t number) { return *nodes_[number - 1].node; }
    bool up(std::size_t number) const { return nodes_[number - 1].up; }
    void start(std::size_t number);
    void kill(std::size_t number);  // its connections end at once

    // --- the network, one way ---
    struct Way {
        bool cut = false;      // what is sent is lost
        bool held = false;     // it waits until it is let go
        bool doubled = false;  // it comes twice
    };
    Way& way(std::size_t from, std::size_t to) { return ways_[from][to]; }
    void isolate(std::size_t number, bool cut);
    // Both are told that their connection began anew; what was under way is lost.
    void reset(std::size_t a, std::size_t b);

    // --- time ---
    void step();  // a millisecond, a turn of each node
    void run(base::Duration time);
    template <class Condition>
    void run_until(const Condition& condition) {
        for (int i = 0; i < 20'000 && !condition(); ++i) {
            step();
        }
        REQUIRE(condition());
    }

    // --- groups ---
    // 0: none, or none that all living nodes agree on.
    std::size_t leader(base::GroupId group);
    // Waits until it is `number`, which asks for it if need be.
    void make_leader(base::GroupId group, std::size_t number);
    void settle();  // every group has one leader and all have applied the same

    // Waits for the answer of a call made at that node.
    template <class T>
    T wait(std::size_t number, api::CallId call) {
        run_until([&] { return node(number).answered(call); });
        return node(number).wait<T>(call);
    }
    api::Refusal refusal(std::size_t number, api::CallId call) {
        return wait<api::Refused>(number, call).why;
    }

  private:
    class Port final : public PeerNet {
      public:
        Port(Trio& trio, std::size_t number) : trio_(trio), number_(number) {}
        void know(base::NodeId /*node*/, std::span<const MemberInfo> /*infos*/) override {}
        void take(std::vector<ReceivedFrame>& frames, std::vector<LinkEvent>& events) override;
        bool takes(PeerShard to) const override { return trio_.up(to.node.value); }
        void send(PeerShard to, base::Bytes frame) override;

        struct Mail {
            std::size_t from = 0;
            std::vector<std::byte> bytes;
        };
        std::deque<Mail> inbox;
        std::vector<LinkEvent> events;

      private:
        Trio& trio_;
        std::size_t number_;
        std::deque<Mail> shown_;
    };
    struct Member {
        std::unique_ptr<Node> node;
        std::unique_ptr<Port> port;
        bool up = false;
    };
    static PeerShard peer(std::size_t number) {
        return {base::NodeId(static_cast<std::uint32_t>(number)), base::ShardId(0)};
    }

    std::array<Member, size> nodes_;
    std::array<std::array<Way, size + 1>, size + 1> ways_;
    std::uint32_t groups_;
    std::uint64_t boots_ = 100;
};

}  // namespace ursula::shard::test
