// Every single-byte flip of a small data directory left idle until its watermark was written:
// either harmless (everything read from it is as it was) or refused with file and position.
#pragma once

#include <cstdint>
#include <string>

#include "sim/sim_disk.h"

namespace ursula::crash {

// A shard's directory of about 1 MiB with the node file beside it: recycled segments, segments that
// snapshots cover and that hold live payload, segments to be replayed, large entries, snapshots.
sim::Image make_directory();

struct FlipCounts {
    std::uint64_t bytes = 0;
    std::uint64_t harmless = 0;
    std::uint64_t refused = 0;     // recovery refused the directory
    std::uint64_t unreadable = 0;  // one payload does not read back; its reader is refused
    std::string wrong;             // the first flip that was neither
};

// payload_stride: of entry bodies and padding every so many bytes; everything else always.
FlipCounts flip_bytes(const sim::Image& directory, std::uint64_t payload_stride);

}  // namespace ursula::crash
