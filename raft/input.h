// What can happen to a Group: everything it learns comes through Group::step as one of these.
#pragma once

#include <cstdint>
#include <span>
#include <variant>

#include "raft/membership.h"
#include "raft/message.h"
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
    // The membership in force at the snapshot (or the group's first one, index 0), then those that
    // entries of the log set, in order. At least one.
    std::span<const MembershipAt> memberships;
    // Random and never given to another start of any replica: names this life in read requests and
    // seeds the election timeouts.
    std::uint64_t life = 0;
};

// A message to this node, from a peer that is who it says it is. Read during the step only. When a
// Replicate leads to Effects::entries_to_accept, their bodies come with this message: carry the
// effects out before the next step.
struct Received {
    const Message* message = nullptr;
};

// The turn of the shard ends: a leader sends what it has for each follower, one message each, and a
// follower asks its leader for the reads of the turn. Due when wants_turn_end() says so.
struct TurnEnd {};

// A command that wants to become the next entry. Answered by an EntryToWrite or a RefusedSubmit
// with its ticket.
struct Submit {
    SubmitTicket ticket;
    std::uint64_t bytes = 0;  // payload, for the bound on uncommitted bytes
};

// The WAL says what is durable now. `log` names an entry this group asked to write: it and all
// before it are on disk. Carries the term, so a late answer for an overwritten entry counts for
// nothing (reliability-anchors 3.4 raft.append_aba). `hard_state` is the newest one on disk.
//
// `cuts`: how many of the cuts of this group's log since its Start (each Effects::truncate_from and
// each SnapshotInstalled is one) were written before `log`. The same entry can be written, cut off
// and written again: an answer for the first time says nothing about the second.
struct Persisted {
    EntryId log;
    HardState hard_state;
    std::uint64_t cuts = 0;
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

// Wants `target` (not joint) to be the membership. Answered by an EntryToWrite of kind membership
// or a RefusedSubmit with its ticket. When the voters change the entry is the joint membership, and
// the leader leaves it by itself once it is committed (4.3). New voters must be learners that have
// caught up (4.2.1).
struct ChangeMembership {
    SubmitTicket ticket;
    Membership target;
};

// Hand leadership to this voter, or with none to the best one (3.10). Ignored when this node does
// not lead or the voter is down or unknown. Submits are refused until the other leads or the
// attempt is given up. `for_good` is TimeoutNow's.
struct Transfer {
    NodeId to;
    bool for_good = false;
};

// --- Liveness of nodes, not of groups (DESIGN "Raft"; raft/README.md "Silence") ---

// Nothing was heard of this node for limits::silence_timeout, or the oldest log write it reports is
// nearly that old.
struct PeerDown {
    NodeId node;
};
// It was heard of again, or the connection to it is a new one: what was in flight may be lost.
struct PeerUp {
    NodeId node;
};
// The node says it does not lead this group in `term` (its digest of groups it leads is without
// it), or it is a new process. Nothing happens unless this group believes it does.
struct LeaderGone {
    NodeId node;
    Term term;
};

// How this node's log disk is. `trouble`: slow or failing where others' are not: a leader hands
// over, to `successor` or else the best voter, and a replica campaigns last. `patience`: slow like
// the others', so another leader would commit no sooner, and this one may take its time.
struct DiskTrouble {
    bool trouble = false;
    bool patience = false;
    NodeId successor;
};

// A snapshot of the log through `last`, which is committed, is about to be written here. Entries of
// this log beyond it follow one that `last` contradicts, so nobody can ever commit them: they go
// first, and the cut is durable before the snapshot is, so that no start finds them behind it. Only
// while needs_snapshot(last) and this node is a follower.
struct SnapshotComing {
    EntryId last;
};

// The snapshot that Effects::fetch_snapshot asked for is durable and is the machine's state; the
// log starts anew behind it (a cut, see Persisted). Only while needs_snapshot(last).
struct SnapshotInstalled {
    EntryId last;
    MembershipAt membership;
};
// It cannot be had now: the leader will offer again.
struct SnapshotFailed {};

using Input =
    std::variant<Start, Submit, Persisted, Timeout, ReadIndex, Applied, SnapshotTaken, Received,
                 TurnEnd, ChangeMembership, Transfer, PeerDown, PeerUp, LeaderGone, DiskTrouble,
                 SnapshotComing, SnapshotInstalled, SnapshotFailed>;

}  // namespace ursula::raft
