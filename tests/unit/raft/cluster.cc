#include "tests/unit/raft/cluster.h"

#include <algorithm>

#include "base/verify.h"
#include "raft/describe.h"
#include "raft/invariants.h"

namespace ursula::raft::test {

const TestEntry* TestLog::at(LogIndex index) const {
    if (index <= snapshot.index || index > last().index) {
        return nullptr;
    }
    return &entries[index.value - snapshot.index.value - 1];
}

void TestLog::cut(LogIndex from) {
    while (!entries.empty() && entries.back().id.index >= from) {
        entries.pop_back();
    }
}

void TestLog::cover(EntryId id) {
    if (id.index <= snapshot.index) {
        return;
    }
    while (!entries.empty() && entries.front().id.index <= id.index) {
        if (entries.front().kind == EntryKind::membership) {
            snapshot_membership = {entries.front().id.index, entries.front().membership};
        }
        entries.erase(entries.begin());
    }
    snapshot = id;
}

Cluster::Cluster(std::size_t nodes, std::size_t voters, std::uint64_t seed)
    : nodes_(nodes + 1), seed_(seed) {
    std::vector<NodeId> first;
    for (std::size_t i = 1; i <= voters; ++i) {
        first.push_back(NodeId(static_cast<std::uint32_t>(i)));
    }
    for (std::size_t i = 1; i <= nodes; ++i) {
        if (i <= voters) {
            nodes_[i].disk.snapshot_membership.membership = Membership::of_voters(first);
        }
        start(i);
    }
}

void Cluster::fail(std::size_t node, const std::string& what) {
    if (failure_.empty()) {
        failure_ = "n" + std::to_string(node) + ": " + what;
    }
}

void Cluster::start(std::size_t at) {
    Node& node = nodes_[at];
    VERIFY(!node.group);
    node.group.emplace(GroupId(7), NodeId(static_cast<std::uint32_t>(at)));
    node.memory = node.disk;
    node.disk_cuts = 0;
    node.context = ReadContext{};
    node.reads.clear();
    node.life = seed_ * 1'000'003 + ++lives_;
    std::vector<TermRun> runs;
    std::vector<MembershipAt> memberships = {node.disk.snapshot_membership};
    for (const TestEntry& entry : node.disk.entries) {
        if (runs.empty() || runs.back().term != entry.id.term) {
            runs.push_back({entry.id.index, entry.id.term});
        }
        if (entry.kind == EntryKind::membership) {
            memberships.push_back({entry.id.index, entry.membership});
        }
    }
    node.effects.clear();
    node.group->step(Start{.hard_state = node.disk_hard_state,
                           .snapshot = node.disk.snapshot,
                           .log_terms = runs,
                           .last = node.disk.last().index,
                           .commit_hint = node.disk.snapshot.index,
                           .memberships = memberships,
                           .life = node.life},
                     now, node.effects);
    node.status = node.group->status();
    if (const std::string_view broken = check_state(node.status); !broken.empty()) {
        fail(at, std::string(broken));
    }
}

void Cluster::crash(std::size_t at) {
    Node& node = nodes_[at];
    node.group.reset();
    node.staged.clear();
    node.fetch.reset();
}

void Cluster::wipe(std::size_t at) {
    crash(at);
    nodes_[at] = Node{};
}

const Effects& Cluster::step(std::size_t at, const Input& input) {
    Node& node = nodes_[at];
    const TestFrame* frame = nullptr;
    node.effects.clear();
    node.group->step(input, now, node.effects);
    carry_out(at, frame, 0);
    return node.effects;
}

const Effects& Cluster::end_turn(std::size_t at) {
    return step(at, TurnEnd{});
}

const Effects& Cluster::deliver(std::size_t at) {
    VERIFY(at < network.size());
    const TestFrame frame = network[at];
    network.erase(network.begin() + static_cast<std::ptrdiff_t>(at));
    const std::size_t to = frame.message.to.value;
    Node& node = nodes_[to];
    node.effects.clear();
    if (node.group) {
        node.group->step(Received{&frame.message}, now, node.effects);
        carry_out(to, &frame, 0);
    }
    return node.effects;
}

void Cluster::drop(std::size_t at) {
    network.erase(network.begin() + static_cast<std::ptrdiff_t>(at));
}

const Effects& Cluster::submit(std::size_t at, std::uint64_t bytes) {
    Node& node = nodes_[at];
    const std::uint64_t value = next_value_++;
    node.effects.clear();
    node.group->step(Submit{.ticket = SubmitTicket(value), .bytes = bytes}, now, node.effects);
    carry_out(at, nullptr, value);
    return node.effects;
}

const Effects& Cluster::read(std::size_t at) {
    Node& node = nodes_[at];
    node.context = node.context.next();
    node.reads[node.context.value] = committed();
    return step(at, ReadIndex{node.context});
}

const Effects& Cluster::expire(std::size_t at) {
    now.mono = std::max(now.mono, nodes_[at].group->deadline());
    return step(at, Timeout{});
}

void Cluster::apply(std::size_t at) {
    Node& node = nodes_[at];
    if (node.status.applied < node.status.commit_told) {
        step(at, Applied{node.status.commit_told});
    }
}

void Cluster::snapshot(std::size_t at) {
    Node& node = nodes_[at];
    const LogIndex applied = node.status.applied;
    if (applied <= node.memory.snapshot.index) {
        return;
    }
    const EntryId last = node.memory.at(applied)->id;
    node.memory.cover(last);
    node.disk.cover(last);  // applied, so it is there
    step(at, SnapshotTaken{last});
}

const Effects& Cluster::finish_fetch(std::size_t at) {
    Node& node = nodes_[at];
    const FetchSnapshot fetch = *node.fetch;
    node.fetch.reset();
    const Node& source = nodes_[fetch.from.value];
    const EntryId last = source.disk.snapshot;
    if (!source.group || last.index < fetch.last.index) {
        return step(at, SnapshotFailed{});
    }
    if (!node.group->needs_snapshot(last)) {
        return node.effects;
    }
    if (node.group->role() == Role::follower) {
        step(at, SnapshotComing{last});
    }
    // The image is durable before its install is told, and the log's restart with it.
    const MembershipAt membership = source.disk.snapshot_membership;
    persist(at);
    node.disk = {last, membership, {}};
    node.memory = node.disk;
    ++node.disk_cuts;
    ++installs;
    return step(at, SnapshotInstalled{last, membership});
}

void Cluster::stage(Node& node, const TestRecord& record) {
    node.staged.push_back(record);
    switch (record.kind) {
        case TestRecord::Kind::hard_state:
            break;
        case TestRecord::Kind::cut:
            node.memory.cut(record.id.index);
            break;
        case TestRecord::Kind::entry:
            VERIFY(record.entry.id.index == node.memory.last().index.next());
            node.memory.entries.push_back(record.entry);
            break;
    }
}

const Effects& Cluster::persist(std::size_t at, std::size_t count) {
    Node& node = nodes_[at];
    count = std::min(count, node.staged.size());
    Persisted persisted;
    for (std::size_t i = 0; i < count; ++i) {
        const TestRecord& record = node.staged[i];
        switch (record.kind) {
            case TestRecord::Kind::hard_state:
                node.disk_hard_state = record.hard_state;
                persisted.hard_state = record.hard_state;
                break;
            case TestRecord::Kind::cut:
                node.disk.cut(record.id.index);
                ++node.disk_cuts;
                persisted.log = EntryId{};
                break;
            case TestRecord::Kind::entry:
                if (record.entry.id.index > node.disk.snapshot.index) {
                    VERIFY(record.entry.id.index == node.disk.last().index.next());
                    node.disk.entries.push_back(record.entry);
                }
                persisted.log = record.entry.id;
                break;
        }
    }
    node.staged.erase(node.staged.begin(),
                      node.staged.begin() + static_cast<std::ptrdiff_t>(count));
    persisted.cuts = node.disk_cuts;
    return step(at, persisted);
}

// What a step asked for: onto the disk's queue, into the network - and into the oracles.
void Cluster::carry_out(std::size_t at, const TestFrame* frame, std::uint64_t value) {
    Node& node = nodes_[at];
    const Status before = std::move(node.status);
    node.status = node.group->status();
    const Status& after = node.status;
    if (const std::string_view broken = check_state(after); !broken.empty()) {
        fail(at, std::string(broken));
    }
    if (const std::string_view broken = check_step(before, after, node.effects); !broken.empty()) {
        fail(at, std::string(broken));
    }
    const Effects& effects = node.effects;
    if (effects.hard_state) {
        stage(node, {.kind = TestRecord::Kind::hard_state,
                     .hard_state = *effects.hard_state,
                     .entry = {},
                     .id = {}});
    }
    if (effects.truncate_from != LogIndex{}) {
        stage(node, {.kind = TestRecord::Kind::cut,
                     .hard_state = {},
                     .entry = {},
                     .id = {Term{}, effects.truncate_from}});
    }
    std::size_t membership = 0;
    for (const EntryToWrite& entry : effects.entries_to_write) {
        TestEntry made{entry.id, entry.kind, value == 0 ? next_value_++ : value, {}};
        if (entry.kind == EntryKind::membership) {
            made.membership = effects.memberships_to_write[membership++].membership;
        }
        stage(node, {.kind = TestRecord::Kind::entry, .hard_state = {}, .entry = made, .id = {}});
    }
    if (effects.entries_to_accept) {
        for (const TestEntry& entry : frame->entries) {
            if (entry.id.index >= effects.entries_to_accept->first &&
                entry.id.index <= effects.entries_to_accept->last) {
                stage(
                    node,
                    {.kind = TestRecord::Kind::entry, .hard_state = {}, .entry = entry, .id = {}});
            }
        }
    }
    if (node.memory.last() != after.last) {
        fail(at, "the log in memory ends elsewhere than the group's");
    }
    for (const Message& message : effects.messages) {
        check_message(at, message);
        TestFrame out{next_frame_++, message, {}};
        if (const auto* entries = std::get_if<Replicate>(&message.body)) {
            for (LogIndex index = entries->prev.index.next(); index <= entries->last;
                 index = index.next()) {
                const TestEntry* entry = node.memory.at(index);
                VERIFY(entry != nullptr);
                out.entries.push_back(*entry);
            }
        }
        network.push_back(std::move(out));
    }
    if (effects.fetch_snapshot) {
        node.fetch = effects.fetch_snapshot;
    }
    if (after.role == Role::leader && before.role != Role::leader) {
        ++elections;
        NodeId& known = leaders_[after.hard_state.term.value];
        if (known != NodeId{} && known != after.self) {
            fail(at, "election safety: a second leader in term " +
                         std::to_string(after.hard_state.term.value));
        }
        known = after.self;
        for (std::size_t i = after.snapshot.index.value; i < committed_.size(); ++i) {
            const TestEntry* entry = node.memory.at(LogIndex(i + 1));
            if (entry == nullptr || entry->id.term != committed_[i].term) {
                fail(at, "leader completeness: lacks committed entry " + std::to_string(i + 1));
                break;
            }
        }
    }
    if (after.committed.index > before.committed.index) {
        note_commit(at, before);
    }
    if (effects.reads_ready) {
        for (auto it = node.reads.begin();
             it != node.reads.end() && it->first <= effects.reads_ready->context.value;
             it = node.reads.erase(it)) {
            ++reads_answered;
            if (effects.reads_ready->index < it->second) {
                fail(at, "linearizable reads: read " + std::to_string(it->first) +
                             " at an index that is too low");
            }
        }
    }
    if (effects.reads_refused) {
        node.reads.erase(node.reads.begin(), node.reads.upper_bound(effects.reads_refused->value));
    }
}

void Cluster::note_commit(std::size_t at, const Status& before) {
    const Node& node = nodes_[at];
    const Status& status = node.status;
    for (LogIndex index = before.committed.index.next(); index <= status.committed.index;
         index = index.next()) {
        const TestEntry* entry = node.memory.at(index);
        if (entry == nullptr) {
            // Covered by an installed snapshot: only of what others committed.
            if (index.value > committed_.size()) {
                fail(at, "a snapshot of what was not committed");
            }
            continue;
        }
        if (index.value > committed_.size()) {
            VERIFY(index.value == committed_.size() + 1);
            committed_.push_back({entry->id.term, entry->value});
            if (!on_disks(before.membership.membership, entry->id)) {
                fail(at, "durability: committed without a majority of disks");
            }
            continue;
        }
        const Committed& known = committed_[index.value - 1];
        if (known.term != entry->id.term || known.value != entry->value) {
            fail(at, "state machine safety: another entry committed at index " +
                         std::to_string(index.value));
        }
    }
}

bool Cluster::on_disks(const Membership& membership, EntryId id) const {
    std::size_t voters = 0;
    std::size_t have = 0;
    std::size_t outgoing = 0;
    std::size_t outgoing_have = 0;
    for (const Member& member : membership.members()) {
        const TestLog& disk = nodes_[member.id.value].disk;
        const TestEntry* entry = disk.at(id.index);
        const bool has = disk.snapshot.index >= id.index || (entry != nullptr && entry->id == id);
        voters += member.voter ? 1 : 0;
        have += member.voter && has ? 1 : 0;
        outgoing += member.outgoing ? 1 : 0;
        outgoing_have += member.outgoing && has ? 1 : 0;
    }
    return have >= majority(voters) && (outgoing == 0 || outgoing_have >= majority(outgoing));
}

void Cluster::check_message(std::size_t at, const Message& message) {
    const Node& node = nodes_[at];
    if (const auto* voted = std::get_if<Voted>(&message.body); voted != nullptr && voted->granted) {
        if (node.disk_hard_state != HardState{message.term, message.to}) {
            fail(at, "durability: a vote that is not on the disk");
        }
    }
    const auto* answer = std::get_if<Replicated>(&message.body);
    if (answer == nullptr || !answer->accepted) {
        return;
    }
    if (node.disk_hard_state.term < message.term) {
        fail(at, "durability: an answer of a term that is not on the disk");
    }
    if (node.disk.last().index < answer->match) {
        fail(at, "durability: acknowledged beyond the disk");
        return;
    }
    for (LogIndex index = answer->match; index > node.disk.snapshot.index;
         index = LogIndex(index.value - 1)) {
        const TestEntry* entry = node.memory.at(index);
        if (entry == nullptr || *entry != *node.disk.at(index)) {
            fail(at, "durability: acknowledged another entry than the disk has");
            return;
        }
    }
}

void Cluster::check_log_matching() {
    for (std::size_t a = 1; a < nodes_.size(); ++a) {
        for (std::size_t b = a + 1; b < nodes_.size(); ++b) {
            const TestLog& one = nodes_[a].memory;
            const TestLog& two = nodes_[b].memory;
            bool same = false;
            for (LogIndex index = std::min(one.last().index, two.last().index);;
                 index = LogIndex(index.value - 1)) {
                const TestEntry* left = one.at(index);
                const TestEntry* right = two.at(index);
                if (left == nullptr || right == nullptr) {
                    break;
                }
                same = same || left->id == right->id;
                if (same && *left != *right) {
                    fail(a, "log matching: differs from n" + std::to_string(b) + " at index " +
                                std::to_string(index.value));
                    return;
                }
            }
        }
    }
}

std::size_t Cluster::leader() const {
    std::size_t found = 0;
    for (std::size_t i = 1; i < nodes_.size(); ++i) {
        if (nodes_[i].group && nodes_[i].group->is_leader() &&
            (found == 0 || nodes_[found].group->term() < nodes_[i].group->term())) {
            found = i;
        }
    }
    return found;
}

void Cluster::settle() {
    for (bool busy = true; busy;) {
        busy = false;
        while (!network.empty()) {
            deliver(0);
            busy = true;
        }
        for (std::size_t i = 1; i < nodes_.size(); ++i) {
            if (!nodes_[i].group) {
                continue;
            }
            if (!nodes_[i].staged.empty()) {
                persist(i);
                busy = true;
            }
            if (nodes_[i].group->wants_turn_end()) {
                end_turn(i);
                busy = true;
            }
            if (nodes_[i].fetch) {
                finish_fetch(i);
                busy = true;
            }
            apply(i);
        }
    }
}

void Cluster::elect(std::size_t node) {
    expire(node);
    settle();
}

}  // namespace ursula::raft::test
