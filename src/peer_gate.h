// PeerGate: the cluster listener with what is behind it on the loop that owns it: connections to a
// shard are handed on, those to the node itself are asked one Standing and answered.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/time.h"
#include "net/peer_door.h"
#include "net/peer_socket.h"
#include "peer_greeting.h"

namespace ursula {

class PeerGate {
  public:
    // The ring outlives the gate's operations, as for PeerDoor.
    // `tls` may be null: nothing is proved then.
    PeerGate(net::Ring& ring, int listener, net::TlsContext* tls);

    void begin_turn(base::Instant now);
    // Connections for shards since the last call; the taker owns their sockets.
    void take_arrivals(std::vector<net::PeerDoor::Arrival>& arrivals);
    // The next who said what it is; answer() is due, with the caller's own block, before the next.
    bool next_request(Standing& standing);
    void answer(base::Bytes block);
    std::string guest_name() const { return asking_->peer_name(); }
    void flush();
    base::Instant deadline() const;
    void close();
    bool idle() const { return door_.idle() && guests_.empty(); }

  private:
    struct Guest {
        std::unique_ptr<net::PeerSocket> socket;
        base::Instant until;
    };
    net::Ring& ring_;
    net::TlsContext* tls_;
    net::PeerDoor door_;
    std::vector<Guest> guests_;
    std::vector<net::PeerDoor::Arrival> arrivals_;
    net::PeerSocket* asking_ = nullptr;
};

}  // namespace ursula
