// What a shard answers. Slices in a reply are core-local; Mailbox copies them when the asking loop
// is another.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "api/call.h"
#include "api/inspect.h"
#include "api/refusal.h"
#include "base/ids.h"
#include "base/slice.h"

namespace ursula::api {

struct Refused {
    Refusal why = Refusal::none;
    std::uint64_t tail = 0;  // stream_closed: the final offset
    bool closed = false;
    std::uint64_t numbers[2] = {};  // by refusal, see api/refusal.h
    std::uint64_t producer_epoch = 0;
};

struct CreateReply {
    bool created = false;  // false: it existed with the same configuration
    bool closed = false;
    std::uint64_t tail = 0;
    base::Slice content_type;
};

struct AppendReply {
    enum class Kind : std::uint8_t {
        appended,
        duplicate,
        closed
    };  // closed: a close without data, or repeated
    Kind kind = Kind::appended;
    bool closed = false;    // this call closed it, or a repeated close: say Stream-Closed
    bool producer = false;  // echo epoch and seq
    std::uint64_t tail = 0;
    std::uint64_t producer_epoch = 0;
    std::uint64_t producer_seq = 0;  // the highest accepted
};

struct RemoveReply {};

struct TouchReply {};

struct HeadReply {
    base::Incarnation incarnation;
    bool closed = false;
    std::uint64_t tail = 0;
    base::Slice content_type;
    Expiry::Kind expires = Expiry::Kind::none;
    std::int64_t ttl_ms = 0;  // ttl
    base::Slice expires_at;   // at: as the client wrote it
};

struct ReadReply {
    base::Incarnation incarnation;
    bool json = false;
    bool closed = false;      // closed and `next` is the final offset
    bool up_to_date = false;  // `next` was the tail
    std::uint64_t from = 0;   // where the first returned append starts
    std::uint64_t next = 0;   // an append boundary
    base::Slice content_type;
    std::vector<base::Slice> pieces;  // the stored bytes [from, next), in order
};

// To a HoldCall.
struct HoldReply {
    std::uint64_t point = 0;  // the fork's bytes begin here
    std::uint32_t depth = 0;  // forks between the source and a stream that is none
    Expiry::Kind expires = Expiry::Kind::none;
    std::int64_t expires_ms = 0;  // ttl: the window; at: the instant
    base::Slice expires_at;       // at: as the client wrote it
};

// A fork's intent is in its group's log.
struct ForkBegunReply {
    base::Incarnation link;
};

// To a ReadCall that inherits: the bytes asked for are another stream's.
struct OriginReply {
    base::Slice name;
    base::Incarnation life;
    std::uint64_t point = 0;  // they are all before this
};

struct WatchReply {
    base::Incarnation incarnation;
    bool closed = false;
    std::uint64_t tail = 0;
};

// What one turn did to a watched stream. Its bytes, tail and closed flag are one snapshot.
struct Post {
    bool removed = false;  // the stream is gone; the watch is over
    // This node hears no leader of the stream's group any more: what it would tell may be old, so
    // the watch is over.
    bool lost = false;
    bool closed = false;
    std::uint64_t from = 0;
    std::uint64_t to = 0;
    // The stored bytes [from, to), or nothing when they exceed limits::tail_post_bytes_max: readers
    // then catch up by reads.
    std::vector<base::Slice> pieces;
};

struct BucketReply {  // create, resolve, remove
    bool created = false;
    std::uint64_t bucket_id = 0;
};
struct SealReply {
    bool empty = false;
};
struct ListReply {  // names separated by '\n', sorted; more = count_max cut it
    std::string names;
    bool more = false;
};

struct ChangeMemberReply {
    bool changed = false;  // false: it was so already
    base::LogIndex index;  // of the membership in force
};

struct SubscriptionReply {
    base::Slice body;  // a packed SubscriptionAnswer
};

using Answer = std::variant<Refused, CreateReply, AppendReply, RemoveReply, HeadReply, ReadReply,
                            WatchReply, Post, BucketReply, SealReply, ListReply, InspectReply,
                            TransferReply, ChangeMemberReply, TouchReply, ForkBegunReply, HoldReply,
                            OriginReply, SubscriptionReply>;
// A reply is moved about on hot paths: what is rare must not make it larger.
static_assert(sizeof(InspectReply) <= sizeof(ReadReply));

struct Reply {
    CallId id;
    base::ShardId to;  // the loop that asked
    Answer answer;
};

}  // namespace ursula::api
