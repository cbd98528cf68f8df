#include "storage/wal.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/crc32c.h"
#include "base/verify.h"
#include "base/wire.h"
#include "storage/group_log.h"
#include "storage/planted.h"
#include "storage/recovery.h"
#include "storage/segment_set.h"
#include "storage/staging.h"
#include "storage/wal_format.h"

namespace ursula::storage {

namespace {

// Written within 2 ms of the last batch: due 1 ms after that one was seen durable.
constexpr base::Duration watermark_delay = base::milliseconds(1);
// Pieces of large bodies per write: what a small append may have to wait for.
constexpr std::uint32_t pieces_bytes_max = 512 * 1024;
// A head's lists are cut into records of this size so that no record outgrows a piece.
constexpr std::uint32_t head_record_bytes_max = 64 * 1024;

}  // namespace

class WalCore final : public DiskUser {
  public:
    WalCore(Disk& disk, const WalOptions& options);
    ~WalCore();
    WalCore(const WalCore&) = delete;
    WalCore& operator=(const WalCore&) = delete;

    base::Result<void> start(RecoveredLog&& recovered);

    base::MutableBytes stage_entry(base::GroupId group, base::EntryId id, std::uint8_t kind,
                                   std::size_t size);
    void finish_entry(const std::uint32_t* body_crc);
    void stage_hard_state(base::GroupId group, base::Term term, base::NodeId vote);
    void stage_truncate(base::GroupId group, base::LogIndex from);
    void stage_restart(base::GroupId group, base::EntryId base);
    void flush(base::Instant now);
    void on_done(DiskOp& op, base::Instant now) override;
    base::Instant deadline() const;

    base::Bytes body(base::GroupId group, base::LogIndex index) const;
    void release(base::GroupId group, base::LogIndex through);
    void locate(base::GroupId group, base::LogIndex index, std::size_t offset, std::size_t size,
                std::vector<Location>& out) const;
    void covered(base::GroupId group, base::LogIndex through, std::span<const SegmentId> live,
                 base::LogIndex forgotten);
    void forget(base::GroupId group, base::LogIndex through);
    bool is_kept(const Segment& segment) const;
    bool cuts_durable(base::GroupId group) const;
    std::uint64_t stage_payload(base::GroupId group, base::Bytes bytes, std::uint32_t crc);
    void release_payload(base::GroupId group);

    std::vector<PayloadPlaced> placed_;
    std::size_t staged_bytes_ = 0;
    std::vector<Persisted> persisted_;
    std::vector<Batch*> in_flight_;  // oldest first; at most two
    Wal::Counters counters_;
    std::string failure_;
    SegmentSet segments_;
    std::vector<GroupLog> groups_;
    const bool keeps_data_;

  private:
    struct OpenEntry {
        bool active = false;
        base::GroupId group;
        base::EntryId id;
        std::uint8_t kind = 0;
        std::byte* header = nullptr;  // in the batch; nullptr: deferred
        std::byte* body = nullptr;
        std::uint32_t size = 0;
    };

    GroupLog& log_of(base::GroupId group) {
        VERIFY(group.value < groups_.size());
        return groups_[group.value];
    }
    const GroupLog& log_of(base::GroupId group) const {
        return const_cast<WalCore*>(this)->log_of(group);
    }

    // Room for one more record in a batch; the record begins at the returned batch's `used`, on a
    // multiple of 8.
    Batch& room_for(std::uint32_t record_bytes);
    std::byte* add_record(Batch& batch, const RecordHeader& header);
    void seal_record_header(Batch& batch, std::byte* at, std::uint32_t size);
    void close_current();
    Mark& mark(Batch& batch, GroupLog& log, base::GroupId group);
    void mark_entry(Batch& batch, GroupLog& log, base::GroupId group, base::EntryId id);
    void emit_truncate(GroupLog& log, base::GroupId group, base::LogIndex from);
    void emit_restart(GroupLog& log, base::GroupId group, base::EntryId base);
    void drop_slots_from(GroupLog& log, base::LogIndex from);
    void drop_slot(const Slot& slot);
    void cancel_deferred(GroupLog& log, base::GroupId group, base::LogIndex from);
    void defer(GroupLog& log, base::GroupId group, const Deferred& item);
    void fill_deferred();
    bool emit_deferred(GroupLog& log, base::GroupId group, std::uint32_t& budget);
    void complete_in_memory();
    bool submit_next(base::Instant now);
    bool submit_head(base::Instant now);
    void build_head(Batch& batch, const Segment& segment);
    void place(Batch& batch, Segment& segment, std::uint32_t position);
    void write(Batch& batch, Segment& segment, std::byte* from, std::uint32_t size,
               base::Instant now);
    void batch_durable(Batch& batch, base::Instant now);
    void stage_retires();
    bool idle_watermark_due(base::Instant now) const;

    Disk& disk_;
    const WalOptions options_;
    const std::uint32_t block_;
    BatchPool pool_;
    Batch* current_ = nullptr;
    std::vector<Batch*> closed_;  // oldest first; few, and unlike a deque it keeps its memory
    OpenEntry open_;
    std::vector<base::GroupId> deferred_groups_;  // with deferred records, next one first

    LogEnd end_;  // behind the last submitted batch
    std::uint64_t durable_sequence_ = 0;
    std::uint64_t vouched_sequence_ = 0;    // highest watermark that is in a submitted batch
    std::uint64_t last_data_sequence_ = 0;  // last batch that an idle log must vouch for
    std::uint64_t head_sequence_ = 0;       // of the current segment's head
    base::Instant idle_since_{};
    bool recycle_check_ = false;
    std::uint64_t next_payload_ = 1;
    std::size_t live_unknown_ =
        0;  // groups started with a snapshot whose locations covered() has not told yet
};

WalCore::WalCore(Disk& disk, const WalOptions& options)
    : segments_(disk, options),
      groups_(options.group_count),
      keeps_data_(disk.keeps_data()),
      disk_(disk),
      options_(options),
      block_(disk.alignment()),
      pool_(options.batch_bytes_max) {
    VERIFY(options.group_count > 0);
    for (std::uint32_t i = 0; i < options.group_count; ++i) {
        groups_[i].submitted.group = base::GroupId(i);
    }
    VERIFY(memory_alignment % block_ == 0);
    VERIFY(options.segment_bytes % memory_alignment == 0);
    VERIFY(options.piece_bytes_max + batch_header_bytes + piece_header_bytes + 16 <=
           options.batch_bytes_max);
    VERIFY(!keeps_data_ || options.segment_bytes >= 2 * options.batch_bytes_max);
}

// Large bodies have several holders; everything else has one.
WalCore::~WalCore() {
    if (current_ != nullptr) {
        closed_.push_back(current_);
    }
    for (Batch* batch : closed_) {
        for (const PieceRef& piece : batch->pieces) {
            piece.body->release();
        }
    }
    for (GroupLog& log : groups_) {
        for (const Deferred& item : log.deferred) {
            if (item.body != nullptr) {
                item.body->release();
            }
        }
        while (!log.slots.empty()) {
            drop_slot(log.slots.pop_front());
        }
    }
}

// --- start-up ---

base::Result<void> WalCore::start(RecoveredLog&& recovered) {
    for (const BootState& boot : recovered.groups) {
        GroupLog& log = log_of(boot.group);
        log.known = true;
        log.term = boot.term;
        log.vote = boot.vote;
        log.end = boot.last.index;
        log.emitted_end = log.end;
        log.covered = boot.snapshot.index;
        log.forgotten = boot.snapshot.index;
        log.live_known = boot.snapshot.index.value == 0;
        live_unknown_ += log.live_known ? 0 : 1;
        log.slots.begin_at(log.end.next());
        log.submitted = {boot.group, boot.vote, boot.term, log.end, base::LogIndex{}};
    }
    if (!keeps_data_) {
        return {};
    }
    std::vector<Segment> live(recovered.segments.size());
    for (std::size_t i = 0; i < live.size(); ++i) {
        const RecoveredSegment& from = recovered.segments[i];
        live[i].id = from.segment;
        live[i].size = from.size_bytes;
        live[i].end = from.end;
        live[i].last_sequence = from.last_sequence;
        live[i].last_checksum = from.last_checksum;
        live[i].highest = from.highest;
    }
    if (!live.empty()) {
        const Segment& last = live.back();
        end_ = {last.id, last.end, last.last_checksum, last.last_sequence};
        durable_sequence_ = last.last_sequence;
    }
    TRY(segments_.start(std::move(live), recovered.unused, recovered.next_segment));

    // The head of this life's first segment makes recovery's decision durable.
    Segment& segment = segments_.current();
    Batch& head = *pool_.open();
    build_head(head, segment);
    place(head, segment, block_);
    SegmentHeader header{options_.salt, segment.id, block_, segment.size, end_, flag_by_recovery};
    AlignedMemory memory =
        allocate_aligned(round_up(block_ + round_up(head.used, block_), memory_alignment));
    std::memset(memory.get(), 0, block_);
    encode_segment_header(header, {memory.get(), block_});
    BatchHeader batch_header{0,
                             head.sequence,
                             durable_sequence_,
                             head.used,
                             head.records,
                             head.records_crc,
                             end_.checksum};
    encode_batch_header(batch_header, {options_.salt, segment.id, block_}, head.at);
    std::memcpy(memory.get() + block_, head.at, head.used);
    const std::uint32_t padded = round_up(head.used, block_);
    std::memset(memory.get() + block_ + head.used, 0, padded - head.used);
    head.op = DiskOp{};
    head.op.kind = DiskOp::Kind::write;
    head.op.durable = true;
    head.op.file = segment.file;
    head.op.bytes = {memory.get(), block_ + padded};
    disk_.run_now(head.op);
    if (head.op.result != static_cast<std::int64_t>(head.op.bytes.size())) {
        const int error = head.op.result < 0 ? static_cast<int>(-head.op.result) : EIO;
        return base::fail(fmt::format("the log cannot begin: {}: {}", segment_name(segment.id),
                                      std::strerror(error)),
                          error);
    }
    segment.end = block_ + padded;
    segment.last_sequence = head.sequence;
    segment.last_checksum = batch_header.checksum;
    end_ = {segment.id, segment.end, batch_header.checksum, head.sequence};
    durable_sequence_ = head.sequence;
    vouched_sequence_ = head.sequence;
    head_sequence_ = head.sequence;
    counters_.bytes_written += head.op.bytes.size();
    ++counters_.batches;
    pool_.release(&head);
    recycle_check_ = true;
    return {};
}

// --- staging ---

Batch& WalCore::room_for(std::uint32_t record_bytes) {
    VERIFY(batch_header_bytes + record_bytes <= options_.batch_bytes_max);
    while (current_ == nullptr || align8(current_->used) + record_bytes > current_->capacity) {
        if (current_ != nullptr && current_->records == 0 && current_->marks.empty()) {
            // The rest of a shared buffer is too small for this one; used up, so the next open()
            // takes another.
            pool_.release(current_);
            current_ = nullptr;
        } else if (current_ != nullptr) {
            close_current();
        }
        current_ = current_ == nullptr ? pool_.open() : current_;
    }
    const std::uint32_t at = align8(current_->used);
    if (at != current_->used) {
        std::memset(current_->at + current_->used, 0, at - current_->used);
        current_->used = at;
    }
    VERIFY(at + record_bytes <= current_->capacity);
    return *current_;
}

void WalCore::close_current() {
    if (current_->records == 0 && current_->marks.empty()) {
        return;
    }
    pool_.closed(current_);
    closed_.push_back(current_);
    current_ = nullptr;
}

// Adds the header's bytes to what the batch header will vouch for.
void WalCore::seal_record_header(Batch& batch, std::byte* at, std::uint32_t size) {
    batch.records_crc = base::crc32c({at, size}, batch.records_crc);
    ++batch.records;
}

std::byte* WalCore::add_record(Batch& batch, const RecordHeader& header) {
    std::byte* at = batch.at + batch.used;
    encode_record_header(header, at);
    batch.used += header.header_bytes() + header.length;
    return at;
}

Mark& WalCore::mark(Batch& batch, GroupLog& log, base::GroupId group) {
    if (log.mark_batch == &batch && log.mark < batch.marks.size() &&
        batch.marks[log.mark].group == group) {
        return batch.marks[log.mark];
    }
    log.known = true;
    log.mark_batch = &batch;
    log.mark = static_cast<std::uint32_t>(batch.marks.size());
    Mark fresh;
    fresh.group = group;
    fresh.term = log.term;
    fresh.vote = log.vote;
    fresh.end = log.emitted_end;
    fresh.pending = log.pending;
    fresh.cuts_all = log.cuts;
    batch.marks.push_back(fresh);
    return batch.marks.back();
}

void WalCore::mark_entry(Batch& batch, GroupLog& log, base::GroupId group, base::EntryId id) {
    log.emitted_end = id.index;
    log.pending = base::LogIndex{};
    Mark& now = mark(batch, log, group);
    now.has_entries = true;
    now.last = id;
    now.cuts = log.cuts;
    now.end = id.index;
    now.pending = log.pending;
    now.highest = std::max(now.highest, id.index);
    ++batch.entries;
}

base::MutableBytes WalCore::stage_entry(base::GroupId group, base::EntryId id, std::uint8_t kind,
                                        std::size_t size) {
    VERIFY(!open_.active);
    GroupLog& log = log_of(group);
    VERIFY(id.index == log.end.next());
    VERIFY(size <= UINT32_MAX / 2);
    open_.active = true;
    open_.group = group;
    open_.id = id;
    open_.kind = kind;
    open_.size = static_cast<std::uint32_t>(size);
    if (log.slots.empty()) {
        log.slots.begin_at(id.index);
    }
    if (open_.size > options_.piece_bytes_max || !log.deferred.empty()) {
        auto* body = new LargeBody();
        body->memory.reset(new std::byte[size]);
        body->size = open_.size;
        open_.header = nullptr;
        open_.body = body->memory.get();
        body->references = 2;  // the slot and the queue
        log.slots.push({nullptr, body, 0, open_.size});
        Deferred item;
        item.entry_kind = kind;
        item.id = id;
        item.body = body;
        defer(log, group, item);
    } else {
        Batch& batch = room_for(record_header_bytes + open_.size);
        open_.header = batch.at + batch.used;
        open_.body = open_.header + record_header_bytes;
    }
    return {open_.body, size};
}

void WalCore::finish_entry(const std::uint32_t* body_crc) {
    VERIFY(open_.active);
    open_.active = false;
    GroupLog& log = log_of(open_.group);
    log.end = open_.id.index;
    std::uint32_t crc = 0;
    if (keeps_data_ && (open_.header != nullptr || open_.size <= options_.piece_bytes_max)) {
        crc = body_crc != nullptr ? *body_crc : base::crc32c({open_.body, open_.size});
    }
    staged_bytes_ += open_.size;
    if (open_.header == nullptr) {
        log.deferred.back().body_crc = crc;
        return;
    }
    Batch& batch = *current_;
    RecordHeader header;
    header.kind = RecordKind::entry;
    header.entry_kind = open_.kind;
    header.length = open_.size;
    header.group = open_.group;
    header.body_crc = crc;
    header.term = open_.id.term;
    header.index = open_.id.index;
    const std::uint32_t body_offset = batch.used + record_header_bytes;
    std::byte* at = add_record(batch, header);
    if (keeps_data_) {
        seal_record_header(batch, at, record_header_bytes);
    } else {
        ++batch.records;
    }
    batch.counted += open_.size;
    pool_.retain(&batch);
    log.slots.push({&batch, nullptr, body_offset, open_.size});
    mark_entry(batch, log, open_.group, open_.id);
}

void WalCore::stage_hard_state(base::GroupId group, base::Term term, base::NodeId vote) {
    VERIFY(!open_.active);
    GroupLog& log = log_of(group);
    Batch& batch = room_for(record_header_bytes);
    RecordHeader header;
    header.kind = RecordKind::hard_state;
    header.group = group;
    header.term = term;
    header.index = base::LogIndex(vote.value);
    seal_record_header(batch, add_record(batch, header), record_header_bytes);
    log.term = term;
    log.vote = vote;
    Mark& now = mark(batch, log, group);
    now.has_hard_state = true;
    now.term = term;
    now.vote = vote;
}

void WalCore::stage_truncate(base::GroupId group, base::LogIndex from) {
    VERIFY(!open_.active);
    GroupLog& log = log_of(group);
    VERIFY(from.value >= 1 && from <= log.end.next());
    drop_slots_from(log, from);
    log.end = base::LogIndex(from.value - 1);
    cancel_deferred(log, group, from);
    if (log.deferred.empty()) {
        emit_truncate(log, group, from);
    } else {
        Deferred item;
        item.kind = Deferred::Kind::truncate;
        item.id.index = from;
        defer(log, group, item);
    }
}

void WalCore::stage_restart(base::GroupId group, base::EntryId base) {
    VERIFY(!open_.active);
    GroupLog& log = log_of(group);
    drop_slots_from(log, base::LogIndex{});
    cancel_deferred(log, group, base::LogIndex{});
    log.end = base.index;
    emit_restart(log, group, base);
}

void WalCore::emit_truncate(GroupLog& log, base::GroupId group, base::LogIndex from) {
    Batch& batch = room_for(record_header_bytes);
    RecordHeader header;
    header.kind = RecordKind::truncate;
    header.group = group;
    header.index = from;
    seal_record_header(batch, add_record(batch, header), record_header_bytes);
    log.emitted_end = std::min(log.emitted_end, base::LogIndex(from.value - 1));
    log.pending = base::LogIndex{};
    ++log.cuts;
    Mark& now = mark(batch, log, group);
    now.cuts_all = log.cuts;
    now.end = log.emitted_end;
    now.pending = log.pending;
}

void WalCore::emit_restart(GroupLog& log, base::GroupId group, base::EntryId base) {
    Batch& batch = room_for(record_header_bytes);
    RecordHeader header;
    header.kind = RecordKind::restart;
    header.group = group;
    header.term = base.term;
    header.index = base.index;
    seal_record_header(batch, add_record(batch, header), record_header_bytes);
    log.emitted_end = base.index;
    log.pending = base::LogIndex{};
    ++log.cuts;
    Mark& now = mark(batch, log, group);
    now.cuts_all = log.cuts;
    now.end = log.emitted_end;
    now.pending = log.pending;
}

void WalCore::drop_slot(const Slot& slot) {
    if (slot.batch != nullptr) {
        pool_.release(slot.batch);
    } else {
        slot.large->release();
    }
}

void WalCore::drop_slots_from(GroupLog& log, base::LogIndex from) {
    std::uint64_t held_end = log.end.value + 1;
    while (!log.slots.empty() && held_end > from.value) {
        drop_slot(log.slots.pop_back());
        --held_end;
    }
}

// --- records behind a large body ---

void WalCore::defer(GroupLog& log, base::GroupId group, const Deferred& item) {
    if (log.deferred.empty()) {
        deferred_groups_.push_back(group);
    }
    log.deferred.push_back(item);
}

void WalCore::cancel_deferred(GroupLog& log, base::GroupId group, base::LogIndex from) {
    if (log.deferred.empty()) {
        return;
    }
    std::erase_if(log.deferred, [&](const Deferred& item) {
        if (item.id.index < from) {
            return false;
        }
        log.cuts += item.kind == Deferred::Kind::truncate ? 1 : 0;
        if (item.body != nullptr) {
            staged_bytes_ -= item.body->size - item.body->emitted;
            item.body->release();
        }
        return true;
    });
    if (log.deferred.empty()) {
        std::erase(deferred_groups_, group);
    }
}

// Puts pieces of the waiting bodies into the current batch, one of each group in turn.
void WalCore::fill_deferred() {
    std::uint32_t budget = std::min(pieces_bytes_max, options_.batch_bytes_max / 2);
    while (!deferred_groups_.empty() && budget > 0) {
        const base::GroupId group = deferred_groups_.front();
        GroupLog& log = log_of(group);
        if (!emit_deferred(log, group, budget)) {
            return;
        }
        deferred_groups_.erase(deferred_groups_.begin());
        if (!log.deferred.empty()) {
            deferred_groups_.push_back(group);
        }
    }
}

// One record of the group's queue. False when the current batch has no room for it.
bool WalCore::emit_deferred(GroupLog& log, base::GroupId group, std::uint32_t& budget) {
    Deferred& item = log.deferred.front();
    if (item.kind == Deferred::Kind::truncate) {
        const base::LogIndex from = item.id.index;
        log.deferred.erase(log.deferred.begin());
        emit_truncate(log, group, from);
        return true;
    }
    VERIFY(item.kind == Deferred::Kind::entry);
    LargeBody& body = *item.body;
    const bool whole = body.size <= options_.piece_bytes_max;
    const std::uint32_t size = std::min(options_.piece_bytes_max, body.size - body.emitted);
    const std::uint32_t header_size = whole ? record_header_bytes : piece_header_bytes;
    if (current_ != nullptr && align8(current_->used) + header_size + size > current_->capacity &&
        current_->records > 0) {
        return false;
    }
    Batch& batch = room_for(header_size + size);
    const base::Bytes part{body.memory.get() + body.emitted, size};
    RecordHeader header;
    header.kind = whole ? RecordKind::entry : RecordKind::piece;
    header.entry_kind = item.entry_kind;
    header.length = size;
    header.group = group;
    header.body_crc = whole ? item.body_crc : base::crc32c(part);
    header.term = item.id.term;
    header.index = item.id.index;
    header.piece_offset = body.emitted;
    header.piece_total = body.size;
    const std::uint32_t body_offset = batch.used + header_size;
    std::byte* at = add_record(batch, header);
    base::copy_bytes(batch.at + body_offset, part);
    seal_record_header(batch, at, header_size);
    ++body.references;
    batch.pieces.push_back({&body, body_offset, size});
    batch.counted += size;
    budget -= std::min(budget, size);
    body.emitted += size;
    if (body.emitted < body.size) {
        log.pending = item.id.index;
        Mark& now = mark(batch, log, group);
        now.pending = log.pending;
        now.highest = std::max(now.highest, item.id.index);
        return true;
    }
    mark_entry(batch, log, group, item.id);
    log.deferred.erase(log.deferred.begin());
    body.release();
    return true;
}

// --- writing ---

void WalCore::flush(base::Instant now) {
    VERIFY(!open_.active);
    if (!keeps_data_) {
        complete_in_memory();
        return;
    }
    if (!failure_.empty()) {
        return;
    }
    if (recycle_check_) {
        stage_retires();
    }
    while (in_flight_.size() < base::limits::wal_writes_in_flight_max) {
        if (closed_.empty()) {
            fill_deferred();
            if (current_ != nullptr) {
                close_current();
            }
            if (closed_.empty()) {
                break;
            }
        }
        if (!submit_next(now)) {
            break;
        }
    }
    if (idle_watermark_due(now)) {
        Batch* batch = current_ != nullptr ? current_ : pool_.open();
        current_ = nullptr;
        pool_.closed(batch);
        closed_.push_back(batch);
        if (submit_next(now)) {
            ++counters_.watermarks;
        }
    }
    segments_.run(now, !in_flight_.empty() || !closed_.empty());
    if (!segments_.failure().empty()) {
        failure_ = segments_.failure();
    }
}

bool WalCore::idle_watermark_due(base::Instant now) const {
    return in_flight_.empty() && closed_.empty() &&
           (current_ == nullptr || current_->records == 0) && deferred_groups_.empty() &&
           last_data_sequence_ > vouched_sequence_ && now >= idle_since_ + watermark_delay;
}

base::Instant WalCore::deadline() const {
    if (!keeps_data_ || !failure_.empty()) {
        return base::Instant::never();
    }
    base::Instant at = segments_.deadline();
    if (in_flight_.empty() && closed_.empty() && last_data_sequence_ > vouched_sequence_) {
        at = std::min(at, idle_since_ + watermark_delay);
    }
    return at;
}

// A MemoryDisk: what is staged counts at once, nothing is copied or summed.
void WalCore::complete_in_memory() {
    while (!deferred_groups_.empty()) {
        const base::GroupId group = deferred_groups_.back();
        deferred_groups_.pop_back();
        GroupLog& log = log_of(group);
        for (const Deferred& item : log.deferred) {
            if (item.kind != Deferred::Kind::entry) {
                continue;
            }
            Mark& now = mark(room_for(0), log, group);
            now.has_entries = true;
            now.last = item.id;
            log.emitted_end = item.id.index;
            current_->counted += item.body->size;
            ++current_->entries;
            item.body->release();
        }
        log.deferred.clear();
    }
    if (current_ != nullptr) {
        close_current();
    }
    while (!closed_.empty()) {
        Batch* batch = closed_.front();
        closed_.erase(closed_.begin());
        batch_durable(*batch, base::Instant{});
    }
}

// The next closed batch, or the head of the segment it needs, goes to the disk. False when there is
// no segment.
bool WalCore::submit_next(base::Instant now) {
    Batch& batch = *closed_.front();
    Segment& segment = segments_.current();
    const std::uint32_t padded = round_up(batch.used, block_);
    if (segment.size - segment.end < padded) {
        return submit_head(now);
    }
    closed_.erase(closed_.begin());
    place(batch, segment, segment.end);
    const bool data = batch.records > 0;
    BatchHeader header{0,
                       batch.sequence,
                       durable_sequence_,
                       batch.used,
                       batch.records,
                       batch.records_crc,
                       end_.checksum};
    encode_batch_header(header, {options_.salt, segment.id, batch.position}, batch.at);
    std::memset(batch.at + batch.used, 0, padded - batch.used);
    write(batch, segment, batch.at, padded, now);
    segment.last_checksum = header.checksum;
    end_ = {segment.id, segment.end, header.checksum, batch.sequence};
    if (data) {
        last_data_sequence_ = batch.sequence;
    }
    return true;
}

bool WalCore::submit_head(base::Instant now) {
    if (!segments_.advance()) {
        return false;
    }
    Segment& segment = segments_.current();
    Batch* opened = pool_.open();
    while (opened->capacity < options_.batch_bytes_max) {
        pool_.release(
            opened);  // the rest of a shared buffer, used up by this: a head may need a whole one
        opened = pool_.open();
    }
    // The header's block comes first, so the batch begins a block into the buffer.
    Batch& head = *opened;
    std::byte* const start = head.at;
    head.at += block_;
    head.capacity -= block_;
    build_head(head, segment);
    place(head, segment, block_);
    const SegmentHeader header{options_.salt, segment.id, block_, segment.size, end_, 0};
    std::memset(start, 0, block_);
    encode_segment_header(header, {start, block_});
    BatchHeader batch_header{0,
                             head.sequence,
                             durable_sequence_,
                             head.used,
                             head.records,
                             head.records_crc,
                             end_.checksum};
    encode_batch_header(batch_header, {options_.salt, segment.id, block_}, head.at);
    const std::uint32_t padded = round_up(head.used, block_);
    VERIFY(padded <= head.capacity);
    std::memset(head.at + head.used, 0, padded - head.used);
    pool_.closed(&head);
    write(head, segment, start, block_ + padded, now);
    segment.last_checksum = batch_header.checksum;
    end_ = {segment.id, segment.end, batch_header.checksum, head.sequence};
    head_sequence_ = head.sequence;
    recycle_check_ = true;
    return true;
}

// Everything a reader needs that begins here: hard states, ends and truncations of all groups, and
// the list of segments.
void WalCore::build_head(Batch& batch, const Segment& segment) {
    std::vector<std::byte> items;
    const auto add = [&](RecordKind kind) {
        RecordHeader header;
        header.kind = kind;
        header.length = static_cast<std::uint32_t>(items.size());
        header.body_crc = base::crc32c(items);
        VERIFY(align8(batch.used) + record_header_bytes + header.length <= batch.capacity);
        std::memset(batch.at + batch.used, 0, align8(batch.used) - batch.used);
        batch.used = align8(batch.used);
        std::byte* at = add_record(batch, header);
        base::copy_bytes(at + record_header_bytes, items);
        seal_record_header(batch, at, record_header_bytes);
        items.clear();
    };
    const auto item = [&](RecordKind kind, std::uint32_t size) {
        if (items.size() + size > head_record_bytes_max) {
            add(kind);
        }
        items.resize(items.size() + size);
        return items.data() + items.size() - size;
    };
    for (const std::unique_ptr<Segment>& live : segments_.all()) {
        // A start that begins at this head does not see the retire records before it.
        if (live->id < segment.id && !live->retire_placed) {
            encode_segment_item({live->id, live->end, live->last_sequence, live->last_checksum},
                                item(RecordKind::segments, segment_item_bytes));
        }
    }
    add(RecordKind::segments);
    for (const GroupLog& log : groups_) {
        if (log.known) {
            encode_group_item(log.submitted, item(RecordKind::groups, group_item_bytes));
        }
    }
    add(RecordKind::groups);
}

// Gives the batch its number and place, and everything in it its location.
void WalCore::place(Batch& batch, Segment& segment, std::uint32_t position) {
    batch.segment = segment.id;
    batch.position = position;
    batch.sequence = end_.sequence + 1;
    for (const PieceRef& piece : batch.pieces) {
        piece.body->pieces.push_back({segment.id, position + piece.offset, piece.size});
        piece.body->release();
    }
    batch.pieces.clear();
    for (const SegmentId id : batch.retires) {
        segments_.find(id)->retire_placed = true;
    }
    for (const PayloadRef& payload : batch.payloads) {
        std::vector<base::GroupId>& of = segment.payload_of;
        if (payload.ticket >= log_of(payload.group).payload_wanted &&
            std::find(of.begin(), of.end(), payload.group) == of.end()) {
            of.push_back(payload.group);
        }
    }
    for (const Mark& from : batch.marks) {
        GroupLog& log = log_of(from.group);
        log.submitted = {from.group, from.vote, from.term, from.end, from.pending};
        if (log.mark_batch == &batch) {
            log.mark_batch = nullptr;
        }
        const auto at = std::lower_bound(
            segment.highest.begin(), segment.highest.end(), from.group,
            [](const auto& pair, base::GroupId wanted) { return pair.first < wanted; });
        if (at == segment.highest.end() || at->first != from.group) {
            segment.highest.insert(at, {from.group, from.highest});
        } else {
            at->second = std::max(at->second, from.highest);
        }
    }
}

void WalCore::write(Batch& batch, Segment& segment, std::byte* from, std::uint32_t size,
                    base::Instant now) {
    vouched_sequence_ = durable_sequence_;
    batch.submitted = now;
    batch.op.kind = DiskOp::Kind::write;
    batch.op.durable = !planted(Planted::ack_before_sync);
    batch.op.file = segment.file;
    batch.op.position = batch.position - static_cast<std::uint32_t>(batch.at - from);
    batch.op.bytes = {from, size};
    batch.op.owner = this;
    segment.end = static_cast<std::uint32_t>(batch.op.position) + size;
    segment.last_sequence = batch.sequence;
    in_flight_.push_back(&batch);
    counters_.bytes_written += size;
    disk_.submit(batch.op);
}

void WalCore::on_done(DiskOp& op, base::Instant now) {
    for (Batch* batch : in_flight_) {
        if (&batch->op != &op) {
            continue;
        }
        if (op.result != static_cast<std::int64_t>(op.bytes.size())) {
            if (failure_.empty()) {
                failure_ = fmt::format(
                    "the log could not be written: {} at byte {}: {}", segment_name(batch->segment),
                    op.position,
                    op.result < 0 ? std::strerror(static_cast<int>(-op.result)) : "short write");
            }
            return;
        }
        batch->complete = true;
        break;
    }
    // Only in log order, and never past a write that failed.
    while (failure_.empty() && !in_flight_.empty() && in_flight_.front()->complete) {
        Batch* batch = in_flight_.front();
        in_flight_.erase(in_flight_.begin());
        durable_sequence_ = batch->sequence;
        idle_since_ = now;
        batch_durable(*batch, now);
    }
}

void WalCore::batch_durable(Batch& batch, base::Instant now) {
    if (options_.sync_duration != nullptr) {
        options_.sync_duration->record(now - batch.submitted);
    }
    for (const Mark& from : batch.marks) {
        GroupLog& log = log_of(from.group);
        if (log.mark_batch == &batch) {
            log.mark_batch = nullptr;
        }
        log.cuts_durable = std::max(log.cuts_durable, from.cuts_all);
        if (from.has_entries || from.has_hard_state) {
            Persisted durable;
            durable.group = from.group;
            durable.has_entries = from.has_entries;
            durable.last = from.last;
            durable.cuts = from.cuts;
            durable.has_hard_state = from.has_hard_state;
            durable.term = from.term;
            durable.vote = from.vote;
            persisted_.push_back(durable);
        }
    }
    for (const PayloadRef& payload : batch.payloads) {
        placed_.push_back({payload.group,
                           payload.ticket,
                           {batch.segment, batch.position + payload.offset, payload.size}});
    }
    batch.payloads.clear();
    for (const SegmentId segment : batch.retires) {
        segments_.retired(segment);
    }
    ++counters_.batches;
    counters_.entries += batch.entries;
    staged_bytes_ -= batch.counted;
    pool_.release(&batch);
}

// --- bodies ---

base::Bytes WalCore::body(base::GroupId group, base::LogIndex index) const {
    const Slot* slot = log_of(group).slots.find(index);
    if (slot == nullptr) {
        return {};
    }
    const std::byte* at =
        slot->batch != nullptr ? slot->batch->at + slot->offset : slot->large->memory.get();
    return {at, slot->size};
}

void WalCore::release(base::GroupId group, base::LogIndex through) {
    GroupLog& log = log_of(group);
    while (!log.slots.empty() && log.slots.first() <= through) {
        drop_slot(log.slots.pop_front());
    }
}

void WalCore::locate(base::GroupId group, base::LogIndex index, std::size_t offset,
                     std::size_t size, std::vector<Location>& out) const {
    const Slot* slot = log_of(group).slots.find(index);
    VERIFY(slot != nullptr && offset + size <= slot->size);
    if (slot->batch != nullptr) {
        VERIFY(slot->batch->segment != SegmentId{});
        out.push_back({slot->batch->segment,
                       static_cast<std::uint32_t>(slot->batch->position + slot->offset + offset),
                       static_cast<std::uint32_t>(size)});
        return;
    }
    for (const Location& piece : slot->large->pieces) {
        if (size == 0) {
            break;
        }
        if (offset >= piece.size) {
            offset -= piece.size;
            continue;
        }
        const std::size_t part = std::min<std::size_t>(piece.size - offset, size);
        out.push_back({piece.segment, static_cast<std::uint32_t>(piece.position + offset),
                       static_cast<std::uint32_t>(part)});
        offset = 0;
        size -= part;
    }
    VERIFY(size == 0);
}

// --- recycling ---

void WalCore::covered(base::GroupId group, base::LogIndex through, std::span<const SegmentId> live,
                      base::LogIndex forgotten) {
    GroupLog& log = log_of(group);
    log.covered = std::max(log.covered, through);
    log.forgotten = std::max(log.forgotten, forgotten);
    if (!log.live_known) {
        log.live_known = true;
        --live_unknown_;
    }
    for (const SegmentId id : log.live) {
        if (Segment* segment = segments_.find(id)) {
            --segment->live_groups;
        }
    }
    log.live.assign(live.begin(), live.end());
    std::sort(log.live.begin(), log.live.end());
    log.live.erase(std::unique(log.live.begin(), log.live.end()), log.live.end());
    for (const SegmentId id : log.live) {
        if (Segment* segment = segments_.find(id)) {
            ++segment->live_groups;
        }
    }
    recycle_check_ = true;
}

void WalCore::stage_retires() {
    if (durable_sequence_ < head_sequence_ || live_unknown_ > 0) {
        return;  // asked again: recycle_check_ stays
    }
    recycle_check_ = false;
    for (const std::unique_ptr<Segment>& segment : segments_.all()) {
        if (segment.get() == &segments_.current() || segment->retiring ||
            segment->live_groups > 0 || !segment->payload_of.empty()) {
            continue;
        }
        if (segment->readers > 0) {
            recycle_check_ = true;
            continue;
        }
        const bool needed = std::any_of(
            segment->highest.begin(), segment->highest.end(),
            [&](const auto& pair) { return pair.second > groups_[pair.first.value].forgotten; });
        if (needed) {
            continue;
        }
        Batch& batch = room_for(record_header_bytes);
        RecordHeader header;
        header.kind = RecordKind::retire;
        header.index = base::LogIndex(segment->id.value);
        seal_record_header(batch, add_record(batch, header), record_header_bytes);
        batch.retires.push_back(segment->id);
        segment->retiring = true;
    }
}

void WalCore::forget(base::GroupId group, base::LogIndex through) {
    GroupLog& log = log_of(group);
    VERIFY(through <= log.covered);
    log.forgotten = std::max(log.forgotten, through);
    recycle_check_ = true;
}

// Whether nothing but followers may need the segment's entries.
bool WalCore::is_kept(const Segment& segment) const {
    bool kept = false;
    for (const auto& [group, highest] : segment.highest) {
        const GroupLog& log = groups_[group.value];
        if (highest > log.covered) {
            return false;
        }
        kept = kept || highest > log.forgotten;
    }
    return kept && !segment.retiring;
}

// --- payload beside the log ---

bool WalCore::cuts_durable(base::GroupId group) const {
    const GroupLog& log = log_of(group);
    return log.cuts_durable == log.cuts &&
           std::none_of(log.deferred.begin(), log.deferred.end(),
                        [](const Deferred& item) { return item.kind == Deferred::Kind::truncate; });
}

std::uint64_t WalCore::stage_payload(base::GroupId group, base::Bytes bytes, std::uint32_t crc) {
    VERIFY(!open_.active && !bytes.empty() && bytes.size() <= options_.piece_bytes_max);
    const auto size = static_cast<std::uint32_t>(bytes.size());
    Batch& batch = room_for(record_header_bytes + size);
    RecordHeader header;
    header.kind = RecordKind::payload;
    header.length = size;
    header.group = group;
    header.body_crc = crc;
    const std::uint32_t offset = batch.used + record_header_bytes;
    std::byte* at = add_record(batch, header);
    base::copy_bytes(batch.at + offset, bytes);
    seal_record_header(batch, at, record_header_bytes);
    batch.payloads.push_back({group, next_payload_, offset, size});
    batch.counted += size;
    staged_bytes_ += size;
    return next_payload_++;
}

void WalCore::release_payload(base::GroupId group) {
    log_of(group).payload_wanted = next_payload_;
    for (const std::unique_ptr<Segment>& segment : segments_.all()) {
        std::erase(segment->payload_of, group);
    }
    recycle_check_ = true;
}

// --- Wal: the public face ---

Wal::Wal(std::unique_ptr<WalCore> core) : core_(std::move(core)) {}
Wal::~Wal() = default;

base::Result<std::unique_ptr<Wal>> Wal::start(Disk& disk, const WalOptions& options,
                                              RecoveredLog&& recovered) {
    auto core = std::make_unique<WalCore>(disk, options);
    TRY(core->start(std::move(recovered)));
    return std::unique_ptr<Wal>(new Wal(std::move(core)));
}

base::MutableBytes Wal::stage_entry(base::GroupId group, base::EntryId id, std::uint8_t kind,
                                    std::size_t body_size) {
    return core_->stage_entry(group, id, kind, body_size);
}
void Wal::finish_entry() {
    core_->finish_entry(nullptr);
}
void Wal::finish_entry(std::uint32_t body_crc) {
    core_->finish_entry(&body_crc);
}
void Wal::stage_hard_state(base::GroupId group, base::Term term, base::NodeId vote) {
    core_->stage_hard_state(group, term, vote);
}
void Wal::stage_truncate(base::GroupId group, base::LogIndex from) {
    core_->stage_truncate(group, from);
}
void Wal::stage_restart(base::GroupId group, base::EntryId base) {
    core_->stage_restart(group, base);
}
std::size_t Wal::staged_bytes() const {
    return core_->staged_bytes_;
}
void Wal::flush(base::Instant now) {
    core_->flush(now);
}
void Wal::take_persisted(std::vector<Persisted>& out) {
    out.insert(out.end(), core_->persisted_.begin(), core_->persisted_.end());
    core_->persisted_.clear();
}
base::Instant Wal::deadline() const {
    return core_->deadline();
}
Wal::State Wal::state() const {
    if (!core_->failure_.empty()) {
        return State::failed;
    }
    return core_->segments_.full() ? State::full : State::open;
}
std::string_view Wal::failure() const {
    return core_->failure_;
}
std::string_view Wal::full_reason() const {
    return core_->segments_.full_reason();
}
base::Bytes Wal::body(base::GroupId group, base::LogIndex index) const {
    return core_->body(group, index);
}
void Wal::release(base::GroupId group, base::LogIndex through) {
    core_->release(group, through);
}
void Wal::locate(base::GroupId group, base::LogIndex index, std::size_t offset, std::size_t size,
                 std::vector<Location>& out) const {
    core_->locate(group, index, offset, size, out);
}
void Wal::read(ReadRequest& request) {
    core_->segments_.read(request);
}
void Wal::take_reads(std::vector<ReadRequest*>& done) {
    core_->segments_.take_reads(done);
}
void Wal::covered(base::GroupId group, base::LogIndex through, std::span<const SegmentId> live) {
    core_->covered(group, through, live, through);
}
void Wal::covered(base::GroupId group, base::LogIndex through, std::span<const SegmentId> live,
                  base::LogIndex forgotten) {
    core_->covered(group, through, live, forgotten);
}
void Wal::forget(base::GroupId group, base::LogIndex through) {
    core_->forget(group, through);
}
std::uint64_t Wal::kept_bytes() const {
    std::uint64_t bytes = 0;
    for (const std::unique_ptr<Segment>& segment : core_->segments_.all()) {
        bytes += core_->is_kept(*segment) ? segment->end : 0;
    }
    return bytes;
}
void Wal::oldest_kept(std::vector<std::pair<base::GroupId, base::LogIndex>>& out) const {
    for (const std::unique_ptr<Segment>& segment : core_->segments_.all()) {
        if (core_->is_kept(*segment)) {
            for (const auto& [group, highest] : segment->highest) {
                if (highest > core_->groups_[group.value].forgotten) {
                    out.emplace_back(group, highest);
                }
            }
            return;
        }
    }
}
bool Wal::cuts_durable(base::GroupId group) const {
    return core_->cuts_durable(group);
}
std::uint64_t Wal::stage_payload(base::GroupId group, base::Bytes bytes, std::uint32_t crc) {
    return core_->stage_payload(group, bytes, crc);
}
void Wal::take_payloads(std::vector<PayloadPlaced>& out) {
    out.insert(out.end(), core_->placed_.begin(), core_->placed_.end());
    core_->placed_.clear();
}
void Wal::release_payload(base::GroupId group) {
    core_->release_payload(group);
}
bool Wal::has_segment(SegmentId segment) const {
    return core_->segments_.find(segment) != nullptr;
}
std::uint64_t Wal::segment_count() const {
    return core_->segments_.all().size();
}
std::uint64_t Wal::uncovered_bytes() const {
    std::uint64_t bytes = 0;
    for (const std::unique_ptr<Segment>& segment : core_->segments_.all()) {
        const bool needed =
            std::any_of(segment->highest.begin(), segment->highest.end(), [&](const auto& pair) {
                return pair.second > core_->groups_[pair.first.value].covered;
            });
        bytes += needed || bytes > 0 ? segment->end : 0;
    }
    return bytes;
}
void Wal::groups_pinning_oldest(std::vector<base::GroupId>& out) const {
    for (const std::unique_ptr<Segment>& segment : core_->segments_.all()) {
        for (const auto& [group, highest] : segment->highest) {
            if (highest > core_->groups_[group.value].covered) {
                out.push_back(group);
            }
        }
        if (!out.empty()) {
            return;
        }
    }
}
const Wal::Counters& Wal::counters() const {
    core_->counters_.segments_made = core_->segments_.made();
    core_->counters_.segments_recycled = core_->segments_.recycled();
    return core_->counters_;
}
base::Instant Wal::oldest_write() const {
    return core_->in_flight_.empty() ? base::Instant::never()
                                     : core_->in_flight_.front()->submitted;
}

}  // namespace ursula::storage
