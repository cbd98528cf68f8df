// One description of each message's fields (the `fields` functions) serves three passes: Sizer
// counts, Writer copies out, Reader copies in. The structured bindings name every member, so a
// member added to a call or a reply does not compile until it is carried here too.
#include "shard/mail_codec.h"

#include <concepts>
#include <type_traits>
#include <utility>

#include "base/verify.h"

namespace ursula::shard {
namespace {

using base::Bytes;
using base::Slice;

constexpr std::size_t inline_bytes_max = base::limits::mailbox_inline_bytes_max;

std::size_t size_of(const std::vector<Slice>& pieces) {
    std::size_t size = 0;
    for (const Slice& piece : pieces) {
        size += piece.size();
    }
    return size;
}

template <class T>
Bytes bytes_of(const std::vector<T>& list) {
    static_assert(std::is_trivially_copyable_v<T>);
    return {reinterpret_cast<const std::byte*>(list.data()), list.size() * sizeof(T)};
}

// The bulk of a message (a body, the pieces of a read, a list) is inline when small, else it is the
// record's block. At most one per message.
struct Sizer {
    std::size_t size = 0;
    std::size_t large_size = 0;

    template <class T>
    void number(const T& value) {
        size += sizeof value;
    }
    void text(std::string_view value) { size += sizeof(std::uint32_t) + value.size(); }
    void slice(const Slice& value) { size += sizeof(std::uint32_t) + value.size(); }
    void bulk(std::size_t bytes) {
        size += sizeof(std::uint32_t);
        if (bytes <= inline_bytes_max) {
            size += bytes;
        } else {
            VERIFY(large_size == 0);
            large_size = bytes;
        }
    }
    void body(Bytes value) { bulk(value.size()); }
    void pieces(const std::vector<Slice>& value) { bulk(size_of(value)); }
    void long_text(const std::string& value) { bulk(value.size()); }
    template <class T>
    void list(const std::vector<T>& value) {
        bulk(bytes_of(value).size());
    }
};

struct Writer {
    std::byte* out;
    std::byte* large;  // where the bulk goes when it is not inline

    void raw(Bytes bytes) {
        base::copy_bytes(out, bytes);
        out += bytes.size();
    }
    template <class T>
    void number(const T& value) {
        static_assert(std::is_trivially_copyable_v<T>);
        std::memcpy(out, &value, sizeof value);
        out += sizeof value;
    }
    void size(std::size_t value) {
        VERIFY(value <= UINT32_MAX);
        number(static_cast<std::uint32_t>(value));
    }
    void text(std::string_view value) {
        size(value.size());
        raw(base::as_bytes(value));
    }
    void slice(const Slice& value) {
        size(value.size());
        raw(value.bytes());
    }
    void bulk(Bytes part, bool is_inline) {
        std::byte*& to = is_inline ? out : large;
        base::copy_bytes(to, part);
        to += part.size();
    }
    void body(Bytes value) {
        size(value.size());
        bulk(value, value.size() <= inline_bytes_max);
    }
    void pieces(const std::vector<Slice>& value) {
        const std::size_t total = size_of(value);
        size(total);
        for (const Slice& piece : value) {
            bulk(piece.bytes(), total <= inline_bytes_max);
        }
    }
    void long_text(const std::string& value) { body(base::as_bytes(value)); }
    template <class T>
    void list(const std::vector<T>& value) {
        body(bytes_of(value));
    }
};

class Reader {
  public:
    explicit Reader(const MailRecord& record) : left_(record.bytes), large_(record.large) {}
    ~Reader() {
        DVERIFY(left_.empty());
        if (block_ != nullptr) {
            block_->release();
        }
    }
    Reader(const Reader&) = delete;
    Reader& operator=(const Reader&) = delete;

    template <class T>
    void number(T& value) {
        std::memcpy(&value, next(sizeof value).data(), sizeof value);
    }
    void text(std::string_view& value) { value = base::as_text(next(size())); }
    void slice(Slice& value) { value = owned(next(size())); }
    void body(Bytes& value) {
        const std::size_t bytes = size();
        value = bytes <= inline_bytes_max ? next(bytes) : large_.bytes();
    }
    void pieces(std::vector<Slice>& value) {
        const std::size_t bytes = size();
        value.clear();
        if (bytes != 0) {
            value.push_back(bytes <= inline_bytes_max ? owned(next(bytes)) : large_);
        }
    }
    void long_text(std::string& value) {
        Bytes bytes;
        body(bytes);
        value = base::as_text(bytes);
    }
    template <class T>
    void list(std::vector<T>& value) {
        static_assert(std::is_trivially_copyable_v<T>);
        Bytes bytes;
        body(bytes);
        value.resize(bytes.size() / sizeof(T));
        if (!bytes.empty()) {
            std::memcpy(static_cast<void*>(value.data()), bytes.data(), bytes.size());
        }
    }

  private:
    Bytes next(std::size_t size) {
        DVERIFY(size <= left_.size());
        const Bytes bytes = left_.first(size);
        left_ = left_.subspan(size);
        return bytes;
    }
    std::size_t size() {
        std::uint32_t value = 0;
        number(value);
        return value;
    }
    // All slices of a message share one block: one allocation whatever their number.
    Slice owned(Bytes bytes) {
        if (bytes.empty()) {
            return {};
        }
        if (block_ == nullptr) {
            block_ = base::Block::make(bytes.size() + left_.size());
        }
        base::copy_bytes(block_->data() + block_used_, bytes);
        const std::size_t offset = std::exchange(block_used_, block_used_ + bytes.size());
        return {block_, offset, bytes.size()};
    }

    Bytes left_;
    const Slice& large_;
    base::Block* block_ = nullptr;
    std::size_t block_used_ = 0;
};

// T is U or const U: the reading pass fills what the others look at.
template <class T, class U>
concept Like = std::same_as<std::remove_const_t<T>, U>;

template <class Io, Like<api::StreamKey> T>
void fields(Io& io, T& message) {
    auto& [name, hash, group] = message;
    io.text(name);
    io.number(hash);
    io.number(group);
}

template <class Io, Like<api::Producer> T>
void fields(Io& io, T& message) {
    auto& [present, id, epoch, seq] = message;
    io.number(present);
    io.text(id);
    io.number(epoch);
    io.number(seq);
}

// --- calls ---

template <class Io, Like<api::Expiry> T>
void fields(Io& io, T& message) {
    auto& [kind, ms, text] = message;
    io.number(kind);
    io.number(ms);
    io.text(text);
}

template <class Io, Like<api::CreateCall> T>
void fields(Io& io, T& message) {
    auto& [key, content_type, closed, bucket_id, body, expiry] = message;
    fields(io, key);
    io.text(content_type);
    io.number(closed);
    io.number(bucket_id);
    io.body(body);
    fields(io, expiry);
}

template <class Io, Like<api::TouchCall> T>
void fields(Io& io, T& message) {
    auto& [key, created, ordinal] = message;
    fields(io, key);
    io.number(created);
    io.number(ordinal);
}

template <class Io, Like<api::AppendCall> T>
void fields(Io& io, T& message) {
    auto& [key, content_type, has_content_type, close, producer, stream_seq, body] = message;
    fields(io, key);
    io.text(content_type);
    io.number(has_content_type);
    io.number(close);
    fields(io, producer);
    io.text(stream_seq);
    io.body(body);
}

template <class Io, class T>
requires Like<T, api::RemoveCall> || Like<T, api::HeadCall> || Like<T, api::WatchCall>
void fields(Io& io, T& message) {
    auto& [key] = message;
    fields(io, key);
}

template <class Io, Like<api::ReadCall> T>
void fields(Io& io, T& message) {
    auto& [key, from_now, offset, bytes_max, use, more, ordinal, created, end] = message;
    fields(io, key);
    io.number(from_now);
    io.number(offset);
    io.number(bytes_max);
    io.number(use);
    io.number(more);
    io.number(ordinal);
    io.number(created);
    io.number(end);
}

template <class Io, Like<api::ForkCall> T>
void fields(Io& io, T& message) {
    auto& [key, source, source_group, has_content_type, has_offset, closed, offset, sub_offset,
           bucket_id, content_type, body, expiry] = message;
    fields(io, key);
    io.text(source);
    io.number(source_group);
    io.number(has_content_type);
    io.number(has_offset);
    io.number(closed);
    io.number(offset);
    io.number(sub_offset);
    io.number(bucket_id);
    io.text(content_type);
    io.body(body);
    fields(io, expiry);
}

template <class Io, Like<api::HoldCall> T>
void fields(Io& io, T& message) {
    auto& [key, id, created, ordinal, point] = message;
    fields(io, key);
    io.number(id);
    io.number(created);
    io.number(ordinal);
    io.number(point);
}

template <class Io, Like<api::ReleaseCall> T>
void fields(Io& io, T& message) {
    auto& [key, id] = message;
    fields(io, key);
    io.number(id);
}

template <class Io, Like<api::UnwatchCall> T>
void fields(Io& io, T& message) {
    auto& [key, watch] = message;
    fields(io, key);
    io.number(watch);
}

template <class Io, class T>
requires Like<T, api::CreateBucketCall> || Like<T, api::RemoveBucketCall> ||
    Like<T, api::ResolveBucketCall>
void fields(Io& io, T& message) {
    auto& [bucket] = message;
    io.text(bucket);
}

template <class Io, Like<api::ListStreamsCall> T>
void fields(Io& io, T& message) {
    auto& [bucket, prefix, after, count_max] = message;
    io.text(bucket);
    io.text(prefix);
    io.text(after);
    io.number(count_max);
}

template <class Io, Like<api::SealBucketCall> T>
void fields(Io& io, T& message) {
    auto& [group, bucket, bucket_id, seal, round] = message;
    io.number(group);
    io.text(bucket);
    io.number(bucket_id);
    io.number(seal);
    io.number(round);
}

template <class Io, Like<api::ChangeMemberCall> T>
void fields(Io& io, T& message) {
    auto& [group, step, node, incarnation, shards, address, client] = message;
    io.number(group);
    io.number(step);
    io.number(node);
    io.number(incarnation);
    io.number(shards);
    io.text(address);
    io.text(client);
}

template <class Io, Like<api::InspectCall> T>
void fields(Io& io, T& message) {
    auto& [what, key] = message;
    io.number(what);
    fields(io, key);
}

template <class Io, Like<api::TransferCall> T>
void fields(Io& io, T& message) {
    auto& [group, to] = message;
    io.number(group);
    io.number(to);
}

template <class Io, Like<api::SubscriptionCall> T>
void fields(Io& io, T& message) {
    auto& [group, name, op, body] = message;
    io.number(group);
    io.text(name);
    io.number(op);
    io.body(body);
}

// Messages without a member.
template <class Io, class T>
requires std::is_empty_v<T>
void fields(Io& /*io*/, T& /*message*/) {}

// --- answers ---

template <class Io, Like<api::Refused> T>
void fields(Io& io, T& message) {
    auto& [why, tail, closed, numbers, producer_epoch] = message;
    io.number(why);
    io.number(tail);
    io.number(closed);
    io.number(numbers);
    io.number(producer_epoch);
}

template <class Io, Like<api::CreateReply> T>
void fields(Io& io, T& message) {
    auto& [created, closed, tail, content_type] = message;
    io.number(created);
    io.number(closed);
    io.number(tail);
    io.slice(content_type);
}

template <class Io, Like<api::AppendReply> T>
void fields(Io& io, T& message) {
    auto& [kind, closed, producer, tail, producer_epoch, producer_seq] = message;
    io.number(kind);
    io.number(closed);
    io.number(producer);
    io.number(tail);
    io.number(producer_epoch);
    io.number(producer_seq);
}

template <class Io, Like<api::HeadReply> T>
void fields(Io& io, T& message) {
    auto& [incarnation, closed, tail, content_type, expires, ttl_ms, expires_at] = message;
    io.number(incarnation);
    io.number(closed);
    io.number(tail);
    io.slice(content_type);
    io.number(expires);
    io.number(ttl_ms);
    io.slice(expires_at);
}

template <class Io, Like<api::ReadReply> T>
void fields(Io& io, T& message) {
    auto& [incarnation, json, closed, up_to_date, from, next, content_type, pieces] = message;
    io.number(incarnation);
    io.number(json);
    io.number(closed);
    io.number(up_to_date);
    io.number(from);
    io.number(next);
    io.slice(content_type);
    io.pieces(pieces);
}

template <class Io, Like<api::HoldReply> T>
void fields(Io& io, T& message) {
    auto& [point, depth, expires, expires_ms, expires_at] = message;
    io.number(point);
    io.number(depth);
    io.number(expires);
    io.number(expires_ms);
    io.slice(expires_at);
}

template <class Io, Like<api::ForkBegunReply> T>
void fields(Io& io, T& message) {
    auto& [link] = message;
    io.number(link);
}

template <class Io, Like<api::OriginReply> T>
void fields(Io& io, T& message) {
    auto& [name, life, point] = message;
    io.slice(name);
    io.number(life);
    io.number(point);
}

template <class Io, Like<api::WatchReply> T>
void fields(Io& io, T& message) {
    auto& [incarnation, closed, tail] = message;
    io.number(incarnation);
    io.number(closed);
    io.number(tail);
}

template <class Io, Like<api::Post> T>
void fields(Io& io, T& message) {
    auto& [removed, lost, closed, from, to, pieces] = message;
    io.number(removed);
    io.number(lost);
    io.number(closed);
    io.number(from);
    io.number(to);
    io.pieces(pieces);
}

template <class Io, Like<api::BucketReply> T>
void fields(Io& io, T& message) {
    auto& [created, bucket_id] = message;
    io.number(created);
    io.number(bucket_id);
}

template <class Io, Like<api::SealReply> T>
void fields(Io& io, T& message) {
    auto& [empty] = message;
    io.number(empty);
}

template <class Io, Like<api::ListReply> T>
void fields(Io& io, T& message) {
    auto& [names, more] = message;
    io.long_text(names);
    io.number(more);
}

template <class Io, Like<api::ChangeMemberReply> T>
void fields(Io& io, T& message) {
    auto& [changed, index] = message;
    io.number(changed);
    io.number(index);
}

template <class Io, Like<api::NodeView> T>
void fields(Io& io, T& message) {
    auto& [node, up, shards, incarnation, address, client] = message;
    io.number(node);
    io.number(up);
    io.number(shards);
    io.number(incarnation);
    io.slice(address);
    io.slice(client);
}

template <class Io, Like<api::InspectReply> T>
void fields(Io& io, T& message) {
    auto& [groups, nodes, streams, content_type] = message;
    io.list(groups);
    auto count = static_cast<std::uint32_t>(nodes.size());
    io.number(count);
    if constexpr (!std::is_const_v<T>) {
        nodes.resize(count);
    }
    for (auto& node : nodes) {
        fields(io, node);
    }
    io.list(streams);
    io.slice(content_type);
}

template <class Io, Like<api::TransferReply> T>
void fields(Io& io, T& message) {
    auto& [kind, leader, term] = message;
    io.number(kind);
    io.number(leader);
    io.number(term);
}

// As bulk: it may be long.
template <class Io, Like<api::SubscriptionReply> T>
void fields(Io& io, T& message) {
    auto& [body] = message;
    std::vector<Slice> pieces;
    if constexpr (std::is_const_v<T>) {
        pieces.push_back(body);
    }
    io.pieces(pieces);
    if constexpr (!std::is_const_v<T>) {
        body = pieces.empty() ? Slice() : pieces.front();
    }
}

// --- envelopes: who, which alternative, its fields ---

using AlternativeIndex = std::uint8_t;

template <class Io, class Alternatives>
void alternative(Io& io, const Alternatives& chosen) {
    io.number(static_cast<AlternativeIndex>(chosen.index()));
    std::visit([&io](const auto& message) { fields(io, message); }, chosen);
}

template <class Alternatives>
void alternative(Reader& io, Alternatives& chosen) {
    AlternativeIndex index = 0;
    io.number(index);
    const bool found = [&]<std::size_t... i>(std::index_sequence<i...>) {
        return ((i == index ? (fields(io, chosen.template emplace<i>()), true) : false) || ...);
    }
    (std::make_index_sequence<std::variant_size_v<Alternatives>>());
    VERIFY(found);
}

template <class Io, Like<api::Call> T>
void fields(Io& io, T& message) {
    auto& [id, from, verb, redirect] = message;
    io.number(id);
    io.number(from);
    io.number(redirect);
    alternative(io, verb);
}

template <class Io, Like<api::Reply> T>
void fields(Io& io, T& message) {
    auto& [id, to, answer] = message;
    io.number(id);
    io.number(to);
    alternative(io, answer);
}

template <class Message>
bool push(Mailbox& mailbox, MailKind kind, const Message& message) {
    Sizer sizer;
    fields(sizer, message);
    std::byte* const out = mailbox.reserve(sizer.size);
    if (out == nullptr) {
        return false;
    }
    base::Block* const large =
        sizer.large_size == 0 ? nullptr : base::Block::make(sizer.large_size);
    Writer writer{.out = out, .large = large == nullptr ? nullptr : large->data()};
    fields(writer, message);
    DVERIFY(writer.out == out + sizer.size);
    mailbox.publish(static_cast<std::uint16_t>(kind), large);
    return true;
}

}  // namespace

bool push_call(Mailbox& mailbox, const api::Call& call) {
    return push(mailbox, MailKind::call, call);
}

bool push_reply(Mailbox& mailbox, const api::Reply& reply) {
    return push(mailbox, MailKind::reply, reply);
}

api::Call decode_call(const MailRecord& record) {
    VERIFY(kind_of(record) == MailKind::call);
    api::Call call;
    Reader reader(record);
    fields(reader, call);
    return call;
}

api::Reply decode_reply(const MailRecord& record) {
    VERIFY(kind_of(record) == MailKind::reply);
    api::Reply reply;
    Reader reader(record);
    fields(reader, reply);
    return reply;
}

}  // namespace ursula::shard
