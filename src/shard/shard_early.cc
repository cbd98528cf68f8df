// Writes that need no entry: refusals, duplicates, creates of what exists. Applied state tells
// their outcome once a ReadIndex begun after the call confirms it and no unapplied entry touches
// the stream (DESIGN "Writes"). Such a call is answered before admission, so a full disk refuses no
// duplicate, and it costs the log nothing, so nobody fills it with 404s.
//
// Alone, a group confirms itself at once. Among several nodes the call waits for a round of
// heartbeats. Then the state decides anew: if it changed, the call becomes an entry like any other.
// One that waits was not submitted: without its leader it goes to the next one, for certain. A
// later call of the same stream that becomes an entry takes those that wait along, in front of it:
// calls of one connection take effect in their order.
#include <algorithm>
#include <utility>

#include "base/limits.h"
#include "shard/call_wire.h"
#include "shard/planted.h"
#include "shard/shard.h"

namespace ursula::shard {

namespace limits = base::limits;

// True: it is answered, or will be. The caller saw that no unapplied entry touches the stream.
bool Shard::answer_early(Replica& replica, const api::Call& call, const stream::Command& command,
                         Early early) {
    const stream::Outcome outcome = replica.machine.decide(command);
    if (outcome.did != stream::Did::refused && outcome.did != stream::Did::duplicate &&
        outcome.did != stream::Did::existed) {
        return false;
    }
    if (needs_entry(replica, outcome)) {
        return false;
    }
    const bool confirmed = early == Early::confirmed || planted(Planted::early_unconfirmed) ||
                           (!has_peers() && confirm_reads(replica));
    if (!confirmed) {
        return has_peers() && park_early(replica, call, command.name_hash);
    }
    ++counters_.early_answers;
    reply(call.from, call.id, answer_of(outcome));
    return true;
}

// False: not a write of a stream, or too many wait already.
bool Shard::park_early(Replica& replica, const api::Call& call, std::uint64_t name_hash) {
    if (!std::holds_alternative<api::AppendCall>(call.verb) &&
        !std::holds_alternative<api::CreateCall>(call.verb) &&
        !std::holds_alternative<api::ForkCall>(call.verb) &&
        !std::holds_alternative<api::RemoveCall>(call.verb)) {
        return false;
    }
    if (early_calls_ >= limits::early_calls_max) {
        return false;
    }
    std::vector<std::byte> bytes = call_bytes(call.verb);
    if (early_calls_ > 0 && early_bytes_ + bytes.size() > limits::early_bytes_max) {
        keep_spare(std::move(bytes));
        return false;
    }
    // The round for what was asked this turn begins at its end.
    const bool asked = !replica.early.empty() && replica.early.back().turn == turn_;
    raft::ReadContext context = replica.read_context;
    if (asked) {
        context = replica.early.back().context;
    } else {
        context = raft::ReadContext(context.value + 1);
        replica.read_context = context;
        replica.group.step(raft::ReadIndex{context}, now_, replica.effects);
        if (replica.effects.reads_refused) {
            carry_out(replica);  // a leader that is no member any more confirms nothing
            keep_spare(std::move(bytes));
            return false;
        }
    }
    EarlyCall early;
    early.context = context;
    early.redirect = call.redirect;
    early.call = call.id;
    early.from = call.from;
    early.name_hash = name_hash;
    early.turn = turn_;
    early.bytes = std::move(bytes);
    early.since = now_.mono;
    ++early_calls_;
    early_bytes_ += early.bytes.size();
    early_names_.add(name_hash);
    replica.early.push_back(std::move(early));
    if (!asked) {
        carry_out(replica);
    }
    return true;
}

void Shard::confirm_early(Replica& replica, const raft::ReadsReady& ready) {
    for (EarlyCall& early : replica.early) {
        if (early.context > ready.context) {
            break;
        }
        if (!early.confirmed) {
            early.confirmed = true;
            early.index = ready.index;
        }
    }
}

void Shard::serve_early(Replica& replica) {
    while (!replica.early.empty() && replica.early.front().confirmed &&
           replica.early.front().index <= replica.machine.applied().index) {
        if (!replica.group.takes_submits()) {
            route_early(replica);
            return;
        }
        EarlyCall early = std::move(replica.early.front());
        replica.early.pop_front();
        take_here(forget_early(replica, std::move(early)), Early::confirmed);
    }
}

// What it was, as a call of this turn.
api::Call Shard::forget_early(const Replica& replica, EarlyCall&& early) {
    --early_calls_;
    early_bytes_ -= early.bytes.size();
    early_names_.remove(early.name_hash);
    api::Call call;
    call.id = early.call;
    call.from = early.from;
    call.redirect = early.redirect;
    VERIFY(read_call(early.bytes, replica.id(), call.verb));
    fill_hash(replica, call.verb);
    taken_bytes_.push_back(std::move(early.bytes));
    return call;
}

// Those of this stream, and of others in its slot, become entries: a later call does.
void Shard::submit_early(Replica& replica, std::uint64_t name_hash) {
    std::vector<EarlyCall> taken;
    const std::uint32_t slot = TouchedNames::slot_of(name_hash);
    std::erase_if(replica.early, [&taken, slot](EarlyCall& early) {
        const bool same = TouchedNames::slot_of(early.name_hash) == slot;
        if (same) {
            taken.push_back(std::move(early));
        }
        return same;
    });
    for (EarlyCall& early : taken) {
        take_here(forget_early(replica, std::move(early)), Early::never);
    }
}

// This node does not lead any more, or cannot tell: they begin anew, in their order.
void Shard::route_early(Replica& replica) {
    std::deque<EarlyCall> calls = std::exchange(replica.early, {});
    for (EarlyCall& early : calls) {
        const api::Call call = forget_early(replica, std::move(early));
        if (!pass_on(call)) {
            take_here(call, Early::never);
        }
    }
}

// Nothing of them was submitted, which is certain.
void Shard::end_early(Replica& replica) {
    while (!replica.early.empty() &&
           now_.mono - replica.early.front().since >= base::milliseconds(limits::leader_wait_ms)) {
        EarlyCall early = std::move(replica.early.front());
        replica.early.pop_front();
        const api::Call call = forget_early(replica, std::move(early));
        reply(call.from, call.id, api::Refused{api::Refusal::no_leader});
    }
}

}  // namespace ursula::shard
