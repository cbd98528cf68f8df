// A failing life made small: what is not needed for the failure is taken away, one thing after the
// other, each attempt a whole life.
#pragma once

#include <cstdint>
#include <string>

#include "base/time.h"
#include "sim/swarm.h"

namespace ursula::sim {

struct Shrunk {
    Swarm swarm;
    std::string failure;
    std::uint64_t attempts = 0;
};

// `failure` is what the life showed; an attempt that fails in another way does not count. Ends when
// nothing more can go, or when the time is up.
Shrunk shrink(const Swarm& failing, const std::string& failure, base::Duration time);

}  // namespace ursula::sim
