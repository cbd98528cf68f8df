#include "storage/segment_set.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/limits.h"
#include "base/verify.h"

namespace ursula::storage {

namespace {

// Ready ahead of the current one. When the first cannot be replaced the log is full, and the other,
// with what is left of the current one, is the reserve that hard states, deletes and snapshots live
// from.
constexpr std::size_t ready_target = 2;
constexpr std::uint32_t fill_bytes = 1024 * 1024;
constexpr base::Duration fill_interval =
    base::milliseconds(20);  // 50 MiB/s while there is no hurry
constexpr base::Duration space_interval = base::seconds(1);
// A node that starts should not wait for a whole segment of zeros.
constexpr std::uint32_t first_segment_fraction = 8;
constexpr std::uint32_t first_segment_bytes_min = 1024 * 1024;
constexpr std::size_t read_memory_kept_bytes = 1024 * 1024 + 2 * memory_alignment;

bool out_of_space(std::int64_t result) {
    return result == -ENOSPC || result == -EDQUOT;
}

constexpr const char* no_numbers_left =
    "the log has used all its segment numbers; copy its streams to a new data directory";

std::string temporary_name(SegmentId id) {
    return segment_name(id) + ".tmp";
}

}  // namespace

SegmentSet::SegmentSet(Disk& disk, const WalOptions& options)
    : disk_(disk),
      segment_bytes_(options.segment_bytes),
      reserve_bytes_(options.reserve_bytes),
      reserve_percent_(options.reserve_percent),
      block_(disk.alignment()) {}

SegmentSet::~SegmentSet() = default;

// --- start-up ---

base::Result<void> SegmentSet::start(std::vector<Segment>&& recovered,
                                     const std::vector<std::string>& unused, SegmentId next) {
    for (Segment& segment : recovered) {
        segments_.push_back(std::make_unique<Segment>(std::move(segment)));
    }
    next_ = next;
    if (!numbers_left()) {
        return base::fail(no_numbers_left);
    }
    for (const std::string& name : unused) {
        making_op_.name = name;
        TRY(run_now(DiskOp::Kind::remove));
    }
    if (!unused.empty()) {
        TRY(run_now(DiskOp::Kind::sync_directory));
    }
    return make_now(first_size());
}

std::uint32_t SegmentSet::first_size() const {
    const std::uint32_t size = std::max(segment_bytes_ / first_segment_fraction,
                                        std::min(segment_bytes_, first_segment_bytes_min));
    return size / block_ * block_;
}

bool SegmentSet::numbers_left() const {
    return next_.value < base::limits::segment_number_end;
}

base::Result<void> SegmentSet::run_now(DiskOp::Kind kind) {
    making_op_.kind = kind;
    disk_.run_now(making_op_);
    if (making_op_.result < 0) {
        const int error = static_cast<int>(-making_op_.result);
        return base::fail(
            fmt::format("the log cannot begin: {}: {}", making_op_.name, std::strerror(error)),
            error);
    }
    return {};
}

base::Result<void> SegmentSet::make_now(std::uint32_t size) {
    auto segment = std::make_unique<Segment>();
    segment->id = next_;
    segment->size = size;
    next_ = next_.next();
    making_op_ = DiskOp{};
    making_op_.name = temporary_name(segment->id);
    making_op_.create = true;
    making_op_.direct = true;
    TRY(run_now(DiskOp::Kind::open));
    for (std::uint32_t filled = 0; filled < size; filled += fill_bytes) {
        making_op_.position = filled;
        making_op_.size = std::min(fill_bytes, size - filled);
        TRY(run_now(DiskOp::Kind::fill_zero));
    }
    TRY(run_now(DiskOp::Kind::sync));
    making_op_.new_name = segment_name(segment->id);
    making_op_.no_replace = true;
    TRY(run_now(DiskOp::Kind::rename));
    TRY(run_now(DiskOp::Kind::sync_directory));
    segment->file = making_op_.file;
    segment->file_state = Segment::File::open;
    segments_.push_back(std::move(segment));
    ++made_;
    return {};
}

// --- live segments ---

Segment* SegmentSet::find(SegmentId id) {
    const auto at = std::lower_bound(segments_.begin(), segments_.end(), id,
                                     [](const std::unique_ptr<Segment>& segment, SegmentId wanted) {
                                         return segment->id < wanted;
                                     });
    return at == segments_.end() || (*at)->id != id ? nullptr : at->get();
}

bool SegmentSet::advance() {
    if (ready_.empty()) {
        wanted_ = true;
        return false;
    }
    wanted_ = false;
    segments_.push_back(std::move(ready_.front()));
    ready_.pop_front();
    return true;
}

void SegmentSet::retired(SegmentId id) {
    Segment* segment = find(id);
    VERIFY(segment != nullptr && segment->retiring && segment->readers == 0);
    const auto at =
        std::find_if(segments_.begin(), segments_.end(),
                     [&](const std::unique_ptr<Segment>& other) { return other.get() == segment; });
    std::unique_ptr<Segment> owned = std::move(*at);
    segments_.erase(at);
    ++recycled_;
    if (owned->size == segment_bytes_ && ready_.size() + reusable_.size() < ready_target) {
        reusable_.push_back(std::move(owned));
    } else {
        remove_file(owned->file, owned->file_state == Segment::File::open, segment_name(owned->id));
    }
}

// --- making segments ahead ---

void SegmentSet::submit(DiskOp& op) {
    op.owner = this;
    disk_.submit(op);
}

void SegmentSet::run(base::Instant now, bool staging) {
    if (!failure_.empty()) {
        return;
    }
    if (full_ && now >= retry_at_) {
        retry_at_ = now + space_interval;
        making_blocked_ = false;
        check_space(now);
    } else if (staging && (!space_known_ || now - space_checked_ >= space_interval)) {
        check_space(now);
    }
    if (making_ == Making::idle && ready_.size() < ready_target &&
        (!making_blocked_ || !reusable_.empty())) {
        begin_making(now);
    }
    if (making_ == Making::filling && fill_at_ != base::Instant::never()) {
        const Segment& in_use = current();
        // The next one is to be ready when the current one is half full.
        const bool behind = static_cast<std::uint64_t>(filled_) * in_use.size <
                            static_cast<std::uint64_t>(in_use.end) * 2 * making_segment_->size;
        if (wanted_ || behind || now >= fill_at_) {
            fill_next();
        }
    }
}

base::Instant SegmentSet::deadline() const {
    base::Instant at = base::Instant::never();
    if (making_ == Making::filling) {
        at = fill_at_;
    }
    if (full_) {
        at = std::min(at, retry_at_);
    }
    return at;
}

void SegmentSet::begin_making(base::Instant now) {
    if (segments_.size() + ready_.size() >= base::limits::log_segments_max) {
        making_blocked_ = true;
        set_full(fmt::format("the log has {} segments, the most it may have",
                             base::limits::log_segments_max),
                 now);
        return;
    }
    if (!numbers_left()) {
        making_blocked_ = true;
        set_full(no_numbers_left, now);
        return;
    }
    making_op_ = DiskOp{};
    if (!reusable_.empty()) {
        std::unique_ptr<Segment> old = std::move(reusable_.back());
        reusable_.pop_back();
        making_recycled_ = true;
        making_segment_ = std::make_unique<Segment>();
        making_segment_->size = old->size;
        making_segment_->file = old->file;
        making_segment_->file_state = old->file_state;
        making_old_name_ = segment_name(old->id);
        making_segment_->id = next_;
        making_op_.kind = DiskOp::Kind::rename;
        making_op_.name = making_old_name_;
        making_op_.new_name = segment_name(next_);
        making_op_.no_replace = true;
        making_ = Making::renaming;
    } else {
        making_recycled_ = false;
        making_segment_ = std::make_unique<Segment>();
        making_segment_->size = segment_bytes_;
        making_segment_->id = next_;
        making_op_.kind = DiskOp::Kind::open;
        making_op_.name = temporary_name(next_);
        making_op_.create = true;
        making_op_.direct = true;
        making_ = Making::opening;
    }
    next_ = next_.next();
    filled_ = 0;
    submit(making_op_);
}

void SegmentSet::fill_next() {
    fill_at_ = base::Instant::never();  // one piece at a time
    making_op_.kind = DiskOp::Kind::fill_zero;
    making_op_.position = filled_;
    making_op_.size = std::min(fill_bytes, making_segment_->size - filled_);
    submit(making_op_);
}

void SegmentSet::making_done(base::Instant now) {
    DiskOp& op = making_op_;
    if (making_ == Making::dropping) {
        // close, then remove; the name is only a temporary, so it need not be durable.
        if (op.kind == DiskOp::Kind::close) {
            op.kind = DiskOp::Kind::remove;
            submit(op);
            return;
        }
        making_segment_.reset();
        making_ = Making::idle;
        return;
    }
    if (op.result < 0) {
        if (!out_of_space(op.result)) {
            fail("a log segment could not be made", op.name, op.result);
            return;
        }
        drop_making(static_cast<int>(-op.result), now);
        return;
    }
    switch (making_) {
        case Making::opening:
            making_segment_->file = op.file;
            making_segment_->file_state = Segment::File::open;
            if (making_recycled_) {
                making_ = Making::syncing_directory;
                op.kind = DiskOp::Kind::sync_directory;
                submit(op);
            } else {
                making_ = Making::filling;
                fill_at_ = now;
            }
            return;
        case Making::filling:
            filled_ += static_cast<std::uint32_t>(op.size);
            if (filled_ < making_segment_->size) {
                fill_at_ = now + fill_interval;
                return;
            }
            making_ = Making::syncing;
            op.kind = DiskOp::Kind::sync;
            submit(op);
            return;
        case Making::syncing:
            making_ = Making::renaming;
            op.kind = DiskOp::Kind::rename;
            op.new_name = segment_name(making_segment_->id);
            op.no_replace = true;
            submit(op);
            return;
        case Making::renaming:
            if (making_segment_->file_state != Segment::File::open) {
                making_ = Making::opening;
                op.kind = DiskOp::Kind::open;
                op.name = segment_name(making_segment_->id);
                op.create = false;
                op.direct = true;
            } else {
                making_ = Making::syncing_directory;
                op.kind = DiskOp::Kind::sync_directory;
            }
            submit(op);
            return;
        case Making::syncing_directory:
            segment_ready(now);
            return;
        case Making::idle:
        case Making::dropping:
            VERIFY(false);
    }
}

void SegmentSet::segment_ready(base::Instant now) {
    making_ = Making::idle;
    ready_.push_back(std::move(making_segment_));
    ++made_;
    making_blocked_ = false;
    if (full_ && ready_.size() >= ready_target) {
        check_space(now);
    }
}

void SegmentSet::drop_making(int error, base::Instant now) {
    making_blocked_ = true;
    set_full(fmt::format("no space for the next log segment: {}", std::strerror(error)), now);
    const bool opened = making_segment_->file_state == Segment::File::open;
    if (making_recycled_) {
        // Not even a rename finds space: the file goes, which frees some.
        remove_file(making_segment_->file, opened, making_old_name_);
        making_segment_.reset();
        making_ = Making::idle;
        return;
    }
    making_ = Making::dropping;
    making_op_.name = temporary_name(making_segment_->id);
    making_op_.kind = opened ? DiskOp::Kind::close : DiskOp::Kind::remove;
    submit(making_op_);
}

void SegmentSet::remove_file(FileId file, bool has_file, const std::string& name) {
    RemoveOp* slot = nullptr;
    for (const std::unique_ptr<RemoveOp>& candidate : remove_ops_) {
        if (!candidate->busy) {
            slot = candidate.get();
        }
    }
    if (slot == nullptr) {
        remove_ops_.push_back(std::make_unique<RemoveOp>());
        slot = remove_ops_.back().get();
    }
    slot->op = DiskOp{};
    slot->op.name = name;
    slot->op.file = file;
    slot->op.kind = has_file ? DiskOp::Kind::close : DiskOp::Kind::remove;
    slot->busy = true;
    submit(slot->op);
}

// --- space ---

void SegmentSet::check_space(base::Instant now) {
    space_checked_ = now;
    space_known_ = true;
    const base::Result<Space> space = disk_.space();
    if (!space) {
        return;  // the next write says it better
    }
    const std::uint64_t reserve =
        std::max(reserve_bytes_, space->total_bytes / 100 * reserve_percent_);
    space_low_ = space->free_bytes < reserve;
    if (space_low_) {
        set_full(fmt::format("{} bytes are free on the data volume, {} are kept in reserve",
                             space->free_bytes, reserve),
                 now);
    } else if (full_ && ready_.size() >= ready_target) {
        full_ = false;
        full_reason_.clear();
    }
}

void SegmentSet::set_full(std::string reason, base::Instant now) {
    full_reason_ = std::move(reason);
    if (!full_) {
        full_ = true;
        retry_at_ = now + space_interval;
    }
}

void SegmentSet::fail(const std::string& what, const std::string& name, std::int64_t result) {
    if (failure_.empty()) {
        failure_ = fmt::format("{}: {}: {}", what, name, std::strerror(static_cast<int>(-result)));
    }
}

// --- completions ---

void SegmentSet::on_done(DiskOp& op, base::Instant now) {
    if (&op == &making_op_) {
        making_done(now);
        return;
    }
    if (op.kind == DiskOp::Kind::read) {
        finish_read(static_cast<ReadOp&>(op));
        return;
    }
    for (const std::unique_ptr<OpenOp>& open : open_ops_) {
        if (&open->op == &op) {
            file_opened(*open);
            return;
        }
    }
    for (const std::unique_ptr<RemoveOp>& removal : remove_ops_) {
        if (&removal->op == &op) {
            if (op.kind == DiskOp::Kind::close) {
                op.kind = DiskOp::Kind::remove;
                submit(op);
            } else {
                removal->busy =
                    false;  // a file that could not be removed is removed by the next recovery
            }
            return;
        }
    }
    VERIFY(false);
}

// --- reads ---

void SegmentSet::read(ReadRequest& request) {
    request.failed = false;
    request.error.clear();
    request.next = nullptr;
    Segment* segment = find(request.segment);
    if (segment == nullptr || segment->retiring) {
        request.failed = true;
        request.error = fmt::format("{} is not part of the log", segment_name(request.segment));
    } else if (request.position + static_cast<std::uint64_t>(request.buffer.size()) >
               segment->end) {
        request.failed = true;
        request.error = fmt::format("{} ends before byte {}", segment_name(request.segment),
                                    request.position + request.buffer.size());
    }
    if (request.failed || request.buffer.empty()) {
        (done_last_ == nullptr ? done_first_ : done_last_->next) = &request;
        done_last_ = &request;
        return;
    }
    ++segment->readers;
    if (segment->file_state == Segment::File::open) {
        start_read(request, *segment);
        return;
    }
    request.next = segment->waiting;
    segment->waiting = &request;
    if (segment->file_state == Segment::File::closed) {
        segment->file_state = Segment::File::opening;
        open_ops_.push_back(std::make_unique<OpenOp>());
        OpenOp& open = *open_ops_.back();
        open.segment = segment;
        open.op.kind = DiskOp::Kind::open;
        open.op.name = segment_name(segment->id);
        open.op.direct = true;
        submit(open.op);
    }
}

void SegmentSet::file_opened(OpenOp& open) {
    Segment& segment = *open.segment;
    const std::int64_t result = open.op.result;
    const FileId file = open.op.file;
    std::erase_if(open_ops_,
                  [&](const std::unique_ptr<OpenOp>& other) { return other.get() == &open; });
    ReadRequest* waiting = segment.waiting;
    segment.waiting = nullptr;
    segment.file_state = result < 0 ? Segment::File::closed : Segment::File::open;
    segment.file = file;
    while (waiting != nullptr) {
        ReadRequest* request = waiting;
        waiting = request->next;
        request->next = nullptr;
        if (result >= 0) {
            start_read(*request, segment);
            continue;
        }
        --segment.readers;
        request->failed = true;
        request->error = fmt::format("{}: {}", segment_name(segment.id),
                                     std::strerror(static_cast<int>(-result)));
        (done_last_ == nullptr ? done_first_ : done_last_->next) = request;
        done_last_ = request;
    }
}

void SegmentSet::start_read(ReadRequest& request, Segment& segment) {
    if (free_reads_.empty()) {
        read_ops_.push_back(std::make_unique<ReadOp>());
        free_reads_.reserve(read_ops_.size());
        free_reads_.push_back(read_ops_.back().get());
    }
    ReadOp& read = *free_reads_.back();
    free_reads_.pop_back();
    const std::uint32_t from = request.position / block_ * block_;
    const auto end = static_cast<std::uint32_t>(request.position + request.buffer.size());
    const std::uint32_t size = std::min(round_up(end, block_), segment.size) - from;
    if (read.capacity < size) {
        read.capacity = round_up(size, memory_alignment);
        read.memory = allocate_aligned(read.capacity);
    }
    read.request = &request;
    read.segment = &segment;
    read.kind = DiskOp::Kind::read;
    read.file = segment.file;
    read.position = from;
    read.buffer = {read.memory.get(), size};
    submit(read);
}

void SegmentSet::finish_read(ReadOp& read) {
    ReadRequest& request = *read.request;
    if (read.result < 0 || static_cast<std::size_t>(read.result) < read.buffer.size()) {
        request.failed = true;
        request.error =
            fmt::format("{} at byte {}: {}", segment_name(request.segment), request.position,
                        read.result < 0 ? std::strerror(static_cast<int>(-read.result))
                                        : "the file is too short");
    } else {
        std::memcpy(request.buffer.data(), read.memory.get() + (request.position - read.position),
                    request.buffer.size());
    }
    --read.segment->readers;
    if (read.capacity > read_memory_kept_bytes) {
        read.memory.reset();
        read.capacity = 0;
    }
    free_reads_.push_back(&read);
    (done_last_ == nullptr ? done_first_ : done_last_->next) = &request;
    done_last_ = &request;
}

void SegmentSet::take_reads(std::vector<ReadRequest*>& done) {
    for (ReadRequest* request = done_first_; request != nullptr;) {
        ReadRequest* next = request->next;
        request->next = nullptr;
        done.push_back(request);
        request = next;
    }
    done_first_ = nullptr;
    done_last_ = nullptr;
}

}  // namespace ursula::storage
