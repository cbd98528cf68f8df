#include "storage/wal_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "storage/planted.h"

namespace ursula::storage {

namespace {

// At this size a direct read reaches the disk's rate (performance-anchors 2.2). A reader that wants
// only a segment's head does not pay for it: the first window is small.
constexpr std::uint32_t window_bytes_max = 4 * 1024 * 1024;
constexpr std::uint32_t window_bytes_min = 128 * 1024;
// Room before a window for the end of the one before it: more than a batch.
constexpr std::uint32_t margin_bytes = 2 * 1024 * 1024;

}  // namespace

SegmentReader::SegmentReader(Disk& disk, SegmentId segment, std::uint64_t size, std::uint64_t salt,
                             ReadMemory& memory)
    : disk_(disk),
      segment_(segment),
      size_(
          static_cast<std::uint32_t>(std::min<std::uint64_t>(size, UINT32_MAX - memory_alignment))),
      salt_(salt),
      memory_(memory),
      window_bytes_(window_bytes_min) {}

SegmentReader::~SegmentReader() {
    rest();
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

// None for a file that fits the first window.
std::uint32_t SegmentReader::margin() const {
    return size_ <= window_bytes_min ? 0 : margin_bytes;
}

// Gives the window memory and an op for [begin, begin + wanted), as far as the file goes.
void SegmentReader::prepare(Window& window, std::uint32_t begin, std::uint32_t wanted) {
    const std::uint32_t size = std::min(wanted, size_ - begin);
    const std::uint32_t needed = margin() + round_up(size, memory_alignment);
    if (window.capacity < needed) {
        give_back(window);
        if (!memory_.free.empty() && memory_.free.back().second >= needed) {
            window.memory = std::move(memory_.free.back().first);
            window.capacity = memory_.free.back().second;
            memory_.free.pop_back();
        } else {
            window.memory = allocate_aligned(needed);
            window.capacity = needed;
        }
    }
    window.at = window.memory.get() + margin();
    window.begin = begin;
    window.end = begin + size;
    window.op.kind = DiskOp::Kind::read;
    window.op.file = file_;
    window.op.position = begin;
    // A direct read wants whole blocks; a file that was cut short elsewhere may not have them.
    window.op.buffer = {window.at,
                        std::min(round_up(size, disk_.alignment()), window.capacity - margin())};
}

base::Result<void> SegmentReader::accept(Window& window) {
    if (window.op.result < 0) {
        const int error = static_cast<int>(-window.op.result);
        window.end = window.begin;
        return base::fail(fmt::format("{} cannot be read at byte {}: {}", segment_name(segment_),
                                      window.begin, std::strerror(error)),
                          error);
    }
    window.end = window.begin + static_cast<std::uint32_t>(std::min<std::int64_t>(
                                    window.op.result, window.end - window.begin));
    return {};
}

base::Result<void> SegmentReader::fill(std::uint32_t position, std::uint32_t size) {
    TRY(open());
    drop_ahead();
    const std::uint32_t begin = position / memory_alignment * memory_alignment;
    prepare(now_, begin,
            std::max(round_up(position + size, memory_alignment) - begin, window_bytes_));
    disk_.run_now(now_.op);
    TRY(accept(now_));
    return {};
}

void SegmentReader::read_ahead() {
    if (ahead_begun_ || now_.end >= size_ || now_.end % memory_alignment != 0) {
        return;
    }
    prepare(ahead_, now_.end, window_bytes_);
    ahead_begun_ = true;
    disk_.begin_now(ahead_.op);
}

void SegmentReader::drop_ahead() {
    if (ahead_begun_) {
        ahead_begun_ = false;
        disk_.finish_now(ahead_.op);
    }
}

void SegmentReader::rest() {
    drop_ahead();
    give_back(now_);
    give_back(ahead_);
    window_bytes_ = window_bytes_min;
}

// Only windows of the full size are worth keeping: a row of small ones would be in their way.
void SegmentReader::give_back(Window& window) {
    if (window.capacity >= margin_bytes + window_bytes_max) {
        memory_.free.emplace_back(std::move(window.memory), window.capacity);
    }
    window = Window{};
}

// The window read ahead becomes the current one, with the current one's bytes from `position` on in
// front of it.
base::Result<void> SegmentReader::take_ahead(std::uint32_t position) {
    ahead_begun_ = false;
    disk_.finish_now(ahead_.op);
    TRY(accept(ahead_));
    const std::uint32_t kept = now_.end - position;
    std::memcpy(ahead_.at - kept, now_.at + (position - now_.begin), kept);
    ahead_.at -= kept;
    ahead_.begin -= kept;
    std::swap(now_, ahead_);
    return {};
}

base::Result<base::Bytes> SegmentReader::view(std::uint32_t position, std::uint32_t size) {
    if (position >= size_) {
        return base::Bytes{};
    }
    size = std::min(size, size_ - position);
    if (ahead_begun_ && position >= now_.begin && position <= now_.end &&
        position + size > now_.end && now_.end - position <= margin()) {
        TRY(take_ahead(position));
        read_ahead();
    }
    if (position < now_.begin || position + size > now_.end) {
        // Reading on in order deserves large windows, and the next one before it is asked for.
        const bool in_order = now_.end > 0 && position >= now_.begin && position <= now_.end;
        window_bytes_ = in_order ? window_bytes_max : window_bytes_;
        TRY(fill(position, size));
        if (position >= now_.end) {
            return base::Bytes{};
        }
        size = std::min(size, now_.end - position);
        if (in_order) {
            read_ahead();
        }
    }
    return base::Bytes{now_.at + (position - now_.begin), size};
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
