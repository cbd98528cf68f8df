// Streams that go by themselves (Stream-TTL, Stream-Expires-At; digest 2.4).
//
// A stream's time is its group's: that of the entries, which a leader stamps. It goes by a
// committed command, which its leader submits at the deadline to the millisecond and which does
// nothing if the stream was touched meanwhile. So all replicas lose it at one place of the log, and
// a read on any node that says 404 does so after that place. Between the deadline and the command a
// leader's reads wait for the command; a write that the log has behind the deadline finds no
// stream.
//
// Reads touch: the replica that serves one sends the leader a touch_stream, if the last one that it
// knows of is an eighth of the window old and none is under way; beyond a quarter of the window the
// read waits until it is committed. Live readers do so for as long as they are attached, whatever
// their number.
#include <algorithm>
#include <utility>

#include "base/limits.h"
#include "shard/planted.h"
#include "shard/shard.h"

namespace ursula::shard {

namespace limits = base::limits;

namespace {

// Of the window: younger touches are as good as new ones, and how old the last one may be for a
// read that does not wait.
constexpr std::int64_t touch_part = 8;
constexpr std::int64_t wait_part = 4;

bool touches(const api::Verb& verb) {
    const auto* read = std::get_if<api::ReadCall>(&verb);
    return !std::holds_alternative<api::HeadCall>(verb) &&
           (read == nullptr || read->use == api::ReadCall::Use::client);
}

}  // namespace

// What this node, which leads the group, would write into an entry now. A jump of its wall clock
// must not end what other nodes' clocks give hours: while it leads, it goes by the other clock, but
// for corrections that are small. The next leader has its own.
std::int64_t Shard::group_clock(const Replica& replica) const {
    std::int64_t ms = now_.wall.ms;
    if (has_peers()) {
        const std::int64_t steady =
            replica.led_since.wall.ms + (now_.mono - replica.led_since.mono).ms();
        ms = std::clamp(ms, steady - limits::clock_step_ms_max, steady + limits::clock_step_ms_max);
    }
    return std::max(replica.machine.time_ms(), ms);
}

// What leads to commands of the shard's own, and the reads whose command was answered. Before
// write_entries.
void Shard::run_own_commands() {
    if (now_.mono >= expiry_at_ && expiry_turn_ != turn_) {
        expiry_turn_ = turn_;
        run_expiries();
    }
    while (!live_touches_.empty() && live_touches_.begin()->first <= now_.mono) {
        const auto [at, number] = *live_touches_.begin();
        live_touches_.erase(live_touches_.begin());
        if (watches_[number].stream != nullptr && watches_[number].touch_at == at) {
            keep_alive(number);
        }
    }
    while (!own_due_.empty() || !own_done_.empty()) {
        for (std::size_t i = 0; i < own_due_.size(); ++i) {
            send_own(own_due_[i]);
        }
        own_due_.clear();
        const std::vector<std::uint64_t> done = std::exchange(own_done_, {});
        for (const std::uint64_t number : done) {
            end_own(number);
        }
    }
}

// Looks at the groups that this node leads, and says when to look again. Looking early is harmless.
void Shard::run_expiries() {
    expiry_at_ = base::Instant::never();
    std::size_t steps = limits::expiries_per_turn_max;
    for (auto& replica : replicas_) {
        stream::Machine& machine = replica->machine;
        if (!replica->group.is_leader() || machine.next_due_ms() == INT64_MAX) {
            continue;
        }
        const std::int64_t now_ms = group_clock(*replica);
        if (replica->group.takes_submits()) {
            while (stream::Stream* stream = machine.find_due(now_ms, steps)) {
                machine.set_due(stream, now_ms + limits::expiry_look_ms);
                if (stream->expiry()->under_way == 0) {
                    begin_own(*replica, *stream, false);
                }
                --steps;
            }
        }
        look_at_expiries(*replica, machine.next_due_ms());
    }
}

// Not after this time of the group.
void Shard::look_at_expiries(const Replica& replica, std::int64_t at_ms) {
    // At its own pace: the clock may jump, and a leader that hands over may stay one.
    const std::int64_t wait_ms =
        replica.group.takes_submits()
            ? std::clamp<std::int64_t>(at_ms - group_clock(replica), 0, limits::expiry_look_ms)
            : limits::expiry_look_ms / 10;
    expiry_at_ = std::min(expiry_at_, now_.mono + base::milliseconds(wait_ms));
}

// An applied command made a stream that goes by itself, or touched one.
void Shard::note_life(Replica& replica, const stream::Outcome& outcome, bool held) {
    stream::Expiry& expiry = *outcome.stream->expiry();
    if (held && expiry.touched_ms == replica.machine.time_ms()) {
        expiry.touched_here = now_.mono;
    }
    if (outcome.did == stream::Did::created && replica.group.is_leader()) {
        look_at_expiries(replica, expiry.due_ms);
    }
}

// How old the last touch is, as far as this replica knows: rather too old than too young.
std::int64_t Shard::touch_age_ms(const Replica& replica, const stream::Expiry& expiry) const {
    if (replica.group.is_leader()) {
        return group_clock(replica) - expiry.touched_ms;
    }
    if (expiry.touched_here.ns == 0) {
        return INT64_MAX;
    }
    return std::max(now_.wall.ms - expiry.touched_ms, (now_.mono - expiry.touched_here).ms());
}

// False: the state that this replica has applied, and the group has confirmed, answers the read.
// True: it waits for a command of the shard's own.
bool Shard::must_wait(Replica& replica, stream::Stream& stream, base::ShardId from, api::CallId id,
                      const api::Verb& verb, bool touched) {
    const stream::Expiry& expiry = *stream.expiry();
    bool waits = replica.group.is_leader() && expiry.deadline_ms() <= group_clock(replica);
    if (waits && planted(Planted::clock_believed)) {
        reply(from, id, api::Refused{api::Refusal::stream_not_found});
        return true;
    }
    if (waits) {
        if (expiry.under_way == 0) {
            begin_own(replica, stream, false);
        }
    } else if (expiry.slides() && !touched && touches(verb)) {
        waits = touch(replica, stream) > expiry.ms / wait_part &&
                !planted(Planted::touch_not_waited) && !planted(Planted::touch_forgotten);
    }
    if (!waits) {
        return false;
    }
    ParkedRead read;
    read.call = id;
    read.from = from;
    read.verb = verb;
    read.name = stream.name();
    read.since = now_.mono;
    own_.at(expiry.under_way).reads.push_back(std::move(read));
    return true;
}

// If that is due. Returns the age of the last touch.
std::int64_t Shard::touch(Replica& replica, stream::Stream& stream) {
    const stream::Expiry& expiry = *stream.expiry();
    const std::int64_t age_ms = touch_age_ms(replica, expiry);
    if (age_ms >= expiry.ms / touch_part && expiry.under_way == 0 &&
        !planted(Planted::touch_forgotten)) {
        begin_own(replica, stream, true);
    }
    return age_ms;
}

// Somebody watches: a touch now if it is due, and another look when the next one will be.
void Shard::keep_alive(std::uint32_t watch) {
    WatchList& list = watches_[watch];
    const stream::Expiry* expiry = list.stream->expiry();
    if (expiry == nullptr || !expiry->slides()) {
        return;
    }
    const std::int64_t part_ms = expiry->ms / touch_part;
    const std::int64_t age_ms = touch(replica(list.group), *list.stream);
    const std::int64_t next_ms = age_ms >= part_ms ? part_ms : part_ms - age_ms;
    list.touch_at =
        now_.mono + base::milliseconds(std::clamp(next_ms, limits::touch_interval_ms_min,
                                                  limits::live_touch_ms_max));
    live_touches_.emplace(list.touch_at, watch);
}

// Sent by run_own_commands: whoever finds that it is due may stand in the middle of an entry.
void Shard::begin_own(Replica& replica, stream::Stream& stream, bool touches) {
    const std::uint64_t number = next_internal_number();
    const base::Incarnation incarnation = stream.incarnation(replica.id());
    OwnCommand& own = own_[number];
    own.life = incarnation;
    own.name = stream.name();
    own.touches = touches;
    own.begun = now_.mono;
    own.touched_ms = stream.expiry()->touched_ms;
    stream.expiry()->under_way = number;
    own_due_.push_back(number);
}

void Shard::send_own(std::uint64_t number) {
    const OwnCommand& own = own_.at(number);
    Replica& replica = this->replica(own.life.group);
    const std::string_view name = own_names_.emplace_back(own.name);
    const std::uint64_t hash = replica.machine.hash_of(name);
    if (own.touches) {
        ++counters_.touches;
        api::Call call;
        call.id = api::CallId(number);
        call.from = internal;
        call.verb = api::TouchCall{{name, hash, own.life.group}, own.life.index, own.life.ordinal};
        take(call);
        return;
    }
    stream::Command command;
    command.kind = stream::CommandKind::expire_stream;
    command.name = name;
    command.name_hash = hash;
    command.number = own.life.index.value;
    command.ordinal = own.life.ordinal;
    command.expiry.ms = own.touched_ms;
    Ticket ticket;
    ticket.call = api::CallId(number);
    ticket.from = internal;
    ticket.name_hash = hash;
    submit(replica, command, ticket);
}

// False: it is no command of this kind. Its reads go on in run_own_commands.
bool Shard::take_own_answer(const api::Reply& reply) {
    const auto found = own_.find(reply.id.value);
    if (found == own_.end()) {
        return false;
    }
    OwnCommand& own = found->second;
    if (const auto* refused = std::get_if<api::Refused>(&reply.answer)) {
        own.why = refused->why;
    }
    Replica& replica = this->replica(own.life.group);
    stream::Stream* stream = replica.machine.find(own.name, replica.machine.hash_of(own.name));
    if (stream != nullptr && stream->incarnation(own.life.group) == own.life &&
        stream->expiry() != nullptr && stream->expiry()->under_way == reply.id.value) {
        stream::Expiry& expiry = *stream->expiry();
        expiry.under_way = 0;
        if (!own.touches && own.why == api::Refusal::none) {
            replica.machine.set_due(stream, expiry.deadline_ms());  // it was touched meanwhile
            look_at_expiries(replica, expiry.due_ms);
        }
    }
    own_done_.push_back(found->first);
    return true;
}

void Shard::end_own(std::uint64_t number) {
    const auto node = own_.extract(number);
    OwnCommand& own = node.mapped();
    Replica& replica = this->replica(own.life.group);
    bool again = false;  // its leader is gone: from the beginning, as reads that find none
    for (ParkedRead& read : own.reads) {
        if (own.why == api::Refusal::none ||
            (!own.touches && own.why == api::Refusal::stream_not_found)) {
            set_name(read.verb, read.name);
            // A touch that was under way before the read came may have been stamped long before.
            const bool touched = own.touches && own.begun >= read.since;
            serve(replica, read.from, read.call, read.verb, touched);
        } else if (own.why == api::Refusal::stream_not_found) {
            // After the group had confirmed it: here it may still seem to be there.
            reply(read.from, read.call, api::Refused{own.why});
        } else if (has_peers() && own.why != api::Refusal::overloaded &&
                   now_.mono - read.since < base::milliseconds(limits::leader_wait_ms)) {
            read.context = raft::ReadContext(replica.read_context.value + 1);
            read.confirmed = false;
            replica.parked.push_back(std::move(read));
            again = true;
        } else {
            // Nobody knows whether its window goes on.
            reply(read.from, read.call,
                  api::Refused{own.why == api::Refusal::overloaded ? own.why
                                                                   : api::Refusal::no_leader});
        }
    }
    if (again) {
        replica.read_context = raft::ReadContext(replica.read_context.value + 1);
        replica.group.step(raft::ReadIndex{replica.read_context}, now_, replica.effects);
        carry_out(replica);
    }
}

// A snapshot was installed: what confirmed them does not cover it.
void Shard::park_waiting(Replica& replica) {
    for (auto& [number, own] : own_) {
        if (own.life.group != replica.id()) {
            continue;
        }
        for (ParkedRead& read : own.reads) {
            replica.parked.push_back(std::move(read));
        }
        own.reads.clear();
    }
}

// A watch that is given up before it was answered.
void Shard::forget_read(Replica& replica, const stream::Stream* stream, base::ShardId from,
                        api::CallId call) {
    const auto is_it = [&](const ParkedRead& read) {
        return read.call == call && read.from == from && read.listing == nullptr;
    };
    std::erase_if(replica.parked, is_it);
    if (stream != nullptr && stream->expiry() != nullptr && stream->expiry()->under_way != 0) {
        std::erase_if(own_.at(stream->expiry()->under_way).reads, is_it);
    }
}

}  // namespace ursula::shard
