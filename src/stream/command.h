// Replicated commands and their bytes. An entry of a group's log carries one header and one or more
// commands; the machine (stream/machine.h) applies them in order, each with its own outcome. The
// leader has validated, split and measured the payload before it submits (stream/json.h): the
// command carries the verdict, so applying never reads payload bytes.
//
// Entry body, little-endian (an empty body is legal: no commands, time unchanged):
//
//   header, 16 bytes
//     0  u8   version = 1
//     1  u8   0
//     2  u16  0
//     4  u32  number of commands
//     8  i64  group time, ms since the Unix epoch
//
//   each command: head, 32 bytes, then its variable parts in this order
//     0  u8   kind
//     1  u8   flags (command.cc)
//     2  u8   JSON verdict (Verdict); bit 7: a fork part
//     3  u8   size of the producer id minus 1 when flag producer, else 0
//     4  u16  size of name
//     6  u16  size of content type
//     8  u32  stored payload size
//    12  u32  JSON elements in the payload
//    16  u32  CRC-32C of the stored payload
//    20  u16  size of Stream-Seq
//    22  u16  size of the life part, 0 without flag life
//    24  u64  number: bucket id (create_stream, the bucket commands), producers to keep
//             (forget_producers), or the index of the entry that created the stream (expire_stream,
//             touch_stream)
//             then u64 producer epoch, u64 producer seq (only with flag producer)
//             then u64 round (only with flag round)
//             then name, content type, producer id, Stream-Seq
//             then i64 ms, u32 ordinal, text (only with flag life): the expiry of create_stream
//             and 0; or the last touch (expire_stream) and the stream's ordinal in its entry
//             then the fork part: u64 and u32 index and ordinal of the intent, u32 its group, u64
//             and u32 index and ordinal of the source's create, u32 its group, u64 point, u32
//             depth, u8 what was asked (1 content type, 2 offset), u8 expiry's kind asked, u16 size
//             of the source's name, u64 offset, u64 sub-offset, i64 expiry's ms asked, that name
//             then payload
// Kinds and flags that a version does not know are refused, so what is new needs no new version.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "api/call.h"
#include "base/bytes.h"
#include "base/ids.h"

namespace ursula::stream {

enum class CommandKind : std::uint8_t {
    create_stream = 1,
    append = 2,
    remove_stream = 3,
    create_bucket = 4,         // group 0
    begin_remove_bucket = 5,   // group 0: open -> closing
    finish_remove_bucket = 6,  // group 0: closing -> gone
    reopen_bucket = 7,         // group 0: closing -> open
    seal_bucket = 8,    // every group: refuse creates for this bucket id, say whether it is empty
    unseal_bucket = 9,  // every group
    forget_producers = 10,  // drop the least recently used until `number` remain
    expire_stream = 11,     // remove it if its last touch is still `ms` and its time has come
    touch_stream = 12,      // its window begins anew
    // Of forks (stream/forks.h): the first, and the last two, in the fork's group.
    begin_fork = 13,    // an intent, unless there is a stream of that name
    hold_stream = 14,   // the source stays for this intent's fork
    release_hold = 15,  // no more, or never
    abandon_fork = 16,  // asking -> releasing: no create takes the intent any more
    forget_fork = 17,   // its hold is released
    subscription = 22,      // stream/subscriptions.h; the payload says what
};

// Of a create_stream that makes a fork, and of the commands around it. Fields that a kind does not
// use are left at their defaults.
struct ForkPart {
    base::Incarnation link;    // the intent, which names the hold
    base::Incarnation source;  // the life of the source; begin_fork: only its group
    std::string_view source_name;
    std::uint64_t point = 0;  // hold_stream: may be api::fork_at_tail
    std::uint32_t depth = 0;
    api::ForkAsk asked;  // begin_fork, create_stream
};

// What the leader found in the body. Refused by apply only where the precedence of the protocol
// puts it: a duplicate with any payload is a duplicate first.
enum class Verdict : std::uint8_t {
    ok = 0,
    json_invalid = 1,
    json_empty_array = 2,
    json_too_deep = 3
};

// One command as views: into the call while encoding, into the entry body when decoded. Fields that
// a kind does not use are left at their defaults.
struct Command {
    CommandKind kind = CommandKind::append;
    bool close = false;             // append: Stream-Closed: true; create_stream: created closed
    bool has_content_type = false;  // append
    bool has_body = false;          // the request carried bytes, whatever the verdict on them
    Verdict verdict = Verdict::ok;
    std::string_view name;  // of the stream or the bucket
    std::uint64_t name_hash =
        0;  // not encoded: keyed hash of `name` (api::StreamKey::hash), 0 when not known
    std::string_view content_type;  // verbatim
    api::Producer producer;
    std::string_view stream_seq;  // empty: absent
    std::uint64_t number = 0;     // bucket id, producers to keep, or index of the creating entry
    std::uint64_t round = 0;      // seal_bucket, unseal_bucket: see api::SealBucketCall
    api::Expiry expiry;           // create_stream; expire_stream: `ms` alone, the last touch
    // Encoding takes payload.bytes and adds the final comma of JSON. Decoding fills `stored` and
    // leaves payload.bytes empty.
    api::Payload payload;
    // Decoded only: the stored bytes inside the body, where they begin in it, and their checksum.
    base::Bytes stored;
    std::uint32_t stored_at = 0;
    std::uint32_t stored_crc = 0;
    std::uint32_t ordinal = 0;       // expire_stream, touch_stream: with `number` the stream's life
    const ForkPart* fork = nullptr;  // decoded: valid until the reader's next command

    // Bytes the stream grows by when the command commits; the same before encoding and after
    // decoding.
    std::uint64_t stored_size() const {
        return stored.empty() ? payload.stored_size() : stored.size();
    }
};

constexpr std::uint8_t entry_version = 1;
constexpr std::size_t entry_header_bytes = 16;
constexpr std::size_t command_head_bytes = 32;

struct EntryHeader {
    std::uint32_t commands = 0;
    std::int64_t time_ms = 0;
};

// Bytes that encode() will write for this command.
[[nodiscard]] std::size_t encoded_size(const Command& command);

// Writes the command at the start of `out` (VERIFY: it fits) and returns its size. Copies the
// payload once and puts the checksum of the stored bytes into the command's head.
std::size_t encode(const Command& command, base::MutableBytes out);

// Writes the entry's header into the first entry_header_bytes of `out`; done last, when the count
// is known.
void encode_header(const EntryHeader& header, base::MutableBytes out);

// Yields an entry body's commands in order. The bytes came through the log's checksums, so a body
// that does not decode was written by a version this one cannot read, or is a bug: the caller stops
// the group, nothing is guessed.
class EntryReader {
  public:
    explicit EntryReader(base::Bytes body);
    const EntryHeader& header() const { return header_; }
    // False when all commands were yielded or the body is bad; see ok().
    bool next(Command& command);
    // After next() returned false: true iff the body held exactly what its header promised.
    bool ok() const { return ok_; }

  private:
    base::Bytes body_;
    std::size_t used_ = 0;
    std::uint32_t left_ = 0;
    EntryHeader header_;
    ForkPart fork_;
    bool ok_ = true;
};

}  // namespace ursula::stream
