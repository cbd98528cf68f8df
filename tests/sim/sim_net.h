// The network between simulated nodes: frames take time and may be lost, doubled, overtaken, held
// back and cut off one way. One SimNet for the cluster; each shard has a Port, which is its
// PeerNet.
#pragma once

#include <cstdint>
#include <deque>
#include <set>
#include <span>
#include <vector>

#include "base/random.h"
#include "base/time.h"
#include "shard/peer_net.h"
#include "sim/swarm.h"

namespace ursula::sim {

// Sees each frame when it is sent, before the net decides what becomes of it.
class FrameWitness {
  public:
    virtual ~FrameWitness() = default;
    virtual void on_frame(std::size_t from, base::Bytes frame) = 0;
};

class SimNet {
  public:
    class Port final : public shard::PeerNet {
      public:
        Port(SimNet& net, std::size_t node, std::size_t shard)
            : net_(net), node_(node), shard_(shard) {}
        void know(base::NodeId node, std::span<const shard::MemberInfo> infos) override;
        void take(std::vector<shard::ReceivedFrame>& frames,
                  std::vector<shard::LinkEvent>& events) override;
        bool takes(shard::PeerShard to) const override;
        void send(shard::PeerShard to, base::Bytes frame) override;
        bool has_mail() const { return !inbox_.empty() || !events_.empty(); }
        void tell(const shard::LinkEvent& event) { events_.push_back(event); }

      private:
        friend class SimNet;
        struct Mail {
            shard::PeerShard from;
            std::vector<std::byte> bytes;
        };
        SimNet& net_;
        std::size_t node_;
        std::size_t shard_;
        std::vector<Mail> inbox_;
        std::vector<Mail> shown_;  // by the last take()
        std::vector<shard::LinkEvent> events_;
        // Nodes it can reach: those it knows the address of, and those that came by themselves.
        std::set<std::uint32_t> known_;
        std::set<std::uint32_t> met_;
    };

    // Nodes are numbered from 1, `shards` says how many each has; the others outlive the net.
    SimNet(const std::vector<std::uint32_t>& shards, const base::Instant& clock,
           base::Random& random, FrameWitness& witness);

    NetFaults faults;
    // A node that is down has no ports: what is sent to it is lost.
    void attach(std::size_t node, std::size_t shard, Port* port);
    void detach(std::size_t node);
    bool& cut(std::size_t from, std::size_t to) { return cuts_[from * (nodes_ + 1) + to]; }
    // Until then nothing arrives from the one at the other; then all does.
    void clog(std::size_t from, std::size_t to, base::Instant until) {
        clogs_[from * (nodes_ + 1) + to] = until;
    }
    // The connections between two nodes begin anew: what is under way is lost, both are told.
    void reset(std::size_t a, std::size_t b);
    base::Instant due() const;
    // Hands over all that is due.
    void deliver();
    // Of every frame sent so far, in order.
    std::uint64_t hash() const { return hash_; }
    std::uint64_t sent() const { return next_number_; }
    std::uint64_t lost() const { return lost_; }

  private:
    struct Flight {
        base::Instant at;
        std::uint64_t number = 0;
        shard::PeerShard from;
        shard::PeerShard to;
        std::vector<std::byte> bytes;
    };
    void send(shard::PeerShard from, shard::PeerShard to, base::Bytes frame);
    void fly(shard::PeerShard from, shard::PeerShard to, base::Bytes frame);
    void push(Flight&& flight);
    Port*& port(std::size_t node, std::size_t shard) { return ports_[node][shard]; }

    std::size_t nodes_;
    const base::Instant& clock_;
    base::Random& random_;
    FrameWitness& witness_;
    std::vector<std::vector<Port*>> ports_;  // by node and shard
    std::deque<bool> cuts_;
    std::vector<base::Instant> clogs_;
    std::vector<std::vector<std::byte>> spare_;  // memory of frames that arrived
    std::vector<Flight> flights_;                // a heap, the earliest in front
    std::uint64_t next_number_ = 0;
    std::uint64_t lost_ = 0;
    std::uint64_t hash_ = 0;
};

}  // namespace ursula::sim
