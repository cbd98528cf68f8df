// What subscriptions are made of, and the one encoding that their calls, answers, commands and
// images share: `fields` of each struct names its members once, for writing and for reading.
// Subscriptions are no hot path, so all of it owns what it has.
//
// A call (api::SubscriptionCall) carries the body that its operation is said to have; the leader of
// the group adds what only it may choose or know - ids, time, tails - and makes a command of it
// (stream/subscriptions.h). Every answer is a SubscriptionAnswer.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/wire.h"

namespace ursula::api {

enum class SubscriptionOp : std::uint8_t {
    // To the leader of the group that the subscription's name is placed in; its body.
    put = 1,             // PutSubscription
    remove = 2,          // none
    change_streams = 3,  // ChangeSubscriptionStreams
    claim = 4,           // ClaimSubscription
    ack = 5,             // AckSubscription: callback, ack and release
    // To the leader of group 0.
    ensure_key = 6,  // none: makes the first signing key; answers `keys`
    rotate_key = 7,  // none: a new signing key, the old one stays known for a while
    // Between groups, each to the leader of the group that is asked.
    enroll = 8,      // EnrollSubscription: what to look for there, or that it is over
    take_marks = 9,  // PushMarks: what a group has seen, to the subscription's own
    // Reads, answered by any replica.
    get = 16,          // the subscription
    keys = 17,         // group 0: public keys
    signing_key = 18,  // group 0: the newest with its private part; never leaves the node
    marks = 19,        // all groups of one shard; the call's name is a packed Incarnation
    // Only in logs.
    enrolled = 32,    // Enrolled
    delivered = 33,   // Delivered
    notified = 34,    // Notified
    look = 35,        // a lease may have ended
    clear_marks = 36  // ClearMarks
};

constexpr bool is_read(SubscriptionOp op) {
    return op >= SubscriptionOp::get && op < SubscriptionOp::enrolled;
}

enum class SubscriptionType : std::uint8_t { webhook = 1, pull_wake = 2 };

// Why an operation was refused; src/http/subscription_json.cc has codes and statuses.
enum class SubscriptionError : std::uint8_t {
    none,
    not_found,
    exists,      // with another configuration
    wrong_type,  // claim of a webhook, callback of a pull-wake
    too_many,    // of a named limit
    token_invalid,
    token_expired,
    fenced,
    already_claimed,  // holder, generation
    no_pending_work,
    invalid_offset,
    stale,  // between groups: later marks of that group are there already
};

// Paths are relative to the namespace of the subscription's name, without slashes at their ends.
constexpr std::int64_t before_all = -1;  // an offset: nothing was acknowledged
// Of the producers of wake events, which wake nobody: no client's own may begin so.
constexpr std::string_view wake_producer_prefix = "__ds/";
constexpr std::int64_t not_shown = -2;  // of SubscriptionLink::shown

struct SubscriptionConfig {
    SubscriptionType type = SubscriptionType::webhook;
    std::string pattern;               // empty: none
    std::vector<std::string> streams;  // sorted, each once
    std::string url;                   // webhook
    std::string wake_stream;           // pull-wake
    std::uint32_t lease_ttl_ms = 30'000;
    std::string description;
    bool operator==(const SubscriptionConfig&) const = default;
};

struct PutSubscription {
    SubscriptionConfig config;
    std::string base_url;  // of callback_url; not part of the identity
};

struct ChangeSubscriptionStreams {
    std::vector<std::string> add;
    std::vector<std::string> remove;
};

struct ClaimSubscription {
    std::string worker;
};

struct StreamAck {
    std::string path;
    std::int64_t offset = 0;
};

struct AckSubscription {
    enum class Kind : std::uint8_t { callback, ack, release };
    Kind kind = Kind::ack;
    std::string token;
    std::string wake_id;
    std::uint64_t generation = 0;
    std::vector<StreamAck> acks;
    bool done = false;
};

// What a group is to look for. One with a lower version than it knows is late and means nothing.
struct EnrollSubscription {
    base::Incarnation subscription;
    std::string name;
    std::string pattern;
    std::vector<std::string> paths;  // explicit ones that are placed in that group
    std::vector<std::string> fresh;  // those of them of which the subscription knows no stream
    std::uint64_t version = 0;
    bool over = false;
};

// What a group has seen of a stream and its subscription may not know.
struct StreamMark {
    std::string path;
    std::int64_t first = before_all;  // where a link begins that is not there yet
    std::uint64_t tail = 0;
    std::uint64_t created = 0;  // the stream's life
    std::uint32_t ordinal = 0;
    bool gone = false;  // that life is over
};

struct GroupMarks {
    std::uint32_t group = 0;
    std::uint64_t as_of = 0;  // what the group had applied
    std::vector<StreamMark> marks;
};

struct PushMarks {
    base::Incarnation subscription;
    GroupMarks marks;
};

struct SigningKey {
    std::string kid;
    std::string public_key;   // 32 bytes
    std::string private_key;  // 32 bytes; empty where only the public part is meant
    std::int64_t created_ms = 0;
    std::int64_t retired_ms = 0;  // 0: it signs
};

struct LinkView {
    std::string path;
    bool is_explicit = false;
    bool pending = false;
    std::int64_t acked = before_all;
    std::int64_t tail = 0;
};

// By operation; what one does not have stays empty.
struct SubscriptionAnswer {
    SubscriptionError error = SubscriptionError::none;
    bool changed = false;   // put: made; ack: the next wake began
    bool finished = false;  // ack: the wake is over
    base::Incarnation subscription;
    std::uint64_t version = 0;
    std::uint64_t generation = 0;
    std::string wake_id;
    std::string holder;
    std::string token;
    std::vector<LinkView> streams;
    // get
    SubscriptionConfig config;
    std::string base_url;
    std::int64_t created_ms = 0;
    bool failed = false;
    // keys, signing_key
    std::vector<SigningKey> keys;
    // marks
    std::vector<GroupMarks> marks;
};

// --- the encoding: little-endian, texts and lists with a u32 count in front ---

class Packer {
  public:
    explicit Packer(std::vector<std::byte>& out) : out_(out) {}
    template <class... T>
    void operator()(const T&... values) {
        (put(values), ...);
    }

  private:
    // Out of line: g++ 12 sees overflows that are not there when it knows the size.
    [[gnu::noinline]] void raw(const void* data, std::size_t size) {
        const auto* bytes = static_cast<const std::byte*>(data);
        out_.insert(out_.end(), bytes, bytes + size);
    }
    void put(const std::string& text) {
        put(static_cast<std::uint32_t>(text.size()));
        raw(text.data(), text.size());
    }
    template <class T>
    void put(const std::vector<T>& list) {
        put(static_cast<std::uint32_t>(list.size()));
        for (const T& item : list) {
            put(item);
        }
    }
    template <class Tag, class Rep>
    void put(const base::Id<Tag, Rep>& id) {
        put(id.value);
    }
    template <class T>
    void put(const T& value) {
        if constexpr (std::is_arithmetic_v<T> || std::is_enum_v<T>) {
            raw(&value, sizeof value);
        } else {
            fields(*this, value);
        }
    }
    std::vector<std::byte>& out_;
};

// Turns bad and stays bad; what it then fills is empty.
class Unpacker {
  public:
    explicit Unpacker(base::Bytes in) : in_(in) {}
    template <class... T>
    void operator()(T&... values) {
        (get(values), ...);
    }
    // Everything was there and nothing is left.
    bool ok() const { return in_.ok() && in_.left() == 0; }
    bool ok_so_far() const { return in_.ok(); }
    base::Bytes rest() { return in_.get_bytes(in_.left()); }

  private:
    void get(std::string& text) {
        const auto size = in_.get<std::uint32_t>();
        text = in_.get_text(size);
    }
    template <class T>
    void get(std::vector<T>& list) {
        const auto count = in_.get<std::uint32_t>();
        list.clear();
        for (std::uint32_t i = 0; i < count && in_.ok(); ++i) {
            get(list.emplace_back());
        }
    }
    template <class Tag, class Rep>
    void get(base::Id<Tag, Rep>& id) {
        get(id.value);
    }
    void get(bool& value) {
        const auto byte = in_.get<std::uint8_t>();
        value = byte != 0;
    }
    template <class T>
    void get(T& value) {
        if constexpr (std::is_arithmetic_v<T> || std::is_enum_v<T>) {
            value = in_.get<T>();
        } else {
            fields(*this, value);
        }
    }
    base::WireReader in_;
};

template <class T>
std::vector<std::byte> pack(const T& value) {
    std::vector<std::byte> bytes;
    Packer packer(bytes);
    packer(value);
    return bytes;
}

template <class T>
[[nodiscard]] bool unpack(base::Bytes bytes, T& value) {
    Unpacker unpacker(bytes);
    unpacker(value);
    return unpacker.ok();
}

template <class T, class U>
concept Like = std::is_same_v<std::remove_const_t<T>, U>;

template <class Io, Like<SubscriptionConfig> T>
void fields(Io& io, T& m) {
    io(m.type, m.pattern, m.streams, m.url, m.wake_stream, m.lease_ttl_ms, m.description);
}
template <class Io, Like<PutSubscription> T>
void fields(Io& io, T& m) {
    io(m.config, m.base_url);
}
template <class Io, Like<ChangeSubscriptionStreams> T>
void fields(Io& io, T& m) {
    io(m.add, m.remove);
}
template <class Io, Like<ClaimSubscription> T>
void fields(Io& io, T& m) {
    io(m.worker);
}
template <class Io, Like<StreamAck> T>
void fields(Io& io, T& m) {
    io(m.path, m.offset);
}
template <class Io, Like<AckSubscription> T>
void fields(Io& io, T& m) {
    io(m.kind, m.token, m.wake_id, m.generation, m.acks, m.done);
}
template <class Io, Like<EnrollSubscription> T>
void fields(Io& io, T& m) {
    io(m.subscription, m.name, m.pattern, m.paths, m.fresh, m.version, m.over);
}
template <class Io, Like<StreamMark> T>
void fields(Io& io, T& m) {
    io(m.path, m.first, m.tail, m.created, m.ordinal, m.gone);
}
template <class Io, Like<GroupMarks> T>
void fields(Io& io, T& m) {
    io(m.group, m.as_of, m.marks);
}
template <class Io, Like<PushMarks> T>
void fields(Io& io, T& m) {
    io(m.subscription, m.marks);
}
template <class Io, Like<SigningKey> T>
void fields(Io& io, T& m) {
    io(m.kid, m.public_key, m.private_key, m.created_ms, m.retired_ms);
}
template <class Io, Like<LinkView> T>
void fields(Io& io, T& m) {
    io(m.path, m.is_explicit, m.pending, m.acked, m.tail);
}
template <class Io, Like<SubscriptionAnswer> T>
void fields(Io& io, T& m) {
    io(m.error, m.changed, m.finished, m.subscription, m.version, m.generation, m.wake_id, m.holder,
       m.token, m.streams, m.config, m.base_url, m.created_ms, m.failed, m.keys, m.marks);
}

}  // namespace ursula::api

namespace ursula::base {
template <class Io, class T>
requires std::is_same_v<std::remove_const_t<T>, Incarnation>
void fields(Io& io, T& m) {
    io(m.group, m.index, m.ordinal);
}
}  // namespace ursula::base
