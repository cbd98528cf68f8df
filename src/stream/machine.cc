#include "stream/machine.h"

#include <algorithm>
#include <utility>

#include "api/content_type.h"
#include "base/verify.h"
#include "stream/image.h"
#include "stream/planted.h"

namespace ursula::stream {

namespace {

using api::Refusal;

std::uint32_t table_hash(std::uint64_t keyed) {
    return static_cast<std::uint32_t>(keyed);
}

std::uint32_t bucket_hash(std::uint64_t id) {
    return static_cast<std::uint32_t>((id * 0x9e3779b97f4a7c15u) >> 32);
}

void refuse(Outcome& outcome, Refusal why) {
    outcome.did = Did::refused;
    outcome.why = why;
}

// What the leader's verdict on a JSON body means here; none when the body may be stored.
Refusal json_refusal(Verdict verdict) {
    switch (verdict) {
        case Verdict::ok:
            return Refusal::none;
        case Verdict::json_invalid:
            return Refusal::json_invalid;
        case Verdict::json_empty_array:
            return Refusal::json_empty_array;
        case Verdict::json_too_deep:
            return Refusal::json_too_deep;
    }
    VERIFY(false);
}

bool same_expiry(const Expiry* has, const api::Expiry& given) {
    return has == nullptr ? given.kind == api::Expiry::Kind::none
                          : has->kind == given.kind && has->ms == given.ms;
}

// Of a hold in its tree.
constexpr std::size_t hold_bytes = sizeof(base::Incarnation) + 4 * sizeof(void*);

// The stream's side of an answer, as it is before the command.
void describe(Outcome& outcome, Stream* stream, base::GroupId group) {
    outcome.stream = stream;
    outcome.incarnation = stream->incarnation(group);
    outcome.tail = stream->tail();
    outcome.from = stream->tail();
    outcome.to = stream->tail();
}

}  // namespace

Machine::Machine(base::GroupId group, base::HashKey key, Local& local)
    : group_(group), key_(key), local_(local) {}

Machine::~Machine() {
    VERIFY(image_ == nullptr);
    while (shrink(SIZE_MAX)) {
    }
}

bool Machine::shrink(std::size_t streams) {
    for (; first_ != nullptr && streams > 0; --streams) {
        first_->locations.take_from(local_.segments);
        first_->hot.clear(local_.hot);
        free_stream(first_);
    }
    return first_ != nullptr;
}

void Machine::swap(Machine& other) {
    VERIFY(group_ == other.group_ && &local_ == &other.local_);
    VERIFY(image_ == nullptr && other.image_ == nullptr);
    std::swap(applied_, other.applied_);
    std::swap(time_ms_, other.time_ms_);
    table_.swap(other.table_);
    std::swap(first_, other.first_);
    std::swap(last_, other.last_);
    due_.swap(other.due_);
    content_types_.swap(other.content_types_);
    bucket_uses_.swap(other.bucket_uses_);
    buckets_.swap(other.buckets_);
    std::swap(next_bucket_id_, other.next_bucket_id_);
    sealed_.swap(other.sealed_);
    std::swap(seal_round_, other.seal_round_);
    links_.swap(other.links_);
    late_holds_.swap(other.late_holds_);
    links_changed_ = true;
    std::swap(membership_index_, other.membership_index_);
    membership_.swap(other.membership_);
    subscriptions_.swap(other.subscriptions_);
}

void Machine::enter(base::EntryId id, std::int64_t time_ms) {
    VERIFY(id.index > applied_.index && id.term >= applied_.term);
    applied_ = id;
    time_ms_ = std::max(time_ms_, time_ms);
}

void Machine::set_membership(base::Bytes membership) {
    VERIFY(!membership.empty() && membership.size() <= membership_bytes_max);
    membership_index_ = applied_.index;
    membership_.assign(membership.begin(), membership.end());
}

Stream* Machine::find(std::string_view name, std::uint64_t hash) const {
    return table_.find(table_hash(hash),
                       [name](const Stream& stream) { return stream.name() == name; });
}

const Bucket* Machine::find_bucket(std::string_view name) const {
    const auto found = buckets_.find(name);
    return found == buckets_.end() ? nullptr : &found->second;
}

std::uint64_t Machine::streams_of_bucket(std::uint64_t bucket_id) const {
    const BucketUse* use = bucket_uses_.find(
        bucket_hash(bucket_id), [bucket_id](const BucketUse& u) { return u.id == bucket_id; });
    return use == nullptr ? 0 : use->streams;
}

bool Machine::is_sealed(std::uint64_t bucket_id) const {
    const auto beyond =
        std::upper_bound(sealed_.begin(), sealed_.end(), bucket_id,
                         [](std::uint64_t id, const Sealed& range) { return id < range.first; });
    return beyond != sealed_.begin() && (beyond - 1)->last >= bucket_id;
}

// --- deciding ---

Outcome Machine::decide(const Command& command) const {
    Found found;
    return judge(command, found);
}

Outcome Machine::judge(const Command& command, Found& found) const {
    switch (command.kind) {
        case CommandKind::append:
            return judge_append(command, found);
        case CommandKind::create_stream:
            return judge_create(command, found);
        case CommandKind::remove_stream:
        case CommandKind::forget_producers:
        case CommandKind::expire_stream:
        case CommandKind::touch_stream:
            return judge_named(command, found);
        case CommandKind::create_bucket:
        case CommandKind::begin_remove_bucket:
        case CommandKind::finish_remove_bucket:
        case CommandKind::reopen_bucket:
        case CommandKind::seal_bucket:
        case CommandKind::unseal_bucket:
            return judge_bucket(command);
        case CommandKind::begin_fork:
            return judge_begin_fork(command, found);
        case CommandKind::hold_stream:
            return judge_hold(command, found);
        case CommandKind::release_hold:
            return judge_release(command, found);
        case CommandKind::abandon_fork:
        case CommandKind::forget_fork:
            return judge_link(command);
        case CommandKind::subscription: {
            Outcome outcome;
            outcome.did = Did::subscribed;
            outcome.changed = true;
            return outcome;
        }
    }
    VERIFY(false);
}

inline void Machine::find(const Command& command, Found& found, Outcome& outcome) const {
    found.name_hash = command.name_hash != 0 ? command.name_hash : hash_of(command.name);
    found.stream = find(command.name, found.name_hash);
    if (found.stream != nullptr && (found.stream->expires_ || found.stream->gone_)) [[unlikely]] {
        look_at_life(found, outcome);
    }
}

void Machine::find_named(const Command& command, Found& found, Outcome& outcome) const {
    find(command, found, outcome);
}

// A dead one is as absent as one that never was, but for what is left of it, and for its forks.
void Machine::look_at_life(Found& found, Outcome& outcome) const {
    if (found.stream->gone_) {
        found.gone = std::exchange(found.stream, nullptr);
        return;
    }
    found.expires = true;
    if (is_dead(*found.stream)) {
        found.dead = std::exchange(found.stream, nullptr);
        found.gone = found.dead->held() ? found.dead : nullptr;
        outcome.watch = found.dead->watch;
        outcome.changed = true;
    }
}

Outcome Machine::judge_named(const Command& command, Found& found) const {
    Outcome outcome;
    find(command, found, outcome);
    const bool of_a_life =
        command.kind == CommandKind::expire_stream || command.kind == CommandKind::touch_stream;
    Stream* stream = found.stream != nullptr ? found.stream : found.dead;
    const bool is_it =
        stream != nullptr && (!of_a_life || (stream->created_.value == command.number &&
                                             stream->created_ordinal_ == command.ordinal));
    if (command.kind == CommandKind::expire_stream && is_it && found.dead != nullptr &&
        stream->expiry()->touched_ms == command.expiry.ms) {
        describe(outcome, stream, group_);
        outcome.did = Did::removed;
        outcome.stream = nullptr;
        return outcome;
    }
    if (!is_it || found.stream == nullptr) {
        refuse(outcome, found.gone != nullptr && !of_a_life ? Refusal::stream_deleted
                                                            : Refusal::stream_not_found);
        return outcome;
    }
    describe(outcome, stream, group_);
    if (command.kind == CommandKind::remove_stream) {
        outcome.did = Did::removed;
        outcome.changed = true;
        outcome.watch = stream->watch;
        outcome.stream = nullptr;
    } else if (command.kind == CommandKind::forget_producers) {
        outcome.did = Did::forgotten;
        outcome.changed = stream->producers() > command.number;
    } else {
        outcome.did = command.kind == CommandKind::touch_stream ? Did::touched : Did::kept;
    }
    return outcome;
}

Outcome Machine::judge_create(const Command& command, Found& found) const {
    Outcome outcome;
    if (command.fork != nullptr && !takes_link(command)) {
        refuse(outcome, Refusal::fork_abandoned);
        return outcome;
    }
    find(command, found, outcome);
    if (found.stream != nullptr) {
        describe(outcome, found.stream, group_);
        outcome.closed = found.stream->closed();
        if (command.fork != nullptr || found.stream->forked_
                ? is_same_fork(*found.stream, command)
                : api::same_media_type(found.stream->content_type(), command.content_type) &&
                      found.stream->closed() == command.close &&
                      same_expiry(found.stream->expiry(), command.expiry)) {
            outcome.did = Did::existed;
        } else {
            refuse(outcome, Refusal::stream_exists_with_other_config);
        }
        return outcome;
    }
    if (found.gone != nullptr) {
        refuse(outcome, Refusal::stream_held);
        return outcome;
    }
    if (is_sealed(command.number)) {
        refuse(outcome, Refusal::bucket_being_removed);
        return outcome;
    }
    // [] creates an empty JSON stream.
    const Refusal why = json_refusal(command.verdict);
    if (why != Refusal::none && why != Refusal::json_empty_array) {
        refuse(outcome, why);
        return outcome;
    }
    outcome.did = Did::created;
    outcome.changed = true;
    outcome.closed = command.close;
    outcome.from = command.fork == nullptr ? 0 : command.fork->point;
    outcome.to = outcome.from + (why == Refusal::none ? command.stored_size() : 0);
    outcome.tail = outcome.to;
    return outcome;
}

// The precedence of protocol digest 1.3, from "404" on; what comes before it needs no state and is
// HTTP's.
Outcome Machine::judge_append(const Command& command, Found& found) const {
    Outcome outcome;
    find(command, found, outcome);
    if (found.stream == nullptr) {
        refuse(outcome,
               found.gone != nullptr ? Refusal::stream_deleted : Refusal::stream_not_found);
        return outcome;
    }
    const Stream& stream = *found.stream;
    describe(outcome, found.stream, group_);
    if (!command.has_body) {
        if (!command.close) {
            refuse(outcome, Refusal::empty_append);
            return outcome;
        }
    } else if (!command.has_content_type) {
        refuse(outcome, Refusal::content_type_missing);
        return outcome;
    }
    if (stream.closed() && !(planted(Planted::closed_after_type) && command.has_body &&
                             !api::same_media_type(stream.content_type(), command.content_type))) {
        outcome.closed = true;
        const ClosingProducer* closer =
            stream.extra() == nullptr ? nullptr : stream.extra()->closer();
        if (command.producer.present) {
            if (closer != nullptr && closer->epoch == command.producer.epoch &&
                closer->seq == command.producer.seq && closer->id == command.producer.id) {
                outcome.did = Did::duplicate;
                outcome.producer = true;
                outcome.producer_epoch = closer->epoch;
                outcome.producer_seq = closer->seq;
                return outcome;
            }
            outcome.numbers[0] = command.producer.seq;
            outcome.numbers[1] = 1;
        } else if (!command.has_body) {
            outcome.did = Did::closed;
            return outcome;
        }
        refuse(outcome, Refusal::stream_closed);
        return outcome;
    }
    if (command.has_body && !api::same_media_type(stream.content_type(), command.content_type)) {
        refuse(outcome, Refusal::content_type_mismatch);
        return outcome;
    }
    if (command.producer.present && !judge_producer(command, found, outcome)) {
        return outcome;
    }
    if (!command.stream_seq.empty() && stream.extra() != nullptr &&
        (planted(Planted::seq_may_repeat) ? command.stream_seq < stream.extra()->stream_seq
                                          : command.stream_seq <= stream.extra()->stream_seq)) {
        refuse(outcome, Refusal::stream_seq_not_increasing);
        return outcome;
    }
    if (command.has_body) {
        const Refusal why = json_refusal(command.verdict);
        if (why != Refusal::none) {
            refuse(outcome, why);
            return outcome;
        }
        outcome.did = Did::appended;
        outcome.to = stream.tail() + command.stored_size();
        outcome.tail = outcome.to;
    } else {
        outcome.did = Did::closed;
    }
    outcome.changed = true;
    outcome.closed = command.close;
    if (command.producer.present) {
        outcome.producer = true;
        outcome.producer_epoch = command.producer.epoch;
        outcome.producer_seq = command.producer.seq;
    }
    return outcome;
}

// True: new data by this producer. False: the outcome is decided.
bool Machine::judge_producer(const Command& command, Found& found, Outcome& outcome) const {
    const api::Producer& given = command.producer;
    found.producer_hash = hash_of(given.id);
    const StreamExtra* extra = found.stream->extra();
    found.producer =
        extra == nullptr ? nullptr : extra->producers.find(found.producer_hash, given.id);
    std::uint64_t expected = 0;
    if (found.producer != nullptr) {
        const ProducerState& state = *found.producer;
        outcome.producer_epoch = state.epoch;
        outcome.producer_seq = state.seq;
        if (given.epoch < state.epoch) {
            refuse(outcome, Refusal::producer_epoch_stale);
            outcome.numbers[0] = state.epoch;
            return false;
        }
        if (given.epoch > state.epoch) {
            if (given.seq != 0) {
                refuse(outcome, Refusal::producer_epoch_must_start_at_zero);
                return false;
            }
            return true;
        }
        if (given.seq <= state.seq) {
            outcome.did = Did::duplicate;
            outcome.producer = true;
            return false;
        }
        expected = state.seq + 1;
    }
    if (given.seq != expected && !planted(Planted::gap_accepted)) {
        refuse(outcome, Refusal::producer_gap);
        outcome.numbers[0] = expected;
        outcome.numbers[1] = given.seq;
        return false;
    }
    return true;
}

// Each of these may be committed again after a crash between its steps: what is done already is
// said to be done.
Outcome Machine::judge_bucket(const Command& command) const {
    Outcome outcome;
    if (command.kind == CommandKind::seal_bucket || command.kind == CommandKind::unseal_bucket) {
        if (command.number == 0) {
            refuse(outcome, Refusal::bucket_not_found);  // the built-in namespace is never sealed
            return outcome;
        }
        if (command.round < seal_round_) {
            refuse(outcome, Refusal::bucket_being_removed);
            return outcome;
        }
        const bool seal = command.kind == CommandKind::seal_bucket;
        outcome.did = seal ? Did::sealed : Did::unsealed;
        outcome.bucket_id = command.number;
        outcome.empty = streams_of_bucket(command.number) == 0;
        outcome.changed = is_sealed(command.number) != seal || command.round > seal_round_;
        return outcome;
    }
    const Bucket* bucket = find_bucket(command.name);
    if (command.kind == CommandKind::create_bucket) {
        if (bucket == nullptr) {
            outcome.did = Did::bucket_created;
            outcome.bucket_id = next_bucket_id_;
            outcome.changed = true;
        } else if (bucket->closing) {
            refuse(outcome, Refusal::bucket_being_removed);
        } else {
            outcome.did = Did::bucket_existed;
            outcome.bucket_id = bucket->id;
        }
        return outcome;
    }
    if (bucket == nullptr || (command.number != 0 && bucket->id != command.number)) {
        refuse(outcome, Refusal::bucket_not_found);
        return outcome;
    }
    outcome.bucket_id = bucket->id;
    if (command.kind == CommandKind::begin_remove_bucket) {
        outcome.did = Did::bucket_closing;
        outcome.changed = !bucket->closing;
    } else if (command.kind == CommandKind::reopen_bucket) {
        outcome.did = Did::bucket_reopened;
        outcome.changed = bucket->closing;
    } else if (bucket->closing) {
        outcome.did = Did::bucket_removed;
        outcome.changed = true;
    } else {
        // Not closing: somebody reopened it meanwhile; it may have streams again.
        refuse(outcome, Refusal::bucket_not_empty);
    }
    return outcome;
}

// --- applying ---

Outcome Machine::apply(const Command& command, base::EntryId id, std::uint32_t ordinal) {
    VERIFY(id == applied_);
    Found found;
    Outcome outcome = judge(command, found);
    if (command.fork != nullptr && command.kind == CommandKind::create_stream) [[unlikely]] {
        take_link(command, outcome);
    }
    if (found.expires && !settle_life(found, outcome)) [[unlikely]] {
        return outcome;
    }
    if (!outcome.changed) {
        return outcome;
    }
    switch (outcome.did) {
        case Did::appended:
        case Did::closed:
            append(command, found, outcome);
            break;
        case Did::created:
            create(command, found, ordinal, outcome);
            break;
        case Did::removed:
            remove_or_retire(found.stream);
            break;
        case Did::fork_begun:
        case Did::held:
        case Did::released:
        case Did::abandoned:
        case Did::fork_forgotten:
            apply_fork(command, found, ordinal, outcome);
            break;
        case Did::forgotten:
            before_change(found.stream, false);
            found.stream->extra_->producers.forget(command.number);
            break;
        case Did::bucket_created:
        case Did::bucket_closing:
        case Did::bucket_removed:
        case Did::bucket_reopened:
            change_bucket(command, outcome);
            break;
        case Did::sealed:
            seal_round_ = command.round;
            seal(command.number);
            break;
        case Did::unsealed:
            seal_round_ = command.round;
            unseal(command.number);
            break;
        case Did::subscribed:
            subscribe(command, ordinal);
            break;
        case Did::refused:
        case Did::existed:
        case Did::duplicate:
        case Did::kept:
        case Did::touched:
        case Did::bucket_existed:
            VERIFY(false);
    }
    return outcome;
}

void Machine::append(const Command& command, const Found& found, const Outcome& outcome) {
    Stream* stream = found.stream;
    before_change(stream, false);
    if (command.producer.present) {
        extra_of(stream).producers.accept(found.producer, found.producer_hash, command.producer.id,
                                          command.producer.epoch, command.producer.seq);
    }
    if (!command.stream_seq.empty()) {
        extra_of(stream).stream_seq = command.stream_seq;
    }
    stream->tail_ = outcome.to;
    if (outcome.did == Did::appended && stream->json()) {
        stream->records_ += command.payload.elements;
    }
    if (subscriptions_ != nullptr && outcome.did == Did::appended) [[unlikely]] {
        subscriptions_->note_data(*stream, command.producer.id);
    }
    if (command.close) {
        stream->closed_ = true;
        if (command.producer.present) {
            extra_of(stream).rare_part().closer = std::make_unique<ClosingProducer>(ClosingProducer{
                std::string(command.producer.id), command.producer.epoch, command.producer.seq});
        }
    }
}

void Machine::create(const Command& command, const Found& found, std::uint32_t ordinal,
                     Outcome& outcome) {
    Stream* stream =
        add_stream(command.name, found.name_hash, command.content_type, command.number);
    stream->created_ = applied_.index;
    stream->created_ordinal_ = ordinal;
    VERIFY(stream->previous_ == nullptr ||
           stream->previous_->incarnation(group_) < stream->incarnation(group_));
    stream->closed_ = command.close;
    stream->tail_ = outcome.to;
    if (command.fork != nullptr) [[unlikely]] {
        const ForkPart& fork = *command.fork;
        extra_of(stream).rare_part().origin =
            std::make_unique<ForkOrigin>(ForkOrigin{fork.link, fork.source, fork.point, fork.depth,
                                                    fork.asked, std::string(fork.source_name)});
        stream->forked_ = true;
    }
    if (outcome.grew() && stream->json()) {
        stream->records_ = command.payload.elements;
    }
    if (command.expiry.kind != api::Expiry::Kind::none) {
        set_expiry(stream, command.expiry, time_ms_);
    }
    outcome.stream = stream;
    outcome.incarnation = stream->incarnation(group_);
    // What a fork inherits is no append.
    if (subscriptions_ != nullptr && outcome.grew()) {
        subscriptions_->note_data(*stream, {});
    }
}

void Machine::subscribe(const Command& command, std::uint32_t ordinal) {
    if (subscriptions_ == nullptr) {
        subscriptions_ = std::make_unique<Subscriptions>(group_);
    }
    subscriptions_->apply(*this, command.name, command.stored, ordinal);
}

void Machine::remove(Stream* stream) {
    if (subscriptions_ != nullptr && !stream->gone_) {
        subscriptions_->note_gone(*stream);
    }
    // First, while the pieces are still there: an image that is being taken may keep the index
    // itself.
    stream->locations.take_from(local_.segments);
    stream->hot.clear(local_.hot);
    if (const ForkOrigin* origin = stream->origin()) {
        release_link(*origin);
    }
    before_change(stream, true);
    free_stream(stream);
}

void Machine::change_bucket(const Command& command, const Outcome& outcome) {
    if (outcome.did == Did::bucket_created) {
        buckets_.emplace(command.name, Bucket{next_bucket_id_, false});
        ++next_bucket_id_;
        return;
    }
    const auto bucket = buckets_.find(command.name);
    if (outcome.did == Did::bucket_removed) {
        buckets_.erase(bucket);
    } else {
        bucket->second.closing = outcome.did == Did::bucket_closing;
    }
}

void Machine::seal(std::uint64_t bucket_id) {
    if (is_sealed(bucket_id)) {
        return;
    }
    const auto next =
        std::upper_bound(sealed_.begin(), sealed_.end(), bucket_id,
                         [](std::uint64_t id, const Sealed& range) { return id < range.first; });
    const bool joins_next = next != sealed_.end() && next->first == bucket_id + 1;
    const bool joins_previous = next != sealed_.begin() && (next - 1)->last + 1 == bucket_id;
    if (joins_next && joins_previous) {
        (next - 1)->last = next->last;
        sealed_.erase(next);
    } else if (joins_next) {
        next->first = bucket_id;
    } else if (joins_previous) {
        (next - 1)->last = bucket_id;
    } else {
        sealed_.insert(next, Sealed{bucket_id, bucket_id});
    }
}

void Machine::unseal(std::uint64_t bucket_id) {
    if (!is_sealed(bucket_id)) {
        return;
    }
    const auto range =
        std::upper_bound(sealed_.begin(), sealed_.end(), bucket_id,
                         [](std::uint64_t id, const Sealed& r) { return id < r.first; }) -
        1;
    if (range->first == range->last) {
        sealed_.erase(range);
    } else if (range->first == bucket_id) {
        ++range->first;
    } else if (range->last == bucket_id) {
        --range->last;
    } else {
        const Sealed rest{bucket_id + 1, range->last};
        range->last = bucket_id - 1;
        sealed_.insert(range + 1, rest);
    }
}

void Machine::keep(const Outcome& outcome, base::Bytes stored, std::span<const Place> places) {
    VERIFY(outcome.stream != nullptr && outcome.grew());
    Stream& stream = *outcome.stream;
    stream.locations.add_append(outcome.from, places);
    for (const Place& place : places) {
        local_.segments.add(place.segment, place.size);
    }
    if (stored.empty()) {
        stream.hot.clear(local_.hot);  // what is held would no longer end at the tail
    } else {
        VERIFY(stored.size() == outcome.to - outcome.from);
        stream.hot.append(local_.hot, outcome.from, stored);
    }
}

// --- streams and what they share ---

Stream* Machine::add_stream(std::string_view name, std::uint64_t hash,
                            std::string_view content_type, std::uint64_t bucket_id) {
    const std::uint32_t type_hash = table_hash(hash_of(content_type));
    ContentType* type = content_types_.find(type_hash, [content_type](const ContentType& t) {
        return base::as_text(t.text.bytes()) == content_type;
    });
    if (type == nullptr) {
        type = new ContentType();
        type->hash = type_hash;
        type->json = api::is_json(content_type);
        type->text = base::Slice::copy_of(base::as_bytes(content_type));
        content_types_.insert(type);
    }
    BucketUse* use = bucket_uses_.find(
        bucket_hash(bucket_id), [bucket_id](const BucketUse& u) { return u.id == bucket_id; });
    if (use == nullptr) {
        use = new BucketUse();
        use->hash = bucket_hash(bucket_id);
        use->id = bucket_id;
        bucket_uses_.insert(use);
    }
    ++type->streams;
    ++use->streams;
    Stream* stream = Stream::make(name);
    stream->hash = table_hash(hash);
    stream->content_type_ = type;
    stream->bucket_ = use;
    table_.insert(stream);
    stream->previous_ = last_;
    (last_ != nullptr ? last_->next_ : first_) = stream;
    last_ = stream;
    return stream;
}

void Machine::free_stream(Stream* stream) {
    if (const Expiry* expiry = stream->expiry()) {
        due_.erase({expiry->due_ms, stream->created_, stream->created_ordinal_, stream});
    }
    table_.erase(stream);
    (stream->previous_ != nullptr ? stream->previous_->next_ : first_) = stream->next_;
    (stream->next_ != nullptr ? stream->next_->previous_ : last_) = stream->previous_;
    if (--stream->content_type_->streams == 0) {
        content_types_.erase(stream->content_type_);
        delete stream->content_type_;
    }
    if (--stream->bucket_->streams == 0) {
        bucket_uses_.erase(stream->bucket_);
        delete stream->bucket_;
    }
    Stream::destroy(stream);
}

void Machine::before_change(Stream* stream, bool removing) {
    if (image_ != nullptr) {
        image_->before_change(stream, removing);
    }
}

StreamExtra& Machine::extra_of(Stream* stream) {
    if (stream->extra_ == nullptr) {
        stream->extra_ = std::make_unique<StreamExtra>();
    }
    return *stream->extra_;
}

// --- streams that go by themselves ---

// The stream's place in the log is known: the index is ordered by it.
void Machine::set_expiry(Stream* stream, const api::Expiry& expiry, std::int64_t touched_ms) {
    auto own = std::make_unique<Expiry>();
    own->kind = expiry.kind;
    own->ms = expiry.ms;
    own->touched_ms = touched_ms;
    own->text = expiry.text;
    own->due_ms = own->deadline_ms();
    due_.insert({own->due_ms, stream->created_, stream->created_ordinal_, stream});
    extra_of(stream).expiry = std::move(own);
    stream->expires_ = true;
}

// What a command does to a stream that goes by itself, whatever else it does. False: that was all.
bool Machine::settle_life(const Found& found, Outcome& outcome) {
    if (found.dead != nullptr) {
        remove_or_retire(found.dead);
        return outcome.did == Did::created || outcome.did == Did::fork_begun;
    }
    if (outcome.did != Did::appended && outcome.did != Did::duplicate &&
        outcome.did != Did::touched &&
        (outcome.did != Did::closed || planted(Planted::close_without_touch))) {
        return true;
    }
    const bool moved = touch(found.stream);
    if (outcome.changed) {
        return true;
    }
    outcome.changed = moved;
    return false;
}

// An instant is not moved by traffic.
bool Machine::touch(Stream* stream) {
    Expiry& expiry = *stream->expiry();
    if (!expiry.slides() || expiry.touched_ms == time_ms_) {
        return false;
    }
    before_change(stream, false);
    expiry.touched_ms = time_ms_;
    return true;
}

Stream* Machine::find_due(std::int64_t now_ms, std::size_t& steps) {
    for (; steps > 0 && !due_.empty() && due_.begin()->at_ms <= now_ms; --steps) {
        Stream* stream = due_.begin()->stream;
        if (stream->expiry()->deadline_ms() <= now_ms) {
            return stream;
        }
        set_due(stream, stream->expiry()->deadline_ms());
    }
    return nullptr;
}

void Machine::set_due(Stream* stream, std::int64_t at_ms) {
    Expiry& expiry = *stream->expiry();
    auto node = due_.extract({expiry.due_ms, stream->created_, stream->created_ordinal_, stream});
    VERIFY(!node.empty());
    expiry.due_ms = at_ms;
    node.value().at_ms = at_ms;
    due_.insert(std::move(node));
}

std::size_t Machine::memory_bytes() const {
    std::size_t bytes = table_.memory_bytes() + content_types_.memory_bytes() +
                        bucket_uses_.memory_bytes() + membership_.capacity();
    for (const Stream* stream = first_; stream != nullptr; stream = stream->next()) {
        bytes += sizeof(Stream) + stream->name().size() + stream->locations.memory_bytes();
        if (const StreamExtra* extra = stream->extra(); extra != nullptr) {
            bytes += sizeof(StreamExtra) + extra->producers.memory_bytes();
            bytes += extra->expiry != nullptr ? sizeof(Expiry) + sizeof(Due) : 0;
            bytes += extra->rare != nullptr ? sizeof(StreamRare) : 0;
            if (const ForkOrigin* origin = extra->origin()) {
                bytes += sizeof(ForkOrigin) + origin->source_name.capacity();
            }
            bytes += extra->holds() != nullptr ? extra->holds()->size() * hold_bytes : 0;
        }
    }
    return bytes;
}

}  // namespace ursula::stream
