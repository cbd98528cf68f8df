#include "shard/shard_subscriptions.h"

#include <algorithm>
#include <utility>

#include "api/stream_group.h"
#include "base/json_text.h"
#include "base/limits.h"

namespace ursula::shard {

namespace limits = base::limits;
using api::SubscriptionError;
using api::SubscriptionOp;

namespace {

// What a bearer token says.
struct TokenContent {
    base::Incarnation subscription;
    std::uint64_t generation = 0;
    std::int64_t expires_ms = 0;
};
template <class Io, api::Like<TokenContent> T>
void fields(Io& io, T& m) {
    io(m.subscription, m.generation, m.expires_ms);
}

api::Answer refused(api::Refusal why) {
    return api::Refused{why};
}

api::Answer answer_with(const api::SubscriptionAnswer& answer) {
    return api::SubscriptionReply{base::Slice::copy_of(api::pack(answer))};
}

// The text of a refusal counts as none.
bool read_answer_of(const api::Answer& answer, api::SubscriptionAnswer& out) {
    const auto* reply = std::get_if<api::SubscriptionReply>(&answer);
    return reply != nullptr && api::unpack(reply->body.bytes(), out);
}

std::string_view id_in(std::string_view name) {
    return name.substr(name.find('/') + 1);
}

// RFC 3986 section 2.3: everything but unreserved characters is escaped.
std::string url_segment(std::string_view text) {
    constexpr std::string_view digits = "0123456789ABCDEF";
    std::string out;
    for (const char c : text) {
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                           (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~';
        if (plain) {
            out += c;
        } else {
            const auto byte = static_cast<unsigned char>(c);
            out += '%';
            out += digits[byte >> 4];
            out += digits[byte & 15];
        }
    }
    return out;
}

std::string scoped(std::string_view name, std::string_view path) {
    return std::string(name.substr(0, name.find('/') + 1)) += path;
}

// Both outlive it.
stream::Command command_of(std::string_view name, base::Bytes packed) {
    stream::Command command;
    command.kind = stream::CommandKind::subscription;
    command.name = name;
    command.has_body = true;
    command.payload.bytes = packed;
    return command;
}

const stream::Subscription* find_in(const Replica& replica, std::string_view name) {
    const stream::Subscriptions* all = replica.machine.subscriptions();
    return all == nullptr ? nullptr : all->find(name);
}

// What no later attempt would do any better.
bool is_final(api::Refusal why) {
    return why == api::Refusal::stream_not_found || why == api::Refusal::stream_closed ||
           why == api::Refusal::stream_deleted || why == api::Refusal::content_type_mismatch ||
           why == api::Refusal::producer_epoch_stale;
}

}  // namespace

// --- small parts ---

bool Shard::Subscribing::leads(const Replica& replica) {
    return replica.group.takes_submits() &&
           replica.group.status().term_start <= replica.machine.applied().index;
}

bool Shard::Subscribing::is_new_leader(const Replica& replica) {
    return replica.group.is_leader() && led(replica).term != replica.group.term();
}

void Shard::Subscribing::note(Replica& replica) {
    if (!std::exchange(led(replica).noted, true)) {
        noted_.push_back(&replica);
    }
}

stream::Chance Shard::Subscribing::chance() {
    std::byte bytes[12];
    shard_.options_.webhooks->fill_random(bytes);
    return {base::load<std::uint64_t>(bytes), base::load<std::uint32_t>(bytes + 8) % 1001};
}

std::string Shard::Subscribing::secret() {
    std::string secret(32, '\0');
    shard_.options_.webhooks->fill_random(
        {reinterpret_cast<std::byte*>(secret.data()), secret.size()});
    return secret;
}

void Shard::Subscribing::retry_later(Led& led) {
    led.again = shard_.now_.mono + base::milliseconds(limits::subscription_retry_ms);
    wake_at(led.again);
}

Shard::Subscribing::Task& Shard::Subscribing::new_task(Task::Kind kind, const Replica& replica,
                                                       std::uint64_t& number) {
    number = shard_.next_internal_number();
    Task& task = tasks_[number];
    task.kind = kind;
    task.group = replica.id();
    task.term = replica.group.term();
    return task;
}

// To whoever leads that group, or to this node's replica of it.
void Shard::Subscribing::send(std::uint64_t number, const Task& task, base::GroupId to,
                              SubscriptionOp op) {
    api::Call call;
    call.id = api::CallId(number);
    call.from = shard_.options_.id;
    call.verb = api::SubscriptionCall{to, task.name, op, task.body};
    shard_.internal_calls_->push_back(call);
}

// The task's name and, from here on, its body are the command's.
void Shard::Subscribing::submit(Replica& replica, std::uint64_t number, Task& task,
                                SubscriptionOp op, const std::vector<api::GroupMarks>& marks,
                                base::Bytes body) {
    task.body = stream::pack_command(op, chance(), marks, body);
    Ticket ticket;
    ticket.call = api::CallId(number);
    ticket.from = internal;
    shard_.submit(replica, command_of(task.name, task.body), ticket);
}

template <class Body>
void Shard::Subscribing::commit(Replica& replica, const std::string& name,
                                base::Incarnation subscription, SubscriptionOp op,
                                const Body& body) {
    std::uint64_t number = 0;
    Task& task = new_task(Task::Kind::outcome, replica, number);
    task.name = name;
    task.subscription = subscription;
    submit(replica, number, task, op, {}, body);
}

// --- reads ---

void Shard::Subscribing::serve(Replica& replica, base::ShardId from, api::CallId id,
                               const api::SubscriptionCall& asked) {
    api::SubscriptionAnswer answer;
    const stream::Subscriptions* all = replica.machine.subscriptions();
    if (asked.op == SubscriptionOp::keys || asked.op == SubscriptionOp::signing_key) {
        if (all != nullptr) {
            answer.keys = all->keys();
        }
        if (asked.op == SubscriptionOp::keys) {
            for (api::SigningKey& key : answer.keys) {
                key.private_key.clear();
            }
        }
        shard_.reply(from, id, answer_with(answer));
        return;
    }
    const stream::Subscription* found = find_in(replica, asked.name);
    if (found == nullptr) {
        answer.error = SubscriptionError::not_found;
    } else {
        answer.subscription = found->id;
        answer.version = found->version;
        answer.generation = found->generation;
        answer.config = found->config;
        answer.base_url = found->base_url;
        answer.created_ms = found->created_ms;
        answer.failed = found->failed;
        answer.streams = found->view(limits::subscription_links_max);
    }
    shard_.reply(from, id, answer_with(answer));
}

void Shard::Subscribing::serve_marks(base::ShardId from, api::CallId id,
                                     std::string_view packed_subscription) {
    api::SubscriptionAnswer answer;
    base::Incarnation subscription;
    if (api::unpack(base::as_bytes(packed_subscription), subscription)) {
        std::size_t left = limits::marks_per_call_max;
        for (const auto& replica : shard_.replicas_) {
            const stream::Subscriptions* all = replica->machine.subscriptions();
            if (all == nullptr || all->marked().count(subscription) == 0 || left == 0) {
                continue;
            }
            api::GroupMarks& marks =
                answer.marks.emplace_back(all->marks_of(replica->machine, subscription, left));
            left -= marks.marks.size();
        }
    }
    shard_.reply(from, id, answer_with(answer));
}

// --- operations of clients, and what other groups ask ---

void Shard::Subscribing::take(const api::Call& call, const api::SubscriptionCall& asked) {
    Replica& replica = this->replica(asked.group);
    Ticket ticket;
    ticket.call = call.id;
    ticket.from = call.from;
    if (shard_.options_.webhooks == nullptr ||
        operations_.size() >= limits::subscription_operations_max) {
        shard_.reply(call.from, call.id, refused(api::Refusal::overloaded));
        return;
    }
    if (!shard_.admits(call, 0, asked.op == SubscriptionOp::put, ticket)) {
        return;
    }
    std::vector<std::byte> body(asked.body.begin(), asked.body.end());
    bool direct = false;
    switch (asked.op) {
        case SubscriptionOp::ensure_key:
        case SubscriptionOp::rotate_key: {
            stream::MakeKey make;
            make.rotate = asked.op == SubscriptionOp::rotate_key;
            const stream::Subscriptions* all = replica.machine.subscriptions();
            if (!make.rotate && all != nullptr && !all->keys().empty()) {
                serve(replica, call.from, call.id, {asked.group, {}, SubscriptionOp::keys, {}});
                return;
            }
            make.key = shard_.options_.webhooks->make_key();
            body = api::pack(make);
            direct = true;
            break;
        }
        case SubscriptionOp::enroll: {
            api::EnrollSubscription enroll;
            direct = api::unpack(body, enroll);
            break;
        }
        case SubscriptionOp::take_marks: {
            api::PushMarks push;
            direct = api::unpack(body, push);
            break;
        }
        case SubscriptionOp::remove:
            body.clear();
            direct = true;
            break;
        case SubscriptionOp::put:
        case SubscriptionOp::change_streams:
        case SubscriptionOp::claim:
        case SubscriptionOp::ack:
            break;
        case SubscriptionOp::get:
        case SubscriptionOp::keys:
        case SubscriptionOp::signing_key:
        case SubscriptionOp::marks:
        case SubscriptionOp::enrolled:
        case SubscriptionOp::delivered:
        case SubscriptionOp::notified:
        case SubscriptionOp::look:
        case SubscriptionOp::clear_marks:
            shard_.reply(call.from, call.id, refused(api::Refusal::overloaded));
            return;
    }
    if (direct) {
        shard_.taken_bytes_.push_back(stream::pack_command(asked.op, chance(), {}, body));
        shard_.submit(replica, command_of(asked.name, shard_.taken_bytes_.back()), ticket);
        return;
    }
    const stream::Subscription* found = find_in(replica, asked.name);
    // Alone, with nothing on its way, this node knows what is not there: nobody fills the log so.
    if (asked.op != SubscriptionOp::put && !shard_.has_peers() && replica.entries.empty() &&
        replica.queued.empty() && found == nullptr) {
        api::SubscriptionAnswer answer;
        answer.error = SubscriptionError::not_found;
        shard_.reply(call.from, call.id, answer_with(answer));
        return;
    }
    const std::uint64_t number = shard_.next_internal_++;
    Operation& operation = operations_[number];
    operation.call = call.id;
    operation.from = call.from;
    operation.group = asked.group;
    operation.term = replica.group.term();
    operation.name = asked.name;
    operation.op = asked.op;
    operation.body = std::move(body);
    operation.since = shard_.now_.mono;
    wake_at(operation.since + base::milliseconds(limits::subscription_wait_ms));
    if (found != nullptr && needs_pull(*found, operation)) {
        begin_pull(number, operation, found->id);
    } else {
        submit_operation(number, operation);
    }
}

// Whether the answer may hang on what other groups have not told yet.
bool Shard::Subscribing::needs_pull(const stream::Subscription& subscription,
                                    const Operation& operation) {
    if (operation.op == SubscriptionOp::claim) {
        return true;
    }
    api::AckSubscription ack;
    if (operation.op != SubscriptionOp::ack || !api::unpack(operation.body, ack)) {
        return false;
    }
    if (acknowledges_unknown(subscription, operation)) {
        return true;
    }
    std::size_t settled = 0;  // pending ones that these acknowledgements end
    for (const api::StreamAck& one : ack.acks) {
        const stream::Link& link = subscription.links.find(one.path)->second;
        settled += link.pending() && one.offset == link.tail ? 1u : 0u;
    }
    const auto pending = static_cast<std::size_t>(
        std::count_if(subscription.links.begin(), subscription.links.end(),
                      [](const auto& entry) { return entry.second.pending(); }));
    return ack.done && settled >= pending;
}

void Shard::Subscribing::begin_pull(std::uint64_t number, Operation& operation,
                                    base::Incarnation subscription) {
    const std::vector<std::byte> packed = api::pack(subscription);
    operation.pulls = shard_.options_.shards;
    for (std::uint32_t shard = 0; shard < shard_.options_.shards; ++shard) {
        std::uint64_t call = 0;
        Task& task = new_task(Task::Kind::pull, replica(operation.group), call);
        task.name = base::as_text(packed);
        task.number = number;
        send(call, task, base::GroupId(shard), SubscriptionOp::marks);
    }
}

// The token is looked at here, where the secret is; what the state says of it is found in apply.
stream::AckCommand Shard::Subscribing::prepare(const Replica& replica, const std::string& name,
                                               api::AckSubscription&& ack) {
    stream::AckCommand command;
    command.ack = std::move(ack);
    const std::string token = std::exchange(command.ack.token, {});
    const stream::Subscription* found = find_in(replica, name);
    if (found == nullptr) {
        return command;
    }
    command.checked = found->id;
    std::vector<std::byte> bytes;
    TokenContent content;
    if (!shard_.options_.webhooks->read_token(found->secret, token, bytes) ||
        !api::unpack(bytes, content) || content.subscription != found->id) {
        return command;
    }
    command.token_generation = content.generation;
    command.verdict = content.expires_ms <= shard_.group_clock(replica)
                          ? stream::TokenVerdict::expired
                          : stream::TokenVerdict::good;
    return command;
}

// The operation acknowledges more than the subscription knows to be there.
bool Shard::Subscribing::acknowledges_unknown(const stream::Subscription& subscription,
                                              const Operation& operation) {
    api::AckSubscription ack;
    return api::unpack(operation.body, ack) &&
           std::any_of(ack.acks.begin(), ack.acks.end(), [&](const api::StreamAck& one) {
               const auto link = subscription.links.find(one.path);
               return link == subscription.links.end() || one.offset > link->second.tail;
           });
}

void Shard::Subscribing::submit_operation(std::uint64_t number, Operation& operation) {
    Replica& replica = this->replica(operation.group);
    std::uint64_t call = 0;
    Task& task = new_task(Task::Kind::operation, replica, call);
    task.name = operation.name;
    task.number = number;
    std::vector<std::byte> body;
    SubscriptionOp op = operation.op;
    if (operation.settled) {
        op = SubscriptionOp::look;
    } else if (op == SubscriptionOp::put) {
        stream::PutCommand put;
        if (api::unpack(operation.body, put.put)) {
            put.secret = secret();
            put.groups = shard_.options_.groups;
            body = api::pack(put);
        }
    } else if (op == SubscriptionOp::ack) {
        api::AckSubscription ack;
        if (api::unpack(operation.body, ack)) {
            body = api::pack(prepare(replica, operation.name, std::move(ack)));
        }
    } else if (op == SubscriptionOp::change_streams) {
        api::ChangeSubscriptionStreams change;
        if (api::unpack(operation.body, change)) {
            body = operation.body;
        }
    } else {
        api::ClaimSubscription claim;
        if (api::unpack(operation.body, claim)) {
            body = operation.body;
        }
    }
    if (body.empty() && op != SubscriptionOp::look) {
        tasks_.erase(call);
        finish(number, refused(api::Refusal::overloaded));
        return;
    }
    submit(replica, call, task, op, operation.marks, body);
}

// Its command was applied, or was not.
void Shard::Subscribing::on_operation(std::uint64_t number, Operation& operation,
                                      const api::Answer& answer) {
    if (operation.settled) {
        finish(number, answer_with(operation.answer));
        return;
    }
    api::SubscriptionAnswer got;
    if (!read_answer_of(answer, got)) {
        api::Answer copy = answer;
        finish(number, std::move(copy));
        return;
    }
    Replica& replica = this->replica(operation.group);
    const bool waits =
        operation.op == SubscriptionOp::put || operation.op == SubscriptionOp::change_streams;
    if (got.error == SubscriptionError::none && waits) {
        operation.enrolling = true;
        operation.answer = got;
        note(replica);
        return;
    }
    if (got.error == SubscriptionError::none && operation.op == SubscriptionOp::claim) {
        const stream::Subscription* found = replica.machine.subscriptions()->find(operation.name);
        if (found != nullptr && found->id == got.subscription) {
            const TokenContent content{found->id, got.generation,
                                       shard_.group_clock(replica) + limits::subscription_token_ms};
            got.token = shard_.options_.webhooks->make_token(found->secret, api::pack(content));
        }
    }
    finish(number, answer_with(got));
}

void Shard::Subscribing::finish(std::uint64_t number, api::Answer&& answer) {
    const auto node = operations_.extract(number);
    if (!node.empty()) {
        shard_.reply(node.mapped().from, node.mapped().call, std::move(answer));
    }
}

// Those of the group that wait for it to be known everywhere; those that waited too long.
void Shard::Subscribing::look_at_operations() {
    std::vector<std::uint64_t> late;
    std::vector<std::uint64_t> enrolled;
    for (auto& [number, operation] : operations_) {
        const base::Instant until =
            operation.since + base::milliseconds(limits::subscription_wait_ms);
        const Replica& replica = this->replica(operation.group);
        if (shard_.now_.mono >= until ||
            (operation.enrolling && replica.group.term() != operation.term)) {
            late.push_back(number);
            continue;
        }
        wake_at(until);
        if (!operation.enrolling || operation.pulls != 0 || operation.settled) {
            continue;
        }
        const stream::Subscription* found = replica.machine.subscriptions()->find(operation.name);
        if (found == nullptr || found->id != operation.answer.subscription ||
            found->enrolling.empty()) {
            enrolled.push_back(number);
        }
    }
    for (const std::uint64_t number : late) {
        finish(number, refused(api::Refusal::outcome_unknown));
    }
    for (const std::uint64_t number : enrolled) {
        Operation& operation = operations_.at(number);
        operation.enrolling = false;
        operation.settled = true;
        begin_pull(number, operation, operation.answer.subscription);
    }
}

// --- what is due in the groups that this node leads ---

void Shard::Subscribing::run() {
    due_ = false;
    if (shard_.options_.webhooks == nullptr) {
        noted_.clear();
        return;
    }
    take_results();
    while (!answers_.empty()) {
        for (const auto& [number, answer] : std::exchange(answers_, {})) {
            auto node = tasks_.extract(number);
            if (!node.empty()) {
                end_task(node.mapped(), answer);
            }
        }
    }
    if (shard_.now_.mono >= look_at_) {
        look_at_ = base::Instant::never();
        for (auto& replica : shard_.replicas_) {
            if (replica->machine.subscriptions() != nullptr) {
                note(*replica);
            }
        }
    }
    for (Replica* replica : std::exchange(noted_, {})) {
        led(*replica).noted = false;
        look(*replica);
    }
    if (!operations_.empty()) {
        look_at_operations();
    }
}

void Shard::Subscribing::look(Replica& replica) {
    const stream::Subscriptions* all = replica.machine.subscriptions();
    if (all == nullptr || !leads(replica)) {
        if (replica.group.is_leader()) {  // a hand-over may come to nothing
            wake_at(shard_.now_.mono + base::milliseconds(limits::subscription_retry_ms));
        }
        return;
    }
    Led& own = led(replica);
    if (own.term != replica.group.term()) {
        own = {};
        own.term = replica.group.term();
    }
    if (shard_.now_.mono < own.again) {
        wake_at(own.again);
        return;
    }
    enroll(replica, own);
    push_marks(replica, own);
    for (const auto& [name, subscription] : all->all()) {
        look_at(replica, own, name, subscription);
    }
}

void Shard::Subscribing::enroll(Replica& replica, Led& own) {
    const stream::Subscriptions& all = *replica.machine.subscriptions();
    const auto send_one = [&](const std::string& name, base::Incarnation id, std::uint32_t group,
                              const api::EnrollSubscription& enroll) {
        if (own.committing.count(id) != 0 || !own.enrolling.insert({id, group}).second) {
            return;
        }
        std::uint64_t number = 0;
        Task& task = new_task(Task::Kind::enroll, replica, number);
        task.name = name;
        task.subscription = id;
        task.other_group = group;
        task.number = enroll.version;
        task.over = enroll.over;
        task.body = api::pack(enroll);
        send(number, task, base::GroupId(group), SubscriptionOp::enroll);
    };
    for (const auto& [name, subscription] : all.all()) {
        for (const std::uint32_t group : subscription.enrolling) {
            if (!has_enrolled(own, subscription.id, group)) {
                send_one(name, subscription.id, group,
                         stream::enrolment_of(subscription, name, group));
            }
        }
    }
    for (const auto& [id, gone] : all.removed()) {
        for (const std::uint32_t group : gone.second) {
            if (!has_enrolled(own, id, group)) {
                api::EnrollSubscription over;
                over.subscription = id;
                over.name = gone.first;
                over.over = true;
                send_one(gone.first, id, group, over);
            }
        }
    }
    commit_enrolled(replica, own);
}

bool Shard::Subscribing::has_enrolled(const Led& own, base::Incarnation id, std::uint32_t group) {
    const auto found = own.enrolled.find(id);
    return found != own.enrolled.end() &&
           std::find(found->second.groups.begin(), found->second.groups.end(), group) !=
               found->second.groups.end();
}

// Of a subscription all at once, when no more answers are to come.
void Shard::Subscribing::commit_enrolled(Replica& replica, Led& own) {
    for (auto entry = own.enrolled.begin(); entry != own.enrolled.end();) {
        const base::Incarnation id = entry->first;
        const auto waits = own.enrolling.lower_bound({id, 0});
        if (waits != own.enrolling.end() && waits->first == id) {
            ++entry;
            continue;
        }
        own.committing.insert(id);
        std::uint64_t number = 0;
        Task& task = new_task(Task::Kind::enrolled, replica, number);
        task.name = entry->second.name;
        task.subscription = id;
        stream::Enrolled done;
        done.subscription = id;
        done.version = entry->second.version;
        done.groups = entry->second.groups;
        done.over = entry->second.over;
        submit(replica, number, task, SubscriptionOp::enrolled, {}, api::pack(done));
        entry = own.enrolled.erase(entry);
    }
}

void Shard::Subscribing::push_marks(Replica& replica, Led& own) {
    const stream::Subscriptions& all = *replica.machine.subscriptions();
    for (const base::Incarnation id : all.marked()) {
        if (!own.pushing.insert(id).second) {
            continue;
        }
        std::uint64_t number = 0;
        Task& task = new_task(Task::Kind::push_marks, replica, number);
        task.name = all.enrolments().at(id).name;
        task.subscription = id;
        api::PushMarks push;
        push.subscription = id;
        push.marks = all.marks_of(replica.machine, id, limits::marks_per_call_max);
        task.marks = push.marks.marks;
        task.body = api::pack(push);
        send(number, task, id.group, SubscriptionOp::take_marks);
    }
}

void Shard::Subscribing::look_at(Replica& replica, Led& own, const std::string& name,
                                 const stream::Subscription& subscription) {
    if (!subscription.awake || own.delivering.count(subscription.id) != 0) {
        return;
    }
    if (subscription.notify_due) {
        announce(replica, own, name, subscription);
        return;
    }
    const std::int64_t due_ms = subscription.due_ms();
    if (due_ms == INT64_MAX) {
        return;
    }
    const std::int64_t left_ms = due_ms - shard_.group_clock(replica);
    if (left_ms > 0) {
        // At its own pace: the wall clock may jump.
        wake_at(shard_.now_.mono +
                base::milliseconds(std::min<std::int64_t>(left_ms, limits::expiry_look_ms)));
        return;
    }
    if (subscription.next_attempt_ms != 0) {
        deliver(replica, own, name, subscription);
        return;
    }
    own.delivering.insert(subscription.id);
    commit(replica, name, subscription.id, SubscriptionOp::look, base::Bytes{});
}

// Of group 0, kept for a while.
bool Shard::Subscribing::has_key() {
    if (!key_.private_key.empty() && shard_.now_.mono < key_until_) {
        return true;
    }
    if (!std::exchange(key_asked_, true)) {
        std::uint64_t number = 0;
        const Task& task = new_task(Task::Kind::key, *shard_.replicas_.front(), number);
        send(number, task, api::bucket_group, SubscriptionOp::signing_key);
    }
    return false;
}

void Shard::Subscribing::deliver(Replica& replica, Led& own, const std::string& name,
                                 const stream::Subscription& subscription) {
    if (!has_key()) {
        return;  // its answer looks again
    }
    Delivery delivery;
    delivery.number = shard_.next_internal_++;
    delivery.url = subscription.config.url;
    delivery.subscription_id = id_in(name);
    delivery.wake_id = subscription.wake_id();
    delivery.generation = subscription.generation;
    delivery.streams = subscription.view(limits::webhook_streams_max);
    delivery.callback_url =
        subscription.base_url + "/subscriptions/" + url_segment(id_in(name)) + "/callback";
    const TokenContent content{subscription.id, subscription.generation,
                               shard_.group_clock(replica) + limits::subscription_token_ms};
    delivery.callback_token =
        shard_.options_.webhooks->make_token(subscription.secret, api::pack(content));
    delivery.key = key_;
    delivery.time_s = shard_.now_.wall.ms / 1000;
    const std::uint64_t number = delivery.number;
    if (!shard_.options_.webhooks->send(std::move(delivery))) {
        retry_later(own);
        return;
    }
    own.delivering.insert(subscription.id);
    Task& task = deliveries_[number];
    task.group = replica.id();
    task.term = replica.group.term();
    task.subscription = subscription.id;
    task.name = name;
    task.number = subscription.generation;
}

void Shard::Subscribing::take_results() {
    if (deliveries_.empty()) {
        return;
    }
    results_.clear();
    shard_.options_.webhooks->take_results(results_);
    for (const DeliveryResult& result : results_) {
        auto node = deliveries_.extract(result.number);
        if (node.empty()) {
            continue;
        }
        const Task& task = node.mapped();
        Replica& replica = this->replica(task.group);
        // Whoever leads by now delivers it anew: rather twice than never.
        if (replica.group.term() == task.term && replica.group.takes_submits()) {
            commit(replica, task.name, task.subscription, SubscriptionOp::delivered,
                   api::pack(
                       stream::Delivered{task.subscription, task.number, result.ok, result.done}));
        } else if (replica.group.term() == task.term && replica.group.is_leader()) {
            Led& own = led(replica);  // it may hand over in vain
            own.delivering.erase(task.subscription);
            retry_later(own);
        }
    }
}

// An append to the wake stream, which may be made again: its producer's epoch is the generation.
void Shard::Subscribing::announce(Replica& replica, Led& own, const std::string& name,
                                  const stream::Subscription& subscription) {
    own.delivering.insert(subscription.id);
    const auto pending = std::find_if(subscription.links.begin(), subscription.links.end(),
                                      [](const auto& entry) { return entry.second.pending(); });
    std::uint64_t number = 0;
    Task& task = new_task(Task::Kind::wake_event, replica, number);
    task.name = name;
    task.subscription = subscription.id;
    task.number = subscription.generation;
    task.stream = scoped(name, subscription.config.wake_stream);
    task.producer =
        std::string(api::wake_producer_prefix) + std::to_string(subscription.id.group.value) + "." +
        std::to_string(subscription.id.index.value) + "." + std::to_string(subscription.id.ordinal);
    std::string event = "{\"type\":\"wake\",\"subscription_id\":";
    base::append_json_name(event, id_in(name));
    event += ",\"stream\":";
    base::append_json_name(
        event, pending == subscription.links.end() ? std::string_view() : pending->first);
    event += ",\"generation\":" + std::to_string(subscription.generation) +
             ",\"ts\":" + std::to_string(shard_.now_.wall.ms) + "}";
    const base::Bytes bytes = base::as_bytes(event);
    task.body.assign(bytes.begin(), bytes.end());
    api::AppendCall append;
    append.key = {task.stream, replica.machine.hash_of(task.stream),
                  api::group_of_stream(task.stream, shard_.options_.groups)};
    append.content_type = "application/json";
    append.has_content_type = true;
    append.producer = {true, task.producer, subscription.generation, 0};
    append.body = task.body;
    api::Call call;
    call.id = api::CallId(number);
    call.from = shard_.options_.id;
    call.verb = append;
    shard_.internal_calls_->push_back(call);
}

// --- answers ---

bool Shard::Subscribing::take_answer(const api::Reply& reply) {
    if (tasks_.count(reply.id.value) == 0) {
        return false;
    }
    answers_.emplace_back(reply.id.value, reply.answer);
    due_ = true;
    return true;
}

void Shard::Subscribing::end_task(Task& task, const api::Answer& answer) {
    api::SubscriptionAnswer got;
    const bool answered = read_answer_of(answer, got);
    if (task.kind == Task::Kind::pull || task.kind == Task::Kind::operation) {
        const auto found = operations_.find(task.number);
        if (found == operations_.end()) {
            return;
        }
        if (task.kind == Task::Kind::operation) {
            on_operation(found->first, found->second, answer);
        } else {
            on_pulled(found->first, found->second, answered, std::move(got.marks));
        }
        return;
    }
    if (task.kind == Task::Kind::key) {
        key_asked_ = false;
        if (answered && !got.keys.empty()) {
            key_ = got.keys.back();
            key_until_ = shard_.now_.mono + base::milliseconds(limits::signing_key_cached_ms);
        }
        const bool has = answered && !got.keys.empty();
        wake_at(has ? shard_.now_.mono
                    : shard_.now_.mono + base::milliseconds(limits::subscription_retry_ms));
        return;
    }
    Replica& replica = this->replica(task.group);
    Led& own = led(replica);
    if (own.term != task.term || replica.group.term() != task.term) {
        return;  // a later leader does it again
    }
    note(replica);
    switch (task.kind) {
        case Task::Kind::enroll:
            own.enrolling.erase({task.subscription, task.other_group});
            if (answered) {
                EnrolledGroups& done = own.enrolled[task.subscription];
                if (done.version != task.number) {
                    done.groups.clear();
                }
                done.name = task.name;
                done.version = task.number;
                done.over = task.over;
                done.groups.push_back(task.other_group);
            } else {
                retry_later(own);
            }
            return;
        case Task::Kind::enrolled:
            own.committing.erase(task.subscription);
            return;
        case Task::Kind::push_marks:
            end_push(replica, own, task, answered, got.error);
            return;
        case Task::Kind::clear_marks:
            own.pushing.erase(task.subscription);
            return;
        case Task::Kind::wake_event:
            end_announcement(replica, own, task, answer);
            return;
        case Task::Kind::outcome:
            own.delivering.erase(task.subscription);
            if (!answered) {
                retry_later(own);
            }
            return;
        case Task::Kind::pull:
        case Task::Kind::operation:
        case Task::Kind::key:
            return;
    }
}

void Shard::Subscribing::on_pulled(std::uint64_t number, Operation& operation, bool answered,
                                   std::vector<api::GroupMarks>&& marks) {
    operation.pull_failed = operation.pull_failed || !answered;
    for (api::GroupMarks& one : marks) {
        operation.marks.push_back(std::move(one));
    }
    if (--operation.pulls != 0) {
        return;
    }
    if (operation.settled && operation.marks.empty()) {
        finish(number, answer_with(operation.answer));
        return;
    }
    // What could not be asked comes by itself, later; only who needs it now is refused.
    if (operation.pull_failed && !operation.settled) {
        const stream::Subscription* found =
            replica(operation.group).machine.subscriptions()->find(operation.name);
        if (found != nullptr &&
            (operation.op == SubscriptionOp::claim ? !found->pending()
                                                   : acknowledges_unknown(*found, operation))) {
            finish(number, refused(api::Refusal::no_leader));
            return;
        }
    }
    submit_operation(number, operation);
}

void Shard::Subscribing::end_push(Replica& replica, Led& own, Task& task, bool answered,
                                  SubscriptionError error) {
    if (!answered) {
        own.pushing.erase(task.subscription);
        retry_later(own);
        return;
    }
    if (error == SubscriptionError::stale) {
        own.pushing.erase(task.subscription);
        return;
    }
    std::uint64_t number = 0;
    Task& next = new_task(Task::Kind::clear_marks, replica, number);
    next.name = task.name;
    next.subscription = task.subscription;
    if (error == SubscriptionError::not_found) {
        // It is gone: there is nothing to look for any more.
        api::EnrollSubscription over;
        over.subscription = task.subscription;
        over.over = true;
        submit(replica, number, next, SubscriptionOp::enroll, {}, api::pack(over));
        return;
    }
    stream::ClearMarks clear;
    clear.subscription = task.subscription;
    clear.marks = std::move(task.marks);
    submit(replica, number, next, SubscriptionOp::clear_marks, {}, api::pack(clear));
}

void Shard::Subscribing::end_announcement(Replica& replica, Led& own, const Task& task,
                                          const api::Answer& answer) {
    if (const auto* no = std::get_if<api::Refused>(&answer)) {
        if (!is_final(no->why)) {
            own.delivering.erase(task.subscription);
            retry_later(own);
            return;
        }
        shard_.events_.push_back({ShardEvent::Kind::wake_not_announced,
                                  "subscription " + task.name + ": wake stream " + task.stream});
    }
    commit(replica, task.name, task.subscription, SubscriptionOp::notified,
           api::pack(stream::Notified{task.subscription, task.number}));
}

}  // namespace ursula::shard
