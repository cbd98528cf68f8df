#include "tests/unit/http/edge_server.h"

#include <charconv>

#include "base/log.h"
#include "base/siphash.h"
#include "net/listener.h"

namespace ursula::http::test {

namespace {

struct KeyOf {
    std::string name;
    std::string body;
    void operator()(const api::CreateCall& call) {
        name = call.key.name;
        body = base::as_text(call.body);
    }
    void operator()(const api::AppendCall& call) {
        name = call.key.name;
        body = base::as_text(call.body);
    }
    void operator()(const api::RemoveCall& call) { name = call.key.name; }
    void operator()(const api::HeadCall& call) { name = call.key.name; }
    void operator()(const api::ReadCall& call) { name = call.key.name; }
    void operator()(const api::WatchCall& call) { name = call.key.name; }
    void operator()(const api::UnwatchCall& call) { name = call.key.name; }
    void operator()(const api::CreateBucketCall& call) { name = call.bucket; }
    void operator()(const api::RemoveBucketCall& call) { name = call.bucket; }
    void operator()(const api::ResolveBucketCall& call) { name = call.bucket; }
    void operator()(const api::ListBucketsCall&) {}
    void operator()(const api::ChangeMemberCall& call) { name = call.address; }
    void operator()(const api::ListStreamsCall& call) {
        name = call.bucket;
        body = call.prefix;
        body += "|";
        body += call.after;
    }
    void operator()(const api::SealBucketCall& call) { name = call.bucket; }
    void operator()(const api::InspectCall& call) { name = call.key.name; }
    void operator()(const api::TransferCall&) {}
    void operator()(const api::TouchCall& call) { name = call.key.name; }
    void operator()(const api::SubscriptionCall& call) {
        name = call.name;
        body = base::as_text(call.body);
    }
    void operator()(const api::ForkCall& call) {
        name = call.key.name;
        body = base::as_text(call.body);
    }
    void operator()(const api::HoldCall& call) { name = call.key.name; }
    void operator()(const api::ReleaseCall& call) { name = call.key.name; }
};

// Size of the whole response at the front of `text`; 0: more is to come.
std::size_t response_size(std::string_view text, bool is_head) {
    const std::size_t head = text.find("\r\n\r\n");
    if (head == std::string_view::npos) {
        return 0;
    }
    const std::string_view status = text.substr(9, 3);
    const std::size_t body = head + 4;
    if (is_head || status == "204" || status == "304") {
        return body;
    }
    if (text.substr(0, body).find("Transfer-Encoding: chunked") != std::string_view::npos) {
        const std::size_t end = text.find("\r\n0\r\n\r\n", head);
        return end == std::string_view::npos ? 0 : end + 7;
    }
    constexpr std::string_view name = "Content-Length: ";
    const std::size_t at = text.substr(0, body).find(name);
    REQUIRE(at != std::string_view::npos);
    std::size_t length = 0;
    std::from_chars(text.data() + at + name.size(), text.data() + body, length);
    return text.size() >= body + length ? body + length : 0;
}

}  // namespace

EdgeOptions EdgeServer::default_options() {
    EdgeOptions options;
    options.groups = 4;
    options.table_key = {0x1234, 0x5678};
    options.random_seed = 7;
    options.max_body = 1 << 20;
    options.bodies_in_flight_bytes_max = 8 << 20;
    options.read_chunk_bytes = 1 << 20;
    options.long_poll_timeout = base::seconds(20);
    options.sse_heartbeat = base::seconds(15);
    options.sse_lifetime = base::seconds(600);
    return options;
}

net::TransportOptions EdgeServer::default_transport() {
    return {};
}

EdgeServer::EdgeServer(const EdgeOptions& options, const net::TransportOptions& transport)
    : options_(options) {
    base::set_log_descriptor(-1);  // of what is refused here on purpose
    auto ring = net::Ring::open({.sq_entries = 256, .cq_entries = 1024});
    REQUIRE_MESSAGE(ring.has_value(), ring.error().message);
    ring_ = std::move(*ring);
    auto opened = net::ReceiveBuffers::open(*ring_, {.count = 64, .bytes = 4096});
    REQUIRE(opened.has_value());
    buffers_ = std::move(*opened);
    transport_ = std::make_unique<net::Transport>(*ring_, *buffers_, transport, now.mono);
    for (const net::Plane plane : {net::Plane::client, net::Plane::admin}) {
        auto opened_at = net::open_listeners({.host = "127.0.0.1", .port = 0}, 1);
        REQUIRE(opened_at.has_value());
        listeners_.push_back(opened_at->sockets[0]);
        (plane == net::Plane::admin ? admin_port : port) = opened_at->port;
        transport_->listen(listeners_.back(), plane);
    }
    cluster.self = base::NodeId(1);
    cluster.nodes.push_back({base::NodeId(1), "127.0.0.1:4437", "http://127.0.0.1:4437"});
    facts.cluster = &cluster;
    facts.version = "0.0.0";
    facts.started = true;
    facts.health.recovered = true;
    facts.health.shards = options_.shards;
    facts.health.groups = options_.groups;
    front_ = std::make_unique<Front>(options_, *transport_, *this, *this, now);
    turn();
}

EdgeServer::~EdgeServer() {
    front_.reset();
    transport_.reset();
    buffers_.reset();
    ring_.reset();
    for (const int listener : listeners_) {
        ::close(listener);
    }
}

void EdgeServer::use_shard() {
    shard::ShardOptions options;
    options.groups = options_.groups;
    options.table_key = options_.table_key;
    options.hot_bytes = 16 << 20;
    disk_ = std::make_unique<storage::MemoryDisk>();
    shard_ = std::make_unique<shard::Shard>(options, *disk_);
    REQUIRE(shard_->start(now).has_value());
    turn_until([this] {
        now.mono = now.mono + base::milliseconds(10);
        return shard_->ready();
    });
}

void EdgeServer::turn() {
    REQUIRE(ring_->submit_and_wait(base::milliseconds(1)).has_value());
    ring_->reap();
    transport_->begin_turn(now.mono);
    front_->collect(now);
    replies_now_.swap(replies_);
    if (shard_ != nullptr) {
        shard_->advance(calls_, now, replies_now_, internal_);
        calls_.clear();
    }
    for (api::Reply& reply : replies_now_) {
        if (shard_ != nullptr && shard::Shard::is_internal(reply.id)) {
            shard_->on_internal_reply(reply);
        } else {
            front_->respond(reply, now);
        }
    }
    replies_now_.clear();
    for (const admin::VisitOutcome& outcome : visit_ends_) {
        front_->on_visit(visits.front().first, visits.front().second, outcome);
        visits.pop_front();
    }
    visit_ends_.clear();
    for (const api::Call& call : internal_) {
        calls_.push_back(call);
    }
    internal_.clear();
    front_->finish_turn(now);
    transport_->flush();
}

void EdgeServer::pass(base::Duration time) {
    const base::Instant end = now.mono + time;
    while (now.mono < end) {
        const base::Duration step = std::min(end - now.mono, base::seconds(1));
        now.mono = now.mono + step;
        now.wall.ms += step.ms();
        turn();
    }
    // The timers' ticks are some milliseconds late.
    now.mono = now.mono + base::milliseconds(40);
    turns(2);
}

bool EdgeServer::send(base::ShardId to, const api::Call& call) {
    if (send_before_refusing > 0) {
        --send_before_refusing;
    } else if (refuse_sends > 0) {
        --refuse_sends;
        return false;
    }
    if (shard_ != nullptr) {
        calls_.push_back(call);
        return true;
    }
    KeyOf key;
    std::visit(key, call.verb);
    sent.push_back(
        {to, call.id, call.verb, std::move(key.name), std::move(key.body), call.redirect});
    return true;
}

bool EdgeServer::live(std::string& text) {
    text = is_live ? "{\"status\":\"ok\",\"reasons\":[]}\n" : "{\"status\":\"unavailable\"}\n";
    return is_live;
}

bool EdgeServer::ready(std::string& text) {
    text = is_ready ? "{\"status\":\"ok\",\"reasons\":[]}\n" : "{\"status\":\"unavailable\"}\n";
    return is_ready;
}

std::string EdgeServer::receive_until(test_support::LoopbackClient& client, std::string_view text) {
    std::string got;
    for (int i = 0; i < 2000 && got.find(text) == std::string::npos; ++i) {
        turn();
        got += client.receive();
    }
    INFO(got);
    REQUIRE(got.find(text) != std::string::npos);
    return got;
}

std::string EdgeServer::ask(test_support::LoopbackClient& client, std::string_view request) {
    client.send(request);
    const bool is_head = request.starts_with("HEAD ");
    std::string got;
    for (int i = 0; i < 2000 && response_size(got, is_head) == 0; ++i) {
        turn();
        got += client.receive();
    }
    INFO(request);
    INFO(got);
    REQUIRE(response_size(got, is_head) == got.size());
    return got;
}

base::Slice slice_of(std::string_view text) {
    return base::Slice::copy_of(base::as_bytes(text));
}

api::ReadReply read_reply(std::uint64_t from, std::string_view bytes, bool up_to_date,
                          bool closed) {
    api::ReadReply reply;
    reply.incarnation = {base::GroupId(1), base::LogIndex(5), 0};
    reply.closed = closed;
    reply.up_to_date = up_to_date;
    reply.from = from;
    reply.next = from + bytes.size();
    reply.content_type = slice_of("text/plain");
    if (!bytes.empty()) {
        reply.pieces.push_back(slice_of(bytes));
    }
    return reply;
}

api::Post post(std::uint64_t from, std::string_view bytes, bool closed) {
    api::Post post;
    post.closed = closed;
    post.from = from;
    post.to = from + bytes.size();
    if (!bytes.empty()) {
        post.pieces.push_back(slice_of(bytes));
    }
    return post;
}

api::Post removed() {
    api::Post post;
    post.removed = true;
    return post;
}

void go_live(EdgeServer& server, std::uint64_t tail, api::CallId* watch) {
    const SentCall watched = server.take<api::WatchCall>();
    const SentCall read = server.take<api::ReadCall>();
    api::WatchReply opened;
    opened.incarnation = {base::GroupId(1), base::LogIndex(5), 0};
    opened.tail = tail;
    server.answer(watched.id, opened);
    server.answer(read.id, read_reply(tail, ""));
    if (watch != nullptr) {
        *watch = watched.id;
    }
    server.turns(2);
}

}  // namespace ursula::http::test
