// What the HTTP layer needs from the loop around it, and what it is told once.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "api/call.h"
#include "base/capacity.h"
#include "base/limits.h"
#include "base/metric.h"
#include "base/siphash.h"
#include "base/time.h"

namespace ursula::admin {
struct NodeFacts;
struct Visit;
}  // namespace ursula::admin

namespace ursula::net {
struct WebhookRules;
}

namespace ursula::http {

// Where clients reach another node.
struct ClientUrl {
    base::NodeId node;
    std::string url;  // "http://10.0.0.2:4437", without a slash at its end
};

struct EdgeOptions {
    base::ShardId shard;  // of this loop
    std::uint32_t shards = 1;
    std::uint32_t groups = 1;
    base::HashKey table_key;        // the process's: api::StreamKey::hash
    std::uint64_t random_seed = 0;  // cursors, lifetimes, request ids
    // Of the data: the cluster's, the directory's, or of a node without one this start's. In every
    // ETag, since other data has the same incarnations.
    std::uint64_t data_id = 0;
    std::vector<std::string> cors_origins = {"*"};
    bool auto_create_buckets = false;
    std::string public_url;  // without a slash at its end; empty: by the Host of each request
    const net::WebhookRules* webhooks = nullptr;  // null: no subscriptions with webhooks
    std::uint64_t max_body = 0;
    std::uint64_t bodies_in_flight_bytes_max = 0;  // of this loop
    const base::Capacity* connections = nullptr;   // of the node; null: no bound
    std::uint64_t read_chunk_bytes = 0;
    std::uint64_t read_held_bytes_max = base::limits::read_held_bytes_max;  // of this loop
    std::uint64_t tails_max = base::limits::tails_per_core_max;  // live readers of this loop
    std::uint64_t tail_private_bytes_max = base::limits::tail_private_bytes_max;
    std::uint64_t tail_turn_bytes_max = base::limits::tail_turn_bytes_max;
    // For "Prefer: redirect": of all other members, of one node the newest first, or empty as long
    // as one is not known. Follows the groups' memberships between turns.
    std::vector<ClientUrl> client_urls;
    base::Duration long_poll_timeout;
    base::Duration sse_heartbeat;
    base::Duration sse_lifetime;
    // Of the loop's metrics; may be null (tests).
    base::Histogram* request_duration = nullptr;
    base::Histogram* append_duration = nullptr;
};

// Where calls go. The loop hands each to its own shard in this turn, or to another's mailbox.
class CallSink {
  public:
    // False: that shard's mailbox is full; the request is refused with 503 and nothing of it was
    // taken.
    [[nodiscard]] virtual bool send(base::ShardId to, const api::Call& call) = 0;

  protected:
    ~CallSink() = default;
};

// Pages about the node itself.
class NodePages {
  public:
    // Their JSON bodies go to `text`; false: the answer is no, 503.
    virtual bool live(std::string& text) = 0;
    virtual bool ready(std::string& text) = 0;
    virtual std::string health() = 0;   // JSON
    virtual std::string metrics() = 0;  // Prometheus text
    virtual admin::NodeFacts admin_facts() = 0;
    // Goes to another node; Front::on_visit has the outcome, in a later turn.
    virtual void visit(api::CallId id, const admin::Visit& visit) = 0;

  protected:
    ~NodePages() = default;
};

// Counted by this loop alone; the loop copies them into its metrics.
struct EdgeCounters {
    std::uint64_t responses[7][6] = {};  // by net::Method and status / 100
    std::uint64_t foreign_calls = 0;
    std::uint64_t mailbox_full = 0;
    std::uint64_t long_polls = 0;         // gauge
    std::uint64_t sse_readers = 0;        // gauge
    std::uint64_t sse_slow = 0;           // pauses of a reader at its bound
    std::uint64_t sse_private_bytes = 0;  // gauge: of tail_private_bytes_max in use
    std::uint64_t sse_held = 0;           // times a reader had to wait for them
    std::uint64_t sse_ended_lifetime = 0;
    std::uint64_t sse_ended_closed = 0;
    std::uint64_t sse_ended_removed = 0;
    std::uint64_t sse_ended_lost = 0;  // no leader of the stream's group was heard of
    std::uint64_t sse_ended_client = 0;
    std::uint64_t sse_ended_shutdown = 0;
    std::uint64_t bodies_refused = 0;
    std::uint64_t bodies_too_slow = 0;
    std::uint64_t reads_refused = 0;
    std::uint64_t sse_events = 0;  // encoded, not delivered
};

}  // namespace ursula::http
