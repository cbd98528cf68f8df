// TailHub: the live readers of one loop (DESIGN "Tails"). Readers of one stream share one watch on
// its shard and one encoded event per turn. A reader that is behind - just come, slow, or past a
// large append - catches up by reads and joins the live ones when its offset is the watch's tail.
// Knows exchanges and connections, no groups.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "api/call.h"
#include "api/reply.h"
#include "base/random.h"
#include "http/edge.h"
#include "http/exchange.h"
#include "http/turn_arena.h"
#include "net/sse_writer.h"
#include "net/timers.h"

namespace ursula::http {

class Responder;
class TailHub;
struct Watch;

enum class TailMode : std::uint8_t { long_poll, sse };

// One live reader. Owned by the hub from start() until its exchange ends or its connection is gone.
class Tail {
  private:
    friend class TailHub;
    friend struct Watch;
    enum class State : std::uint8_t {
        reading,   // a ReadCall is under way
        joining,   // at the tail as far as it knows; the watch is being opened
        live,      // in the watch's list, at its tail
        paused,    // SSE: its output is at the bound; goes on reading when drained
        held,      // the other core's mailbox was full; asks again at the wheel's next tick
        roomless,  // SSE: its next event is more than is left of tail_private_bytes_max; queued
    };
    struct Wake
        : net::Timer {  // long-poll: its end; SSE: the next heartbeat or the end of its life
        Tail* tail = nullptr;
    };
    Wake wake_;
    Watch* watch_ = nullptr;
    Tail* previous_ = nullptr;  // in the watch's list of all its tails
    Tail* following_ = nullptr;
    std::uint32_t exchange_ = 0;
    TailMode mode_ = TailMode::sse;
    State state_ = State::reading;
    bool head_sent_ = false;  // SSE
    bool last_look_ = false;  // long-poll: the time is over, this read decides between 200 and 204
    bool told_ = false;       // SSE: a control event was sent
    bool http_1_0_ = false;
    net::SseEncoding encoding_ = net::SseEncoding::text;
    bool read_once_ = false;         // incarnation_ is known
    base::Incarnation incarnation_;  // of the stream as it was first read
    std::uint64_t offset_ = 0;       // next byte to send
    std::uint64_t cursor_ =
        0;  // the last one sent, or the client's answer to come; see TailHub::cursor_for
    base::Instant life_end_;
    base::Instant last_sent_;
    // roomless: the size of its next event, and the hub's queue. Then, while room_granted_, so much
    // is kept free for it until it has read that event again.
    std::uint64_t room_wanted_ = 0;
    bool room_granted_ = false;
    Tail* queued_before_ = nullptr;
    Tail* queued_behind_ = nullptr;
};

class TailHub {
  public:
    TailHub(const EdgeOptions& options, Responder& responder, CallSink& calls, TurnArena& arena,
            Exchanges& exchanges, EdgeCounters& counters, base::Instant now);
    ~TailHub();
    TailHub(const TailHub&) = delete;
    TailHub& operator=(const TailHub&) = delete;

    // The exchange is its connection's only one. `cursor` is the client's, raw.
    struct Start {
        TailMode mode = TailMode::sse;
        api::StreamKey key;
        bool from_now = false;
        std::uint64_t offset = 0;
        std::string_view cursor;
    };
    // Anything but none: it was not taken, and why (too_many_tails, overloaded); the answer is the
    // caller's.
    [[nodiscard]] api::Refusal start(Exchange& exchange, const Start& start, base::Now now);

    // Answers to the calls made for tails and watches.
    void on_read(Exchange& exchange, api::Answer& answer, base::Now now);
    void on_watch(api::CallId id, api::Answer& answer, base::Now now);
    static bool is_watch(api::CallId id) { return (id.value >> 56) == 1; }

    // Its connection went away. on_closed: of every connection, after its exchanges.
    void drop(Exchange& exchange);
    void on_closed(net::ConnectionId id) { give_back_room(id); }
    // `reader`: of that connection, or null.
    void on_drained(net::ConnectionId id, Exchange* reader);
    // Its client will send no more. One that is gone says so when it is written to: soon, for it
    // keeps its stream from expiring.
    void on_end_of_input(Exchange& exchange, base::Now now);
    void on_time(base::Now now);
    base::Instant deadline() const { return wheel_.next(); }
    // The server stops: SSE ends cleanly, long-polls answer 204. A reader whose first read is under
    // way, or that comes later, gets what that read finds and ends then.
    void end_all(base::Now now);
    // Once per turn, after the replies: readers for whose events there is room by now go on, and
    // watches whose last reader is gone are given up.
    void finish_turn();
    std::size_t tails() const { return tails_; }

  private:
    void release_watches();
    void read_on(Tail& tail);
    bool must_drain(const Tail& tail);
    void pause(Tail& tail);
    void hold(Tail& tail);
    std::uint64_t& room_of(net::ConnectionId id);
    bool fits(std::uint64_t bytes) const;
    void take_room(net::ConnectionId id, std::uint64_t bytes);
    void give_back_room(net::ConnectionId id);
    void wait_for_room(Tail& tail, std::uint64_t bytes);
    void leave_room_queue(Tail& tail);
    void grant_room();
    void lose(Tail& tail, const api::Refused& why);
    void lose_watch(Watch& watch, const api::Refused& why);
    void list_if_idle(Watch& watch);
    api::StreamKey key_of(const Watch& watch);
    void join(Tail& tail, base::Now now);
    void deliver(Tail& tail, const api::Post& post, base::Now now);
    // False: not now, there is no room for that event or this turn has done enough; the reader will
    // read it again.
    [[nodiscard]] bool send_data(Tail& tail, std::uint64_t next,
                                 std::span<const base::Slice> pieces, bool up_to_date, bool closed,
                                 bool granted, base::Now now);
    void send_control(Tail& tail, bool up_to_date, bool closed, base::Now now);
    void send_frame(Tail& tail, const net::SseFrame& frame, base::Now now);
    std::uint64_t cursor_for(Tail& tail, base::WallTime now);
    void begin_sse(Tail& tail, const api::ReadReply& read);
    void end_sse(Tail& tail);
    void finish(Tail& tail);  // unlinks and frees; the exchange is the caller's
    void answer_long_poll(Tail& tail, const api::ReadReply& read, base::Now now);
    void set_wake(Tail& tail, base::Now now);
    Watch* watch_of(const api::StreamKey& key);
    Tail& tail_of(Exchange& exchange) { return *exchange.tail; }
    Exchange& exchange_of(const Tail& tail) { return exchanges_.at(tail.exchange_); }

    const EdgeOptions& options_;
    Responder& responder_;
    CallSink& calls_;
    TurnArena& arena_;
    Exchanges& exchanges_;
    EdgeCounters& counters_;
    base::Random random_;
    net::TimerWheel wheel_;
    // A watch is destroyed by release_watches() alone: replies of a turn may end its readers while
    // somebody still looks at it.
    std::unordered_map<std::string, std::unique_ptr<Watch>> watches_;  // opening or open, by name
    std::unordered_map<std::uint64_t, Watch*> watches_by_id_;          // the same ones
    // Lost ones whose last readers wait for a read; by id, since a stream of that name may come and
    // go again meanwhile.
    std::unordered_map<std::uint64_t, std::unique_ptr<Watch>> gone_;
    std::vector<Watch*> idle_watches_;  // maybe without readers
    std::vector<Watch*> idle_now_;
    std::uint64_t next_watch_ = 1;
    std::size_t tails_ = 0;
    bool ending_ = false;  // end_all was called
    // Bytes of tail_private_bytes_max a connection has, by its slot: of the event in its output,
    // from the encoding to the last byte sent, whether its reader is still there or not; or kept
    // free for it. Their sum is counters_.sse_private_bytes.
    std::vector<std::uint64_t> rooms_;
    std::uint64_t encoded_bytes_ = 0;  // this turn, for single readers
    Tail* roomless_first_ = nullptr;   // in the order they came
    Tail* roomless_last_ = nullptr;
    net::SseFrame heartbeat_;
    std::vector<net::Timer*> expired_;
    std::vector<base::Bytes> pieces_;
    // The shared encoding of the post being delivered; empty until the first reader needs it.
    net::SseFrame shared_[3];
    bool shared_made_[3] = {};
};

}  // namespace ursula::http
