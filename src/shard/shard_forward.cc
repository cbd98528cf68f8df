// Writes of groups that another node leads, and what is done while nobody does.
//
// A forward is sent at most once, and once more only after the answer "I do not lead and took
// nothing"; whoever it is sent to never sends it on. When its connection begins anew, its node is
// another life, it is silent and has a successor, or no answer comes, its outcome is unknown and it
// is not sent again. The receiver takes calls of one life of a node in the order of their numbers
// and none twice, whatever the network does with frames. Calls of one group take effect in the
// order in which they came: one that was refused is sent again only if no later one can have had an
// effect.
#include <algorithm>
#include <utility>

#include "base/limits.h"
#include "shard/call_wire.h"
#include "shard/planted.h"
#include "shard/shard.h"

namespace ursula::shard {

namespace limits = base::limits;

namespace {

// Memory of answered calls that is kept for others: enough for a turn of small appends.
constexpr std::size_t spare_count_max = 256;
constexpr std::size_t spare_bytes_max = 4 * limits::kib;

constexpr std::uint32_t link_bits = 15;  // Call::from of a forwarded call: link and generation
constexpr std::uint32_t generation_bits = 16;

}  // namespace

// False: it is this node's to take, now.
bool Shard::pass_on(const api::Call& call) {
    const base::GroupId* group = group_to_write(call.verb);
    if (group == nullptr) {
        return false;
    }
    Replica& replica = this->replica(*group);
    const bool leads = replica.group.takes_submits();
    const bool forwarded = call.from.value >= elsewhere.value && call.from != internal;
    if (leads && (replica.forwards.empty() || forwarded)) {
        return false;
    }
    if (!leads && !replica.early.empty()) {
        route_early(replica);  // they came before this one
    }
    const base::NodeId leader = replica.group.leader();
    // Nobody may ever tell a node that is no member who leads: an operator asks another one.
    const bool outside = std::holds_alternative<api::ChangeMemberCall>(call.verb) &&
                         leader == base::NodeId{} &&
                         replica.group.membership().membership.members().empty();
    if (forwarded || outside ||
        (call.redirect && leader != options_.node && leader != base::NodeId{})) {
        ++counters_.refused_not_leader;
        api::Refused refused{api::Refusal::not_leader};
        refused.numbers[0] = leader.value;
        reply(call.from, call.id, refused);
        return true;
    }
    Forward forward;
    forward.call = call.id;
    forward.from = call.from;
    forward.until = now_.mono + base::milliseconds(limits::leader_wait_ms);
    forward.bytes = call_bytes(call.verb);
    waiting_bytes_ += forward.bytes.size();
    ++waiting_calls_;
    ++replica.forwards_waiting;
    replica.forwards.push_back(std::move(forward));
    route(replica);
    if (replica.forwards_waiting == 0) {
        return true;
    }
    const PeerLink* link = leads ? nullptr : link_to_leader(replica);
    const bool too_many =
        waiting_calls_ > 1 && (waiting_calls_ > limits::forwards_waiting_max ||
                               waiting_bytes_ > limits::forwards_waiting_bytes_max);
    if (too_many || (link != nullptr && is_full(*link, replica.forwards.back().bytes.size()))) {
        ++counters_.refused_overloaded;
        close_forward(replica, replica.forwards.size() - 1, api::Refused{api::Refusal::overloaded});
    }
    return true;
}

std::vector<std::byte> Shard::call_bytes(const api::Verb& verb) {
    std::vector<std::byte> bytes;
    if (!spare_bytes_.empty()) {
        bytes = std::move(spare_bytes_.back());
        spare_bytes_.pop_back();
    }
    write_call(verb, bytes);
    return bytes;
}

void Shard::keep_spare(std::vector<std::byte>&& bytes) {
    if (spare_bytes_.size() < spare_count_max && bytes.capacity() <= spare_bytes_max) {
        bytes.clear();
        spare_bytes_.push_back(std::move(bytes));
    }
}

bool Shard::is_full(const PeerLink& link, std::size_t bytes) {
    return link.open_forwards > 0 && (link.open_forwards >= limits::forwards_open_max ||
                                      link.open_bytes + bytes > limits::forwards_open_bytes_max);
}

// Null: no leader is known, or it cannot be reached now.
PeerLink* Shard::link_to_leader(const Replica& replica) {
    PeerLink* link = find_link(replica.group.leader(), replica);
    return link != nullptr && link->boot != 0 && !link->down ? link : nullptr;
}

// In the term in which it refused, the same node is asked again only after a while: it may have
// been handing over, and failed.
bool Shard::is_refused_by(const Replica& replica, const Forward& forward, base::NodeId node) const {
    return forward.refused_by == node && forward.refused_in == replica.group.term() &&
           forward.until - now_.mono > base::milliseconds(limits::leader_wait_ms / 2);
}

void Shard::list_waiting(Replica& replica) {
    if (!replica.waits) {
        replica.waits = true;
        waiting_.push_back(&replica);
    }
}

// What can leave now does; of the rest, one that was refused goes back among those that wait when
// no later one is under way any more. Before write_entries: this node may be the leader by now.
void Shard::route(Replica& replica) {
    for (std::size_t i = replica.forwards.size() - replica.forwards_waiting; i > 0; --i) {
        Forward& forward = replica.forwards[i - 1];
        if (!forward.refused) {
            break;
        }
        forward.refused = false;
        --replica.forwards_refused;
        waiting_bytes_ += forward.bytes.size();
        ++waiting_calls_;
        ++replica.forwards_waiting;
    }
    bool held = false;
    while (replica.forwards_waiting > 0 && replica.forwards_refused == 0) {
        const std::size_t at = replica.forwards.size() - replica.forwards_waiting;
        const Forward& forward = replica.forwards[at];
        if (replica.group.takes_submits()) {
            take_waiting(replica, at);
            continue;
        }
        PeerLink* link = link_to_leader(replica);
        if (link == nullptr || !options_.peer_net->takes(link->peer) ||
            is_refused_by(replica, forward, link->peer.node) ||
            is_full(*link, forward.bytes.size())) {
            break;
        }
        // One at a time of what goes in parts, and nothing overtakes it in its group.
        held = (link->large.call != 0 && link->large.group == replica.id()) ||
               (is_large(forward.bytes.size()) &&
                (!link->large.bytes.empty() || link->large_wanted)) ||
               is_backed_up(*link);
        if (held) {
            break;
        }
        if (link->frame.size() >= limits::frame_bytes_target) {
            calls_left_ = true;
            break;
        }
        send_forward(replica, at, *link);
    }
    hold_waiting(replica, held);
    if (!replica.forwards.empty()) {
        list_waiting(replica);
    }
}

// Their time does not pass while one that is before them is on its way - for so long as that may
// reasonably take.
void Shard::hold_waiting(Replica& replica, bool held) {
    if (replica.forwards_held && !held) {
        const base::Instant until = now_.mono + base::milliseconds(limits::leader_wait_ms);
        for (std::size_t i = replica.forwards.size() - replica.forwards_waiting;
             i < replica.forwards.size(); ++i) {
            replica.forwards[i].until = until;
        }
    }
    if (held && !replica.forwards_held) {
        replica.forwards_held_since = now_.mono;
    }
    replica.forwards_held = held;
}

// The call that leaves in parts: while it does, its answer is not late.
void Shard::put_off_timeout(const PeerLink& link) {
    const auto index = static_cast<std::size_t>(&link - links_.data());
    for (Forward& forward : replica(link.large.group).forwards) {
        if (forward.number == link.large.call && forward.link == index && !forward.refused) {
            forward.until = timeout_of(forward);
            return;
        }
    }
}

base::Instant Shard::timeout_of(const Forward& forward) const {
    return now_.mono + base::milliseconds(limits::forward_timeout_ms +
                                          static_cast<std::int64_t>(forward.bytes.size() /
                                                                    limits::forward_bytes_per_ms));
}

void Shard::send_forward(Replica& replica, std::size_t at, PeerLink& link) {
    Forward& forward = replica.forwards[at];
    const bool large = is_large(forward.bytes.size());
    forward.number = ++link.call_number;
    forward.link = static_cast<std::size_t>(&link - links_.data());
    forward.until = timeout_of(forward);
    ++forward.sent;
    --replica.forwards_waiting;
    --waiting_calls_;
    waiting_bytes_ -= forward.bytes.size();
    ++link.open_forwards;
    link.open_bytes += forward.bytes.size();
    (large ? large_frame_ : link.frame).add_call(replica.id(), forward.number, forward.bytes);
    if (large) {
        begin_large(link, replica.id(), forward.number, {});
    }
    ++counters_.forwards_sent;
    // Those before one that went this way, or was passed, were passed by it or with it.
    for (std::size_t i = at; i > 0; --i) {
        Forward& earlier = replica.forwards[i - 1];
        if (earlier.link == forward.link || earlier.passed) {
            break;
        }
        earlier.passed = true;
    }
}

// This node leads by now: the call is one of its own.
void Shard::take_waiting(Replica& replica, std::size_t at) {
    Forward forward = std::move(replica.forwards[at]);
    replica.forwards.erase(replica.forwards.begin() + static_cast<std::ptrdiff_t>(at));
    --replica.forwards_waiting;
    --waiting_calls_;
    waiting_bytes_ -= forward.bytes.size();
    for (std::size_t i = 0; i < at; ++i) {
        replica.forwards[i].passed = true;
    }
    api::Call call;
    call.id = forward.call;
    call.from = forward.from;
    VERIFY(read_call(forward.bytes, replica.id(), call.verb));
    fill_hash(replica, call.verb);
    taken_bytes_.push_back(std::move(forward.bytes));
    take_here(call);
}

void Shard::fill_hash(const Replica& replica, api::Verb& verb) {
    if (auto* append = std::get_if<api::AppendCall>(&verb)) {
        append->key.hash = replica.machine.hash_of(append->key.name);
    } else if (auto* create = std::get_if<api::CreateCall>(&verb)) {
        create->key.hash = replica.machine.hash_of(create->key.name);
    } else if (auto* remove = std::get_if<api::RemoveCall>(&verb)) {
        remove->key.hash = replica.machine.hash_of(remove->key.name);
    } else if (auto* touch = std::get_if<api::TouchCall>(&verb)) {
        touch->key.hash = replica.machine.hash_of(touch->key.name);
    } else if (auto* fork = std::get_if<api::ForkCall>(&verb)) {
        fork->key.hash = replica.machine.hash_of(fork->key.name);
    } else if (auto* hold = std::get_if<api::HoldCall>(&verb)) {
        hold->key.hash = replica.machine.hash_of(hold->key.name);
    } else if (auto* release = std::get_if<api::ReleaseCall>(&verb)) {
        release->key.hash = replica.machine.hash_of(release->key.name);
    }
}

// Answers it and forgets it.
void Shard::close_forward(Replica& replica, std::size_t at, api::Answer&& answer) {
    Forward& forward = replica.forwards[at];
    if (at >= replica.forwards.size() - replica.forwards_waiting) {
        --replica.forwards_waiting;
        --waiting_calls_;
        waiting_bytes_ -= forward.bytes.size();
    } else if (forward.refused) {
        --replica.forwards_refused;
    } else {
        close_on_link(forward);
    }
    const base::ShardId from = forward.from;
    const api::CallId call = forward.call;
    keep_spare(std::move(forward.bytes));
    replica.forwards.erase(replica.forwards.begin() + static_cast<std::ptrdiff_t>(at));
    reply(from, call, std::move(answer));
}

void Shard::close_on_link(const Forward& forward) {
    PeerLink& link = links_[forward.link];
    --link.open_forwards;
    link.open_bytes -= forward.bytes.size();
}

// Certainly without effect: it may be sent once more, in its turn (route).
void Shard::hold_refused(Replica& replica, std::size_t at) {
    replica.forwards[at].refused = true;
    replica.forwards[at].until = now_.mono + base::milliseconds(limits::leader_wait_ms);
    ++replica.forwards_refused;
    ++counters_.forwards_again;
    list_waiting(replica);
}

// The calls before place `end` that were refused and held are not sent any more: a later one may
// have had its effect.
std::size_t Shard::close_refused(Replica& replica, std::size_t end) {
    for (std::size_t i = 0; i < end;) {
        if (replica.forwards[i].refused) {
            ++counters_.forwards_failed;
            close_forward(replica, i, api::Refused{api::Refusal::not_leader});
            --end;
        } else {
            ++i;
        }
    }
    return end;
}

void Shard::lose_forward(Replica& replica, std::size_t at) {
    if (planted(Planted::forward_resent) && replica.forwards[at].sent < 2) {
        close_on_link(replica.forwards[at]);
        hold_refused(replica, at);
        return;
    }
    ++counters_.forwards_failed;
    at = close_refused(replica, at);
    close_forward(
        replica, at,
        api::Refused{planted(Planted::unknown_as_refused) ? api::Refusal::not_leader
                                                          : api::Refusal::outcome_unknown});
}

// Its connection began anew or its node did: what it was asked and did not answer may have been
// done.
void Shard::lose_forwards(const PeerLink& link) {
    if (link.open_forwards == 0) {
        return;
    }
    const auto index = static_cast<std::size_t>(&link - links_.data());
    for (auto& replica : replicas_) {
        for (std::size_t i = 0; i < replica->forwards.size() - replica->forwards_waiting;) {
            const Forward& forward = replica->forwards[i];
            if (forward.link != index || forward.refused) {
                ++i;
                continue;
            }
            const std::size_t before = replica->forwards.size();
            lose_forward(*replica, i);
            i = replica->forwards.size() == before ? i + 1 : 0;
        }
    }
}

// Sent to a node that fell silent, and another one leads by now: the silent one will not commit it
// any more, and whether it did is not heard in time.
void Shard::lose_stuck(Replica& replica) {
    const base::NodeId leader = replica.group.leader();
    if (leader == base::NodeId{}) {
        return;
    }
    for (std::size_t i = 0; i < replica.forwards.size() - replica.forwards_waiting;) {
        const Forward& forward = replica.forwards[i];
        const PeerLink& link = links_[forward.link];
        if (forward.refused || !link.down || link.peer.node == leader) {
            ++i;
            continue;
        }
        const std::size_t before = replica.forwards.size();
        lose_forward(replica, i);
        i = replica.forwards.size() == before ? i + 1 : 0;
    }
}

// --- what other nodes forward ---

// Each number once and in order, but that one which comes in parts is overtaken by those of other
// groups: a doubled frame does nothing twice, an overtaken one nothing late.
void Shard::take_call(PeerLink& link, const FrameHeader& header, const FrameItem& item) {
    PeerLink::Life& life = link.lives.front();
    if (life.newest_of_group.empty()) {
        life.newest_of_group.resize(replicas_.size());
    }
    std::uint64_t& newest = item.in_parts ? life.newest_in_parts : life.newest_call;
    std::uint64_t& newest_of_group = life.newest_of_group[item.group.value / options_.shards];
    if (header.to_boot != options_.boot ||
        ((item.number <= newest || item.number <= newest_of_group) &&
         !planted(Planted::forward_twice))) {
        return;
    }
    newest_of_group = item.number;
    newest = item.number;
    ++counters_.forwards_taken;
    Replica& replica = this->replica(item.group);
    const auto index = static_cast<std::uint32_t>(&link - links_.data());
    api::Call call;
    call.id = api::CallId(std::uint64_t{item.group.value} << 48 | item.number);
    call.from = base::ShardId(elsewhere.value | index << generation_bits |
                              (link.generation & ((1u << generation_bits) - 1)));
    // A call that this version cannot read, or a body that its log has no room for, is refused for
    // certain; nodes of one cluster agree on both but for the time of a change.
    if (!read_call(item.bytes, item.group, call.verb) ||
        item.bytes.size() > options_.segment_bytes / 4 + call_head_bytes + limits::kib) {
        ++counters_.frames_refused;
        reply(call.from, call.id, api::Refused{api::Refusal::overloaded});
        return;
    }
    fill_hash(replica, call.verb);
    if (!pass_on(call)) {
        take_here(call);
    }
}

// To the life of the node that asked, or to nobody.
void Shard::reply_to_peer(base::ShardId to, api::CallId call, const api::Answer& answer) {
    PeerLink& link = links_[to.value >> generation_bits & ((1u << link_bits) - 1)];
    if (((link.generation ^ to.value) & ((1u << generation_bits) - 1)) != 0) {
        return;
    }
    answer_bytes_.clear();
    write_answer(answer, answer_bytes_);
    link.frame.add_answer(base::GroupId(static_cast<std::uint32_t>(call.value >> 48)),
                          call.value & (call_number_end - 1), answer_bytes_);
}

void Shard::take_answer(const PeerLink& link, const FrameItem& item) {
    Replica& replica = this->replica(item.group);
    const auto index = static_cast<std::size_t>(&link - links_.data());
    std::size_t at = 0;
    const std::size_t end = replica.forwards.size() - replica.forwards_waiting;
    while (at < end && (replica.forwards[at].number != item.number ||
                        replica.forwards[at].link != index || replica.forwards[at].refused)) {
        ++at;
    }
    if (at == end) {
        return;
    }
    api::Answer answer;
    if (!read_answer(item.bytes, answer)) {
        ++counters_.frames_refused;
        answer = api::Refused{api::Refusal::outcome_unknown};
    }
    Forward& forward = replica.forwards[at];
    const auto* refused = std::get_if<api::Refused>(&answer);
    const bool certain = refused != nullptr && refused->why == api::Refusal::not_leader;
    if (certain && !forward.passed && forward.sent < 2) {
        close_on_link(forward);
        forward.refused_by = link.peer.node;
        forward.refused_in = replica.group.term();
        hold_refused(replica, at);
        return;
    }
    if (!certain) {
        at = close_refused(replica, at);
    } else {
        ++counters_.forwards_failed;
    }
    close_forward(replica, at, std::move(answer));
}

// --- while there is no leader ---

// Once per turn: those who wait for a leader look whether there is one.
void Shard::go_on_waiting() {
    if (now_.mono >= next_beat()) {
        end_waits();
    }
    const bool stuck = std::any_of(links_.begin(), links_.end(), [](const PeerLink& link) {
        return link.down && link.open_forwards > 0;
    });
    for (std::size_t i = 0; i < waiting_.size(); ++i) {
        Replica& replica = *waiting_[i];
        if (stuck) {
            lose_stuck(replica);
        }
        if (!replica.forwards.empty()) {
            route(replica);
        }
        if (replica.ask_again && hears_leader(replica)) {
            replica.ask_again = false;
            replica.read_context = raft::ReadContext(replica.read_context.value + 1);
            replica.group.step(raft::ReadIndex{replica.read_context}, now_, replica.effects);
            carry_out(replica);
        }
        replica.waits = !replica.forwards.empty() || replica.ask_again;
    }
    std::erase_if(waiting_, [](const Replica* replica) { return !replica->waits; });
}

bool Shard::hears_leader(const Replica& replica) {
    return replica.group.is_leader() || link_to_leader(replica) != nullptr;
}

// Once per beat: nothing waits for ever.
void Shard::end_waits() {
    for (auto& replica : replicas_) {
        for (std::size_t i = 0; i < replica->forwards.size();) {
            const Forward& forward = replica->forwards[i];
            const bool waits = i >= replica->forwards.size() - replica->forwards_waiting;
            const bool held = waits && replica->forwards_held &&
                              now_.mono - replica->forwards_held_since <
                                  base::milliseconds(limits::write_deadline_ms);
            if (now_.mono < forward.until || held) {
                ++i;
                continue;
            }
            const bool open = !waits && !forward.refused;
            const std::size_t before = replica->forwards.size();
            if (open) {
                lose_forward(*replica, i);
            } else {
                ++counters_.forwards_failed;
                close_forward(*replica, i,
                              api::Refused{forward.refused ? api::Refusal::not_leader
                                                           : api::Refusal::no_leader});
            }
            i = replica->forwards.size() == before ? i + 1 : 0;
        }
        while (!replica->entries.empty() && now_.mono - replica->entries.front().written >=
                                                base::milliseconds(limits::write_deadline_ms)) {
            forget_tickets(*replica, replica->entries.front().commands,
                           api::Refusal::outcome_unknown);
            replica->entries.pop();
        }
        end_reads(*replica);
        end_early(*replica);
        if (hears_leader(*replica)) {
            replica->heard_leader = now_.mono;
        } else if (!replica->tails_ended && now_.mono - replica->heard_leader >=
                                                base::milliseconds(limits::leader_wait_ms)) {
            replica->tails_ended = true;
            end_watches(*replica);
        }
    }
}

}  // namespace ursula::shard
