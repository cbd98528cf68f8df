// Connection: what Transport knows of one socket. Kept small, because most connections are idle:
// buffers and send vectors are borrowed only while in use.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <cstdint>

#include "base/time.h"
#include "net/op.h"
#include "net/output_buffer.h"
#include "net/timers.h"
#include "net/transport.h"

namespace ursula::net {

// A send of more than one part. The kernel reads it until the completion.
struct SendVector {
    static constexpr std::size_t parts_max = 64;
    msghdr message{};
    std::array<iovec, parts_max> parts;
};

struct ConnectionOp : Op {
    Connection* connection = nullptr;
};

struct ConnectionTimer : Timer {
    Connection* connection = nullptr;
};

struct Connection {
    enum class Life : std::uint8_t {
        free,
        open,
        flushing,   // closes after what is queued has been sent; input is dropped
        lingering,  // FIN sent; input is dropped until the peer's FIN
        closing,    // shut down both ways; closed once no operation is in flight
    };

    Connection(Transport& owner, OutputPool& pool) : transport(&owner), output(pool) {
        receive.connection = this;
        send.connection = this;
        timer.connection = this;
    }

    Transport* transport;
    ConnectionOp receive;
    ConnectionOp send;
    ConnectionTimer timer;
    OutputBuffer output;
    SendVector* vector = nullptr;          // of the send in flight, when it has several parts
    base::Instant input_deadline{};        // by input_phase, or of lingering
    base::Instant send_deadline{};         // of the send in flight: the next look at its progress
    std::uint64_t acknowledged_bytes = 0;  // by the peer's TCP, at the last look
    std::uint64_t drained_bytes = 0;
    std::size_t low_water = 0;  // of report_drained
    std::uint32_t slot = 0;
    std::uint32_t generation = 1;
    std::uint32_t usable_generation = 0;  // generation while open and known to the caller, else 0
    std::uint32_t send_size = 0;          // of the send in flight
    int socket = -1;
    Life life = Life::free;
    InputPhase input_phase = InputPhase::none;
    bool looked = false;  // acknowledged_bytes is known
    std::uint8_t looks_without_progress = 0;
    bool known = false;  // the caller has it and has not been told of its end
    bool receive_armed = false;
    bool cancel_sent = false;
    bool paused = false;
    bool end_of_input = false;
    bool sending = false;
    bool dirty = false;  // in Transport's list of connections to look after at flush
    bool wants_drained = false;
    Plane plane = Plane::client;
};

}  // namespace ursula::net
