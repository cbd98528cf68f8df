// What a shard counts, and the text of /metrics (Prometheus exposition format 0.0.4). Names follow
// promtool: base units, _total on counters, HELP and TYPE on each. No label ever carries a stream,
// path, client or other text of a user.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/metric.h"
#include "base/time.h"

namespace ursula::ops {

// One row per series of a shard. FAMILY(type, name, help) begins a metric; SERIES(field, labels)
// is a base::Metric of ShardMetrics; SECONDS is the same, kept in nanoseconds and shown in seconds;
// HISTOGRAM(field, name, help) is a base::Histogram. The order here is the order of the text.
#define URSULA_SHARD_METRICS(FAMILY, SERIES, SECONDS, HISTOGRAM)                              \
    HISTOGRAM(http_request_duration, "ursula_http_request_duration_seconds",                  \
              "From the last byte of a request to its answer; live reads are not counted.")   \
    HISTOGRAM(append_commit_duration, "ursula_append_commit_duration_seconds",                \
              "From an append reaching its shard to its commit.")                             \
    FAMILY("counter", "ursula_appended_bytes_total", "Payload bytes of committed appends.")   \
    SERIES(appended_bytes, "")                                                                \
    FAMILY("gauge", "ursula_streams", "Streams that exist.")                                  \
    SERIES(streams, "")                                                                       \
    FAMILY("gauge", "ursula_connections", "Open client connections.")                         \
    SERIES(connections, "")                                                                   \
    FAMILY("gauge", "ursula_live_readers", "Readers that wait at the tail of a stream.")      \
    SERIES(live_readers_long_poll, "mode=\"long_poll\"")                                      \
    SERIES(live_readers_sse, "mode=\"sse\"")                                                  \
    FAMILY("counter", "ursula_sse_disconnects_total", "Ended SSE tails by reason.")           \
    SERIES(sse_disconnects_lifetime, "reason=\"lifetime\"")                                   \
    SERIES(sse_disconnects_stream_closed, "reason=\"stream_closed\"")                         \
    SERIES(sse_disconnects_stream_deleted, "reason=\"stream_deleted\"")                       \
    SERIES(sse_disconnects_no_leader, "reason=\"no_leader\"")                                 \
    SERIES(sse_disconnects_client, "reason=\"client\"")                                       \
    SERIES(sse_disconnects_send_stalled, "reason=\"send_stalled\"")                           \
    SERIES(sse_disconnects_shutdown, "reason=\"shutdown\"")                                   \
    FAMILY("gauge", "ursula_raft_groups", "Groups of this node by its role in them.")         \
    SERIES(raft_groups_leader, "role=\"leader\"")                                             \
    SERIES(raft_groups_follower, "role=\"follower\"")                                         \
    SERIES(raft_groups_candidate, "role=\"candidate\"")                                       \
    FAMILY("gauge", "ursula_raft_leaderless_groups",                                          \
           "Groups of this node for which it knows no leader.")                               \
    SERIES(raft_leaderless_groups, "")                                                        \
    FAMILY("counter", "ursula_raft_elections_total", "Elections won.")                        \
    SERIES(raft_elections, "")                                                                \
    FAMILY("counter", "ursula_forwards_total",                                                \
           "Writes passed on to the node that leads, and those taken from others.")           \
    SERIES(forwards_sent, "direction=\"sent\"")                                               \
    SERIES(forwards_taken, "direction=\"taken\"")                                             \
    FAMILY("counter", "ursula_forwards_failed_total",                                         \
           "Writes for which no leader was found, or whose outcome is unknown.")              \
    SERIES(forwards_failed, "")                                                               \
    FAMILY("counter", "ursula_raft_hand_overs_total",                                         \
           "Times this node tried to hand the lead of a group to another one.")               \
    SERIES(raft_hand_overs, "")                                                               \
    FAMILY("gauge", "ursula_peer_links",                                                      \
           "Connections to shards of other nodes, and those that are missing.")               \
    SERIES(peer_links_up, "state=\"up\"")                                                     \
    SERIES(peer_links_down, "state=\"down\"")                                                 \
    FAMILY("counter", "ursula_peer_frames_total", "Frames to and from other nodes.")          \
    SERIES(peer_frames_sent, "direction=\"sent\"")                                            \
    SERIES(peer_frames_received, "direction=\"received\"")                                    \
    FAMILY("counter", "ursula_peer_bytes_total", "Bytes of these frames.")                    \
    SERIES(peer_bytes_sent, "direction=\"sent\"")                                             \
    SERIES(peer_bytes_received, "direction=\"received\"")                                     \
    FAMILY("counter", "ursula_peer_frames_refused_total",                                     \
           "Received frames that were damaged, or of another cluster or life.")               \
    SERIES(peer_frames_refused, "")                                                           \
    HISTOGRAM(wal_sync_duration, "ursula_wal_sync_duration_seconds",                          \
              "From the start of a log write to its being durable.")                          \
    FAMILY("gauge", "ursula_storage_bytes", "Bytes held, by where.")                          \
    SERIES(storage_memory_bytes, "tier=\"memory\"")                                           \
    SERIES(storage_disk_bytes, "tier=\"disk\"")                                               \
    FAMILY("counter", "ursula_storage_damaged_reads_total",                                   \
           "Reads of stored bytes that failed, or gave other bytes than were written.")       \
    SERIES(storage_damaged_reads, "")                                                         \
    FAMILY("counter", "ursula_admission_rejects_total", "Requests refused for want of room.") \
    SERIES(admission_rejects_disk_full, "reason=\"disk_full\"")                               \
    SERIES(admission_rejects_memory_full, "reason=\"memory_full\"")                           \
    SERIES(admission_rejects_overload, "reason=\"overload\"")                                 \
    SERIES(admission_rejects_bodies, "reason=\"bodies_in_flight\"")                           \
    SERIES(admission_rejects_slow_bodies, "reason=\"body_too_slow\"")                         \
    SERIES(admission_rejects_reads, "reason=\"reads_not_taken\"")                             \
    FAMILY("counter", "ursula_core_stall_seconds_total",                                      \
           "Time by which turns of a core were longer than a client should notice.")          \
    SECONDS(core_stall, "")                                                                   \
    FAMILY("counter", "ursula_turns_total", "Turns of the loops.")                            \
    SERIES(turns, "")                                                                         \
    FAMILY("counter", "ursula_doorbells_total", "Times a core was woken by another.")         \
    SERIES(doorbells, "")                                                                     \
    FAMILY("counter", "ursula_foreign_calls_total",                                           \
           "Calls that arrived on one core and belonged to another.")                         \
    SERIES(foreign_calls, "")                                                                 \
    HISTOGRAM(webhook_duration, "ursula_webhook_duration_seconds",                            \
              "From a delivery being due to the end of its receiver's answer.")               \
    FAMILY("counter", "ursula_webhook_deliveries_total", "Webhook requests that ended.")      \
    SERIES(webhook_deliveries, "")                                                            \
    FAMILY("counter", "ursula_webhook_failures_total",                                        \
           "Webhook requests that no 2xx answered; they are tried again.")                    \
    SERIES(webhook_failures, "")                                                              \
    FAMILY("counter", "ursula_webhook_refused_connections_total",                             \
           "Webhook requests that would have gone to an address that is not allowed.")        \
    SERIES(webhook_refused_connections, "")

// In the order of net::Method, which src/loop.cc sees to.
enum class HttpMethod : std::uint8_t { get, head, put, post, del, options, other };
constexpr std::array<std::string_view, 7> http_method_names = {"GET",    "HEAD",    "PUT",  "POST",
                                                               "DELETE", "OPTIONS", "other"};
constexpr std::size_t http_classes = 4;  // 2xx .. 5xx

// All that one shard counts. Owned and written by its loop alone; the loop that answers a scrape
// reads those of every shard. Lives as long as the loops. On cache lines of its own.
struct alignas(64) ShardMetrics {
#define URSULA_NOTHING(...)
#define URSULA_FIELD(field, ...) base::Metric field;
#define URSULA_HISTOGRAM(field, ...) base::Histogram field;
    URSULA_SHARD_METRICS(URSULA_NOTHING, URSULA_FIELD, URSULA_FIELD, URSULA_HISTOGRAM)
#undef URSULA_NOTHING
#undef URSULA_FIELD
#undef URSULA_HISTOGRAM

    std::array<std::array<base::Metric, http_classes>, http_method_names.size()> http_requests;
    // When the loop last began a turn, for liveness; not in the text.
    base::Metric last_turn_ns;
    // 1: a leader told this node lately that no group names it; not in the text.
    base::Metric dismissed;

    // `status` is what was sent: 200 .. 599; interim 1xx answers are not counted.
    void count_request(HttpMethod method, int status) {
        const auto row = static_cast<std::size_t>(method);
        const auto column = static_cast<std::size_t>(status / 100 - 2);
        if (column < http_classes) {
            http_requests[row][column].add();
        }
    }
};

// What is known once per process, gathered for each scrape.
struct NodeMetrics {
    std::string_view version;
    bool has_storage_free_bytes = false;  // false in memory
    std::uint64_t storage_free_bytes = 0;
    double start_time_seconds = 0;  // since the Unix epoch
    double cpu_seconds = 0;
    std::uint64_t resident_bytes = 0;
    std::uint64_t virtual_bytes = 0;
    std::uint64_t open_fds = 0;
    std::uint64_t max_fds = 0;
};

// Fills the process's own part from the kernel: a handful of system calls, no walk over descriptors
// where the kernel counts them. What cannot be read stays 0.
void read_process_metrics(NodeMetrics& node);

// Appends the whole text to `out`. Counts of the shards are added up.
void write_metrics(std::string& out, const NodeMetrics& node,
                   std::span<const ShardMetrics* const> shards);

constexpr std::string_view metrics_content_type = "text/plain; version=0.0.4; charset=utf-8";

}  // namespace ursula::ops
