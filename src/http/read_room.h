// ReadRoom: what a loop's connections hold of bytes that were read for them alone - from disk, or
// copied from another core - and have not been taken yet. A client that asks for much and takes
// nothing keeps its own bytes in memory until the stall timeout; all of them together have a bound.
#pragma once

#include <cstdint>
#include <vector>

#include "api/reply.h"
#include "base/time.h"
#include "http/edge.h"
#include "net/transport.h"

namespace ursula::http {

class ReadRoom {
  public:
    // Both outlive it.
    ReadRoom(const EdgeOptions& options, net::Transport& transport)
        : options_(options), transport_(transport) {}

    // Whether this reply may be sent to the connection; then it counts until it was taken. One
    // always may when nothing is held, so that each append can be read, however large. When there
    // is no room, connections that took nothing for limits::read_stall_ms lose theirs first.
    // `copied`: the reply came from another core, so nobody else has its bytes.
    [[nodiscard]] bool take(net::ConnectionId id, const api::ReadReply& read, bool copied,
                            base::Instant now);
    // The connection has gone; nothing happens when it held nothing.
    void closed(net::ConnectionId id);
    // Behind the last write of a turn: connections that lost their room are ended.
    void end_turn();
    std::uint64_t held() const { return held_; }  // bytes, at most: some may have been taken

  private:
    struct Holder {
        net::ConnectionId id;
        std::uint64_t bytes = 0;
        std::uint64_t pending = 0;  // in its output, when it was looked at
        base::Instant since;        // so many were pending for the first time
    };
    void look(base::Instant now);

    const EdgeOptions& options_;
    net::Transport& transport_;
    std::vector<Holder> holders_;             // by slot
    std::vector<net::ConnectionId> stalled_;  // to be ended
    std::uint64_t held_ = 0;
};

}  // namespace ursula::http
