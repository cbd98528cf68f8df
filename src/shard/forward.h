// Forward: a write that this node took for a group which another node leads (DESIGN "Any node
// answers any request"). Owned by the group's replica, in the order in which such calls came; those
// that still wait to be sent are at the end. A plain struct, see shard_forward.cc.
#pragma once

#include <cstdint>
#include <vector>

#include "api/call.h"
#include "base/ids.h"
#include "base/time.h"

namespace ursula::shard {

struct Forward {
    // Who is answered.
    api::CallId call;
    base::ShardId from;

    std::vector<std::byte> bytes;  // shard/call_wire.h
    std::uint64_t number = 0;      // on its link; 0: it waits
    std::size_t link = 0;          // it was sent on; its place in Shard::links_
    std::uint8_t sent = 0;         // times: a second one follows only a certain refusal
    bool refused = false;          // by a node that does not lead: certainly without effect
    bool passed = false;           // a later call of the group went another way: not sent again
    base::NodeId refused_by;
    base::Term refused_in;  // this node's term then
    base::Instant until;    // waiting: it is refused; sent: its outcome is unknown
};

}  // namespace ursula::shard
