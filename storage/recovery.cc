#include "storage/recovery.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>

#include "base/limits.h"
#include "base/verify.h"
#include "storage/planted.h"
#include "storage/wal_format.h"
#include "storage/wal_reader.h"

namespace ursula::storage {

namespace {

// How much of a file without a valid head is searched for a batch that vouches for something lost:
// more than three batches, and the third one after a lost one always does (two writes in flight).
constexpr std::uint32_t evidence_bytes_max = 8 * 1024 * 1024;
constexpr std::uint32_t sector_bytes = 512;  // the smallest block a segment was ever made with

// What the reader knows of one group so far.
struct GroupReplay {
    bool known = false;
    base::Term term;
    base::NodeId vote;
    base::EntryId snapshot;
    base::LogIndex end;  // last entry as the log tells it
    base::LogIndex
        reached;  // entries through this one are in the snapshot or were told to the sink
    std::vector<std::pair<base::LogIndex, base::Term>> terms;  // first index told of each term
    // The large entry being put together.
    base::EntryId piece_id;
    std::vector<std::byte> piece_bytes;
    std::uint32_t piece_total = 0;
    std::vector<Location> piece_locations;
    bool piece_active = false;

    void drop_pieces() {
        piece_active = false;
        piece_bytes.clear();
        piece_locations.clear();
    }
};

struct Head {
    SegmentHeader header;
    BatchHeader batch;
    std::vector<GroupItem> groups;
    std::vector<SegmentItem> segments;
};

class Recovery {
  public:
    Recovery(Disk& disk, const RecoveryOptions& options, RecoverySink& sink)
        : disk_(disk), options_(options), sink_(sink), groups_(options.group_count) {
        for (std::uint32_t i = 0; i < options.snapshots.size() && i < groups_.size(); ++i) {
            groups_[i].snapshot = options.snapshots[i];
            groups_[i].known = options.snapshots[i].index.value > 0;
            groups_[i].reached = options.snapshots[i].index;
        }
    }

    base::Result<RecoveredLog> run() {
        TRY(list_files());
        TRY(find_last());
        if (last_ == SegmentId{}) {
            TRY(check_empty());
            TRY(check_others());
            return finish();
        }
        TRY(find_start());
        TRY(replay());
        TRY(check_groups());
        TRY(check_others());
        TRY(sync_end());
        return finish();
    }

  private:
    struct File {
        std::uint64_t size = 0;
        std::unique_ptr<SegmentReader> reader;
        bool head_read = false;
        HeaderCheck check = HeaderCheck::invalid;  // once head_read
        bool head_valid = false;
        Head head;
    };

    static base::Error damage(SegmentId segment, std::uint32_t position, const std::string& what) {
        return {fmt::format("{} is damaged at byte {}: {}", segment_name(segment), position, what),
                0};
    }

    // What stands there was not made by us, or not left by a power cut: nothing is touched.
    static base::Error strange(const std::string& name, const std::string& what) {
        return {fmt::format("{} {}", name, what), 0};
    }

    static std::uint32_t size_of(std::uint64_t file_bytes) {
        return static_cast<std::uint32_t>(
            std::min<std::uint64_t>(file_bytes, UINT32_MAX - memory_alignment + 1));
    }

    base::Result<void> refuse_others() {
        base::Result<std::vector<std::string>> others = disk_.list_others_now();
        if (!others) {
            return tl::unexpected(std::move(others.error()));
        }
        for (const std::string& name : *others) {
            if (name.substr(0, 4) == "wal-") {
                return tl::unexpected(
                    strange(name, "is not a regular file; put the log's own file back"));
            }
        }
        return {};
    }

    base::Result<void> list_files() {
        TRY(refuse_others());
        base::Result<std::vector<FileInfo>> listed = disk_.list_now();
        if (!listed) {
            return tl::unexpected(std::move(listed.error()));
        }
        for (const FileInfo& info : *listed) {
            std::string_view name = info.name;
            const bool temporary = name.size() > 4 && name.substr(name.size() - 4) == ".tmp";
            std::uint64_t number = 0;
            if (!parse_segment_number(temporary ? name.substr(0, name.size() - 4) : name, number)) {
                continue;
            }
            if (number >= base::limits::segment_number_end) {
                return tl::unexpected(strange(
                    info.name,
                    fmt::format("has a number that no segment has (they end before {}): the log "
                                "did not make it; move it away",
                                base::limits::segment_number_end)));
            }
            const SegmentId id(static_cast<std::uint32_t>(number));
            highest_seen_ = std::max(highest_seen_, id);
            if (temporary) {
                temporaries_.push_back(info.name);
                continue;
            }
            // A segment gets this name only when all its bytes are zeros on the disk, its size with
            // them (SegmentSet), and is never made shorter: no power cut leaves an empty one.
            if (info.size == 0) {
                return tl::unexpected(
                    strange(info.name,
                            "has 0 bytes, and a segment is never empty: it was cut "
                            "short, or is not the log's"));
            }
            File& file = files_[id];
            file.size = info.size;
            file.reader =
                std::make_unique<SegmentReader>(disk_, id, info.size, options_.salt, memory_);
        }
        return {};
    }

    // Reads header and head batch; file.head_valid says whether the segment was begun.
    base::Result<void> read_head(File& file) {
        if (file.head_read) {
            return {};
        }
        base::Result<void> read = read_head_now(file);
        file.reader->rest();  // one segment at a time has windows and reads ahead
        return read;
    }

    base::Result<void> read_head_now(File& file) {
        SegmentReader& reader = *file.reader;
        base::Result<HeaderCheck> check = reader.read_header(file.head.header);
        if (!check) {
            return tl::unexpected(std::move(check.error()));
        }
        if (*check == HeaderCheck::foreign) {
            return base::fail(fmt::format(
                "{} belongs to another data directory or another shard; put back this one's file",
                segment_name(reader.segment())));
        }
        if (*check == HeaderCheck::newer) {
            return base::fail(
                fmt::format("{} was written by a newer version of ursula; start that version",
                            segment_name(reader.segment())));
        }
        file.head_read = true;
        file.check = *check;
        if (*check != HeaderCheck::ok) {
            return {};
        }
        const SegmentHeader& header = file.head.header;
        TRY(check_size(reader.segment(), file.size, header.size));
        base::Bytes batch;
        base::Result<bool> valid =
            reader.read_batch(header.alignment, header.previous.sequence + 1,
                              header.previous.checksum, file.head.batch, batch);
        if (!valid) {
            return tl::unexpected(std::move(valid.error()));
        }
        if (!*valid) {
            return {};
        }
        file.head_valid = decode_head(batch, file.head);
        return {};
    }

    // The whole file is zeros on the disk before its header is written, so a header that is there
    // says what size the file had on the disk: a shorter one is no power cut's work.
    static base::Result<void> check_size(SegmentId segment, std::uint64_t size,
                                         std::uint64_t wanted) {
        if (size < wanted) {
            return tl::unexpected(
                strange(segment_name(segment),
                        fmt::format("is damaged at byte {0}: the file has {0} bytes and must have "
                                    "{1}: it was cut short",
                                    size, wanted)));
        }
        return {};
    }

    // The segment header of a file, whatever its name: one small read.
    base::Result<HeaderCheck> read_header_of(const std::string& name, SegmentId as,
                                             SegmentHeader& out) {
        DiskOp op;
        op.kind = DiskOp::Kind::open;
        op.name = name;
        op.direct = true;
        disk_.run_now(op);
        std::int64_t result = op.result;
        HeaderCheck check = HeaderCheck::invalid;
        if (result >= 0) {
            const AlignedMemory memory = allocate_aligned(memory_alignment);
            op.kind = DiskOp::Kind::read;
            op.position = 0;
            op.buffer = {memory.get(), memory_alignment};
            disk_.run_now(op);
            result = op.result;
            if (result >= 0) {
                check = decode_segment_header({memory.get(), static_cast<std::size_t>(result)},
                                              options_.salt, as, out);
            }
            op.kind = DiskOp::Kind::close;
            disk_.run_now(op);
        }
        if (result < 0) {
            const int error = static_cast<int>(-result);
            return base::fail(fmt::format("{} cannot be read: {}", name, std::strerror(error)),
                              error);
        }
        return check;
    }

    static bool decode_head(base::Bytes batch, Head& head) {
        RecordCursor cursor(batch, head.batch);
        RecordHeader record;
        base::Bytes body;
        while (cursor.next(record, body)) {
            if (record.kind == RecordKind::groups) {
                for (std::size_t at = 0; at + group_item_bytes <= body.size();
                     at += group_item_bytes) {
                    head.groups.push_back(decode_group_item(body.data() + at));
                }
            } else if (record.kind == RecordKind::segments) {
                for (std::size_t at = 0; at + segment_item_bytes <= body.size();
                     at += segment_item_bytes) {
                    head.segments.push_back(decode_segment_item(body.data() + at));
                }
            } else {
                return false;
            }
        }
        return true;
    }

    // The highest segment that was begun.
    base::Result<void> find_last() {
        for (auto at = files_.rbegin(); at != files_.rend(); ++at) {
            TRY(read_head(at->second));
            if (at->second.head_valid) {
                last_ = at->first;
                return {};
            }
        }
        return {};
    }

    // No segment was ever begun: nothing may have been acknowledged.
    base::Result<void> check_empty() {
        for (auto& [id, file] : files_) {
            base::Result<std::uint64_t> watermark =
                file.reader->highest_watermark(0, evidence_bytes_max);
            file.reader->rest();
            if (!watermark) {
                return tl::unexpected(std::move(watermark.error()));
            }
            if (*watermark > 0) {
                return tl::unexpected(
                    damage(id, 0, "its head is not valid, yet it holds acknowledged records"));
            }
        }
        for (const GroupReplay& group : groups_) {
            if (group.snapshot.index.value > 0) {
                return base::fail("there are snapshots but no log: the wal-* files are missing");
            }
        }
        return {};
    }

    bool covered_by_snapshots(const Head& head) const {
        return std::all_of(head.groups.begin(), head.groups.end(), [&](const GroupItem& item) {
            return item.group.value < groups_.size() &&
                   std::max(item.end, item.pending) <= groups_[item.group.value].snapshot.index;
        });
    }

    // The first segment to replay: the newest whose head says that everything before it is in
    // snapshots.
    base::Result<void> find_start() {
        const Head& newest = files_[last_].head;
        live_ = newest.segments;
        std::size_t first =
            live_.size();  // index into live_; live_.size() is the last segment itself
        const Head* head = &newest;
        while (first > 0 && (head == nullptr || !covered_by_snapshots(*head))) {
            --first;
            const auto at = files_.find(live_[first].segment);
            if (at == files_.end()) {
                continue;  // retired later on, or missed below
            }
            TRY(read_head(at->second));
            head = at->second.head_valid ? &at->second.head : nullptr;
        }
        start_ = first;
        return {};
    }

    // --- replay ---

    base::Result<void> replay() {
        LogEnd end;
        bool continues = false;  // `end` is the end of the live segment before
        for (std::size_t i = start_; i <= live_.size(); ++i) {
            const bool is_last = i == live_.size();
            const SegmentId id = is_last ? last_ : live_[i].segment;
            const auto at = files_.find(id);
            if (at == files_.end()) {
                continues = false;
                missing_ = id;
                continue;  // checked against the retire records at the end
            }
            File& file = at->second;
            TRY(read_head(file));
            RecoveredSegment segment;
            segment.segment = id;
            segment.size_bytes = size_of(file.size);
            segment.replayed = true;
            if (!file.head_valid) {
                if (!continues) {
                    return tl::unexpected(damage(id, 0, "its head is not valid"));
                }
                TRY(stop(id, 0, end.sequence + 1));
                return close_at(end);
            }
            const Head& head = file.head;
            if (continues && head.header.previous.segment == end.segment &&
                !(head.header.previous == end)) {
                return tl::unexpected(damage(id, 0, "it does not continue the segment before it"));
            }
            TRY(apply_head(head, replayed_.empty()));
            end = {id, head.header.alignment + round_up(head.batch.length, head.header.alignment),
                   head.batch.checksum, head.batch.sequence};
            replayed_.push_back(segment);
            continues = true;
            while (is_last || end.position < live_[i].end) {
                BatchHeader header;
                base::Bytes batch;
                base::Result<bool> valid = file.reader->read_batch(end.position, end.sequence + 1,
                                                                   end.checksum, header, batch);
                if (!valid) {
                    return tl::unexpected(std::move(valid.error()));
                }
                if (!*valid) {
                    file.reader->rest();
                    TRY(stop(id, end.position, end.sequence + 1));
                    if (!is_last && planted(Planted::torn_tail_is_segment_end)) {
                        continues = false;
                        break;
                    }
                    return close_at(end);
                }
                TRY(apply_batch(batch, header, id, end.position));
                end = {id, end.position + round_up(header.length, head.header.alignment),
                       header.checksum, header.sequence};
                recovered_.replayed_bytes += header.length;
            }
            if (continues && (end.position != live_[i].end || end.sequence != live_[i].sequence ||
                              end.checksum != live_[i].checksum)) {
                return tl::unexpected(
                    damage(id, end.position, "it does not end where the next segment says"));
            }
            set_end(end);
            file.reader->rest();
        }
        return {};
    }

    void set_end(const LogEnd& end) {
        RecoveredSegment& segment = replayed_.back();
        segment.end = end.position;
        segment.last_sequence = end.sequence;
        segment.last_checksum = end.checksum;
    }

    // Reading came to batch `sequence` at a place where it is not valid: torn, or damage.
    base::Result<void> stop(SegmentId segment, std::uint32_t position, std::uint64_t sequence) {
        if (planted(Planted::torn_tail_is_segment_end) && segment != last_) {
            return {};
        }
        for (auto at = files_.find(segment); at != files_.end(); ++at) {
            const bool here = at->first == segment;
            base::Result<std::uint64_t> watermark = at->second.reader->highest_watermark(
                here ? position : 0, here ? UINT32_MAX : evidence_bytes_max);
            if (!watermark) {
                return tl::unexpected(std::move(watermark.error()));
            }
            at->second.reader->rest();
            if (*watermark >= sequence) {
                return tl::unexpected(
                    damage(segment, position,
                           fmt::format("batch {} is not valid, but {} says that it was durable. "
                                       "Restore this shard's files "
                                       "from a copy",
                                       sequence, segment_name(at->first))));
            }
        }
        return {};
    }

    // The log ends at `end`, before the last segment that has a head or in it.
    base::Result<void> close_at(const LogEnd& end) {
        if (!replayed_.empty()) {
            set_end(end);
        }
        if (end.segment != last_) {
            last_ = end.segment;
            live_ = files_[last_].head.segments;
        }
        return {};
    }

    base::Result<void> apply_head(const Head& head, bool first) {
        const bool by_recovery = (head.header.flags & flag_by_recovery) != 0;
        if (by_recovery) {
            for (GroupReplay& group : groups_) {
                group.drop_pieces();
            }
        }
        for (const GroupItem& item : head.groups) {
            if (item.group.value >= groups_.size()) {
                return tl::unexpected(damage(head.header.segment, head.header.alignment,
                                             "it names an unknown group"));
            }
            GroupReplay& group = groups_[item.group.value];
            group.known = true;
            group.term = item.term;
            group.vote = item.vote;
            if (first) {
                if (item.end > group.snapshot.index) {
                    return base::fail(fmt::format(
                        "the log begins at {}, but entries {} to {} of group {} come before it and "
                        "are in no valid snapshot",
                        segment_name(head.header.segment), group.snapshot.index.value + 1,
                        item.end.value, item.group.value));
                }
                group.end = item.end;
            } else if (item.end < group.end) {
                truncate(item.group, group, item.end.next());
            } else if (item.end > group.end) {
                if (item.end > group.snapshot.index && missing_ != SegmentId{}) {
                    return base::fail(
                        fmt::format("{} is missing: entries {} to {} of group {} were in it",
                                    segment_name(missing_), group.end.value + 1, item.end.value,
                                    item.group.value));
                }
                if (item.end > group.snapshot.index) {
                    return tl::unexpected(
                        damage(head.header.segment, head.header.alignment,
                               fmt::format("it continues group {} behind entry {}, the log has {}",
                                           item.group.value, item.end.value, group.end.value)));
                }
                group.end = item.end;
            }
        }
        return {};
    }

    base::Result<void> apply_batch(base::Bytes batch, const BatchHeader& header, SegmentId segment,
                                   std::uint32_t position) {
        RecordCursor cursor(batch, header);
        RecordHeader record;
        base::Bytes body;
        while (cursor.next(record, body)) {
            if (record.kind == RecordKind::retire) {
                const SegmentId gone(static_cast<std::uint32_t>(record.index.value));
                if (gone >= segment) {
                    return tl::unexpected(damage(segment, position + cursor.body_position(),
                                                 "it retires a segment not before itself"));
                }
                retired_.push_back(gone);
                continue;
            }
            if (record.kind == RecordKind::groups || record.kind == RecordKind::segments ||
                record.group.value >= groups_.size()) {
                return tl::unexpected(damage(segment, position + cursor.body_position(),
                                             "a record that has no place here"));
            }
            GroupReplay& group = groups_[record.group.value];
            group.known = true;
            const Location location{segment, position + cursor.body_position(), record.length};
            bool fits = true;
            switch (record.kind) {
                case RecordKind::entry:
                    fits = on_entry(group, record, body, {&location, 1});
                    break;
                case RecordKind::piece:
                    fits = on_piece(group, record, body, location);
                    break;
                case RecordKind::hard_state:
                    group.term = record.term;
                    group.vote = base::NodeId(static_cast<std::uint32_t>(record.index.value));
                    break;
                case RecordKind::truncate:
                    fits = record.index.value > 0;
                    if (!fits) {
                        break;
                    }
                    group.drop_pieces();
                    if (!planted(Planted::truncate_forgotten)) {
                        truncate(record.group, group, record.index);
                    }
                    break;
                case RecordKind::restart:
                    group.drop_pieces();
                    truncate(record.group, group, base::LogIndex{1});
                    group.end = record.index;
                    break;
                case RecordKind::payload:
                    break;  // named by a snapshot, or nothing
                case RecordKind::groups:
                case RecordKind::segments:
                case RecordKind::retire:
                    VERIFY(false);
            }
            if (!fits) {
                return tl::unexpected(
                    damage(segment, position + cursor.body_position(),
                           fmt::format("entry {} of group {} does not follow entry {}",
                                       record.index.value, record.group.value, group.end.value)));
            }
            note_highest(record);
        }
        return {};
    }

    void note_highest(const RecordHeader& record) {
        auto& highest = replayed_.back().highest;
        const base::LogIndex index =
            record.kind == RecordKind::entry || record.kind == RecordKind::piece ? record.index
                                                                                 : base::LogIndex{};
        const auto at = std::lower_bound(
            highest.begin(), highest.end(), record.group,
            [](const auto& pair, base::GroupId wanted) { return pair.first < wanted; });
        if (at == highest.end() || at->first != record.group) {
            highest.insert(at, {record.group, index});
        } else {
            at->second = std::max(at->second, index);
        }
    }

    bool on_entry(GroupReplay& group, const RecordHeader& record, base::Bytes body,
                  std::span<const Location> pieces) {
        group.drop_pieces();
        if (record.index != group.end.next()) {
            return false;
        }
        group.end = record.index;
        if (record.index <= group.snapshot.index) {
            return true;
        }
        if (record.index != group.reached.next()) {
            return false;
        }
        group.reached = record.index;
        if (group.terms.empty() || group.terms.back().second != record.term) {
            group.terms.emplace_back(record.index, record.term);
        }
        RecoveredEntry entry;
        entry.group = record.group;
        entry.id = {record.term, record.index};
        entry.kind = record.entry_kind;
        entry.body = body;
        entry.pieces = pieces;
        sink_.on_entry(entry);
        return true;
    }

    bool on_piece(GroupReplay& group, const RecordHeader& record, base::Bytes body,
                  const Location& location) {
        const base::EntryId id{record.term, record.index};
        if (record.index <= group.snapshot.index) {
            // Its bytes are not needed, and any segment with some of its pieces may be recycled,
            // also one between two that are still there.
            group.drop_pieces();
            if (record.piece_offset + static_cast<std::uint64_t>(record.length) ==
                record.piece_total) {
                group.end = std::max(group.end, record.index);
            }
            return true;
        }
        if (record.piece_offset == 0) {
            group.drop_pieces();
            group.piece_active = true;
            group.piece_id = id;
            group.piece_total = record.piece_total;
        } else if (!group.piece_active) {
            return false;
        }
        if (group.piece_id != id || group.piece_total != record.piece_total ||
            group.piece_bytes.size() != record.piece_offset ||
            record.piece_offset + static_cast<std::uint64_t>(record.length) > record.piece_total) {
            return false;
        }
        group.piece_bytes.insert(group.piece_bytes.end(), body.begin(), body.end());
        group.piece_locations.push_back(location);
        if (group.piece_bytes.size() < group.piece_total) {
            return true;
        }
        const std::vector<std::byte> whole = std::move(group.piece_bytes);
        const std::vector<Location> pieces = std::move(group.piece_locations);
        group.drop_pieces();
        return on_entry(group, record, whole, pieces);
    }

    void truncate(base::GroupId id, GroupReplay& group, base::LogIndex from) {
        if (from <= group.end) {
            group.end = base::LogIndex(from.value - 1);
        }
        from = std::max(from, group.snapshot.index.next());
        if (group.reached < from) {
            return;
        }
        group.reached = base::LogIndex(from.value - 1);
        while (!group.terms.empty() && group.terms.back().first >= from) {
            group.terms.pop_back();
        }
        sink_.on_truncate(id, from);
    }

    // --- the end ---

    base::Result<void> check_groups() {
        for (std::uint32_t i = 0; i < groups_.size(); ++i) {
            const GroupReplay& group = groups_[i];
            if (group.end > group.reached) {
                return base::fail(fmt::format(
                    "entries {} to {} of group {} are in no valid snapshot and not in the log",
                    group.reached.value + 1, group.end.value, i));
            }
        }
        std::erase_if(live_, [&](const SegmentItem& item) {
            return std::find(retired_.begin(), retired_.end(), item.segment) != retired_.end();
        });
        for (const SegmentItem& item : live_) {
            if (files_.find(item.segment) == files_.end()) {
                return base::fail(fmt::format("{} is missing", segment_name(item.segment)));
            }
        }
        return {};
    }

    // The files whose bytes were not replayed: those of covered segments, which clients still read,
    // and those that Wal::start removes, which must be dead. A file not in use is dead when
    //   it has no header: it was never begun (or all of it is gone: nothing tells);
    //   its header names itself: behind last_ nothing in it was acknowledged (stop, check_empty),
    //   before last_ it was retired, since the live ones are listed;
    //   its header names a retired segment: it was recycled and not begun again.
    // Numbers may have gaps: a number whose making failed is not used again, and of the removals at
    // start any may be lost in a power cut.
    base::Result<void> check_others() {
        for (auto& [id, file] : files_) {
            const bool replayed = std::any_of(
                replayed_.begin(), replayed_.end(),
                [&, wanted = id](const RecoveredSegment& it) { return it.segment == wanted; });
            if (!replayed) {
                TRY(check_other(id, file));
            }
        }
        for (const std::string& name : temporaries_) {
            // Its number was never used before: it holds zeros, or less.
            SegmentHeader header;
            base::Result<HeaderCheck> check = read_header_of(name, SegmentId{}, header);
            if (!check) {
                return tl::unexpected(std::move(check.error()));
            }
            if (*check != HeaderCheck::invalid) {
                return tl::unexpected(
                    strange(name, fmt::format("holds segment {}; put it back under its own name",
                                              segment_name(header.segment))));
            }
        }
        return {};
    }

    base::Result<void> check_other(SegmentId id, File& file) {
        const std::string name = segment_name(id);
        SegmentHeader header = file.head.header;
        HeaderCheck check = file.check;
        if (!file.head_read) {
            base::Result<HeaderCheck> read = read_header_of(name, id, header);
            if (!read) {
                return tl::unexpected(std::move(read.error()));
            }
            check = *read;
        }
        const SegmentItem* live = find_live(id);
        if (live != nullptr) {
            TRY(check_size(id, file.size, live->end));
        }
        switch (check) {
            case HeaderCheck::ok:
                return check_size(id, file.size, header.size);
            case HeaderCheck::invalid:
                if (file.size % sector_bytes != 0) {
                    return tl::unexpected(strange(
                        name, fmt::format("has {} bytes and no header; segments are made of whole "
                                          "sectors: it was cut short, or is not the log's",
                                          file.size)));
                }
                return {};
            case HeaderCheck::misplaced:
                if (live != nullptr || header.segment >= last_ ||
                    find_live(header.segment) != nullptr) {
                    return tl::unexpected(strange(
                        name, fmt::format("holds segment {}, which is not its place; put both "
                                          "files back under their own names",
                                          segment_name(header.segment))));
                }
                return {};
            case HeaderCheck::foreign:
                return tl::unexpected(
                    strange(name,
                            "belongs to another data directory or another shard; put back this "
                            "one's file"));
            case HeaderCheck::newer:
                return tl::unexpected(
                    strange(name, "was written by a newer version of ursula; start that version"));
        }
        VERIFY(false);
        return {};
    }

    const SegmentItem* find_live(SegmentId id) const {
        const auto at = std::find_if(live_.begin(), live_.end(),
                                     [&](const SegmentItem& item) { return item.segment == id; });
        return at == live_.end() ? nullptr : &*at;
    }

    // What was read may never have reached the disk; it counts as persisted only after this.
    base::Result<void> sync_end() {
        TRY(files_[last_].reader->sync());
        if (!live_.empty()) {
            TRY(files_[live_.back().segment].reader->sync());
        }
        return {};
    }

    base::Result<RecoveredLog> finish() {
        for (const SegmentItem& item : live_) {
            if (item.segment == last_) {
                continue;
            }
            const auto at = std::find_if(
                replayed_.begin(), replayed_.end(),
                [&](const RecoveredSegment& segment) { return segment.segment == item.segment; });
            if (at != replayed_.end()) {
                recovered_.segments.push_back(std::move(*at));
                continue;
            }
            RecoveredSegment segment;
            segment.segment = item.segment;
            segment.size_bytes = size_of(files_[item.segment].size);
            segment.end = item.end;
            segment.last_sequence = item.sequence;
            segment.last_checksum = item.checksum;
            recovered_.segments.push_back(std::move(segment));
        }
        if (last_ != SegmentId{}) {
            const auto at = std::find_if(
                replayed_.begin(), replayed_.end(),
                [&](const RecoveredSegment& segment) { return segment.segment == last_; });
            VERIFY(at != replayed_.end());
            recovered_.segments.push_back(std::move(*at));
        }
        recovered_.unused = temporaries_;
        for (const auto& named : files_) {
            const SegmentId id = named.first;
            const bool needed =
                std::any_of(recovered_.segments.begin(), recovered_.segments.end(),
                            [&](const RecoveredSegment& segment) { return segment.segment == id; });
            if (!needed) {
                recovered_.unused.push_back(segment_name(id));
            }
        }
        recovered_.next_segment = highest_seen_.next();
        for (std::uint32_t i = 0; i < groups_.size(); ++i) {
            const GroupReplay& group = groups_[i];
            if (!group.known) {
                continue;
            }
            BootState boot;
            boot.group = base::GroupId(i);
            boot.term = group.term;
            boot.vote = group.vote;
            boot.snapshot = group.snapshot;
            boot.last = group.terms.empty()
                            ? group.snapshot
                            : base::EntryId{group.terms.back().second, group.reached};
            recovered_.groups.push_back(boot);
        }
        return std::move(recovered_);
    }

    Disk& disk_;
    const RecoveryOptions& options_;
    RecoverySink& sink_;
    std::vector<GroupReplay> groups_;
    ReadMemory memory_;
    std::map<SegmentId, File> files_;
    std::vector<std::string> temporaries_;
    SegmentId highest_seen_{};
    SegmentId last_{};
    std::vector<SegmentItem> live_;  // before last_, as its head lists them
    std::size_t start_ = 0;
    std::vector<RecoveredSegment> replayed_;
    std::vector<SegmentId> retired_;
    SegmentId missing_{};  // the last listed segment without a file
    RecoveredLog recovered_;
};

}  // namespace

base::Result<RecoveredLog> recover(Disk& disk, const RecoveryOptions& options, RecoverySink& sink) {
    VERIFY(options.group_count > 0);
    return Recovery(disk, options, sink).run();
}

}  // namespace ursula::storage
