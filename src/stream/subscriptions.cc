#include "stream/subscriptions.h"

#include <algorithm>
#include <utility>

#include "api/stream_group.h"
#include "base/limits.h"
#include "base/verify.h"
#include "stream/machine.h"
#include "stream/stream.h"

namespace ursula::stream {

namespace limits = base::limits;
using api::SubscriptionError;
using api::SubscriptionOp;
using api::SubscriptionType;

namespace {

template <class T>
T decoded(base::Bytes body) {
    T value;
    VERIFY(api::unpack(body, value));  // it came through the log's checksums
    return value;
}

std::string hex(std::uint64_t value) {
    std::string text(16, '0');
    for (std::size_t i = text.size(); i > 0; --i, value >>= 4) {
        text[i - 1] = "0123456789abcdef"[value & 15];
    }
    return text;
}

// "v1/orders" -> "v1/": streams of that namespace.
std::string scope_of(std::string_view name) {
    return std::string(name.substr(0, name.find('/') + 1));
}

std::uint32_t group_of_path(std::string_view name, const std::string& path, std::uint32_t groups) {
    return api::group_of_stream(scope_of(name) + path, groups).value;
}

void end_wake(Subscription& subscription) {
    subscription.awake = false;
    subscription.holder.clear();
    subscription.lease_until_ms = 0;
    subscription.next_attempt_ms = 0;
    subscription.notify_due = false;
    for (auto& [path, link] : subscription.links) {
        link.shown = api::not_shown;
    }
}

// What a delivery has no room for is not shown: `done` must not acknowledge it.
void show_tails(Subscription& subscription) {
    const bool all = subscription.config.type != SubscriptionType::webhook ||
                     subscription.links.size() <= limits::webhook_streams_max;
    std::size_t room = limits::webhook_streams_max;
    for (auto& [path, link] : subscription.links) {
        const bool shown = all || (link.pending() && room > 0);
        link.shown = shown ? link.tail : api::not_shown;
        room -= shown && !all ? 1 : 0;
    }
}

void begin_wake(Subscription& subscription, const Chance& chance, std::int64_t now_ms) {
    ++subscription.generation;
    subscription.wake = chance.wake;
    subscription.awake = true;
    show_tails(subscription);
    if (subscription.config.type == SubscriptionType::webhook) {
        subscription.next_attempt_ms = now_ms;
    } else {
        subscription.notify_due = true;
    }
}

// Work that nobody was woken for wakes. True: it did.
bool wake_if_due(Subscription& subscription, const Chance& chance, std::int64_t now_ms) {
    if (subscription.awake || !subscription.pending()) {
        return false;
    }
    begin_wake(subscription, chance, now_ms);
    return true;
}

// While a delivery is due the retries own the wake, whatever became of the lease.
void end_lease_if_due(Subscription& subscription, const Chance& chance, std::int64_t now_ms) {
    if (!subscription.awake || subscription.lease_until_ms == 0 ||
        subscription.next_attempt_ms != 0 || subscription.lease_until_ms > now_ms) {
        return;
    }
    end_wake(subscription);
    wake_if_due(subscription, chance, now_ms);
}

void accept_delivery(Subscription& subscription) {
    subscription.next_attempt_ms = 0;
    subscription.failures = 0;
    subscription.failed = false;
}

// 1, 2, 4 .. 60 s, a fifth more or less.
std::int64_t retry_pause_ms(std::uint32_t failures, std::uint32_t jitter) {
    const std::int64_t whole = std::min<std::int64_t>(
        limits::webhook_retry_ms_max,
        limits::webhook_retry_ms_min << std::min<std::uint32_t>(failures - 1, 10));
    return whole * 8 / 10 + whole * 4 / 10 * static_cast<std::int64_t>(jitter) / 1000;
}

// A set as its sorted members.
template <class Io, class T>
void members(Io& io, std::set<T>& set) {
    std::vector<T> list(set.begin(), set.end());
    io(list);
    if constexpr (!std::is_same_v<Io, api::Packer>) {
        set = {list.begin(), list.end()};
    }
}

template <class Io, class Key, class Value, class Order, class Each>
void entries(Io& io, std::map<Key, Value, Order>& map, const Each& each) {
    auto count = static_cast<std::uint32_t>(map.size());
    io(count);
    if constexpr (std::is_same_v<Io, api::Packer>) {
        for (auto& [key, value] : map) {
            io(key);
            each(value);
        }
    } else {
        map.clear();
        for (std::uint32_t i = 0; i < count && io.ok_so_far(); ++i) {
            Key key{};
            io(key);
            each(map[std::move(key)]);
        }
    }
}

template <class Io>
void state_of(Io& io, Link& link) {
    io(link.is_explicit, link.by_pattern, link.acked, link.tail, link.created, link.ordinal,
       link.shown);
}

template <class Io>
void state_of(Io& io, Subscription& s) {
    io(s.id, s.config, s.base_url, s.secret, s.created_ms, s.groups, s.version);
    members(io, s.enrolling);
    entries(io, s.links, [&io](Link& link) { state_of(io, link); });
    entries(io, s.seen, [&io](std::uint64_t& as_of) { io(as_of); });
    io(s.generation, s.awake, s.wake, s.holder, s.lease_until_ms, s.next_attempt_ms, s.failures,
       s.failed, s.notify_due);
}

template <class Io>
void state_of(Io& io, Enrolment& enrolment) {
    io(enrolment.name, enrolment.pattern);
    members(io, enrolment.paths);
    io(enrolment.version);
    entries(io, enrolment.marks, [&io](api::StreamMark& mark) { io(mark); });
}

}  // namespace

bool Subscription::pending() const {
    return std::any_of(links.begin(), links.end(),
                       [](const auto& entry) { return entry.second.pending(); });
}

std::string Subscription::wake_id() const {
    return awake ? "w_" + hex(wake) + std::to_string(generation) : std::string();
}

std::int64_t Subscription::due_ms() const {
    if (!awake) {
        return INT64_MAX;
    }
    if (next_attempt_ms != 0) {
        return next_attempt_ms;
    }
    return lease_until_ms != 0 ? lease_until_ms : INT64_MAX;
}

std::vector<api::LinkView> Subscription::view(std::size_t count_max) const {
    std::vector<api::LinkView> views;
    const bool all = links.size() <= count_max;
    for (const bool pending : {true, false}) {
        for (const auto& [path, link] : links) {
            // Of many, those that the wake is about come first.
            const bool first = awake ? link.shown != api::not_shown : link.pending();
            if (views.size() == count_max || (!all && first != pending) || (all && !pending)) {
                continue;
            }
            // Within a wake its own tails are shown: those are what `done` acknowledges.
            const bool shown = awake && link.shown != api::not_shown;
            const std::int64_t tail = shown ? link.shown : link.tail;
            views.push_back({path, link.is_explicit, tail > link.acked, link.acked, tail});
        }
    }
    return views;
}

api::EnrollSubscription enrolment_of(const Subscription& subscription, std::string_view name,
                                     std::uint32_t group) {
    api::EnrollSubscription enroll;
    enroll.subscription = subscription.id;
    enroll.name = name;
    enroll.pattern = subscription.config.pattern;
    enroll.version = subscription.version;
    for (const auto& [path, link] : subscription.links) {
        if (link.is_explicit && group_of_path(name, path, subscription.groups) == group) {
            enroll.paths.push_back(path);
            if (link.created == 0) {
                enroll.fresh.push_back(path);
            }
        }
    }
    return enroll;
}

std::vector<std::byte> pack_command(SubscriptionOp op, const Chance& chance,
                                    const std::vector<api::GroupMarks>& marks,
                                    base::Bytes packed_body) {
    std::vector<std::byte> bytes;
    api::Packer packer(bytes);
    packer(op, chance.wake, chance.jitter, marks);
    bytes.insert(bytes.end(), packed_body.begin(), packed_body.end());
    return bytes;
}

// --- commands ---

void Subscriptions::apply(const Machine& machine, std::string_view name, base::Bytes command,
                          std::uint32_t ordinal) {
    changed_ = true;
    Turn turn{machine, name, {group_, machine.applied().index, ordinal}, machine.time_ms(), {}, {}};
    auto op = SubscriptionOp::put;
    std::vector<api::GroupMarks> marks;
    api::Unpacker unpacker(command);
    unpacker(op, turn.chance.wake, turn.chance.jitter, marks);
    VERIFY(unpacker.ok_so_far());
    const base::Bytes body = unpacker.rest();
    // What the leader asked other groups for before it submitted this comes first.
    if (op != SubscriptionOp::take_marks && !marks.empty()) {
        if (Subscription* subscription = find_mutable(name)) {
            for (const api::GroupMarks& of_group : marks) {
                take_marks(*subscription, name, of_group);
            }
        }
    }
    switch (op) {
        case SubscriptionOp::put:
            put(turn, decoded<PutCommand>(body));
            break;
        case SubscriptionOp::remove:
            remove(turn);
            break;
        case SubscriptionOp::change_streams:
            change_streams(turn, decoded<api::ChangeSubscriptionStreams>(body));
            break;
        case SubscriptionOp::claim:
            claim(turn, decoded<api::ClaimSubscription>(body));
            break;
        case SubscriptionOp::ack:
            ack(turn, decoded<AckCommand>(body));
            break;
        case SubscriptionOp::enroll:
            enroll(turn, decoded<api::EnrollSubscription>(body));
            break;
        case SubscriptionOp::take_marks: {
            const auto push = decoded<api::PushMarks>(body);
            Subscription* subscription = find_exactly(name, push.subscription);
            if (subscription == nullptr) {
                turn.answer.error = SubscriptionError::not_found;
            } else if (!take_marks(*subscription, name, push.marks)) {
                turn.answer.error = SubscriptionError::stale;
            }
            break;
        }
        case SubscriptionOp::enrolled:
            enrolled(turn, decoded<Enrolled>(body));
            break;
        case SubscriptionOp::delivered:
            delivered(turn, decoded<Delivered>(body));
            break;
        case SubscriptionOp::notified:
            notified(turn, decoded<Notified>(body));
            break;
        case SubscriptionOp::look:
            look(turn);
            break;
        case SubscriptionOp::clear_marks:
            clear_marks(turn, decoded<ClearMarks>(body));
            break;
        case SubscriptionOp::ensure_key:
        case SubscriptionOp::rotate_key:
            make_key(turn, decoded<MakeKey>(body));
            break;
        case SubscriptionOp::get:
        case SubscriptionOp::keys:
        case SubscriptionOp::signing_key:
        case SubscriptionOp::marks:
            VERIFY(false);
    }
    // Whatever it was, work that is there now and that nobody was told of wakes.
    if (Subscription* subscription = find_mutable(name)) {
        wake_if_due(*subscription, turn.chance, turn.now_ms);
    }
    answer_ = api::pack(turn.answer);
}

const Subscription* Subscriptions::find(std::string_view name) const {
    const auto found = all_.find(name);
    return found == all_.end() ? nullptr : &found->second;
}

Subscription* Subscriptions::find_mutable(std::string_view name) {
    const auto found = all_.find(name);
    return found == all_.end() ? nullptr : &found->second;
}

Subscription* Subscriptions::find_exactly(std::string_view name, base::Incarnation id) {
    Subscription* found = find_mutable(name);
    return found != nullptr && found->id == id ? found : nullptr;
}

void Subscriptions::put(Turn& turn, const PutCommand& command) {
    if (const Subscription* has = find(turn.name)) {
        if (has->config != command.put.config) {
            turn.answer.error = SubscriptionError::exists;
        }
        turn.answer.subscription = has->id;
        turn.answer.version = has->version;
        return;
    }
    if (all_.size() >= limits::subscriptions_per_group_max) {
        turn.answer.error = SubscriptionError::too_many;
        return;
    }
    Subscription& made = all_[std::string(turn.name)];
    made.id = turn.id;
    made.config = command.put.config;
    made.base_url = command.put.base_url;
    made.secret = command.secret;
    made.created_ms = turn.now_ms;
    made.groups = command.groups;
    if (!made.config.pattern.empty()) {
        for (std::uint32_t group = 0; group < made.groups; ++group) {
            made.enrolling.insert(made.enrolling.end(), group);
        }
    }
    const Glob glob(made.config.pattern);
    for (const std::string& path : made.config.streams) {
        Link& link = made.links[path];
        link.is_explicit = true;
        link.by_pattern = glob.matches(path);
        link.acked = 0;
        made.enrolling.insert(group_of_path(turn.name, path, made.groups));
    }
    turn.answer.changed = true;
    turn.answer.subscription = made.id;
    turn.answer.version = made.version;
}

void Subscriptions::remove(Turn& turn) {
    const auto found = all_.find(turn.name);
    if (found == all_.end()) {
        turn.answer.error = SubscriptionError::not_found;
        return;
    }
    const Subscription& gone = found->second;
    std::set<std::uint32_t> groups;
    if (!gone.config.pattern.empty()) {
        for (std::uint32_t group = 0; group < gone.groups; ++group) {
            groups.insert(groups.end(), group);
        }
    }
    for (const std::uint32_t group : gone.enrolling) {
        groups.insert(group);
    }
    for (const auto& [path, link] : gone.links) {
        groups.insert(group_of_path(turn.name, path, gone.groups));
    }
    removed_[gone.id] = {found->first, std::move(groups)};
    all_.erase(found);
    turn.answer.changed = true;
}

void Subscriptions::change_streams(Turn& turn, const api::ChangeSubscriptionStreams& change) {
    Subscription* subscription = find_mutable(turn.name);
    if (subscription == nullptr) {
        turn.answer.error = SubscriptionError::not_found;
        return;
    }
    std::size_t fresh = 0;
    for (const std::string& path : change.add) {
        fresh += subscription->links.count(path) == 0 ? 1 : 0;
    }
    if (subscription->links.size() + fresh > limits::subscription_links_max) {
        turn.answer.error = SubscriptionError::too_many;
        return;
    }
    ++subscription->version;
    for (const std::string& path : change.add) {
        const auto [entry, is_new] = subscription->links.try_emplace(path);
        if (is_new) {
            entry->second.acked = 0;  // until its group says where the stream is
        }
        entry->second.is_explicit = true;
        subscription->enrolling.insert(group_of_path(turn.name, path, subscription->groups));
    }
    for (const std::string& path : change.remove) {
        const auto found = subscription->links.find(path);
        if (found == subscription->links.end() || !found->second.is_explicit) {
            continue;
        }
        found->second.is_explicit = false;
        if (!found->second.by_pattern) {
            subscription->links.erase(found);
        }
        subscription->enrolling.insert(group_of_path(turn.name, path, subscription->groups));
    }
    turn.answer.subscription = subscription->id;
    turn.answer.version = subscription->version;
}

void Subscriptions::claim(Turn& turn, const api::ClaimSubscription& claim) {
    Subscription* subscription = find_mutable(turn.name);
    api::SubscriptionAnswer& answer = turn.answer;
    if (subscription == nullptr) {
        answer.error = SubscriptionError::not_found;
        return;
    }
    Subscription& s = *subscription;
    if (s.config.type != SubscriptionType::pull_wake) {
        answer.error = SubscriptionError::wrong_type;
        return;
    }
    end_lease_if_due(s, turn.chance, turn.now_ms);
    answer.generation = s.generation;
    if (s.awake && !s.holder.empty()) {
        answer.error = SubscriptionError::already_claimed;
        answer.holder = s.holder;
        return;
    }
    if (!s.pending()) {
        if (s.awake) {
            end_wake(s);  // the streams it was about are gone
        }
        answer.error = SubscriptionError::no_pending_work;
        return;
    }
    if (!s.awake) {
        begin_wake(s, turn.chance, turn.now_ms);
    }
    s.notify_due = false;
    s.holder = claim.worker;
    s.lease_until_ms = turn.now_ms + s.config.lease_ttl_ms;
    show_tails(s);
    answer.subscription = s.id;
    answer.generation = s.generation;
    answer.wake_id = s.wake_id();
    answer.config.lease_ttl_ms = s.config.lease_ttl_ms;
    answer.streams = s.view(limits::subscription_links_max);
}

// The checks in the order of protocol digest 2.14.
void Subscriptions::ack(Turn& turn, const AckCommand& command) {
    Subscription* subscription = find_mutable(turn.name);
    api::SubscriptionAnswer& answer = turn.answer;
    if (subscription == nullptr) {
        answer.error = SubscriptionError::not_found;
        return;
    }
    Subscription& s = *subscription;
    const api::AckSubscription& ack = command.ack;
    const bool callback = ack.kind == api::AckSubscription::Kind::callback;
    if (callback != (s.config.type == SubscriptionType::webhook)) {
        answer.error = SubscriptionError::wrong_type;
        return;
    }
    if (command.verdict == TokenVerdict::invalid || command.checked != s.id) {
        answer.error = SubscriptionError::token_invalid;
        return;
    }
    if (command.verdict == TokenVerdict::expired) {
        answer.error = SubscriptionError::token_expired;
        return;
    }
    end_lease_if_due(s, turn.chance, turn.now_ms);
    if (!s.awake || command.token_generation != s.generation || ack.generation != s.generation ||
        ack.wake_id != s.wake_id() || (!callback && s.holder.empty())) {
        answer.error = SubscriptionError::fenced;
        answer.generation = s.generation;
        return;
    }
    for (const api::StreamAck& one : ack.acks) {
        const auto link = s.links.find(one.path);
        if (link == s.links.end() || one.offset < 0 || one.offset < link->second.acked ||
            one.offset > link->second.tail) {
            answer.error = SubscriptionError::invalid_offset;
            answer.holder = one.path;
            return;
        }
    }
    for (const api::StreamAck& one : ack.acks) {
        Link& link = s.links.find(one.path)->second;
        link.acked = std::max(link.acked, one.offset);
    }
    if (ack.kind == api::AckSubscription::Kind::release) {
        end_wake(s);
        wake_if_due(s, turn.chance, turn.now_ms);
        return;
    }
    if (callback) {
        accept_delivery(s);
    }
    s.lease_until_ms = turn.now_ms + s.config.lease_ttl_ms;
    if (ack.done) {
        end_wake(s);
        answer.finished = true;
        answer.changed = wake_if_due(s, turn.chance, turn.now_ms);
    }
}

void Subscriptions::enrolled(Turn& turn, const Enrolled& command) {
    if (command.over) {
        const auto found = removed_.find(command.subscription);
        if (found == removed_.end()) {
            return;
        }
        for (const std::uint32_t group : command.groups) {
            found->second.second.erase(group);
        }
        if (found->second.second.empty()) {
            removed_.erase(found);
        }
        return;
    }
    Subscription* subscription = find_exactly(turn.name, command.subscription);
    if (subscription == nullptr || subscription->version != command.version) {
        return;
    }
    for (const std::uint32_t group : command.groups) {
        subscription->enrolling.erase(group);
    }
}

void Subscriptions::delivered(Turn& turn, const Delivered& command) {
    Subscription* subscription = find_exactly(turn.name, command.subscription);
    if (subscription == nullptr || !subscription->awake ||
        subscription->generation != command.generation) {
        return;
    }
    Subscription& s = *subscription;
    if (!command.ok) {
        if (s.next_attempt_ms != 0) {  // else the receiver has called back all the same
            s.failed = true;
            ++s.failures;
            s.next_attempt_ms = turn.now_ms + retry_pause_ms(s.failures, turn.chance.jitter);
        }
        return;
    }
    accept_delivery(s);
    if (!command.done) {
        s.lease_until_ms = std::max(s.lease_until_ms, turn.now_ms + s.config.lease_ttl_ms);
        return;
    }
    for (auto& [path, link] : s.links) {
        link.acked = std::max(link.acked, link.shown);
    }
    end_wake(s);
}

void Subscriptions::notified(Turn& turn, const Notified& command) {
    Subscription* subscription = find_exactly(turn.name, command.subscription);
    if (subscription != nullptr && subscription->generation == command.generation) {
        subscription->notify_due = false;
    }
}

void Subscriptions::look(Turn& turn) {
    if (Subscription* subscription = find_mutable(turn.name)) {
        end_lease_if_due(*subscription, turn.chance, turn.now_ms);
    }
}

void Subscriptions::make_key(Turn& turn, const MakeKey& command) {
    if (keys_.empty() || command.rotate) {
        if (!keys_.empty()) {
            keys_.back().retired_ms = turn.now_ms;
        }
        keys_.push_back(command.key);
        keys_.back().created_ms = turn.now_ms;
        std::erase_if(keys_, [&turn](const api::SigningKey& key) {
            return key.retired_ms != 0 &&
                   key.retired_ms + limits::signing_key_kept_ms < turn.now_ms;
        });
        if (keys_.size() > limits::signing_keys_max) {
            keys_.erase(keys_.begin());
        }
        turn.answer.changed = true;
    }
    for (const api::SigningKey& key : keys_) {
        turn.answer.keys.push_back(key);
        turn.answer.keys.back().private_key.clear();
    }
}

// False: later ones of that group are here.
bool Subscriptions::take_marks(Subscription& s, std::string_view, const api::GroupMarks& marks) {
    std::uint64_t& seen = s.seen[marks.group];
    if (marks.as_of < seen) {
        return false;
    }
    seen = marks.as_of;
    if (marks.marks.empty()) {
        return true;
    }
    const Glob glob(s.config.pattern);
    for (const api::StreamMark& mark : marks.marks) {
        auto found = s.links.find(mark.path);
        const bool older = found != s.links.end() && found->second.created != 0 &&
                           std::pair(found->second.created, found->second.ordinal) <
                               std::pair(mark.created, mark.ordinal);
        if (mark.gone || older) {
            // Its links go with a stream; one of that name that comes later is another.
            if (found != s.links.end()) {
                s.links.erase(found);
                found = s.links.end();
            }
            if (mark.gone) {
                continue;
            }
        }
        if (found == s.links.end()) {
            if (!glob.matches(mark.path) || s.links.size() >= limits::subscription_links_max) {
                continue;
            }
            found = s.links.try_emplace(mark.path).first;
            found->second.by_pattern = true;
            found->second.acked = mark.first;
        } else if (found->second.created == 0) {
            found->second.by_pattern = glob.matches(mark.path);
            found->second.acked = std::max(found->second.acked, mark.first);
        }
        Link& link = found->second;
        link.created = mark.created;
        link.ordinal = mark.ordinal;
        link.tail = std::max(link.tail, static_cast<std::int64_t>(mark.tail));
    }
    return true;
}

// --- what other subscriptions look for in this group ---

void Subscriptions::enroll(Turn& turn, const api::EnrollSubscription& enroll) {
    const auto found = enrolments_.find(enroll.subscription);
    const bool is_new = found == enrolments_.end();
    matches_.clear();
    if (enroll.over) {
        if (!is_new) {
            marked_.erase(enroll.subscription);
            enrolments_.erase(found);
        }
        return;
    }
    if (!is_new && enroll.version <= found->second.version) {
        return;
    }
    Enrolment& enrolment = is_new ? enrolments_[enroll.subscription] : found->second;
    enrolment.paths = {enroll.paths.begin(), enroll.paths.end()};
    enrolment.version = enroll.version;
    // What it does not look for any more is not told: nobody would say when such a stream goes.
    std::erase_if(enrolment.marks, [&enrolment](const auto& entry) {
        return enrolment.paths.count(entry.first) == 0 && !enrolment.glob.matches(entry.first);
    });
    if (enrolment.marks.empty()) {
        marked_.erase(enroll.subscription);
    }
    if (is_new) {
        enrolment.id = enroll.subscription;
        enrolment.name = enroll.name;
        enrolment.pattern = enroll.pattern;
        enrolment.glob = Glob(enroll.pattern);
        enrolment.scope = scope_of(enroll.name);
    }
    // Streams that are there are linked at their tail of now.
    const auto link_now = [&](const Stream& stream, std::string_view path) {
        if (!stream.gone() && !turn.machine.is_dead(stream)) {
            mark(enrolment, stream, path, false, static_cast<std::int64_t>(stream.tail()));
        }
    };
    if (is_new && !enroll.pattern.empty()) {
        for (const Stream* stream = turn.machine.first(); stream != nullptr;
             stream = stream->next()) {
            if (!stream->name().starts_with(enrolment.scope)) {
                continue;
            }
            const std::string_view path = stream->name().substr(enrolment.scope.size());
            if (enrolment.glob.matches(path)) {
                link_now(*stream, path);
            }
        }
    }
    for (const std::string& path : enroll.fresh) {
        const std::string name = enrolment.scope + path;
        if (const Stream* stream = turn.machine.find(name, turn.machine.hash_of(name))) {
            link_now(*stream, path);
        }
    }
}

void Subscriptions::clear_marks(Turn& turn, const ClearMarks& clear) {
    const auto found = enrolments_.find(clear.subscription);
    if (found == enrolments_.end()) {
        return;
    }
    Enrolment& enrolment = found->second;
    for (const api::StreamMark& told : clear.marks) {
        const auto mark = enrolment.marks.find(told.path);
        if (mark == enrolment.marks.end() || mark->second.created != told.created ||
            mark->second.ordinal != told.ordinal || mark->second.gone != told.gone) {
            continue;
        }
        if (!told.gone) {
            const std::string name = enrolment.scope + told.path;
            const Stream* stream = turn.machine.find(name, turn.machine.hash_of(name));
            if (stream != nullptr && stream->tail() != told.tail) {
                continue;  // it grew meanwhile
            }
        }
        enrolment.marks.erase(mark);
    }
    if (enrolment.marks.empty()) {
        marked_.erase(clear.subscription);
    }
}

const std::vector<Enrolment*>& Subscriptions::matches(const Stream& stream) {
    const auto [entry, is_new] = matches_.try_emplace(&stream);
    if (is_new) {
        for (auto& [id, enrolment] : enrolments_) {
            if (!stream.name().starts_with(enrolment.scope)) {
                continue;
            }
            const std::string path(stream.name().substr(enrolment.scope.size()));
            if (enrolment.paths.count(path) != 0 || enrolment.glob.matches(path)) {
                entry->second.push_back(&enrolment);
            }
        }
    }
    return entry->second;
}

// `first`: where a link begins that its subscription does not have.
void Subscriptions::mark(Enrolment& enrolment, const Stream& stream, std::string_view path,
                         bool gone, std::int64_t first) {
    const base::Incarnation life = stream.incarnation(group_);
    if (enrolment.marks.empty()) {
        marked_.insert(enrolment.id);
    }
    const auto [entry, is_new] = enrolment.marks.try_emplace(std::string(path));
    api::StreamMark& mark = entry->second;
    if (!is_new && mark.created == life.index.value && mark.ordinal == life.ordinal &&
        mark.gone == gone) {
        return;
    }
    mark.path = path;
    mark.first = first;
    mark.created = life.index.value;
    mark.ordinal = life.ordinal;
    mark.gone = gone;
    changed_ = true;
}

void Subscriptions::note_data(const Stream& stream, std::string_view producer_id) {
    if (enrolments_.empty() || producer_id.starts_with(api::wake_producer_prefix)) {
        return;
    }
    for (Enrolment* enrolment : matches(stream)) {
        mark(*enrolment, stream, stream.name().substr(enrolment->scope.size()), false,
             api::before_all);
    }
}

void Subscriptions::note_gone(const Stream& stream) {
    if (enrolments_.empty()) {
        return;
    }
    for (Enrolment* enrolment : matches(stream)) {
        const std::string_view path = stream.name().substr(enrolment->scope.size());
        mark(*enrolment, stream, path, true, api::before_all);
        enrolment->paths.erase(std::string(path));
    }
    matches_.erase(&stream);
}

api::GroupMarks Subscriptions::marks_of(const Machine& machine, base::Incarnation subscription,
                                        std::size_t count_max) const {
    api::GroupMarks out;
    out.group = group_.value;
    out.as_of = machine.applied().index.value;
    const auto found = enrolments_.find(subscription);
    if (found == enrolments_.end()) {
        return out;
    }
    for (const auto& [path, mark] : found->second.marks) {
        if (out.marks.size() == count_max) {
            break;
        }
        api::StreamMark& told = out.marks.emplace_back(mark);
        if (!mark.gone) {
            const std::string name = found->second.scope + path;
            const Stream* stream = machine.find(name, machine.hash_of(name));
            if (stream == nullptr) {
                told.gone = true;
            } else {
                told.tail = stream->tail();
            }
        }
    }
    return out;
}

// --- images ---

namespace {

template <class Io, class All, class Removed, class Enrolments>
void all_state(Io& io, All& all, Removed& removed, Enrolments& enrolments,
               std::vector<api::SigningKey>& keys) {
    entries(io, all, [&io](Subscription& one) { state_of(io, one); });
    entries(io, removed, [&io](std::pair<std::string, std::set<std::uint32_t>>& one) {
        io(one.first);
        members(io, one.second);
    });
    entries(io, enrolments, [&io](Enrolment& one) { state_of(io, one); });
    io(keys);
}

}  // namespace

// One description serves both directions, so it takes what is written as if it were to be filled.
void Subscriptions::write(std::vector<std::byte>& out) const {
    api::Packer packer(out);
    auto& self = const_cast<Subscriptions&>(*this);
    all_state(packer, self.all_, self.removed_, self.enrolments_, self.keys_);
}

bool Subscriptions::read(base::Bytes bytes) {
    api::Unpacker unpacker(bytes);
    all_state(unpacker, all_, removed_, enrolments_, keys_);
    for (auto& [id, enrolment] : enrolments_) {
        enrolment.id = id;
        enrolment.glob = Glob(enrolment.pattern);
        enrolment.scope = scope_of(enrolment.name);
        if (!enrolment.marks.empty()) {
            marked_.insert(id);
        }
    }
    return unpacker.ok();
}

}  // namespace ursula::stream
