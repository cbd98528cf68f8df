#include "storage/snapshot_format.h"

#include <fmt/format.h>

#include <array>
#include <charconv>

#include "base/crc32c.h"
#include "base/wire.h"
#include "storage/wal_format.h"

namespace ursula::storage {

using base::load;
using base::store;

namespace {

constexpr std::uint32_t first_body_bytes = 32;
constexpr std::uint32_t last_body_bytes = 16;

std::string_view part_name(SnapshotStore::Part part) {
    return part == SnapshotStore::Part::image ? "image" : "locations";
}

std::uint32_t frame_crc(const SnapshotKey& key, std::uint64_t position, const std::byte* frame) {
    std::array<std::byte, 32> salt{};
    store(salt.data(), key.salt);
    store(salt.data() + 8, key.index.value);
    store(salt.data() + 16, position);
    store(salt.data() + 24, key.group.value);
    store(salt.data() + 28, static_cast<std::uint32_t>(key.part));
    return base::crc32c({frame + 8, frame_header_bytes - 8}, base::crc32c(salt));
}

bool parse_digits(std::string_view text, std::uint64_t& out) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
    return error == std::errc{} && end == text.data() + text.size();
}

}  // namespace

std::string snapshot_name(const SnapshotKey& key) {
    return fmt::format("snap-{:05}-{:020}-{}", key.group.value, key.index.value,
                       part_name(key.part));
}

bool parse_snapshot_name(std::string_view name, SnapshotKey& out) {
    std::uint64_t group = 0;
    std::uint64_t index = 0;
    if (name.size() < 32 || name.substr(0, 5) != "snap-" || name[10] != '-' || name[31] != '-' ||
        !parse_digits(name.substr(5, 5), group) || !parse_digits(name.substr(11, 20), index)) {
        return false;
    }
    out.group = base::GroupId(static_cast<std::uint32_t>(group));
    out.index = base::LogIndex(index);
    for (const SnapshotStore::Part part :
         {SnapshotStore::Part::image, SnapshotStore::Part::locations}) {
        if (name.substr(32) == part_name(part)) {
            out.part = part;
            return true;
        }
    }
    return false;
}

std::uint32_t seal_frame(const SnapshotKey& key, FrameKind kind, std::uint64_t position,
                         std::uint32_t length, std::byte* frame) {
    const std::uint32_t body_crc = base::crc32c({frame + frame_header_bytes, length});
    store(frame, frame_magic);
    store(frame + 8, static_cast<std::uint32_t>(kind));
    store(frame + 12, length);
    store(frame + 16, body_crc);
    store(frame + 20, std::uint32_t{0});
    store(frame + 4, frame_crc(key, position, frame));
    return body_crc;
}

std::uint32_t SnapshotChecker::next(base::Bytes bytes, base::Bytes& body) {
    body = {};
    if (complete_ || bytes.size() < frame_header_bytes ||
        load<std::uint32_t>(bytes.data()) != frame_magic ||
        load<std::uint32_t>(bytes.data() + 4) != frame_crc(key_, position_, bytes.data())) {
        return 0;
    }
    const auto kind = static_cast<FrameKind>(load<std::uint32_t>(bytes.data() + 8));
    const auto length = load<std::uint32_t>(bytes.data() + 12);
    const auto body_crc = load<std::uint32_t>(bytes.data() + 16);
    if (length > data_bytes_max || frame_header_bytes + length > bytes.size()) {
        return 0;
    }
    const base::Bytes content = bytes.subspan(frame_header_bytes, length);
    if (base::crc32c(content) != body_crc || begun_ == (kind == FrameKind::first)) {
        return 0;
    }
    switch (kind) {
        case FrameKind::first:
            if (length < first_body_bytes ||
                load<std::uint32_t>(content.data()) != snapshot_format_version) {
                newer_ =
                    length >= 4 && load<std::uint32_t>(content.data()) > snapshot_format_version;
                return 0;
            }
            id_ = {base::Term(load<std::uint64_t>(content.data() + 16)),
                   base::LogIndex(load<std::uint64_t>(content.data() + 24))};
            if (id_.index != key_.index) {
                return 0;
            }
            begun_ = true;
            break;
        case FrameKind::data:
            body = content;
            data_bytes_ += length;
            ++frames_;
            crcs_ = base::crc32c(bytes.subspan(16, 4), crcs_);
            break;
        case FrameKind::last:
            if (length != last_body_bytes || load<std::uint64_t>(content.data()) != data_bytes_ ||
                load<std::uint32_t>(content.data() + 8) != frames_ ||
                load<std::uint32_t>(content.data() + 12) != crcs_) {
                return 0;
            }
            complete_ = true;
            break;
        default:
            return 0;
    }
    const std::uint32_t size = round_up(frame_header_bytes + length, frame_alignment);
    position_ += size;
    return size;
}

}  // namespace ursula::storage
