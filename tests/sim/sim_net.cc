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

}  // namespace

void SimNet::Port::take(std::vector<shard::ReceivedFrame>& frames,
                        std::vector<shard::LinkEvent>& events) {
    shown_ = std::move(inbox_);
    inbox_.clear();
    for (const Mail& mail : shown_) {
        frames.push_back({mail.from, mail.bytes});
    }
    events.insert(events.end(), events_.begin(), events_.end());
    events_.clear();
}

bool SimNet::Port::takes(shard::PeerShard to) const {
    return !net_.cut(node_, to.node.value);
}

void SimNet::Port::send(shard::PeerShard to, base::Bytes frame) {
    net_.send(node_, to.node.value, shard_, frame);
}

SimNet::SimNet(std::size_t nodes, std::size_t shards, const base::Instant& clock,
               base::Random& random)
    : nodes_(nodes),
      shards_(shards),
      clock_(clock),
      random_(random),
      ports_((nodes + 1) * shards),
      cuts_((nodes + 1) * (nodes + 1)) {}

void SimNet::attach(std::size_t node, std::size_t shard, Port* at) {
    port(node, shard) = at;
}

void SimNet::detach(std::size_t node) {
    for (std::size_t shard = 0; shard < shards_; ++shard) {
        port(node, shard) = nullptr;
    }
}

void SimNet::send(std::size_t from, std::size_t to, std::size_t shard, base::Bytes frame) {
    hash_ = hash_ * 0x9e37'79b9'7f4a'7c15u + base::crc32c(frame);
    hash_ ^= static_cast<std::uint64_t>(clock_.ns) + from * 131 + to;
    const std::uint64_t luck = random_.below(1000);
    if (luck < faults.loss_permille) {
        ++lost_;
        ++next_number_;
        return;
    }
    fly(from, to, shard, frame);
    if (random_.below(1000) < faults.double_permille) {
        fly(from, to, shard, frame);
    }
}

void SimNet::fly(std::size_t from, std::size_t to, std::size_t shard, base::Bytes frame) {
    std::uint64_t us = random_.between(20, 200);
    if (random_.below(1000) < faults.delay_permille) {
        us = random_.between(1'000, 800'000);
    }
    Flight flight;
    flight.at = clock_ + base::microseconds(static_cast<std::int64_t>(us));
    flight.number = next_number_++;
    flight.from = from;
    flight.to = to;
    flight.shard = shard;
    flight.bytes.assign(frame.begin(), frame.end());
    flights_.push_back(std::move(flight));
    std::push_heap(flights_.begin(), flights_.end(), [](const Flight& a, const Flight& b) {
        return std::pair(a.at, a.number) > std::pair(b.at, b.number);
    });
}

void SimNet::reset(std::size_t a, std::size_t b) {
    std::erase_if(flights_, [a, b](const Flight& flight) {
        return (flight.from == a && flight.to == b) || (flight.from == b && flight.to == a);
    });
    std::make_heap(flights_.begin(), flights_.end(), [](const Flight& x, const Flight& y) {
        return std::pair(x.at, x.number) > std::pair(y.at, y.number);
    });
    for (std::size_t shard = 0; shard < shards_; ++shard) {
        if (Port* at_a = port(a, shard); at_a != nullptr) {
            at_a->tell({peer(b, shard), true});
        }
        if (Port* at_b = port(b, shard); at_b != nullptr) {
            at_b->tell({peer(a, shard), true});
        }
    }
}

base::Instant SimNet::due() const {
    return flights_.empty() ? base::Instant::never() : flights_.front().at;
}

void SimNet::deliver() {
    while (due() <= clock_) {
        std::pop_heap(flights_.begin(), flights_.end(), [](const Flight& a, const Flight& b) {
            return std::pair(a.at, a.number) > std::pair(b.at, b.number);
        });
        Flight flight = std::move(flights_.back());
        flights_.pop_back();
        Port* at = port(flight.to, flight.shard);
        if (at == nullptr || cut(flight.from, flight.to)) {
            ++lost_;
            continue;
        }
        at->inbox_.push_back({peer(flight.from, flight.shard), std::move(flight.bytes)});
    }
}

}  // namespace ursula::sim
