// The waist: what a client asks of a shard. Plain data; HTTP is above it, shards, the simulator and
// the history checker are below. Views in a call live until Shard::advance (or Mailbox::push, which
// copies) returns.
#pragma once

#include <cstdint>
#include <string_view>
#include <variant>

#include "api/subscription.h"
#include "base/bytes.h"
#include "base/ids.h"
#include "base/time.h"

namespace ursula::api {

// Chosen by the asking loop; a shard only hands it back. Unique among a loop's open calls.
using CallId = base::Id<struct CallIdTag, std::uint64_t>;

// A stream's canonical name ("bucket/stream", "bucket/affinity/stream", "v1/a/b/c" for
// /v1/stream/a/b/c), already decoded and checked, with the two hashes that the front computes once.
struct StreamKey {
    std::string_view name;
    std::uint64_t hash = 0;  // keyed per process: for tables
    base::GroupId group;     // by placement (src/api/placement.h): stable for ever
};

// Protocol digest 1.4. present == false: no producer headers.
struct Producer {
    bool present = false;
    std::string_view id;
    std::uint64_t epoch = 0;
    std::uint64_t seq = 0;
};

// What a body is stored as: the leader validates and splits before it submits (DESIGN "JSON").
// For JSON, stored bytes are the elements joined by commas plus one final comma; `elements` counts
// them.
struct Payload {
    base::Bytes bytes;           // what to store, without the final comma
    std::uint32_t elements = 0;  // JSON only
    bool json = false;           // a comma is added behind `bytes` when stored
    std::uint64_t stored_size() const { return bytes.size() + (json && elements > 0 ? 1 : 0); }
};

// When a stream goes by itself (digest 2.4). A ttl slides: the window begins anew with every read
// and every accepted write. Clocks have milliseconds, so instants within one are the same.
struct Expiry {
    enum class Kind : std::uint8_t { none, ttl, at };
    Kind kind = Kind::none;
    std::int64_t ms = 0;    // ttl: the window, whole seconds; at: since the Unix epoch
    std::string_view text;  // at: as the client wrote it, for HEAD
};

struct CreateCall {
    StreamKey key;
    std::string_view
        content_type;  // as given; default application/octet-stream filled in by the front
    bool closed = false;
    std::uint64_t bucket_id = 0;  // from ResolveBucketCall; 0 for the built-in namespace
    base::Bytes body;  // raw; the shard validates JSON (it knows the mode from content_type)
    Expiry expiry;
};

// What a fork's PUT says of itself, for comparing it with another one (digest 1.2).
struct ForkAsk {
    bool has_content_type = false;
    bool has_offset = false;
    std::uint64_t offset = 0;
    std::uint64_t sub_offset = 0;  // bytes, or elements of JSON, behind the offset; 0: none
    Expiry::Kind expires = Expiry::Kind::none;
    std::int64_t expires_ms = 0;
};

// A create whose stream begins with what another one has (digest 2.3).
struct ForkCall {
    StreamKey key;
    std::string_view source;  // its canonical name
    base::GroupId source_group;
    bool has_content_type = false;  // else it has the source's
    bool has_offset = false;        // else it begins at the source's tail
    bool closed = false;
    std::uint64_t offset = 0;
    std::uint64_t sub_offset = 0;
    std::uint64_t bucket_id = 0;
    std::string_view content_type;
    base::Bytes body;  // raw
    Expiry expiry;     // none: the source's
};

// The point of HoldCall that is the source's tail.
constexpr std::uint64_t fork_at_tail = UINT64_MAX;

// A fork's way to its source's group: nothing of the source up to the fork's point goes before the
// hold does. Named by where the fork's intent lies in its own group's log, so asking again changes
// nothing, and the release of a hold that was never there keeps it from coming late.
struct HoldCall {
    StreamKey key;           // the source
    base::Incarnation id;    // of the intent
    base::LogIndex created;  // with `ordinal`: the life of the source that was looked at
    std::uint32_t ordinal = 0;
    std::uint64_t point = 0;
};
struct ReleaseCall {
    StreamKey key;
    base::Incarnation id;
};

struct AppendCall {
    StreamKey key;
    std::string_view content_type;  // empty: header absent
    bool has_content_type = false;
    bool close = false;
    Producer producer;
    std::string_view stream_seq;  // empty: absent
    base::Bytes body;             // raw
};

struct RemoveCall {
    StreamKey key;
};

struct HeadCall {
    StreamKey key;
};

// Catch-up read, also the first step of every tail and of a tail that fell behind.
struct ReadCall {
    StreamKey key;
    bool from_now = false;        // offset=now: no data, the tail only
    std::uint64_t offset = 0;     // all appends whose end is beyond it
    std::uint64_t bytes_max = 0;  // soft: one whole append is always returned

    // Of the shards' own reads. `measure`: for a fork that is to be; touches nothing, and the
    // answer has no bytes. `inherit`: for a fork that is there, of the life [created, ordinal] and
    // its bytes before `end`; the stream may be soft-deleted. `more`: others were read before it,
    // so an append that does not fit is left out.
    enum class Use : std::uint8_t { client, look, measure, inherit };
    Use use = Use::client;
    bool more = false;
    std::uint32_t ordinal = 0;
    base::LogIndex created;
    std::uint64_t end = UINT64_MAX;
};

// A loop with live readers of a stream watches it once, whatever their number. The shard answers
// with a WatchReply (the state now) and then one Post per turn in which the stream grew, closed or
// went away, until unwatched or gone.
struct WatchCall {
    StreamKey key;
};
struct UnwatchCall {
    StreamKey key;
    CallId watch;
};

// A reader of a stream with a ttl keeps it: from the shard that it reads from to the group's
// leader. Never a client's own.
struct TouchCall {
    StreamKey key;
    base::LogIndex created;  // with `ordinal`: the life of the stream that was read
    std::uint32_t ordinal = 0;
};

// Buckets live in group 0 (DESIGN "Between groups"): these four go to its shard.
struct CreateBucketCall {
    std::string_view bucket;
};
struct RemoveBucketCall {
    std::string_view bucket;
};
struct ResolveBucketCall {  // before a create: the bucket's id, or refused with bucket_not_found
    std::string_view bucket;
};
struct ListBucketsCall {};

// One shard's streams of a bucket, by name after `after`; the asking loop merges the shards'
// answers.
struct ListStreamsCall {
    std::string_view bucket;
    std::string_view prefix;
    std::string_view after;
    std::uint32_t count_max = 0;
};

// A bucket's removal, from group 0's shard to every group: refuse creates for this bucket id from
// here on and say whether the group holds a stream of it; or take that back.
//
// What a driver of removals says may come late: after it was deposed, or after it began again. An
// unseal would then open what another round counts on being sealed, and a seal close for good what
// another round has opened. So each round has a number that is higher than that of all before it,
// and a group refuses what is of an earlier round than the newest it has seen.
struct SealBucketCall {
    base::GroupId group;
    std::string_view bucket;
    std::uint64_t bucket_id = 0;
    bool seal = true;
    std::uint64_t round = 0;
};

// One step of a change of a group's members (raft thesis 4), to its leader: add_learner makes the
// node receive the log, promote makes a learner that has caught up a voter, remove takes any member
// out. Answered when it is committed. Asking again for what is so already is answered at once.
struct ChangeMemberCall {
    enum class Step : std::uint8_t { add_learner, promote, remove };
    base::GroupId group;
    Step step = Step::add_learner;
    base::NodeId node;
    // Of the node's storage. add_learner: not 0. promote, remove: 0 means the member, whichever.
    std::uint64_t incarnation = 0;
    // add_learner only. Given again for a member they replace what was known, but for `shards`.
    std::uint32_t shards = 0;
    std::string_view address;
    std::string_view client;
};

// An operator's look at this shard's replicas (api/inspect.h): all of them, one, or a stream's.
struct InspectCall {
    enum class What : std::uint8_t { groups, group, stream };
    What what = What::groups;
    StreamKey key;  // `group` alone, or the stream's
};

// Hand the leadership of a group to another of its voters.
struct TransferCall {
    base::GroupId group;
    base::NodeId to;
};

// An operation on a subscription (api/subscription.h), or between the groups that have to do with
// it. For a read of all groups of a shard `group` is any one of them.
struct SubscriptionCall {
    base::GroupId group;
    std::string_view name;  // "v1/orders"; empty: of none
    SubscriptionOp op = SubscriptionOp::get;
    base::Bytes body;  // packed, as the operation has it
};

using Verb =
    std::variant<CreateCall, AppendCall, RemoveCall, HeadCall, ReadCall, WatchCall, UnwatchCall,
                 CreateBucketCall, RemoveBucketCall, ResolveBucketCall, ListBucketsCall,
                 ListStreamsCall, SealBucketCall, InspectCall, TransferCall, ChangeMemberCall,
                 TouchCall, ForkCall, HoldCall, ReleaseCall, SubscriptionCall>;

struct Call {
    CallId id;
    base::ShardId from;  // the loop that asks
    Verb verb;
    // A write: when another node leads, refuse with not_leader and name it, instead of passing on.
    bool redirect = false;
};

}  // namespace ursula::api
