// A snapshot's bytes. Two files per snapshot, equal in form:
//   snap-00012-00000000000000001234-image        group 12, index 1234
//   snap-00012-00000000000000001234-locations
//   ...the same with ".tmp"                      being written: hold nothing
//
// A file is a row of FRAMES, each beginning on a multiple of 4096, zero from its end to the next:
//   frame header     at  size
//     magic            0     4   frame_magic
//     checksum         4     4   crc of [8, 24), salted with {shard salt, group, index, part,
//     position of the frame} kind             8     4   1 first, 2 data, 3 last length          12
//     4   of the body body crc        16     4 zero            20     4 body            24
//   first (at 0):  u32 snapshot_format_version, u32 part, u32 group, u32 zero, u64 term, u64 index
//   data:          the caller's bytes, cut at data_bytes_max
//   last:          u64 bytes in all data frames, u32 number of them, u32 crc of their body crcs in
//   order; the file ends
//                  with its frame
//
// VALID. All frames from the first to the last validate at their places and the last one's sums
// agree. A snapshot counts when both files are valid and their first frames agree. Files are
// renamed to their names only when whole and synced, so a named file that is not valid was damaged,
// and half a pair is what a crash between the renames (or removals) left.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/ids.h"
#include "storage/snapshot_store.h"

namespace ursula::storage {

constexpr std::uint32_t frame_magic = 0x6d617266;  // "fram"
constexpr std::uint32_t snapshot_format_version = 1;
constexpr std::uint32_t frame_header_bytes = 24;
constexpr std::uint32_t frame_alignment = 4096;
constexpr std::uint32_t frame_bytes_max = 1024 * 1024;
constexpr std::uint32_t data_bytes_max = frame_bytes_max - frame_header_bytes;

enum class FrameKind : std::uint32_t { first = 1, data = 2, last = 3 };

// What keys the frames of one file.
struct SnapshotKey {
    std::uint64_t salt = 0;
    base::GroupId group;
    base::LogIndex index;
    SnapshotStore::Part part = SnapshotStore::Part::image;
};

std::string snapshot_name(const SnapshotKey& key);
// salt is left alone. False for other names, ".tmp" included.
bool parse_snapshot_name(std::string_view name, SnapshotKey& out);

// Completes a frame whose body stands at frame + frame_header_bytes already. Returns the body's
// crc.
std::uint32_t seal_frame(const SnapshotKey& key, FrameKind kind, std::uint64_t position,
                         std::uint32_t length, std::byte* frame);

// Judges a file frame by frame. The caller feeds it the file's bytes in order, a whole frame at a
// time.
class SnapshotChecker {
  public:
    explicit SnapshotChecker(const SnapshotKey& key) : key_(key) {}
    // bytes: from position() on, as many as there are up to frame_bytes_max. Returns the frame's
    // size on disk and, for a data frame, its body; 0: not valid at position().
    std::uint32_t next(base::Bytes bytes, base::Bytes& body);
    std::uint64_t position() const { return position_; }
    bool complete() const { return complete_; }  // the last frame was seen and agreed
    bool newer() const { return newer_; }        // written by a newer version
    base::EntryId id() const { return id_; }
    std::uint64_t data_bytes() const { return data_bytes_; }

  private:
    SnapshotKey key_;
    std::uint64_t position_ = 0;
    std::uint64_t data_bytes_ = 0;
    std::uint32_t frames_ = 0;
    std::uint32_t crcs_ = 0;
    base::EntryId id_;
    bool begun_ = false;
    bool complete_ = false;
    bool newer_ = false;
};

}  // namespace ursula::storage
