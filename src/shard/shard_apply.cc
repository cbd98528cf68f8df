// Committed entries: into the machine, then answers to those who asked and posts to those who
// watch.
#include <algorithm>

#include "api/placement.h"
#include "base/crc32c.h"
#include "base/limits.h"
#include "shard/entry_body.h"
#include "shard/planted.h"
#include "shard/shard.h"
#include "shard/shard_subscriptions.h"

namespace ursula::shard {

namespace limits = base::limits;

namespace {

// What a held entry carries. The group knows which ones set a membership.
raft::EntryKind kind_of(const raft::Group& group, base::LogIndex index, base::Bytes body) {
    if (body.size() == commit_hint_bytes) {
        return raft::EntryKind::noop;
    }
    const std::span<const raft::MembershipAt> all = group.memberships();
    const bool is_membership = std::any_of(all.begin(), all.end(), [index](const auto& membership) {
        return membership.index == index;
    });
    return is_membership ? raft::EntryKind::membership : raft::EntryKind::command;
}

}  // namespace

void Shard::apply_through(Replica& replica, base::LogIndex committed) {
    if (planted(Planted::applied_early)) {
        committed = std::max(committed, replica.group.log().persisted());
    }
    while (replica.machine.applied().index < committed) {
        const base::LogIndex index = replica.machine.applied().index.next();
        if (!replica.recovered.empty()) {
            const RecoveredEntries::View found = replica.recovered.pop_first();
            VERIFY(found.id.index == index);
            VERIFY(!has_peers() || replica.places.has(index));
            apply_entry(replica, found.id, found.kind, found.body, found.pieces, false);
            if (replica.recovered.empty()) {
                replica.recovered.clear();
            }
            continue;
        }
        const base::Term term = replica.group.log().term_at(index);
        const base::Bytes body = wal_->body(replica.id(), index);
        VERIFY(!body.empty());
        const raft::EntryKind kind = kind_of(replica.group, index, body);
        locations_.clear();
        if (disk_.keeps_data() && (kind == raft::EntryKind::command || has_peers())) {
            wal_->locate(replica.id(), index, 0, body.size(), locations_);
        }
        if (has_peers()) {
            replica.places.push(index, kind, body, locations_);
        }
        apply_entry(replica, {term, index}, kind, body, locations_, true);
        if (has_peers()) {
            keep_or_release(replica, index, body.size());
        } else {
            wal_->release(replica.id(), index);
        }
    }
    replica.group.step(raft::Applied{replica.machine.applied().index}, now_, replica.effects);
    if (!replica.effects.empty()) {
        carry_out(replica);
    }
    if (replica.id() == api::bucket_group && replica.group.is_leader() &&
        removals_resumed_ != replica.group.term()) {
        resume_removals();
    }
    if (replica.machine.subscriptions() != nullptr && subscribing_->is_new_leader(replica)) {
        subscribing_->note(replica);
    }
}

void Shard::apply_entry(Replica& replica, base::EntryId id, raft::EntryKind kind, base::Bytes body,
                        std::span<const storage::Location> pieces, bool held) {
    // Whoever asked for an entry that another one replaced does not learn its outcome here.
    while (!replica.entries.empty() && replica.entries.front().id.index <= id.index &&
           replica.entries.front().id != id &&
           !(planted(Planted::ticket_by_index) && replica.entries.front().id.index == id.index)) {
        forget_tickets(replica, replica.entries.front().commands, api::Refusal::outcome_unknown);
        replica.entries.pop();
    }
    const bool asked =
        !replica.entries.empty() &&
        (replica.entries.front().id == id ||
         (planted(Planted::ticket_by_index) && replica.entries.front().id.index == id.index));
    if (kind == raft::EntryKind::noop) {
        replica.machine.enter(id, 0);
        return;
    }
    if (kind == raft::EntryKind::membership) {
        replica.machine.enter(id, 0);
        apply_membership(replica, id.index, commands_of(body));
        return;
    }
    stream::EntryReader reader(commands_of(body));
    replica.machine.enter(id, reader.header().time_ms);
    stream::Command command;
    std::uint32_t ordinal = 0;
    if (planted(Planted::entry_skipped) && !asked && id.index.value % 100 == 99) {
        return;
    }
    for (; reader.next(command); ++ordinal) {
        Ticket ticket;
        if (planted(Planted::producer_forgotten) && !held) {
            command.producer = {};
        }
        if (asked) {
            ticket = replica.tickets.front();
            command.name_hash = ticket.name_hash;
            local_.hot.unreserve(ticket.reserved_bytes);
        } else {
            command.name_hash = replica.machine.hash_of(command.name);
        }
        const stream::Outcome outcome = replica.machine.apply(command, id, ordinal);
        if (outcome.grew()) {
            place_payload(command, pieces);
            replica.machine.keep(outcome, held ? command.stored : base::Bytes{}, places_);
            ++counters_.appends;
            counters_.appended_bytes += outcome.to - outcome.from;
        }
        note_change(outcome);
        if (outcome.stream != nullptr && outcome.stream->expiry() != nullptr) {
            note_life(replica, outcome, held);
        }
        if (held && outcome.stream != nullptr && replica.group.is_leader() &&
            outcome.stream->producers() > limits::producers_per_stream_max) {
            forget_producers(replica, outcome);
        }
        if (asked) {
            replica.tickets.pop();
            replica.touched.remove(ticket.name_hash);
            if (outcome.did == stream::Did::duplicate) {
                ++counters_.duplicates;
            }
            if (outcome.did == stream::Did::subscribed) [[unlikely]] {
                reply(ticket.from, ticket.call,
                      api::SubscriptionReply{
                          base::Slice::copy_of(replica.machine.subscriptions()->answer())});
            } else {
                reply(ticket.from, ticket.call, answer_of(outcome));
            }
        }
    }
    if (replica.machine.take_subscriptions_changed()) [[unlikely]] {
        subscribing_->note(replica);
    }
    // The body came through the log's checksums: one that does not decode is a bug or a newer
    // version's, and guessing would make replicas differ.
    VERIFY(reader.ok());
    if (replica.machine.take_links_changed()) [[unlikely]] {
        list_links(replica);
    }
    if (asked) {
        replica.entries.pop();
    }
}

// Where the command's stored bytes lie, from where the body's do. Without a disk the places only
// mark boundaries.
void Shard::place_payload(const stream::Command& command,
                          std::span<const storage::Location> pieces) {
    places_.clear();
    std::uint64_t from = commit_hint_bytes + command.stored_at;
    const std::uint64_t to = from + command.stored.size();
    if (pieces.empty()) {
        for (std::uint64_t at = 0; at < command.stored.size();) {
            const std::uint64_t size = std::min<std::uint64_t>(stream::Locations::piece_bytes_max,
                                                               command.stored.size() - at);
            places_.push_back({0, 0, static_cast<std::uint32_t>(size), 0});
            at += size;
        }
        return;
    }
    std::uint64_t piece_from = 0;
    for (const storage::Location& piece : pieces) {
        const std::uint64_t piece_to = piece_from + piece.size;
        const std::uint64_t begin = std::max(from, piece_from);
        const std::uint64_t end = std::min(to, piece_to);
        if (begin < end) {
            stream::Place place;
            place.segment = piece.segment.value;
            place.position = static_cast<std::uint32_t>(piece.position + (begin - piece_from));
            place.size = static_cast<std::uint32_t>(end - begin);
            place.crc =
                place.size == command.stored.size()
                    ? command.stored_crc
                    : base::crc32c(command.stored.subspan(
                          static_cast<std::size_t>(begin - commit_hint_bytes - command.stored_at),
                          place.size));
            places_.push_back(place);
        }
        piece_from = piece_to;
    }
}

// A stream keeps limits::producers_per_stream_max producers; the least recently used beyond that
// are forgotten by a command of the shard's own, a hundredth at a time, so that every replica
// forgets the same.
void Shard::forget_producers(Replica& replica, const stream::Outcome& outcome) {
    own_names_.emplace_back(outcome.stream->name());
    stream::Command command;
    command.kind = stream::CommandKind::forget_producers;
    command.name = own_names_.back();
    command.name_hash = replica.machine.hash_of(command.name);
    command.number = limits::producers_per_stream_max - limits::producers_per_stream_max / 100;
    Ticket ticket;
    ticket.from = internal;
    ticket.name_hash = command.name_hash;
    submit(replica, command, ticket);
}

void Shard::note_change(const stream::Outcome& outcome) {
    if (outcome.watch != 0) {
        tell_removed(outcome.watch);
    }
    if (!outcome.changed || outcome.stream == nullptr || outcome.stream->watch == 0) {
        return;
    }
    WatchList& list = watches_[outcome.stream->watch];
    if (!list.changed) {
        list.changed = true;
        changed_.push_back(outcome.stream->watch);
    }
}

void Shard::tell_removed(std::uint32_t watch) {
    WatchList& list = watches_[watch];
    for (const Watcher& watcher : list.watchers) {
        ++counters_.posts;
        api::Post post;
        post.removed = true;
        reply(watcher.to, watcher.call, std::move(post));
    }
    list.watchers.clear();
    list.stream = nullptr;
    if (!list.changed) {
        free_watches_.push_back(watch);
    }
}

// One post per watching loop and turn: bytes, tail and closed flag are one snapshot.
void Shard::send_posts() {
    for (const std::uint32_t number : changed_) {
        WatchList& list = watches_[number];
        list.changed = false;
        if (list.stream == nullptr) {
            free_watches_.push_back(number);
            continue;
        }
        const stream::Stream& stream = *list.stream;
        if (stream.tail() == list.posted && !stream.closed()) {
            continue;
        }
        api::Post post;
        post.from = list.posted;
        post.to = stream.tail();
        post.closed = stream.closed();
        if (post.to - post.from <= limits::tail_post_bytes_max && !stream.hot.empty() &&
            stream.hot.begin() <= post.from && post.to > post.from) {
            stream.hot.slices(post.from, post.to, post.pieces);
        }
        list.posted = post.to;
        for (std::size_t i = 0; i < list.watchers.size(); ++i) {
            ++counters_.posts;
            api::Post copy = i + 1 == list.watchers.size() ? std::move(post) : post;
            reply(list.watchers[i].to, list.watchers[i].call, std::move(copy));
        }
    }
    changed_.clear();
}

void Shard::forget_tickets(Replica& replica, std::size_t count, api::Refusal why) {
    for (std::size_t i = 0; i < count; ++i) {
        const Ticket ticket = replica.tickets.front();
        replica.tickets.pop();
        replica.touched.remove(ticket.name_hash);
        local_.hot.unreserve(ticket.reserved_bytes);
        reply(ticket.from, ticket.call, api::Refused{why});
    }
}

api::Answer Shard::answer_of(const stream::Outcome& outcome) {
    switch (outcome.did) {
        case stream::Did::refused: {
            api::Refused refused;
            refused.why = outcome.why;
            refused.tail = outcome.tail;
            refused.closed = outcome.closed;
            refused.numbers[0] = outcome.numbers[0];
            refused.numbers[1] = outcome.numbers[1];
            refused.producer_epoch = outcome.producer_epoch;
            return refused;
        }
        case stream::Did::created:
        case stream::Did::existed: {
            api::CreateReply created;
            created.created = outcome.did == stream::Did::created;
            created.closed = outcome.stream->closed();
            created.tail = outcome.stream->tail();
            created.content_type = outcome.stream->content_type_slice();
            return created;
        }
        case stream::Did::appended:
        case stream::Did::duplicate:
        case stream::Did::closed: {
            api::AppendReply append;
            append.kind = outcome.did == stream::Did::appended ? api::AppendReply::Kind::appended
                          : outcome.did == stream::Did::duplicate
                              ? api::AppendReply::Kind::duplicate
                              : api::AppendReply::Kind::closed;
            append.closed = outcome.closed;
            append.producer = outcome.producer;
            append.tail = outcome.tail;
            append.producer_epoch = outcome.producer_epoch;
            append.producer_seq = outcome.producer_seq;
            return append;
        }
        case stream::Did::removed:
        case stream::Did::kept:
        case stream::Did::forgotten:
            return api::RemoveReply{};
        case stream::Did::touched:
            return api::TouchReply{};
        case stream::Did::fork_begun:
            return api::ForkBegunReply{outcome.incarnation};
        case stream::Did::held: {
            api::HoldReply hold;
            const stream::ForkOrigin* origin = outcome.stream->origin();
            hold.point = outcome.fork_point;
            hold.depth = origin == nullptr ? 1 : origin->depth + 1;
            if (const stream::Expiry* expiry = outcome.stream->expiry()) {
                hold.expires = expiry->kind;
                hold.expires_ms = expiry->ms;
                hold.expires_at = base::Slice::copy_of(base::as_bytes(expiry->text));
            }
            return hold;
        }
        case stream::Did::released:
        case stream::Did::abandoned:
        case stream::Did::fork_forgotten:
            return api::RemoveReply{};
        case stream::Did::bucket_created:
        case stream::Did::bucket_existed:
        case stream::Did::bucket_closing:
        case stream::Did::bucket_removed:
        case stream::Did::bucket_reopened:
            return api::BucketReply{outcome.did == stream::Did::bucket_created, outcome.bucket_id};
        case stream::Did::sealed:
        case stream::Did::unsealed:
            return api::SealReply{outcome.empty};
        case stream::Did::subscribed:
            break;  // the machine has it
    }
    return api::Refused{api::Refusal::outcome_unknown};
}

}  // namespace ursula::shard
