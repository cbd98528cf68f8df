// How a run is told: a table for people, one JSON object for programs.
#pragma once

#include "tools/bench/catchup.h"
#include "tools/bench/load.h"
#include "tools/bench/options.h"

namespace ursula::bench {

void report_load(const Options& options, const LoadResult& result);
void report_catchup(const Options& options, const CatchupResult& result);

}  // namespace ursula::bench
