// UringDisk: the Disk on a real directory, its operations on the loop's ring.
//
// One DiskOp becomes one or more ring operations, one after the other: a short write is continued,
// a durable write without direct I/O is a write and, once that was reaped, an fdatasync; zeros are
// written in pieces of fill_bytes. The next step of an op is queued in take_completions, so a reap
// never reacts. After warm-up nothing is allocated.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "io/data_dir.h"
#include "net/op.h"
#include "net/ring.h"
#include "storage/disk.h"

namespace ursula::io {

class UringDisk final : public storage::Disk {
  public:
    // `directory` stays open as long as this lives (DataDir owns it). Until attach, only the
    // blocking calls work; they may be made on any one thread.
    UringDisk(int directory, const DiskProfile& profile);
    // Closes the files that are still open. What is in flight is forgotten (a node that ends
    // because its disk hangs or failed): the ring must not be reaped after that.
    ~UringDisk() override;
    UringDisk(const UringDisk&) = delete;
    UringDisk& operator=(const UringDisk&) = delete;

    // The ring of the loop that uses this disk from now on; it outlives the disk's last op.
    void attach(net::Ring& ring) { ring_ = &ring; }

    void submit(storage::DiskOp& op) override;
    void take_completions(std::vector<storage::DiskOp*>& done) override;
    std::uint32_t alignment() const override { return alignment_; }
    bool keeps_data() const override { return true; }
    base::Result<storage::Space> space() override { return space_of(directory_); }
    base::Result<std::vector<storage::FileInfo>> list_now() override;
    base::Result<std::vector<std::string>> list_others_now() override;
    void run_now(storage::DiskOp& op) override;
    void begin_now(storage::DiskOp& op) override;
    void finish_now(storage::DiskOp& op) override;

    // Ops handed to submit and not yet given back.
    std::size_t in_flight() const { return in_flight_; }

    static constexpr std::size_t fill_bytes = 1024 * 1024;

  private:
    enum class Step : std::uint8_t { only, transfer, sync_data, allocate, zeros, rename_new };
    struct File {
        int fd = -1;  // -1: the id is free
        bool direct = false;
    };
    // An op under way. Lives in slots_, reused.
    struct Slot : net::Op {
        UringDisk* disk = nullptr;
        storage::DiskOp* op = nullptr;
        Step step = Step::only;
        File file;                // what it works on; the directory for sync_directory
        std::uint64_t moved = 0;  // bytes of the op done so far
        std::int32_t result = 0;  // of the step just reaped
    };

    // A ring of its own for begin_now, so that waiting reaps nobody else's completions. There from
    // the first begin_now to the first submit.
    struct ReadAhead;

    // Of the directory's entries the regular files, or the names of the others.
    base::Result<void> list(std::vector<storage::FileInfo>* files,
                            std::vector<std::string>* others) const;
    static void on_reaped(net::Op* reaped, std::int32_t result, std::uint32_t flags);
    void begin(Slot& slot, storage::DiskOp& op);
    // Queues the slot's step on the ring.
    void start_step(Slot& slot);
    // The slot's step as blocking system calls; returns what the ring would.
    std::int64_t step_now(const Slot& slot) const;
    // Takes in the result of a step: true when the op is finished (op.result is set), false when
    // slot.step is to be started next.
    bool finish_step(Slot& slot, std::int64_t result);
    bool finish_transfer(Slot& slot, std::int64_t result) const;
    void finish_only(Slot& slot, std::int64_t result);

    int open_flags(const storage::DiskOp& op) const;
    const File& file_of(storage::FileId file) const;
    Slot& take_slot();

    std::unique_ptr<ReadAhead> read_ahead_;
    const int directory_;
    const bool direct_;
    const std::uint32_t alignment_;
    net::Ring* ring_ = nullptr;
    std::deque<Slot> slots_;
    std::vector<Slot*> free_slots_;
    std::vector<Slot*> reaped_;  // in completion order, looked at by take_completions
    std::size_t in_flight_ = 0;
    std::vector<File> files_;  // by FileId
    std::vector<std::uint32_t> free_files_;
};

}  // namespace ursula::io
