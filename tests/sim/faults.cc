// What goes wrong. Each fault has a number and draws of its own, so that leaving one out does not
// change another.
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "sim/cluster.h"

namespace ursula::sim {

namespace {

std::size_t used_of(const std::vector<std::byte>& bytes) {
    std::size_t used = bytes.size();
    while (used > 0 && bytes[used - 1] == std::byte{}) {
        --used;
    }
    return used;
}

bool is_log(const std::string& name) {
    return name.rfind("wal-", 0) == 0;
}

}  // namespace

void Cluster::fault() {
    const std::uint64_t number = faults_++;
    base::Random random(mixed(mixed(swarm_.seed, 6), number));
    next_fault_ = now_ + base::milliseconds(static_cast<std::int64_t>(random.between(
                             20, static_cast<std::uint64_t>(swarm_.fault_gap_ms_max))));
    const std::size_t nodes = nodes_.size();
    Node& node = nodes_[random.below(nodes)];
    const std::uint64_t dice = random.below(24);
    const std::uint64_t times = random.between(1, 10);
    const base::Duration a_while =
        base::milliseconds(static_cast<std::int64_t>(times * random.between(1, 150)));
    const std::size_t other = random.below(nodes) + 1;
    const bool power = random.chance(1, 2);
    const bool all = random.chance(1, 12);
    // Long enough that the others forget the log it lacks.
    const bool long_outage = swarm_.snapshots && !all && random.chance(1, 3);
    if (number < swarm_.first_fault || number >= swarm_.end_fault) {
        return;
    }
    // Chance alone would hardly bring all that together.
    if (swarm_.has(Fault::rot) && number == mixed(swarm_.seed, 8) % 8) {
        plan_rot(node, nodes_[other - 1], base::milliseconds(500) + a_while, random);
        return;
    }
    if (dice < 6) {
        if (!swarm_.has(power ? Fault::power : Fault::kills)) {
            return;
        }
        for (Node& one : nodes_) {
            if (one.up && (all || &one == &node)) {
                crash(one, power);
                const base::Duration outage =
                    long_outage ? base::milliseconds(1500) + a_while : a_while;
                one.back_at = is_needed(one) ? now_ + outage : base::Instant::never();
            }
        }
    } else if (dice < 10) {
        if (swarm_.has(Fault::cuts) && nodes > 1) {
            cut_links(random.below(6), node.number, other, random);
            uncut_at_ = now_ + a_while;
        }
    } else if (dice == 10 && swarm_.has(Fault::pauses)) {
        say(fmt::format("n{} stands still for {} ms", node.number, a_while.ms()));
        node.paused_until = now_ + a_while;
    } else if (dice == 11 && swarm_.has(Fault::failed_disks) && node.up) {
        say(fmt::format("n{} has a disk that fails", node.number));
        node.parts[other % node.parts.size()].sim->fail(
            power ? storage::DiskOp::Kind::write : storage::DiskOp::Kind::sync,
            static_cast<std::uint32_t>(random.below(4)), EIO);
    } else if (dice == 12 && swarm_.has(Fault::slow_disks)) {
        if (power) {
            say("all nodes have slow disks");
            for (Node& one : nodes_) {
                set_disks(one, base::milliseconds(300), base::milliseconds(1500));
            }
        } else {
            say(fmt::format("n{} has slow disks", node.number));
            set_disks(node, base::milliseconds(5), base::milliseconds(500));
        }
        unslow_at_ = now_ + a_while;
    } else if (dice < 15) {
        if (swarm_.has(Fault::resets) && other != node.number) {
            net_->reset(node.number, other);
        }
    } else if (dice < 17) {
        if (swarm_.has(Fault::clogs) && other != node.number) {
            say(fmt::format("the link from n{} to n{} clogs for {} ms", node.number, other,
                            a_while.ms()));
            net_->clog(node.number, other, now_ + a_while);
        }
    } else if (dice == 17 && swarm_.has(Fault::rot) && node.up && node.member && may_lose(node)) {
        crash(node, power);
        node.back_at = now_ + a_while;
        rot(node, random);
    } else if ((dice == 18 || dice >= 22) && swarm_.has(Fault::wipes) && node.member &&
               may_lose(node)) {
        if (node.up) {
            crash(node, power);
        }
        lose(node);
    } else if ((dice == 20 || dice == 21) && swarm_.has(Fault::pauses) && nodes > 1) {
        stand_still(node, random);
    } else if (dice == 19 && swarm_.has(Fault::jumps)) {
        node.wall =
            base::milliseconds(static_cast<std::int64_t>(random.below(7'200'001)) - 3'600'000);
        say(fmt::format("the wall clock of n{} jumps to {} ms", node.number, node.wall.ms()));
    }
}

// So long that the others choose another leader; what they say meanwhile is lost, comes later, or
// lies there when it goes on, and so does what it said last to some of them.
void Cluster::stand_still(Node& node, base::Random& random) {
    const base::Duration pause =
        base::milliseconds(static_cast<std::int64_t>(random.between(500, 1800)));
    const base::Duration longer = base::milliseconds(static_cast<std::int64_t>(random.below(300)));
    say(fmt::format("n{} stands still for {} ms, and hears late", node.number, pause.ms()));
    node.paused_until = now_ + pause;
    for (std::size_t from = 1; from <= nodes_.size(); ++from) {
        const std::uint64_t kind = random.below(4);
        const bool last_words_wait = random.chance(1, 3);
        if (from == node.number) {
            continue;
        }
        if (kind == 0 && swarm_.has(Fault::cuts)) {
            net_->cut(from, node.number) = true;
            uncut_at_ = node.paused_until + longer;
        } else if (kind < 3) {
            net_->clog(from, node.number, node.paused_until + longer);
        }
        if (last_words_wait) {
            net_->clog(node.number, from, node.paused_until + longer);
        }
    }
}

// One direction, one node, all that one says, a split, or a mesh with holes.
void Cluster::cut_links(std::uint64_t kind, std::size_t node, std::size_t other,
                        base::Random& random) {
    const std::uint64_t split = random.below(1u << nodes_.size());
    for (std::size_t from = 1; from <= nodes_.size(); ++from) {
        for (std::size_t to = 1; to <= nodes_.size(); ++to) {
            const bool from_in = (split >> (from - 1) & 1) != 0;
            const bool to_in = (split >> (to - 1) & 1) != 0;
            const bool hole = random.chance(1, 3);
            net_->cut(from, to) = kind == 0   ? from == node && to == other
                                  : kind == 1 ? from == node || to == node
                                  : kind == 2 ? from == node && to != node
                                  : kind == 3 ? from_in != to_in
                                              : hole;
        }
    }
    say(fmt::format("links are cut ({}, n{}, n{}, {:b})", kind, node, other, split));
}

void Cluster::end_cuts() {
    uncut_at_ = base::Instant::never();
    for (std::size_t from = 1; from <= nodes_.size(); ++from) {
        for (std::size_t to = 1; to <= nodes_.size(); ++to) {
            net_->cut(from, to) = false;
        }
    }
}

void Cluster::set_disks(Node& node, base::Duration low, base::Duration high) {
    for (Part& part : node.parts) {
        if (node.up) {
            part.disk->set_latency(low, high);
        }
    }
}

// A bit of this byte flips.
template <class Flip>
void Cluster::rot_at(Node& node, const std::string& name, std::size_t position,
                     base::Random& random, const Flip& flip) {
    const std::uint64_t bit = random.below(8);
    flip(position, std::byte{1} << static_cast<unsigned>(bit));
    node.rotten = true;
    say(fmt::format("n{}: bit {} of byte {} of {} flips", node.number, bit, position, name));
}

// In a file that is long enough for later batches of the log to say so: of one that was the last,
// nobody could tell whether it was ever written.
void Cluster::rot(Node& node, base::Random& random) {
    Part& part = node.parts[random.below(node.parts.size())];
    std::size_t at = random.below(std::max<std::size_t>(part.image.files.size(), 1));
    for (auto& file : part.image.files) {
        if (at-- != 0) {
            continue;
        }
        const std::size_t used = used_of(file.second);
        if (used >= 24 << 10) {
            const std::size_t position = random.below(used / 3);
            rot_at(node, file.first, position, random,
                   [&file](std::size_t where, std::byte mask) { file.second[where] ^= mask; });
        }
    }
}

// A leader's disk rots while a follower is away, which then asks for what was there.
void Cluster::plan_rot(Node& node, Node& away, base::Duration outage, base::Random& random) {
    Node* leader = &node;
    for (Node& one : nodes_) {
        if (one.up && replica_of(one, 0).is_leader() && one.member && may_lose(one)) {
            leader = &one;
        }
    }
    if (&away != leader && away.up) {
        crash(away, random.chance(1, 2));
        away.back_at = is_needed(away) ? now_ + outage : base::Instant::never();
    }
    rot_at_ = now_ + base::Duration{outage.ns * 3 / 4};
    rotting_ = leader->number;
    rot_random_ = random;
}

void Cluster::rot_under_way() {
    rot_at_ = base::Instant::never();
    Node& node = nodes_[rotting_ - 1];
    if (!node.up || !node.member || !may_lose(node)) {
        return;
    }
    const std::size_t some_batches = swarm_.tiny ? 20 << 10 : 40 << 10;
    for (Part& part : node.parts) {
        const Image settled = part.sim->settled();
        std::string last;
        for (const auto& file : settled.files) {
            if (is_log(file.first) && used_of(file.second) > sector_bytes) {
                last = file.first;
            }
        }
        for (const auto& file : settled.files) {
            const std::size_t used = used_of(file.second);
            const std::size_t tail = file.first == last ? some_batches : 0;
            const std::uint64_t flips = rot_random_.between(1, 12);
            for (std::uint64_t i = 0; i < flips && is_log(file.first) && used > tail; ++i) {
                const std::size_t position = rot_random_.below(used - tail);
                rot_at(node, file.first, position, rot_random_,
                       [&](std::size_t where, std::byte mask) {
                           part.sim->flip(file.first, where, mask);
                       });
            }
        }
    }
}

}  // namespace ursula::sim
