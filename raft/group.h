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
// commits by entries of its own term only. Files: group.cc dispatch, terms and what the disk says,
// election.cc (3.4, 9.6), replication.cc the leader's log and its followers (3.5, 3.6), follower.cc
// what a follower makes of it, read_index.cc (6.4), change.cc (4), transfer.cc (3.10).
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "raft/effects.h"
#include "raft/id_log.h"
#include "raft/input.h"
#include "raft/peer.h"
#include "raft/planted.h"
#include "raft/quorum.h"
#include "raft/types.h"

namespace ursula::raft {

// A look at a Group: plain numbers for logs, metrics, tests and the invariants.
struct Status {
    GroupId group;
    NodeId self;
    Role role = Role::follower;
    HardState hard_state;
    HardState hard_state_persisted;
    NodeId leader;
    bool leader_silent = false;
    EntryId snapshot;
    EntryId last;
    LogIndex persisted;
    EntryId committed;
    LogIndex applied;
    LogIndex commit_told;  // the newest commit_to
    std::uint64_t uncommitted_bytes = 0;
    std::uint64_t cuts = 0;
    LogIndex verified;    // follower: equal to the leader's log up to here
    LogIndex term_start;  // leader: its own noop
    ReadContext reads_asked;
    ReadContext reads_answered;
    NodeId transfer_to;  // leader: handing over; 0 = not
    bool disk_trouble = false;
    bool may_campaign = false;
    Instant deadline;
    MembershipAt membership;
    std::vector<Peer> peers;
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
    // Something is to be sent at the end of the turn: a TurnEnd is due. Never with one member.
    bool wants_turn_end() const { return turn_end_due_; }

    GroupId id() const { return id_; }
    NodeId self() const { return self_; }
    Role role() const { return role_; }
    bool is_leader() const { return role_ == Role::leader; }
    NodeId leader() const { return leader_; }
    // A leader that takes submits: not one that is handing over.
    bool takes_submits() const { return role_ == Role::leader && transfer_to_ == NodeId{}; }
    Term term() const { return hard_state_.term; }
    HardState hard_state_persisted() const { return hard_state_persisted_; }
    const IdLog& log() const { return log_; }
    const MembershipAt& membership() const { return memberships_.back(); }
    // Every membership of the log, the one in force at its snapshot first.
    std::span<const MembershipAt> memberships() const { return memberships_; }
    // Whether installing a snapshot up to `last` would bring this replica forward.
    bool needs_snapshot(EntryId last) const {
        return last.index > log_.committed() && !log_.contains(last);
    }
    Status status() const;
    bool operator==(const Group&) const = default;

  private:
    friend struct GroupClock;  // tests/model: makes times comparable between states

    static constexpr std::size_t nobody = SIZE_MAX;

    // group.cc
    void on(const Start& start, Now now, Effects& effects);
    void on(const Persisted& persisted, Now now, Effects& effects);
    void on(const Timeout& timeout, Now now, Effects& effects);
    void on(const Applied& applied, Now now, Effects& effects);
    void on(const SnapshotTaken& taken, Now now, Effects& effects);
    void on(const Received& received, Now now, Effects& effects);
    void on(const TurnEnd& turn_end, Now now, Effects& effects);
    void on(const PeerDown& down, Now now, Effects& effects);
    void on(const PeerUp& up, Now now, Effects& effects);
    void on(const LeaderGone& gone, Now now, Effects& effects);
    Peer* find_peer(NodeId id);
    Peer* self_peer() { return self_at_ == nobody ? nullptr : &peers_[self_at_]; }
    // Members beside this node, which need not be one itself while it leads its own removal.
    bool has_followers() const { return peers_.size() > (self_at_ == nobody ? 0u : 1u); }
    bool votes() const { return self_at_ != nobody && peers_[self_at_].votes(); }
    // Whether it may campaign: voters, and those whose last vote is taken by an entry that may be
    // nowhere else and not committed - the group can need them to commit it (4.2.2).
    bool may_campaign() const;
    // The highest value that a majority of the voters has reached; in a joint change a majority of
    // each side (4.3).
    template <class Value>
    std::uint64_t reached(Value value) const;
    void become(Role role, NodeId leader, Effects& effects);
    void enter_term(Term term, Now now, Effects& effects);
    // False: the message is of an earlier term. A later one is entered.
    bool is_current(const Message& message, Now now, Effects& effects);
    void step_down(Now now, Effects& effects);
    void lose_leader(Duration wait, Now now, Effects& effects);
    void send(NodeId to, MessageBody&& body, Effects& effects);
    void tell_commit(Effects& effects);

    // election.cc
    void on(const Message& from, const PreVote& vote, Now now, Effects& effects);
    void on(const Message& from, const PreVoted& voted, Now now, Effects& effects);
    void on(const Message& from, const Vote& vote, Now now, Effects& effects);
    void on(const Message& from, const Voted& voted, Now now, Effects& effects);
    void on(const Message& from, const WhoLeads& question, Now now, Effects& effects);
    void greet(NodeId node);
    void arm_election(Duration wait, Now now);
    bool hears_leader() const;
    // A node that was never added has no vote: its directory may be a lost one of the same id
    // (R11).
    bool is_member_of_something() const { return !peers_.empty(); }
    bool outranks(NodeId rival, const PreVote& vote);
    LogIndex contradicted_by(const Replicate& entries) const;
    bool is_up_to_date(EntryId last) const {
        return last >= log_.last_id() || planted(Planted::short_log_elected);
    }
    void forget_votes();
    void ask_whether_to_campaign(Now now, Effects& effects);
    void campaign(bool transfer, Now now, Effects& effects);
    void ask_for_votes(Effects& effects);
    void count_votes(Now now, Effects& effects);
    void lead(Now now, Effects& effects);

    // replication.cc
    void on(const Submit& submit, Now now, Effects& effects);
    void on(const Message& from, const Replicated& answer, Now now, Effects& effects);
    void on(const Message& from, const SnapshotStatus& status, Now now, Effects& effects);
    void append(EntryKind kind, SubmitTicket ticket, std::uint64_t counted_bytes, Effects& effects);
    void advance_commit(Now now, Effects& effects);
    void start_sending_to(Peer& peer) const;
    void probe(Peer& peer, LogIndex next) const;
    bool send_due(Peer& peer, Effects& effects);
    void send_entries(Peer& peer, bool bare, Effects& effects);
    void offer_snapshot(Peer& peer, Effects& effects);
    bool owes_answer(const Peer& peer) const;
    void look_after_followers(Now now, Effects& effects);

    // follower.cc
    void on(const Message& from, const Replicate& entries, Now now, Effects& effects);
    void on(const Message& from, const SnapshotOffer& offer, Now now, Effects& effects);
    void on(const SnapshotComing& coming, Now now, Effects& effects);
    void on(const SnapshotInstalled& installed, Now now, Effects& effects);
    void on(const SnapshotFailed& failed, Now now, Effects& effects);
    bool hear_leader(const Message& from, Now now, Effects& effects);
    bool accept(const Replicate& entries, Now now, Effects& effects);
    bool cut(LogIndex from, Effects& effects);
    void follow_commit(LogIndex commit, Effects& effects);
    void acknowledge(Effects& effects);

    // read_index.cc
    void on(const ReadIndex& read, Now now, Effects& effects);
    void on(const Message& from, const Heartbeat& heartbeat, Now now, Effects& effects);
    void on(const Message& from, const HeartbeatSeen& seen, Now now, Effects& effects);
    void on(const Message& from, const ReadRequest& request, Now now, Effects& effects);
    void on(const Message& from, const ReadReply& reply, Now now, Effects& effects);
    void begin_round(Effects& effects);
    void answer_reads(Effects& effects);
    void refuse_reads(Effects& effects);

    // change.cc
    void on(const ChangeMembership& change, Now now, Effects& effects);
    bool refuses_change(const ChangeMembership& change, SubmitRefusal& why) const;
    void append_membership(const Membership& membership, SubmitTicket ticket, Now now,
                           Effects& effects);
    void adopt_membership(Now now, Effects& effects);
    void follow_up_change(Now now, Effects& effects);
    const MembershipAt& in_force() const;

    // transfer.cc
    void on(const Transfer& transfer, Now now, Effects& effects);
    void on(const Message& from, const TimeoutNow& timeout, Now now, Effects& effects);
    void on(const DiskTrouble& trouble, Now now, Effects& effects);
    bool could_succeed(const Peer& peer) const;
    Peer* best_successor();
    void hand_over(NodeId to, bool for_good, Now now, Effects& effects);
    void finish_transfer(Effects& effects);

    GroupId id_;
    NodeId self_;
    bool started_ = false;
    bool turn_end_due_ = false;
    Role role_ = Role::follower;
    NodeId leader_;
    Term told_term_;                  // of the newest role_change
    HardState hard_state_;            // the newest, maybe on its way to the disk
    HardState hard_state_persisted_;  // on disk
    Instant deadline_ = Instant::never();
    IdLog log_;
    std::uint64_t cuts_ = 0;  // see Persisted
    LogIndex commit_told_;    // the newest commit_to: committed and on this disk
    std::vector<MembershipAt> memberships_;
    std::vector<Peer> peers_;       // the members of memberships_.back(), in its order
    std::size_t self_at_ = nobody;  // in peers_
    std::uint64_t life_ = 0;
    std::uint64_t random_ = 0;  // state of the timeouts' draws
    bool disk_trouble_ = false;
    bool disk_patience_ = false;
    Instant campaigned_at_;  // when the vote for oneself went to the disk

    // Follower.
    bool leader_silent_ = false;   // PeerDown(leader_)
    NodeId owes_vote_to_;          // granted, to be told when the hard state is durable
    bool owes_answer_ = false;     // to the leader, when more is durable
    LogIndex verified_;            // equal to the log of this term's leader up to here
    std::uint64_t answering_ = 0;  // number of the newest Replicate
    EntryId fetching_;             // the snapshot being fetched
    bool read_sent_ = false;       // reads_asked_ was sent to the leader

    // Candidate.
    bool transferred_ = false;  // campaigns because the leader asked

    // Leader.
    LogIndex term_start_;  // index of the noop that opened its term
    ReadContext round_;    // of confirmation, the newest begun in this term
    bool round_open_ = false;
    std::uint64_t numbers_gone_ = 0;  // the highest Peer::number of members that went in this term
    NodeId transfer_to_;
    bool transfer_told_ = false;  // TimeoutNow is sent
    bool transfer_for_good_ = false;
    Instant transfer_until_ = Instant::never();
    LogIndex stall_commit_;  // committed() when it was last seen to move, and when; never: nothing
    Instant stall_since_ = Instant::never();  // was owed at the last look, so nothing can stall

    ReadContext reads_asked_;  // the newest read, and the newest that was answered or refused
    ReadContext reads_answered_;
};

template <class Value>
std::uint64_t Group::reached(Value value) const {
    if (peers_.size() == 1) {
        return peers_.front().voter ? value(peers_.front()) : 0;
    }
    std::array<std::uint64_t, limits::members_max> incoming;
    std::array<std::uint64_t, limits::members_max> outgoing;
    std::size_t in = 0;
    std::size_t out = 0;
    for (const Peer& peer : peers_) {
        if (peer.votes()) {
            const std::uint64_t its = value(peer);
            if (peer.voter) {
                incoming[in++] = its;
            }
            if (peer.outgoing) {
                outgoing[out++] = its;
            }
        }
    }
    std::uint64_t both = in == 0 ? 0 : reached_by_majority({incoming.data(), in});
    if (out != 0) {
        both = std::min(both, reached_by_majority({outgoing.data(), out}));
    }
    return both;
}

}  // namespace ursula::raft
