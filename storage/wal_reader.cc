#include "storage/wal_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "storage/planted.h"

namespace ursula::storage {

namespace {
// Large reads: at this size a direct read reaches the disk's rate (performance-anchors 2.2).
constexpr std::uint32_t window_bytes = 4 * 1024 * 1024;
}  // namespace

SegmentReader::SegmentReader(Disk& disk, SegmentId segment, std::uint64_t size, std::uint64_t salt)
    : disk_(disk),
      segment_(segment),
      size_(
          static_cast<std::uint32_t>(std::min<std::uint64_t>(size, UINT32_MAX - memory_alignment))),
      salt_(salt) {}

SegmentReader::~SegmentReader() {
    if (open_) {
        DiskOp op;
        op.kind = DiskOp::Kind::close;
        op.file = file_;
        disk_.run_now(op);
    }
}

base::Result<void> SegmentReader::open() {
    if (open_) {
        return {};
    }
    DiskOp op;
    op.kind = DiskOp::Kind::open;
    op.name = segment_name(segment_);
    op.direct = true;
    disk_.run_now(op);
    if (op.result < 0) {
        const int error = static_cast<int>(-op.result);
        return base::fail(fmt::format("{} cannot be opened: {}", op.name, std::strerror(error)),
                          error);
    }
    file_ = op.file;
    open_ = true;
    return {};
}

base::Result<void> SegmentReader::sync() {
    TRY(open());
    DiskOp op;
    op.kind = DiskOp::Kind::sync;
    op.file = file_;
    disk_.run_now(op);
    if (op.result < 0) {
        const int error = static_cast<int>(-op.result);
        return base::fail(
            fmt::format("{} cannot be synced: {}", segment_name(segment_), std::strerror(error)),
            error);
    }
    return {};
}

base::Result<void> SegmentReader::fill(std::uint32_t position, std::uint32_t size) {
    TRY(open());
    const std::uint32_t begin = position / memory_alignment * memory_alignment;
    const std::uint32_t wanted =
        std::max(round_up(position + size, memory_alignment) - begin,
                 std::min(window_bytes, round_up(size_ - begin, memory_alignment)));
    if (capacity_ < wanted) {
        memory_ = allocate_aligned(wanted);
        capacity_ = wanted;
    }
    const std::uint32_t block = disk_.alignment();
    const std::uint32_t end = std::min(begin + wanted, size_);
    // A direct read wants whole blocks; a file that was cut short elsewhere may not have them.
    DiskOp op;
    op.kind = DiskOp::Kind::read;
    op.file = file_;
    op.position = begin;
    op.buffer = {memory_.get(), std::min(round_up(end - begin, block), capacity_)};
    disk_.run_now(op);
    if (op.result < 0) {
        const int error = static_cast<int>(-op.result);
        return base::fail(fmt::format("{} cannot be read at byte {}: {}", segment_name(segment_),
                                      begin, std::strerror(error)),
                          error);
    }
    window_begin_ = begin;
    window_end_ =
        begin + static_cast<std::uint32_t>(std::min<std::int64_t>(op.result, end - begin));
    return {};
}

base::Result<base::Bytes> SegmentReader::view(std::uint32_t position, std::uint32_t size) {
    if (position >= size_) {
        return base::Bytes{};
    }
    size = std::min(size, size_ - position);
    if (position < window_begin_ || position + size > window_end_) {
        TRY(fill(position, size));
        if (position >= window_end_) {
            return base::Bytes{};
        }
        size = std::min(size, window_end_ - position);
    }
    return base::Bytes{memory_.get() + (position - window_begin_), size};
}

base::Result<HeaderCheck> SegmentReader::read_header(SegmentHeader& out) {
    base::Result<base::Bytes> bytes = view(0, segment_header_bytes);
    if (!bytes) {
        return tl::unexpected(std::move(bytes.error()));
    }
    const HeaderCheck check = decode_segment_header(*bytes, salt_, segment_, out);
    if (check == HeaderCheck::ok) {
        step_ = out.alignment;
    }
    return check;
}

base::Result<bool> SegmentReader::read_batch(std::uint32_t position, std::uint64_t sequence,
                                             std::uint32_t prev_checksum, BatchHeader& header,
                                             base::Bytes& batch) {
    base::Result<base::Bytes> head = view(position, batch_header_bytes);
    if (!head) {
        return tl::unexpected(std::move(head.error()));
    }
    if (!decode_batch_header(*head, {salt_, segment_, position}, header)) {
        return false;
    }
    const bool continues = header.sequence == sequence && header.prev_checksum == prev_checksum;
    if ((!continues && !planted(Planted::recycled_accepted)) || header.length > size_ - position) {
        return false;
    }
    base::Result<base::Bytes> whole = view(position, header.length);
    if (!whole) {
        return tl::unexpected(std::move(whole.error()));
    }
    batch = *whole;
    return batch.size() == header.length && check_records(batch, header);
}

base::Result<std::uint64_t> SegmentReader::highest_watermark(std::uint32_t from,
                                                             std::uint32_t through) {
    std::uint64_t highest = 0;
    through = std::min(through, size_);
    for (std::uint32_t position = round_up(from, step_); position < through; position += step_) {
        base::Result<base::Bytes> bytes = view(position, batch_header_bytes);
        if (!bytes) {
            return tl::unexpected(std::move(bytes.error()));
        }
        BatchHeader header;
        if (decode_batch_header(*bytes, {salt_, segment_, position}, header)) {
            highest = std::max(highest, header.watermark);
        }
    }
    return highest;
}

}  // namespace ursula::storage
