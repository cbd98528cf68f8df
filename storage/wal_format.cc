#include "storage/wal_format.h"

#include <array>

#include "base/crc32c.h"
#include "base/limits.h"
#include "base/wire.h"
#include "storage/planted.h"

namespace ursula::storage {

using base::crc32c;
using base::load;
using base::store;

namespace {

std::uint32_t salt_seed(const Place& place) {
    std::array<std::byte, 16> bytes{};
    store(bytes.data(), place.salt);
    if (!planted(Planted::recycled_accepted)) {
        store(bytes.data() + 8, place.segment.value);
        store(bytes.data() + 12, place.position);
    }
    return crc32c(bytes);
}

std::uint32_t segment_header_crc(const std::byte* header, std::uint64_t salt, SegmentId segment) {
    return crc32c({header + 12, segment_header_bytes - 12}, salt_seed({salt, segment, 0}));
}

}  // namespace

void encode_segment_header(const SegmentHeader& header, base::MutableBytes out,
                           std::uint32_t version) {
    VERIFY(out.size() >= segment_header_bytes);
    std::byte* at = out.data();
    store(at, segment_magic);
    store(at + 12, version);
    store(at + 16, header.salt);
    store(at + 24, header.segment.value);
    store(at + 28, header.alignment);
    store(at + 32, header.size);
    store(at + 36, header.previous.segment.value);
    store(at + 40, header.previous.position);
    store(at + 44, header.previous.checksum);
    store(at + 48, header.previous.sequence);
    store(at + 56, header.flags);
    store(at + 8, segment_header_crc(at, header.salt, header.segment));
}

HeaderCheck decode_segment_header(base::Bytes bytes, std::uint64_t salt, SegmentId segment,
                                  SegmentHeader& out) {
    if (bytes.size() < segment_header_bytes || load<std::uint64_t>(bytes.data()) != segment_magic) {
        return HeaderCheck::invalid;
    }
    const std::byte* at = bytes.data();
    const auto written_salt = load<std::uint64_t>(at + 16);
    const auto checksum = load<std::uint32_t>(at + 8);
    if (checksum != segment_header_crc(at, salt, segment)) {
        out.segment = SegmentId(load<std::uint32_t>(at + 24));
        if (checksum != segment_header_crc(at, written_salt, out.segment)) {
            return HeaderCheck::invalid;
        }
        return written_salt != salt ? HeaderCheck::foreign : HeaderCheck::misplaced;
    }
    if (load<std::uint32_t>(at + 12) > wal_format_version) {
        return HeaderCheck::newer;
    }
    out.salt = written_salt;
    out.segment = SegmentId(load<std::uint32_t>(at + 24));
    out.alignment = load<std::uint32_t>(at + 28);
    out.size = load<std::uint32_t>(at + 32);
    out.previous.segment = SegmentId(load<std::uint32_t>(at + 36));
    out.previous.position = load<std::uint32_t>(at + 40);
    out.previous.checksum = load<std::uint32_t>(at + 44);
    out.previous.sequence = load<std::uint64_t>(at + 48);
    out.flags = load<std::uint64_t>(at + 56);
    const bool power_of_two = out.alignment >= 512 && (out.alignment & (out.alignment - 1)) == 0;
    if (written_salt != salt || !power_of_two || out.segment != segment) {
        return HeaderCheck::invalid;
    }
    return HeaderCheck::ok;
}

bool peek_segment_salt(base::Bytes bytes, SegmentId segment, std::uint64_t& salt) {
    if (bytes.size() < segment_header_bytes || load<std::uint64_t>(bytes.data()) != segment_magic) {
        return false;
    }
    salt = load<std::uint64_t>(bytes.data() + 16);
    return load<std::uint32_t>(bytes.data() + 8) == segment_header_crc(bytes.data(), salt, segment);
}

void encode_batch_header(BatchHeader& header, const Place& place, std::byte* out) {
    store(out, batch_magic);
    store(out + 8, header.sequence);
    store(out + 16, header.watermark);
    store(out + 24, header.length);
    store(out + 28, header.records);
    store(out + 32, header.records_crc);
    store(out + 36, header.prev_checksum);
    store(out + 40, std::uint64_t{0});
    header.checksum = crc32c({out + 8, batch_header_bytes - 8}, salt_seed(place));
    store(out + 4, header.checksum);
}

bool decode_batch_header(base::Bytes bytes, const Place& place, BatchHeader& out) {
    if (bytes.size() < batch_header_bytes || load<std::uint32_t>(bytes.data()) != batch_magic) {
        return false;
    }
    const std::byte* at = bytes.data();
    out.checksum = load<std::uint32_t>(at + 4);
    if (out.checksum != crc32c({at + 8, batch_header_bytes - 8}, salt_seed(place))) {
        return false;
    }
    out.sequence = load<std::uint64_t>(at + 8);
    out.watermark = load<std::uint64_t>(at + 16);
    out.length = load<std::uint32_t>(at + 24);
    out.records = load<std::uint32_t>(at + 28);
    out.records_crc = load<std::uint32_t>(at + 32);
    out.prev_checksum = load<std::uint32_t>(at + 36);
    return out.length >= batch_header_bytes;
}

void encode_record_header(const RecordHeader& header, std::byte* out) {
    store(out, static_cast<std::uint8_t>(header.kind));
    store(out + 1, header.entry_kind);
    store(out + 2, std::uint16_t{0});
    store(out + 4, header.length);
    store(out + 8, header.group.value);
    store(out + 12, header.body_crc);
    store(out + 16, header.term.value);
    store(out + 24, header.index.value);
    if (header.kind == RecordKind::piece) {
        store(out + 32, header.piece_offset);
        store(out + 36, header.piece_total);
    }
}

void encode_group_item(const GroupItem& item, std::byte* out) {
    store(out, item.group.value);
    store(out + 4, item.vote.value);
    store(out + 8, item.term.value);
    store(out + 16, item.end.value);
    store(out + 24, item.pending.value);
}

GroupItem decode_group_item(const std::byte* in) {
    GroupItem item;
    item.group = base::GroupId(load<std::uint32_t>(in));
    item.vote = base::NodeId(load<std::uint32_t>(in + 4));
    item.term = base::Term(load<std::uint64_t>(in + 8));
    item.end = base::LogIndex(load<std::uint64_t>(in + 16));
    item.pending = base::LogIndex(load<std::uint64_t>(in + 24));
    return item;
}

void encode_segment_item(const SegmentItem& item, std::byte* out) {
    store(out, item.segment.value);
    store(out + 4, item.end);
    store(out + 8, item.sequence);
    store(out + 16, item.checksum);
    store(out + 20, std::uint32_t{0});
}

SegmentItem decode_segment_item(const std::byte* in) {
    SegmentItem item;
    item.segment = SegmentId(load<std::uint32_t>(in));
    item.end = load<std::uint32_t>(in + 4);
    item.sequence = load<std::uint64_t>(in + 8);
    item.checksum = load<std::uint32_t>(in + 16);
    return item;
}

bool RecordCursor::next(RecordHeader& header, base::Bytes& body) {
    if (bad_ || seen_ == count_) {
        return false;
    }
    const std::uint64_t size = batch_.size();
    const std::uint64_t start = align8(used_);
    if (start + record_header_bytes > size) {
        bad_ = true;
        return false;
    }
    const std::byte* at = batch_.data() + start;
    const auto kind = load<std::uint8_t>(at);
    header.kind = static_cast<RecordKind>(kind);
    const std::uint32_t header_size = header.header_bytes();
    header.length = load<std::uint32_t>(at + 4);
    if (kind < 1 || kind > static_cast<std::uint8_t>(RecordKind::payload) ||
        start + header_size + header.length > size) {
        bad_ = true;
        return false;
    }
    header.entry_kind = load<std::uint8_t>(at + 1);
    header.group = base::GroupId(load<std::uint32_t>(at + 8));
    header.body_crc = load<std::uint32_t>(at + 12);
    header.term = base::Term(load<std::uint64_t>(at + 16));
    header.index = base::LogIndex(load<std::uint64_t>(at + 24));
    header.piece_offset = 0;
    header.piece_total = 0;
    if (header.kind == RecordKind::piece) {
        header.piece_offset = load<std::uint32_t>(at + 32);
        header.piece_total = load<std::uint32_t>(at + 36);
    }
    header_bytes_ = {at, header_size};
    body_position_ = static_cast<std::uint32_t>(start + header_size);
    body = {at + header_size, header.length};
    used_ = body_position_ + header.length;
    ++seen_;
    return true;
}

bool check_records(base::Bytes batch, const BatchHeader& header) {
    RecordCursor cursor(batch, header);
    RecordHeader record;
    base::Bytes body;
    std::uint32_t headers_crc = 0;
    bool bodies_whole = true;
    while (cursor.next(record, body)) {
        headers_crc = crc32c(cursor.header_bytes(), headers_crc);
        bodies_whole = bodies_whole && crc32c(body) == record.body_crc;
    }
    if (planted(Planted::checksum_ignored)) {
        return cursor.whole();
    }
    return cursor.whole() && bodies_whole && headers_crc == header.records_crc;
}

std::string segment_name(SegmentId segment) {
    std::string digits = std::to_string(segment.value);
    return "wal-" + std::string(10 - digits.size(), '0') + digits;
}

bool parse_segment_number(std::string_view name, std::uint64_t& out) {
    if (name.size() != 14 || name.substr(0, 4) != "wal-") {
        return false;
    }
    std::uint64_t number = 0;
    for (const char digit : name.substr(4)) {
        if (digit < '0' || digit > '9') {
            return false;
        }
        number = number * 10 + static_cast<std::uint64_t>(digit - '0');
    }
    out = number;
    return number != 0;
}

bool parse_segment_name(std::string_view name, SegmentId& out) {
    std::uint64_t number = 0;
    if (!parse_segment_number(name, number) || number >= base::limits::segment_number_end) {
        return false;
    }
    out = SegmentId(static_cast<std::uint32_t>(number));
    return true;
}

}  // namespace ursula::storage
