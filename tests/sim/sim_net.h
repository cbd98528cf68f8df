// The network between simulated nodes: frames take time and may be lost, doubled, overtaken and cut
// off one way. One SimNet for the cluster; each shard has a Port, which is its PeerNet.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "base/random.h"
#include "base/time.h"
#include "shard/peer_net.h"

namespace ursula::sim {

struct NetFaults {
    std::uint64_t loss_permille = 0;
    std::uint64_t double_permille = 0;
    std::uint64_t delay_permille = 0;  // frames that take far longer than others
};

class SimNet {
  public:
    class Port final : public shard::PeerNet {
      public:
        Port(SimNet& net, std::size_t node, std::size_t shard)
            : net_(net), node_(node), shard_(shard) {}
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
    };

    // Nodes are numbered from 1; both outlive the net.
    SimNet(std::size_t nodes, std::size_t shards, const base::Instant& clock, base::Random& random);

    NetFaults faults;
    // A node that is down has no ports: what is sent to it is lost.
    void attach(std::size_t node, std::size_t shard, Port* port);
    void detach(std::size_t node);
    bool& cut(std::size_t from, std::size_t to) { return cuts_[from * (nodes_ + 1) + to]; }
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
        std::size_t from = 0;
        std::size_t to = 0;
        std::size_t shard = 0;
        std::vector<std::byte> bytes;
    };
    void send(std::size_t from, std::size_t to, std::size_t shard, base::Bytes frame);
    void fly(std::size_t from, std::size_t to, std::size_t shard, base::Bytes frame);
    Port*& port(std::size_t node, std::size_t shard) { return ports_[node * shards_ + shard]; }

    std::size_t nodes_;
    std::size_t shards_;
    const base::Instant& clock_;
    base::Random& random_;
    std::vector<Port*> ports_;
    std::deque<bool> cuts_;
    std::vector<Flight> flights_;  // a heap, the earliest in front
    std::uint64_t next_number_ = 0;
    std::uint64_t lost_ = 0;
    std::uint64_t hash_ = 0;
};

}  // namespace ursula::sim
