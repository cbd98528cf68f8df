// The log's bytes. All numbers are little-endian; crc = CRC-32C.
//
// A shard's directory holds
//   wal-0000000012        a segment: named by its number, which only grows and is never used twice
//   wal-0000000013.tmp    a segment being filled with zeros: holds nothing
// A segment file has its full size and is zero (or holds another number's old bytes) before it is
// first written.
// No power cut therefore leaves a wal-N that is empty, shorter than its header says, or with the
// header of a segment that is still live or never was retired: such a file, a number from
// base::limits::segment_number_end on, and a wal-* that is no regular file are refused at start,
// with nothing removed.
//
// SEGMENT   position 0: segment header, alone in its block, together with the first batch (the
// HEAD) one write.
//           Then batches, each on a fresh block; bytes between a batch's end and the next block are
//           zero and not checked.
//
//   segment header   at  size
//     magic            0     8   segment_magic
//     checksum         8     4   salted crc of [12, 64)
//     version         12     4   wal_format_version; a newer one is refused, an older one read
//                                (version 1 has no payload records)
//     salt            16     8   of the shard
//     segment         24     4   this segment's number
//     alignment       28     4   block: batches begin on its multiples
//     size            32     4   of the file in bytes
//     prev segment    36     4   EXACT END of what precedes: segment (0: nothing precedes),
//     prev end        40     4     first byte behind its last batch, rounded up to the block,
//     prev checksum   44     4     checksum of that batch,
//     prev sequence   48     8     and its sequence number
//     flags           56     8   1: made by a recovery (entries in pieces left unfinished before it
//     are void)
//
//   batch            at  size
//     magic            0     4   batch_magic
//     checksum         4     4   salted crc of [8, 48); names the batch in what follows it
//     sequence         8     8   one more than the batch before, across segments
//     watermark       16     8   highest sequence known durable when this one was written (all
//     before it are too) length          24     4   from the header's first byte to the last
//     record's last byte records         28     4   how many records crc     32     4   crc of all
//     record headers in order prev checksum   36     4   of the batch before zero            40 8
//     records         48         each on a multiple of 8
//
//   record header    at  size
//     kind             0     1   RecordKind
//     entry kind       1     1   entry, piece: the caller's
//     zero             2     2
//     length           4     4   of the body that follows the header
//     group            8     4
//     body crc        12     4   crc of the body (0 without one)
//     term            16     8
//     index           24     8
//     piece only:     32     4   offset of these bytes in the entry's body
//                     36     4   length of the entry's whole body
//
//   kind            body        meaning
//     1 entry         the body    one Raft entry {group, term, index}
//     2 piece         a part      a larger entry; it exists once its last piece is durable. Pieces
//     of one entry follow
//                                 each other among the group's records, other groups' records in
//                                 between
//     3 hard state    –           {group, term, index = vote}
//     4 truncate      –           the group's entries with index >= `index` are gone
//     5 restart       –           a snapshot at {term, index} replaced the group's log
//     6 groups        n x 32 B    head only: u32 group, u32 vote, u64 term, u64 end index, u64
//     index of the entry whose
//                                 pieces are unfinished (0: none). Entries beyond `end index` are
//                                 gone
//     7 segments      n x 24 B    head only: every live segment before this one, oldest first: u32
//     segment, u32 end,
//                                 u64 last sequence, u32 last checksum, u32 zero
//     8 retire        –           segment `index` is not needed any more; its file goes (or is
//     renamed to a new number)
//                                 only after this record is durable, so a file that is missing
//                                 without it is damage
//     9 payload       bytes       {group}: payload that came with a snapshot, not with an entry. It
//     counts
//                                 only where a snapshot's location index names it
//
// SALT. A salted crc starts from the crc of {shard salt, segment, position of the header}: a stale,
// recycled or misdirected header never validates. Record headers and bodies need none: they count
// only through the header.
//
// DURABILITY. A batch is one durable write; at most two are in flight and batch n is submitted only
// after batch n-2 is known durable, so a batch above the highest watermark + 2 was never begun. A
// block with acknowledged bytes is never written again. An idle log writes an empty batch for the
// sake of its watermark.
//
// VALID. A batch counts when its header validates at its place, sequence and prev checksum continue
// the batch before, and all record headers and bodies match their crcs.
//
// END. The log goes on from (segment, position) in the highest-numbered segment whose header names
// exactly this end and whose head is valid; else with the batch at the position. Reading stops at
// the first batch S that is not valid:
//   - a valid batch header with watermark >= S anywhere behind that place, or in a higher segment:
//   batch S had been
//     acknowledged. DAMAGE: refused with file and position.
//   - none: S is a torn tail and never was acknowledged. The log ends before S; whatever lies
//   behind is void for ever,
//     because the next segment's header names this end.
// The one hole: the last batch before a crash has no later header to vouch for it, so damage to it
// inside the watermark window looks like a torn tail (notes/reliability-anchors.md 3.3).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/ids.h"
#include "storage/wal.h"

namespace ursula::storage {

constexpr std::uint64_t segment_magic = 0x31776c6177727255;  // "Urrwalw1"
constexpr std::uint32_t batch_magic = 0x68637462;            // "btch"
constexpr std::uint32_t wal_format_version = 2;
constexpr std::uint32_t segment_header_bytes = 64;
constexpr std::uint32_t batch_header_bytes = 48;
constexpr std::uint32_t record_header_bytes = 32;
constexpr std::uint32_t piece_header_bytes = 40;
constexpr std::uint32_t group_item_bytes = 32;
constexpr std::uint32_t segment_item_bytes = 24;
constexpr std::uint64_t flag_by_recovery = 1;

enum class RecordKind : std::uint8_t {
    entry = 1,
    piece = 2,
    hard_state = 3,
    truncate = 4,
    restart = 5,
    groups = 6,
    segments = 7,
    retire = 8,
    payload = 9,
};

constexpr std::uint32_t round_up(std::uint32_t value, std::uint32_t unit) {
    return (value + unit - 1) / unit * unit;
}
constexpr std::uint32_t align8(std::uint32_t value) {
    return (value + 7) & ~7u;
}

// The place in the log right behind a batch.
struct LogEnd {
    SegmentId segment;
    std::uint32_t position = 0;  // rounded up to the segment's block
    std::uint32_t checksum = 0;
    std::uint64_t sequence = 0;
    constexpr bool operator==(const LogEnd&) const = default;
};

struct SegmentHeader {
    std::uint64_t salt = 0;
    SegmentId segment;
    std::uint32_t alignment = 0;
    std::uint32_t size = 0;
    LogEnd previous;
    std::uint64_t flags = 0;
};

enum class HeaderCheck : std::uint8_t {
    ok,
    invalid,
    foreign,    // whole, but of another salt
    misplaced,  // whole and of this salt, but of the segment out.segment: recycled, or not its
                // place
    newer
};

// version: only tests write another.
void encode_segment_header(const SegmentHeader& header, base::MutableBytes out,
                           std::uint32_t version = wal_format_version);
HeaderCheck decode_segment_header(base::Bytes bytes, std::uint64_t salt, SegmentId segment,
                                  SegmentHeader& out);
// Without knowing the salt: trusts the one in the header. For tools.
bool peek_segment_salt(base::Bytes bytes, SegmentId segment, std::uint64_t& salt);

struct BatchHeader {
    std::uint32_t checksum = 0;  // set by both functions
    std::uint64_t sequence = 0;
    std::uint64_t watermark = 0;
    std::uint32_t length = 0;
    std::uint32_t records = 0;
    std::uint32_t records_crc = 0;
    std::uint32_t prev_checksum = 0;
};

struct Place {
    std::uint64_t salt = 0;
    SegmentId segment;
    std::uint32_t position = 0;
};

void encode_batch_header(BatchHeader& header, const Place& place, std::byte* out);
// The header alone; true when it validates at its place.
bool decode_batch_header(base::Bytes bytes, const Place& place, BatchHeader& out);

struct RecordHeader {
    RecordKind kind = RecordKind::entry;
    std::uint8_t entry_kind = 0;
    std::uint32_t length = 0;
    base::GroupId group;
    std::uint32_t body_crc = 0;
    base::Term term;
    base::LogIndex index;
    std::uint32_t piece_offset = 0;
    std::uint32_t piece_total = 0;
    std::uint32_t header_bytes() const {
        return kind == RecordKind::piece ? piece_header_bytes : record_header_bytes;
    }
};

void encode_record_header(const RecordHeader& header, std::byte* out);

struct GroupItem {
    base::GroupId group;
    base::NodeId vote;
    base::Term term;
    base::LogIndex end;
    base::LogIndex pending;
};
struct SegmentItem {
    SegmentId segment;
    std::uint32_t end = 0;
    std::uint64_t sequence = 0;
    std::uint32_t checksum = 0;
};
void encode_group_item(const GroupItem& item, std::byte* out);
GroupItem decode_group_item(const std::byte* in);
void encode_segment_item(const SegmentItem& item, std::byte* out);
SegmentItem decode_segment_item(const std::byte* in);

// Walks the records of a batch. next() is false at the end and at the first that does not fit;
// whole() tells which.
class RecordCursor {
  public:
    // batch: header.length bytes from the batch header on.
    RecordCursor(base::Bytes batch, const BatchHeader& header)
        : batch_(batch), count_(header.records) {}
    bool next(RecordHeader& header, base::Bytes& body);
    bool whole() const { return !bad_ && seen_ == count_; }
    std::uint32_t body_position() const {
        return body_position_;
    }  // of the last body, from the batch's start
    base::Bytes header_bytes() const { return header_bytes_; }

  private:
    base::Bytes batch_;
    base::Bytes header_bytes_;
    std::uint32_t count_ = 0;
    std::uint32_t seen_ = 0;
    std::uint32_t used_ = batch_header_bytes;
    std::uint32_t body_position_ = 0;
    bool bad_ = false;
};

// All record headers and bodies of a batch whose header validated.
bool check_records(base::Bytes batch, const BatchHeader& header);

// "wal-0000000012" -> 12, up to ten digits' worth; false for any other name.
bool parse_segment_number(std::string_view name, std::uint64_t& out);
// The same; false also for a number that no segment has (base::limits::segment_number_end).
bool parse_segment_name(std::string_view name, SegmentId& out);

}  // namespace ursula::storage
