// PeerGate: the cluster listener with what is behind it on the loop that owns it: connections to a
// shard are handed on, those to the node itself are asked one Standing or Admission and answered.
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

// What a guest says: what it is, or that the node here is of its cluster now.
struct PeerRequest {
    bool admits = false;
    Standing standing;    // else
    Admission admission;  // admits
};

class PeerGate {
  public:
    // The ring outlives the gate's operations, as for PeerDoor.
    // `tls` may be null: nothing is proved then.
    PeerGate(net::Ring& ring, int listener, net::TlsContext* tls);

    void begin_turn(base::Instant now);
    // Connections for shards since the last call; the taker owns their sockets.
    void take_arrivals(std::vector<net::PeerDoor::Arrival>& arrivals);
    // The next who said what it is, and proved it; answer() is due, with the caller's own block,
    // before the next.
    bool next_request(PeerRequest& request);
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
