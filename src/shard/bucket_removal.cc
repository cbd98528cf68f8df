// Removing a bucket (DESIGN "Between groups"), driven by the shard of group 0 in committed,
// repeatable steps:
//   1. group 0: begin_remove_bucket       the bucket is `closing`: new creates are refused at
//   resolve
//   2. every group: seal_bucket(id)       creates that resolved earlier are refused in apply; the
//   group says if it is empty
//   3. all empty: group 0 finish_remove_bucket.  Else: group 0 reopen_bucket, every group
//   unseal_bucket(id)
// Only the leader of group 0 drives removals, one after the other. A crash, or another leader,
// leaves a closing bucket; who leads then takes it up again, without a caller.
//
// Each round of 2 and 3 has a number (api::SealBucketCall): what group 0 had applied when it said
// that the bucket is closing. The next round of the same leader begins with a later entry of group
// 0, and that of a later leader with one behind all that an earlier one can have applied.
#include <algorithm>

#include "api/placement.h"
#include "base/limits.h"
#include "shard/shard_subscriptions.h"

namespace ursula::shard {

namespace limits = base::limits;

namespace {

constexpr base::Duration removal_retry_pause = base::milliseconds(100);

}  // namespace

void Shard::take_removal(const api::Call& call, std::string_view bucket) {
    Replica& replica = this->replica(api::bucket_group);
    const stream::Bucket* found = replica.machine.find_bucket(bucket);
    // All bucket commands are pending under hash 0: one of them may be making this bucket.
    if (found == nullptr && !replica.touched.touched(0) && confirm_reads(replica)) {
        reply(call.from, call.id, api::Refused{api::Refusal::bucket_not_found});
        return;
    }
    const bool running = std::any_of(removals_.begin(), removals_.end(), [&](const auto& removal) {
        return removal->bucket == bucket;
    });
    if (running) {
        reply(call.from, call.id, api::Refused{api::Refusal::bucket_being_removed});
        return;
    }
    if (removals_.size() >= limits::bucket_removals_max) {
        reply(call.from, call.id, api::Refused{api::Refusal::overloaded});
        return;
    }
    auto removal = std::make_unique<Removal>();
    removal->bucket = bucket;
    removal->term = replica.group.term();
    removal->has_caller = true;
    removal->call = call.id;
    removal->from = call.from;
    removals_.push_back(std::move(removal));
}

// Once group 0 leads and has applied what it found: the step that made a bucket closing may be its
// log's last entry, whose commitment only the new leader's noop shows.
void Shard::resume_removals() {
    Replica& replica = this->replica(api::bucket_group);
    if (replica.group.status().term_start > replica.machine.applied().index) {
        return;
    }
    abandon_removals();
    removals_resumed_ = replica.group.term();
    for (const auto& [name, bucket] : replica.machine.buckets()) {
        const bool running = std::any_of(
            removals_.begin(), removals_.end(),
            [&removed = name](const auto& removal) { return removal->bucket == removed; });
        if (!bucket.closing || running) {
            continue;
        }
        auto removal = std::make_unique<Removal>();
        removal->bucket = name;
        removal->term = removals_resumed_;
        removals_.push_back(std::move(removal));
    }
}

// Those begun while this node led group 0, which it does not any more, or in a later term.
void Shard::abandon_removals() {
    const raft::Group& group = replica(api::bucket_group).group;
    for (std::size_t i = 0; i < removals_.size();) {
        if (group.is_leader() && removals_[i]->term == group.term()) {
            ++i;
        } else {
            finish_removal(*removals_[i], api::Refused{api::Refusal::outcome_unknown});
        }
    }
}

// Submits a step to group 0, as the shard's own ticket.
void Shard::submit_removal_step(Removal& removal, stream::CommandKind kind) {
    Replica& replica = this->replica(api::bucket_group);
    stream::Command command;
    command.kind = kind;
    command.name = removal.bucket;
    command.number = removal.bucket_id;
    Ticket ticket;
    ticket.from = internal;
    ticket.call = api::CallId(next_internal_number());
    removal.waiting_for = ticket.call;
    removal.waiting = 1;
    submit(replica, command, ticket);
}

void Shard::seal_everywhere(Removal& removal, bool seal) {
    removal.waiting_for = api::CallId(next_internal_number());
    removal.waiting = options_.groups;
    for (std::uint32_t group = 0; group < options_.groups; ++group) {
        api::Call call;
        call.id = removal.waiting_for;
        call.from = options_.id;
        call.verb = api::SealBucketCall{base::GroupId(group), removal.bucket, removal.bucket_id,
                                        seal, removal.round};
        internal_calls_->push_back(call);
    }
}

// One step further; `answer` is what the last one brought.
void Shard::drive_removal(Removal& removal, const api::Answer& answer) {
    switch (removal.step) {
        case Removal::Step::begin:
            removal.step = Removal::Step::sealing;
            submit_removal_step(removal, stream::CommandKind::begin_remove_bucket);
            return;
        case Removal::Step::sealing: {
            const auto* closing = std::get_if<api::BucketReply>(&answer);
            if (closing == nullptr) {
                finish_removal(removal, answer);
                return;
            }
            removal.bucket_id = closing->bucket_id;
            removal.round = replica(api::bucket_group).machine.applied().index.value;
            removal.step = Removal::Step::decide;
            seal_everywhere(removal, true);
            return;
        }
        case Removal::Step::decide:
            if (removal.empty) {
                removal.step = Removal::Step::removed;
                submit_removal_step(removal, stream::CommandKind::finish_remove_bucket);
            } else {
                removal.step = Removal::Step::unsealing;
                seal_everywhere(removal, false);
            }
            return;
        case Removal::Step::unsealing:
            removal.step = Removal::Step::reopened;
            submit_removal_step(removal, stream::CommandKind::reopen_bucket);
            return;
        case Removal::Step::removed:
            finish_removal(removal, answer);
            return;
        case Removal::Step::reopened:
            finish_removal(removal, api::Refused{api::Refusal::bucket_not_empty});
            return;
    }
}

void Shard::finish_removal(Removal& removal, const api::Answer& answer) {
    if (removal.has_caller) {
        api::Answer copy = answer;
        reply(removal.from, removal.call, std::move(copy));
    }
    std::erase_if(removals_, [&](const auto& one) { return one.get() == &removal; });
}

void Shard::on_internal_reply(const api::Reply& reply) {
    if (take_own_answer(reply) || take_fork_answer(reply) || subscribing_->take_answer(reply)) {
        return;
    }
    const auto found = std::find_if(removals_.begin(), removals_.end(), [&](const auto& removal) {
        return removal->waiting_for == reply.id;
    });
    if (found == removals_.end()) {
        return;
    }
    Removal& removal = **found;
    if (const auto* seal = std::get_if<api::SealReply>(&reply.answer)) {
        removal.empty = removal.empty && seal->empty;
    } else if (const auto* refused = std::get_if<api::Refused>(&reply.answer)) {
        // That there is no such bucket is an answer; anything else says to try again.
        removal.failed = removal.failed || refused->why != api::Refusal::bucket_not_found;
    }
    if (--removal.waiting == 0) {
        removal.answer = reply.answer;
        removal.due = true;
    }
}

// When run_removals() would go on: the shard wants a turn then, which nothing else may bring.
base::Instant Shard::removals_deadline() const {
    if (removals_.empty() || !removals_.front()->due || !replicas_.front()->group.is_leader()) {
        return base::Instant::never();
    }
    return removals_.front()->not_before;
}

// Steps whose answers are in, once per turn.
void Shard::run_removals() {
    if (has_peers() && !removals_.empty()) {
        abandon_removals();
    }
    if (now_.mono < removals_deadline()) {
        return;
    }
    // One at a time: a group knows one newest round.
    while (!removals_.empty() && removals_.front()->due) {
        Removal& removal = *removals_.front();
        if (removal.failed) {
            // Overload or a full disk in the middle of it: begin again, every step may be repeated.
            removal.failed = false;
            removal.empty = true;
            removal.step = Removal::Step::begin;
            removal.not_before = now_.mono + removal_retry_pause;
            return;
        }
        removal.due = false;
        const api::Answer answer = removal.answer;
        drive_removal(removal, answer);
    }
}

}  // namespace ursula::shard
