// Front: connections <-> calls and replies of one loop. It turns received bytes into requests and
// requests into calls (collect), and answers into responses in request order (respond). It knows no
// group and no disk.
#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <vector>

#include "api/call.h"
#include "api/reply.h"
#include "http/edge.h"
#include "http/exchange.h"
#include "http/header_values.h"
#include "http/responder.h"
#include "http/routes.h"
#include "http/tails.h"
#include "http/turn_arena.h"
#include "net/http_parser.h"
#include "net/transport.h"

namespace ursula::admin {
struct Response;
struct Visit;
struct VisitOutcome;
}  // namespace ursula::admin

namespace ursula::http {

class Front {
  public:
    Front(const EdgeOptions& options, net::Transport& transport, CallSink& calls, NodePages& pages,
          base::Now now);
    ~Front();
    Front(const Front&) = delete;
    Front& operator=(const Front&) = delete;

    // After Transport::begin_turn: everything the turn brought becomes calls (or is answered at
    // once).
    void collect(base::Now now);
    // One answer to a call of this loop. Replies of a turn come one by one, then finish_turn().
    void respond(api::Reply& reply, base::Now now);
    // The end of NodePages::visit, between the same two.
    void on_visit(api::CallId id, const admin::Visit& visit, const admin::VisitOutcome& outcome);
    // Requests that had to wait for earlier ones go on; views of this turn's requests are over.
    void finish_turn(base::Now now);

    // The options this front was given have new values.
    void options_changed() { responder_.options_changed(); }
    // No new requests: idle connections close, others close after their response, tails end.
    void begin_drain(base::Now now);
    bool drained() const { return open_ == 0; }

    base::Instant deadline() const { return tails_.deadline(); }
    const EdgeCounters& counters() const { return counters_; }
    std::uint64_t requests_served() const { return served_; }

  private:
    // What the front keeps per connection, by Transport slot.
    // A target that a remembered head (net/head_memo.h) named before: decoded, routed and placed
    // once.
    struct KnownTarget {
        std::uint64_t version = 0;
        bool filled = false;
        std::string decoded;  // what route's views point into
        Route route;
        api::StreamKey key;
    };
    struct Peer {
        net::ConnectionId id;
        net::RequestReader reader;
        std::uint32_t first = 0;  // exchanges in request order
        std::uint32_t last = 0;
        std::uint16_t open = 0;     // exchanges in the list
        bool appends_only = false;  // all open ones are appends to `group`
        bool choked = false;        // waiting for its output to drain
        bool waiting = false;       // requests are held until earlier ones are answered
        bool queued = false;        // in waiting_
        bool end_of_input = false;
        bool closing = false;  // no further request is read
        bool continue_wanted = false;
        bool admin = false;  // came in over the admin plane
        bool rated = false;  // this body has been there since the last look at body rates
        base::GroupId group;
        std::uint32_t rated_bytes = 0;  // received since then, at most UINT32_MAX
    };

    void accept(net::ConnectionId id);
    void drop(net::ConnectionId id);
    void expire(const net::Expired& expired);
    void end_slow_bodies(base::Now now);
    void end_input(Peer& peer);
    void refuse_input(Peer& peer, const Problem& problem);
    bool too_many_bodies(const Peer& peer) const;
    void refuse_body(Peer& peer);
    void pump(Peer& peer, base::Now now);
    std::span<char> decode(std::string_view path);
    bool find_target(const net::Request& request, Route& route, api::StreamKey& key);
    bool may_start(const Peer& peer, const net::Request& request, const Route& route,
                   base::GroupId group) const;
    void wait(Peer& peer);
    void choke(Peer& peer);
    void settle(Peer& peer);
    Exchange& open_exchange(Peer& peer, const net::Request& request);
    void unlink_ended(base::Now now);

    // The verbs: front_append.cc, front_create.cc, front_read.cc, front_node.cc,
    // front_admin.cc, front_subscriptions.cc.
    void start(Peer& peer, const net::Request& request, base::Now now);
    void start_stream(Exchange& exchange, const net::Request& request, const Route& route,
                      const api::StreamKey& key, base::Now now);
    void start_append(Exchange& exchange, const net::Request& request, const api::StreamKey& key);
    void start_create(Exchange& exchange, const net::Request& request, const Route& route,
                      const api::StreamKey& key);
    void send_create(Exchange& exchange, std::uint64_t bucket_id);
    bool find_source(Exchange& exchange, std::string_view path, api::StreamKey& source);
    void start_read(Exchange& exchange, const net::Request& request, const api::StreamKey& key,
                    base::Now now);
    void start_bucket(Exchange& exchange, const net::Request& request, const Route& route);
    void start_listing(Exchange& exchange, const net::Request& request, const Route& route);
    void send_listing(Exchange& exchange);
    bool refuse_early_data(Exchange& exchange, const Route& route);
    void start_admin(Exchange& exchange, const net::Request& request, const Route& route);
    bool find_admin_stream(std::string_view path, api::StreamKey& key);
    void take_admin(Exchange& exchange, api::Answer& answer);
    void answer_admin(Exchange& exchange, const admin::Response& response);
    void start_subscription(Exchange& exchange, const net::Request& request, const Route& route);
    void put_subscription(Exchange& exchange);
    void start_subscription_post(Exchange& exchange, const net::Request& request,
                                 std::string_view action);
    void start_keys(Exchange& exchange, const net::Request& request);
    void ask_subscription(Exchange& exchange, api::SubscriptionOp op);
    void take_subscription(Exchange& exchange, const api::Answer& answer);
    void send_subscription(Exchange& exchange, int status, const std::string& body,
                           std::string_view headers);
    void refuse_subscription(Exchange& exchange, int status, std::string_view code,
                             std::string_view message, std::string_view headers = {},
                             const api::SubscriptionAnswer* answer = nullptr);
    void start_page(Exchange& exchange, const net::Request& request, const Route& route);
    void answer_options(Exchange& exchange, const net::Request& request, std::string_view allow);
    void refuse_method(Exchange& exchange, std::string_view allow);
    void ask_stream_type(Exchange& exchange);

    void answer(Exchange& exchange, api::Answer& answer, base::Now now);
    void answer_append(Exchange& exchange, const api::AppendReply& reply);
    void answer_create(Exchange& exchange, const api::CreateReply& reply);
    void answer_head(Exchange& exchange, const api::HeadReply& reply);
    void answer_read(Exchange& exchange, const api::ReadReply& reply);
    void refuse_query(Exchange& exchange);
    void answer_bucket(Exchange& exchange, const api::BucketReply& reply);
    void answer_list(Exchange& exchange, const api::ListReply& reply);

    // "Prefer: redirect" of a write, when there is somewhere to send it.
    void note_redirect(Exchange& exchange, const net::Request& request) {
        if (!options_.client_urls.empty() && prefers_redirect(request.headers)) [[unlikely]] {
            exchange.redirect_to.assign(request.path);
            exchange.redirect_to.append(request.query.empty() ? "" : "?").append(request.query);
        }
    }
    bool redirect(Exchange& exchange, const api::Refused& refused);

    // Sends the call, or answers 503 when that shard takes no more now.
    void call(Exchange& exchange, base::ShardId to, api::Verb verb);
    api::StreamKey key_of(const Route& route) const;
    std::string base_url(const Exchange& exchange) const;

    const EdgeOptions& options_;
    net::Transport& transport_;
    CallSink& calls_;
    NodePages& pages_;
    EdgeCounters counters_;
    net::HttpParser parser_;
    TurnArena arena_;
    Exchanges exchanges_;
    Responder responder_;
    TailHub tails_;
    std::deque<Peer> peers_;
    std::vector<net::ConnectionId> waiting_;
    std::vector<net::ConnectionId> waiting_now_;
    net::Request request_;
    api::Call call_;                    // reused: a variant of views
    std::vector<KnownTarget> targets_;  // by net::KnownHead::slot
    std::uint32_t open_ = 0;
    base::Instant rates_due_{};  // the next look at body rates
    std::uint64_t served_ = 0;
    bool draining_ = false;
};

}  // namespace ursula::http
