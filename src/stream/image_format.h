// Frames and items of images (stream/image.h), shared by their writers and readers. Not for others.
//
// An image is a sequence of frames, an optional handful of items in each; items never cross frames.
// Little-endian.
//
//   frame   0  u32  bytes of the items, 1 .. frame_bytes_max
//           4  u32  CRC-32C of them
//           8  items
//   item    0  u16  bytes of the item with these 4
//           2  u8   kind (ItemKind)
//           3  u8   flags
//           4  body, by kind
//
// Items of a machine image, in this order:
//   head      u32 version, u32 group, u64 applied term, u64 applied index, i64 group time ms, u64
//   next bucket id,
//             u64 buckets, u64 sealed ranges, u64 streams
//   membership (version 2, exactly one) u64 index of the entry that set it, the shard's bytes
//   seal_round (at most one) u64
//   bucket    (by name) u64 id, name; flag 1: closing
//   sealed    (ascending) u64 first id, u64 last id
//   link      (of forks, ascending) u64 index and u32 ordinal of the intent, u32 the source's
//   group,
//             the source's name; flag 1: releasing
//   late_hold (by time) i64 time ms, u64 index, u32 ordinal, u32 group of the intent
//   subscriptions (none, or as many as it takes) u32 bytes in all, then the next of them: the state
//             of stream/subscriptions.h, which its write() makes
//   stream    (by creation) u64 created index, u32 created ordinal, u32 producers, u64 bucket id,
//   u64 tail,
//             u64 first record, u64 next record, u16 name size, u16 content type size, u16
//             Stream-Seq size, u16 closer's id size, u64 closer's epoch, u64 closer's seq, name,
//             content type, Stream-Seq, closer's id; flag 1: closed, flag 2: closed by a producer,
//             flag 4: an expiry follows, flag 8: gone, flag 16: an origin follows, flag 32: holds
//             do
//   expiry    i64 window ms, or instant ms (flag 1), i64 last touch ms, an instant's text
//   origin    u64 index and u32 ordinal of the intent, u64 and u32 index and ordinal of the
//   source's
//             create, u32 the source's group, u64 point, u32 depth, u8 what was asked (1 content
//             type, 2 offset), u8 kind of the expiry asked, u64 offset, u64 sub-offset, i64 ms of
//             the expiry, the source's name
//   holds     (ascending, as many items as it takes) u32 how many follow in further items, per hold
//             u64 index, u32 ordinal, u32 group
//   producer  (after its stream, least recently used first) u64 epoch, u64 seq, id
//   end       u64 state hash: h = 0, then per item so far h = siphash({h, salt}, item)
// Items of a location image, in this order:
//   head      u32 version, u32 group, u64 applied term, u64 applied index
//   places    (streams by creation) u64 created index, u32 created ordinal, u32 pieces, u64 offset
//   of the first pieces    (after their stream) per piece u32 size, u32 segment (top bit: the
//   append goes on), u32 position, u32 crc end       u64 streams with pieces, u64 pieces
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/result.h"
#include "base/siphash.h"
#include "base/verify.h"
#include "base/wire.h"

namespace ursula::stream {

// 2: with a membership. An image without one stays 1, which earlier versions read.
constexpr std::uint32_t image_version = 2;
constexpr std::uint32_t image_version_without_membership = 1;
constexpr std::uint32_t location_image_version = 1;

enum class ItemKind : std::uint8_t {
    head = 1,
    bucket = 2,
    sealed = 3,
    stream = 4,
    producer = 5,
    places = 6,
    pieces = 7,
    end = 8,
    membership = 9,
    seal_round = 10,
    expiry = 11,
    link = 12,
    late_hold = 13,
    origin = 14,
    holds = 15,
    subscriptions = 21,
};

constexpr std::size_t frame_head_bytes = 8;
constexpr std::size_t item_head_bytes = 4;
constexpr std::size_t frame_bytes_soft = 64 * 1024;  // a frame ends with the item that reaches it
constexpr std::size_t frame_bytes_max = frame_bytes_soft + UINT16_MAX;
constexpr std::uint32_t pieces_per_item = 1024;
constexpr std::size_t subscription_part_bytes = 32 * 1024;  // in one item
constexpr std::uint8_t flag_bucket_closing = 1;
constexpr std::uint8_t flag_stream_closed = 1;
constexpr std::uint8_t flag_stream_closer = 2;
constexpr std::uint8_t flag_stream_expiry = 4;
constexpr std::uint8_t flag_stream_gone = 8;
constexpr std::uint8_t flag_stream_origin = 16;
constexpr std::uint8_t flag_stream_holds = 32;
constexpr std::uint8_t flag_expiry_at = 1;
constexpr std::uint8_t flag_link_releasing = 1;
constexpr std::size_t holds_per_item = 2048;

inline std::uint64_t chain_hash(std::uint64_t hash, base::Bytes item) {
    constexpr std::uint64_t salt = 0x7572'7375'6c61'696du;
    return base::siphash({hash, salt}, item);
}

// Appends one item to a vector: head first, then put(), then finish().
class ItemWriter {
  public:
    ItemWriter(std::vector<std::byte>& out, ItemKind kind, std::uint8_t flags = 0)
        : out_(out), at_(out.size()) {
        put(std::uint16_t{0});
        put(static_cast<std::uint8_t>(kind));
        put(flags);
    }
    template <class T>
    void put(T value) {
        const std::size_t at = out_.size();
        out_.resize(at + sizeof value);
        base::store(out_.data() + at, value);
    }
    void put_text(std::string_view text) {
        const base::Bytes bytes = base::as_bytes(text);
        out_.insert(out_.end(), bytes.begin(), bytes.end());
    }
    void finish() {
        const std::size_t size = out_.size() - at_;
        VERIFY(size <= UINT16_MAX);
        base::store(out_.data() + at_, static_cast<std::uint16_t>(size));
    }

  private:
    std::vector<std::byte>& out_;
    std::size_t at_;
};

inline std::size_t item_size(base::Bytes items) {
    return base::load<std::uint16_t>(items.data());
}

// Puts whole items into frames at the end of a vector; close() after the last.
class FrameWriter {
  public:
    explicit FrameWriter(std::vector<std::byte>& out) : out_(out) {}
    void put(base::Bytes item) {
        if (!open_) {
            at_ = out_.size();
            out_.resize(at_ + frame_head_bytes);
            open_ = true;
        }
        out_.insert(out_.end(), item.begin(), item.end());
        if (out_.size() - at_ - frame_head_bytes >= frame_bytes_soft) {
            close();
        }
    }
    void close() {
        if (open_) {
            const base::Bytes items{out_.data() + at_ + frame_head_bytes,
                                    out_.size() - at_ - frame_head_bytes};
            base::store(out_.data() + at_, static_cast<std::uint32_t>(items.size()));
            base::store(out_.data() + at_ + 4, base::crc32c(items));
            open_ = false;
        }
    }

  private:
    std::vector<std::byte>& out_;
    std::size_t at_ = 0;
    bool open_ = false;
};

// Takes bytes in pieces of any size and hands over checked items one by one.
class FrameReader {
  public:
    // visit(kind, flags, body, item) -> base::Result<void>.
    template <class Visit>
    base::Result<void> feed(base::Bytes bytes, const Visit& visit) {
        while (!bytes.empty()) {
            if (buffer_.empty()) {
                const std::size_t size = whole_frame(bytes);
                if (size != 0 && size <= bytes.size()) {  // the common case: no copy
                    TRY(frame(bytes.first(size), visit));
                    bytes = bytes.subspan(size);
                    continue;
                }
            }
            const std::size_t wanted =
                whole_frame(buffer_) != 0 ? whole_frame(buffer_) : frame_head_bytes;
            if (wanted > frame_head_bytes + frame_bytes_max) {
                return base::fail("an image's frame has an impossible size");
            }
            const std::size_t part = std::min(bytes.size(), wanted - buffer_.size());
            buffer_.insert(buffer_.end(), bytes.begin(),
                           bytes.begin() + static_cast<std::ptrdiff_t>(part));
            bytes = bytes.subspan(part);
            if (buffer_.size() >= frame_head_bytes && buffer_.size() == whole_frame(buffer_)) {
                TRY(frame(buffer_, visit));
                buffer_.clear();
            }
        }
        return {};
    }
    bool between_frames() const { return buffer_.empty(); }

  private:
    // The size of the frame that begins here, 0 when its head is not complete.
    static std::size_t whole_frame(base::Bytes bytes) {
        if (bytes.size() < frame_head_bytes) {
            return 0;
        }
        return frame_head_bytes + base::load<std::uint32_t>(bytes.data());
    }
    template <class Visit>
    static base::Result<void> frame(base::Bytes bytes, const Visit& visit) {
        base::Bytes items = bytes.subspan(frame_head_bytes);
        if (items.empty() || items.size() > frame_bytes_max ||
            base::crc32c(items) != base::load<std::uint32_t>(bytes.data() + 4)) {
            return base::fail("an image's frame fails its checksum");
        }
        while (!items.empty()) {
            const std::size_t size = items.size() < item_head_bytes ? 0 : item_size(items);
            if (size < item_head_bytes || size > items.size()) {
                return base::fail("an image's item has an impossible size");
            }
            TRY(visit(static_cast<ItemKind>(items[2]), static_cast<std::uint8_t>(items[3]),
                      items.subspan(item_head_bytes, size - item_head_bytes), items.first(size)));
            items = items.subspan(size);
        }
        return {};
    }

    std::vector<std::byte> buffer_;
};

}  // namespace ursula::stream
