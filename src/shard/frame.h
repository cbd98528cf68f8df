// A frame: what one shard of a node has to say to one shard of another in one turn, for all groups
// that both have. Numbers are little-endian; crc = CRC-32C. Bytes named zero must be.
//
//   frame header     at  size
//     magic            0     4   frame_magic
//     crc              4     4   of [8, length)
//     version          8     4   frame_version; another one is refused
//     length          12     4   of the whole frame
//     cluster         16     8   the cluster's id; another cluster's frame is refused
//     from            24     8   node, shard
//     to              32     8   node, shard
//     items           40     4   how many
//     shards          44     4   how many the sender has
//     boot            48     8   random, of this life of the sender
//     to boot         56     8   the receiver's life as the sender knows it, 0 not yet; a frame to
//                                an earlier life is refused
//     sequence        64     8   rises with each frame of this life to this peer, from 1
//     incarnation     72     8   of the sender's storage
//     items           80
//
//   item header      at  size
//     kind             0     1   1 + index in raft::MessageBody; 64: a beat; 66, 67: a fetch; 68: a
//                                part of another item; 72, 73: a call forwarded to the group's
//                                leader, and its answer
//     zero             1     3
//     length           4     4   of what follows the item header
//     group            8     4   (0 in a beat)
//     zero            12     4
//     term            16     8   the message's (0 in the others)
//
//   kind                 behind the item header
//     1  PreVote         u64 last term, u64 last index
//     2  PreVoted        u8 granted
//     3  Vote            u64 last term, u64 last index, u8 transfer
//     4  Voted           u8 granted
//     5  Replicate       u64 prev term, u64 prev index, u64 last, u64 commit, u64 number, u8 runs,
//                        u8 1 with a membership, u16 zero; runs x {u64 first, u64 term};
//                        [membership]; (last - prev index) x {u8 entry kind, u8 x 3 zero,
//                        u32 size, body}
//     6  Replicated      u64 number, u64 match, u64 last, u64 hint term, u64 hint index,
//                        u64 rejected, u64 commit, u8 accepted
//     7  WhoLeads        nothing
//     8  Heartbeat       u64 round, u64 commit
//     9  HeartbeatSeen   u64 round
//     10 ReadRequest     u64 context, u64 life
//     11 ReadReply       u64 context, u64 life, u64 index, u8 ready
//     12 TimeoutNow      u8 for good
//     13 SnapshotOffer   u64 last term, u64 last index, membership
//     14 SnapshotStatus  u8 failed
//     64 beat            u32 age in ms of the sender's oldest log write under way, disk: u8 1
//                        full + 2 slow, u8 1 asks for a beat at once, u16 zero, u32 n; n x {u32
//                        group, u64 term}: all groups that the sender leads
//     66 fetch ask       u64 fetch, u8 what, u8 again, u16 name size, u32 created ordinal, u64
//                        term, u64 index, u64 at, u64 to, u64 created index, name (FetchAsk)
//     67 fetch data      u64 fetch, u8 what, u8 1 last, u16 zero, u32 created ordinal, u64 term,
//                        u64 index, u64 at, u64 created index, u32 pieces, u32 bytes,
//                        pieces x u32 size (top bit: the append goes on), bytes (FetchData)
//     68 part            u64 number, of the item in parts, rising with each of the sender's life to
//                        this peer, from 1; u32 at, u32 length of that item with its header; bytes
//                        of it from `at` on. A Replicate or a call of the same group
//     72 call            u64 number, rising with each call of the sender's life to this peer, from
//                        1 and below 2^48; the call (shard/call_wire.h)
//     73 answer          u64 number of the call, the answer (shard/call_wire.h)
//
//   membership           u64 index, u8 joint, u8 n, u16 zero; n x {u32 node, u32 1 voter +
//                        2 outgoing + 4 learner}, by rising node
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "raft/message.h"
#include "shard/peer_net.h"

namespace ursula::shard {

constexpr std::uint32_t frame_magic = 0x3146'7255;  // "UrF1"
constexpr std::uint32_t frame_version = 2;
constexpr std::size_t frame_header_bytes = 80;
constexpr std::size_t item_header_bytes = 24;
constexpr std::uint64_t call_number_end = std::uint64_t{1} << 48;

struct FrameHeader {
    std::uint64_t cluster = 0;
    PeerShard from;
    PeerShard to;
    std::uint64_t boot = 0;
    std::uint64_t to_boot = 0;
    std::uint64_t sequence = 0;
    std::uint32_t shards = 1;
    std::uint64_t incarnation = 0;
    bool operator==(const FrameHeader&) const = default;
};

struct FrameEntry {
    raft::EntryKind kind = raft::EntryKind::noop;
    base::Bytes body;
};

struct Led {
    base::GroupId group;
    base::Term term;
    bool operator==(const Led&) const = default;
};

// A follower asks for a part of a snapshot (shard/snapshot_fetch.h). Every question stands for
// itself: one that is lost, doubled or overtaken is harmless.
struct FetchAsk {
    enum class What : std::uint8_t {
        image,  // the image from byte `at` on; what is before arrived
        bytes,  // bytes [at, to) of the stream
        hold,   // nothing: what follows the image in the log must stay
        over,   // nothing more
    };
    std::uint64_t fetch = 0;  // the asker's name for it
    What what = What::image;
    bool again = false;  // nothing came for a while: what was under way counts as lost
    base::EntryId id;    // image: it must cover this entry; else: the image's own
    std::uint64_t at = 0;
    std::uint64_t to = 0;
    base::LogIndex created;  // with the ordinal: the stream's incarnation
    std::uint32_t ordinal = 0;
    std::string_view name;
    bool operator==(const FetchAsk&) const = default;
};

struct FetchData {
    enum class What : std::uint8_t {
        image,       // bytes of the image from `at` on; `last`: it ends with them
        bytes,       // of the stream from `at` on
        gone,        // the stream was removed after the image
        wait,        // not now: ask again
        unknown,     // the sender knows nothing of this fetch: begin anew
        unreadable,  // its disk does not give these bytes: ask another node
    };
    std::uint64_t fetch = 0;
    What what = What::image;
    bool last = false;
    base::EntryId id;  // of the image
    std::uint64_t at = 0;
    base::LogIndex created;
    std::uint32_t ordinal = 0;
    bool operator==(const FetchData&) const = default;
};

// Of FetchData pieces: the append does not end with the piece.
constexpr std::uint32_t piece_goes_on = 1u << 31;

// What a node tells of its disk: one of a slow or full disk should not lead.
struct DiskHealth {
    std::uint32_t write_age_ms = 0;  // of the oldest log write under way
    bool full = false;               // appends are refused
    bool slow = false;               // a write took disk_trouble_ms a moment ago, or is taking it
};

// One item as read. Views live as long as the frame; vectors are used again by the next item.
struct FrameItem {
    enum class Kind : std::uint8_t { message, beat, fetch_ask, fetch_data, part, call, answer };
    Kind kind = Kind::message;
    base::GroupId group;
    raft::Message message;
    std::vector<FrameEntry> entries;  // of a Replicate: those after prev, all of them
    DiskHealth disk;                  // of a beat
    bool asks = false;                // a beat: for one at once
    std::vector<Led> led;             // by rising group
    FetchAsk ask;
    FetchData data;
    std::vector<std::uint32_t> pieces;  // of fetch data
    std::uint64_t number = 0;           // of a call, an answer or an item in parts
    std::uint32_t at = 0;               // of a part
    std::uint32_t length = 0;           // of the item that it is a part of
    bool in_parts = false;              // it came so
    base::Bytes bytes;  // of fetch data; of a call, an answer or a part, not looked at yet
};

// Puts one frame together. Memory is kept from frame to frame.
class FrameWriter {
  public:
    void clear();
    bool empty() const { return items_ == 0; }
    std::size_t size() const { return bytes_.size(); }
    // Any message but a Replicate.
    void add(base::GroupId group, const raft::Message& message);
    // A Replicate: this, and then add_entry for each entry in (prev.index, last].
    void add_replicate(base::GroupId group, base::Term term, const raft::Replicate& message);
    void add_entry(raft::EntryKind kind, base::Bytes body);
    // `led` by rising group.
    void add_beat(const DiskHealth& disk, bool asks, const std::vector<Led>& led);
    void add_call(base::GroupId group, std::uint64_t number, base::Bytes call);
    void add_answer(base::GroupId group, std::uint64_t number, base::Bytes answer);
    void add_part(base::GroupId group, std::uint64_t number, std::uint32_t at, std::uint32_t length,
                  base::Bytes bytes);
    // The bytes of the only item, header and all, until clear().
    base::Bytes item() const;
    void add_ask(base::GroupId group, const FetchAsk& ask);
    // Followed by add_bytes() until all its `size` bytes are there.
    void add_data(base::GroupId group, const FetchData& data,
                  const std::vector<std::uint32_t>& pieces, std::size_t size);
    void add_bytes(base::Bytes bytes);
    // The frame, until clear().
    base::Bytes finish(const FrameHeader& header);

  private:
    void begin_item(std::uint8_t kind, base::GroupId group, base::Term term);
    void end_item();
    template <class T>
    void put(T value);
    void put(const raft::MembershipAt& membership);
    void put_body(const raft::MessageBody& body);
    void add_numbered(std::uint8_t kind, base::GroupId group, std::uint64_t number,
                      base::Bytes bytes);

    std::vector<std::byte> bytes_;
    std::size_t item_at_ = 0;
    std::uint64_t entries_due_ = 0;  // of the open Replicate
    std::size_t bytes_due_ = 0;      // of the open fetch data
    std::uint32_t items_ = 0;
};

// Reads one frame; trusts nothing in it.
class FrameReader {
  public:
    // False: not a whole frame of this version. Nothing else may be asked then.
    bool open(base::Bytes frame);
    const FrameHeader& header() const { return header_; }
    // Instead: one item that came in parts, in frames with such a header.
    void open_item(const FrameHeader& header, base::Bytes item);
    // The next item. False at the end, and when an item is malformed: then ok() is false.
    bool next(FrameItem& item);
    bool ok() const { return ok_; }

  private:
    FrameHeader header_;
    base::Bytes left_;
    std::uint32_t items_left_ = 0;
    bool ok_ = false;
};

}  // namespace ursula::shard
