// Loop: one core. A turn is five calls: reap, collect, advance, respond, submit (DESIGN section 3).
// Everything a loop owns is made and used on its own thread; what loops share is in Neighbours, and
// is mailboxes and latches.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "admin/facts.h"
#include "base/result.h"
#include "base/time.h"
#include "config.h"
#include "hooks/sender.h"
#include "http/front.h"
#include "io/uring_disk.h"
#include "net/buffers.h"
#include "net/ring.h"
#include "net/transport.h"
#include "ops/health.h"
#include "ops/metrics.h"
#include "peer_gate.h"
#include "peers.h"
#include "shard/mailbox.h"
#include "shard/shard.h"
#include "socket_hand_over.h"
#include "storage/memory_disk.h"
#include "visits.h"

namespace ursula {

// What the loops of a node see of each other. Made before them, outlives them.
struct Neighbours {
    Neighbours(std::uint32_t shards, std::uint64_t memory_bytes, std::uint64_t connections_max);

    shard::Mailbox& mail(std::uint32_t from, std::uint32_t to) {
        return *mail_[from * shards + to];
    }

    const std::uint32_t shards;
    std::unique_ptr<shard::SleepLatch[]> latches;
    std::unique_ptr<std::atomic<int>[]> doorbells;  // Ring::doorbell_fd; -1 until the loop runs
    std::unique_ptr<std::atomic<int>[]> foreign_doorbells;  // for threads without a ring
    std::unique_ptr<ops::ShardMetrics[]> metrics;
    std::atomic<std::uint32_t> started{0};     // loops that recovered (or failed to)
    std::atomic<std::uint32_t> ready{0};       // loops whose groups lead
    std::atomic<bool> accepting{false};        // listeners are used
    std::atomic<bool> node_ready{false};       // every loop was ready once
    std::atomic<bool> draining{false};         // stop accepting, finish what was accepted
    std::atomic<bool> stopping{false};         // leave at once
    std::atomic<std::uint32_t> drained{0};     // loops whose clients are all answered
    std::atomic<std::uint32_t> full_disks{0};  // shards that have no room to log
    base::Capacity memory;                     // of a node without a data directory
    base::Capacity connections;
    std::unique_ptr<SocketHandOver[]> peer_sockets;  // by the loop they are for
    std::atomic<std::uint64_t> served{0};            // with --stop-after
    // The newest configuration; each is kept until the node ends. A loop takes over what may
    // change while it runs.
    std::atomic<const Config*> config{nullptr};

  private:
    std::vector<std::unique_ptr<shard::Mailbox>> mail_;
};

// Set by the node before the threads start.
struct LoopOptions {
    base::ShardId shard;
    int cpu = -1;  // to pin to; -1: left to the kernel
    shard::ShardOptions shard_options;
    http::EdgeOptions edge;
    std::vector<int> listeners;
    int admin_listener = -1;  // of one loop; -1: none here
    const admin::ClusterView* cluster = nullptr;
    const hooks::SenderCounters* webhooks = nullptr;  // of one loop, which publishes them
    int directory = -1;                               // the shard's; -1: in memory
    io::DiskProfile disk_profile;
    std::uint64_t stop_after = 0;  // requests of the whole node; 0: until told
    base::WallTime started_at;
    int data_directory = -1;  // for its free space; -1: in memory

    // Of a node that is one of several.
    PeersOptions peers;         // no cluster: alone
    net::TlsFiles tls;          // empty: peers prove nothing
    int cluster_listener = -1;  // of the one loop that accepts for all
    Standing standing;          // what that loop answers to other nodes' control connections
    std::string cluster_name;   // as the configuration has it
};

class Loop final : public http::CallSink, public http::NodePages {
  public:
    Loop(const LoopOptions& options, Neighbours& neighbours);
    ~Loop();

    // The thread: recovery, then turns until the node stops. An error is the process's last line;
    // errno_value 0 together with refused() means the data directory is refused (exit 3).
    base::Result<void> run();
    bool refused() const { return refused_; }

  private:
    base::Result<void> start();
    base::Result<void> turn();
    base::Result<void> shut_down();
    void reap();
    void collect();
    void advance();
    void respond();
    base::Result<void> submit();

    bool send(base::ShardId to, const api::Call& call) override;
    bool live(std::string& text) override;
    bool ready(std::string& text) override;
    std::string health() override;
    std::string metrics() override;
    admin::NodeFacts admin_facts() override;
    void visit(api::CallId id, const admin::Visit& visit) override;

    ops::HealthInput look() const;
    void route(api::Reply& reply);
    void route_internal(const api::Call& call);
    void send_unsent();
    void keep_unsent(std::uint32_t to, api::Reply& reply);
    void follow_node();
    void follow_members();
    void collect_peers();
    void answer_guests();
    bool has_peers() const { return peers_ != nullptr; }
    bool may_count_ready() const;
    void take_over(const Config& config);
    void publish();
    void log_events();
    void log_refused_connections();
    base::Instant deadline() const;
    bool finished();

    const LoopOptions options_;
    const Config* config_ = nullptr;  // taken over so far
    http::EdgeOptions edge_;  // what the front looks at; changes with configuration and members
    std::uint64_t others_seen_ = 0;  // Shard::others_version
    Neighbours& neighbours_;
    const std::uint32_t self_;
    bool refused_ = false;

    base::Capacity admin_connections_{base::limits::admin_connections_max};
    std::unique_ptr<net::Ring> ring_;
    std::unique_ptr<net::ReceiveBuffers> buffers_;
    std::unique_ptr<net::Transport> transport_;
    std::unique_ptr<storage::Disk> disk_;
    io::UringDisk* uring_disk_ = nullptr;   // disk_, when there is a data directory
    std::unique_ptr<net::TlsContext> tls_;  // null: peers prove nothing
    std::unique_ptr<Peers> peers_;          // null: alone
    std::unique_ptr<PeerGate> gate_;        // on the loop with the cluster listener
    std::unique_ptr<Visits> visits_;        // there as well
    std::vector<Visits::Done> visited_;     // to be answered this turn
    std::vector<net::PeerDoor::Arrival> arrivals_;
    std::unique_ptr<shard::Shard> shard_;
    std::unique_ptr<http::Front> front_;

    base::Now now_;
    std::vector<api::Call> calls_;  // for this shard, this turn
    std::vector<api::Reply> replies_;
    std::vector<api::Call> internal_calls_;
    std::vector<std::deque<api::Reply>> unsent_;  // by loop: replies its mailbox had no room for
    std::vector<bool> rang_;                      // by loop: mail was pushed this turn
    bool counted_ready_ = false;
    bool listening_ = false;
    bool draining_ = false;
    bool counted_drained_ = false;
    base::Instant drain_end_;
    base::Instant hand_over_end_;
    base::Instant published_;
    std::uint64_t doorbells_ = 0;
    base::Instant guest_log_due_{};
    base::Instant refused_log_due_{};
    std::uint64_t refused_logged_ = 0;  // logged so far, as those below
    std::uint64_t accept_errors_logged_ = 0;
    base::Instant snapshot_log_due_{};
    std::uint64_t snapshots_unlogged_ = 0;
    std::string newest_snapshot_;
    std::uint64_t segments_made_ = 0;
    std::uint64_t segments_recycled_ = 0;
    std::uint64_t counted_served_ = 0;
    std::vector<shard::ShardEvent> events_;
    base::Instant stranger_log_due_ = base::Instant::never();  // groups name other storage for it
    std::string stranger_text_;                                // of one of them
};

}  // namespace ursula
