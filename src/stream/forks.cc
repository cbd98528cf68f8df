// The machine's part in forks.
#include "stream/forks.h"

#include <algorithm>
#include <utility>

#include "api/content_type.h"
#include "base/limits.h"
#include "base/verify.h"
#include "stream/machine.h"
#include "stream/planted.h"

namespace ursula::stream {

namespace limits = base::limits;

using api::Refusal;

void LateHolds::add(const base::Incarnation& id, std::int64_t time_ms) {
    if (times_.emplace(id, time_ms).second) {
        by_time_.insert({time_ms, id});
    }
}

void LateHolds::forget(std::int64_t time_ms) {
    while (!by_time_.empty() && (by_time_.begin()->first <= time_ms - limits::late_holds_kept_ms ||
                                 by_time_.size() > limits::late_holds_max)) {
        times_.erase(by_time_.begin()->second);
        by_time_.erase(by_time_.begin());
    }
}

// --- deciding ---

// By what was asked for (digest 1.2); a later request need not say what it inherits, and may name
// what it got.
bool Machine::is_same_fork(const Stream& stream, const Command& command) const {
    const ForkOrigin* origin = stream.origin();
    if (origin == nullptr || command.fork == nullptr) {
        return false;
    }
    const ForkPart& fork = *command.fork;
    const api::ForkAsk& asked = fork.asked;
    const api::ForkAsk& first = origin->asked;
    const std::uint64_t anchor = first.has_offset ? first.offset : origin->point;
    const Expiry* expiry = stream.expiry();
    const bool same_expiry =
        (asked.expires == first.expires && asked.expires_ms == first.expires_ms) ||
        (expiry != nullptr && expiry->kind == asked.expires && expiry->ms == asked.expires_ms);
    return origin->source_name == fork.source_name &&
           (!asked.has_offset || asked.offset == anchor) && asked.sub_offset == first.sub_offset &&
           stream.closed() == command.close &&
           (!asked.has_content_type ||
            api::same_media_type(stream.content_type(), command.content_type)) &&
           same_expiry;
}

Outcome Machine::judge_begin_fork(const Command& command, Found& found) const {
    Outcome outcome;
    find_named(command, found, outcome);
    const auto refuse = [&outcome](Refusal why) {
        outcome.did = Did::refused;
        outcome.why = why;
        return outcome;
    };
    if (found.stream != nullptr) {
        outcome.stream = found.stream;
        outcome.incarnation = found.stream->incarnation(group_);
        outcome.tail = found.stream->tail();
        outcome.from = outcome.to = outcome.tail;
        outcome.closed = found.stream->closed();
        if (!is_same_fork(*found.stream, command)) {
            return refuse(Refusal::stream_exists_with_other_config);
        }
        outcome.did = Did::existed;
        return outcome;
    }
    if (found.gone != nullptr) {
        return refuse(Refusal::stream_held);
    }
    if (is_sealed(command.number)) {
        return refuse(Refusal::bucket_being_removed);
    }
    outcome.did = Did::fork_begun;
    outcome.changed = true;
    return outcome;
}

Outcome Machine::judge_hold(const Command& command, Found& found) const {
    Outcome outcome;
    find_named(command, found, outcome);
    const ForkPart& fork = *command.fork;
    const auto refuse = [&outcome](Refusal why) {
        outcome.did = Did::refused;
        outcome.why = why;
        return outcome;
    };
    if (late_holds_.has(fork.link)) {
        return refuse(Refusal::fork_abandoned);
    }
    if (found.stream == nullptr) {
        return refuse(found.gone != nullptr ? Refusal::fork_source_deleted
                                            : Refusal::fork_source_not_found);
    }
    const Stream& stream = *found.stream;
    if (stream.incarnation(group_) != fork.source) {
        return refuse(Refusal::fork_source_not_found);  // the one that was looked at is gone
    }
    const bool at_tail = fork.point == api::fork_at_tail;
    if (!at_tail && fork.point > stream.tail()) {
        return refuse(Refusal::fork_offset_invalid);
    }
    outcome.stream = found.stream;
    outcome.incarnation = fork.source;
    outcome.tail = stream.tail();
    outcome.from = outcome.to = outcome.tail;
    outcome.fork_point = at_tail ? stream.tail() : fork.point;
    if (!stream.held() || stream.extra()->holds()->count(fork.link) == 0) {
        if (stream.origin() != nullptr && stream.origin()->depth >= limits::fork_depth_max) {
            return refuse(Refusal::fork_too_deep);
        }
        if (stream.held() && stream.extra()->holds()->size() >= limits::forks_per_stream_max) {
            return refuse(Refusal::forks_too_many);
        }
        outcome.changed = true;
    }
    outcome.did = Did::held;
    return outcome;
}

// Whatever became of the source: it is there, in one way or another, while it is held.
Outcome Machine::judge_release(const Command& command, Found& found) const {
    Outcome outcome;
    const base::Incarnation& id = command.fork->link;
    found.name_hash = command.name_hash != 0 ? command.name_hash : hash_of(command.name);
    Stream* stream = find(command.name, found.name_hash);
    if (stream != nullptr && stream->held() && stream->extra()->holds()->count(id) != 0) {
        found.stream = stream;
    }
    outcome.did = Did::released;
    outcome.changed = found.stream != nullptr || !late_holds_.has(id);
    return outcome;
}

Outcome Machine::judge_link(const Command& command) const {
    Outcome outcome;
    const auto link = links_.find(command.fork->link);
    if (command.kind == CommandKind::abandon_fork) {
        outcome.did = Did::abandoned;
        outcome.changed = link != links_.end() && !link->second.releasing;
    } else {
        outcome.did = Did::fork_forgotten;
        outcome.changed = link != links_.end();
    }
    return outcome;
}

bool Machine::takes_link(const Command& command) const {
    const auto link = links_.find(command.fork->link);
    return link != links_.end() && !link->second.releasing;
}

// --- applying ---

// The intent of a create: its stream has it, or nobody will.
void Machine::take_link(const Command& command, const Outcome& outcome) {
    const auto link = links_.find(command.fork->link);
    if (link == links_.end() || link->second.releasing) {
        return;
    }
    if (outcome.did == Did::created) {
        links_.erase(link);
    } else {
        link->second.releasing = true;
        links_changed_ = true;
    }
}

void Machine::apply_fork(const Command& command, const Found& found, std::uint32_t ordinal,
                         Outcome& outcome) {
    const ForkPart& fork = *command.fork;
    if (outcome.did == Did::fork_begun) {
        outcome.incarnation = {group_, applied_.index, ordinal};
        links_.emplace(outcome.incarnation,
                       ForkLink{false, fork.source.group, std::string(fork.source_name)});
        links_changed_ = true;
    } else if (outcome.did == Did::held) {
        before_change(found.stream, false);
        StreamRare& rare = extra_of(found.stream).rare_part();
        if (rare.holds == nullptr) {
            rare.holds = std::make_unique<Holds>();
        }
        rare.holds->insert(fork.link);
    } else if (outcome.did == Did::released) {
        // Whether it was there or not: a deposed leader may have asked twice, and what it sent can
        // still be on its way.
        late_holds_.forget(time_ms_);
        late_holds_.add(fork.link, time_ms_);
        if (found.stream == nullptr) {
            return;
        }
        before_change(found.stream, false);
        StreamRare& rare = extra_of(found.stream).rare_part();
        rare.holds->erase(fork.link);
        if (rare.holds->empty()) {
            rare.holds.reset();
            if (found.stream->gone_) {
                remove(found.stream);
            }
        }
    } else if (outcome.did == Did::abandoned) {
        links_.find(fork.link)->second.releasing = true;
        links_changed_ = true;
    } else {
        VERIFY(outcome.did == Did::fork_forgotten);
        links_.erase(fork.link);
    }
}

void Machine::release_link(const ForkOrigin& origin) {
    links_.emplace(origin.link, ForkLink{true, origin.source.group, origin.source_name});
    links_changed_ = true;
}

void Machine::remove_or_retire(Stream* stream) {
    if (stream->held() && !planted(Planted::source_not_kept)) {
        retire(stream);
    } else {
        remove(stream);
    }
}

// Nobody but its forks has use for it any more, and they read nothing but bytes.
void Machine::retire(Stream* stream) {
    if (subscriptions_ != nullptr) {
        subscriptions_->note_gone(*stream);
    }
    before_change(stream, false);
    StreamExtra& extra = extra_of(stream);
    if (const Expiry* expiry = stream->expiry()) {
        due_.erase({expiry->due_ms, stream->created_, stream->created_ordinal_, stream});
        extra.expiry.reset();
        stream->expires_ = false;
    }
    extra.stream_seq.clear();
    extra.rare_part().closer.reset();
    extra.producers.forget(0);
    stream->watch = 0;
    stream->gone_ = true;
}

}  // namespace ursula::stream
