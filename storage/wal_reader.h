// Reads a segment file through the Disk seam, window by window, and judges what stands at a place.
// Start-up and tools only: blocks. The rules are wal_format.h's "VALID" and "END".
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "storage/disk.h"
#include "storage/staging.h"
#include "storage/wal_format.h"

namespace ursula::storage {

// Windows handed from one reader to the next, so that their pages are faulted in once.
struct ReadMemory {
    std::vector<std::pair<AlignedMemory, std::uint32_t>> free;  // with its bytes
};

class SegmentReader {
  public:
    // size: of the file as listed. Opens on first use. memory outlives the reader.
    SegmentReader(Disk& disk, SegmentId segment, std::uint64_t size, std::uint64_t salt,
                  ReadMemory& memory);
    ~SegmentReader();
    SegmentReader(const SegmentReader&) = delete;
    SegmentReader& operator=(const SegmentReader&) = delete;

    SegmentId segment() const { return segment_; }
    std::uint32_t size() const { return size_; }
    // [position, position + size) of the file; shorter when the file ends before. Valid until the
    // next call.
    base::Result<base::Bytes> view(std::uint32_t position, std::uint32_t size);
    base::Result<void> sync();
    // Ends reading ahead and gives the memory back; reading may begin again.
    void rest();

    // The segment header; its block size is what positions are rounded to from then on.
    // misplaced: only out.segment is set.
    base::Result<HeaderCheck> read_header(SegmentHeader& out);
    // The batch that continues `before` at `position`: true and its whole bytes when it is VALID.
    base::Result<bool> read_batch(std::uint32_t position, std::uint64_t sequence,
                                  std::uint32_t prev_checksum, BatchHeader& header,
                                  base::Bytes& batch);
    // Highest watermark of any batch header that validates in [from, through), 0 for none.
    base::Result<std::uint64_t> highest_watermark(std::uint32_t from, std::uint32_t through);

  private:
    // A stretch of the file in memory. Its bytes may begin before `memory`'s data area, in the room
    // kept for the end of the window before: so what crosses two windows is contiguous.
    struct Window {
        AlignedMemory memory;
        std::uint32_t capacity = 0;  // all of it
        std::byte* at = nullptr;     // byte `begin` of the file
        std::uint32_t begin = 0;
        std::uint32_t end = 0;
        DiskOp op;
    };

    base::Result<void> open();
    std::uint32_t margin() const;
    void prepare(Window& window, std::uint32_t begin, std::uint32_t wanted);
    base::Result<void> accept(Window& window);
    base::Result<void> fill(std::uint32_t position, std::uint32_t size);
    base::Result<void> take_ahead(std::uint32_t position);
    void read_ahead();
    void drop_ahead();
    void give_back(Window& window);

    Disk& disk_;
    const SegmentId segment_;
    const std::uint32_t size_;
    const std::uint64_t salt_;
    ReadMemory& memory_;
    bool open_ = false;
    FileId file_{};
    Window now_;
    Window ahead_;
    bool ahead_begun_ = false;
    std::uint32_t window_bytes_;  // of the next fill; grows while the file is read in order
    // Blocks to look for batches at; the segment's own once its header was read.
    std::uint32_t step_ = 512;
};

}  // namespace ursula::storage
