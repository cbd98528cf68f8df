// Calls that change something: call -> command -> entry of its group -> log.
#include <algorithm>

#include "api/content_type.h"
#include "api/placement.h"
#include "base/limits.h"
#include "shard/entry_body.h"
#include "shard/planted.h"
#include "shard/shard.h"
#include "shard/shard_subscriptions.h"
#include "stream/json.h"

namespace ursula::shard {

namespace limits = base::limits;

void Shard::fill_payload(stream::Command& command, std::string_view content_type, base::Bytes body,
                         bool creating) {
    command.has_body = !body.empty();
    if (body.empty()) {
        return;
    }
    if (!api::is_json(content_type)) {
        command.payload.bytes = body;
        return;
    }
    const stream::JsonBody json = stream::split_json(body);
    if (json.error != stream::JsonError::none && !planted(Planted::json_unjudged)) {
        command.verdict = json.error == stream::JsonError::too_deep ? stream::Verdict::json_too_deep
                                                                    : stream::Verdict::json_invalid;
        return;
    }
    if (json.count == 0) {
        // A stream may be created with []; an append of nothing is refused.
        command.verdict = creating ? stream::Verdict::ok : stream::Verdict::json_empty_array;
        command.has_body = !creating;
        return;
    }
    command.payload = {json.elements, json.count, true};
}

void Shard::take(const api::Call& call) {
    if (!has_peers() || !pass_on(call)) {
        take_here(call);
    }
}

void Shard::take_here(const api::Call& call, Early early) {
    if (const auto* append = std::get_if<api::AppendCall>(&call.verb)) {
        stream::Command command;
        command.kind = stream::CommandKind::append;
        command.close = append->close;
        command.has_content_type = append->has_content_type;
        command.content_type = append->content_type;
        command.producer = append->producer;
        command.stream_seq = append->stream_seq;
        fill_payload(command, append->content_type, append->body, false);
        take_write(call, append->key, std::move(command), command.has_body, early);
    } else if (const auto* create = std::get_if<api::CreateCall>(&call.verb)) {
        stream::Command command;
        command.kind = stream::CommandKind::create_stream;
        command.close = create->closed;
        command.has_content_type = true;
        command.content_type = create->content_type;
        command.number = create->bucket_id;
        command.expiry = create->expiry;
        fill_payload(command, create->content_type, create->body, true);
        take_write(call, create->key, std::move(command), true, early);
    } else if (const auto* remove = std::get_if<api::RemoveCall>(&call.verb)) {
        stream::Command command;
        command.kind = stream::CommandKind::remove_stream;
        take_write(call, remove->key, std::move(command), false, early);
    } else if (const auto* touch = std::get_if<api::TouchCall>(&call.verb)) {
        stream::Command command;
        command.kind = stream::CommandKind::touch_stream;
        command.number = touch->created.value;
        command.ordinal = touch->ordinal;
        take_write(call, touch->key, std::move(command), false, early);
    } else if (const auto* head = std::get_if<api::HeadCall>(&call.verb)) {
        take_read(call, head->key);
    } else if (const auto* read = std::get_if<api::ReadCall>(&call.verb)) {
        if (read->use == api::ReadCall::Use::inherit) {
            take_inherit(call, *read);
        } else {
            take_read(call, read->key);
        }
    } else if (const auto* fork = std::get_if<api::ForkCall>(&call.verb)) {
        take_fork(call, *fork, early);
    } else if (const auto* hold = std::get_if<api::HoldCall>(&call.verb)) {
        stream::ForkPart& part = own_forks_.emplace_back();
        part.link = hold->id;
        part.source = {hold->key.group, hold->created, hold->ordinal};
        part.point = hold->point;
        stream::Command command;
        command.kind = stream::CommandKind::hold_stream;
        command.fork = &part;
        take_write(call, hold->key, std::move(command), false, early);
    } else if (const auto* release = std::get_if<api::ReleaseCall>(&call.verb)) {
        stream::ForkPart& part = own_forks_.emplace_back();
        part.link = release->id;
        stream::Command command;
        command.kind = stream::CommandKind::release_hold;
        command.fork = &part;
        take_write(call, release->key, std::move(command), false, Early::never);
    } else if (const auto* watch = std::get_if<api::WatchCall>(&call.verb)) {
        take_read(call, watch->key);
    } else if (const auto* gone = std::get_if<api::UnwatchCall>(&call.verb)) {
        unwatch(*gone, call.from);
    } else if (const auto* make = std::get_if<api::CreateBucketCall>(&call.verb)) {
        stream::Command command;
        command.kind = stream::CommandKind::create_bucket;
        take_write(call, {make->bucket, 0, base::GroupId(0)}, std::move(command), true);
    } else if (const auto* drop = std::get_if<api::RemoveBucketCall>(&call.verb)) {
        take_removal(call, drop->bucket);
    } else if (const auto* resolve = std::get_if<api::ResolveBucketCall>(&call.verb)) {
        take_read(call, {resolve->bucket, 0, base::GroupId(0)});
    } else if (std::holds_alternative<api::ListBucketsCall>(call.verb)) {
        list_buckets(call);
    } else if (const auto* list = std::get_if<api::ListStreamsCall>(&call.verb)) {
        take_listing(call, *list);
    } else if (const auto* seal = std::get_if<api::SealBucketCall>(&call.verb)) {
        stream::Command command;
        command.kind =
            seal->seal ? stream::CommandKind::seal_bucket : stream::CommandKind::unseal_bucket;
        command.number = seal->bucket_id;
        command.round = seal->round;
        take_write(call, {seal->bucket, 0, seal->group}, std::move(command), false);
    } else if (const auto* change = std::get_if<api::ChangeMemberCall>(&call.verb)) {
        take_change(call, *change);
    } else if (const auto* look = std::get_if<api::InspectCall>(&call.verb)) {
        inspect(call, *look);
    } else if (const auto* hand_over = std::get_if<api::TransferCall>(&call.verb)) {
        transfer(call, *hand_over);
    } else if (const auto* asked = std::get_if<api::SubscriptionCall>(&call.verb)) {
        if (asked->op == api::SubscriptionOp::marks) {
            take_listing(call, {});
        } else if (api::is_read(asked->op)) {
            take_read(call, {asked->name, 0, asked->group});
        } else {
            subscribing_->take(call, *asked);
        }
    }
}

void Shard::take_write(const api::Call& call, const api::StreamKey& key, stream::Command&& command,
                       bool adds_bytes, Early early) {
    Replica& replica = this->replica(key.group);
    command.name = key.name;
    command.name_hash = key.hash;
    // Duplicates and refusals come before admission (DESIGN "Writes"). An append that can only be
    // accepted is not asked about.
    if (early != Early::never && !replica.touched.touched(key.hash) &&
        !plainly_acceptable(replica, command) && answer_early(replica, call, command, early)) {
        return;
    }
    Ticket ticket;
    ticket.call = call.id;
    ticket.from = call.from;
    ticket.name_hash = key.hash;
    if (!admits(call, command.stored_size(), adds_bytes, ticket)) {
        return;
    }
    if (early == Early::ask && early_calls_ != 0 && early_names_.touched(key.hash)) {
        submit_early(replica, key.hash);
    }
    submit(replica, command, ticket);
}

// An append without producer and Stream-Seq to an open stream of the same content type.
bool Shard::plainly_acceptable(const Replica& replica, const stream::Command& command) {
    if (command.kind != stream::CommandKind::append || command.producer.present ||
        !command.stream_seq.empty() || command.verdict != stream::Verdict::ok ||
        !command.has_body) {
        return false;
    }
    const stream::Stream* stream = replica.machine.find(command.name, command.name_hash);
    return stream != nullptr && !stream->closed() && !stream->gone() &&
           stream->content_type() == command.content_type;
}

// A duplicate touches its stream, and what the log has behind its deadline finds it gone.
bool Shard::needs_entry(const Replica& replica, const stream::Outcome& outcome) const {
    const stream::Expiry* expiry = outcome.stream == nullptr ? nullptr : outcome.stream->expiry();
    return expiry != nullptr &&
           (outcome.did == stream::Did::duplicate || expiry->deadline_ms() <= group_clock(replica));
}

bool Shard::admits(const api::Call& call, std::uint64_t bytes, bool adds_bytes, Ticket& ticket) {
    if (adds_bytes && wal_->state() == storage::Wal::State::full) {
        ++counters_.refused_disk_full;
        reply(call.from, call.id, api::Refused{api::Refusal::disk_full});
        return false;
    }
    if (wal_->staged_bytes() >= limits::wal_staged_bytes_max) {
        ++counters_.refused_overloaded;
        reply(call.from, call.id, api::Refused{api::Refusal::overloaded});
        return false;
    }
    if (bytes > 0 && !local_.hot.evicts()) {
        if (!local_.hot.reserve(bytes)) {
            ++counters_.refused_memory_full;
            reply(call.from, call.id, api::Refused{api::Refusal::memory_full});
            return false;
        }
        ticket.reserved_bytes = bytes;
    }
    return true;
}

void Shard::submit(Replica& replica, const stream::Command& command, const Ticket& ticket) {
    replica.queued.push_back({command, ticket});
    replica.touched.add(ticket.name_hash);
    if (!replica.listed) {
        replica.listed = true;
        writing_.push_back(&replica);
    }
}

// One entry per group and turn (or a few, by size).
void Shard::write_entries() {
    for (std::size_t i = 0; i < writing_.size(); ++i) {
        Replica& replica = *writing_[i];
        replica.listed = false;
        std::span<QueuedCommand> left(replica.queued);
        while (!left.empty()) {
            std::size_t bytes = commit_hint_bytes + stream::entry_header_bytes;
            std::size_t count = 0;
            while (count < left.size()) {
                const std::size_t size = stream::encoded_size(left[count].command);
                if (count > 0 && bytes + size > limits::entry_bytes_max) {
                    break;
                }
                bytes += size;
                ++count;
            }
            write_entry(replica, left.first(count), bytes);
            left = left.subspan(count);
        }
        replica.queued.clear();
    }
    writing_.clear();
}

void Shard::write_entry(Replica& replica, std::span<QueuedCommand> commands, std::size_t bytes) {
    replica.group.step(raft::Submit{raft::SubmitTicket(1), bytes}, now_, replica.effects);
    if (!replica.effects.refused_submits.empty()) {
        api::Refused refused{api::Refusal::overloaded};
        if (has_peers() &&
            replica.effects.refused_submits.front().why != raft::SubmitRefusal::uncommitted_full) {
            refused = {api::Refusal::not_leader};
            refused.numbers[0] = replica.group.leader().value;
        }
        replica.effects.refused_submits.clear();
        for (const QueuedCommand& queued : commands) {
            replica.touched.remove(queued.ticket.name_hash);
            local_.hot.unreserve(queued.ticket.reserved_bytes);
            ++counters_.refused_overloaded;
            reply(queued.ticket.from, queued.ticket.call, api::Refused(refused));
        }
        return;
    }
    VERIFY(replica.effects.entries_to_write.size() == 1);
    const base::EntryId id = replica.effects.entries_to_write.front().id;
    const base::MutableBytes body = wal_->stage_entry(
        replica.id(), id, static_cast<std::uint8_t>(raft::EntryKind::command), bytes);
    write_commit_hint(body, planted(Planted::hint_ahead) ? replica.group.log().last()
                                                         : replica.group.log().committed());
    std::size_t used = commit_hint_bytes + stream::entry_header_bytes;
    for (const QueuedCommand& queued : commands) {
        used += stream::encode(queued.command, body.subspan(used));
        replica.tickets.push(queued.ticket);
    }
    VERIFY(used == bytes);
    stream::encode_header({static_cast<std::uint32_t>(commands.size()), group_clock(replica)},
                          body.subspan(commit_hint_bytes));
    wal_->finish_entry();
    replica.entries.push({id, static_cast<std::uint32_t>(commands.size()), now_.mono});
    counters_.commands += commands.size();
    ++counters_.entries;
    carry_out(replica);
}

// A new leader's first entry (Raft thesis 6.4): no commands.
void Shard::write_noop(Replica& replica, const raft::EntryToWrite& entry) {
    const base::MutableBytes body =
        wal_->stage_entry(replica.id(), entry.id, static_cast<std::uint8_t>(raft::EntryKind::noop),
                          commit_hint_bytes);
    write_commit_hint(body, replica.group.log().committed());
    wal_->finish_entry();
}

}  // namespace ursula::shard
