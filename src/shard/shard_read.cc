// Reads, watches and listings: answered from applied state, once the group confirmed that it is
// current.
#include <algorithm>
#include <utility>

#include "api/placement.h"
#include "base/limits.h"
#include "shard/planted.h"
#include "shard/shard.h"
#include "shard/shard_subscriptions.h"

namespace ursula::shard {

namespace limits = base::limits;

namespace {

const api::StreamKey* key_of(const api::Verb& verb) {
    if (const auto* head = std::get_if<api::HeadCall>(&verb)) {
        return &head->key;
    }
    if (const auto* read = std::get_if<api::ReadCall>(&verb)) {
        return &read->key;
    }
    if (const auto* watch = std::get_if<api::WatchCall>(&verb)) {
        return &watch->key;
    }
    return nullptr;
}

}  // namespace

// One ReadIndex per group and turn serves all its reads (DESIGN "Any node answers any request").
bool Shard::confirm_reads(Replica& replica) {
    if (replica.read_turn == turn_) {
        return replica.read_confirmed;
    }
    replica.read_turn = turn_;
    replica.read_context = raft::ReadContext(replica.read_context.value + 1);
    replica.group.step(raft::ReadIndex{replica.read_context}, now_, replica.effects);
    const auto& ready = replica.effects.reads_ready;
    replica.read_confirmed = ready && ready->context >= replica.read_context &&
                             ready->index <= replica.machine.applied().index;
    if (replica.read_confirmed) {
        replica.effects.reads_ready.reset();
    } else if (!replica.effects.empty()) {
        carry_out(replica);
    }
    return replica.read_confirmed;
}

void Shard::take_read(const api::Call& call, const api::StreamKey& key) {
    Replica& replica = this->replica(key.group);
    if (planted(Planted::reads_unconfirmed) || (!has_peers() && confirm_reads(replica))) {
        serve(replica, call.from, call.id, call.verb);
    } else {
        park(replica, call, key.name);
    }
}

void Shard::park(Replica& replica, const api::Call& call, std::string_view name,
                 std::shared_ptr<ParkedListing> listing) {
    ParkedRead parked;
    // Its own context: the one asked this turn may have been refused already.
    replica.read_context = raft::ReadContext(replica.read_context.value + 1);
    parked.context = replica.read_context;
    parked.call = call.id;
    parked.from = call.from;
    parked.name = name;
    parked.verb = call.verb;
    parked.since = now_.mono;
    parked.listing = std::move(listing);
    replica.parked.push_back(std::move(parked));
    replica.group.step(raft::ReadIndex{replica.read_context}, now_, replica.effects);
    carry_out(replica);
}

void Shard::serve_parked(Replica& replica) {
    for (std::size_t i = 0; i < replica.parked.size();) {
        if (!replica.parked[i].confirmed ||
            (replica.parked[i].index > replica.machine.applied().index &&
             !planted(Planted::reads_unapplied))) {
            ++i;
            continue;
        }
        ParkedRead parked = std::move(replica.parked[i]);
        replica.parked.erase(replica.parked.begin() + static_cast<std::ptrdiff_t>(i));
        if (parked.listing != nullptr) {
            ParkedListing& listing = *parked.listing;
            if (--listing.waiting == 0 && !listing.answered) {
                list_streams(listing);
            }
            continue;
        }
        set_name(parked.verb, parked.name);
        serve(replica, parked.from, parked.call, parked.verb);
    }
}

// What a read's views look at lies in `name` by now.
void Shard::set_name(api::Verb& verb, std::string_view name) {
    if (auto* head = std::get_if<api::HeadCall>(&verb)) {
        head->key.name = name;
    } else if (auto* read = std::get_if<api::ReadCall>(&verb)) {
        read->key.name = name;
    } else if (auto* watch = std::get_if<api::WatchCall>(&verb)) {
        watch->key.name = name;
    } else if (auto* resolve = std::get_if<api::ResolveBucketCall>(&verb)) {
        resolve->bucket = name;
    } else if (auto* look = std::get_if<api::InspectCall>(&verb)) {
        look->key.name = name;
    } else if (auto* asked = std::get_if<api::SubscriptionCall>(&verb)) {
        asked->name = name;
    }
}

// Those that found no leader for too long, or did not get applied what the leader had.
void Shard::end_reads(Replica& replica) {
    std::erase_if(replica.parked, [&](const ParkedRead& parked) {
        const std::int64_t longest =
            parked.confirmed ? limits::forward_timeout_ms : limits::leader_wait_ms;
        if (now_.mono - parked.since < base::milliseconds(longest)) {
            return false;
        }
        if (parked.listing == nullptr || !std::exchange(parked.listing->answered, true)) {
            reply(parked.from, parked.call, api::Refused{api::Refusal::no_leader});
        }
        return true;
    });
}

// `touched`: the read's touch is committed.
void Shard::serve(Replica& replica, base::ShardId from, api::CallId id, const api::Verb& verb,
                  bool touched) {
    if (const auto* resolve = std::get_if<api::ResolveBucketCall>(&verb)) {
        const stream::Bucket* bucket = replica.machine.find_bucket(resolve->bucket);
        if (bucket == nullptr) {
            reply(from, id, api::Refused{api::Refusal::bucket_not_found});
        } else if (bucket->closing) {
            reply(from, id, api::Refused{api::Refusal::bucket_being_removed});
        } else {
            reply(from, id, api::BucketReply{false, bucket->id});
        }
        return;
    }
    if (std::holds_alternative<api::ListBucketsCall>(verb)) {
        api::ListReply list;
        for (const auto& [name, bucket] : replica.machine.buckets()) {
            list.names += list.names.empty() ? "" : "\n";
            list.names += name;
        }
        reply(from, id, std::move(list));
        return;
    }
    if (const auto* look = std::get_if<api::InspectCall>(&verb)) {
        serve_stream_view(replica, from, id, *look, true);
        return;
    }
    if (const auto* asked = std::get_if<api::SubscriptionCall>(&verb)) {
        subscribing_->serve(replica, from, id, *asked);
        return;
    }
    const api::StreamKey* key = key_of(verb);
    VERIFY(key != nullptr);
    serve_stream(replica, from, id, verb, *key, touched);
}

void Shard::serve_stream(Replica& replica, base::ShardId from, api::CallId id,
                         const api::Verb& verb, const api::StreamKey& key, bool touched) {
    const auto* read = std::get_if<api::ReadCall>(&verb);
    if (read != nullptr && read->use == api::ReadCall::Use::inherit) [[unlikely]] {
        serve_inherit(replica, from, id, *read);
        return;
    }
    stream::Stream* stream = replica.machine.find(key.name, key.hash);
    if (stream == nullptr || stream->gone() || replica.machine.is_dead(*stream)) {
        reply(from, id,
              api::Refused{stream != nullptr && stream->held() ? api::Refusal::stream_deleted
                                                               : api::Refusal::stream_not_found});
        return;
    }
    const stream::Expiry* expiry = stream->expiry();
    if (expiry != nullptr && must_wait(replica, *stream, from, id, verb, touched)) {
        return;
    }
    if (read != nullptr) {
        serve_read(replica, *stream, from, id, *read);
        return;
    }
    if (std::holds_alternative<api::WatchCall>(verb)) {
        serve_watch(replica, *stream, from, id);
        return;
    }
    api::HeadReply head;
    head.incarnation = stream->incarnation(replica.id());
    head.closed = stream->closed();
    head.tail = stream->tail();
    head.content_type = stream->content_type_slice();
    if (expiry != nullptr) {
        head.expires = expiry->kind;
        head.ttl_ms = expiry->slides() ? expiry->ms : 0;
        head.expires_at = base::Slice::copy_of(base::as_bytes(expiry->text));
    }
    reply(from, id, std::move(head));
}

void Shard::serve_read(const Replica& replica, const stream::Stream& stream, base::ShardId from,
                       api::CallId id, const api::ReadCall& read) {
    const std::uint64_t offset = read.from_now ? stream.tail() : read.offset;
    if (offset < stream.own_from()) [[unlikely]] {
        gather(replica, stream, from, id, read);
        return;
    }
    stream::plan_read(stream, offset, read.bytes_max, plan_);
    api::ReadReply out;
    out.incarnation = stream.incarnation(replica.id());
    out.json = stream.json();
    out.closed = plan_.closed;
    out.up_to_date = plan_.up_to_date;
    out.from = plan_.from;
    out.next = plan_.next;
    out.content_type = stream.content_type_slice();
    if (read.use == api::ReadCall::Use::measure) [[unlikely]] {
        reply(from, id, std::move(out));
        return;
    }
    send_pieces(std::move(out), from, id);
}

// plan_'s pieces behind those of the answer, when the disk has given what it has of them.
void Shard::send_pieces(api::ReadReply&& out, base::ShardId from, api::CallId id) {
    if (plan_.disk_bytes == 0) {
        out.pieces.reserve(out.pieces.size() + plan_.pieces.size());
        for (stream::ReadPiece& piece : plan_.pieces) {
            out.pieces.push_back(std::move(piece.memory));
        }
        reply(from, id, std::move(out));
        return;
    }
    ++counters_.disk_reads;
    if (!disk_reads_.start(*wal_, plan_, api::Reply{id, from, std::move(out)})) {
        ++counters_.refused_overloaded;
        reply(from, id, api::Refused{api::Refusal::overloaded});
    }
}

void Shard::serve_watch(Replica& replica, stream::Stream& stream, base::ShardId from,
                        api::CallId id) {
    if (stream.watch == 0) {
        if (free_watches_.empty()) {
            free_watches_.push_back(static_cast<std::uint32_t>(watches_.size()));
            watches_.emplace_back();
        }
        stream.watch = free_watches_.back();
        free_watches_.pop_back();
        WatchList& list = watches_[stream.watch];
        list.stream = &stream;
        list.group = replica.id();
        list.posted = stream.tail();
        list.changed = false;
        keep_alive(stream.watch);
    }
    replica.tails_ended = false;
    WatchList& list = watches_[stream.watch];
    list.watchers.push_back({from, id});
    // Its posts begin where those of the earlier watchers go on; what this turn did to the stream,
    // its end included, is in this turn's post.
    api::WatchReply out;
    out.incarnation = stream.incarnation(replica.id());
    out.closed = stream.closed() && !list.changed;
    out.tail = list.posted;
    reply(from, id, out);
}

void Shard::unwatch(const api::UnwatchCall& gone, base::ShardId from) {
    Replica& replica = this->replica(gone.key.group);
    stream::Stream* stream = replica.machine.find(gone.key.name, gone.key.hash);
    forget_read(replica, stream, from, gone.watch);
    if (stream == nullptr || stream->watch == 0) {
        return;
    }
    WatchList& list = watches_[stream->watch];
    std::erase_if(list.watchers, [&](const Watcher& watcher) {
        return watcher.to == from && watcher.call == gone.watch;
    });
    if (!list.watchers.empty()) {
        return;
    }
    if (stream->expiry() != nullptr && stream->expiry()->slides()) {
        touch(replica, *stream);
    }
    list.stream = nullptr;
    if (!list.changed) {
        free_watches_.push_back(stream->watch);
    }
    stream->watch = 0;
}

// This node hears no leader of the group: what it has may be old by now, and whoever waits for more
// had better do so elsewhere (DESIGN "Any node answers any request").
void Shard::end_watches(const Replica& replica) {
    for (std::uint32_t number = 1; number < watches_.size(); ++number) {
        WatchList& list = watches_[number];
        if (list.stream == nullptr || list.group != replica.id()) {
            continue;
        }
        for (const Watcher& watcher : list.watchers) {
            ++counters_.posts;
            api::Post post;
            post.lost = true;
            reply(watcher.to, watcher.call, std::move(post));
        }
        list.watchers.clear();
        list.stream->watch = 0;
        list.stream = nullptr;
        if (!list.changed) {
            free_watches_.push_back(number);
        }
    }
}

// One ReadIndex of every group of the shard, answered when all of them are confirmed.
void Shard::take_listing(const api::Call& call, const api::ListStreamsCall& list) {
    auto listing = std::make_shared<ParkedListing>();
    listing->call = call.id;
    listing->from = call.from;
    if (const auto* asked = std::get_if<api::SubscriptionCall>(&call.verb)) {
        listing->marks = true;
        listing->prefix = asked->name;
    }
    listing->bucket = list.bucket;
    if (!listing->marks) {
        listing->prefix = list.prefix;
    }
    listing->after = list.after;
    listing->count_max = list.count_max;
    if (!has_peers()) {
        list_streams(*listing);
        return;
    }
    listing->waiting = replicas_.size();
    for (auto& replica : replicas_) {
        park(*replica, call, {}, listing);
    }
}

// Walks this shard's streams: a listing is for people and tools, not for a hot path. Names come
// without their bucket.
void Shard::list_streams(const ParkedListing& list) {
    if (list.marks) {
        subscribing_->serve_marks(list.from, list.call, list.prefix);
        return;
    }
    std::vector<std::string_view> names;
    for (const auto& replica : replicas_) {
        for (const stream::Stream* stream = replica->machine.first(); stream != nullptr;
             stream = stream->next()) {
            std::string_view name = stream->name();
            if (stream->bucket() != list.bucket || stream->gone() ||
                replica->machine.is_dead(*stream)) {
                continue;
            }
            name.remove_prefix(list.bucket.size() + 1);
            if (name.starts_with(list.prefix) && (list.after.empty() || name > list.after)) {
                names.push_back(name);
            }
        }
    }
    std::sort(names.begin(), names.end());
    api::ListReply out;
    for (std::size_t i = 0; i < names.size(); ++i) {
        if (i == list.count_max) {
            out.more = true;
            break;
        }
        out.names += i == 0 ? "" : "\n";
        out.names += names[i];
    }
    reply(list.from, list.call, std::move(out));
}

void Shard::list_buckets(const api::Call& call) {
    Replica& replica = this->replica(api::bucket_group);
    if (!has_peers() && confirm_reads(replica)) {
        serve(replica, call.from, call.id, call.verb);
    } else {
        park(replica, call, {});
    }
}

}  // namespace ursula::shard
