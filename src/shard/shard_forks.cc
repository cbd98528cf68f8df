// Making forks, and letting go of what they hold (DESIGN "Calls between groups"; stream/forks.h).
// The leader of the fork's group drives, in steps that may each be repeated:
//   1. the source is looked at, by a read: is it there, of which type, where do its appends end
//   2. begin_fork here            an intent, and its name; or what there is of the fork's name
//   3. hold_stream at the source  decides for good; from here on the bytes stay
//   4. create_stream here         takes the intent over
// A leader that dies in between, or hears no answer, leaves an intent, and whose leader finds one
// that nobody is at work on commits abandon_fork: what creates it later is refused. An intent that
// is abandoned or whose stream went, in whatever way, is released at the source until that is
// acknowledged and then forgotten. The release of a hold that never came keeps it from coming.
#include <algorithm>
#include <utility>

#include "api/content_type.h"
#include "base/limits.h"
#include "shard/planted.h"
#include "shard/shard.h"
#include "stream/json_prefix.h"

namespace ursula::shard {

namespace limits = base::limits;

namespace {

api::ForkAsk ask_of(const api::ForkCall& fork) {
    return {fork.has_content_type, fork.has_offset,  fork.offset,
            fork.sub_offset,       fork.expiry.kind, fork.expiry.ms};
}

// As the fork's client is to be told it: the stream that it named is another one.
api::Refusal of_source(api::Refusal why) {
    return why == api::Refusal::stream_not_found ? api::Refusal::fork_source_not_found
           : why == api::Refusal::stream_deleted ? api::Refusal::fork_source_deleted
                                                 : why;
}

// Nothing was held for it, and asking again would give the same.
bool is_definite(api::Refusal why) {
    return why == api::Refusal::fork_source_not_found || why == api::Refusal::fork_source_deleted ||
           why == api::Refusal::fork_offset_invalid || why == api::Refusal::fork_too_deep ||
           why == api::Refusal::forks_too_many;
}

LinkWork::Step first_step_of(const stream::ForkLink& link) {
    if (planted(Planted::intent_forgotten) && !link.releasing) {
        return LinkWork::Step::forget;
    }
    return link.releasing || planted(Planted::release_unabandoned) ? LinkWork::Step::release
                                                                   : LinkWork::Step::abandon;
}

}  // namespace

void Shard::take_fork(const api::Call& call, const api::ForkCall& fork, Early early) {
    Replica& replica = this->replica(fork.key.group);
    stream::ForkPart part;
    part.source.group = fork.source_group;
    part.source_name = fork.source;
    part.asked = ask_of(fork);
    stream::Command command;
    command.kind = stream::CommandKind::begin_fork;
    command.name = fork.key.name;
    command.name_hash = fork.key.hash;
    command.content_type = fork.content_type;
    command.close = fork.closed;
    command.number = fork.bucket_id;
    command.fork = &part;
    if (early != Early::never && !replica.touched.touched(fork.key.hash) &&
        answer_early(replica, call, command, early)) {
        return;
    }
    const bool too_many = forkings_.size() >= limits::forks_under_way_max ||
                          (!forkings_.empty() &&
                           forking_bytes_ + fork.body.size() > limits::forks_under_way_bytes_max);
    if (too_many) {
        ++counters_.refused_overloaded;
        reply(call.from, call.id, api::Refused{api::Refusal::overloaded});
        return;
    }
    auto forking = std::make_unique<Forking>();
    forking->group = fork.key.group;
    forking->term = replica.group.term();
    forking->call = call.id;
    forking->from = call.from;
    forking->name = fork.key.name;
    forking->source = fork.source;
    forking->source_group = fork.source_group;
    forking->content_type = fork.content_type;
    forking->expires_at = fork.expiry.text;
    forking->body.assign(fork.body.begin(), fork.body.end());
    forking->closed = fork.closed;
    forking->bucket_id = fork.bucket_id;
    forking->expiry = fork.expiry;
    forking->expiry.text = {};
    forking->asked = part.asked;
    forking->since = now_.mono;
    forking_bytes_ += forking->body.size();
    measure_source(std::move(forking), Forking::Step::measure);
}

// The answer to this number is what it waits for next.
void Shard::wait_for(std::uint64_t number, std::unique_ptr<Forking> forking) {
    forkings_.emplace(number, std::move(forking));
}

void Shard::measure_source(std::unique_ptr<Forking> forking, Forking::Step step) {
    forking->step = step;
    const std::uint64_t number = next_internal_number();
    api::Call call;
    call.id = api::CallId(number);
    call.from = options_.id;
    api::ReadCall read;
    read.key = {forking->source, replica(forking->group).machine.hash_of(forking->source),
                forking->source_group};
    read.from_now = !forking->asked.has_offset;
    read.offset = forking->asked.offset;
    read.bytes_max = 1;
    read.use = step == Forking::Step::look ? api::ReadCall::Use::look : api::ReadCall::Use::measure;
    call.verb = read;
    internal_calls_->push_back(call);
    wait_for(number, std::move(forking));
}

// A step in the fork's own group. What the command looks at lies among this turn's own.
void Shard::submit_fork_step(Forking& forking, stream::Command& command,
                             const stream::ForkPart& part, std::uint64_t number,
                             std::uint64_t reserved_bytes) {
    Replica& replica = this->replica(forking.group);
    stream::ForkPart& kept = own_forks_.emplace_back(part);
    kept.source_name = own_names_.emplace_back(forking.source);
    command.name = own_names_.emplace_back(forking.name);
    command.name_hash = replica.machine.hash_of(command.name);
    command.fork = &kept;
    Ticket ticket;
    ticket.call = api::CallId(number);
    ticket.from = internal;
    ticket.name_hash = command.name_hash;
    ticket.reserved_bytes = reserved_bytes;
    submit(replica, command, ticket);
}

void Shard::begin_fork(std::unique_ptr<Forking> forking) {
    forking->step = Forking::Step::begin;
    stream::Command command;
    command.kind = stream::CommandKind::begin_fork;
    command.content_type = own_names_.emplace_back(forking->content_type);
    command.close = forking->closed;
    command.number = forking->bucket_id;
    stream::ForkPart part;
    part.source.group = forking->source_group;
    part.asked = forking->asked;
    const std::uint64_t number = next_internal_number();
    submit_fork_step(*forking, command, part, number, 0);
    wait_for(number, std::move(forking));
}

void Shard::hold_source(std::unique_ptr<Forking> forking) {
    forking->step = Forking::Step::hold;
    forking->hold_again = base::Instant::never();
    const std::uint64_t number = next_internal_number();
    api::Call call;
    call.id = api::CallId(number);
    call.from = options_.id;
    call.verb =
        api::HoldCall{{forking->source, replica(forking->group).machine.hash_of(forking->source),
                       forking->source_group},
                      forking->link,
                      forking->source_life.index,
                      forking->source_life.ordinal,
                      forking->point};
    internal_calls_->push_back(call);
    wait_for(number, std::move(forking));
}

void Shard::create_fork(std::unique_ptr<Forking> forking, const api::HoldReply& hold) {
    forking->step = Forking::Step::create;
    stream::Command command;
    command.kind = stream::CommandKind::create_stream;
    command.close = forking->closed;
    command.has_content_type = true;
    command.content_type = own_names_.emplace_back(forking->content_type);
    command.number = forking->bucket_id;
    command.expiry = forking->expiry;
    if (command.expiry.kind == api::Expiry::Kind::none) {
        command.expiry.kind = hold.expires;
        command.expiry.ms = hold.expires_ms;
        forking->expires_at = base::as_text(hold.expires_at.bytes());
    }
    command.expiry.text = own_names_.emplace_back(forking->expires_at);
    taken_bytes_.push_back(std::move(forking->body));
    forking_bytes_ -= taken_bytes_.back().size();
    fill_payload(command, command.content_type, taken_bytes_.back(), true);
    stream::ForkPart part;
    part.link = forking->link;
    part.source = forking->source_life;
    part.point = hold.point;
    part.depth = hold.depth;
    part.asked = forking->asked;
    api::Call caller;
    caller.id = forking->call;
    caller.from = forking->from;
    Ticket ticket;
    if (!admits(caller, command.stored_size(), true, ticket)) {
        let_go(*forking);
        return;
    }
    const std::uint64_t number = next_internal_number();
    submit_fork_step(*forking, command, part, number, ticket.reserved_bytes);
    wait_for(number, std::move(forking));
}

// Nobody is at work on its intent any more.
void Shard::let_go(const Forking& forking) {
    forking_bytes_ -= forking.body.size();
    if (forking.link == base::Incarnation{}) {
        return;
    }
    Replica& replica = this->replica(forking.group);
    replica.links_at_work.erase(forking.link);
    list_links(replica);
}

void Shard::end_forking(const Forking& forking, api::Answer&& answer) {
    let_go(forking);
    reply(forking.from, forking.call, std::move(answer));
}

// What was found of the source decides what can be decided without its group's log. False: the
// fork was refused.
bool Shard::judge_source(Forking& forking, const api::ReadReply& read, api::Refusal& why,
                         bool& needs_bytes) {
    const api::ForkAsk& asked = forking.asked;
    const std::string_view type = base::as_text(read.content_type.bytes());
    needs_bytes = false;
    if (asked.has_content_type && !api::same_media_type(type, forking.content_type)) {
        why = api::Refusal::fork_type_mismatch;
        return false;
    }
    if (asked.has_offset && read.from != asked.offset) {
        why = api::Refusal::fork_offset_invalid;
        return false;
    }
    forking.source_life = read.incarnation;
    forking.point = asked.has_offset ? asked.offset : api::fork_at_tail;
    if (asked.sub_offset > 0) {
        why = api::Refusal::fork_sub_offset_invalid;
        if (!asked.has_offset || read.next == read.from) {
            return false;
        }
        std::uint64_t bytes = asked.sub_offset;
        if (read.json && forking.step == Forking::Step::measure) {
            needs_bytes = true;
            return true;
        }
        if (read.json) {
            const auto counted = stream::json_prefix_bytes(read.pieces, asked.sub_offset);
            if (!counted) {
                return false;
            }
            bytes = *counted;
        }
        if (bytes > read.next - read.from) {
            return false;
        }
        forking.point = asked.offset + bytes;
    }
    if (!asked.has_content_type) {
        forking.content_type = type;
    }
    return true;
}

void Shard::drive_fork(std::unique_ptr<Forking> forking) {
    Replica& replica = this->replica(forking->group);
    const api::Answer answer = std::exchange(forking->answer, api::Answer());
    forking->answered = false;
    const bool leads = replica.group.is_leader() && replica.group.term() == forking->term;
    const auto* refused = std::get_if<api::Refused>(&answer);
    if (forking->step == Forking::Step::create) {
        // Also when it does not lead any more: what was submitted has its outcome.
        api::Answer copy = answer;
        end_forking(*forking, std::move(copy));
        return;
    }
    if (!leads) {
        end_forking(*forking, api::Refused{api::Refusal::no_leader});
        return;
    }
    switch (forking->step) {
        case Forking::Step::measure:
        case Forking::Step::look: {
            if (refused != nullptr) {
                end_forking(*forking, api::Refused{of_source(refused->why)});
                return;
            }
            api::Refusal why = api::Refusal::none;
            bool needs_bytes = false;
            if (!judge_source(*forking, std::get<api::ReadReply>(answer), why, needs_bytes)) {
                end_forking(*forking, api::Refused{why});
            } else if (needs_bytes) {
                measure_source(std::move(forking), Forking::Step::look);
            } else {
                begin_fork(std::move(forking));
            }
            return;
        }
        case Forking::Step::begin: {
            const auto* begun = std::get_if<api::ForkBegunReply>(&answer);
            if (begun == nullptr) {
                api::Answer copy = answer;
                end_forking(*forking, std::move(copy));
                return;
            }
            forking->link = begun->link;
            replica.links_at_work[begun->link] = {forking->term, false};
            hold_source(std::move(forking));
            return;
        }
        case Forking::Step::hold:
            if (const auto* hold = std::get_if<api::HoldReply>(&answer)) {
                create_fork(std::move(forking), *hold);
                return;
            }
            if (planted(Planted::created_unheld)) {
                api::HoldReply unheld;
                unheld.point = forking->asked.has_offset ? forking->point : 0;
                unheld.depth = 1;
                create_fork(std::move(forking), unheld);
                return;
            }
            if (is_definite(refused->why)) {
                const api::Refusal why = refused->why;
                const bool unsure = forking->unsure;
                const base::Incarnation link = forking->link;
                end_forking(*forking, api::Refused{why});
                if (!unsure) {
                    begin_link_work(replica, link, LinkWork::Step::forget);
                }
                return;
            }
            forking->unsure = true;
            if (refused->why == api::Refusal::fork_abandoned ||
                now_.mono - forking->since >= base::milliseconds(limits::fork_hold_ms)) {
                // The intent is given up, so no later answer makes a fork of it.
                end_forking(*forking, api::Refused{refused->why == api::Refusal::fork_abandoned
                                                       ? refused->why
                                                       : api::Refusal::no_leader});
                return;
            }
            forking->hold_again = now_.mono + base::milliseconds(limits::fork_retry_ms);
            forks_again_ = std::min(forks_again_, forking->hold_again);
            wait_for(next_internal_number(), std::move(forking));
            return;
        case Forking::Step::create:
            break;
    }
    VERIFY(false);
}

// --- links that nobody is at work on ---

void Shard::list_links(Replica& replica) {
    if (!replica.links_listed) {
        replica.links_listed = true;
        links_listed_.push_back(&replica);
    }
}

void Shard::look_at_links(Replica& replica) {
    const stream::ForkLinks& links = replica.machine.links();
    const base::Term term = replica.group.term();
    std::erase_if(replica.links_at_work, [&](const auto& one) {
        return one.second.term != term || links.count(one.first) == 0;
    });
    if (!replica.group.is_leader()) {
        return;
    }
    if (!replica.group.takes_submits()) {
        try_links_again(replica);
        return;
    }
    std::size_t releasing = 0;
    for (const auto& [id, at] : replica.links_at_work) {
        releasing += at.releasing ? 1 : 0;
    }
    std::vector<std::pair<base::Incarnation, LinkWork::Step>> begin;
    for (const auto& [id, link] : links) {
        if (releasing + begin.size() >= limits::fork_releases_max) {
            break;
        }
        const auto at = replica.links_at_work.find(id);
        const bool busy =
            at != replica.links_at_work.end() && (!link.releasing || at->second.releasing);
        if (!busy) {
            begin.emplace_back(id, first_step_of(link));
        }
    }
    for (const auto& one : begin) {
        begin_link_work(replica, one.first, one.second);
    }
}

void Shard::begin_link_work(Replica& replica, const base::Incarnation& id, LinkWork::Step step) {
    const auto link = replica.machine.links().find(id);
    if (link == replica.machine.links().end()) {
        return;
    }
    replica.links_at_work[id] = {replica.group.term(), true};
    LinkWork work;
    work.group = replica.id();
    work.id = id;
    work.source = link->second.source;
    work.source_group = link->second.source_group;
    work.step = step;
    send_link_work(std::move(work));
}

void Shard::send_link_work(LinkWork&& work) {
    Replica& replica = this->replica(work.group);
    const std::uint64_t number = next_internal_number();
    LinkWork& own = link_works_.emplace(number, std::move(work)).first->second;
    own.answered = false;
    if (own.step == LinkWork::Step::release) {
        api::Call call;
        call.id = api::CallId(number);
        call.from = options_.id;
        call.verb = api::ReleaseCall{
            {own.source, replica.machine.hash_of(own.source), own.source_group}, own.id};
        internal_calls_->push_back(call);
        return;
    }
    stream::ForkPart& part = own_forks_.emplace_back();
    part.link = own.id;
    stream::Command command;
    command.kind = own.step == LinkWork::Step::abandon ? stream::CommandKind::abandon_fork
                                                       : stream::CommandKind::forget_fork;
    command.fork = &part;
    Ticket ticket;
    ticket.call = api::CallId(number);
    ticket.from = internal;
    submit(replica, command, ticket);
}

void Shard::drive_link(LinkWork&& work) {
    Replica& replica = this->replica(work.group);
    const auto at = replica.links_at_work.find(work.id);
    const bool ours = replica.group.is_leader() && at != replica.links_at_work.end() &&
                      at->second.term == replica.group.term();
    if (work.failed || !ours) {
        if (ours) {
            replica.links_at_work.erase(at);
        }
        try_links_again(replica);
        return;
    }
    if (work.step == LinkWork::Step::release) {
        work.step = LinkWork::Step::forget;
        send_link_work(std::move(work));
        return;
    }
    replica.links_at_work.erase(at);  // forgotten, or abandoned and to be released
    list_links(replica);
}

void Shard::try_links_again(Replica& replica) {
    replica.links_again = true;
    forks_again_ = std::min(forks_again_, now_.mono + base::milliseconds(limits::fork_retry_ms));
}

// --- the turn ---

// False: it is no answer to any of these.
bool Shard::take_fork_answer(const api::Reply& reply) {
    if (const auto forking = forkings_.find(reply.id.value); forking != forkings_.end()) {
        forking->second->answered = true;
        forking->second->answer = reply.answer;
    } else if (const auto work = link_works_.find(reply.id.value); work != link_works_.end()) {
        work->second.answered = true;
        work->second.failed = std::holds_alternative<api::Refused>(reply.answer);
    } else if (const auto gathering = gatherings_.find(reply.id.value);
               gathering != gatherings_.end()) {
        gathering->second->answered = true;
        gathering->second->answer = reply.answer;
    } else {
        return false;
    }
    fork_answers_.push_back(reply.id.value);
    return true;
}

base::Instant Shard::forks_deadline() const {
    return fork_answers_.empty() && links_listed_.empty() ? forks_again_ : now_.mono;
}

// Whoever hears of an answer may stand in the middle of an entry, so all go on from here. Before
// write_entries.
void Shard::run_forks() {
    if (now_.mono >= forks_again_) {
        forks_again_ = base::Instant::never();
        for (auto& replica : replicas_) {
            if (std::exchange(replica->links_again, false)) {
                list_links(*replica);
            }
        }
        std::vector<std::uint64_t> due;
        for (const auto& [number, forking] : forkings_) {
            if (forking->hold_again <= now_.mono) {
                due.push_back(number);
            } else {
                forks_again_ = std::min(forks_again_, forking->hold_again);
            }
        }
        for (const std::uint64_t number : due) {
            auto node = forkings_.extract(number);
            hold_source(std::move(node.mapped()));
        }
    }
    const std::vector<std::uint64_t> answers = std::exchange(fork_answers_, {});
    for (const std::uint64_t number : answers) {
        if (auto forking = forkings_.extract(number); !forking.empty()) {
            drive_fork(std::move(forking.mapped()));
        } else if (auto work = link_works_.extract(number); !work.empty()) {
            drive_link(std::move(work.mapped()));
        } else if (auto gathering = gatherings_.extract(number); !gathering.empty()) {
            go_on_gathering(std::move(gathering.mapped()));
        }
    }
    const std::vector<Replica*> listed = std::exchange(links_listed_, {});
    for (Replica* replica : listed) {
        replica->links_listed = false;
        look_at_links(*replica);
    }
}

}  // namespace ursula::shard
