// PeerDoor: the cluster listener. Accepts, reads the preamble's bytes and not one more, and gives
// the socket to whoever owns its target. Of strangers it keeps a bounded number for a bounded time.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/time.h"
#include "net/op.h"
#include "net/peer_wire.h"

namespace ursula::net {

class Ring;

class PeerDoor {
  public:
    struct Arrival {
        int socket = -1;  // the taker's
        std::uint32_t target = 0;
    };

    // The listener stays the caller's. The ring outlives the door's operations: close() and turns
    // until idle() come before the end, or the ring is left first.
    PeerDoor(Ring& ring, int listener);
    ~PeerDoor();
    PeerDoor(const PeerDoor&) = delete;
    PeerDoor& operator=(const PeerDoor&) = delete;

    // Appends those whose preamble is there.
    void begin_turn(base::Instant now, std::vector<Arrival>& arrivals);
    // When begin_turn wants to run although nothing happens.
    base::Instant deadline() const;
    void close();
    bool idle() const;

    std::uint64_t turned_away() const { return turned_away_; }

  private:
    struct Accept : Op {
        PeerDoor* door = nullptr;
        bool under_way = false;
        std::vector<int> sockets;  // accepted since the last turn
        int error = 0;
    };
    struct Stranger : Op {
        int socket = -1;
        std::array<std::byte, preamble_bytes> bytes{};
        std::size_t size = 0;
        base::Instant until{};
        std::int32_t result = 0;
        bool under_way = false;
        bool done = false;
        bool ending = false;
    };
    static void reap_accept(Op* op, std::int32_t result, std::uint32_t flags);
    static void reap_receive(Op* op, std::int32_t result, std::uint32_t flags);
    void make_room();
    void read_on(Stranger& stranger);
    void turn_away(Stranger& stranger);
    bool look_at(Stranger& stranger, base::Instant now, std::vector<Arrival>& arrivals);

    Ring& ring_;
    const int listener_;
    Accept accept_;
    std::vector<std::unique_ptr<Stranger>> strangers_;
    base::Instant accept_again_ = base::Instant::never();
    bool closing_ = false;
    std::uint64_t turned_away_ = 0;
};

}  // namespace ursula::net
