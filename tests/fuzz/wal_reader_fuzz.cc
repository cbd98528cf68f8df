// Recovery against arbitrary bytes in a log. The input becomes one or two segment files: a valid
// beginning of known entries, then batches whose records are the input's bytes, with checksums made
// right where the input asks for it, so that what lies behind the checksums is reached too. Oracles
// beyond "no crash":
// - the valid beginning is never lost: recovery tells it whole, or refuses with a sentence;
// - recovery changes nothing: a second one says the same;
// - what it accepted it accepts again after the log was started on it and the power was cut.
#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "base/crc32c.h"
#include "base/verify.h"
#include "base/wire.h"
#include "sim/sim_disk.h"
#include "storage/recovery.h"
#include "storage/wal.h"
#include "storage/wal_format.h"

using namespace ursula;
using namespace ursula::storage;

namespace {

constexpr std::uint64_t salt = 42;
constexpr std::uint32_t group_count = 4;
constexpr std::uint32_t segment_size = 32 * 1024;
constexpr std::uint32_t block = 512;
constexpr std::uint32_t known_entries = 3;

// Takes numbers off the input's front; zeros when it is used up.
class Input {
  public:
    explicit Input(base::Bytes bytes) : bytes_(bytes) {}
    std::uint8_t byte() {
        return bytes_.empty() ? std::uint8_t{0} : static_cast<std::uint8_t>(take(1)[0]);
    }
    base::Bytes take(std::size_t size) {
        const base::Bytes front = bytes_.first(std::min(size, bytes_.size()));
        bytes_ = bytes_.subspan(front.size());
        return front;
    }
    bool empty() const { return bytes_.empty(); }
    bool may_truncate = false;  // bytes became records that may shorten group 0's log

  private:
    base::Bytes bytes_;
};

struct Told final : RecoverySink {
    struct Entry {
        base::GroupId group;
        base::EntryId id;
        std::uint32_t crc = 0;
        bool operator==(const Entry&) const = default;
    };
    std::vector<Entry> entries;
    void on_entry(const RecoveredEntry& entry) override {
        VERIFY(entry.group.value < group_count);
        std::size_t size = 0;
        for (const Location& piece : entry.pieces) {
            size += piece.size;
        }
        VERIFY(size == entry.body.size());
        entries.push_back({entry.group, entry.id, base::crc32c(entry.body)});
    }
    void on_truncate(base::GroupId group, base::LogIndex from) override {
        std::erase_if(entries, [&](const Entry& told) {
            return told.group == group && told.id.index >= from;
        });
    }
};

// Builds one segment file.
class Segment {
  public:
    Segment(SegmentId id, const LogEnd& previous) : id_(id), file_(segment_size), end_(previous) {
        encode_segment_header({salt, id, block, segment_size, previous, 0}, file_);
        position_ = block;
    }
    std::byte* records() { return file_.data() + position_ + batch_header_bytes; }
    std::uint32_t room() const { return segment_size - position_ - batch_header_bytes; }
    const LogEnd& end() const { return end_; }
    const std::vector<std::byte>& file() const { return file_; }

    // The records stand at records() already. Their crcs are taken as they are, or made right.
    void batch(std::uint32_t records_size, std::uint32_t count, std::uint64_t watermark,
               bool seal_bodies) {
        BatchHeader header;
        header.sequence = end_.sequence + 1;
        header.watermark = watermark;
        header.length = batch_header_bytes + records_size;
        header.records = count;
        header.prev_checksum = end_.checksum;
        const base::Bytes whole{file_.data() + position_, header.length};
        RecordCursor cursor(whole, header);
        RecordHeader record;
        base::Bytes body;
        while (cursor.next(record, body)) {
            if (seal_bodies) {
                std::byte* at = file_.data() + (cursor.header_bytes().data() - file_.data());
                base::store(at + 12, base::crc32c(body));
            }
            header.records_crc = base::crc32c(cursor.header_bytes(), header.records_crc);
        }
        encode_batch_header(header, {salt, id_, position_}, file_.data() + position_);
        position_ += round_up(header.length, block);
        end_ = {id_, position_, header.checksum, header.sequence};
    }

  private:
    SegmentId id_;
    std::vector<std::byte> file_;
    LogEnd end_;
    std::uint32_t position_ = 0;
};

void known_beginning(Segment& segment) {
    segment.batch(0, 0, 0, true);  // an empty head
    for (std::uint32_t i = 1; i <= known_entries; ++i) {
        RecordHeader record;
        record.length = 5;
        record.group = base::GroupId(0);
        record.term = base::Term(1);
        record.index = base::LogIndex(i);
        record.body_crc = base::crc32c(base::as_bytes("known"));
        encode_record_header(record, segment.records());
        base::copy_bytes(segment.records() + record_header_bytes, base::as_bytes("known"));
        segment.batch(record_header_bytes + 5, 1, i, true);
    }
}

// A record from a few bytes of the input, so that sensible ones are likely.
std::uint32_t put_record(Input& input, std::byte* at, std::uint32_t room) {
    RecordHeader record;
    record.kind = static_cast<RecordKind>(input.byte() % 11);
    record.entry_kind = input.byte();
    input.may_truncate = input.may_truncate || record.kind == RecordKind::truncate ||
                         record.kind == RecordKind::restart;
    record.group = base::GroupId(input.byte() % (group_count + 1));
    record.term = base::Term(input.byte());
    record.index = base::LogIndex(input.byte());
    if (record.kind == RecordKind::piece) {
        record.piece_offset = input.byte();
        record.piece_total = input.byte();
    }
    const base::Bytes body = input.take(input.byte());
    record.length = static_cast<std::uint32_t>(body.size());
    if (record.header_bytes() + record.length + 8 > room) {
        return 0;
    }
    encode_record_header(record, at);
    base::copy_bytes(at + record.header_bytes(), body);
    return record.header_bytes() + record.length;
}

void batches_of(Input& input, Segment& segment) {
    while (!input.empty() && segment.room() > 2048) {
        const std::uint8_t how = input.byte();
        const std::uint64_t watermark =
            (how & 1u) != 0 ? segment.end().sequence
                            : segment.end().sequence -
                                  std::min<std::uint64_t>(input.byte(), segment.end().sequence);
        std::uint32_t size = 0;
        std::uint32_t count = input.byte() % 6;
        if ((how & 2u) != 0) {
            for (std::uint32_t i = 0; i < count; ++i) {
                size = align8(size);
                const std::uint32_t used = put_record(input, segment.records() + size, 2048 - size);
                if (used == 0) {
                    count = i;
                    break;
                }
                size += used;
            }
        } else {
            const base::Bytes raw = input.take(input.byte());
            input.may_truncate = true;
            base::copy_bytes(segment.records(), raw);
            size = static_cast<std::uint32_t>(raw.size());
        }
        segment.batch(size, count, watermark, (how & 4u) != 0);
        if ((how & 24u) == 24) {
            break;
        }
    }
}

base::Result<RecoveredLog> recover_from(sim::SimDisk& disk, Told& told) {
    RecoveryOptions options;
    options.salt = salt;
    options.group_count = group_count;
    return recover(disk, options, told);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    Input input({reinterpret_cast<const std::byte*>(data), size});
    const std::uint8_t mode = input.byte();
    sim::Image image;
    Segment first(SegmentId(1), {});
    known_beginning(first);
    batches_of(input, first);
    image.files[segment_name(SegmentId(1))] = first.file();
    if ((mode & 1u) != 0) {
        // A second segment, whose head lists the first as it is or not at all.
        Segment second(SegmentId(2 + (mode >> 6)), (mode & 2u) != 0 ? first.end() : LogEnd{});
        RecordHeader record;
        record.kind = RecordKind::segments;
        record.length = segment_item_bytes;
        encode_record_header(record, second.records());
        encode_segment_item(
            {SegmentId(1), first.end().position, first.end().sequence, first.end().checksum},
            second.records() + record_header_bytes);
        second.batch(record_header_bytes + segment_item_bytes, (mode & 4u) != 0 ? 1 : 0,
                     first.end().sequence, true);
        batches_of(input, second);
        image.files[segment_name(SegmentId(2 + (mode >> 6)))] = second.file();
    }
    if ((mode & 8u) != 0 && size > 4) {
        // Raw damage anywhere behind the known beginning.
        std::vector<std::byte>& file = image.files.begin()->second;
        const std::size_t at =
            5 * block + (std::size_t{data[1]} << 8 | data[2]) % (file.size() - 5 * block);
        file[at] ^= static_cast<std::byte>(data[3]);
    }

    sim::SimDisk disk(image);
    Told told;
    base::Result<RecoveredLog> log = recover_from(disk, told);
    Told again;
    base::Result<RecoveredLog> log_again = recover_from(disk, again);
    VERIFY(log.has_value() == log_again.has_value());
    VERIFY(told.entries == again.entries);
    if (!log) {
        VERIFY(!log.error().message.empty() && log.error().message == log_again.error().message);
        return 0;
    }
    // What recovery told of a group and where it says the log ends agree.
    std::uint64_t end = 0;
    for (const BootState& boot : log->groups) {
        end = boot.group == base::GroupId(0) ? boot.last.index.value : end;
    }
    std::uint64_t known = 0;
    for (const Told::Entry& entry : told.entries) {
        known += entry.group == base::GroupId(0) ? 1 : 0;
    }
    VERIFY(known == end);
    // Only a truncation, or a head that says nothing of the group, may take the beginning away.
    const bool may_go = input.may_truncate || (mode & 1u) != 0;
    VERIFY(may_go || known >= known_entries);

    WalOptions options;
    options.salt = salt;
    options.group_count = group_count;
    options.segment_bytes = segment_size;
    options.batch_bytes_max = 8 * 1024;
    options.piece_bytes_max = 2 * 1024;
    const std::size_t segments = log->segments.size();
    base::Result<std::unique_ptr<Wal>> wal = Wal::start(disk, options, std::move(*log));
    VERIFY(wal.has_value());
    sim::SimDisk after(disk.everything());
    Told later;
    base::Result<RecoveredLog> log_later = recover_from(after, later);
    VERIFY(log_later.has_value() && log_later->segments.size() == segments + 1);
    VERIFY(told.entries == later.entries);
    return 0;
}
