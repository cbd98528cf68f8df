// Transport: all client connections of one loop, bytes in and bytes out. It speaks in lists per
// turn and calls nobody:
//
//   ring.reap();                      completions are only collected
//   transport.begin_turn(now);        accepted(), received(), drained(), expired(), closed() now
//   describe this turn
//   ... transport.output(id) ...      replies are written, corked
//   transport.flush();                one send per connection, buffers returned, receives re-armed,
//   closes ring.submit_and_wait(transport.next_deadline() - now)
//
// The bytes of received() are valid until flush(). A ConnectionId stays safe to use after the
// connection is gone: calls with a stale id do nothing.
#pragma once

#include <compare>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/capacity.h"
#include "base/limits.h"
#include "base/result.h"
#include "base/slice.h"
#include "base/time.h"
#include "net/output_buffer.h"

namespace ursula::net {

class Ring;
class ReceiveBuffers;
class TimerWheel;
struct Op;
struct Timer;
struct SendVector;
struct Connection;

struct ConnectionId {
    std::uint32_t slot = 0;        // dense, reused; an index for the caller's own table
    std::uint32_t generation = 0;  // 0: no connection
    constexpr auto operator<=>(const ConnectionId&) const = default;
};

// Where a connection came in: its listener's.
enum class Plane : std::uint8_t { client, admin };

struct TransportOptions {
    // Connections; further ones get a canned 503. Outlives the transport; null: no bound. Those of
    // the admin plane have room of their own, so that a crowd of clients cannot lock operators out.
    base::Capacity* connections = nullptr;
    base::Capacity* admin_connections = nullptr;
    base::Duration header_timeout = base::milliseconds(base::limits::header_timeout_ms);
    base::Duration body_idle_timeout = base::milliseconds(base::limits::body_idle_timeout_ms);
    base::Duration keep_alive_timeout = base::milliseconds(base::limits::keep_alive_timeout_ms);
    base::Duration send_stall_timeout = base::milliseconds(base::limits::send_stall_timeout_ms);
    base::Duration linger_timeout = base::milliseconds(base::limits::linger_timeout_ms);
    std::uint64_t drain_bytes_max = base::limits::drain_bytes_max;
    int tail_unsent_bytes = 64 * 1024;  // TCP_NOTSENT_LOWAT of a tailing connection
};

struct TransportCounters {
    std::uint64_t accepted = 0;
    std::uint64_t refused = 0;        // over the bound on connections
    std::uint64_t accept_errors = 0;  // out of file descriptors and the like
    std::uint64_t closed = 0;
    std::uint64_t received_bytes = 0;
    std::uint64_t sent_bytes = 0;
    std::uint64_t receives = 0;
    std::uint64_t sends = 0;
    std::uint64_t short_sends = 0;
    std::uint64_t out_of_buffers = 0;  // receives that found the provided buffers used up
    std::uint64_t stalled = 0;  // closed because the peer took no byte for send_stall_timeout
    std::uint64_t expired = 0;  // input deadlines reported
    std::uint64_t reset = 0;    // gone by the peer's reset or a socket error
    std::uint32_t open = 0;     // gauge: connections the caller knows of
};

// What the caller waits for from the peer; each has its deadline.
enum class InputPhase : std::uint8_t {
    none,          // a request is being answered: no deadline
    next_request,  // keep_alive_timeout from the call
    head,          // header_timeout from the first call, however many bytes trickle in
    body,          // body_idle_timeout since the last byte
};

struct Received {
    ConnectionId connection;
    base::Bytes bytes;  // in order; until flush()
    bool end_of_input =
        false;  // the peer will send no more (FIN); it may still be reading. bytes is then empty
};

struct Expired {
    ConnectionId connection;
    InputPhase phase =
        InputPhase::none;  // reset to none by the report; the caller answers 408 or just closes
};

class Transport {
  public:
    // Ring and buffers must outlive it.
    Transport(Ring& ring, ReceiveBuffers& buffers, const TransportOptions& options,
              base::Instant now);
    // The ring must have been left (no completion may arrive any more): closes every socket.
    ~Transport();
    Transport(const Transport&) = delete;
    Transport& operator=(const Transport&) = delete;

    // Starts to accept on a listening socket, which stays the caller's. stop_accepting keeps
    // connections alive; those in the listener's queue are reset when the caller closes it.
    void listen(int listener, Plane plane = Plane::client);
    void stop_accepting();

    // --- once per turn, in this order ---
    void begin_turn(base::Instant now);
    const std::vector<ConnectionId>& accepted() const { return accepted_; }
    const std::vector<Received>& received() const { return received_; }
    const std::vector<ConnectionId>& drained() const { return drained_; }
    const std::vector<Expired>& expired() const { return expired_; }
    // Each accepted connection is in closed() exactly once, whoever ended it; its id is stale from
    // then on.
    const std::vector<ConnectionId>& closed() const { return closed_; }
    void flush();
    base::Instant next_deadline() const;

    // --- between begin_turn and flush ---
    bool alive(ConnectionId id) const;
    Plane plane(ConnectionId id) const;  // client for a stale id
    // Where replies are written; nothing is sent before flush(). For a stale id a sink that forgets
    // at flush().
    OutputBuffer& output(ConnectionId id);
    void write(ConnectionId id, base::Bytes bytes) { output(id).write(bytes); }
    void write(ConnectionId id, base::Slice slice) { output(id).write(std::move(slice)); }
    // Bytes queued and in flight. Producers pause at limits::output_bytes_max; nothing is refused
    // here.
    std::size_t output_pending(ConnectionId id) const;
    // Reports the connection once in drained() when at most `low_water` bytes are pending (at once
    // in the next turn if so).
    void report_drained(ConnectionId id, std::size_t low_water = 0);

    void set_input_phase(ConnectionId id, InputPhase phase);
    // Stops taking bytes from the socket; what is already on its way still arrives in received().
    void pause_input(ConnectionId id);
    void resume_input(ConnectionId id);
    // Keeps the backlog of a slow tail reader out of the kernel (TCP_NOTSENT_LOWAT).
    void prepare_for_tail(ConnectionId id);

    // Sends what is queued, then FIN, drops what the peer still sends (so that it sees the reply
    // instead of a reset), and closes at its FIN, after linger_timeout or drain_bytes_max. Nothing
    // more of it appears in received().
    void close_after_flush(ConnectionId id);
    // Closes now; queued output is lost.
    void abort(ConnectionId id);
    // For shut-down: every connection, also those that are flushing or lingering.
    void abort_all();

    const TransportCounters& counters() const { return counters_; }
    std::uint32_t open_connections() const { return counters_.open; }

  private:
    friend struct Connection;
    struct Acceptor;
    static void reap_accept(Op* op, std::int32_t result, std::uint32_t flags);
    static void reap_receive(Op* op, std::int32_t result, std::uint32_t flags);
    static void reap_send(Op* op, std::int32_t result, std::uint32_t flags);

    struct ReceiveDone {
        Connection* connection;
        std::int32_t result;
        std::uint32_t flags;
    };
    struct SendDone {
        Connection* connection;
        std::int32_t result;
    };
    struct AcceptDone {
        Acceptor* acceptor;
        std::int32_t result;
        bool more;
    };

    Connection* find(ConnectionId id) const;
    ConnectionId id_of(const Connection& connection) const;
    void arm_accept(Acceptor& acceptor);
    void accept_done(const AcceptDone& done);
    void accept_one(int socket, Plane plane);
    base::Capacity* capacity_of(Plane plane) const {
        return plane == Plane::admin ? options_.admin_connections : options_.connections;
    }
    void receive_one(const ReceiveDone& done);
    void send_one(const SendDone& done);
    void expire_one(Connection& connection);
    void mark_dirty(Connection& connection);
    void service(Connection& connection);
    void start_send(Connection& connection);
    void set_input_deadline(Connection& connection, base::Instant at);
    void shut_down(Connection& connection);
    void release(Connection& connection);

    Ring& ring_;
    ReceiveBuffers& buffers_;
    TransportOptions options_;
    base::Instant now_;
    OutputPool pool_;
    std::unique_ptr<TimerWheel> wheel_;
    std::vector<std::unique_ptr<Connection>> connections_;  // by slot; reused, never freed
    std::vector<std::uint32_t> free_slots_;
    std::vector<std::uint32_t> resting_slots_;   // free after this turn
    std::vector<std::uint32_t> released_slots_;  // resting after this turn
    std::vector<SendVector*> vectors_;           // owned, not in use
    std::vector<std::unique_ptr<Acceptor>> acceptors_;
    OutputBuffer sink_{pool_};

    // Filled by reap, emptied by begin_turn.
    std::vector<AcceptDone> accepts_done_;
    std::vector<ReceiveDone> receives_done_;
    std::vector<SendDone> sends_done_;
    // This turn's lists.
    std::vector<ConnectionId> accepted_;
    std::vector<Received> received_;
    std::vector<ConnectionId> drained_;
    std::vector<Expired> expired_;
    std::vector<ConnectionId> closed_;
    // For the next turn: what the caller's own calls and flush() brought about.
    std::vector<ConnectionId> closed_next_;
    std::vector<ConnectionId> drained_next_;
    std::vector<Connection*> dirty_;
    std::vector<std::uint16_t> buffers_in_use_;
    std::vector<Timer*> timers_due_;
    std::uint32_t refused_open_ = 0;
    bool beginning_ = false;  // inside begin_turn
    TransportCounters counters_;
};

}  // namespace ursula::net
