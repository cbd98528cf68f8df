// Runs lives in child processes: on all cores, and so that a VERIFY of the product that ends the
// process is a finding like any other.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "sim/cluster.h"
#include "sim/swarm.h"

namespace ursula::sim {

// One life in a child. Its failure is the empty text when nothing was found.
ClusterReport run_apart(const Swarm& swarm);

// The lives of seeds first..last in `jobs` children at a time. `visit` gets each report, in the
// order in which they end, and returns false to end early.
using Visit = std::function<bool(const Swarm& swarm, const ClusterReport& report)>;
void run_seeds(std::uint64_t first, std::uint64_t last, unsigned jobs, const Visit& visit);

// How many at a time: URSULA_JOBS, or the cores that this process may use.
unsigned default_jobs();
// A number of the environment.
std::uint64_t from_environment(const char* name, std::uint64_t otherwise);

}  // namespace ursula::sim
