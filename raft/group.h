// Group: one replica of one replicated log, as a value. It has no socket, file, clock or payload:
// what happens comes in through step(), what is to be done comes out in Effects, and a copy of a
// Group is a second one in the same state.
//
// Life: constructed, one Start, then any inputs in any order. Owned by one shard and used on its
// core only. After a crash a new Group gets what the WAL kept as Start; nothing else of a Group
// outlives the process.
//
// A cluster of one is a membership of one voter on the general rules: it campaigns, its vote counts
// when its hard state is durable, its log counts towards commit when its write is durable, and it
// commits by entries of its own term only. Files: group.cc dispatch and terms, election.cc (3.4),
// replication.cc (3.5, 3.6), read_index.cc (6.4).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "raft/effects.h"
#include "raft/id_log.h"
#include "raft/input.h"
#include "raft/types.h"

namespace ursula::raft {

// What a node knows of one voter, itself included. Reset at each election.
struct Voter {
    NodeId id;
    LogIndex match;              // leader: its log is durable up to here and equal to ours
    ReadContext read_confirmed;  // leader: it recognised our leadership after this read was asked
    bool granted = false;        // candidate: its vote for us is durable
    constexpr auto operator<=>(const Voter&) const = default;
};

// A look at a Group: plain numbers for logs, metrics, tests and the invariants.
struct Status {
    GroupId group;
    NodeId self;
    Role role = Role::follower;
    HardState hard_state;
    HardState hard_state_persisted;
    NodeId leader;
    EntryId snapshot;
    EntryId last;
    LogIndex persisted;
    EntryId committed;
    LogIndex applied;
    std::uint64_t uncommitted_bytes = 0;
    LogIndex term_start;  // leader: its own noop
    ReadContext reads_asked;
    ReadContext reads_answered;
    Instant deadline;
    std::vector<Voter> voters;
    bool operator==(const Status&) const = default;
};

class Group {
  public:
    // `self` is this node, at least 1.
    Group(GroupId id, NodeId self) : id_(id), self_(self) {}

    // Takes one input and adds what it asks for to effects (which may hold those of earlier steps
    // of the turn).
    void step(const Input& input, Now now, Effects& effects);
    // When a Timeout input is due; Instant::never() when the group waits for nothing but inputs.
    Instant deadline() const { return deadline_; }

    GroupId id() const { return id_; }
    Role role() const { return role_; }
    bool is_leader() const { return role_ == Role::leader; }
    NodeId leader() const { return leader_; }
    Term term() const { return hard_state_.term; }
    const IdLog& log() const { return log_; }
    Status status() const;
    bool operator==(const Group&) const = default;

  private:
    // group.cc
    void on(const Start& start, Now now, Effects& effects);
    void on(const Persisted& persisted, Now now, Effects& effects);
    void on(const Timeout& timeout, Now now, Effects& effects);
    void on(const Applied& applied, Now now, Effects& effects);
    void on(const SnapshotTaken& taken, Now now, Effects& effects);
    Voter& self_voter();
    void become(Role role, NodeId leader, Effects& effects);

    // election.cc
    void campaign(Effects& effects);
    void count_votes(Effects& effects);
    void lead(Effects& effects);

    // replication.cc
    void on(const Submit& submit, Now now, Effects& effects);
    void append(EntryKind kind, SubmitTicket ticket, std::uint64_t counted_bytes, Effects& effects);
    void advance_commit(Effects& effects);

    // read_index.cc
    void on(const ReadIndex& read, Now now, Effects& effects);
    void answer_reads(Effects& effects);

    GroupId id_;
    NodeId self_;
    bool started_ = false;
    Role role_ = Role::follower;
    NodeId leader_;
    HardState hard_state_;            // the newest, maybe on its way to the disk
    HardState hard_state_persisted_;  // on disk
    Instant deadline_ = Instant::never();
    IdLog log_;
    std::vector<Voter> voters_;
    LogIndex term_start_;      // leader: index of the noop that opened its term
    ReadContext reads_asked_;  // the newest read, and the newest that was answered or refused
    ReadContext reads_answered_;
};

}  // namespace ursula::raft
