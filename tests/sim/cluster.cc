// One life: what a seed makes of a cluster, and the order in which things happen.
#include "sim/cluster.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "api/placement.h"

namespace ursula::sim {

namespace {

constexpr base::Duration turn_gap = base::microseconds(20);  // what a turn takes at least

base::Duration drawn_ms(base::Random& random, std::uint64_t bound) {
    return base::milliseconds(static_cast<std::int64_t>(random.below(bound)));
}

}  // namespace

// Each class of decisions has its own stream of draws.
Cluster::Cluster(const Swarm& swarm, bool print)
    : random_(mixed(swarm.seed, 2)),
      disk_random_(mixed(swarm.seed, 3)),
      net_random_(mixed(swarm.seed, 4)),
      print_(print),
      swarm_(swarm),
      groups_(swarm.groups) {
    net_ = std::make_unique<SimNet>(swarm_.shards, now_, net_random_, *this);
    net_->faults.loss_permille = swarm_.has(Fault::loss) ? swarm_.net.loss_permille : 0;
    net_->faults.double_permille = swarm_.has(Fault::doubles) ? swarm_.net.double_permille : 0;
    net_->faults.delay_permille = swarm_.has(Fault::delays) ? swarm_.net.delay_permille : 0;
    net_->faults.latency_us_max = swarm_.net.latency_us_max;
    nodes_.resize(swarm_.shards.size());
    base::Random clocks(mixed(swarm_.seed, 5));
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
        Node& node = nodes_[i];
        node.number = i + 1;
        const base::Duration skew = drawn_ms(clocks, 1'000'000);
        const base::Duration wall = drawn_ms(clocks, 7'200'000);
        const auto ppm = static_cast<std::int64_t>(clocks.below(60'001)) - 30'000;
        const auto few_ppm = static_cast<std::int64_t>(clocks.below(1001)) - 500;
        const bool bad_clock = clocks.chance(1, 3);
        if (swarm_.has(Fault::skew)) {
            node.skew = skew;
            node.wall = has_true_walls() ? base::Duration{} : wall - base::milliseconds(3'600'000);
        }
        if (swarm_.has(Fault::drift)) {
            node.ppm = bad_clock ? ppm : few_ppm;
        }
        node.parts.resize(swarm_.shards[i]);
        node.seen.resize(groups_);
        node.back_at = base::Instant{} + drawn_ms(clocks, 200);
        node.founder = i + swarm_.spares < nodes_.size();
        node.member = node.founder;
        if (!node.founder) {
            node.back_at = base::Instant::never();
        }
    }
    std::uint64_t op_number = 0;
    if (swarm_.has(Fault::members)) {
        operators_.resize(swarm_.operators);
        for (Operator& op : operators_) {
            op.random = base::Random(mixed(mixed(swarm_.seed, 8), op_number++));
            op.at = base::Instant{} + base::milliseconds(600);
        }
    }
    leaders_.resize(groups_);
    applied_terms_.resize(groups_);
    state_hashes_.resize(groups_);
    for (std::uint32_t i = 0; i < swarm_.streams; ++i) {
        streams_.push_back(fmt::format("v1/s{}", i));
    }
    created_.resize(streams_.size());
    unproven_.resize(streams_.size());
    clients_.resize(swarm_.clients);
    exact_ = std::make_unique<Exact>(streams_, clients_.size(), nodes_.size());
    for (Client& client : clients_) {
        client.leaders.resize(groups_);
        client.at = base::Instant{} + base::milliseconds(400);
    }
    next_fault_ = base::Instant{} + base::milliseconds(800);
}

Cluster::~Cluster() = default;

ClusterReport Cluster::run() {
    run_until(base::Instant{} + base::milliseconds(swarm_.life_ms));
    if (!failed()) {
        heal();
    }
    report_.failure = history_.failure();
    report_.hash = report_.hash * 0x9e37'79b9'7f4a'7c15u + net_->hash();
    report_.simulated_ms = now_.ns / 1'000'000;
    report_.appends = history_.appends();
    report_.acknowledged = history_.acknowledged_count();
    report_.unknown = history_.unknown_count();
    report_.reads = history_.reads();
    report_.frames = net_->sent();
    report_.frames_lost = net_->lost();
    return report_;
}

void Cluster::fail(const std::string& what) {
    history_.fail(
        fmt::format("{} (at {} ms, event {})", what, now_.ns / 1'000'000, report_.events));
}

void Cluster::say(const std::string& what) const {
    if (print_) {
        std::printf("%10.3f %s\n", static_cast<double>(now_.ns) / 1e6, what.c_str());
    }
}

base::Now Cluster::now_of(const Node& node) const {
    const std::int64_t drifted = now_.ns / 1'000'000 * node.ppm;
    return {base::Instant{now_.ns + drifted} + node.skew,
            base::WallTime{1'700'000'000'000 + now_.ns / 1'000'000 + node.wall.ms()}};
}

// The first instant at which the node's clock shows at least this.
base::Instant Cluster::simulated(const Node& node, base::Instant mono) const {
    if (mono == base::Instant::never()) {
        return mono;
    }
    const std::int64_t wanted = mono.ns - node.skew.ns;
    if (node.ppm == 0) {
        return base::Instant{wanted};
    }
    // The clock is a line with a small step every millisecond.
    std::int64_t at = wanted - wanted / (1'000'000 + node.ppm) * node.ppm;
    const auto shown = [&node](std::int64_t ns) { return ns + ns / 1'000'000 * node.ppm; };
    while (shown(at) < wanted) {
        at += wanted - shown(at);
    }
    return base::Instant{at};
}

std::uint32_t Cluster::group_of(const std::string& stream) const {
    return api::group_of(stream, groups_).value;
}

// --- time ---

// What only the shard's own turn changes is looked at once behind it.
void Cluster::plan(const Node& node, Part& part) const {
    part.wake = std::min(part.disk->due(), simulated(node, part.shard->deadline()));
}

base::Instant Cluster::wake_of(const Node& node, const Part& part) const {
    const base::Instant at = !part.calls.empty() || part.port->has_mail() ? now_ : part.wake;
    return at == base::Instant::never()
               ? at
               : std::max({at, part.turned + turn_gap, node.paused_until, now_});
}

// The next thing that happens, one at a time. False: nothing until then.
bool Cluster::step(base::Instant until) {
    base::Instant at = net_->due();
    What what = What::net;
    std::size_t which = 0;
    std::size_t which_part = 0;
    const auto offer = [&](base::Instant when, What thing, std::size_t index, std::size_t part) {
        if (when < at) {
            at = when;
            what = thing;
            which = index;
            which_part = part;
        }
    };
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
        const Node& node = nodes_[i];
        offer(node.back_at, What::start, i, 0);
        for (std::size_t part = 0; node.up && part < node.parts.size(); ++part) {
            offer(wake_of(node, node.parts[part]), What::turn, i, part);
        }
    }
    for (std::size_t i = 0; i < clients_.size(); ++i) {
        offer(clients_[i].at, What::client, i, 0);
    }
    for (std::size_t i = 0; i < operators_.size(); ++i) {
        offer(operators_[i].at, What::operate, i, 0);
    }
    if (faulty_) {
        offer(next_fault_, What::fault, 0, 0);
        offer(uncut_at_, What::uncut, 0, 0);
        offer(unslow_at_, What::unslow, 0, 0);
        offer(rot_at_, What::rot, 0, 0);
    }
    if (at > until) {
        now_ = std::max(now_, until);
        return false;
    }
    now_ = std::max(now_, at);
    ++report_.events;
    report_.hash = report_.hash * 31 + static_cast<std::uint64_t>(now_.ns) +
                   static_cast<std::uint64_t>(what) * 8 + which;
    happen(what, which, which_part);
    return true;
}

void Cluster::happen(What what, std::size_t which, std::size_t part) {
    switch (what) {
        case What::net:
            net_->deliver();
            break;
        case What::turn:
            turn(nodes_[which], part);
            break;
        case What::client:
            if (clients_[which].verb != Verb::none) {
                give_up(clients_[which]);
            }
            ask(clients_[which]);
            break;
        case What::start:
            start(nodes_[which]);
            break;
        case What::fault:
            fault();
            break;
        case What::operate:
            operate(operators_[which]);
            break;
        case What::rot:
            rot_under_way();
            break;
        case What::uncut:
            end_cuts();
            break;
        case What::unslow:
            unslow_at_ = base::Instant::never();
            for (Node& node : nodes_) {
                set_disks(node, base::microseconds(50), base::microseconds(400));
            }
            break;
    }
}

void Cluster::run_until(base::Instant until) {
    while (!failed() && step(until)) {
    }
}

void Cluster::turn(Node& node, std::size_t at) {
    Part& part = node.parts[at];
    part.turned = now_;
    calls_.clear();
    kept_.clear();
    std::swap(calls_, part.calls);
    std::swap(kept_, part.kept);
    replies_.clear();
    internal_.clear();
    part.shard->advance(calls_, now_of(node), replies_, internal_);
    plan(node, part);
    for (const api::Call& call : internal_) {
        route_internal(node, call);
    }
    for (const api::Reply& reply : replies_) {
        report_.hash = report_.hash * 31 + reply.id.value * 16 + reply.answer.index();
        if (shard::Shard::is_internal(reply.id)) {
            Part& asked = node.parts[reply.to.value];
            asked.shard->on_internal_reply(reply);
            plan(node, asked);
            continue;
        }
        const auto op =
            std::find_if(operators_.begin(), operators_.end(),
                         [&reply](const Operator& one) { return one.call == reply.id; });
        if (op != operators_.end()) {
            operator_hears(*op, reply.answer, node.number);
            if (!node.up) {
                return;
            }
            continue;
        }
        for (Client& client : clients_) {
            if (client.verb != Verb::none && client.call == reply.id) {
                exact_->answered(static_cast<std::size_t>(&client - clients_.data()), reply.answer,
                                 now_);
                answer(client, reply.answer);
                break;
            }
        }
    }
    if (print_) {
        std::vector<shard::ShardEvent> events;
        part.shard->take_events(events);
        for (const shard::ShardEvent& event : events) {
            say(fmt::format("n{}: event {}: {}", node.number, static_cast<int>(event.kind),
                            event.text));
        }
    }
    check(node, at);
    if (node.worn_out) {
        remember(node);
        lose(node);
        return;
    }
    if (!part.shard->failure().empty()) {
        say(fmt::format("n{}: {}", node.number, part.shard->failure()));
        // What a failed sync was to keep may be in memory still, or gone.
        crash(node, disk_random_.chance(1, 2));
        node.back_at = now_ + base::milliseconds(300);
        return;
    }
    maybe_crash_fetching(node, part);
}

}  // namespace ursula::sim
