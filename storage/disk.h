// Disk: the seam between storage and a data directory. Three implementations: io::UringDisk (real),
// MemoryDisk (a node without a data directory: completes at once, keeps nothing) and tests/sim
// SimDisk (records writes and syncs, cuts power). One Disk belongs to one shard and is used only by
// its loop. Names are relative to the shard's directory and have no '/'.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/result.h"
#include "base/time.h"

namespace ursula::storage {

using FileId =
    base::Id<struct FileIdTag, std::uint32_t>;  // dense, reused after close; valid within one Disk

struct DiskOp;

// Who submitted an op and is told when it is done. Whoever reaps a Disk (the shard, once per turn)
// hands each op of take_completions() to op.owner->on_done(): Wal, SnapshotStore. What they then
// have to say is asked for afterwards (take_persisted, take_reads, take_finished), so nothing
// reacts inside the reap.
class DiskUser {
  public:
    virtual void on_done(DiskOp& op, base::Instant now) = 0;

  protected:
    ~DiskUser() = default;
};

// One operation, embedded in its owner. Owner, buffer and name stay alive and untouched from
// submit() until the op comes back from take_completions(). Ops in flight together may complete in
// any order.
struct DiskOp {
    enum class Kind : std::uint8_t {
        open,       // name, flags -> file
        fill_zero,  // file, [position, position + size): allocate and write zeros; not synced
        write,   // file, position, bytes; durable = on stable storage (this write's bytes) when it
                 // completes
        read,    // file, position, buffer
        sync,    // file: data and size (fsync)
        rename,  // name -> new_name, replacing unless no_replace
        remove,  // name
        sync_directory,
        close,  // file
    };
    Kind kind = Kind::write;
    bool durable = false;  // write: RWF_DSYNC, or write + fdatasync; counts as done only then
    bool create = false;   // open: create when missing
    bool direct = false;   // open: O_DIRECT when the probe found it; positions, sizes, buffers
                           // aligned to alignment()
    // rename: -EEXIST when new_name exists. Where the file system cannot promise that, it is
    // renamed all the same: the caller knows from a listing that the name is free.
    bool no_replace = false;
    FileId file{};  // open: set on completion
    std::uint64_t position = 0;
    std::uint64_t size = 0;       // fill_zero
    base::Bytes bytes{};          // write
    base::MutableBytes buffer{};  // read
    std::string name;
    std::string new_name;
    // Result: bytes moved for read and write (a short write never shows: the Disk finishes it or
    // fails), 0 for the others, -errno on failure. -ENOSPC is the only one a caller may survive for
    // files that hold nothing acknowledged.
    std::int64_t result = 0;
    DiskUser* owner = nullptr;  // who is told when it is done
};

struct FileInfo {
    std::string name;
    std::uint64_t size = 0;
};

struct Space {
    std::uint64_t total_bytes = 0;
    std::uint64_t free_bytes = 0;  // for us (not the superuser's reserve)
};

class Disk {
  public:
    virtual ~Disk() = default;
    // Queues op; it starts at the latest with this turn's submit. Never blocks, never completes
    // inside the call.
    virtual void submit(DiskOp& op) = 0;
    // Appends the ops that are done, in completion order. MemoryDisk: everything submitted so far.
    virtual void take_completions(std::vector<DiskOp*>& done) = 0;
    // Unit that direct writes must be aligned to and that a batch starts on (512 or 4096).
    virtual std::uint32_t alignment() const = 0;
    // False for MemoryDisk: nothing survives, so nothing is read back from it.
    virtual bool keeps_data() const = 0;
    virtual base::Result<Space> space() = 0;  // cheap enough for once a second

    // Start-up and shut-down only: these block.
    virtual base::Result<std::vector<FileInfo>> list_now() = 0;  // regular files
    // Names of everything else in the directory: links, pipes, directories. None by default.
    virtual base::Result<std::vector<std::string>> list_others_now() {
        return std::vector<std::string>{};
    }
    // Runs ops to completion, in order; stops at the first failure (its result says which).
    virtual void run_now(DiskOp& op) = 0;
    // Reading ahead: begin_now may start a read of op, which nobody touches before finish_now; that
    // waits for it. One at a time. A Disk that begins nothing reads in finish_now.
    virtual void begin_now(DiskOp& op) { static_cast<void>(op); }
    virtual void finish_now(DiskOp& op) { run_now(op); }
};

}  // namespace ursula::storage
