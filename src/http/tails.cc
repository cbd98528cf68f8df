#include "http/tails.h"

#include <algorithm>
#include <utility>

#include "api/content_type.h"
#include "api/placement.h"
#include "base/limits.h"
#include "base/verify.h"
#include "http/planted.h"
#include "http/responder.h"
#include "http/tokens.h"

namespace ursula::http {

namespace limits = base::limits;

// One stream as this loop's readers see it. The shard posts to it once per turn in which the stream
// changed.
struct Watch {
    enum class State : std::uint8_t { opening, open, gone };
    api::CallId id;
    std::string name;
    std::uint64_t hash = 0;
    base::GroupId group;
    base::ShardId shard;
    State state = State::opening;
    api::Refused why;  // gone: what readers without a response are told
    bool closed = false;
    bool listed_idle = false;
    std::uint64_t tail = 0;
    Tail* first = nullptr;
};

TailHub::TailHub(const EdgeOptions& options, Responder& responder, CallSink& calls,
                 TurnArena& arena, Exchanges& exchanges, EdgeCounters& counters, base::Instant now)
    : options_(options),
      responder_(responder),
      calls_(calls),
      arena_(arena),
      exchanges_(exchanges),
      counters_(counters),
      random_(options.random_seed ^ 0x7461'696cu),
      wheel_(now),
      heartbeat_(net::encode_sse_heartbeat()) {}

TailHub::~TailHub() {
    const auto end_readers = [this](auto& watches) {
        for (auto& [key, watch] : watches) {
            while (watch->first != nullptr) {
                finish(*watch->first);
            }
        }
    };
    end_readers(watches_);
    end_readers(gone_);
}

api::StreamKey TailHub::key_of(const Watch& watch) {
    return {arena_.keep(watch.name), watch.hash, watch.group};
}

Watch* TailHub::watch_of(const api::StreamKey& key) {
    std::string name(key.name);
    const auto found = watches_.find(name);
    if (found != watches_.end()) {
        return found->second.get();
    }
    auto watch = std::make_unique<Watch>();
    watch->id = api::CallId((std::uint64_t{1} << 56) | next_watch_++);
    watch->name = name;
    watch->hash = key.hash;
    watch->group = key.group;
    watch->shard = api::shard_of(key.group, options_.shards);
    api::Call call;
    call.id = watch->id;
    call.from = options_.shard;
    call.verb = api::WatchCall{key_of(*watch)};
    if (!calls_.send(watch->shard, call)) {
        return nullptr;
    }
    Watch* raw = watch.get();
    watches_by_id_.emplace(raw->id.value, raw);
    watches_.emplace(std::move(name), std::move(watch));
    return raw;
}

api::Refusal TailHub::start(Exchange& exchange, const Start& start, base::Now now) {
    if (tails_ >= options_.tails_max) {
        return api::Refusal::too_many_tails;
    }
    Watch* watch = watch_of(start.key);
    if (watch == nullptr) {
        return api::Refusal::overloaded;
    }
    auto* tail = new Tail();
    ++tails_;
    ++(start.mode == TailMode::sse ? counters_.sse_readers : counters_.long_polls);
    exchange.tail = tail;
    tail->exchange_ = exchange.index;
    tail->mode_ = start.mode;
    tail->http_1_0_ = exchange.http_1_0;
    tail->offset_ = start.offset;
    tail->cursor_ = next_cursor(start.cursor, now.wall, random_);
    tail->wake_.tail = tail;
    tail->watch_ = watch;
    tail->following_ = watch->first;
    if (watch->first != nullptr) {
        watch->first->previous_ = tail;
    }
    watch->first = tail;
    // A tenth of jitter, so that readers which came together do not all come back together.
    const base::Duration life =
        start.mode == TailMode::sse ? options_.sse_lifetime : options_.long_poll_timeout;
    const std::int64_t jitter =
        start.mode == TailMode::sse
            ? static_cast<std::int64_t>(random_.below(static_cast<std::uint64_t>(life.ns / 10 + 1)))
            : 0;
    tail->life_end_ = now.mono + life + base::Duration{jitter};
    tail->last_sent_ = now.mono;
    tail->last_look_ = ending_ && start.mode == TailMode::long_poll;
    exchange.from_now = start.from_now;
    read_on(*tail);
    set_wake(*tail, now);
    return api::Refusal::none;
}

// It does not take what it gets: nothing more is read for it until its output has drained. A large
// event of its own holds its memory to the last byte, so that one has to go out whole first.
void TailHub::pause(Tail& tail) {
    tail.state_ = Tail::State::paused;
    ++counters_.sse_slow;
    const net::ConnectionId id = exchange_of(tail).connection;
    responder_.transport().report_drained(id, room_of(id) > 0 ? 0 : limits::output_bytes_max / 2);
}

// It reads on at the next tick; set_wake keeps to that.
void TailHub::hold(Tail& tail) {
    tail.state_ = Tail::State::held;
    wheel_.schedule(tail.wake_, base::Instant{});
}

bool TailHub::must_drain(const Tail& tail) {
    const net::ConnectionId id = exchange_of(tail).connection;
    return responder_.transport().output_pending(id) >= limits::output_bytes_max ||
           (tail.mode_ == TailMode::sse && !tail.room_granted_ && room_of(id) > 0);
}

std::uint64_t& TailHub::room_of(net::ConnectionId id) {
    if (rooms_.size() <= id.slot) {
        rooms_.resize(id.slot + 1);
    }
    return rooms_[id.slot];
}

// One event always does when nothing is out: each append can be delivered, however large.
bool TailHub::fits(std::uint64_t bytes) const {
    const std::uint64_t used = counters_.sse_private_bytes;
    return used == 0 || (used <= options_.tail_private_bytes_max &&
                         bytes <= options_.tail_private_bytes_max - used);
}

void TailHub::take_room(net::ConnectionId id, std::uint64_t bytes) {
    VERIFY(room_of(id) == 0);
    room_of(id) = bytes;
    counters_.sse_private_bytes += bytes;
}

void TailHub::give_back_room(net::ConnectionId id) {
    counters_.sse_private_bytes -= std::exchange(room_of(id), 0);
}

void TailHub::wait_for_room(Tail& tail, std::uint64_t bytes) {
    tail.state_ = Tail::State::roomless;
    tail.room_wanted_ = bytes;
    tail.queued_before_ = roomless_last_;
    (roomless_last_ != nullptr ? roomless_last_->queued_behind_ : roomless_first_) = &tail;
    roomless_last_ = &tail;
    ++counters_.sse_held;
}

void TailHub::leave_room_queue(Tail& tail) {
    Tail* const before = std::exchange(tail.queued_before_, nullptr);
    Tail* const behind = std::exchange(tail.queued_behind_, nullptr);
    (before != nullptr ? before->queued_behind_ : roomless_first_) = behind;
    (behind != nullptr ? behind->queued_before_ : roomless_last_) = before;
}

// First come, first served, so that a large event is not passed by small ones for ever. Nothing but
// the size was kept of it: it is read again.
void TailHub::grant_room() {
    while (roomless_first_ != nullptr && fits(roomless_first_->room_wanted_)) {
        Tail& tail = *roomless_first_;
        leave_room_queue(tail);
        take_room(exchange_of(tail).connection, tail.room_wanted_);
        tail.room_granted_ = true;
        read_on(tail);
    }
}

void TailHub::read_on(Tail& tail) {
    Exchange& exchange = exchange_of(tail);
    if (must_drain(tail)) {
        pause(tail);
        return;
    }
    tail.state_ = Tail::State::reading;
    api::Call call;
    call.id = exchange.call_id();
    call.from = options_.shard;
    api::ReadCall read;
    read.key = key_of(*tail.watch_);
    read.from_now = exchange.from_now;
    read.offset = tail.offset_;
    read.bytes_max =
        tail.mode_ == TailMode::sse
            ? std::min<std::uint64_t>(options_.read_chunk_bytes, limits::tail_post_bytes_max)
            : options_.read_chunk_bytes;
    call.verb = read;
    if (!calls_.send(tail.watch_->shard, call)) {
        ++counters_.mailbox_full;
        hold(tail);
    }
}

void TailHub::set_wake(Tail& tail, base::Now now) {
    base::Instant at = tail.life_end_;
    if (tail.state_ == Tail::State::held) {
        at = base::Instant{};
    } else if (tail.mode_ == TailMode::sse) {
        at = std::min(at, tail.last_sent_ + options_.sse_heartbeat);
    }
    wheel_.schedule(tail.wake_, std::max(at, now.mono));
}

void TailHub::on_read(Exchange& exchange, api::Answer& answer, base::Now now) {
    Tail& tail = tail_of(exchange);
    if (const auto* refused = std::get_if<api::Refused>(&answer)) {
        lose(tail, *refused);
        return;
    }
    auto& read = std::get<api::ReadReply>(answer);
    if (tail.read_once_ && read.incarnation != tail.incarnation_) {
        // Removed and created again between two reads: what this one found is of another stream.
        lose(tail, {api::Refusal::stream_not_found});
        return;
    }
    tail.read_once_ = true;
    tail.incarnation_ = read.incarnation;
    exchange.from_now = false;
    const bool granted = std::exchange(tail.room_granted_, false);
    if (granted) {
        give_back_room(exchange.connection);  // to be taken at once, as it is by now
    }
    if (tail.mode_ == TailMode::long_poll) {
        if (read.next > read.from || read.closed || tail.last_look_) {
            answer_long_poll(tail, read, now);
            return;
        }
        tail.offset_ = read.next;
        join(tail, now);
        return;
    }
    if (!tail.head_sent_) {
        begin_sse(tail, read);
    }
    tail.offset_ = read.from;
    if (read.next > read.from) {
        if (!send_data(tail, read.next, read.pieces, read.up_to_date, read.closed, granted, now)) {
            if (ending_) {
                ++counters_.sse_ended_shutdown;
                end_sse(tail);
            }
            return;
        }
        tail.offset_ = read.next;
    } else if (!tail.told_ || read.closed) {
        send_control(tail, read.up_to_date, read.closed, now);
    }
    if (read.closed) {
        ++counters_.sse_ended_closed;
        end_sse(tail);
    } else if (ending_) {
        ++counters_.sse_ended_shutdown;
        end_sse(tail);
    } else if (read.up_to_date || tail.watch_->state == Watch::State::gone) {
        join(tail, now);
    } else {
        read_on(tail);
    }
}

// Its stream, or the way to it, is gone. A response that has begun ends as it is.
void TailHub::lose(Tail& tail, const api::Refused& why) {
    if (tail.head_sent_) {
        if (why.why == api::Refusal::stream_not_found) {
            ++counters_.sse_ended_removed;
        } else if (why.why == api::Refusal::no_leader) {
            ++counters_.sse_ended_lost;
        }
        end_sse(tail);
        return;
    }
    Exchange& exchange = exchange_of(tail);
    finish(tail);
    responder_.refuse(exchange, why);
}

// The reader has all that a read found. Live when the watch says the same; else there is more by
// now.
void TailHub::join(Tail& tail, base::Now now) {
    Watch& watch = *tail.watch_;
    if (watch.state == Watch::State::gone) {
        lose(tail, watch.why);
        return;
    }
    if (watch.state == Watch::State::opening) {
        tail.state_ = Tail::State::joining;
        return;
    }
    if (watch.tail > tail.offset_ || watch.closed) {
        read_on(tail);
        return;
    }
    // A read may be ahead of the posts: those up to its offset are then skipped.
    tail.state_ = Tail::State::live;
    static_cast<void>(now);
}

void TailHub::on_watch(api::CallId id, api::Answer& answer, base::Now now) {
    const auto found = watches_by_id_.find(id.value);
    if (found == watches_by_id_.end()) {
        return;
    }
    Watch& watch = *found->second;
    if (const auto* opened = std::get_if<api::WatchReply>(&answer)) {
        watch.state = Watch::State::open;
        watch.tail = opened->tail;
        watch.closed = opened->closed;
        for (Tail* tail = watch.first; tail != nullptr;) {
            Tail* following = tail->following_;
            if (tail->state_ == Tail::State::joining) {
                join(*tail, now);
            }
            tail = following;
        }
        return;
    }
    if (const auto* refused = std::get_if<api::Refused>(&answer)) {
        lose_watch(watch, *refused);
        return;
    }
    auto* post = std::get_if<api::Post>(&answer);
    VERIFY(post != nullptr);
    if (post->removed) {
        lose_watch(watch, {api::Refusal::stream_not_found});
        return;
    }
    if (post->lost) {
        lose_watch(watch, {api::Refusal::no_leader});
        return;
    }
    watch.tail = post->to;
    watch.closed = post->closed;
    std::fill(std::begin(shared_made_), std::end(shared_made_), false);
    for (Tail* tail = watch.first; tail != nullptr;) {
        Tail* following = tail->following_;
        if (tail->state_ == Tail::State::live) {
            deliver(*tail, *post, now);
        }
        tail = following;
    }
    std::fill(std::begin(shared_), std::end(shared_), net::SseFrame{});
}

// Removed, never there, or the shard could not take the watch. Readers with a read under way keep
// it until that answers.
void TailHub::lose_watch(Watch& watch, const api::Refused& why) {
    watch.state = Watch::State::gone;
    watch.why = why;
    watches_by_id_.erase(watch.id.value);
    auto node = watches_.extract(watch.name);
    gone_.emplace(watch.id.value, std::move(node.mapped()));
    for (Tail* tail = watch.first; tail != nullptr;) {
        Tail* following = tail->following_;
        if (tail->state_ != Tail::State::reading) {
            lose(*tail, why);
        }
        tail = following;
    }
    list_if_idle(watch);
}

void TailHub::list_if_idle(Watch& watch) {
    if (watch.first == nullptr && !watch.listed_idle) {
        watch.listed_idle = true;
        idle_watches_.push_back(&watch);
    }
}

void TailHub::deliver(Tail& tail, const api::Post& post, base::Now now) {
    if (post.to <= tail.offset_ && !post.closed) {
        return;  // its read was ahead of this post
    }
    if (post.from != tail.offset_ || (post.to > post.from && post.pieces.empty())) {
        read_on(tail);
        return;
    }
    if (tail.mode_ == TailMode::long_poll) {
        // The read knows content type and incarnation, which a post does not carry.
        read_on(tail);
        return;
    }
    if (must_drain(tail)) {
        pause(tail);
        return;
    }
    const std::uint64_t interval = cursor_interval(now.wall);
    if (post.to > post.from && (post.closed || tail.cursor_ <= interval)) {
        tail.cursor_ = interval;
        const auto kind = static_cast<std::size_t>(tail.encoding_);
        if (!shared_made_[kind]) {
            std::array<char, offset_token_bytes> token;
            write_offset(token.data(), post.to);
            pieces_.clear();
            for (const base::Slice& piece : post.pieces) {
                pieces_.push_back(piece.bytes());
            }
            shared_[kind] = net::encode_sse_data(
                tail.encoding_, pieces_,
                {{token.data(), token.size()}, interval, !post.closed, true, post.closed});
            shared_made_[kind] = true;
            ++counters_.sse_events;
        }
        tail.offset_ = post.to;
        send_frame(tail, shared_[kind], now);
    } else if (post.to > post.from) {
        if (!send_data(tail, post.to, post.pieces, true, post.closed, false, now)) {
            return;
        }
        tail.offset_ = post.to;
    } else {
        send_control(tail, true, post.closed, now);
    }
    if (post.closed) {
        ++counters_.sse_ended_closed;
        end_sse(tail);
    }
}

// Monotonic in one connection, and never below what the client was promised (digest 2.8).
std::uint64_t TailHub::cursor_for(Tail& tail, base::WallTime now) {
    tail.cursor_ = std::max(tail.cursor_, cursor_interval(now));
    return tail.cursor_;
}

void TailHub::begin_sse(Tail& tail, const api::ReadReply& read) {
    Exchange& exchange = exchange_of(tail);
    const std::string_view type = base::as_text(read.content_type.bytes());
    tail.encoding_ = read.json            ? net::SseEncoding::json
                     : api::is_text(type) ? net::SseEncoding::text
                                          : net::SseEncoding::base64;
    if (tail.http_1_0_) {
        exchange.keep_alive = false;  // the body ends with the connection
    }
    net::ResponseWriter writer = responder_.begin(exchange, 200, true);
    writer.constant(
        "Content-Type: text/event-stream\r\nCache-Control: no-cache\r\nX-Accel-Buffering: no\r\n");
    if (tail.encoding_ == net::SseEncoding::base64) {
        writer.constant("Stream-SSE-Data-Encoding: base64\r\n");
    }
    tail.head_sent_ = tail.http_1_0_ ? writer.end_until_close() : writer.end_chunked();
    responder_.transport().prepare_for_tail(exchange.connection);
}

bool TailHub::send_data(Tail& tail, std::uint64_t next, std::span<const base::Slice> pieces,
                        bool up_to_date, bool closed, bool granted, base::Now now) {
    std::array<char, offset_token_bytes> token;
    write_offset(token.data(), next);
    pieces_.clear();
    std::size_t stored = 0;
    for (const base::Slice& piece : pieces) {
        pieces_.push_back(piece.bytes());
        stored += piece.size();
    }
    net::SseControl control;
    control.next_offset = {token.data(), token.size()};
    control.has_cursor = !closed;
    control.cursor = cursor_for(tail, now.wall);
    control.up_to_date = up_to_date || planted(Planted::control_always_new);
    control.closed = closed;
    if (!granted && encoded_bytes_ >= options_.tail_turn_bytes_max) {
        hold(tail);
        return false;
    }
    std::size_t counted = 0;
    if (stored > net::sse_payload_bytes_below(limits::tail_post_bytes_max)) {
        counted = net::sse_data_bytes(tail.encoding_, pieces_, control);
    }
    const bool counts = counted > limits::tail_post_bytes_max;
    if (counts) {
        // One that was granted room is the queue's first, although it has left it.
        if (!fits(counted) || (roomless_first_ != nullptr && !granted)) {
            wait_for_room(tail, counted);
            return false;
        }
        take_room(exchange_of(tail).connection, counted);
    }
    ++counters_.sse_events;
    encoded_bytes_ += stored;
    send_frame(tail, net::encode_sse_data(tail.encoding_, pieces_, control), now);
    if (counts) {
        responder_.transport().report_drained(exchange_of(tail).connection, 0);
    }
    return true;
}

void TailHub::send_control(Tail& tail, bool up_to_date, bool closed, base::Now now) {
    std::array<char, offset_token_bytes> token;
    write_offset(token.data(), tail.offset_);
    net::SseControl control;
    control.next_offset = {token.data(), token.size()};
    control.has_cursor = !closed;
    control.cursor = cursor_for(tail, now.wall);
    control.up_to_date = up_to_date;
    control.closed = closed;
    send_frame(tail, net::encode_sse_control(control), now);
}

void TailHub::send_frame(Tail& tail, const net::SseFrame& frame, base::Now now) {
    tail.told_ = true;
    tail.last_sent_ = now.mono;
    responder_.transport().write(exchange_of(tail).connection,
                                 tail.http_1_0_ ? frame.plain : frame.chunked);
}

void TailHub::answer_long_poll(Tail& tail, const api::ReadReply& read, base::Now now) {
    Exchange& exchange = exchange_of(tail);
    const bool data = read.next > read.from;
    const std::uint64_t cursor = cursor_for(tail, now.wall);
    const base::ShardId from = tail.watch_->shard;
    finish(tail);
    if (!responder_.has_room(exchange, from, read, now.mono)) {
        return;
    }
    net::ResponseWriter writer = responder_.begin(exchange, data ? 200 : 204, true);
    std::array<char, offset_token_bytes> token;
    write_offset(token.data(), read.next);
    writer.header("Stream-Next-Offset", {token.data(), token.size()});
    if (read.up_to_date) {
        writer.constant("Stream-Up-To-Date: true\r\n");
    }
    if (read.closed) {
        writer.constant("Stream-Closed: true\r\n");
    } else {
        writer.header("Stream-Cursor", cursor);
    }
    if (!data) {
        writer.constant("Cache-Control: no-store\r\n");
        responder_.end(exchange, writer.end_without_body());
        return;
    }
    const Form form = Responder::form_of(exchange, read);
    writer.header(
        "ETag", etag(options_.data_id, read.incarnation, read.from, read.next, read.closed, form));
    writer.constant("Cache-Control: public, max-age=60, stale-while-revalidate=300\r\n");
    responder_.body(exchange, writer, read, form);
}

void TailHub::end_sse(Tail& tail) {
    Exchange& exchange = exchange_of(tail);
    if (!tail.http_1_0_) {
        responder_.transport().write(exchange.connection, base::as_bytes(net::sse_last_chunk));
    }
    finish(tail);
    responder_.end(exchange, true);
}

void TailHub::finish(Tail& tail) {
    Watch& watch = *tail.watch_;
    wheel_.cancel(tail.wake_);
    if (tail.state_ == Tail::State::roomless) {
        leave_room_queue(tail);
    }
    if (tail.room_granted_) {
        give_back_room(exchange_of(tail).connection);
    }
    if (tail.previous_ != nullptr) {
        tail.previous_->following_ = tail.following_;
    } else {
        watch.first = tail.following_;
    }
    if (tail.following_ != nullptr) {
        tail.following_->previous_ = tail.previous_;
    }
    list_if_idle(watch);
    --(tail.mode_ == TailMode::sse ? counters_.sse_readers : counters_.long_polls);
    --tails_;
    exchange_of(tail).tail = nullptr;
    delete &tail;
}

void TailHub::drop(Exchange& exchange) {
    if (exchange.tail->mode_ == TailMode::sse) {
        ++counters_.sse_ended_client;
    }
    finish(*exchange.tail);
}

void TailHub::on_drained(net::ConnectionId id, Exchange* reader) {
    net::Transport& transport = responder_.transport();
    Tail* const tail = reader != nullptr ? reader->tail : nullptr;
    if (room_of(id) > 0 && (tail == nullptr || !tail->room_granted_)) {
        if (!transport.alive(id)) {
            return;  // it flushes and closes: on_closed
        }
        if (transport.output_pending(id) > 0) {
            transport.report_drained(id, 0);  // this report was for another's low water
            return;
        }
        give_back_room(id);
    }
    if (tail != nullptr && tail->state_ == Tail::State::paused) {
        read_on(*tail);
    }
}

void TailHub::on_end_of_input(Exchange& exchange, base::Now now) {
    Tail& tail = *exchange.tail;
    if (tail.head_sent_ && responder_.transport().output_pending(exchange.connection) == 0) {
        responder_.transport().write(exchange.connection,
                                     tail.http_1_0_ ? heartbeat_.plain : heartbeat_.chunked);
        // What a client that is gone answers shows with the next one.
        const base::Duration soon = std::min(base::seconds(1), options_.sse_heartbeat);
        tail.last_sent_ = base::Instant{now.mono.ns + (soon - options_.sse_heartbeat).ns};
        set_wake(tail, now);
    }
}

void TailHub::on_time(base::Now now) {
    expired_.clear();
    wheel_.take_expired(now.mono, expired_);
    for (net::Timer* timer : expired_) {
        Tail& tail = *static_cast<Tail::Wake*>(timer)->tail;
        if (tail.mode_ == TailMode::long_poll) {
            if (now.mono < tail.life_end_) {
                if (tail.state_ == Tail::State::paused || tail.state_ == Tail::State::held) {
                    read_on(tail);
                }
                set_wake(tail, now);
                continue;
            }
            // Its time is over: one last look decides, so that a 204 is true at the moment it is
            // given.
            tail.last_look_ = true;
            if (tail.state_ != Tail::State::reading) {
                read_on(tail);
            }
            continue;
        }
        if (now.mono >= tail.life_end_ && tail.head_sent_) {
            ++counters_.sse_ended_lifetime;
            end_sse(tail);
            continue;
        }
        Exchange& exchange = exchange_of(tail);
        const bool slow = responder_.transport().output_pending(exchange.connection) > 0;
        if (tail.state_ == Tail::State::held || (tail.state_ == Tail::State::paused && !slow)) {
            read_on(tail);
        }
        if (tail.head_sent_ && !slow && now.mono >= tail.last_sent_ + options_.sse_heartbeat) {
            responder_.transport().write(exchange.connection,
                                         tail.http_1_0_ ? heartbeat_.plain : heartbeat_.chunked);
            tail.last_sent_ = now.mono;
        } else if (slow) {
            tail.last_sent_ = now.mono;
        }
        set_wake(tail, now);
    }
}

void TailHub::end_all(base::Now now) {
    ending_ = true;
    std::vector<Tail*> all;
    const auto add_readers = [&all](const auto& watches) {
        for (const auto& [key, watch] : watches) {
            for (Tail* tail = watch->first; tail != nullptr; tail = tail->following_) {
                all.push_back(tail);
            }
        }
    };
    add_readers(watches_);
    add_readers(gone_);
    for (Tail* tail : all) {
        if (tail->mode_ == TailMode::long_poll) {
            tail->last_look_ = true;
            if (tail->state_ != Tail::State::reading) {
                read_on(*tail);
            }
        } else if (tail->head_sent_) {
            ++counters_.sse_ended_shutdown;
            end_sse(*tail);
        }
    }
    static_cast<void>(now);
}

void TailHub::finish_turn() {
    encoded_bytes_ = 0;
    grant_room();
    release_watches();
}

void TailHub::release_watches() {
    idle_now_.swap(idle_watches_);
    for (Watch* watch : idle_now_) {
        watch->listed_idle = false;
        if (watch->first != nullptr) {
            continue;
        }
        if (watch->state == Watch::State::gone) {
            gone_.erase(watch->id.value);
            continue;
        }
        api::Call call;
        call.id = watch->id;
        call.from = options_.shard;
        call.verb = api::UnwatchCall{key_of(*watch), watch->id};
        if (!calls_.send(watch->shard, call)) {
            list_if_idle(*watch);  // the other core's mailbox is full: in a later turn
            continue;
        }
        watches_by_id_.erase(watch->id.value);
        watches_.erase(watches_.find(watch->name));
    }
    idle_now_.clear();
}

}  // namespace ursula::http
