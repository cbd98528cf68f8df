// What must hold whatever happens (reliability-anchors 2.2).
#include <fmt/format.h>

#include <algorithm>

#include "raft/describe.h"
#include "sim/cluster.h"
#include "storage/recovery.h"

namespace ursula::sim {

namespace {

// Recovery's findings beside its marks are of no interest here.
class NoSink final : public storage::RecoverySink {
  public:
    void on_entry(const storage::RecoveredEntry& /*entry*/) override {}
    void on_truncate(base::GroupId /*group*/, base::LogIndex /*from*/) override {}
};

// Where the run of one term begins that this index is in.
base::LogIndex run_begin(const raft::IdLog& log, base::LogIndex at) {
    const auto runs = log.runs();
    const auto after = std::upper_bound(
        runs.begin(), runs.end(), at,
        [](base::LogIndex wanted, const raft::TermRun& run) { return wanted < run.first; });
    return after == runs.begin() ? base::LogIndex(1) : std::prev(after)->first;
}

}  // namespace

void Cluster::check(Node& node, std::size_t at) {
    const shard::Shard& shard = *node.parts[at].shard;
    const auto step = static_cast<std::uint32_t>(node.parts.size());
    const bool all = report_.events % 1024 == 0;
    for (auto group = static_cast<std::uint32_t>(at); group < groups_; group += step) {
        check_group(node, shard, group);
        if (all) {
            check_matching(group);
        }
    }
    if (report_.events % 16384 == 0) {
        check_disk(node, at);
    }
}

void Cluster::check_group(Node& node, const shard::Shard& shard, std::uint32_t group) {
    const raft::Group& replica = shard.group(base::GroupId(group));
    Seen& seen = node.seen[group];
    // R7: a leader's commit moves to an entry of its own term first.
    if (replica.is_leader() && seen.led == replica.term() &&
        replica.log().committed() > seen.committed &&
        replica.log().term_at(replica.log().committed()) != replica.term()) {
        fail(
            fmt::format("n{} g{} leads in term {} and commits entry {} of an earlier one by "
                        "counting",
                        node.number, group, replica.term().value, replica.log().committed().value));
    }
    // R14.
    const base::LogIndex committed = replica.log().committed();
    if (replica.term() < seen.term || committed < seen.committed) {
        fail(fmt::format("n{} g{} went back from term {} or commit {} to {} or {}", node.number,
                         group, seen.term.value, seen.committed.value, replica.term().value,
                         committed.value));
    }
    seen.term = replica.term();
    seen.committed = committed;
    if (replica.is_leader() && seen.led != replica.term()) {
        seen.led = replica.term();
        check_leader(node, replica, group);
    }
    if (shard.machine(base::GroupId(group)).applied().index > seen.checked) {
        check_applied(node, shard, group);
    }
}

// R1 and R4, when one is seen to lead in a term for the first time.
void Cluster::check_leader(Node& node, const raft::Group& replica, std::uint32_t group) {
    const std::size_t who = incarnation_of(node);
    const auto [known, fresh] = leaders_[group].emplace(replica.term().value, who);
    if (!fresh) {
        if (known->second != who) {
            fail(fmt::format("n{} and n{} lead g{} in term {}", known->second, who, group,
                             replica.term().value));
        }
        return;
    }
    ++report_.elections;
    check_votes(node, replica, group);
    say(fmt::format("n{} leads g{} in term {}", node.number, group, replica.term().value));
    // Applied entries of later terms say nothing: this leader may be deposed and not know.
    const raft::IdLog& log = replica.log();
    const std::vector<std::uint64_t>& terms = applied_terms_[group];
    const auto later = std::lower_bound(terms.begin(), terms.end(), replica.term().value);
    const base::LogIndex end(static_cast<std::uint64_t>(later - terms.begin()));
    if (log.last() < end || (end.value > 0 && end >= log.snapshot().index &&
                             log.term_at(end).value != terms[end.value - 1])) {
        fail(fmt::format("n{} leads g{} in term {} without entry {} that was applied", node.number,
                         group, replica.term().value, end.value));
    }
}

// R1, at its root: nobody leads without the durable votes of a majority. A node in a later term may
// have voted, and so may one whose directory is gone since.
void Cluster::check_votes(const Node& node, const raft::Group& replica, std::uint32_t group) {
    const auto gives = [&](const raft::HardState& kept) {
        return kept.term > replica.term() ||
               (kept.term == replica.term() && kept.vote == replica.self());
    };
    const auto votes = [&](const Node& voter, std::uint64_t generation) {
        const Seen* seen = seen_of(voter, generation, group);
        return seen != nullptr && gives(voter.up && generation == voter.generation
                                            ? replica_of(voter, group).hard_state_persisted()
                                            : seen->promised);
    };
    const shard::MemberTable& table = tables_of(node, group).back();
    if (!by_majority(table, votes)) {
        fail(fmt::format("n{} leads g{} in term {} without the votes of a majority of {}",
                         node.number, group, replica.term().value,
                         raft::describe(table.at.membership)));
    }
}

// R5.
void Cluster::check_applied(Node& node, const shard::Shard& shard, std::uint32_t group) {
    const raft::IdLog& log = shard.group(base::GroupId(group)).log();
    const base::EntryId applied = shard.machine(base::GroupId(group)).applied();
    if (applied.index > log.committed() || applied.index > log.persisted()) {
        fail(fmt::format("n{} g{} applied entry {}; it has {} committed and {} on disk",
                         node.number, group, applied.index.value, log.committed().value,
                         log.persisted().value));
    }
    base::LogIndex& checked = node.seen[group].checked;
    checked = std::max(checked, log.snapshot().index);
    std::vector<std::uint64_t>& terms = applied_terms_[group];
    const bool first = terms.size() < applied.index.value;
    for (; checked < applied.index; checked = checked.next()) {
        const std::uint64_t term = log.term_at(checked.next()).value;
        if (checked.value == terms.size()) {
            terms.push_back(term);
        } else if (checked.value < terms.size() && terms[checked.value] != term) {
            fail(fmt::format("n{} g{} applied entry {} of term {}, another node that of term {}",
                             node.number, group, checked.value + 1, term, terms[checked.value]));
        }
    }
    std::vector<std::uint64_t>& hashes = state_hashes_[group];
    if (hashes.size() <= applied.index.value) {
        hashes.resize(applied.index.value + 1);
    }
    const std::uint64_t hash = shard.machine(base::GroupId(group)).state_hash();
    std::uint64_t& known = hashes[applied.index.value];
    if (known != 0 && known != hash) {
        fail(fmt::format("n{} g{} has another state at entry {} than another node", node.number,
                         group, applied.index.value));
    }
    known = hash;
    if (first) {
        check_majority(group, applied);
    }
}

// What is applied anywhere is durable on a majority: of nodes that are down, by what they had when
// they went down, or were lost: that they are a minority is the faults' to see to.
void Cluster::check_majority(std::uint32_t group, base::EntryId applied) {
    const auto has = [&](const raft::IdLog& log) {
        return log.persisted() >= applied.index && holds(log, applied);
    };
    const auto node_has = [&](const Node& node, std::uint64_t generation) {
        const Seen* seen = seen_of(node, generation, group);
        return seen != nullptr &&
               has(node.up && generation == node.generation ? replica_of(node, group).log()
                                                            : seen->log);
    };
    const std::vector<shard::MemberTable> all = tables_from(group, applied);
    const bool safe = std::any_of(all.begin(), all.end(),
                                  [&](const auto& one) { return by_majority(one, node_has); });
    if (!safe) {
        std::string text;
        for (const Node& node : nodes_) {
            text += node_has(node, node.generation) ? fmt::format(" n{}", node.number) : "";
        }
        for (const shard::MemberTable& one : all) {
            text +=
                fmt::format("; {} from {}", raft::describe(one.at.membership), one.at.index.value);
        }
        fail(fmt::format("entry {} of term {} of g{} is applied and durable only on{}",
                         applied.index.value, applied.term.value, group, text));
    }
}

// R3: two logs with the same entry at one place are the same before it.
void Cluster::check_matching(std::uint32_t group) {
    for (std::size_t a = 0; a < nodes_.size(); ++a) {
        for (std::size_t b = a + 1; b < nodes_.size(); ++b) {
            if (!nodes_[a].up || !nodes_[b].up) {
                continue;
            }
            const raft::IdLog& one = replica_of(nodes_[a], group).log();
            const raft::IdLog& other = replica_of(nodes_[b], group).log();
            const base::LogIndex bottom = std::max(one.snapshot().index, other.snapshot().index);
            // Between two places where either log's term changes both are constant: the places
            // right before those are enough.
            bool matched = false;
            base::LogIndex at = std::min(one.last(), other.last());
            while (at > bottom && at.value > 0) {
                const bool same = one.term_at(at) == other.term_at(at);
                if (matched && !same) {
                    fail(fmt::format("the logs of n{} and n{} of g{} differ at {} and agree later",
                                     a + 1, b + 1, group, at.value));
                    return;
                }
                matched = matched || same;
                const base::LogIndex begins = std::max(run_begin(one, at), run_begin(other, at));
                at = base::LogIndex(std::max(begins, base::LogIndex(1)).value - 1);
            }
        }
    }
}

// --- promises ---

// R6: what a replica takes for durable is what is left if the power fails now and nothing that is
// not synced survives.
void Cluster::check_disk(const Node& node, std::size_t at) {
    const Part& part = node.parts[at];
    SimDisk disk(part.sim->durable());
    std::vector<base::EntryId> snapshots(groups_);
    const auto step = static_cast<std::uint32_t>(node.parts.size());
    for (auto group = static_cast<std::uint32_t>(at); group < groups_; group += step) {
        snapshots[group] = replica_of(node, group).log().snapshot();
    }
    NoSink sink;
    const auto log = storage::recover(disk, {options_of(node, at).salt, groups_, snapshots}, sink);
    if (!log) {
        if (node.rotten) {
            return;  // it refuses to start with what it acknowledged gone
        }
        fail(fmt::format("n{} would not start after a power cut now: {}", node.number,
                         log.error().message));
        return;
    }
    std::vector<storage::BootState> boots(groups_);
    for (const storage::BootState& boot : log->groups) {
        boots[boot.group.value] = boot;
    }
    for (auto group = static_cast<std::uint32_t>(at); group < groups_; group += step) {
        const raft::Status status = replica_of(node, group).status();
        const storage::BootState& boot = boots[group];
        if (raft::HardState{boot.term, boot.vote} < status.hard_state_persisted ||
            boot.last.index < status.persisted) {
            fail(
                fmt::format("n{} g{} takes term {} and entry {} for durable; on its disk are "
                            "term {} and entry {}",
                            node.number, group, status.hard_state_persisted.term.value,
                            status.persisted.value, boot.term.value, boot.last.index.value));
        }
    }
}

// R6: a frame promises only what is durable.
void Cluster::on_frame(std::size_t from, base::Bytes frame) {
    shard::FrameReader reader;
    if (!reader.open(frame)) {
        fail(fmt::format("n{} sends what is no frame", from));
        return;
    }
    const Node& node = nodes_[from - 1];
    while (reader.next(item_)) {
        if (item_.kind == shard::FrameItem::Kind::message) {
            check_promise(node, item_.group.value, item_.message);
        }
    }
    if (!reader.ok()) {
        fail(fmt::format("n{} sends a malformed item", from));
    }
}

void Cluster::check_promise(const Node& node, std::uint32_t group, const raft::Message& message) {
    const raft::Group& replica = replica_of(node, group);
    const raft::HardState kept = replica.hard_state_persisted();
    const auto refuse = [&](const char* what) {
        fail(fmt::format("n{} g{} {} in term {} before that is durable", node.number, group, what,
                         message.term.value));
    };
    // The vote of a later term is another one, and none of this term can be given any more.
    const auto voted_for = [&](base::NodeId whom) {
        return kept.term > message.term || (kept.term == message.term && kept.vote == whom);
    };
    if (const auto* voted = std::get_if<raft::Voted>(&message.body)) {
        if (voted->granted && !voted_for(message.to)) {
            refuse("votes");
        }
    } else if (std::holds_alternative<raft::Vote>(message.body)) {
        if (!voted_for(message.from)) {
            refuse("asks for votes");
        }
    } else if (std::holds_alternative<raft::Replicate>(message.body)) {
        if (kept.term < message.term) {
            refuse("leads");
        }
    } else if (const auto* answer = std::get_if<raft::Replicated>(&message.body)) {
        const bool current = replica.term() == message.term;
        if (answer->accepted &&
            (kept.term < message.term || (current && replica.log().persisted() < answer->match))) {
            refuse("acknowledges entries");
        }
    }
}

// What it had on disk and promised when it went down is there when it starts.
void Cluster::check_start(Node& node, std::size_t at) {
    const auto step = static_cast<std::uint32_t>(node.parts.size());
    for (auto group = static_cast<std::uint32_t>(at); group < groups_; group += step) {
        const raft::Group& replica = replica_of(node, group);
        const raft::Status status = replica.status();
        Seen& seen = node.seen[group];
        const base::EntryId durable{seen.log.term_at(seen.log.persisted()), seen.log.persisted()};
        if (durable.index > replica.log().snapshot().index && !replica.log().contains(durable)) {
            fail(
                fmt::format("n{} g{} had entry {} of term {} on disk; after its restart its log "
                            "ends at {}",
                            node.number, group, durable.index.value, durable.term.value,
                            status.last.index.value));
        }
        if (status.hard_state < seen.promised) {
            fail(fmt::format("n{} g{} forgot its term or vote of term {}", node.number, group,
                             seen.promised.term.value));
        }
        seen.checked = base::LogIndex{};
        seen.committed = base::LogIndex{};
        seen.term = base::Term{};
        seen.led = base::Term{};
    }
}

}  // namespace ursula::sim
