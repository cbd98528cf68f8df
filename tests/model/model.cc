#include "tests/model/model.h"

#include <algorithm>
#include <utility>

#include "base/verify.h"
#include "raft/describe.h"
#include "raft/invariants.h"

namespace ursula::raft {

// Takes the clock out of a Group: an election is due or not, and draws are all the same. States
// that differ in nothing else are one.
struct GroupClock {
    static void forget(Group& group) {
        if (group.deadline_ != Instant::never()) {
            group.deadline_ = Instant{0};
        }
        group.random_ = 0;
        group.stall_since_ = Instant{0};
        group.stall_commit_ = LogIndex{};
    }
};

namespace model {
namespace {

class Hash {
  public:
    void add(std::uint64_t word) {
        hash_ = (hash_ ^ word) * 0x9e37'79b9'7f4a'7c15u;
        hash_ ^= hash_ >> 32;
    }
    std::uint64_t value() const { return hash_; }

  private:
    std::uint64_t hash_ = 0x1234'5678'9abc'def1u;
};

std::uint64_t hash_of(const Node& node) {
    Hash hash;
    const Status status = node.group.status();
    hash.add(static_cast<std::uint64_t>(status.role));
    hash.add(status.hard_state.term.value << 8 | status.hard_state.vote.value);
    hash.add(status.hard_state_persisted.term.value << 8 | status.hard_state_persisted.vote.value);
    hash.add(status.leader.value);
    hash.add(status.last.index.value << 8 | status.last.term.value);
    hash.add(status.persisted.value << 16 | status.committed.index.value << 8 |
             status.verified.value);
    hash.add(status.membership.index.value);
    for (const Peer& peer : status.peers) {
        hash.add(peer.match.value << 48 | peer.next.value << 32 | peer.number << 16 |
                 peer.fresh_from);
        hash.add(static_cast<std::uint64_t>(peer.pace) << 8 | (peer.waiting ? 1u : 0u) |
                 (peer.granted ? 2u : 0u) | (peer.refused ? 4u : 0u));
    }
    hash.add(node.disk.hard_state.term.value << 8 | node.disk.hard_state.vote.value);
    for (const DiskEntry& entry : node.disk.entries) {
        hash.add(entry.term.value);
    }
    for (const Record& record : node.staged) {
        hash.add(static_cast<std::uint64_t>(record.kind) << 32 | record.cut.value << 16 |
                 record.entry.term.value << 8 | record.hard_state.term.value);
    }
    return hash.value();
}

std::uint64_t hash_of(const Message& message) {
    Hash hash;
    hash.add(message.from.value << 8 | message.to.value);
    hash.add(message.term.value << 8 | message.body.index());
    if (const auto* entries = std::get_if<Replicate>(&message.body)) {
        hash.add(entries->number << 32 | entries->prev.index.value << 16 | entries->last.value);
        hash.add(entries->commit.value);
    } else if (const auto* answer = std::get_if<Replicated>(&message.body)) {
        hash.add(answer->number << 32 | answer->match.value << 16 | answer->last.value);
        hash.add(answer->commit.value);
    }
    return hash.value();
}

std::uint8_t bit_of(NodeId id) {
    return static_cast<std::uint8_t>(1u << (id.value - 1));
}

std::uint64_t packed(const std::vector<DiskEntry>& entries) {
    std::uint64_t terms = 0;
    for (std::size_t i = 0; i < entries.size(); ++i) {
        terms |= entries[i].term.value << (4 * i);
    }
    return terms;
}

std::uint64_t first_of(std::uint64_t terms, std::uint64_t count) {
    return count >= 16 ? terms : terms & ((std::uint64_t{1} << (4 * count)) - 1);
}

Summary summary_of(const Node& node) {
    const Status status = node.group.status();
    VERIFY(node.memory.size() <= 16 && status.hard_state.term.value < 16);
    Summary summary;
    summary.log = packed(node.memory);
    summary.disk = packed(node.disk.entries);
    summary.last = static_cast<std::uint8_t>(node.memory.size());
    summary.disk_last = static_cast<std::uint8_t>(node.disk.entries.size());
    summary.committed = static_cast<std::uint8_t>(status.committed.index.value);
    summary.term = static_cast<std::uint8_t>(status.hard_state.term.value);
    summary.leads = status.role == Role::leader;
    for (const Peer& peer : status.peers) {
        if (peer.voter) {
            summary.voters = static_cast<std::uint8_t>(summary.voters | bit_of(peer.id));
        }
        if (peer.outgoing) {
            summary.outgoing = static_cast<std::uint8_t>(summary.outgoing | bit_of(peer.id));
        }
    }
    return summary;
}

bool is_majority(std::uint8_t have, std::uint8_t of) {
    const auto count = [](unsigned bits) {
        return static_cast<std::size_t>(__builtin_popcount(bits));
    };
    return of == 0 || count(have & of) >= majority(count(of));
}

}  // namespace

Model::Model(const Scenario& scenario) : scenario_(scenario), visited_(1u << 16) {}

std::uint32_t Model::keep(const Node& node) {
    const std::uint64_t hash = hash_of(node);
    const auto [first, last] = node_ids_.equal_range(hash);
    for (auto it = first; it != last; ++it) {
        if (nodes_[it->second] == node) {
            return it->second;
        }
    }
    const auto id = static_cast<std::uint32_t>(nodes_.size());
    nodes_.push_back(node);
    summaries_.push_back(summary_of(node));
    node_ids_.emplace(hash, id);
    return id;
}

std::uint32_t Model::keep(const Message& message) {
    const std::uint64_t hash = hash_of(message);
    const auto [first, last] = message_ids_.equal_range(hash);
    for (auto it = first; it != last; ++it) {
        if (messages_[it->second] == message) {
            return it->second;
        }
    }
    const auto id = static_cast<std::uint32_t>(messages_.size());
    messages_.push_back(message);
    message_ids_.emplace(hash, id);
    return id;
}

void Model::start(Node& node, Outcome& outcome) {
    node.disk.cuts = 0;
    node.staged.clear();
    node.memory = node.disk.entries;
    const NodeId self = node.group.self();
    node.group = Group(GroupId(0), self);
    std::vector<TermRun> runs;
    std::vector<MembershipAt> memberships = {{LogIndex{}, scenario_.first}};
    for (std::size_t i = 0; i < node.memory.size(); ++i) {
        const DiskEntry& entry = node.memory[i];
        if (runs.empty() || runs.back().term != entry.term) {
            runs.push_back({LogIndex(i + 1), entry.term});
        }
        if (entry.sets_membership) {
            memberships.push_back({LogIndex(i + 1), entry.membership});
        }
    }
    Effects effects;
    node.group.step(Start{.hard_state = node.disk.hard_state,
                          .snapshot = {},
                          .log_terms = runs,
                          .last = LogIndex(node.memory.size()),
                          .commit_hint = {},
                          .memberships = memberships,
                          .life = 1},
                    Now{}, effects);
    GroupClock::forget(node.group);
    outcome.broken = check_state(node.group.status());
}

// One step with all it asks for; the turn ends at once.
void Model::step(Node& node, const Input& input, Outcome& outcome) {
    const Status before = node.group.status();
    Effects effects;
    node.group.step(input, Now{}, effects);
    GroupClock::forget(node.group);
    const Status after = node.group.status();
    if (outcome.broken.empty()) {
        outcome.broken = check_state(after);
    }
    if (outcome.broken.empty()) {
        outcome.broken = check_step(before, after, effects);
    }
    if (effects.hard_state) {
        node.staged.push_back({.kind = Record::Kind::hard_state,
                               .hard_state = *effects.hard_state,
                               .cut = {},
                               .entry = {}});
    }
    if (effects.truncate_from != LogIndex{}) {
        node.staged.push_back({.kind = Record::Kind::cut,
                               .hard_state = {},
                               .cut = effects.truncate_from,
                               .entry = {}});
        node.memory.resize(effects.truncate_from.value - 1);
        ++reached_.cuts;
    }
    std::vector<DiskEntry> made;
    std::size_t membership = 0;
    for (const EntryToWrite& entry : effects.entries_to_write) {
        DiskEntry written{entry.id.term, entry.kind == EntryKind::membership, {}};
        if (written.sets_membership) {
            written.membership = effects.memberships_to_write[membership++].membership;
        }
        made.push_back(written);
    }
    if (effects.entries_to_accept) {
        const auto& entries = std::get<Replicate>(std::get<Received>(input).message->body);
        for (LogIndex index = effects.entries_to_accept->first;
             index <= effects.entries_to_accept->last; index = index.next()) {
            DiskEntry taken{node.group.log().term_at(index), false, {}};
            if (entries.membership && entries.membership->index == index) {
                taken.sets_membership = true;
                taken.membership = entries.membership->membership;
            }
            made.push_back(taken);
        }
    }
    for (const DiskEntry& entry : made) {
        node.staged.push_back(
            {.kind = Record::Kind::entry, .hard_state = {}, .cut = {}, .entry = entry});
        node.memory.push_back(entry);
    }
    VERIFY(node.memory.size() == after.last.index.value);
    for (const Message& message : effects.messages) {
        outcome.sent.push_back(keep(message));
    }
    // What is committed is applied at once.
    if (effects.commit_to != LogIndex{}) {
        step(node, Applied{effects.commit_to}, outcome);
    }
    if (node.group.wants_turn_end()) {
        step(node, TurnEnd{}, outcome);
    }
}

Model::Outcome Model::compute(std::uint32_t id, Act what, std::uint32_t argument) {
    Outcome outcome;
    Node node = nodes_[id];
    const Status status = node.group.status();
    switch (what) {
        case Act::campaign: {
            if (status.role == Role::leader || !status.may_campaign ||
                status.hard_state.term.value >= scenario_.term_max) {
                return outcome;
            }
            if (status.leader != NodeId{}) {
                step(node, LeaderGone{status.leader, status.hard_state.term}, outcome);
            }
            step(node, Timeout{}, outcome);
            for (std::uint32_t i = 1; scenario_.skips_pre_vote && i <= node_count; ++i) {
                const Message grant{NodeId(i), status.self, status.hard_state.term.next(),
                                    PreVoted{true}};
                if (grant.from != status.self) {
                    step(node, Received{&grant}, outcome);
                }
            }
            if (scenario_.skips_pre_vote) {
                outcome.sent.clear();  // the questions
            }
            break;
        }
        case Act::persist: {
            if (node.staged.empty()) {
                return outcome;
            }
            Persisted persisted;
            Disk disk = node.disk;
            for (const Record& record : node.staged) {
                switch (record.kind) {
                    case Record::Kind::hard_state:
                        disk.hard_state = record.hard_state;
                        persisted.hard_state = record.hard_state;
                        break;
                    case Record::Kind::cut:
                        disk.entries.resize(record.cut.value - 1);
                        ++disk.cuts;
                        persisted.log = EntryId{};
                        break;
                    case Record::Kind::entry:
                        disk.entries.push_back(record.entry);
                        persisted.log = {record.entry.term, LogIndex(disk.entries.size())};
                        break;
                }
            }
            node.staged.clear();
            persisted.cuts = disk.cuts;
            if (scenario_.disk_lies) {
                // Said, not done: a crash shows it.
                disk.entries = node.disk.entries;
            }
            node.disk = std::move(disk);
            step(node, persisted, outcome);
            break;
        }
        case Act::submit:
            if (status.role != Role::leader || status.last.index.value >= scenario_.last_max) {
                return outcome;
            }
            step(node, Submit{.ticket = SubmitTicket(1), .bytes = 0}, outcome);
            break;
        case Act::crash:
            start(node, outcome);
            break;
        case Act::change:
            if (!scenario_.changes_membership || status.role != Role::leader ||
                status.membership.index != LogIndex{}) {
                return outcome;
            }
            step(node, ChangeMembership{SubmitTicket(2), scenario_.target}, outcome);
            break;
        case Act::restarted:
            if (status.role != Role::leader) {
                return outcome;
            }
            step(node, PeerUp{NodeId(argument)}, outcome);
            break;
        case Act::deliver: {
            // Copied: keeping what is sent may move the messages.
            const Message message = messages_[argument];
            step(node, Received{&message}, outcome);
            break;
        }
    }
    outcome.possible = true;
    outcome.node = keep(node);
    return outcome;
}

const Model::Outcome& Model::act(std::uint32_t node, Act what, std::uint32_t argument) {
    const std::uint64_t key =
        static_cast<std::uint64_t>(node) << 32 | static_cast<std::uint64_t>(what) << 28 | argument;
    const auto known = outcomes_.find(key);
    if (known != outcomes_.end()) {
        return known->second;
    }
    return outcomes_.emplace(key, compute(node, what, argument)).first->second;
}

// A message that can do nothing any more but make its receiver say so: as good as lost.
bool Model::is_dead(const Message& message, const Summary& receiver) const {
    return message.term.value < receiver.term;
}

bool Model::visit(const State& state) {
    Hash hash;
    for (const std::uint32_t word : state) {
        hash.add(word);
    }
    const std::uint64_t key = hash.value() == 0 ? 1 : hash.value();
    if ((states_ + 1) * 2 > visited_.size()) {
        std::vector<std::uint64_t> wider(visited_.size() * 2);
        for (const std::uint64_t old : visited_) {
            if (old != 0) {
                std::size_t at = old & (wider.size() - 1);
                while (wider[at] != 0) {
                    at = (at + 1) & (wider.size() - 1);
                }
                wider[at] = old;
            }
        }
        visited_.swap(wider);
    }
    std::size_t at = key & (visited_.size() - 1);
    while (visited_[at] != 0) {
        if (visited_[at] == key) {
            return false;
        }
        at = (at + 1) & (visited_.size() - 1);
    }
    visited_[at] = key;
    ++states_;
    return true;
}

// Election safety, leader completeness, state machine safety and durability over the whole cluster;
// `at` is the node that moved. Log matching follows from looking at packed terms.
std::string Model::check(const State& before, const State& after, std::size_t at) const {
    const Summary& was = summaries_[before[at]];
    const Summary& is = summaries_[after[at]];
    const std::uint64_t committed =
        after[node_count] | static_cast<std::uint64_t>(after[node_count + 1]) << 32;
    const std::uint64_t committed_count = after[node_count + 2];
    const std::uint64_t committed_before = before[node_count + 2];
    if (is.leads) {
        for (std::size_t other = 0; other < node_count; ++other) {
            const Summary& its = summaries_[after[other]];
            if (other != at && its.leads && its.term == is.term) {
                return "election safety: two leaders in one term";
            }
        }
        if ((!was.leads || was.term != is.term) &&
            (is.last < committed_before ||
             first_of(is.log, committed_before) != first_of(committed, committed_before))) {
            return "leader completeness: a new leader lacks what was committed";
        }
    }
    const std::uint64_t both = std::min<std::uint64_t>(is.committed, committed_count);
    if (first_of(is.log, both) != first_of(committed, both)) {
        return "state machine safety: another entry committed";
    }
    for (std::size_t other = 0; other < node_count; ++other) {
        const Summary& its = summaries_[after[other]];
        for (std::uint64_t i = std::min(is.last, its.last); other != at && i > 0; --i) {
            const std::uint64_t term = is.log >> (4 * (i - 1)) & 15;
            if (term == (its.log >> (4 * (i - 1)) & 15)) {
                if (first_of(is.log, i) != first_of(its.log, i)) {
                    return "log matching: same entry, different ones before";
                }
                break;
            }
        }
    }
    if (committed_count > committed_before) {
        std::uint8_t have = 0;
        for (std::size_t i = 0; i < node_count; ++i) {
            const Summary& its = summaries_[after[i]];
            if (its.disk_last >= committed_count &&
                first_of(its.disk, committed_count) == first_of(committed, committed_count)) {
                have = static_cast<std::uint8_t>(have | 1u << i);
            }
        }
        if (!is_majority(have, was.voters) || !is_majority(have, was.outgoing)) {
            return "durability: committed without a majority of disks";
        }
    }
    return {};
}

void Model::say_violation(const std::string& what) {
    if (violation_.empty()) {
        violation_ = what;
    }
}

void Model::add(const std::uint32_t* state, std::size_t words, std::size_t at,
                const Outcome& outcome, std::size_t without) {
    ++steps_;
    if (!outcome.broken.empty()) {
        say_violation("n" + std::to_string(at + 1) + ": " + outcome.broken);
        return;
    }
    built_.assign(state, state + header_words);
    built_[at] = outcome.node;
    const Summary& moved = summaries_[outcome.node];
    if (moved.committed > built_[node_count + 2]) {
        const std::uint64_t terms = first_of(moved.log, moved.committed);
        built_[node_count] = static_cast<std::uint32_t>(terms);
        built_[node_count + 1] = static_cast<std::uint32_t>(terms >> 32);
        built_[node_count + 2] = moved.committed;
    }
    const auto alive = [&](std::uint32_t id) {
        const Message& message = messages_[id];
        return !is_dead(message, summaries_[built_[message.to.value - 1]]);
    };
    for (std::size_t i = header_words; i < words; ++i) {
        if (i != without && alive(state[i])) {
            built_.push_back(state[i]);
        }
    }
    for (const std::uint32_t id : outcome.sent) {
        if (alive(id)) {
            built_.push_back(id);
        }
    }
    std::sort(built_.begin() + header_words, built_.end());
    // The same message twice says nothing more than once.
    built_.erase(std::unique(built_.begin() + header_words, built_.end()), built_.end());
    if (!visit(built_)) {
        return;
    }
    const State before(state, state + header_words);
    if (const std::string broken = check(before, built_, at); !broken.empty()) {
        say_violation("n" + std::to_string(at + 1) + ": " + broken);
        return;
    }
    std::size_t leaders = 0;
    bool joint = false;
    for (std::size_t i = 0; i < node_count; ++i) {
        leaders += summaries_[built_[i]].leads ? 1 : 0;
        joint = joint || summaries_[built_[i]].outgoing != 0;
    }
    reached_.two_leaders += leaders > 1 ? 1 : 0;
    reached_.joint += joint ? 1 : 0;
    const std::uint64_t count = built_[node_count + 2];
    const std::uint64_t committed =
        built_[node_count] | static_cast<std::uint64_t>(built_[node_count + 1]) << 32;
    reached_.later_commits += count > 0 && (committed >> (4 * (count - 1)) & 15) > 1 ? 1 : 0;
    next_.push_back(static_cast<std::uint32_t>(built_.size()));
    next_.insert(next_.end(), built_.begin(), built_.end());
}

void Model::successors(const std::uint32_t* state, std::size_t words) {
    const auto try_act = [&](std::size_t at, Act what) {
        const Outcome& outcome = act(state[at], what, 0);
        if (outcome.possible) {
            add(state, words, at, outcome, 0);
        }
    };
    for (std::size_t i = header_words; i < words; ++i) {
        const std::size_t to = messages_[state[i]].to.value - 1;
        const Outcome& outcome = act(state[to], Act::deliver, state[i]);
        add(state, words, to, outcome, i);
    }
    for (std::size_t at = 0; at < node_count; ++at) {
        try_act(at, Act::persist);
        try_act(at, Act::campaign);
        try_act(at, Act::submit);
        try_act(at, Act::change);
        if (state[crashes_at] < scenario_.crashes_max) {
            crash(state, words, at);
        }
    }
}

// Power is cut and comes back. A leader hears of the new connection and asks again for what may be
// lost.
void Model::crash(const std::uint32_t* state, std::size_t words, std::size_t at) {
    crashed_.assign(state, state + words);
    ++crashed_[crashes_at];
    for (std::size_t other = 0; other < node_count; ++other) {
        if (other == at) {
            continue;
        }
        const Outcome& heard =
            act(state[other], Act::restarted, static_cast<std::uint32_t>(at + 1));
        if (heard.possible) {
            crashed_[other] = heard.node;
            crashed_.insert(crashed_.end(), heard.sent.begin(), heard.sent.end());
        }
    }
    add(crashed_.data(), crashed_.size(), at, act(state[at], Act::crash, 0), 0);
}

// n1 leads term 1, everybody knows and has its first entry.
Model::State Model::first_state() {
    State state(header_words);
    for (std::uint32_t i = 1; i <= node_count; ++i) {
        Outcome outcome;
        Node node{Group(GroupId(0), NodeId(i)), {}, {}, {}};
        start(node, outcome);
        state[i - 1] = keep(node);
    }
    const bool lies = std::exchange(scenario_.disk_lies, false);
    const bool skips = std::exchange(scenario_.skips_pre_vote, true);
    std::vector<std::uint32_t> waiting;
    const auto run = [&](std::size_t at, Act what, std::uint32_t argument) {
        const Outcome outcome = act(state[at], what, argument);
        if (!outcome.possible) {
            return false;
        }
        VERIFY(outcome.broken.empty());
        state[at] = outcome.node;
        waiting.insert(waiting.end(), outcome.sent.begin(), outcome.sent.end());
        return true;
    };
    run(0, Act::campaign, 0);
    for (bool busy = true; busy;) {
        busy = false;
        for (std::size_t at = 0; at < node_count; ++at) {
            busy = run(at, Act::persist, 0) || busy;
        }
        while (!waiting.empty()) {
            const std::uint32_t id = waiting.front();
            waiting.erase(waiting.begin());
            busy = run(messages_[id].to.value - 1, Act::deliver, id) || busy;
        }
    }
    scenario_.disk_lies = lies;
    scenario_.skips_pre_vote = skips;
    outcomes_.clear();
    const Summary& leader = summaries_[state[0]];
    VERIFY(leader.leads && leader.committed == 1);
    state[node_count] = static_cast<std::uint32_t>(first_of(leader.log, 1));
    state[node_count + 2] = 1;
    return state;
}

std::string Model::explore(std::uint64_t states_max) {
    const State first = first_state();
    visit(first);
    next_.push_back(static_cast<std::uint32_t>(first.size()));
    next_.insert(next_.end(), first.begin(), first.end());
    while (!next_.empty() && states_ < states_max && violation_.empty()) {
        frontier_.swap(next_);
        next_.clear();
        ++depth_;
        for (std::size_t at = 0;
             at < frontier_.size() && states_ < states_max && violation_.empty();
             at += frontier_[at] + 1u) {
            successors(frontier_.data() + at + 1, frontier_[at]);
        }
    }
    return violation_;
}

}  // namespace model
}  // namespace ursula::raft
