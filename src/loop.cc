#include "loop.h"

#include <pthread.h>
#include <sched.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>

#include "api/placement.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/test_clock.h"
#include "formation.h"
#include "net/http_message.h"
#include "shard/call_wire.h"
#include "shard/mail_codec.h"

namespace ursula {

namespace limits = base::limits;

namespace {

constexpr base::Duration publish_every = base::milliseconds(100);
constexpr base::Duration refused_log_pause = base::seconds(10);
constexpr base::Duration snapshot_log_pause = base::seconds(1);
constexpr base::Duration guest_log_pause = base::seconds(1);
constexpr base::Duration stranger_log_pause = base::seconds(5);
constexpr base::Duration slow_turn = base::milliseconds(50);
constexpr base::Duration wait_max = base::seconds(1);  // every wait is finite
constexpr base::Duration shut_down_max = base::seconds(2);
// How long a node that ends waits for others to take over what it leads.
constexpr base::Duration hand_over_max = base::milliseconds(700);

base::Now read_clocks() {
    timespec mono{};
    timespec wall{};
    clock_gettime(CLOCK_MONOTONIC, &mono);
    clock_gettime(CLOCK_REALTIME, &wall);
    return base::moved({base::Instant{mono.tv_sec * 1'000'000'000 + mono.tv_nsec},
                        base::WallTime{wall.tv_sec * 1000 + wall.tv_nsec / 1'000'000}});
}

}  // namespace

Neighbours::Neighbours(std::uint32_t count, std::uint64_t memory_bytes,
                       std::uint64_t connections_max)
    : shards(count),
      latches(std::make_unique<shard::SleepLatch[]>(count)),
      doorbells(std::make_unique<std::atomic<int>[]>(count)),
      foreign_doorbells(std::make_unique<std::atomic<int>[]>(count)),
      metrics(std::make_unique<ops::ShardMetrics[]>(count)),
      memory(memory_bytes),
      connections(connections_max),
      peer_sockets(std::make_unique<SocketHandOver[]>(count)) {
    for (std::uint32_t i = 0; i < count; ++i) {
        doorbells[i] = -1;
        foreign_doorbells[i] = -1;
    }
    for (std::uint32_t i = 0; i < count * count; ++i) {
        mail_.push_back(std::make_unique<shard::Mailbox>());
    }
}

Loop::Loop(const LoopOptions& options, Neighbours& neighbours)
    : options_(options),
      edge_(options.edge),
      neighbours_(neighbours),
      self_(options.shard.value),
      unsent_(neighbours.shards),
      rang_(neighbours.shards) {}

Loop::~Loop() = default;

base::Result<void> Loop::run() {
    if (auto started = start(); !started) {
        neighbours_.stopping = true;
        ++neighbours_.started;
        return started;
    }
    ++neighbours_.started;
    while (!neighbours_.stopping.load(std::memory_order_relaxed) && !finished()) {
        TRY(turn());
    }
    if (const std::string_view failure = shard_->failure(); !failure.empty()) {
        return base::fail(std::string(failure), EIO);
    }
    return shut_down();
}

// Connections close and the log finishes what was handed to it, so that nothing is in flight when
// the parts go away.
base::Result<void> Loop::shut_down() {
    front_.reset();
    const base::Instant end = now_.mono + shut_down_max;
    while (now_.mono < end) {
        now_ = read_clocks();
        ring_->reap();
        transport_->begin_turn(now_.mono);
        transport_->abort_all();
        if (has_peers()) {
            collect_peers();
            peers_->close();
            if (gate_ != nullptr) {
                gate_->close();
                visits_->close();
            }
        }
        shard_->advance({}, now_, replies_, internal_calls_);
        replies_.clear();
        internal_calls_.clear();
        transport_->flush();
        if (has_peers()) {
            peers_->flush();
        }
        const bool idle = (uring_disk_ == nullptr || uring_disk_->in_flight() == 0) &&
                          (!has_peers() || peers_->idle()) &&
                          (gate_ == nullptr || (gate_->idle() && visits_->idle()));
        if (transport_->open_connections() == 0 && idle) {
            break;
        }
        TRY(ring_->submit_and_wait(base::milliseconds(10)));
    }
    return {};
}

base::Result<void> Loop::start() {
    if (options_.cpu >= 0) {
        cpu_set_t cpus;
        CPU_ZERO(&cpus);
        CPU_SET(static_cast<unsigned>(options_.cpu), &cpus);
        pthread_setaffinity_np(pthread_self(), sizeof cpus,
                               &cpus);  // a hint: serving works wherever the thread runs
    }
    auto ring = net::Ring::open();
    if (!ring) {
        return tl::unexpected(std::move(ring.error()));
    }
    ring_ = std::move(*ring);
    if (self_ == 0) {
        base::log(base::Event::ring_ready, {{"setup_flags", ring_->setup_flags()}});
    }
    auto buffers = net::ReceiveBuffers::open(*ring_);
    if (!buffers) {
        return tl::unexpected(std::move(buffers.error()));
    }
    buffers_ = std::move(*buffers);
    now_ = read_clocks();
    published_ = now_.mono;
    if (options_.directory < 0) {
        disk_ = std::make_unique<storage::MemoryDisk>();
    } else {
        auto disk = std::make_unique<io::UringDisk>(options_.directory, options_.disk_profile);
        disk->attach(*ring_);
        uring_disk_ = disk.get();
        disk_ = std::move(disk);
    }
    shard::ShardOptions below = options_.shard_options;
    if (!options_.tls.key.empty()) {
        auto tls = net::TlsContext::make(options_.tls);
        if (!tls) {
            return tl::unexpected(std::move(tls.error()));
        }
        tls_ = std::move(*tls);
    }
    if (options_.peers.cluster != 0) {
        peers_ = std::make_unique<Peers>(options_.peers, *ring_, tls_.get(), now_.mono);
        below.peer_net = peers_.get();
    }
    if (options_.cluster_listener >= 0) {
        gate_ = std::make_unique<PeerGate>(*ring_, options_.cluster_listener, tls_.get());
        visits_ =
            std::make_unique<Visits>(options_.standing, options_.cluster_name, *ring_, tls_.get());
    }
    shard_ = std::make_unique<shard::Shard>(below, *disk_);
    auto boot = shard_->start(now_);
    if (!boot) {
        refused_ = boot.error().errno_value == 0;
        if (options_.directory >= 0) {
            boot.error().message = "shard " + std::to_string(self_) + ": " + boot.error().message;
        }
        return tl::unexpected(std::move(boot.error()));
    }
    const base::Now recovered = read_clocks();
    if (options_.directory >= 0) {
        base::log(base::Event::wal_recovered, {{"shard", self_},
                                               {"ms", (recovered.mono - now_.mono).ms()},
                                               {"log_bytes", boot->replayed_bytes},
                                               {"entries", boot->entries}});
        if (!boot->damaged_snapshots.empty()) {
            base::log(base::Event::data_damaged,
                      {{"shard", self_}, {"where", boot->damaged_snapshots}});
        }
        if (boot->dropped_batches > 0) {
            base::log(base::Event::wal_tail_discarded,
                      {{"shard", self_}, {"batches", boot->dropped_batches}});
        }
    }
    now_ = recovered;
    net::TransportOptions transport;
    transport.connections = &neighbours_.connections;
    transport.admin_connections = &admin_connections_;
    transport_ = std::make_unique<net::Transport>(*ring_, *buffers_, transport, now_.mono);
    front_ = std::make_unique<http::Front>(edge_, *transport_, *this, *this, now_);
    neighbours_.doorbells[self_] = ring_->doorbell_fd();
    neighbours_.foreign_doorbells[self_] = ring_->foreign_doorbell_fd();
    // Operators are let in at once: a node that waits for others says so.
    if (options_.admin_listener >= 0) {
        transport_->listen(options_.admin_listener, net::Plane::admin);
    }
    return {};
}

base::Result<void> Loop::turn() {
    reap();
    collect();
    advance();
    respond();
    return submit();
}

// Completions into lists; the turn's time.
void Loop::reap() {
    now_ = read_clocks();
    neighbours_.metrics[self_].last_turn_ns.set(static_cast<std::uint64_t>(now_.mono.ns));
    ring_->reap();
    transport_->begin_turn(now_.mono);
    follow_node();
}

// Bytes into calls, mail into calls and answers.
void Loop::collect() {
    front_->collect(now_);
    if (has_peers()) {
        collect_peers();
    }
    for (std::uint32_t from = 0; from < neighbours_.shards; ++from) {
        if (from == self_) {
            continue;
        }
        // The calls of this loop's own clients do not count: mail would starve behind them.
        shard::Mailbox& mailbox = neighbours_.mail(from, self_);
        shard::MailRecord record;
        std::size_t taken = 0;
        while (taken < limits::mail_calls_per_turn_max && mailbox.take(record)) {
            if (shard::kind_of(record) == shard::MailKind::call) {
                calls_.push_back(shard::decode_call(record));
                ++taken;
            } else {
                api::Reply reply = shard::decode_reply(record);
                route(reply);
            }
        }
    }
}

// What came from other nodes, for the shard to take; new connections to the loops they are for.
void Loop::collect_peers() {
    if (gate_ != nullptr) {
        gate_->begin_turn(now_.mono);
        arrivals_.clear();
        gate_->take_arrivals(arrivals_);
        for (const net::PeerDoor::Arrival& arrival : arrivals_) {
            const std::uint32_t to = arrival.target;
            if (to >= neighbours_.shards || !neighbours_.peer_sockets[to].push(arrival.socket)) {
                ::close(arrival.socket);  // it will come again
            } else if (const int doorbell = neighbours_.doorbells[to].load();
                       to != self_ && doorbell >= 0) {
                ring_->doorbell(doorbell);
            }
        }
        answer_guests();
        visits_->begin_turn(now_.mono);
    }
    for (int socket = neighbours_.peer_sockets[self_].take(); socket >= 0;
         socket = neighbours_.peer_sockets[self_].take()) {
        peers_->adopt(socket);
    }
    peers_->begin_turn(now_.mono);
}

// What this node is stands since before the loop began.
void Loop::answer_guests() {
    PeerRequest request;
    while (gate_->next_request(request)) {
        const std::string refusal =
            request.admits ? refusal_of(request.admission, options_.standing, options_.cluster_name)
                           : std::string();
        if (refusal.empty()) {
            gate_->answer(encode_standing(options_.standing));
        } else {
            if (now_.mono >= guest_log_due_) {
                guest_log_due_ = now_.mono + guest_log_pause;
                base::log(base::Event::peer_refused,
                          {{"peer", gate_->guest_name()}, {"side", "refused"}, {"why", refusal}});
            }
            gate_->answer(encode_refusal(refusal));
        }
    }
}

// Groups step, one batch goes to the log, what is committed is applied.
void Loop::advance() {
    internal_calls_.clear();
    shard_->advance(calls_, now_, replies_, internal_calls_);
    calls_.clear();
    for (std::uint32_t from = 0; from < neighbours_.shards; ++from) {
        if (from != self_) {
            neighbours_.mail(from, self_).release();
        }
    }
}

// Answers into output bytes, corked per connection.
void Loop::respond() {
    send_unsent();
    for (api::Reply& reply : replies_) {
        if (reply.to == options_.shard) {
            route(reply);
            continue;
        }
        const std::uint32_t to = reply.to.value;
        if (unsent_[to].empty() && shard::push_reply(neighbours_.mail(self_, to), reply)) {
            rang_[to] = true;
        } else {
            keep_unsent(to, reply);
        }
    }
    replies_.clear();
    for (const api::Call& call : internal_calls_) {
        route_internal(call);
    }
    if (visits_ != nullptr) {
        visits_->take(visited_);
    }
    for (const Visits::Done& done : visited_) {
        front_->on_visit(done.id, done.visit, done.outcome);
    }
    visited_.clear();
    front_->finish_turn(now_);
    transport_->flush();
    if (has_peers()) {
        peers_->flush();
        if (gate_ != nullptr) {
            gate_->flush();
            visits_->flush();
        }
    }
    if (now_.mono - published_ >= publish_every) {
        publish();
    }
    log_events();
}

// One system call hands everything over and waits for the next completion or deadline.
base::Result<void> Loop::submit() {
    bool mail_waits = false;
    if (neighbours_.shards > 1) {
        for (std::uint32_t to = 0; to < neighbours_.shards; ++to) {
            if (rang_[to]) {
                rang_[to] = false;
                const int doorbell = neighbours_.doorbells[to].load(std::memory_order_relaxed);
                if (neighbours_.latches[to].needs_doorbell() && doorbell >= 0) {
                    ring_->doorbell(doorbell);
                    ++doorbells_;
                }
            }
            mail_waits = mail_waits || !unsent_[to].empty();
        }
    }
    bool more = mail_waits || !calls_.empty();
    if (neighbours_.shards > 1 && !more) {
        // Only a loop that is going to wait asks to be woken; then it looks once more.
        neighbours_.latches[self_].about_to_sleep();
        for (std::uint32_t from = 0; from < neighbours_.shards; ++from) {
            more = more || (from != self_ && !neighbours_.mail(from, self_).empty());
        }
    }
    const base::Duration wait =
        more ? base::Duration{0} : std::clamp(deadline() - now_.mono, base::Duration{0}, wait_max);
    auto waited = ring_->submit_and_wait(wait);
    if (neighbours_.shards > 1) {
        neighbours_.latches[self_].woke();
    }
    ring_->take_doorbells();
    return waited;
}

base::Instant Loop::deadline() const {
    base::Instant at = std::min(transport_->next_deadline(), front_->deadline());
    at = std::min(at, shard_->deadline());
    if (has_peers()) {
        at = std::min(at, peers_->deadline());
        if (gate_ != nullptr) {
            at = std::min({at, gate_->deadline(), visits_->deadline()});
        }
    }
    return draining_ ? std::min(at, drain_end_) : at;
}

bool Loop::send(base::ShardId to, const api::Call& call) {
    if (to == options_.shard) {
        calls_.push_back(call);
        return true;
    }
    if (!shard::push_call(neighbours_.mail(self_, to.value), call)) {
        return false;
    }
    rang_[to.value] = true;
    return true;
}

void Loop::route(api::Reply& reply) {
    if (shard::Shard::is_internal(reply.id)) {
        shard_->on_internal_reply(reply);
    } else {
        front_->respond(reply, now_);
    }
}

void Loop::route_internal(const api::Call& call) {
    const base::ShardId to = api::shard_of(shard::group_of_internal(call.verb), neighbours_.shards);
    if (!send(to, call)) {
        api::Reply refused{call.id, options_.shard, api::Refused{api::Refusal::overloaded}};
        shard_->on_internal_reply(refused);
    }
}

// Answers wait for as long as it takes: there are no more of them than calls that loop made. Posts
// are made without being asked, so what waits gives up its bytes (readers then read), and beyond
// the bound joins the same watch's last one.
void Loop::keep_unsent(std::uint32_t to, api::Reply& reply) {
    std::deque<api::Reply>& waiting = unsent_[to];
    if (auto* post = std::get_if<api::Post>(&reply.answer)) {
        post->pieces.clear();
        if (waiting.size() >= limits::unsent_posts_max) {
            for (auto earlier = waiting.rbegin(); earlier != waiting.rend(); ++earlier) {
                auto* before = std::get_if<api::Post>(&earlier->answer);
                if (before != nullptr && earlier->id == reply.id) {
                    before->removed = post->removed;
                    before->lost = post->lost;
                    before->closed = post->closed;
                    before->to = post->to;
                    return;
                }
            }
        }
    }
    waiting.push_back(std::move(reply));
}

void Loop::send_unsent() {
    for (std::uint32_t to = 0; to < neighbours_.shards; ++to) {
        std::deque<api::Reply>& waiting = unsent_[to];
        while (!waiting.empty() &&
               shard::push_reply(neighbours_.mail(self_, to), waiting.front())) {
            waiting.pop_front();
            rang_[to] = true;
        }
    }
}

// Keys that take effect without a restart (src/config.cc names them).
void Loop::take_over(const Config& config) {
    config_ = &config;
    edge_.cors_origins = config.server.cors_origins;
    edge_.auto_create_buckets = config.server.auto_create_buckets;
    edge_.read_chunk_bytes = config.server.read_chunk;
    edge_.long_poll_timeout = config.server.long_poll_timeout;
    edge_.sse_heartbeat = config.server.sse_heartbeat;
    edge_.sse_lifetime = config.server.sse_lifetime;
    front_->options_changed();
}

// A node that was ready once must find its log at every later start. One that follows may know all
// leaders before its first record is durable.
bool Loop::may_count_ready() const {
    const storage::Wal& wal = shard_->wal();
    return !has_peers() || options_.shard_options.begun ||
           (wal.counters().batches > 0 && wal.oldest_write() == base::Instant::never());
}

// The shard's groups have other members: "Prefer: redirect" sends clients to them.
void Loop::follow_members() {
    others_seen_ = shard_->others_version();
    edge_.client_urls.clear();
    for (const shard::MemberInfo& info : shard_->others()) {
        if (info.client.empty()) {
            edge_.client_urls.clear();  // whoever leads is found, or nobody is sent anywhere
            return;
        }
        std::string url = info.client;
        while (url.ends_with('/')) {
            url.pop_back();
        }
        edge_.client_urls.insert(edge_.client_urls.begin(),
                                 http::ClientUrl{info.node, std::move(url)});
    }
}

// What the node as a whole has come to: ready, draining, over.
void Loop::follow_node() {
    if (const Config* config = neighbours_.config.load(std::memory_order_acquire);
        config != config_) {
        take_over(*config);
    }
    if (others_seen_ != shard_->others_version()) {
        follow_members();
    }
    if (!counted_ready_ && shard_->ready() && may_count_ready()) {
        counted_ready_ = true;
        ++neighbours_.ready;
    }
    if (!listening_ && neighbours_.accepting.load(std::memory_order_acquire)) {
        listening_ = true;
        for (const int listener : options_.listeners) {
            transport_->listen(listener);
        }
    }
    if (!draining_ && neighbours_.draining.load(std::memory_order_relaxed)) {
        draining_ = true;
        drain_end_ = now_.mono + config_->server.drain_timeout;
        transport_->stop_accepting();
        front_->begin_drain(now_);
        shard_->leave();
        hand_over_end_ = now_.mono + hand_over_max;
    }
}

bool Loop::finished() {
    if (!shard_->failure().empty()) {
        return true;
    }
    if (options_.stop_after != 0 && !draining_) {
        const std::uint64_t served = front_->requests_served();
        const std::uint64_t all =
            neighbours_.served.fetch_add(served - counted_served_) + (served - counted_served_);
        counted_served_ = served;
        if (all >= options_.stop_after) {
            neighbours_.draining = true;
        }
    }
    if (!draining_) {
        return false;
    }
    if (!counted_drained_ && front_->drained() &&
        (!has_peers() || now_.mono >= hand_over_end_ || shard_->leaders() == 0)) {
        counted_drained_ = true;
        ++neighbours_.drained;
    }
    // A loop whose own clients are gone still serves the calls of the others'; the node rings all
    // loops while it drains.
    return neighbours_.drained == neighbours_.shards || now_.mono >= drain_end_;
}

ops::HealthInput Loop::look() const {
    ops::HealthInput input;
    std::vector<const ops::ShardMetrics*> all;
    bool dismissed = false;
    for (std::uint32_t i = 0; i < neighbours_.shards; ++i) {
        const ops::ShardMetrics& metrics = neighbours_.metrics[i];
        all.push_back(&metrics);
        input.leaderless_groups +=
            static_cast<std::uint32_t>(metrics.raft_leaderless_groups.value());
        input.peer_links += static_cast<std::uint32_t>(metrics.peer_links_up.value() +
                                                       metrics.peer_links_down.value());
        input.peer_links_down += static_cast<std::uint32_t>(metrics.peer_links_down.value());
        dismissed = dismissed || metrics.dismissed.value() != 0;
        input.streams += metrics.streams.value();
        input.connections += metrics.connections.value();
        input.live_readers +=
            metrics.live_readers_sse.value() + metrics.live_readers_long_poll.value();
    }
    // Leaders of some groups may not know a node yet that others are naming right now.
    input.removed = dismissed && input.leaderless_groups == options_.shard_options.groups;
    input.recovered = neighbours_.node_ready;
    input.draining = neighbours_.draining;
    input.disk_full = neighbours_.full_disks > 0;
    // Less than a slab left: some shard refuses, or soon will.
    input.memory_full =
        options_.directory < 0 && neighbours_.memory.left() < base::Capacity::slab_bytes;
    input.shards = neighbours_.shards;
    input.stalled_shards = ops::stalled_shards(all, now_.mono);
    input.groups = options_.shard_options.groups;
    return input;
}

bool Loop::live(std::string& text) {
    const std::vector<std::string_view> reasons = ops::reasons_not_live(look());
    ops::write_probe(text, reasons);
    return reasons.empty();
}

bool Loop::ready(std::string& text) {
    const std::vector<std::string_view> reasons = ops::reasons_not_ready(look());
    ops::write_probe(text, reasons);
    return reasons.empty();
}

std::string Loop::health() {
    std::string text;
    ops::write_health(text, look());
    return text;
}

admin::NodeFacts Loop::admin_facts() {
    publish();
    admin::NodeFacts facts;
    facts.cluster = options_.cluster;
    facts.version = URSULA_VERSION;
    facts.uptime_seconds = static_cast<std::uint64_t>(
                               std::max<std::int64_t>(0, now_.wall.ms - options_.started_at.ms)) /
                           1000;
    facts.started = neighbours_.started == neighbours_.shards;
    facts.health = look();
    for (std::uint32_t i = 0; i < neighbours_.shards; ++i) {
        const ops::ShardMetrics& metrics = neighbours_.metrics[i];
        facts.appended_bytes += metrics.appended_bytes.value();
        facts.memory_bytes += metrics.storage_memory_bytes.value();
        facts.disk_bytes += metrics.storage_disk_bytes.value();
    }
    if (options_.data_directory >= 0) {
        if (const auto space = io::space_of(options_.data_directory)) {
            facts.has_free_bytes = true;
            facts.free_bytes = space->free_bytes;
        }
    }
    return facts;
}

// The admin plane is where the cluster listener is, so is a node that is not alone.
void Loop::visit(api::CallId id, const admin::Visit& visit) {
    if (visits_ != nullptr) {
        visits_->begin(id, visit, now_.mono);
        return;
    }
    visited_.push_back({id, visit, {}});
    visited_.back().outcome.kind = admin::VisitOutcome::Kind::alone;
}

std::string Loop::metrics() {
    publish();
    std::vector<const ops::ShardMetrics*> all;
    for (std::uint32_t i = 0; i < neighbours_.shards; ++i) {
        all.push_back(&neighbours_.metrics[i]);
    }
    ops::NodeMetrics node;
    node.version = URSULA_VERSION;
    node.start_time_seconds = static_cast<double>(options_.started_at.ms) / 1000.0;
    if (options_.data_directory >= 0) {
        if (const auto space = io::space_of(options_.data_directory)) {
            node.has_storage_free_bytes = true;
            node.storage_free_bytes = space->free_bytes;
        }
    }
    ops::read_process_metrics(node);
    std::string text;
    ops::write_metrics(text, node, all);
    return text;
}

// This loop's plain counters into the metrics that other cores may read.
void Loop::publish() {
    published_ = now_.mono;
    ops::ShardMetrics& metrics = neighbours_.metrics[self_];
    const http::EdgeCounters& edge = front_->counters();
    const shard::ShardCounters& counted = shard_->counters();
    static_assert(ops::http_method_names == net::method_names);
    for (std::size_t method = 0; method < ops::http_method_names.size(); ++method) {
        for (std::size_t column = 0; column < ops::http_classes; ++column) {
            metrics.http_requests[method][column].set(edge.responses[method][column + 2]);
        }
    }
    metrics.appended_bytes.set(counted.appended_bytes);
    metrics.streams.set(shard_->stream_count());
    metrics.connections.set(transport_->open_connections());
    metrics.live_readers_long_poll.set(edge.long_polls);
    metrics.live_readers_sse.set(edge.sse_readers);
    metrics.sse_disconnects_lifetime.set(edge.sse_ended_lifetime);
    metrics.sse_disconnects_stream_closed.set(edge.sse_ended_closed);
    metrics.sse_disconnects_stream_deleted.set(edge.sse_ended_removed);
    metrics.sse_disconnects_no_leader.set(edge.sse_ended_lost);
    metrics.sse_disconnects_client.set(edge.sse_ended_client);
    metrics.sse_disconnects_shutdown.set(edge.sse_ended_shutdown);
    metrics.admission_rejects_bodies.set(edge.bodies_refused);
    metrics.admission_rejects_slow_bodies.set(edge.bodies_too_slow);
    metrics.admission_rejects_reads.set(edge.reads_refused);
    metrics.sse_disconnects_send_stalled.set(transport_->counters().stalled);
    const std::uint64_t leaders = shard_->leaders();
    metrics.raft_groups_leader.set(leaders);
    metrics.raft_groups_follower.set(shard_->group_count() - leaders);
    metrics.raft_leaderless_groups.set(shard_->leaderless());
    metrics.raft_elections.set(counted.elections);
    metrics.forwards_sent.set(counted.forwards_sent);
    metrics.forwards_taken.set(counted.forwards_taken);
    metrics.forwards_failed.set(counted.forwards_failed);
    metrics.raft_hand_overs.set(counted.hand_overs);
    if (has_peers()) {
        const PeersCounters& peers = peers_->counters();
        metrics.peer_links_up.set(peers.links);
        metrics.peer_links_down.set(peers.links_in_all - peers.links);
        metrics.peer_frames_sent.set(peers.frames_sent);
        metrics.peer_frames_received.set(peers.frames_received);
        metrics.peer_bytes_sent.set(peers.sent_bytes);
        metrics.peer_bytes_received.set(peers.received_bytes);
        metrics.peer_frames_refused.set(counted.frames_refused);
        metrics.dismissed.set(peers.dismissed != base::Instant{} &&
                                      now_.mono - peers.dismissed <
                                          base::milliseconds(limits::removed_for_ms)
                                  ? 1
                                  : 0);
    }
    metrics.storage_memory_bytes.set(shard_->hot_bytes_used());
    metrics.storage_disk_bytes.set(options_.directory < 0
                                       ? 0
                                       : shard_->wal().segment_count() *
                                             options_.shard_options.segment_bytes);
    metrics.storage_damaged_reads.set(counted.damaged_reads);
    metrics.admission_rejects_disk_full.set(counted.refused_disk_full);
    metrics.admission_rejects_memory_full.set(counted.refused_memory_full);
    metrics.admission_rejects_overload.set(counted.refused_overloaded + edge.mailbox_full);
    metrics.turns.set(ring_->counters().enters);
    metrics.doorbells.set(doorbells_);
    metrics.foreign_calls.set(edge.foreign_calls);
    if (options_.webhooks != nullptr) {
        metrics.webhook_deliveries.set(options_.webhooks->deliveries.value());
        metrics.webhook_failures.set(options_.webhooks->failures.value());
        metrics.webhook_refused_connections.set(options_.webhooks->refused.value());
    }
}

// Under a flood of connections a line per log_pause, with how many there were.
void Loop::log_refused_connections() {
    if (now_.mono < refused_log_due_) {
        return;
    }
    const net::TransportCounters& counted = transport_->counters();
    if (counted.refused != refused_logged_) {
        base::log(base::Event::connections_limit,
                  {{"shard", self_}, {"refused", counted.refused - refused_logged_}});
    }
    if (counted.accept_errors != accept_errors_logged_) {
        base::log(base::Event::accept_failed,
                  {{"shard", self_}, {"times", counted.accept_errors - accept_errors_logged_}});
    }
    if (counted.refused != refused_logged_ || counted.accept_errors != accept_errors_logged_) {
        refused_logged_ = counted.refused;
        accept_errors_logged_ = counted.accept_errors;
        refused_log_due_ = now_.mono + refused_log_pause;
    }
}

void Loop::log_events() {
    log_refused_connections();
    const storage::Wal::Counters& log = shard_->wal().counters();
    if (log.segments_made != segments_made_) {
        segments_made_ = log.segments_made;
        base::log(base::Event::segment_created, {{"shard", self_}, {"in_all", segments_made_}});
    }
    if (log.segments_recycled != segments_recycled_) {
        segments_recycled_ = log.segments_recycled;
        base::log(base::Event::segment_recycled,
                  {{"shard", self_}, {"in_all", segments_recycled_}});
    }
    events_.clear();
    shard_->take_events(events_);
    for (const shard::ShardEvent& event : events_) {
        switch (event.kind) {
            case shard::ShardEvent::Kind::snapshot_written:
                ++snapshots_unlogged_;
                newest_snapshot_ = event.text;
                break;
            case shard::ShardEvent::Kind::snapshot_failed:
                base::log(base::Event::snapshot_failed, {{"shard", self_}, {"why", event.text}});
                break;
            case shard::ShardEvent::Kind::snapshot_installed:
                base::log(base::Event::snapshot_installed,
                          {{"shard", self_}, {"what", event.text}});
                break;
            case shard::ShardEvent::Kind::follower_reverted:
                base::log(base::Event::follower_reverted, {{"shard", self_}, {"what", event.text}});
                break;
            case shard::ShardEvent::Kind::disk_full:
                ++neighbours_.full_disks;
                base::log(base::Event::storage_full, {{"shard", self_}, {"why", event.text}});
                break;
            case shard::ShardEvent::Kind::disk_ok_again:
                --neighbours_.full_disks;
                base::log(base::Event::storage_ok, {{"shard", self_}});
                break;
            case shard::ShardEvent::Kind::data_damaged:
                base::log(base::Event::data_damaged, {{"shard", self_}, {"where", event.text}});
                break;
            case shard::ShardEvent::Kind::member_is_stranger:
                stranger_log_due_ = std::min(stranger_log_due_, now_.mono + stranger_log_pause);
                stranger_text_ = event.text;
                break;
            case shard::ShardEvent::Kind::wake_not_announced:
                base::log(base::Event::wake_not_announced,
                          {{"shard", self_}, {"what", event.text}});
                break;
            case shard::ShardEvent::Kind::member_unheard:
                base::log(base::Event::member_unheard, {{"shard", self_}, {"what", event.text}});
                break;
        }
    }
    // Who reads a log from its beginning passes memberships of long ago: only what lasts is told,
    // and of all groups in one line.
    if (now_.mono >= stranger_log_due_) {
        stranger_log_due_ = base::Instant::never();
        if (const std::uint32_t groups = shard_->strange_groups(); groups > 0) {
            base::log(base::Event::member_is_stranger,
                      {{"shard", self_}, {"groups", groups}, {"what", stranger_text_}});
        }
    }
    // A round writes one per group: a line per round is enough.
    if (snapshots_unlogged_ > 0 && now_.mono >= snapshot_log_due_) {
        base::log(
            base::Event::snapshot_written,
            {{"shard", self_}, {"groups", snapshots_unlogged_}, {"newest", newest_snapshot_}});
        snapshots_unlogged_ = 0;
        snapshot_log_due_ = now_.mono + snapshot_log_pause;
    }
    const base::Duration took = read_clocks().mono - now_.mono;
    if (took > slow_turn) {
        neighbours_.metrics[self_].core_stall.add(static_cast<std::uint64_t>(took.ns));
        base::log(base::Event::turn_slow, {{"shard", self_}, {"ms", took.ms()}});
    }
}

}  // namespace ursula
