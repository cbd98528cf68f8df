#include "http/front.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "api/placement.h"
#include "base/limits.h"
#include "http/header_values.h"
#include "http/subscription_json.h"
#include "net/uri.h"

namespace ursula::http {

namespace limits = base::limits;
using net::KnownHeader;
using net::Method;

Front::Front(const EdgeOptions& options, net::Transport& transport, CallSink& calls,
             NodePages& pages, base::Now now)
    : options_(options),
      transport_(transport),
      calls_(calls),
      pages_(pages),
      parser_(options.max_body),
      responder_(options, transport, counters_, now.wall),
      tails_(options, responder_, calls, arena_, exchanges_, counters_, now.mono),
      targets_(net::HeadMemo::slots) {}

Front::~Front() {
    for (Peer& peer : peers_) {
        if (peer.id.generation != 0) {
            drop(peer.id);
        }
    }
}

void Front::accept(net::ConnectionId id) {
    while (peers_.size() <= id.slot) {
        peers_.emplace_back();
    }
    Peer& peer = peers_[id.slot];
    peer.id = id;
    peer.first = peer.last = 0;
    peer.open = 0;
    peer.appends_only = peer.waiting = peer.queued = peer.choked = false;
    peer.end_of_input = peer.closing = peer.continue_wanted = peer.rated = false;
    peer.admin = transport_.plane(id) == net::Plane::admin;
    ++open_;
    transport_.set_input_phase(id, net::InputPhase::next_request);
    if (draining_) {
        peer.closing = true;
        transport_.close_after_flush(id);
    }
}

void Front::drop(net::ConnectionId id) {
    Peer& peer = peers_[id.slot];
    for (std::uint32_t index = peer.first; index != 0;) {
        Exchange& exchange = exchanges_.at(index);
        index = exchange.next;
        if (exchange.tail != nullptr) {
            tails_.drop(exchange);
        }
        exchanges_.give(exchange);
    }
    tails_.on_closed(id);
    responder_.connection_closed(id);
    peer.reader.reset(parser_);
    peer.id = {};
    peer.first = peer.last = 0;
    peer.open = 0;
    --open_;
}

void Front::expire(const net::Expired& expired) {
    Peer& peer = peers_[expired.connection.slot];
    if (peer.id != expired.connection) {
        return;
    }
    if (expired.phase != net::InputPhase::next_request && peer.open == 0) {
        refuse_input(peer, problem_of_status(408, "request_timeout"));
        return;
    }
    end_input(peer);
}

// Nothing more is read of it. It closes behind the answers it waits for.
void Front::end_input(Peer& peer) {
    peer.reader.stop(parser_);
    peer.closing = true;
    if (peer.open == 0) {
        transport_.close_after_flush(peer.id);
    } else {
        exchanges_.at(peer.last).keep_alive = false;
    }
}

// The connection's last answer: what it was sending is dropped.
void Front::refuse_input(Peer& peer, const Problem& problem) {
    // All that is known of the request: whether a body may answer it.
    request_ = {};
    request_.method = peer.reader.reads_head_request() ? Method::head : Method::other;
    peer.reader.stop(parser_);
    peer.closing = true;
    Exchange& exchange = open_exchange(peer, request_);
    exchange.keep_alive = false;
    responder_.problem(exchange, problem);
}

// A body that is dropped as it comes is never too much.
bool Front::too_many_bodies(const Peer& peer) const {
    return peer.reader.counted_body_bytes() > 0 &&
           parser_.body_bytes() > options_.bodies_in_flight_bytes_max;
}

// Its body is more than the server may hold beside those it holds.
void Front::refuse_body(Peer& peer) {
    ++counters_.bodies_refused;
    Problem problem = problem_of_status(503, "too_many_bodies");
    problem.hint = "the server holds as many unfinished bodies as it may; try again";
    refuse_input(peer, problem);
}

// Half of the memory for bodies or half of the connections in use: whoever holds one with a body
// that hardly comes loses it. With room left a slow body has all the time it needs.
void Front::end_slow_bodies(base::Now now) {
    const bool pressed = parser_.body_bytes() > options_.bodies_in_flight_bytes_max / 2 ||
                         (options_.connections != nullptr &&
                          options_.connections->left() < options_.connections->all() / 2);
    if (!pressed || now.mono < rates_due_) {
        return;
    }
    rates_due_ = now.mono + base::milliseconds(limits::body_rate_window_ms);
    for (Peer& peer : peers_) {
        const bool in_body =
            peer.id.generation != 0 && !peer.closing && !peer.waiting && peer.reader.in_body();
        if (in_body && peer.rated && peer.rated_bytes < limits::body_rate_bytes_min) {
            ++counters_.bodies_too_slow;
            if (peer.open != 0) {
                end_input(peer);  // earlier requests are being answered: nothing may come between
                continue;
            }
            Problem problem = problem_of_status(408, "body_too_slow");
            problem.hint = "the server is short of room and this body brought less than 1 KiB/s";
            refuse_input(peer, problem);
        }
        peer.rated = in_body;
        peer.rated_bytes = 0;
    }
}

void Front::collect(base::Now now) {
    responder_.set_time(now.wall);
    for (const net::ConnectionId id : transport_.accepted()) {
        accept(id);
    }
    for (const net::Received& received : transport_.received()) {
        Peer& peer = peers_[received.connection.slot];
        if (peer.id != received.connection) {
            continue;
        }
        if (received.end_of_input) {
            peer.end_of_input = true;
            if (peer.first != 0 && exchanges_.at(peer.first).tail != nullptr) {
                tails_.on_end_of_input(exchanges_.at(peer.first), now);
            }
        } else if (!peer.closing) {
            peer.reader.feed(received.bytes);
            peer.rated_bytes += static_cast<std::uint32_t>(
                std::min<std::size_t>(received.bytes.size(), UINT32_MAX - peer.rated_bytes));
        }
        if (!peer.waiting) {
            pump(peer, now);
        } else if (!received.end_of_input) {
            peer.reader.hold(parser_);
        }
    }
    for (const net::Expired& expired : transport_.expired()) {
        expire(expired);
    }
    for (const net::ConnectionId id : transport_.drained()) {
        Peer& peer = peers_[id.slot];
        if (peer.id != id) {
            continue;
        }
        tails_.on_drained(id, peer.first != 0 ? &exchanges_.at(peer.first) : nullptr);
        if (peer.choked) {
            peer.choked = false;
            pump(peer, now);
        }
    }
    for (const net::ConnectionId id : transport_.closed()) {
        if (id.slot < peers_.size() && peers_[id.slot].id == id) {
            drop(id);
        }
    }
    end_slow_bodies(now);
    tails_.on_time(now);
    unlink_ended(now);
}

// Requests of one connection take effect in their order: appends to one group, which has one log
// and takes calls in order, may be under way together. Everything else waits until all earlier ones
// are answered: another group's small append could become visible before a large one of this.
bool Front::may_start(const Peer& peer, const net::Request& request, const Route& route,
                      base::GroupId group) const {
    if (peer.open == 0) {
        return true;
    }
    return request.method == Method::post && route.kind == RouteKind::stream && peer.appends_only &&
           peer.group == group && peer.open < limits::pipeline_requests_max;
}

void Front::pump(Peer& peer, base::Now now) {
    const net::ConnectionId id = peer.id;
    if (peer.waiting) {
        peer.waiting = false;
        transport_.resume_input(id);
    }
    while (!peer.closing) {
        // It does not read its responses: no further one is begun until it does. A body that is
        // on its way - behind a live reader - is read to its end first.
        const bool choked = transport_.output_pending(id) >= limits::output_bytes_max;
        if (choked && !peer.reader.in_body()) {
            choke(peer);
            break;
        }
        const net::ReadEvent event = peer.reader.next(parser_, request_);
        if (event == net::ReadEvent::need_more) {
            // A chunked body counts as it grows; one of known length was counted at its head.
            if (peer.reader.in_chunked_body() && too_many_bodies(peer)) {
                refuse_body(peer);
            }
            break;
        }
        if (event == net::ReadEvent::failed) {
            const net::HttpError error = peer.reader.error();
            Problem problem = problem_of_status(error.status, error.code);
            if (error.status == 413) {
                problem.hint = fmt::format(
                    "send at most {} bytes at a time, or raise server.max_body", options_.max_body);
            }
            refuse_input(peer, problem);
            break;
        }
        if (event == net::ReadEvent::head_ready) {
            if (too_many_bodies(peer)) {
                refuse_body(peer);
                break;
            }
            if (request_.expect_continue) {
                peer.continue_wanted = true;
            }
            continue;
        }
        peer.continue_wanted = false;
        peer.rated = false;
        if (choked) {
            peer.reader.put_back(parser_, request_);
            choke(peer);
            break;
        }
        start(peer, request_, now);
        if (peers_[id.slot].id != id) {
            return;
        }
        if (peer.waiting) {
            break;
        }
    }
    settle(peer);
}

// Requests stay where they are - in the reader, then in the socket - until earlier ones are
// answered.
void Front::wait(Peer& peer) {
    peer.waiting = true;
    peer.reader.hold(parser_);
    transport_.pause_input(peer.id);
}

void Front::choke(Peer& peer) {
    peer.choked = true;
    wait(peer);
    transport_.report_drained(peer.id, limits::output_bytes_max / 2);
}

// Deadlines, a 100 Continue that may be sent by now, and the end of a connection that has nothing
// more to say.
void Front::settle(Peer& peer) {
    if (peer.open != 0) {
        if (!peer.waiting && peer.reader.in_body()) {
            transport_.set_input_phase(peer.id, net::InputPhase::body);
        } else {
            transport_.set_input_phase(peer.id, net::InputPhase::none);
        }
        return;
    }
    if (peer.continue_wanted) {
        peer.continue_wanted = false;
        net::write_continue(transport_.output(peer.id));
    }
    if (peer.closing) {
        return;
    }
    if (peer.end_of_input && !peer.waiting) {
        peer.closing = true;
        transport_.close_after_flush(peer.id);
        return;
    }
    if (peer.reader.between_requests()) {
        if (draining_) {
            peer.closing = true;
            transport_.close_after_flush(peer.id);
            return;
        }
        transport_.set_input_phase(peer.id, net::InputPhase::next_request);
    } else {
        transport_.set_input_phase(
            peer.id, peer.reader.in_body() ? net::InputPhase::body : net::InputPhase::head);
    }
}

Exchange& Front::open_exchange(Peer& peer, const net::Request& request) {
    Exchange& exchange = exchanges_.take();
    exchange.connection = peer.id;
    exchange.keep_alive = request.keep_alive && !draining_;
    exchange.http_1_0 = request.http_1_0;
    exchange.method = static_cast<std::uint8_t>(request.method);
    exchange.head_only = request.method == Method::head;
    exchange.has_origin =
        request.path.data() != nullptr && request.headers.has(KnownHeader::origin);
    if (peer.last != 0) {
        exchanges_.at(peer.last).next = exchange.index;
        exchange.held_aside = true;
    } else {
        peer.first = exchange.index;
    }
    peer.last = exchange.index;
    ++peer.open;
    return exchange;
}

// Takes ended exchanges off their connections' lists in order; what was kept aside follows its
// predecessor out.
void Front::unlink_ended(base::Now now) {
    std::vector<std::uint32_t>& ended = responder_.ended();
    for (std::size_t i = 0; i < ended.size(); ++i) {
        Exchange& exchange = exchanges_.at(ended[i]);
        Peer& peer = peers_[exchange.connection.slot];
        if (peer.id != exchange.connection || peer.first != exchange.index) {
            continue;
        }
        while (peer.first != 0 && exchanges_.at(peer.first).done) {
            Exchange& done = exchanges_.at(peer.first);
            if (done.held != nullptr) {
                net::OutputBuffer& out = transport_.output(peer.id);
                const std::vector<std::byte> bytes = done.held->flat();
                out.write(base::Bytes(bytes));
            }
            const bool keep_alive = done.keep_alive;
            peer.first = done.next;
            --peer.open;
            ++served_;
            if (done.started_ns != 0 && done.asked != Asked::tail) {
                const base::Duration took{now.mono.ns - done.started_ns};
                if (options_.request_duration != nullptr) {
                    options_.request_duration->record(took);
                }
                if (options_.append_duration != nullptr && done.asked == Asked::append) {
                    options_.append_duration->record(took);
                }
            }
            exchanges_.give(done);
            if (peer.first == 0) {
                peer.last = 0;
            } else {
                exchanges_.at(peer.first).held_aside = false;
                if (Exchange& next = exchanges_.at(peer.first);
                    next.held != nullptr && !next.done) {
                    // Begun aside (never for a tail, which is always alone): what it has goes out
                    // first.
                    const std::vector<std::byte> bytes = next.held->flat();
                    transport_.output(peer.id).write(base::Bytes(bytes));
                    next.held.reset();
                }
            }
            if (!keep_alive) {
                peer.closing = true;
                peer.reader.stop(parser_);
                transport_.close_after_flush(peer.id);
                while (peer.first != 0) {
                    Exchange& unwanted = exchanges_.at(peer.first);
                    peer.first = unwanted.next;
                    exchanges_.give(unwanted);
                }
                peer.last = 0;
                peer.open = 0;
            }
        }
        if (peer.closing) {
            continue;
        }
        if (peer.waiting && !peer.queued && !peer.choked) {
            peer.queued = true;
            waiting_.push_back(peer.id);
        } else if (!peer.waiting && peer.open == 0) {
            settle(peer);
        }
    }
    ended.clear();
}

void Front::finish_turn(base::Now now) {
    unlink_ended(now);
    tails_.finish_turn();
    parser_.end_turn();
    arena_.flip();
    // A request that starts now makes its call in the next turn, which the loop begins without
    // waiting; what the call looks at stays until that turn's end.
    waiting_now_.swap(waiting_);
    for (const net::ConnectionId id : waiting_now_) {
        Peer& peer = peers_[id.slot];
        if (peer.id != id) {
            continue;
        }
        peer.queued = false;
        if (peer.waiting && !peer.closing) {
            pump(peer, now);
        }
    }
    waiting_now_.clear();
    unlink_ended(now);
    responder_.end_turn();
}

void Front::begin_drain(base::Now now) {
    draining_ = true;
    tails_.end_all(now);
    unlink_ended(now);
    for (Peer& peer : peers_) {
        if (peer.id.generation == 0 || peer.closing) {
            continue;
        }
        for (std::uint32_t index = peer.first; index != 0; index = exchanges_.at(index).next) {
            exchanges_.at(index).keep_alive =
                exchanges_.at(index).keep_alive && exchanges_.at(index).next != 0;
        }
        if (peer.open == 0) {
            settle(peer);
        }
    }
}

void Front::call(Exchange& exchange, base::ShardId to, api::Verb verb) {
    exchange.shard = to;
    call_.id = exchange.call_id();
    call_.from = options_.shard;
    call_.verb = verb;
    call_.redirect = !exchange.redirect_to.empty();
    if (to != options_.shard) {
        ++counters_.foreign_calls;
    }
    if (!calls_.send(to, call_)) {
        ++counters_.mailbox_full;
        responder_.refuse(exchange, {api::Refusal::overloaded});
    }
}

api::StreamKey Front::key_of(const Route& route) const {
    api::StreamKey key;
    key.name = route.stream_name;
    key.hash = base::siphash(options_.table_key, base::as_bytes(route.stream_name));
    key.group = api::group_of(route.placed_by, options_.groups);
    return key;
}

// A path, in memory of this turn. Empty: it cannot be read one way only; no path is.
std::span<char> Front::decode(std::string_view path) {
    char* text = arena_.room(path.size());
    const net::DecodedPath decoded = net::decode_path(path, {text, path.size()});
    if (decoded.error != net::UriError::none) {
        return {};
    }
    if (decoded.text.data() != text) {
        std::memcpy(text, decoded.text.data(), decoded.text.size());
    }
    return {text, decoded.text.size()};
}

// What the request's path names. False: it cannot be read one way only.
bool Front::find_target(const net::Request& request, Route& route, api::StreamKey& key) {
    KnownTarget* known = request.known.known ? &targets_[request.known.slot] : nullptr;
    if (known != nullptr && known->filled && known->version == request.known.version) {
        // The slot may get another head in this very turn: the name moves to where calls may look
        // at it.
        route = known->route;
        key = known->key;
        if (route.kind == RouteKind::stream) {
            const std::string_view name = arena_.keep(route.stream_name);
            route.placed_by = name.substr(0, route.placed_by.size());
            route.bucket = name.substr(0, route.bucket.size());
            route.stream_name = name;
            key.name = name;
        } else {
            route.bucket = arena_.keep(route.bucket);
            route.stream_name = arena_.keep(route.stream_name);
        }
        return true;
    }
    const std::span<char> text = decode(request.path);
    if (text.empty() || request.path == "*") {
        return false;
    }
    if (known != nullptr) {
        known->decoded.assign(text.data(), text.size());
        known->route = find_route(known->decoded.data(), known->decoded.size());
        known->version = request.known.version;
        known->filled = true;
    }
    route = find_route(text.data(), text.size());
    if (route.kind == RouteKind::stream) {
        key = key_of(route);
    }
    if (known != nullptr) {
        known->key = key;
    }
    return true;
}

void Front::start(Peer& peer, const net::Request& request, base::Now now) {
    Route route;
    api::StreamKey key;
    const bool readable = find_target(request, route, key);
    if (!may_start(peer, request, route, key.group)) {
        peer.reader.put_back(parser_, request);
        wait(peer);
        return;
    }
    Exchange& exchange = open_exchange(peer, request);
    exchange.started_ns = now.mono.ns;
    exchange.path.assign(request.path);
    exchange.host.assign(request.host.empty() ? std::string_view("localhost") : request.host);
    if (exchange.has_origin) {
        exchange.origin.assign(request.headers.get(KnownHeader::origin));
    }
    if (!exchange.keep_alive) {
        peer.closing = true;
    }
    peer.appends_only = request.method == Method::post && route.kind == RouteKind::stream &&
                        (peer.open == 1 || peer.appends_only);
    peer.group = key.group;
    const std::string_view allow = allowed_methods(readable ? route.kind : RouteKind::refused);
    if (request.method == Method::options) {
        answer_options(exchange, request, allow);
        return;
    }
    if (!readable && names_subscriptions(request.path)) {
        refuse_subscription(exchange, 400, "INVALID_REQUEST", "the path cannot be decoded");
        return;
    }
    if (!readable) {
        responder_.problem(
            exchange,
            bad_request("bad_path", "The path cannot be read one way only",
                        "send valid UTF-8, %XX escapes with two hex digits, and no \\, control or "
                        "dot segment"));
        return;
    }
    if (request.method == Method::other) {
        exchange.keep_alive = false;
        refuse_method(exchange, allow);
        return;
    }
    if (peer.admin && refuse_early_data(exchange, route)) [[unlikely]] {
        return;
    }
    switch (route.kind) {
        case RouteKind::stream:
            start_stream(exchange, request, route, key, now);
            return;
        case RouteKind::bucket:
            start_bucket(exchange, request, route);
            return;
        case RouteKind::subscriptions:
            start_subscription(exchange, request, route);
            return;
        case RouteKind::admin:
            start_admin(exchange, request, route);
            return;
        case RouteKind::root:
        case RouteKind::livez:
        case RouteKind::readyz:
        case RouteKind::health:
        case RouteKind::metrics:
            start_page(exchange, request, route);
            return;
        case RouteKind::refused:
            responder_.problem(exchange, problem_of(route.why, responder_.place(exchange)));
            return;
    }
}

void Front::start_stream(Exchange& exchange, const net::Request& request, const Route& route,
                         const api::StreamKey& key, base::Now now) {
    if (const std::string_view name = repeated_header(request.headers); !name.empty())
        [[unlikely]] {
        responder_.problem(
            exchange, bad_request("header_repeated", std::string(name) + " is given more than once",
                                  "send each header of the protocol once"));
        return;
    }
    if (request.method != Method::get && request.method != Method::head) {
        note_redirect(exchange, request);
    }
    switch (request.method) {
        case Method::post:
            start_append(exchange, request, key);
            return;
        case Method::put:
            start_create(exchange, request, route, key);
            return;
        case Method::get:
            start_read(exchange, request, key, now);
            return;
        case Method::head:
            exchange.asked = Asked::head;
            call(exchange, api::shard_of(key.group, options_.shards), api::HeadCall{key});
            return;
        case Method::remove:
            exchange.asked = Asked::remove;
            call(exchange, api::shard_of(key.group, options_.shards), api::RemoveCall{key});
            return;
        case Method::options:
        case Method::other:
            return;  // answered before
    }
}

void Front::answer_options(Exchange& exchange, const net::Request& request,
                           std::string_view allow) {
    net::ResponseWriter writer = responder_.begin(exchange, 204, true);
    // Without an Origin nobody asked for anything but Allow.
    if (!options_.cors_origins.empty()) {
        writer.constant(responder_.preflight_headers(
            request.headers.get(KnownHeader::access_control_request_headers)));
    }
    writer.header("Allow", allow);
    responder_.end(exchange, writer.end_without_body());
}

void Front::refuse_method(Exchange& exchange, std::string_view allow) {
    responder_.problem(exchange, method_not_allowed(allow),
                       "Allow: " + std::string(allow) + "\r\n");
}

// To the node that leads. False: it was not asked for, or is not for this refusal.
bool Front::redirect(Exchange& exchange, const api::Refused& refused) {
    if (exchange.redirect_to.empty() || refused.why != api::Refusal::not_leader) {
        return false;
    }
    const auto leader = std::find_if(
        options_.client_urls.begin(), options_.client_urls.end(),
        [&refused](const ClientUrl& one) { return one.node.value == refused.numbers[0]; });
    if (leader == options_.client_urls.end()) {
        return false;
    }
    responder_.problem(exchange, redirected(leader->url),
                       "Location: " + leader->url + exchange.redirect_to + "\r\n");
    return true;
}

void Front::respond(api::Reply& reply, base::Now now) {
    if (TailHub::is_watch(reply.id)) {
        tails_.on_watch(reply.id, reply.answer, now);
        return;
    }
    Exchange* exchange = exchanges_.find(reply.id);
    if (exchange == nullptr || exchange->done) {
        return;  // its connection went away meanwhile; what it asked for stands
    }
    if (exchange->tail != nullptr) {
        tails_.on_read(*exchange, reply.answer, now);
        return;
    }
    answer(*exchange, reply.answer, now);
}

void Front::answer(Exchange& exchange, api::Answer& answer, base::Now now) {
    if (auto* refused = std::get_if<api::Refused>(&answer)) {
        if (exchange.asked == Asked::admin) {
            take_admin(exchange, answer);
            return;
        }
        if (exchange.asked == Asked::subscription) {
            take_subscription(exchange, answer);
            return;
        }
        if (exchange.create != nullptr && !exchange.create->making_bucket &&
            options_.auto_create_buckets && refused->why == api::Refusal::bucket_not_found) {
            exchange.create->making_bucket = true;
            call(exchange, api::shard_of(api::bucket_group, options_.shards),
                 api::CreateBucketCall{arena_.keep(exchange.create->bucket)});
            return;
        }
        if (exchange.asked == Asked::append &&
            refused->why == api::Refusal::content_type_mismatch) {
            ask_stream_type(exchange);
            return;
        }
        if (exchange.asked == Asked::stream_type) {
            // The stream has gone meanwhile; it had another type, or it would have taken the
            // append.
            responder_.refuse(exchange, {api::Refusal::content_type_mismatch});
            return;
        }
        if (!redirect(exchange, *refused)) {
            responder_.refuse(exchange, *refused);
        }
        return;
    }
    switch (exchange.asked) {
        case Asked::append:
            answer_append(exchange, std::get<api::AppendReply>(answer));
            return;
        case Asked::stream_type:
            responder_.problem(
                exchange, content_type_differs(
                              exchange.path,
                              base::as_text(std::get<api::HeadReply>(answer).content_type.bytes()),
                              exchange.content_type));
            return;
        case Asked::create:
            if (const auto* bucket = std::get_if<api::BucketReply>(&answer)) {
                send_create(exchange, bucket->bucket_id);
                return;
            }
            answer_create(exchange, std::get<api::CreateReply>(answer));
            return;
        case Asked::head:
            answer_head(exchange, std::get<api::HeadReply>(answer));
            return;
        case Asked::read:
            if (exchange.bad_query != BadQuery::none) {
                refuse_query(exchange);
                return;
            }
            if (const auto& read = std::get<api::ReadReply>(answer);
                responder_.has_room(exchange, exchange.shard, read, now.mono)) {
                answer_read(exchange, read);
            }
            return;
        case Asked::remove: {
            net::ResponseWriter writer = responder_.begin(exchange, 204, false);
            responder_.end(exchange, writer.end_without_body());
            return;
        }
        case Asked::create_bucket:
        case Asked::remove_bucket:
            answer_bucket(exchange, std::get<api::BucketReply>(answer));
            return;
        case Asked::list_streams:
            if (std::holds_alternative<api::BucketReply>(answer)) {
                send_listing(exchange);
                return;
            }
            [[fallthrough]];
        case Asked::list_buckets:
            answer_list(exchange, std::get<api::ListReply>(answer));
            return;
        case Asked::admin:
            take_admin(exchange, answer);
            return;
        case Asked::subscription:
            take_subscription(exchange, answer);
            return;
        case Asked::nothing:
        case Asked::tail:
            return;
    }
}

}  // namespace ursula::http
