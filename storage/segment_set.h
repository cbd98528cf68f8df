// The files of the log: made ahead in the background (filled with zeros, synced, named), switched
// to, read from, and given back when nothing in them is needed. Knows no records.
//
// Making one: open "wal-N.tmp" -> fill with zeros, a MiB at a time -> sync -> rename to "wal-N" ->
// sync the directory -> ready. Recycling one: rename "wal-old" to "wal-N" -> sync the directory ->
// ready; its old bytes never validate under the new number (wal_format.h "SALT").
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "base/time.h"
#include "storage/disk.h"
#include "storage/staging.h"
#include "storage/wal.h"
#include "storage/wal_format.h"

namespace ursula::storage {

struct Segment {
    SegmentId id;
    std::uint32_t size = 0;
    std::uint32_t end = 0;  // first block not written
    std::uint64_t last_sequence = 0;
    std::uint32_t last_checksum = 0;
    std::vector<std::pair<base::GroupId, base::LogIndex>>
        highest;                            // per group, highest index of any record in it
    std::uint32_t live_groups = 0;          // whose snapshots name it
    std::vector<base::GroupId> payload_of;  // that no snapshot names yet
    std::uint32_t readers = 0;
    bool retiring = false;       // its retire record is staged
    bool retire_placed = false;  // and has its place in the log: heads behind it do not list it
    enum class File : std::uint8_t { closed, opening, open } file_state = File::closed;
    FileId file{};
    ReadRequest* waiting = nullptr;  // for the file to open
};

class SegmentSet final : public DiskUser {
  public:
    SegmentSet(Disk& disk, const WalOptions& options);
    ~SegmentSet();

    // Start-up; blocks. Removes `unused`, makes the first segment of this life and returns it as
    // current().
    base::Result<void> start(std::vector<Segment>&& recovered,
                             const std::vector<std::string>& unused, SegmentId next);

    Segment& current() { return *segments_.back(); }
    Segment* find(SegmentId id);
    const std::vector<std::unique_ptr<Segment>>& all() const { return segments_; }
    // Makes the next ready segment current. False when none is ready: then it is made at full
    // speed.
    bool advance();
    // The retire record of the segment is durable: its file is renamed to a new segment or removed.
    void retired(SegmentId id);

    // Background work: next segments, space. `staging`: something waits to be written.
    void run(base::Instant now, bool staging);
    base::Instant deadline() const;
    void on_done(DiskOp& op, base::Instant now) override;
    bool full() const { return full_; }
    const std::string& full_reason() const { return full_reason_; }
    const std::string& failure() const { return failure_; }  // empty while all is well
    std::uint64_t made() const { return made_; }
    std::uint64_t recycled() const { return recycled_; }

    // --- reads ---
    void read(ReadRequest& request);
    void take_reads(std::vector<ReadRequest*>& done);

  private:
    enum class Making : std::uint8_t {
        idle,
        opening,
        filling,
        syncing,
        renaming,
        syncing_directory,
        dropping
    };
    // A read in flight, over-read to block boundaries into memory of its own.
    struct ReadOp : DiskOp {
        ReadRequest* request = nullptr;
        Segment* segment = nullptr;
        AlignedMemory memory;
        std::size_t capacity = 0;
    };
    struct OpenOp {
        DiskOp op;
        Segment* segment = nullptr;
    };
    struct RemoveOp {
        DiskOp op;
        bool has_file = false;
        bool busy = true;
    };

    base::Result<void> make_now(std::uint32_t size);
    base::Result<void> run_now(DiskOp::Kind kind);
    std::uint32_t first_size() const;
    bool numbers_left() const;
    void begin_making(base::Instant now);
    void fill_next();
    void making_done(base::Instant now);
    void drop_making(int error, base::Instant now);
    void segment_ready(base::Instant now);
    void remove_file(FileId file, bool has_file, const std::string& name);
    void check_space(base::Instant now);
    void set_full(std::string reason, base::Instant now);
    void fail(const std::string& what, const std::string& name, std::int64_t result);
    void start_read(ReadRequest& request, Segment& segment);
    void finish_read(ReadOp& read);
    void file_opened(OpenOp& open);
    void submit(DiskOp& op);

    Disk& disk_;
    const std::uint32_t segment_bytes_;
    const std::uint64_t reserve_bytes_;
    const std::uint32_t reserve_percent_;
    const std::uint32_t block_;
    std::vector<std::unique_ptr<Segment>> segments_;  // live, by number; the last is current
    std::deque<std::unique_ptr<Segment>> ready_;      // made ahead, by number
    std::vector<std::unique_ptr<Segment>> reusable_;  // retired, to be renamed
    SegmentId next_{1};

    Making making_ = Making::idle;
    bool making_recycled_ = false;
    DiskOp making_op_;
    std::unique_ptr<Segment> making_segment_;
    std::string making_old_name_;
    std::uint32_t filled_ = 0;
    base::Instant fill_at_{};  // the next piece, when there is no hurry
    bool wanted_ = false;      // the log waits for a segment

    bool full_ = false;
    bool space_low_ = false;
    bool making_blocked_ = false;  // no space for the next segment
    std::string full_reason_;
    base::Instant retry_at_{};
    base::Instant space_checked_{};
    bool space_known_ = false;
    std::string failure_;
    std::uint64_t made_ = 0;
    std::uint64_t recycled_ = 0;

    std::vector<std::unique_ptr<ReadOp>> read_ops_;
    std::vector<ReadOp*> free_reads_;
    std::vector<std::unique_ptr<OpenOp>> open_ops_;
    std::vector<std::unique_ptr<RemoveOp>> remove_ops_;
    ReadRequest* done_first_ = nullptr;
    ReadRequest* done_last_ = nullptr;
};

}  // namespace ursula::storage
