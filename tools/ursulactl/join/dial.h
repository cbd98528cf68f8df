// The joining node's side of the connection: proves that it talks to the authority of its join
// line, and only then says anything.
#pragma once

#include <chrono>
#include <string>

#include "tools/ursulactl/join/join_line.h"
#include "tools/ursulactl/join/messages.h"

namespace ursula::ctl {

// Blocks for `timeout` at most. A Failure when there is no answer: exit 4 when it is another
// authority, 5 when nobody answers; what the reply refuses is the caller's.
JoinReply ask_to_join(const JoinLine& line, const JoinRequest& request,
                      std::chrono::milliseconds timeout);

}  // namespace ursula::ctl
