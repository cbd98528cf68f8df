// Which bytes answer a read, and where they are. Pure. A read returns whole appends: all whose end
// is beyond the asked offset, as many as fit bytes_max, at least one; an append is never split over
// two answers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/slice.h"
#include "stream/stream.h"

namespace ursula::stream {

// One run of a read's bytes: in memory (`memory` not empty) or on disk.
struct ReadPiece {
    base::Slice memory;
    Place disk;  // whole pieces only, so that the checksum can be verified
    std::uint64_t size() const { return memory.empty() ? disk.size : memory.size(); }
};

struct ReadPlan {
    std::vector<ReadPiece> pieces;  // in stream order; together exactly [from, next)
    std::uint64_t from = 0;  // where the first append returned begins; the tail when there is none
    std::uint64_t next = 0;  // an append boundary
    std::uint64_t memory_bytes = 0;
    std::uint64_t disk_bytes = 0;
    bool up_to_date = false;  // next is the tail
    bool closed = false;      // closed, and next is the final offset

    bool empty() const { return next == from; }
};

// `offset` may be any number: inside an append it gives that whole append, at or beyond the tail
// nothing at the tail. Reuses plan's storage.
void plan_read(const Stream& stream, std::uint64_t offset, std::uint64_t bytes_max, ReadPlan& plan);

// Leaves out what is at or beyond `end`, which is not before plan.from: the plan of a fork that was
// made there. Its last piece on disk stays whole, so the pieces may hold more than [from, next).
void clamp_plan(ReadPlan& plan, std::uint64_t end);

}  // namespace ursula::stream
