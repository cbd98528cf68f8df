// One stream: its replicated state and, beside it, what only this replica knows. One allocation,
// the name inline, what few streams have out of line: an idle stream costs well under 256 bytes
// (tests/unit/stream/memory_test.cc).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "api/call.h"
#include "base/bytes.h"
#include "base/ids.h"
#include "base/slice.h"
#include "base/time.h"
#include "stream/forks.h"
#include "stream/hot_tail.h"
#include "stream/locations.h"
#include "stream/planted.h"
#include "stream/pointer_table.h"
#include "stream/producers.h"

namespace ursula::stream {

// A content type as given, shared by the streams of a machine that have it.
struct ContentType {
    std::uint32_t hash = 0;
    std::uint32_t streams = 0;
    bool json = false;
    base::Slice text;
};

// The streams of one bucket in one machine.
struct BucketUse {
    std::uint32_t hash = 0;
    std::uint64_t id = 0;
    std::uint64_t streams = 0;
};

// The triple that closed a stream: a retry of exactly it is a duplicate, every other write is
// refused.
struct ClosingProducer {
    std::string id;
    std::uint64_t epoch = 0;
    std::uint64_t seq = 0;
};

// When a stream goes by itself: `ms` after its last touch, or at an instant. Times are the group's.
struct Expiry {
    api::Expiry::Kind kind = api::Expiry::Kind::ttl;
    std::int64_t ms = 0;
    std::int64_t touched_ms = 0;  // its creation, the last accepted write, or touch_stream
    std::string text;             // at: as the client wrote it

    bool slides() const { return kind == api::Expiry::Kind::ttl; }
    std::int64_t deadline_ms() const {
        const std::int64_t late_ms = planted(Planted::dies_late) ? 1 : 0;
        return !slides() ? ms : touched_ms > INT64_MAX - ms ? INT64_MAX : touched_ms + ms + late_ms;
    }

    // --- local, never hashed, never sent ---
    std::int64_t due_ms = 0;        // where the machine's index has it: the deadline, or earlier
    std::uint64_t under_way = 0;    // the shard's command about it that is not answered; 0: none
    base::Instant touched_here{0};  // when this replica applied a touch; 0: not since its start
};

// And of these but few: a pointer more here is memory of every stream with a producer.
struct StreamRare {
    std::unique_ptr<ClosingProducer> closer;  // null: open, or closed without a producer
    std::unique_ptr<ForkOrigin> origin;       // null: it is no fork
    std::unique_ptr<Holds> holds;             // never empty; null: it has no fork
};

// Replicated state that most streams do not have.
struct StreamExtra {
    std::string stream_seq;  // the last one accepted; empty: none yet
    Producers producers;
    std::unique_ptr<StreamRare> rare;
    std::unique_ptr<Expiry> expiry;  // null: stays for ever

    const ClosingProducer* closer() const { return rare ? rare->closer.get() : nullptr; }
    const ForkOrigin* origin() const { return rare ? rare->origin.get() : nullptr; }
    const Holds* holds() const { return rare ? rare->holds.get() : nullptr; }
    StreamRare& rare_part() {
        if (rare == nullptr) {
            rare = std::make_unique<StreamRare>();
        }
        return *rare;
    }
};

// Owned by the machine, at one address from create to remove. Its readers use the accessors; only
// the machine changes the replicated part. The local part is the shard's.
class Stream {
  public:
    std::string_view name() const {
        return {reinterpret_cast<const char*>(this + 1),
                name_size_};  // allocated behind the object
    }
    std::string_view bucket() const { return name().substr(0, name().find('/')); }
    base::Incarnation incarnation(base::GroupId group) const {
        return {group, created_, created_ordinal_};
    }
    std::uint64_t tail() const { return tail_; }
    bool closed() const { return closed_; }
    // Removed or expired, and kept for its forks alone: no client finds it.
    bool gone() const { return gone_; }
    // Null for most. Its own bytes begin at own_from().
    const ForkOrigin* origin() const { return forked_ ? extra_->origin() : nullptr; }
    std::uint64_t own_from() const { return forked_ ? extra_->origin()->point : 0; }
    bool held() const { return extra_ != nullptr && extra_->holds() != nullptr; }
    bool json() const { return content_type_->json; }
    std::uint64_t records_first() const { return 0; }  // retention does not exist yet
    // Elements ever stored, a fork's own ones; 0 unless JSON.
    std::uint64_t records_next() const { return records_; }
    std::string_view content_type() const { return base::as_text(content_type_->text.bytes()); }
    // For replies: shared, not copied.
    const base::Slice& content_type_slice() const { return content_type_->text; }
    std::uint64_t bucket_id() const { return bucket_->id; }
    const StreamExtra* extra() const { return extra_.get(); }
    // Null for most; the flag lies beside closed(), so asking costs an append nothing.
    Expiry* expiry() const { return expires_ ? extra_->expiry.get() : nullptr; }
    std::size_t producers() const { return extra_ ? extra_->producers.size() : 0; }
    // Creation order, which is the canonical order of everything.
    Stream* next() const { return next_; }

    // --- local, never hashed, never sent ---
    Locations locations;
    std::uint32_t watch = 0;  // the shard's: whom to tell; 0 nobody
    HotTail hot;

    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;

  private:
    friend class Machine;
    friend class ImageWriter;
    friend class ImageReader;
    friend class PointerTable<Stream>;
    static Stream* make(std::string_view name);
    static void destroy(Stream* stream);
    Stream() = default;
    ~Stream() = default;

    Stream* next_ = nullptr;
    Stream* previous_ = nullptr;
    base::LogIndex created_;
    std::uint64_t tail_ = 0;
    std::uint64_t records_ = 0;
    std::unique_ptr<StreamExtra> extra_;
    ContentType* content_type_ = nullptr;
    BucketUse* bucket_ = nullptr;
    std::uint32_t created_ordinal_ = 0;
    std::uint32_t hash = 0;  // lower half of the process's keyed hash of the name: never replicated
    std::uint16_t name_size_ = 0;
    bool closed_ : 1 = false;
    bool expires_ : 1 = false;  // extra_ has an expiry
    bool gone_ : 1 = false;
    bool forked_ : 1 = false;  // extra_ has an origin
    bool imaged_ : 1 = false;  // handed over to the image being taken, ahead of its turn
};

}  // namespace ursula::stream
