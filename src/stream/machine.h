// The replicated state machine of one group: it alone decides offsets, duplicates, closure and
// conflicts. Deterministic: no clock, no randomness, no dependence on addresses or on the process's
// hash key. All payload stays outside; beside each stream the machine keeps this replica's local
// companions (where the bytes are, which are in memory), which it only frees.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "api/refusal.h"
#include "base/ids.h"
#include "base/siphash.h"
#include "stream/command.h"
#include "stream/stream.h"
#include "stream/subscriptions.h"

namespace ursula::stream {

class ImageWriter;

// What all machines of one shard share and never replicate.
struct Local {
    HotMemory hot;
    SegmentLoad segments;
};

struct Bucket {
    std::uint64_t id = 0;
    bool closing = false;
};

enum class Did : std::uint8_t {
    refused,          // `why`, and by refusal: tail, closed, numbers, producer_epoch
    created,          // stream, from = 0, to = tail
    existed,          // stream
    appended,         // stream, from, to; closed: this command closed it as well
    duplicate,        // stream, tail; closed: it was the closing triple again
    closed,           // stream, tail: closed without data, now or before (`changed` tells)
    removed,          // watch, incarnation; expire_stream too
    kept,             // stream: expire_stream found it touched since
    touched,          // stream
    bucket_created,   // bucket_id
    bucket_existed,   // bucket_id
    bucket_closing,   // bucket_id: now or before
    bucket_removed,   // bucket_id
    bucket_reopened,  // bucket_id
    sealed,           // empty: the group holds no stream of the bucket id
    unsealed,
    forgotten,   // stream
    fork_begun,  // incarnation: the intent
    held,        // stream: the source; fork_point
    released,    // now or before
    abandoned,   // now or before
    fork_forgotten,
    subscribed,  // Machine::subscriptions() has the answer
};

// A command's answer; maps one to one onto api answers.
struct Outcome {
    Did did = Did::refused;
    api::Refusal why = api::Refusal::none;
    bool changed = false;           // replicated state other than the applied index changed
    bool closed = false;            // say Stream-Closed (see Did)
    bool producer = false;          // echo epoch and seq
    bool empty = false;             // sealed
    std::uint32_t watch = 0;        // of a stream that went: what Stream::watch was
    Stream* stream = nullptr;       // the stream after the command; null when there is none
    base::Incarnation incarnation;  // of `stream`, or of the one removed
    std::uint64_t from = 0;         // created, appended: the range that the payload got
    std::uint64_t to = 0;
    std::uint64_t tail = 0;         // after the command
    std::uint64_t numbers[2] = {};  // by refusal, see api/refusal.h
    std::uint64_t producer_epoch = 0;
    std::uint64_t producer_seq = 0;  // the highest accepted
    std::uint64_t bucket_id = 0;
    std::uint64_t fork_point = 0;

    bool grew() const { return to > from; }
};

class Machine {
  public:
    // Far more than members_max of the longest infos; an image has it in one item.
    static constexpr std::size_t membership_bytes_max = 32 * 1024;
    using Buckets = std::map<std::string, Bucket, std::less<>>;

    // `key`: the process's table key, the one api::StreamKey::hash is made with. `local` outlives
    // the machine.
    Machine(base::GroupId group, base::HashKey key, Local& local);
    ~Machine();
    Machine(const Machine&) = delete;
    Machine& operator=(const Machine&) = delete;

    base::GroupId group() const { return group_; }
    base::EntryId applied() const { return applied_; }  // last entry entered
    std::int64_t time_ms() const { return time_ms_; }   // group time; never goes back

    // Before an entry's commands, and for entries without any (time_ms 0). Indices grow (VERIFY).
    void enter(base::EntryId id, std::int64_t time_ms);

    // Who belongs to the group, as the entered entry says: bytes that only the shard understands.
    void set_membership(base::Bytes membership);
    // Of the newest entry that set one; index 0 and empty while none did.
    base::LogIndex membership_index() const { return membership_index_; }
    base::Bytes membership() const { return membership_; }

    // What apply would answer now. Pure.
    Outcome decide(const Command& command) const;
    // Decides and carries out. `id` is the entered entry, `ordinal` the command's place in it.
    // Frees the local companions of what it removes.
    Outcome apply(const Command& command, base::EntryId id, std::uint32_t ordinal);

    // Local companions of payload just committed: outcome.grew(), `stored` the command's stored
    // bytes, `places` where they are on disk. Recovery has no use for memory and passes empty
    // `stored`.
    void keep(const Outcome& outcome, base::Bytes stored, std::span<const Place> places);

    std::uint64_t hash_of(std::string_view name) const {
        return base::siphash(key_, base::as_bytes(name));
    }
    // hash: api::StreamKey::hash, or hash_of(name).
    Stream* find(std::string_view name, std::uint64_t hash) const;
    Stream* first() const { return first_; }  // creation order; walk with ->next()
    // Its time has come in group time: every command takes it for absent and removes it first, and
    // nothing brings it back.
    bool is_dead(const Stream& stream) const {
        const Expiry* expiry = stream.expiry();
        return expiry != nullptr && expiry->deadline_ms() <= time_ms_;
    }
    // Local. No stream with an expiry is due before this; INT64_MAX: there is none.
    std::int64_t next_due_ms() const { return due_.empty() ? INT64_MAX : due_.begin()->at_ms; }
    // A stream whose deadline is not after `now_ms`, or null. Looks at no more than `steps` of the
    // index, which it counts down: touches leave it as it is, so that they cost nothing there.
    Stream* find_due(std::int64_t now_ms, std::size_t& steps);
    // It is not looked at again before. An instant after its deadline: somebody is at work on it.
    void set_due(Stream* stream, std::int64_t at_ms);
    std::size_t streams() const { return table_.size(); }

    // Group 0 only; others have none.
    const Buckets& buckets() const { return buckets_; }
    const Bucket* find_bucket(std::string_view name) const;
    std::uint64_t streams_of_bucket(std::uint64_t bucket_id) const;
    bool is_sealed(std::uint64_t bucket_id) const;
    // The newest that sealed or unsealed anything here (api::SealBucketCall).
    std::uint64_t seal_round() const { return seal_round_; }

    // Intents without a fork, and those whose fork is gone (stream/forks.h).
    const ForkLinks& links() const { return links_; }
    // Whether there are new ones to be looked after since it was asked last.
    bool take_links_changed() { return std::exchange(links_changed_, false); }
    const LateHolds& late_holds() const { return late_holds_; }
    // Null while no command about one was applied.
    const Subscriptions* subscriptions() const { return subscriptions_.get(); }
    bool take_subscriptions_changed() {
        return subscriptions_ != nullptr && subscriptions_->take_changed();
    }

    // Exchanges everything with another machine of the same group, key and local. Streams keep
    // their addresses. No image of either is being taken.
    void swap(Machine& other);

    // Frees up to so many streams of a machine that is of no use any more; false when none is left.
    bool shrink(std::size_t streams);

    // Hash of the whole replicated state; equal on every replica that applied the same entries.
    // Walks all streams.
    std::uint64_t state_hash() const;

    std::size_t memory_bytes()
        const;  // estimate of the heap held by replicated state and locations
    Local& local() const { return local_; }

  private:
    friend class ImageWriter;
    friend class ImageReader;
    friend class LocationReader;

    // A closed interval of sealed bucket ids. Ids are a counter, so the set of removed buckets
    // stays a few intervals.
    struct Sealed {
        std::uint64_t first;
        std::uint64_t last;
    };
    // A stream with an expiry, by the instant before which nobody needs to look at it. Never
    // ordered by address.
    struct Due {
        std::int64_t at_ms = 0;
        base::LogIndex created;
        std::uint32_t ordinal = 0;
        Stream* stream = nullptr;
        bool operator<(const Due& other) const {
            return std::tie(at_ms, created, ordinal) <
                   std::tie(other.at_ms, other.created, other.ordinal);
        }
    };
    // What decide() found on its way, for apply() to act on.
    struct Found {
        Stream* stream = nullptr;
        Stream* dead = nullptr;  // of that name, to be removed first
        Stream* gone = nullptr;  // of that name, kept for its forks; it may be `dead` as well
        bool expires = false;    // `stream` or `dead` does
        ProducerState* producer = nullptr;
        std::uint64_t name_hash = 0;
        std::uint64_t producer_hash = 0;
    };

    Outcome judge(const Command& command, Found& found) const;
    void find(const Command& command, Found& found, Outcome& outcome) const;
    void find_named(const Command& command, Found& found, Outcome& outcome) const;  // not inline
    void look_at_life(Found& found, Outcome& outcome) const;
    Outcome judge_named(const Command& command, Found& found) const;
    Outcome judge_create(const Command& command, Found& found) const;
    Outcome judge_append(const Command& command, Found& found) const;
    bool judge_producer(const Command& command, Found& found, Outcome& outcome) const;
    Outcome judge_bucket(const Command& command) const;
    // forks.cc
    Outcome judge_begin_fork(const Command& command, Found& found) const;
    Outcome judge_hold(const Command& command, Found& found) const;
    Outcome judge_release(const Command& command, Found& found) const;
    Outcome judge_link(const Command& command) const;
    bool takes_link(const Command& command) const;
    bool is_same_fork(const Stream& stream, const Command& command) const;
    void apply_fork(const Command& command, const Found& found, std::uint32_t ordinal,
                    Outcome& outcome);
    void take_link(const Command& command, const Outcome& outcome);
    void remove_or_retire(Stream* stream);
    void retire(Stream* stream);
    void release_link(const ForkOrigin& origin);

    void subscribe(const Command& command, std::uint32_t ordinal);
    void create(const Command& command, const Found& found, std::uint32_t ordinal,
                Outcome& outcome);
    void append(const Command& command, const Found& found, const Outcome& outcome);
    void remove(Stream* stream);
    void change_bucket(const Command& command, const Outcome& outcome);
    void seal(std::uint64_t bucket_id);
    void unseal(std::uint64_t bucket_id);

    Stream* add_stream(std::string_view name, std::uint64_t hash, std::string_view content_type,
                       std::uint64_t bucket_id);
    void free_stream(Stream* stream);
    // The image being taken may want the old state first.
    void before_change(Stream* stream, bool removing);
    void put_head(std::vector<std::byte>& out) const;  // image.cc
    StreamExtra& extra_of(Stream* stream);
    void set_expiry(Stream* stream, const api::Expiry& expiry, std::int64_t touched_ms);
    bool settle_life(const Found& found, Outcome& outcome);
    bool touch(Stream* stream);

    base::GroupId group_;
    base::HashKey key_;
    Local& local_;
    base::EntryId applied_;
    std::int64_t time_ms_ = 0;
    base::LogIndex membership_index_;
    std::vector<std::byte> membership_;

    PointerTable<Stream> table_;
    Stream* first_ = nullptr;
    Stream* last_ = nullptr;
    std::set<Due> due_;
    PointerTable<ContentType> content_types_;
    PointerTable<BucketUse> bucket_uses_;

    Buckets buckets_;
    std::uint64_t next_bucket_id_ = 1;
    std::vector<Sealed> sealed_;  // sorted, disjoint, not adjacent
    std::uint64_t seal_round_ = 0;

    ForkLinks links_;
    LateHolds late_holds_;
    bool links_changed_ = false;  // local
    std::unique_ptr<Subscriptions> subscriptions_;

    ImageWriter* image_ = nullptr;  // the image being taken, or null
};

}  // namespace ursula::stream
