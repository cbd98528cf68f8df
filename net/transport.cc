#include "net/transport.h"

#include <linux/tcp.h>  // glibc's tcp_info lacks tcpi_bytes_acked
#include <netinet/in.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/verify.h"
#include "net/buffers.h"
#include "net/connection.h"
#include "net/ring.h"

namespace ursula::net {

namespace {

// The bytes of a 503 as src/http/responder.cc writes it, without a request to answer: no id of its
// own, no CORS block.
constexpr std::string_view refusal_response =
    "HTTP/1.1 503 Service Unavailable\r\n"
    "X-Content-Type-Options: nosniff\r\n"
    "Cross-Origin-Resource-Policy: cross-origin\r\n"
    "Connection: close\r\n"
    "Content-Type: application/problem+json\r\n"
    "Cache-Control: no-store\r\n"
    "Retry-After: 1\r\n"
    "X-Request-Id: 0000000000000000\r\n"
    "Content-Length: 213\r\n"
    "\r\n"
    "{\"status\":503,\"code\":\"too_many_connections\",\"title\":\"The server has as many "
    "connections as it may\",\"hint\":\"close idle ones or try again later; "
    "server.max_connections is the bound\",\"request_id\":\"0000000000000000\"}\n";
static_assert(refusal_response.size() - refusal_response.find("\r\n\r\n") - 4 == 213);

// After running out of file descriptors: how long to leave the queue alone.
constexpr base::Duration accept_retry_delay = base::milliseconds(100);

// A send is looked at this many times per send_stall_timeout; the peer is stalled when the count
// passed without progress.
constexpr int looks_per_stall_timeout = 2;

std::uint64_t acknowledged_bytes_of(int socket) {
    tcp_info info{};
    socklen_t size = sizeof(info);
    ::getsockopt(socket, IPPROTO_TCP, TCP_INFO, &info, &size);
    return info.tcpi_bytes_acked;
}

}  // namespace

struct Transport::Acceptor : Op {
    Transport* transport = nullptr;
    int listener = -1;
    bool armed = false;
    bool wanted = true;
    Plane plane = Plane::client;
    base::Instant retry_at = base::Instant::never();
};

inline Connection* Transport::find(ConnectionId id) const {
    if (id.slot >= connections_.size()) {
        return nullptr;
    }
    Connection* connection = connections_[id.slot].get();
    // An id that names nothing has generation 0, as has a connection that may not be used.
    return connection->usable_generation == id.generation && id.generation != 0 ? connection
                                                                                : nullptr;
}

Transport::Transport(Ring& ring, ReceiveBuffers& buffers, const TransportOptions& options,
                     base::Instant now)
    : ring_(ring),
      buffers_(buffers),
      options_(options),
      now_(now),
      wheel_(std::make_unique<TimerWheel>(now)) {}

Transport::~Transport() {
    for (const std::unique_ptr<Connection>& connection : connections_) {
        if (connection->life != Connection::Life::free) {
            // Ends operations in flight, so that the kernel lets go of their buffers.
            ::shutdown(connection->socket, SHUT_RDWR);
            ::close(connection->socket);
        }
        delete connection->vector;  // of a send in flight, which copied it when it began
    }
    for (SendVector* vector : vectors_) {
        delete vector;
    }
}

// --- reaping: collect only ---

void Transport::reap_accept(Op* op, std::int32_t result, std::uint32_t flags) {
    Acceptor* acceptor = static_cast<Acceptor*>(op);
    acceptor->transport->accepts_done_.push_back({acceptor, result, more_follow(flags)});
}

void Transport::reap_receive(Op* op, std::int32_t result, std::uint32_t flags) {
    Connection* connection = static_cast<ConnectionOp*>(op)->connection;
    connection->transport->receives_done_.push_back({connection, result, flags});
}

void Transport::reap_send(Op* op, std::int32_t result, std::uint32_t) {
    Connection* connection = static_cast<ConnectionOp*>(op)->connection;
    connection->transport->sends_done_.push_back({connection, result});
}

// --- accepting ---

void Transport::listen(int listener, Plane plane) {
    auto acceptor = std::make_unique<Acceptor>();
    acceptor->reap = reap_accept;
    acceptor->transport = this;
    acceptor->listener = listener;
    acceptor->plane = plane;
    arm_accept(*acceptor);
    acceptors_.push_back(std::move(acceptor));
}

void Transport::arm_accept(Acceptor& acceptor) {
    acceptor.retry_at = base::Instant::never();
    acceptor.armed = true;
    ring_.accept_multishot(acceptor, acceptor.listener);
}

void Transport::stop_accepting() {
    for (const std::unique_ptr<Acceptor>& acceptor : acceptors_) {
        acceptor->wanted = false;
        acceptor->retry_at = base::Instant::never();
        if (acceptor->armed) {
            ring_.cancel(*acceptor);
        }
    }
}

void Transport::accept_done(const AcceptDone& done) {
    Acceptor& acceptor = *done.acceptor;
    acceptor.armed = done.more;
    if (done.result >= 0) {
        if (acceptor.wanted) {
            accept_one(done.result, acceptor.plane);
        } else {
            ::close(done.result);
        }
    }
    if (acceptor.armed || !acceptor.wanted) {
        return;
    }
    switch (-done.result) {
        case EMFILE:
        case ENFILE:
        case ENOMEM:
        case ENOBUFS:
            ++counters_.accept_errors;
            acceptor.retry_at = now_ + accept_retry_delay;
            break;
        case EBADF:
        case EINVAL:
        case ENOTSOCK:
        case EOPNOTSUPP:  // the listener is gone: nothing to wait for
            ++counters_.accept_errors;
            acceptor.wanted = false;
            break;
        default:  // the multishot ended, or a client went away before it was accepted
            arm_accept(acceptor);
            break;
    }
}

void Transport::accept_one(int socket, Plane plane) {
    base::Capacity* const capacity = capacity_of(plane);
    const bool refuse = capacity != nullptr && !capacity->take(1);
    if (refuse) {
        ++counters_.refused;
        if (refused_open_ >= base::limits::refused_at_once_max) {
            ::close(socket);
            return;
        }
    }
    if (free_slots_.empty()) {
        connections_.push_back(std::make_unique<Connection>(*this, pool_));
        Connection& fresh = *connections_.back();
        fresh.slot = static_cast<std::uint32_t>(connections_.size() - 1);
        fresh.receive.reap = reap_receive;
        fresh.send.reap = reap_send;
        free_slots_.push_back(fresh.slot);
    }
    Connection& connection = *connections_[free_slots_.back()];
    free_slots_.pop_back();
    connection.socket = socket;
    connection.life = Connection::Life::open;
    connection.plane = plane;
    connection.known = !refuse;
    connection.usable_generation = refuse ? 0 : connection.generation;
    connection.input_deadline = base::Instant::never();
    connection.send_deadline = base::Instant::never();
    mark_dirty(connection);  // arms the receive
    if (refuse) {
        ++refused_open_;
        connection.life = Connection::Life::flushing;
        connection.output.write(refusal_response);
        return;
    }
    ++counters_.accepted;
    ++counters_.open;
    connection.input_phase = InputPhase::next_request;
    set_input_deadline(connection, now_ + options_.keep_alive_timeout);
    accepted_.push_back(id_of(connection));
}

// --- the turn ---

void Transport::begin_turn(base::Instant now) {
    now_ = now;
    beginning_ = true;
    accepted_.clear();
    received_.clear();
    expired_.clear();
    closed_.clear();
    drained_.clear();
    closed_.swap(closed_next_);
    for (const ConnectionId id : drained_next_) {
        if (find(id) != nullptr) {
            drained_.push_back(id);
        }
    }
    drained_next_.clear();
    for (const AcceptDone& done : accepts_done_) {
        accept_done(done);
    }
    accepts_done_.clear();
    for (const SendDone& done : sends_done_) {
        send_one(done);
    }
    sends_done_.clear();
    for (const ReceiveDone& done : receives_done_) {
        receive_one(done);
    }
    receives_done_.clear();
    timers_due_.clear();
    wheel_->take_expired(now, timers_due_);
    for (Timer* timer : timers_due_) {
        expire_one(*static_cast<ConnectionTimer*>(timer)->connection);
    }
    beginning_ = false;
}

void Transport::receive_one(const ReceiveDone& done) {
    Connection& connection = *done.connection;
    base::Bytes bytes;
    if (has_buffer(done.flags)) {
        const std::uint16_t id = buffer_id(done.flags);
        bytes = buffers_.take(id, done.result > 0 ? static_cast<std::size_t>(done.result) : 0);
        buffers_in_use_.push_back(id);
    }
    if (!more_follow(done.flags)) {
        connection.receive_armed = false;
        connection.cancel_sent = false;
        mark_dirty(connection);  // re-arms it, or lets go of the connection
    }
    if (connection.life == Connection::Life::closing) {
        return;
    }
    if (done.result > 0) {
        ++counters_.receives;
        counters_.received_bytes += bytes.size();
        if (connection.life == Connection::Life::open) {
            received_.push_back({id_of(connection), bytes, false});
            if (connection.input_phase == InputPhase::body) {
                connection.input_deadline = now_ + options_.body_idle_timeout;
            }
        } else {
            connection.drained_bytes += bytes.size();
            if (connection.drained_bytes > options_.drain_bytes_max) {
                shut_down(connection);
            }
        }
        return;
    }
    if (done.result == 0) {
        connection.end_of_input = true;
        if (connection.life == Connection::Life::open) {
            received_.push_back({id_of(connection), {}, true});
        } else if (connection.life == Connection::Life::lingering) {
            shut_down(connection);
        }
        return;
    }
    switch (-done.result) {
        case ENOBUFS:
            // Buffers come back at this turn's flush, and only then is it worth asking again.
            ++counters_.out_of_buffers;
            break;
        case ECANCELED:  // paused
        case EINTR:
        case EAGAIN:
            break;
        default:
            ++counters_.reset;
            shut_down(connection);
            break;
    }
}

void Transport::send_one(const SendDone& done) {
    Connection& connection = *done.connection;
    connection.sending = false;
    connection.send_deadline = base::Instant::never();
    if (connection.vector != nullptr) {
        vectors_.push_back(connection.vector);
        connection.vector = nullptr;
    }
    if (connection.life == Connection::Life::closing) {
        mark_dirty(connection);
        return;
    }
    if (done.result < 0) {
        if (done.result != -EINTR && done.result != -EAGAIN) {
            ++counters_.reset;
            shut_down(connection);
        }
        mark_dirty(connection);
        return;
    }
    const auto sent = static_cast<std::uint32_t>(done.result);
    counters_.sent_bytes += sent;
    if (sent < connection.send_size) {
        ++counters_.short_sends;
    }
    connection.output.consume(sent);
    if (!connection.output.empty() || connection.life != Connection::Life::open) {
        mark_dirty(connection);  // more to send, or FIN
    }
    if (connection.wants_drained && connection.output.size() <= connection.low_water) {
        connection.wants_drained = false;
        drained_.push_back(id_of(connection));
    }
}

void Transport::flush() {
    sink_.clear();
    // The list may grow while it is worked on.
    for (std::size_t i = 0; i < dirty_.size(); ++i) {
        service(*dirty_[i]);
    }
    dirty_.clear();
    for (const std::uint16_t id : buffers_in_use_) {
        buffers_.give_back(id);
    }
    buffers_in_use_.clear();
    buffers_.publish();
    for (const std::unique_ptr<Acceptor>& acceptor : acceptors_) {
        if (acceptor->retry_at <= now_) {
            arm_accept(*acceptor);
        }
    }
    // A slot rests until the turn after its end was reported, so that lists of one turn never name
    // it twice.
    free_slots_.insert(free_slots_.end(), resting_slots_.begin(), resting_slots_.end());
    resting_slots_.clear();
    resting_slots_.swap(released_slots_);
}

base::Instant Transport::next_deadline() const {
    if (!closed_next_.empty() || !drained_next_.empty()) {
        return now_;
    }
    base::Instant next = wheel_->next();
    for (const std::unique_ptr<Acceptor>& acceptor : acceptors_) {
        next = std::min(next, acceptor->retry_at);
    }
    return next;
}

// Whatever a connection needs from the ring at the end of a turn.
void Transport::service(Connection& connection) {
    connection.dirty = false;
    using Life = Connection::Life;
    switch (connection.life) {
        case Life::free:
            return;
        case Life::closing:
            if (!connection.receive_armed && !connection.sending) {
                release(connection);
            }
            return;
        case Life::open:
        case Life::flushing:
        case Life::lingering:
            break;
    }
    if (!connection.sending && !connection.output.empty()) {
        start_send(connection);
    }
    if (connection.life == Life::flushing && connection.output.empty()) {
        if (connection.end_of_input) {
            shut_down(connection);
            return;
        }
        ::shutdown(connection.socket, SHUT_WR);
        connection.life = Life::lingering;
        set_input_deadline(connection, now_ + options_.linger_timeout);
    }
    if (!connection.receive_armed && !connection.paused && !connection.end_of_input) {
        connection.receive_armed = true;
        ring_.receive_multishot(connection.receive, connection.socket, buffers_.group());
    }
}

// One send in flight per socket: two could overtake each other when the first waits for room.
void Transport::start_send(Connection& connection) {
    if (vectors_.empty()) {
        vectors_.push_back(new SendVector());
    }
    SendVector& vector = *vectors_.back();
    const std::size_t count = connection.output.front(vector.parts.data(), SendVector::parts_max);
    constexpr int flags = MSG_WAITALL | MSG_NOSIGNAL;
    if (count == 1) {
        const base::Bytes bytes{static_cast<const std::byte*>(vector.parts[0].iov_base),
                                vector.parts[0].iov_len};
        connection.send_size = static_cast<std::uint32_t>(bytes.size());
        ring_.send(connection.send, connection.socket, bytes, flags);
    } else {
        vectors_.pop_back();
        connection.vector = &vector;
        vector.message = {};
        vector.message.msg_iov = vector.parts.data();
        vector.message.msg_iovlen = count;
        std::size_t size = 0;
        for (std::size_t i = 0; i < count; ++i) {
            size += vector.parts[i].iov_len;
        }
        connection.send_size = static_cast<std::uint32_t>(size);
        ring_.send_message(connection.send, connection.socket, &vector.message, flags);
    }
    ++counters_.sends;
    connection.sending = true;
    connection.looks_without_progress = 0;
    connection.looked = false;
    connection.send_deadline = now_ + options_.send_stall_timeout / looks_per_stall_timeout;
    wheel_->schedule(connection.timer,
                     std::min(connection.send_deadline, connection.input_deadline));
}

// --- deadlines ---

void Transport::set_input_deadline(Connection& connection, base::Instant at) {
    connection.input_deadline = at;
    // One that lies before the timer's present place moves it; a later one is seen when that place
    // comes.
    wheel_->schedule(connection.timer, std::min(at, connection.send_deadline));
}

void Transport::expire_one(Connection& connection) {
    if (connection.life == Connection::Life::free || connection.life == Connection::Life::closing) {
        return;
    }
    if (connection.input_deadline <= now_) {
        connection.input_deadline = base::Instant::never();
        if (connection.life == Connection::Life::open) {
            ++counters_.expired;
            expired_.push_back({id_of(connection), connection.input_phase});
            connection.input_phase = InputPhase::none;
        } else if (connection.life == Connection::Life::lingering) {
            shut_down(connection);
            return;
        }
    }
    if (connection.send_deadline <= now_) {
        // A large send may be in flight for long while the peer takes bytes slowly: only no
        // progress at all ends it.
        const std::uint64_t acknowledged = acknowledged_bytes_of(connection.socket);
        const bool progress = !connection.looked || acknowledged != connection.acknowledged_bytes;
        connection.acknowledged_bytes = acknowledged;
        connection.looked = true;
        connection.looks_without_progress =
            progress ? std::uint8_t{0}
                     : static_cast<std::uint8_t>(connection.looks_without_progress + 1);
        if (connection.looks_without_progress >= looks_per_stall_timeout) {
            ++counters_.stalled;
            shut_down(connection);
            return;
        }
        connection.send_deadline = now_ + options_.send_stall_timeout / looks_per_stall_timeout;
    }
    wheel_->schedule(connection.timer,
                     std::min(connection.input_deadline, connection.send_deadline));
}

// --- the caller's calls ---

ConnectionId Transport::id_of(const Connection& connection) const {
    return {connection.slot, connection.generation};
}

void Transport::mark_dirty(Connection& connection) {
    if (!connection.dirty) {
        connection.dirty = true;
        dirty_.push_back(&connection);
    }
}

Plane Transport::plane(ConnectionId id) const {
    const Connection* connection = find(id);
    return connection == nullptr ? Plane::client : connection->plane;
}

bool Transport::alive(ConnectionId id) const {
    return find(id) != nullptr;
}

OutputBuffer& Transport::output(ConnectionId id) {
    Connection* connection = find(id);
    if (connection == nullptr) {
        return sink_;
    }
    mark_dirty(*connection);
    return connection->output;
}

std::size_t Transport::output_pending(ConnectionId id) const {
    const Connection* connection = find(id);
    return connection == nullptr ? 0 : connection->output.size();
}

void Transport::report_drained(ConnectionId id, std::size_t low_water) {
    Connection* connection = find(id);
    if (connection == nullptr) {
        return;
    }
    if (connection->output.size() <= low_water) {
        drained_next_.push_back(id);
        return;
    }
    connection->wants_drained = true;
    connection->low_water = low_water;
}

void Transport::set_input_phase(ConnectionId id, InputPhase phase) {
    Connection* connection = find(id);
    if (connection == nullptr) {
        return;
    }
    const InputPhase before = std::exchange(connection->input_phase, phase);
    switch (phase) {
        case InputPhase::none:
            connection->input_deadline = base::Instant::never();
            break;
        case InputPhase::next_request:
            set_input_deadline(*connection, now_ + options_.keep_alive_timeout);
            break;
        case InputPhase::head:
            if (before != InputPhase::head) {
                set_input_deadline(*connection, now_ + options_.header_timeout);
            }
            break;
        case InputPhase::body:
            set_input_deadline(*connection, now_ + options_.body_idle_timeout);
            break;
    }
}

void Transport::pause_input(ConnectionId id) {
    Connection* connection = find(id);
    if (connection == nullptr || connection->paused) {
        return;
    }
    connection->paused = true;
    if (connection->receive_armed && !connection->cancel_sent) {
        connection->cancel_sent = true;
        ring_.cancel(connection->receive);
    }
}

void Transport::resume_input(ConnectionId id) {
    Connection* connection = find(id);
    if (connection != nullptr && connection->paused) {
        connection->paused = false;
        mark_dirty(*connection);
    }
}

void Transport::prepare_for_tail(ConnectionId id) {
    const Connection* connection = find(id);
    if (connection != nullptr) {
        ::setsockopt(connection->socket, IPPROTO_TCP, TCP_NOTSENT_LOWAT,
                     &options_.tail_unsent_bytes, sizeof(options_.tail_unsent_bytes));
    }
}

void Transport::close_after_flush(ConnectionId id) {
    Connection* connection = find(id);
    if (connection == nullptr) {
        return;
    }
    connection->life = Connection::Life::flushing;
    connection->usable_generation = 0;
    connection->paused = false;  // what the peer still sends is read and dropped
    connection->input_phase = InputPhase::none;
    connection->input_deadline = base::Instant::never();
    mark_dirty(*connection);
}

void Transport::abort(ConnectionId id) {
    Connection* connection = find(id);
    if (connection != nullptr) {
        shut_down(*connection);
    }
}

void Transport::abort_all() {
    for (const std::unique_ptr<Connection>& connection : connections_) {
        shut_down(*connection);
    }
}

// --- ends ---

// From here on nothing goes in or out; the socket is closed once the kernel has let go of our
// buffers.
void Transport::shut_down(Connection& connection) {
    using Life = Connection::Life;
    if (connection.life == Life::closing || connection.life == Life::free) {
        return;
    }
    connection.life = Life::closing;
    connection.usable_generation = 0;
    if (connection.known) {
        connection.known = false;
        --counters_.open;
        if (base::Capacity* const capacity = capacity_of(connection.plane); capacity != nullptr) {
            capacity->give(1);
        }
        (beginning_ ? closed_ : closed_next_).push_back(id_of(connection));
    } else {
        --refused_open_;
    }
    if (connection.receive_armed || connection.sending) {
        ::shutdown(connection.socket, SHUT_RDWR);  // makes them complete
    }
    mark_dirty(connection);
}

void Transport::release(Connection& connection) {
    ring_.close_and_forget(connection.socket);
    ++counters_.closed;
    wheel_->cancel(connection.timer);
    connection.output.clear();
    connection.socket = -1;
    connection.life = Connection::Life::free;
    connection.input_phase = InputPhase::none;
    connection.paused = false;
    connection.cancel_sent = false;
    connection.end_of_input = false;
    connection.wants_drained = false;
    connection.drained_bytes = 0;
    ++connection.generation;
    if (connection.generation == 0) {
        connection.generation = 1;
    }
    released_slots_.push_back(connection.slot);
}

}  // namespace ursula::net
