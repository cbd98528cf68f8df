// A Front over loopback sockets in virtual time. Below its CallSink is either the test, which sees
// each call and answers it, or a real one-shard node in memory. The client side is plain calls on
// the same thread; only turns move the server.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "admin/facts.h"
#include "admin/visit.h"
#include "http/front.h"
#include "net/buffers.h"
#include "net/ring.h"
#include "net/transport.h"
#include "shard/shard.h"
#include "storage/memory_disk.h"
#include "tests/support/loopback_client.h"

namespace ursula::http::test {

// A call as it was made, with copies of what a test looks at.
struct SentCall {
    base::ShardId to;
    api::CallId id;
    api::Verb verb;  // its views are over
    std::string name;
    std::string body;
    bool redirect = false;
};

class EdgeServer : public CallSink, public NodePages {
  public:
    static EdgeOptions default_options();
    static net::TransportOptions default_transport();

    explicit EdgeServer(const EdgeOptions& options = default_options(),
                        const net::TransportOptions& transport = default_transport());
    ~EdgeServer();
    EdgeServer(const EdgeServer&) = delete;
    EdgeServer& operator=(const EdgeServer&) = delete;
    // From now on calls are served by a shard; before the first request.
    void use_shard();

    // --- turns ---
    void turn();
    void turns(int count) {
        for (int i = 0; i < count; ++i) {
            turn();
        }
    }
    template <class Condition>
    void turn_until(const Condition& condition) {
        for (int i = 0; i < 2000 && !condition(); ++i) {
            turn();
        }
        REQUIRE(condition());
    }
    void pass(base::Duration time);  // in steps of a second at most, a turn each

    // --- calls, without a shard ---
    // The oldest call of that verb nobody took yet; turns until there is one.
    template <class Verb>
    SentCall take() {
        turn_until([this] { return has<Verb>(); });
        const auto at = find<Verb>();
        SentCall found = std::move(*at);
        sent.erase(at);
        return found;
    }
    template <class Verb>
    bool has() {
        return find<Verb>() != sent.end();
    }
    // Handed to the front in the next turn, in order.
    void answer(api::CallId id, api::Answer answer) {
        replies_.push_back({id, options_.shard, std::move(answer)});
    }

    // The oldest visit, in the next turn.
    void end_visit(const admin::VisitOutcome& outcome) { visit_ends_.push_back(outcome); }

    // --- clients ---
    // Turns until the bytes the client got hold `text`, and returns all of them.
    std::string receive_until(test_support::LoopbackClient& client, std::string_view text);
    // Sends and returns the one response, whole.
    std::string ask(test_support::LoopbackClient& client, std::string_view request);

    Front& front() { return *front_; }
    net::Transport& transport() { return *transport_; }
    EdgeOptions& options() { return options_; }

    base::Now now{base::Instant{base::seconds(1000).ns}, base::WallTime{1'780'000'000'000}};
    std::uint16_t port = 0;
    std::uint16_t admin_port = 0;  // of the admin plane
    std::deque<SentCall> sent;
    int send_before_refusing = 0;  // so many calls go through first,
    int refuse_sends = 0;          // then so many find the mailbox full
    bool is_live = true;
    bool is_ready = true;
    admin::ClusterView cluster;
    admin::NodeFacts facts;  // a started node of one; a test may change them
    std::deque<std::pair<api::CallId, admin::Visit>> visits;  // asked for, and not ended

  private:
    template <class Verb>
    std::deque<SentCall>::iterator find() {
        return std::find_if(sent.begin(), sent.end(), [](const SentCall& call) {
            return std::holds_alternative<Verb>(call.verb);
        });
    }
    bool send(base::ShardId to, const api::Call& call) override;
    bool live(std::string& text) override;
    bool ready(std::string& text) override;
    std::string health() override { return "{\"status\":\"ok\"}\n"; }
    std::string metrics() override { return "# none\n"; }
    admin::NodeFacts admin_facts() override { return facts; }
    void visit(api::CallId id, const admin::Visit& visit) override {
        visits.push_back({id, visit});
    }

    EdgeOptions options_;
    std::unique_ptr<net::Ring> ring_;
    std::unique_ptr<net::ReceiveBuffers> buffers_;
    std::unique_ptr<net::Transport> transport_;
    std::unique_ptr<Front> front_;
    std::vector<int> listeners_;
    std::unique_ptr<storage::MemoryDisk> disk_;
    std::unique_ptr<shard::Shard> shard_;
    std::vector<api::Call> calls_;
    std::vector<api::Call> internal_;
    std::vector<api::Reply> replies_;
    std::vector<api::Reply> replies_now_;
    std::vector<admin::VisitOutcome> visit_ends_;
};

// --- answers a shard would give ---
base::Slice slice_of(std::string_view text);
api::ReadReply read_reply(std::uint64_t from, std::string_view bytes, bool up_to_date = true,
                          bool closed = false);
api::Post post(std::uint64_t from, std::string_view bytes, bool closed = false);
api::Post removed();
// A watch and the first read of an SSE or long-poll at `tail`, answered.
void go_live(EdgeServer& server, std::uint64_t tail, api::CallId* watch = nullptr);

}  // namespace ursula::http::test
