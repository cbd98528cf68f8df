#include "sim/cluster.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "api/placement.h"
#include "base/limits.h"

namespace ursula::sim {

namespace {

constexpr base::Duration turn_gap = base::microseconds(20);  // what a turn takes at least
constexpr base::Duration patience = base::seconds(3);        // of a client
constexpr base::Duration healing_max = base::seconds(30);
constexpr base::HashKey table_key{0x1234, 0x5678};

constexpr std::uint64_t mixed(std::uint64_t seed, std::uint64_t what) {
    return seed * 0x9e37'79b9'7f4a'7c15u + what * 0xd6e8'feb8'6659'fd93u;
}

std::string text_of(const std::vector<base::Slice>& pieces) {
    std::string text;
    for (const base::Slice& piece : pieces) {
        text += base::as_text(piece.bytes());
    }
    return text;
}

}  // namespace

// Each class of decisions has its own stream of draws.
Cluster::Cluster(std::uint64_t seed, bool print)
    : random_(mixed(seed, 1)),
      fault_random_(mixed(seed, 2)),
      disk_random_(mixed(seed, 3)),
      net_random_(mixed(seed, 4)),
      print_(print) {
    const std::uint64_t size = random_.below(10);
    const std::size_t nodes = size == 0 ? 1 : size < 8 ? 3 : 5;
    groups_ = static_cast<std::uint32_t>(random_.between(1, 4));
    shards_ = static_cast<std::uint32_t>(random_.between(1, 2));
    groups_ = std::max(groups_, shards_);
    small_log_ = random_.chance(1, 3);
    crashes_ = random_.chance(4, 5);
    cuts_ = random_.chance(1, 2);
    pauses_ = random_.chance(1, 3);
    slow_disks_ = random_.chance(1, 3);
    snapshots_ = fault_random_.chance(1, 2);
    net_ = std::make_unique<SimNet>(nodes, shards_, now_, net_random_);
    net_->faults.loss_permille = random_.chance(1, 2) ? random_.below(100) : 0;
    net_->faults.double_permille = random_.chance(1, 2) ? random_.below(100) : 0;
    net_->faults.delay_permille = random_.chance(1, 2) ? random_.below(50) : 0;
    nodes_.resize(nodes);
    for (std::size_t i = 0; i < nodes; ++i) {
        Node& node = nodes_[i];
        node.number = i + 1;
        node.skew = base::milliseconds(static_cast<std::int64_t>(random_.below(1'000'000)));
        node.parts.resize(shards_);
        node.durable.resize(groups_);
        node.promised.resize(groups_);
        node.checked.resize(groups_);
        node.back_at =
            base::Instant{} + base::milliseconds(static_cast<std::int64_t>(random_.below(200)));
    }
    leaders_.resize(groups_);
    applied_terms_.resize(groups_);
    state_hashes_.resize(groups_);
    const std::uint64_t streams = random_.between(1, 6);
    for (std::uint64_t i = 0; i < streams; ++i) {
        streams_.push_back(fmt::format("v1/s{}", i));
    }
    created_.resize(streams_.size());
    unproven_.resize(streams_.size());
    clients_.resize(random_.between(2, 8));
    for (Client& client : clients_) {
        client.leaders.resize(groups_);
        client.at = base::Instant{} + base::milliseconds(400);
    }
    next_fault_ = base::Instant{} + base::milliseconds(800);
}

Cluster::~Cluster() = default;

ClusterReport Cluster::run() {
    const auto length = static_cast<std::int64_t>(random_.between(2000, 8000));
    run_until(base::Instant{} + base::milliseconds(length));
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
    return {now_ + node.skew,
            base::WallTime{1'700'000'000'000 + now_.ns / 1'000'000 - node.skew.ms() / 1000}};
}

std::uint32_t Cluster::group_of(const std::string& stream) const {
    return api::group_of(stream, groups_).value;
}

// --- life of nodes ---

shard::ShardOptions Cluster::options_of(const Node& node, std::size_t part) const {
    shard::ShardOptions options;
    options.id = base::ShardId(static_cast<std::uint32_t>(part));
    options.shards = shards_;
    options.groups = groups_;
    options.node = base::NodeId(static_cast<std::uint32_t>(node.number));
    options.table_key = table_key;
    options.hot_bytes = 32 << 10;
    options.salt = node.number * 16 + part + 1;
    options.segment_bytes = 64 << 10;
    options.wal_batch_bytes_max = small_log_ ? 8 << 10 : 16 << 10;
    options.wal_piece_bytes_max = small_log_ ? 1500 : 4 << 10;
    if (snapshots_) {
        options.snapshot_log_bytes = 96 << 10;
        options.log_kept_bytes = 64 << 10;
        options.fetch_piece_bytes = small_log_ ? 700 : 3000;
        options.fetch_window_bytes = small_log_ ? 2000 : 20'000;
    }
    if (nodes_.size() > 1) {
        for (const Node& member : nodes_) {
            options.members.push_back(
                {base::NodeId(static_cast<std::uint32_t>(member.number)), shards_});
        }
        options.cluster = 0xc1;
    }
    return options;
}

void Cluster::start(Node& node) {
    say(fmt::format("n{} starts", node.number));
    node.back_at = base::Instant::never();
    node.up = true;
    const std::uint64_t boot = mixed(next_boot_++, 7) | 1;
    for (std::size_t i = 0; i < node.parts.size(); ++i) {
        Part& part = node.parts[i];
        part.port = std::make_unique<SimNet::Port>(*net_, node.number, i);
        net_->attach(node.number, i, part.port.get());
        part.sim = std::make_unique<SimDisk>(part.image);
        part.sim->set_random(&disk_random_);
        part.disk = std::make_unique<SlowDisk>(*part.sim, now_, disk_random_);
        shard::ShardOptions options = options_of(node, i);
        options.boot = boot;
        options.peer_net = part.port.get();
        part.shard = std::make_unique<shard::Shard>(options, *part.disk);
        part.turned = now_;
        const base::Result<shard::BootReport> started = part.shard->start(now_of(node));
        if (!started) {
            fail(fmt::format("n{} refuses to start: {}", node.number, started.error().message));
            return;
        }
        for (std::uint32_t group = options.id.value; group < groups_; group += shards_) {
            const raft::Group& replica = part.shard->group(base::GroupId(group));
            const raft::Status status = replica.status();
            const raft::EntryId durable = node.durable[group];
            // What a snapshot covers is compared by its state.
            if (durable.index > status.snapshot.index && !replica.log().contains(durable)) {
                fail(
                    fmt::format("n{} g{} had entry {} of term {} on disk; after its restart its "
                                "log ends at {}",
                                node.number, group, durable.index.value, durable.term.value,
                                status.last.index.value));
            }
            if (status.hard_state < node.promised[group]) {
                fail(fmt::format("n{} g{} forgot its term or vote of term {}", node.number, group,
                                 node.promised[group].term.value));
            }
            node.checked[group] = base::LogIndex{};
        }
    }
}

void Cluster::crash(Node& node, bool power) {
    say(fmt::format("n{} {}", node.number, power ? "loses power" : "is killed"));
    ++report_.crashes;
    for (std::uint32_t group = 0; group < groups_; ++group) {
        check_matching(group);
        const raft::Status status =
            node.parts[group % shards_].shard->group(base::GroupId(group)).status();
        const raft::IdLog& log =
            node.parts[group % shards_].shard->group(base::GroupId(group)).log();
        node.durable[group] = {log.term_at(status.persisted), status.persisted};
        node.promised[group] = status.hard_state_persisted;
        if (group < shards_) {
            count(*node.parts[group].shard);
        }
    }
    net_->detach(node.number);
    for (Part& part : node.parts) {
        part.shard.reset();
        part.disk.reset();
        part.image = power ? part.sim->crash_image(disk_random_) : part.sim->everything();
        part.sim.reset();
        part.port.reset();
        part.calls.clear();
        part.kept.clear();
    }
    node.up = false;
    for (Client& client : clients_) {
        if (client.verb != Verb::none && client.node == node.number) {
            done(client);
        }
    }
    // A process that dies closes its connections; a machine does not.
    for (Node& other : nodes_) {
        if (!power && other.up) {
            for (std::uint32_t at = 0; at < shards_; ++at) {
                const shard::PeerShard gone{base::NodeId(static_cast<std::uint32_t>(node.number)),
                                            base::ShardId(at)};
                other.parts[at].port->tell({gone, false});
            }
        }
    }
}

// --- time ---

base::Instant Cluster::wake_of(const Node& node, const Part& part) const {
    base::Instant at = part.disk->due();
    const base::Instant deadline = part.shard->deadline();
    if (deadline != base::Instant::never()) {
        at = std::min(at, base::Instant{deadline.ns - node.skew.ns});
    }
    if (!part.calls.empty() || part.port->has_mail()) {
        at = now_;
    }
    return at == base::Instant::never()
               ? at
               : std::max({at, part.turned + turn_gap, node.paused_until, now_});
}

// The next thing that happens, one at a time. False: nothing until then.
bool Cluster::step(base::Instant until) {
    base::Instant at = net_->due();
    enum class What : std::uint8_t { net, turn, client, start, fault, uncut, unslow };
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
        offer(nodes_[i].back_at, What::start, i, 0);
        for (std::size_t part = 0; nodes_[i].up && part < shards_; ++part) {
            offer(wake_of(nodes_[i], nodes_[i].parts[part]), What::turn, i, part);
        }
    }
    for (std::size_t i = 0; i < clients_.size(); ++i) {
        offer(clients_[i].at, What::client, i, 0);
    }
    if (faulty_) {
        offer(next_fault_, What::fault, 0, 0);
        offer(uncut_at_, What::uncut, 0, 0);
        offer(unslow_at_, What::unslow, 0, 0);
    }
    if (at > until) {
        now_ = std::max(now_, until);
        return false;
    }
    now_ = std::max(now_, at);
    ++report_.events;
    report_.hash = report_.hash * 31 + static_cast<std::uint64_t>(now_.ns) +
                   static_cast<std::uint64_t>(what) * 8 + which;
    switch (what) {
        case What::net:
            net_->deliver();
            break;
        case What::turn:
            turn(nodes_[which], which_part);
            break;
        case What::client:
            if (clients_[which].verb != Verb::none) {
                done(clients_[which]);
            }
            ask(clients_[which]);
            break;
        case What::start:
            start(nodes_[which]);
            break;
        case What::fault:
            fault();
            break;
        case What::uncut:
            uncut_at_ = base::Instant::never();
            for (std::size_t from = 1; from <= nodes_.size(); ++from) {
                for (std::size_t to = 1; to <= nodes_.size(); ++to) {
                    net_->cut(from, to) = false;
                }
            }
            break;
        case What::unslow:
            unslow_at_ = base::Instant::never();
            for (Node& node : nodes_) {
                for (Part& part : node.parts) {
                    if (node.up) {
                        part.disk->set_latency(base::microseconds(50), base::microseconds(400));
                    }
                }
            }
            break;
    }
    return true;
}

void Cluster::run_until(base::Instant until) {
    while (!failed() && step(until)) {
    }
}

void Cluster::turn(Node& node, std::size_t at) {
    Part& part = node.parts[at];
    part.turned = now_;
    const std::vector<api::Call> calls = std::move(part.calls);
    const std::deque<std::string> kept = std::move(part.kept);
    part.calls.clear();
    part.kept.clear();
    replies_.clear();
    internal_.clear();
    part.shard->advance(calls, now_of(node), replies_, internal_);
    const std::vector<api::Reply> replies = std::move(replies_);
    for (const api::Reply& reply : replies) {
        report_.hash = report_.hash * 31 + reply.id.value * 16 + reply.answer.index();
        for (Client& client : clients_) {
            if (client.verb != Verb::none && client.call == reply.id) {
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
    check(node, part);
    if (!part.shard->failure().empty()) {
        say(fmt::format("n{}: {}", node.number, part.shard->failure()));
        crash(node, false);
        node.back_at = now_ + base::milliseconds(300);
        return;
    }
    maybe_crash_fetching(node, part);
}

void Cluster::fault() {
    next_fault_ =
        now_ + base::milliseconds(static_cast<std::int64_t>(fault_random_.between(20, 1200)));
    const std::size_t nodes = nodes_.size();
    Node& node = nodes_[fault_random_.below(nodes)];
    const std::uint64_t dice = fault_random_.below(8);
    const auto a_while = base::milliseconds(
        static_cast<std::int64_t>(fault_random_.between(1, 10) * fault_random_.between(1, 150)));
    const std::size_t other = fault_random_.below(nodes) + 1;
    const bool power = fault_random_.chance(1, 2);
    if (dice < 3 && crashes_) {
        const bool all = fault_random_.chance(1, 12);
        const bool long_outage = snapshots_ && !all && fault_random_.chance(1, 3);
        for (Node& one : nodes_) {
            if (one.up && (all || &one == &node)) {
                crash(one, power);
                one.back_at = now_ + (long_outage ? base::milliseconds(1500) + a_while : a_while);
            }
        }
    } else if (dice < 6 && cuts_ && nodes > 1) {
        // One direction, one node, or a split.
        const std::uint64_t split = fault_random_.below(1u << nodes);
        for (std::size_t from = 1; from <= nodes; ++from) {
            for (std::size_t to = 1; to <= nodes; ++to) {
                const bool from_in = (split >> (from - 1) & 1) != 0;
                const bool to_in = (split >> (to - 1) & 1) != 0;
                net_->cut(from, to) = dice == 3   ? from == node.number && to == other
                                      : dice == 4 ? from == node.number || to == node.number
                                                  : from_in != to_in;
            }
        }
        say(fmt::format("links are cut ({}, n{}, n{}, {:b})", dice, node.number, other, split));
        uncut_at_ = now_ + a_while;
    } else if (dice == 6 && pauses_) {
        say(fmt::format("n{} stands still for {} ms", node.number, a_while.ms()));
        node.paused_until = now_ + a_while;
    } else if (dice == 7 && crashes_ && power && node.up) {
        say(fmt::format("n{} has a disk that fails", node.number));
        node.parts[other % shards_].sim->fail(
            storage::DiskOp::Kind::write, static_cast<std::uint32_t>(fault_random_.below(4)), EIO);
    } else if (dice == 7 && slow_disks_ && node.up) {
        say(fmt::format("n{} has slow disks", node.number));
        for (Part& part : node.parts) {
            part.disk->set_latency(base::milliseconds(5), base::milliseconds(500));
        }
        unslow_at_ = now_ + a_while;
    } else if (nodes > 1 && other != node.number) {
        net_->reset(node.number, other);
    }
}

// Faults end; every node comes back. Then the cluster must work and agree.
void Cluster::heal() {
    say("healed");
    faulty_ = false;
    net_->faults = {};
    for (Node& node : nodes_) {
        node.paused_until = now_;
        if (!node.up) {
            node.back_at = now_;
        }
        for (std::size_t other = 1; other <= nodes_.size(); ++other) {
            net_->cut(node.number, other) = false;
        }
        for (Part& part : node.parts) {
            if (node.up) {
                part.disk->set_latency(base::microseconds(50), base::microseconds(400));
            }
        }
    }
    const base::Instant healed = now_;
    converge();
    report_.healed_ms = (now_ - healed).ms();
    if (!failed()) {
        read_all();
    }
    if (!failed()) {
        idle();
    }
    for (Node& node : nodes_) {
        for (Part& part : node.parts) {
            if (node.up) {
                count(*part.shard);
            }
        }
    }
}

void Cluster::count(const shard::Shard& shard) {
    const shard::ShardCounters& counters = shard.counters();
    report_.fetches += counters.log_fetches;
    report_.snapshots += counters.snapshots;
    report_.installed += counters.snapshots_installed;
    report_.given_up += counters.fetches_given_up;
    report_.fetched_bytes += counters.fetched_bytes;
    report_.kept_bytes += counters.fetch_bytes_kept;
    report_.gone += counters.fetch_streams_gone;
}

void Cluster::converge() {
    const base::Instant end = now_ + healing_max;
    proof_ = true;
    unproven_.assign(streams_.size(), true);
    while (!failed()) {
        run_until(now_ + base::milliseconds(10));
        const bool proven =
            std::none_of(unproven_.begin(), unproven_.end(), [](bool one) { return one; });
        const bool busy = std::any_of(clients_.begin(), clients_.end(), [](const Client& client) {
            return client.verb != Verb::none || client.producing;
        });
        if (proven && !busy && agreed()) {
            break;
        }
        if (now_ >= end) {
            std::string text = "not healed after 30 s:";
            for (std::size_t i = 0; i < streams_.size(); ++i) {
                if (unproven_[i]) {
                    text += fmt::format(" {} (g{}) takes no append;", streams_[i],
                                        group_of(streams_[i]));
                }
            }
            for (std::uint32_t group = 0; group < groups_; ++group) {
                for (const Node& node : nodes_) {
                    const raft::Status status =
                        node.parts[group % shards_].shard->group(base::GroupId(group)).status();
                    text += fmt::format(" n{} g{} role {} term {} leader {} last {} applied {};",
                                        node.number, group, static_cast<int>(status.role),
                                        status.hard_state.term.value, status.leader.value,
                                        status.last.index.value, status.applied.value);
                }
            }
            for (const Node& node : nodes_) {
                for (const Part& part : node.parts) {
                    const shard::ShardCounters& c = part.shard->counters();
                    text += fmt::format(
                        " [n{} frames sent {} taken {} refused {} turned {} wake {} disk {} "
                        "deadline {}]",
                        node.number, c.frames_sent, c.frames_taken, c.frames_refused,
                        part.turned.ns / 1000000, wake_of(node, part).ns / 1000000,
                        part.disk->due().ns / 1000000,
                        part.shard->deadline().ns / 1000000 - node.skew.ms());
                }
            }
            fail(text);
        }
    }
    load_ = false;
}

// --- clients ---

api::StreamKey Cluster::key(const std::string& stream) const {
    return {stream, base::siphash(table_key, base::as_bytes(stream)),
            api::group_of(stream, groups_)};
}

Cluster::Part& Cluster::part_of(Node& node, const std::string& stream) {
    return node.parts[group_of(stream) % shards_];
}

std::string_view Cluster::keep(Node& node, const std::string& stream, const std::string& text) {
    Part& part = part_of(node, stream);
    part.kept.push_back(text);
    return part.kept.back();
}

Cluster::Node* Cluster::choose_node(const Client& client, std::uint32_t group, bool any) {
    const std::size_t hint = client.leaders[group];
    const bool wander = random_.chance(1, 10);
    std::size_t at = random_.below(nodes_.size());
    if (!any && !wander && hint != 0) {
        at = hint - 1;
    }
    return nodes_[at].up ? &nodes_[at] : nullptr;
}

void Cluster::send(Client& client, Node& node, const api::Verb& verb) {
    client.call = api::CallId(next_call_++);
    client.node = node.number;
    client.at = now_ + patience;
    Part& part = part_of(node, client.stream);
    part.calls.push_back({client.call, base::ShardId(group_of(client.stream) % shards_), verb});
}

void Cluster::done(Client& client) {
    client.verb = Verb::none;
    client.at = now_ + base::microseconds(static_cast<std::int64_t>(random_.between(100, 20'000)));
}

void Cluster::ask(Client& client) {
    client.at = now_ + base::milliseconds(static_cast<std::int64_t>(random_.between(1, 40)));
    if (!load_) {
        client.at = base::Instant::never();
        return;
    }
    std::size_t at = random_.below(streams_.size());
    if (proof_ && !client.producing) {
        const auto open = std::find(unproven_.begin(), unproven_.end(), true);
        if (open == unproven_.end()) {
            return;
        }
        at = static_cast<std::size_t>(open - unproven_.begin());
    }
    if (snapshots_ && !proof_ && !client.producing && random_.chance(1, fetching() ? 2 : 5)) {
        ask_about_fleeting(client);
        return;
    }
    client.stream = client.producing ? client.produced_stream : streams_[at];
    if (client.producing) {
        ask_to_produce(client);
    } else {
        ask_about(client, client.stream);
    }
}

void Cluster::ask_about(Client& client, const std::string& stream) {
    const auto at = static_cast<std::size_t>(std::find(streams_.begin(), streams_.end(), stream) -
                                             streams_.begin());
    const std::uint32_t group = group_of(stream);
    const std::uint64_t dice = proof_ ? 0 : random_.below(10);
    Node* node = choose_node(client, group, dice >= 8 && created_[at]);
    if (node == nullptr) {
        client.leaders[group] = 0;
        return;
    }
    client.existed = created_[at];
    if (!created_[at]) {
        client.verb = Verb::create;
        api::CreateCall create;
        create.key = key(stream);
        create.key.name = keep(*node, stream, stream);
        create.content_type = "text/plain";
        send(client, *node, create);
    } else if (dice >= 8) {
        client.verb = Verb::read;
        client.floor = history_.floor(stream);
        api::ReadCall read;
        read.key = key(stream);
        read.key.name = keep(*node, stream, stream);
        read.offset = random_.below(client.floor + 1);
        read.bytes_max = random_.chance(1, 2) ? 1 : random_.below(20'000);
        send(client, *node, read);
    } else if (dice >= 5) {
        std::string body;
        client.producing = true;
        client.produced_stream = stream;
        client.produced = history_.begin(stream, random_.between(1, 200), true, body);
        client.produced_body = body;
        ask_to_produce(client);
    } else {
        std::size_t size = random_.between(1, 300);
        if (random_.chance(1, 20)) {
            size = random_.between(2000, 12'000);
        }
        std::string body;
        client.verb = Verb::append;
        client.append = history_.begin(stream, size, false, body);
        api::AppendCall append;
        append.key = key(stream);
        append.key.name = keep(*node, stream, stream);
        append.content_type = "text/plain";
        append.has_content_type = true;
        append.body = base::as_bytes(keep(*node, stream, body));
        send(client, *node, append);
    }
}

void Cluster::ask_to_produce(Client& client) {
    const std::string& stream = client.produced_stream;
    client.stream = stream;
    Node* node = choose_node(client, group_of(stream), false);
    if (node == nullptr) {
        client.leaders[group_of(stream)] = 0;
        return;
    }
    client.verb = Verb::produce;
    client.existed = true;
    api::AppendCall append;
    append.key = key(stream);
    append.key.name = keep(*node, stream, stream);
    append.content_type = "text/plain";
    append.has_content_type = true;
    const auto number = static_cast<std::size_t>(&client - clients_.data());
    append.producer = {true, keep(*node, stream, fmt::format("p{}", number)), 0,
                       client.next_seq[stream]};
    append.body = base::as_bytes(keep(*node, stream, client.produced_body));
    send(client, *node, append);
}

void Cluster::answer(Client& client, const api::Answer& answer) {
    const std::uint32_t group = group_of(client.stream);
    const auto* refused = std::get_if<api::Refused>(&answer);
    if (client.verb == Verb::fleeting) {
        answer_fleeting(client, answer);
        done(client);
        return;
    }
    if (refused != nullptr) {
        client.leaders[group] = refused->why == api::Refusal::not_leader
                                    ? static_cast<std::size_t>(refused->numbers[0])
                                    : 0;
        const bool transient = refused->why == api::Refusal::not_leader ||
                               refused->why == api::Refusal::overloaded ||
                               refused->why == api::Refusal::outcome_unknown;
        if (!transient && (client.existed || refused->why != api::Refusal::stream_not_found)) {
            fail(fmt::format("{} is refused with {} by n{}", client.stream,
                             static_cast<int>(refused->why), client.node));
        }
    } else if (client.verb != Verb::read) {
        client.leaders[group] = client.node;
    }
    switch (client.verb) {
        case Verb::none:
        case Verb::fleeting:
            break;
        case Verb::create:
            if (std::holds_alternative<api::CreateReply>(answer)) {
                const auto at = static_cast<std::size_t>(
                    std::find(streams_.begin(), streams_.end(), client.stream) - streams_.begin());
                created_[at] = true;
            }
            break;
        case Verb::append:
        case Verb::produce:
            answer_append(client, answer);
            break;
        case Verb::read:
            answer_read(client, answer);
            break;
    }
    done(client);
}

void Cluster::answer_append(Client& client, const api::Answer& answer) {
    const bool producer = client.verb == Verb::produce;
    const std::uint64_t append = producer ? client.produced : client.append;
    const auto at = static_cast<std::size_t>(
        std::find(streams_.begin(), streams_.end(), client.stream) - streams_.begin());
    if (const auto* good = std::get_if<api::AppendReply>(&answer)) {
        if (good->kind == api::AppendReply::Kind::appended) {
            history_.acknowledged(append, good->tail);
        } else {
            history_.repeated(append);
        }
        if (producer) {
            client.producing = false;
            ++client.next_seq[client.stream];
        }
        if (proof_) {
            unproven_[at] = false;
        }
    } else if (const auto* refused = std::get_if<api::Refused>(&answer);
               refused != nullptr && refused->why != api::Refusal::outcome_unknown) {
        history_.refused(append);
    }
}

void Cluster::answer_read(const Client& client, const api::Answer& answer) {
    const auto* reply = std::get_if<api::ReadReply>(&answer);
    if (reply == nullptr) {
        return;
    }
    read_content_ = text_of(reply->pieces);
    read_next_ = reply->next;
    read_up_to_date_ = reply->up_to_date;
    history_.read(client.stream, client.floor, reply->from, reply->next, reply->up_to_date,
                  read_content_);
}

// --- streams that come and go ---

bool Cluster::fetching() const {
    for (const Node& node : nodes_) {
        for (const Part& part : node.parts) {
            if (node.up && part.shard->fetching()) {
                return true;
            }
        }
    }
    return false;
}

// Nothing of it is in the history: every node must hold the same bytes of an incarnation, and none
// may fail to read what it names. While a snapshot is fetched, they go.
void Cluster::ask_about_fleeting(Client& client) {
    const std::string stream = fmt::format("v1/f{}", random_.below(4));
    const std::uint32_t group = group_of(stream);
    const std::uint64_t dice = random_.below(fetching() ? 4 : 12);
    client.stream = stream;
    Node* node = choose_node(client, group, dice == 2);
    if (node == nullptr) {
        client.leaders[group] = 0;
        return;
    }
    if (dice == 2) {
        ask_to_read_fleeting(client, *node, stream);
        return;
    }
    client.verb = Verb::fleeting;
    if (dice < 2) {
        api::RemoveCall remove;
        remove.key = key(stream);
        remove.key.name = keep(*node, stream, stream);
        send(client, *node, remove);
    } else if (dice < 5) {
        api::CreateCall create;
        create.key = key(stream);
        create.key.name = keep(*node, stream, stream);
        create.content_type = "text/plain";
        send(client, *node, create);
    } else {
        std::string body = fmt::format("{:016x}", random_.next());
        while (body.size() < random_.between(20, 3000)) {
            body += body;
        }
        api::AppendCall append;
        append.key = key(stream);
        append.key.name = keep(*node, stream, stream);
        append.content_type = "text/plain";
        append.has_content_type = true;
        append.body = base::as_bytes(keep(*node, stream, body));
        send(client, *node, append);
    }
}

void Cluster::ask_to_read_fleeting(Client& client, Node& node, const std::string& stream) {
    client.stream = stream;
    client.verb = Verb::fleeting;
    api::ReadCall read;
    read.key = key(stream);
    read.key.name = keep(node, stream, stream);
    read.bytes_max = 1 << 20;
    send(client, node, read);
}

void Cluster::answer_fleeting(const Client& client, const api::Answer& answer) {
    if (const auto* refused = std::get_if<api::Refused>(&answer);
        refused != nullptr &&
        (refused->why == api::Refusal::read_failed || refused->why == api::Refusal::data_damaged)) {
        fail(fmt::format("n{} cannot read {}", client.node, client.stream));
    }
    const auto* read = std::get_if<api::ReadReply>(&answer);
    if (read == nullptr) {
        return;
    }
    // Reads begin at 0: the longer one begins with the shorter.
    const std::string text = text_of(read->pieces);
    std::string& known = fleeting_[{client.stream, read->incarnation}];
    const std::size_t common = std::min(text.size(), known.size());
    if (text.compare(0, common, known, 0, common) != 0) {
        fail(
            fmt::format("n{} has other bytes of {} than another node", client.node, client.stream));
    }
    if (text.size() > known.size()) {
        known = text;
    }
}

// A fetch is short: faults by the clock would rarely meet one.
void Cluster::maybe_crash_fetching(Node& node, const Part& part) {
    if (!faulty_ || !crashes_ || !snapshots_ || !part.shard->fetching() ||
        !fault_random_.chance(1, 150)) {
        return;
    }
    Node& victim = fault_random_.chance(2, 3) ? node : nodes_[fault_random_.below(nodes_.size())];
    const bool power = fault_random_.chance(1, 2);
    if (victim.up) {
        crash(victim, power);
        victim.back_at =
            now_ + base::milliseconds(static_cast<std::int64_t>(fault_random_.between(1, 800)));
    }
}

// --- oracles ---

void Cluster::check(Node& node, Part& part) {
    const auto first = static_cast<std::uint32_t>(&part - node.parts.data());
    for (std::uint32_t group = first; group < groups_; group += shards_) {
        check_group(node, *part.shard, group);
        if (report_.events % 1024 == 0) {
            check_matching(group);
        }
    }
}

void Cluster::check_group(Node& node, const shard::Shard& shard, std::uint32_t group) {
    const raft::Group& replica = shard.group(base::GroupId(group));
    const raft::IdLog& log = replica.log();
    std::vector<std::uint64_t>& terms = applied_terms_[group];
    if (replica.is_leader()) {
        const auto [known, fresh] = leaders_[group].emplace(replica.term().value, node.number);
        if (fresh) {
            ++report_.elections;
            say(fmt::format("n{} leads g{} in term {}", node.number, group, replica.term().value));
            // Applied entries of later terms say nothing: this leader may be deposed and not know.
            const auto later = std::lower_bound(terms.begin(), terms.end(), replica.term().value);
            const base::LogIndex end(static_cast<std::uint64_t>(later - terms.begin()));
            if (log.last() < end ||
                (end > log.snapshot().index && log.term_at(end).value != terms[end.value - 1])) {
                fail(fmt::format("n{} leads g{} in term {} without entry {} that was applied",
                                 node.number, group, replica.term().value, end.value));
            }
        } else if (known->second != node.number) {
            fail(fmt::format("n{} and n{} lead g{} in term {}", known->second, node.number, group,
                             replica.term().value));
        }
    }
    const base::LogIndex applied = shard.machine(base::GroupId(group)).applied().index;
    base::LogIndex& checked = node.checked[group];
    if (applied <= checked) {
        return;
    }
    // What a snapshot brought was seen where it was applied.
    checked = std::max(checked, std::min(log.snapshot().index, applied));
    if (checked.value > terms.size()) {
        fail(fmt::format("n{} g{} has a snapshot of entry {}, which nobody applied", node.number,
                         group, checked.value));
        return;
    }
    for (; checked < applied; checked = checked.next()) {
        const std::uint64_t term = log.term_at(checked.next()).value;
        if (checked.value == terms.size()) {
            terms.push_back(term);
        } else if (terms[checked.value] != term) {
            fail(fmt::format("n{} g{} applied entry {} of term {}, another node that of term {}",
                             node.number, group, checked.value + 1, term, terms[checked.value]));
        }
    }
    const std::uint64_t hash = shard.machine(base::GroupId(group)).state_hash();
    const auto [known, fresh] = state_hashes_[group].emplace(applied.value, hash);
    if (!fresh && known->second != hash) {
        fail(fmt::format("n{} g{} has another state at entry {} than another node", node.number,
                         group, applied.value));
    }
}

// Two logs with the same entry at one place are the same before it.
void Cluster::check_matching(std::uint32_t group) {
    for (std::size_t a = 0; a < nodes_.size(); ++a) {
        for (std::size_t b = a + 1; b < nodes_.size(); ++b) {
            if (!nodes_[a].up || !nodes_[b].up) {
                continue;
            }
            const raft::IdLog& one =
                nodes_[a].parts[group % shards_].shard->group(base::GroupId(group)).log();
            const raft::IdLog& other =
                nodes_[b].parts[group % shards_].shard->group(base::GroupId(group)).log();
            bool matched = false;
            const base::LogIndex first =
                std::max({one.snapshot().index, other.snapshot().index, base::LogIndex(1)});
            for (base::LogIndex at = std::min(one.last(), other.last()); at >= first;
                 at = base::LogIndex(at.value - 1)) {
                const bool same = one.term_at(at) == other.term_at(at);
                if (matched && !same) {
                    fail(fmt::format("the logs of n{} and n{} of g{} differ at {} and agree later",
                                     a + 1, b + 1, group, at.value));
                    return;
                }
                matched = matched || same;
            }
        }
    }
}

// One leader per group, and every node has applied all of its log.
bool Cluster::agreed() const {
    for (std::uint32_t group = 0; group < groups_; ++group) {
        std::size_t leaders = 0;
        base::EntryId last;
        for (const Node& node : nodes_) {
            if (!node.up) {
                return false;
            }
            const raft::Group& replica =
                node.parts[group % shards_].shard->group(base::GroupId(group));
            leaders += replica.is_leader() ? 1 : 0;
            last = std::max(last, replica.log().last_id());
        }
        if (leaders != 1) {
            return false;
        }
        for (const Node& node : nodes_) {
            const shard::Shard& shard = *node.parts[group % shards_].shard;
            if (shard.machine(base::GroupId(group)).applied() != last) {
                return false;
            }
        }
    }
    return true;
}

// With nothing to do there are beats and nothing else.
void Cluster::idle() {
    run_until(now_ + base::seconds(1));
    const std::uint64_t before = net_->sent();
    run_until(now_ + base::seconds(2));
    const std::uint64_t links = nodes_.size() * (nodes_.size() - 1) * shards_;
    const auto beats = static_cast<std::uint64_t>(2000 / base::limits::beat_interval_ms + 1);
    if (net_->sent() - before > links * beats) {
        fail(fmt::format("an idle cluster sent {} frames in 2 s over {} links",
                         net_->sent() - before, links));
    }
}

// Every stream from every node, by reads as clients do them.
void Cluster::read_all() {
    for (std::uint32_t group = 0; group < groups_; ++group) {
        check_matching(group);
    }
    for (Client& client : clients_) {
        client.at = base::Instant::never();
    }
    Client& reader = clients_.front();
    for (Node& node : nodes_) {
        for (const std::string& stream : streams_) {
            std::string content;
            const base::Instant end = now_ + healing_max;
            do {
                reader.stream = stream;
                reader.verb = Verb::read;
                reader.existed = true;
                reader.floor = history_.floor(stream);
                api::ReadCall read;
                read.key = key(stream);
                read.key.name = keep(node, stream, stream);
                read.offset = content.size();
                read.bytes_max = 1 << 20;
                read_next_ = UINT64_MAX;
                send(reader, node, read);
                reader.at = base::Instant::never();
                while (!failed() && reader.verb != Verb::none && step(end)) {
                }
                reader.at = base::Instant::never();
                if (read_next_ == UINT64_MAX && now_ < end) {
                    // Refused: it does not hear its leader yet.
                    read_up_to_date_ = false;
                    run_until(now_ + base::milliseconds(50));
                    continue;
                }
                if (reader.verb != Verb::none || read_next_ == UINT64_MAX) {
                    fail(fmt::format("a read of {} on n{} has no answer", stream, node.number));
                }
                content += read_content_;
            } while (!failed() && !read_up_to_date_);
            if (failed()) {
                return;
            }
            history_.final_content(stream, content);
        }
        for (int i = 0; i < 4 && snapshots_ && !failed(); ++i) {
            ask_to_read_fleeting(reader, node, fmt::format("v1/f{}", i));
            reader.at = base::Instant::never();
            while (!failed() && reader.verb != Verb::none && step(now_ + base::seconds(5))) {
            }
            reader.at = base::Instant::never();
        }
    }
}

}  // namespace ursula::sim
