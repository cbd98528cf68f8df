// What can happen to a Group: everything it learns comes through Group::step as one of these.
#pragma once

#include <cstdint>
#include <span>
#include <variant>

#include "raft/types.h"

namespace ursula::raft {

// The first input of a Group's life, once: what recovery found. All of it is durable (recovery
// synced the files). The spans are read during the step only.
struct Start {
    HardState hard_state;
    // The last entry the snapshot covers; {0, 0} without one.
    EntryId snapshot;
    // Of the entries after the snapshot, in order; empty when there are none.
    std::span<const TermRun> log_terms;
    // Last entry of the log; snapshot.index when it is empty.
    LogIndex last;
    // Known committed when this was written, so not beyond `last`; 0 is always right.
    LogIndex commit_hint;
    // Distinct, this node among them.
    std::span<const NodeId> voters;
};

// A command that wants to become the next entry. Answered by an EntryToWrite or a RefusedSubmit
// with its ticket.
struct Submit {
    SubmitTicket ticket;
    std::uint64_t bytes = 0;  // payload, for the bound on uncommitted bytes
};

// The WAL says what is durable now. `log` names an entry this group asked to write: it and all
// before it are on disk. Carries the term, so a late answer for an overwritten entry counts for
// nothing (reliability-anchors 3.4 raft.append_aba). `hard_state` is the newest one on disk.
struct Persisted {
    EntryId log;
    HardState hard_state;
};

// deadline() has been reached. Ignored when it has not.
struct Timeout {};

// Asks for an index such that a read of the applied state there is linearizable (6.4). Contexts
// rise: an answer for one answers every earlier one. Answered by Effects::reads_ready or
// reads_refused.
struct ReadIndex {
    ReadContext context;
};

// The machine has applied all entries up to `index` (never beyond what commit_to allowed).
struct Applied {
    LogIndex index;
};

// A durable snapshot covers the log up to and including `last` (applied before): the ids up to
// there are forgotten.
struct SnapshotTaken {
    EntryId last;
};

using Input = std::variant<Start, Submit, Persisted, Timeout, ReadIndex, Applied, SnapshotTaken>;

}  // namespace ursula::raft
