// Reads whose bytes left memory: pieces of one read plan are fetched from the log through the ring,
// neighbours together, checked against the checksums of the location index and put back in order.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "api/reply.h"
#include "base/slice.h"
#include "storage/wal.h"
#include "stream/read_plan.h"

namespace ursula::shard {

class DiskReads {
  public:
    // A finished read: the reply as it stands, or what went wrong.
    struct Finished {
        api::Reply reply;
        std::string damage;  // for the log: which bytes failed their checksum; empty otherwise
    };

    // Takes over the reply (all but its pieces is filled in) and fetches plan's pieces. False when
    // limits::cold_reads_bytes_max would be exceeded: nothing was begun.
    bool start(storage::Wal& wal, const stream::ReadPlan& plan, api::Reply&& reply);
    void on_read(storage::ReadRequest& request);
    void take_finished(std::vector<Finished>& out);
    std::uint64_t bytes_in_flight() const { return bytes_; }

  private:
    // One request to the log; covers plan pieces [first, last).
    struct Fetch {
        storage::ReadRequest request;
        base::Slice buffer;
        base::Block* block = nullptr;
        std::size_t first = 0;
        std::size_t last = 0;
    };
    struct Pending {
        api::Reply reply;
        std::vector<stream::ReadPiece> pieces;
        std::vector<std::unique_ptr<Fetch>> fetches;
        std::size_t waiting = 0;
        std::uint64_t bytes = 0;
    };
    Finished finish(Pending& pending);

    std::vector<std::unique_ptr<Pending>> pending_;
    std::vector<Finished> finished_;
    std::uint64_t bytes_ = 0;
};

}  // namespace ursula::shard
