#include "sim/sim_net.h"

#include <algorithm>
#include <utility>

#include "base/crc32c.h"

namespace ursula::sim {

namespace {

shard::PeerShard peer(std::size_t node, std::size_t shard) {
    return {base::NodeId(static_cast<std::uint32_t>(node)),
            base::ShardId(static_cast<std::uint32_t>(shard))};
}

struct Later {
    bool operator()(const auto& a, const auto& b) const {
        return a.at > b.at || (a.at == b.at && a.number > b.number);
    }
};

}  // namespace

void SimNet::Port::take(std::vector<shard::ReceivedFrame>& frames,
                        std::vector<shard::LinkEvent>& events) {
    for (Mail& mail : shown_) {
        net_.spare_.push_back(std::move(mail.bytes));
    }
    shown_.clear();
    std::swap(shown_, inbox_);
    for (const Mail& mail : shown_) {
        frames.push_back({mail.from, mail.bytes});
    }
    events.insert(events.end(), events_.begin(), events_.end());
    events_.clear();
}

void SimNet::Port::know(base::NodeId node, std::span<const shard::MemberInfo> infos) {
    if (infos.empty()) {
        known_.erase(node.value);
        met_.erase(node.value);
    } else {
        known_.insert(node.value);
    }
}

bool SimNet::Port::takes(shard::PeerShard to) const {
    return !net_.cut(node_, to.node.value) &&
           (known_.count(to.node.value) != 0 || met_.count(to.node.value) != 0);
}

void SimNet::Port::send(shard::PeerShard to, base::Bytes frame) {
    net_.send(peer(node_, shard_), to, frame);
}

SimNet::SimNet(const std::vector<std::uint32_t>& shards, const base::Instant& clock,
               base::Random& random, FrameWitness& witness)
    : nodes_(shards.size()),
      clock_(clock),
      random_(random),
      witness_(witness),
      ports_(nodes_ + 1),
      cuts_((nodes_ + 1) * (nodes_ + 1)),
      clogs_((nodes_ + 1) * (nodes_ + 1)) {
    for (std::size_t node = 1; node <= nodes_; ++node) {
        ports_[node].resize(shards[node - 1]);
    }
}

void SimNet::attach(std::size_t node, std::size_t shard, Port* at) {
    port(node, shard) = at;
}

void SimNet::detach(std::size_t node) {
    for (Port*& port : ports_[node]) {
        port = nullptr;
    }
}

void SimNet::send(shard::PeerShard from, shard::PeerShard to, base::Bytes frame) {
    witness_.on_frame(from.node.value, frame);
    hash_ = hash_ * 0x9e37'79b9'7f4a'7c15u + base::crc32c(frame);
    hash_ ^= static_cast<std::uint64_t>(clock_.ns) + from.node.value * 131 + to.node.value;
    const std::uint64_t luck = random_.below(1000);
    if (luck < faults.loss_permille) {
        ++lost_;
        ++next_number_;
        return;
    }
    fly(from, to, frame);
    if (random_.below(1000) < faults.double_permille) {
        fly(from, to, frame);
    }
}

void SimNet::fly(shard::PeerShard from, shard::PeerShard to, base::Bytes frame) {
    std::uint64_t us = random_.between(20, faults.latency_us_max);
    if (random_.below(1000) < faults.delay_permille) {
        us = random_.between(1'000, 800'000);
    }
    Flight flight;
    flight.at = clock_ + base::microseconds(static_cast<std::int64_t>(us));
    flight.number = next_number_++;
    flight.from = from;
    flight.to = to;
    if (!spare_.empty()) {
        flight.bytes = std::move(spare_.back());
        spare_.pop_back();
    }
    flight.bytes.assign(frame.begin(), frame.end());
    push(std::move(flight));
}

void SimNet::push(Flight&& flight) {
    flights_.push_back(std::move(flight));
    std::push_heap(flights_.begin(), flights_.end(), Later{});
}

void SimNet::reset(std::size_t a, std::size_t b) {
    std::erase_if(flights_, [a, b](const Flight& flight) {
        return (flight.from.node.value == a && flight.to.node.value == b) ||
               (flight.from.node.value == b && flight.to.node.value == a);
    });
    std::make_heap(flights_.begin(), flights_.end(), Later{});
    const auto tell = [this](std::size_t node, std::size_t about) {
        for (Port* one : ports_[node]) {
            for (std::size_t shard = 0; one != nullptr && shard < ports_[about].size(); ++shard) {
                one->tell({peer(about, shard), true});
            }
        }
    };
    tell(a, b);
    tell(b, a);
}

base::Instant SimNet::due() const {
    return flights_.empty() ? base::Instant::never() : flights_.front().at;
}

void SimNet::deliver() {
    while (due() <= clock_) {
        std::pop_heap(flights_.begin(), flights_.end(), Later{});
        Flight flight = std::move(flights_.back());
        flights_.pop_back();
        const std::size_t from = flight.from.node.value;
        const std::size_t to = flight.to.node.value;
        const base::Instant clogged = clogs_[from * (nodes_ + 1) + to];
        if (clock_ < clogged) {
            flight.at = clogged;
            push(std::move(flight));
            continue;
        }
        Port* at = port(to, flight.to.shard.value);
        if (at == nullptr || cut(from, to)) {
            ++lost_;
            spare_.push_back(std::move(flight.bytes));
            continue;
        }
        at->met_.insert(flight.from.node.value);
        at->inbox_.push_back({flight.from, std::move(flight.bytes)});
    }
}

}  // namespace ursula::sim
