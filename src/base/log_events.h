// The catalogue of what the server logs: name, level, what it means and, where there is something
// to do, what. base/log.h takes an Event, so a line that is not in this list cannot be logged.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace ursula::base {

enum class Level : std::uint8_t { debug, info, warning, error };

// event, name, level, meaning
#define URSULA_LOG_EVENTS(EVENT)                                                                   \
    EVENT(server_starting, "server.starting", info,                                                \
          "The process began with this version, listen address, data directory and mode.")         \
    EVENT(server_stopping, "server.stopping", info,                                                \
          "A signal asked for the end; what was accepted is being finished.")                      \
    EVENT(server_stopped, "server.stopped", info, "Everything is closed; the process exits.")      \
    EVENT(config_reloaded, "config.reloaded", info,                                                \
          "SIGHUP: the configuration was read again and is in effect.")                            \
    EVENT(config_refused, "config.refused", warning,                                               \
          "SIGHUP: the new configuration has errors or needs a restart; the old one stays.")       \
    EVENT(request_refused, "request.refused", info,                                                \
          "A request got a 4xx answer with this request_id; of many, some are logged.")            \
    EVENT(request_failed, "request.failed", warning,                                               \
          "A request got a 5xx answer with this request_id; of many, some are logged.")            \
    EVENT(admin_unavailable, "admin.unavailable", warning,                                         \
          "No place for the admin socket could be had; ursulactl --server still reads.")           \
    EVENT(shards_share_cpus, "shards.share_cpus", warning,                                         \
          "There are more shards than usable CPUs; some share one.")                               \
    EVENT(ring_ready, "ring.ready", info,                                                          \
          "io_uring is set up; a feature the kernel lacks has its fallback.")                      \
    EVENT(disk_probed, "disk.probed", info,                                                        \
          "How the log is written: direct I/O with one synchronous write, or write and sync.")     \
    EVENT(disk_volatile, "disk.volatile", warning,                                                 \
          "The data directory is memory-backed and does not survive power loss.")                  \
    EVENT(storage_full, "storage.full", warning,                                                   \
          "Free space fell below storage.reserve; appends get 507 until there is room.")           \
    EVENT(storage_ok, "storage.ok", info, "There is room again; appends are taken.")               \
    EVENT(wal_recovered, "wal.recovered", info, "A shard read its snapshot and log and is ready.") \
    EVENT(wal_tail_discarded, "wal.tail_discarded", warning,                                       \
          "A write that the last stop left unfinished, and nobody was told of, was dropped.")      \
    EVENT(segment_created, "segment.created", info, "A log file was allocated and zeroed.")        \
    EVENT(segment_recycled, "segment.recycled", info,                                              \
          "A snapshot covers a log file; it is free for new records or removed.")                  \
    EVENT(snapshot_written, "snapshot.written", info,                                              \
          "A group's image is durable and was read back.")                                         \
    EVENT(snapshot_failed, "snapshot.failed", warning,                                             \
          "A group's image could not be written; it is tried again in a second.")                  \
    EVENT(snapshot_installed, "snapshot.installed", info,                                          \
          "A group was behind what other nodes' logs still hold and took over a snapshot.")        \
    EVENT(follower_reverted, "follower.reverted", error,                                           \
          "A node lost entries that it had acknowledged; remove it and add it again.")             \
    EVENT(data_damaged, "data.damaged", error,                                                     \
          "Stored bytes failed their checksum and were not served; check the disk.")               \
    EVENT(member_is_stranger, "member.is_stranger", error,                                         \
          "This node's storage is not that of the member of its id; remove it and add it again.")  \
    EVENT(member_unheard, "member.unheard", warning,                                               \
          "A node speaks with other storage than the member of its id; that is not counted.")      \
    EVENT(wake_not_announced, "subscription.wake_stream", warning,                                 \
          "A pull-wake subscription's wake stream is missing, closed or not JSON; claims work.")   \
    EVENT(turn_slow, "turn.slow", warning,                                                         \
          "One turn of a core took long enough for clients to notice.")                            \
    EVENT(connections_limit, "connections.limit", warning,                                         \
          "server.max_connections is reached; new connections get 503 and are closed.")            \
    EVENT(accept_failed, "accept.failed", warning,                                                 \
          "The kernel did not hand over a new connection; accepting goes on.")                     \
    EVENT(cluster_forming, "cluster.forming", info,                                                \
          "All initial members are there with empty directories; they take an identity.")          \
    EVENT(cluster_formed, "cluster.formed", info,                                                  \
          "The cluster has its identity, which the data directory keeps; groups may vote.")        \
    EVENT(cluster_joined, "cluster.joined", info,                                                  \
          "A member took this node into its cluster; it serves once its groups name it.")          \
    EVENT(cluster_waits, "cluster.waits", warning,                                                 \
          "The node belongs to no cluster yet and serves nobody: the line says what is missing.")  \
    EVENT(cluster_tls, "cluster.tls", info,                                                        \
          "Peers prove who they are with TLS certificates; this node's is good for so many days.") \
    EVENT(cluster_tls_ends, "cluster.tls_ends", warning,                                           \
          "This node's certificate ends soon, or has ended: peers refuse it then; renew it.")      \
    EVENT(cluster_plain, "cluster.plain", warning,                                                 \
          "Peers are reached without TLS: whoever reaches the cluster listener can be one.")       \
    EVENT(peer_up, "peer.up", info, "The connection to a shard of another node is there.")         \
    EVENT(peer_down, "peer.down", warning,                                                         \
          "The connection to a shard of another node ended or cannot be made; it is tried again.") \
    EVENT(peer_refused, "peer.refused", warning,                                                   \
          "A node may not be a peer, or refuses this one as such: the line says why.")

enum class Event : std::uint8_t {
#define URSULA_EVENT(event, name, level, meaning) event,
    URSULA_LOG_EVENTS(URSULA_EVENT)
#undef URSULA_EVENT
};

struct EventInfo {
    std::string_view name;
    Level level;
    std::string_view meaning;
};

constexpr std::array event_catalogue = {
#define URSULA_EVENT(event, name, level, meaning) EventInfo{name, Level::level, meaning},
    URSULA_LOG_EVENTS(URSULA_EVENT)
#undef URSULA_EVENT
};

constexpr const EventInfo& info_of(Event event) {
    return event_catalogue[static_cast<std::size_t>(event)];
}

}  // namespace ursula::base
