// Starts and ends of nodes.
#include <fmt/format.h>

#include <algorithm>

#include "sim/cluster.h"

namespace ursula::sim {

shard::ShardOptions Cluster::options_of(const Node& node, std::size_t part) const {
    shard::ShardOptions options;
    options.id = base::ShardId(static_cast<std::uint32_t>(part));
    options.shards = static_cast<std::uint32_t>(node.parts.size());
    options.groups = groups_;
    options.node = base::NodeId(static_cast<std::uint32_t>(node.number));
    options.table_key = table_key;
    options.hot_bytes = swarm_.tiny ? 8 << 10 : 32 << 10;
    if (swarm_.snapshots) {
        options.snapshot_log_bytes = 96 << 10;
        options.log_kept_bytes = 64 << 10;
        options.fetch_piece_bytes = swarm_.tiny ? 700 : 3000;
        options.fetch_window_bytes = swarm_.tiny ? 2000 : 20'000;
    }
    options.salt = (node.generation * 64 + node.number) * 16 + part + 1;
    options.segment_bytes = 64 << 10;
    options.wal_batch_bytes_max = swarm_.tiny ? 8 << 10 : 16 << 10;
    options.wal_piece_bytes_max = swarm_.tiny ? 1500 : 4 << 10;
    options.frame_part_bytes = swarm_.tiny ? 1500 : 4 << 10;
    options.cluster = 0xc1;
    options.stranger_link_ms = 3000;  // lives are short; no frame is held back for so long
    options.incarnation = incarnation_of(node);
    for (const Node& member : nodes_) {
        if (node.founder && node.generation == 0 && member.founder) {
            shard::MemberInfo info = info_of(member);
            info.incarnation = member.number;
            options.founders.push_back(std::move(info));
        }
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
            say(fmt::format("n{} refuses to start: {}", node.number, started.error().message));
            if (!node.rotten) {
                fail(fmt::format("n{} refuses to start: {}", node.number, started.error().message));
            }
            lose(node);
            return;
        }
        plan(node, part);
        check_start(node, i);
    }
}

void Cluster::crash(Node& node, bool power) {
    say(fmt::format("n{} {}", node.number, power ? "loses power" : "is killed"));
    ++report_.crashes;
    remember(node);
    net_->detach(node.number);
    for (Part& part : node.parts) {
        count(*part.shard);
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
            give_up(client);
        }
    }
    // A process that dies closes its connections; a machine does not.
    for (Node& other : nodes_) {
        for (std::size_t to = 0; !power && other.up && to < other.parts.size(); ++to) {
            for (std::size_t from = 0; from < node.parts.size(); ++from) {
                const shard::PeerShard gone{base::NodeId(static_cast<std::uint32_t>(node.number)),
                                            base::ShardId(static_cast<std::uint32_t>(from))};
                other.parts[to].port->tell({gone, false});
            }
        }
    }
}

// What it goes down with.
void Cluster::remember(Node& node) {
    for (std::uint32_t group = 0; group < groups_; ++group) {
        check_matching(group);
        Seen& seen = node.seen[group];
        seen.log = replica_of(node, group).log();
        seen.promised = replica_of(node, group).hard_state_persisted();
    }
}

void Cluster::count(const shard::Shard& shard) {
    const shard::ShardCounters& counters = shard.counters();
    report_.fetches += counters.log_fetches;
    report_.forwards += counters.forwards_taken;
    report_.forwards_again += counters.forwards_again;
    report_.snapshots += counters.snapshots;
    report_.installed += counters.snapshots_installed;
    report_.given_up += counters.fetches_given_up;
    report_.fetched_bytes += counters.fetched_bytes;
    report_.kept_bytes += counters.fetch_bytes_kept;
    report_.gone += counters.fetch_streams_gone;
    report_.sources += counters.fetch_sources_changed;
    report_.entries_lost += counters.entries_lost;
}

// For good: nobody may count it until a change of the membership brings it back, so it does not
// come back (R11; a server's formation refuses an empty directory of an old id).
void Cluster::lose(Node& node) {
    say(fmt::format("n{} is lost", node.number));
    ++report_.lost_nodes;
    node.lost = true;
    node.up = false;
    node.back_at = base::Instant::never();
    net_->detach(node.number);
    for (Part& part : node.parts) {
        if (part.shard != nullptr) {
            count(*part.shard);
        }
        part.shard.reset();
        part.disk.reset();
        part.sim.reset();
        part.port.reset();
        part.image = {};
        part.calls.clear();
        part.kept.clear();
    }
}

}  // namespace ursula::sim
