// PeerNet: the seam between a shard and those shards of the other nodes that have groups of its own
// (shard counts may differ between nodes). Two implementations: the links of a server, and the
// simulated network of tests/sim. One PeerNet belongs to one shard and
// is used only by its loop, in batches: taken from once per turn, sent to at most once per peer and
// turn. A node of one has none.
//
// Nothing is promised: a frame may be lost, doubled, delayed and overtaken. Who is at the other end
// is the implementation's to prove (TLS); that a frame is whole is checked by its reader.
#pragma once

#include <span>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "shard/member_info.h"

namespace ursula::shard {

// One shard of one other node.
struct PeerShard {
    base::NodeId node;
    base::ShardId shard;
    bool operator==(const PeerShard&) const = default;
};

struct ReceivedFrame {
    PeerShard from;
    base::Bytes bytes;  // for this turn
};

// The connection to it began anew (what was under way may be lost) or ended. Or, with `bytes`, more
// of a frame came that is not whole yet: on a slow network a large one takes longer than the
// silence after which a node is taken for down.
struct LinkEvent {
    PeerShard peer;
    bool up = false;
    bool bytes = false;
};

class PeerNet {
  public:
    virtual ~PeerNet() = default;
    // Who that node is, by the memberships of this shard's groups: one info, or several while
    // groups name it by different incarnations or addresses, the newest last. Empty: nobody names
    // it any more. Replaces what was said of the node before; `infos` is copied. A node that nobody
    // names may still come and be heard: a follower that is behind does not know the newest
    // members.
    virtual void know(base::NodeId node, std::span<const MemberInfo> infos) = 0;
    // That storage of the node is no member of any group here, and leaders know the newest members:
    // it is told so, and not let in for limits::dismissed_ms or until it is known. A network
    // without handshakes has nobody to tell.
    virtual void dismiss(base::NodeId, std::uint64_t /*incarnation*/) {}
    // Appends what came since the last call, in order of arrival; events come before the frames of
    // their connection.
    virtual void take(std::vector<ReceivedFrame>& frames, std::vector<LinkEvent>& events) = 0;
    // Whether a frame to it would be taken now. False: there is no connection, or its queue
    // is full; what would have been sent is dropped, and Raft sends it again.
    virtual bool takes(PeerShard to) const = 0;
    // Bytes sent to it that have not left yet: what is sent now comes behind them. Those who have
    // much to send look; there is a turn when it becomes less.
    virtual std::size_t unsent(PeerShard) const { return 0; }
    // Copies the frame and sends it at the latest with this turn's submit.
    virtual void send(PeerShard to, base::Bytes frame) = 0;
};

}  // namespace ursula::shard
