// What steps ask to be done. One Effects may gather the steps of a whole turn; it is carried out
// once, from the top to the bottom, in the order of the fields:
//
//  1. hard_state: into the WAL batch, ahead of the entries, so no entry outlives its term.
//  2. truncate_from: the log's entries from this index on are gone; into the same batch.
//  3. entries_to_write (a leader's own), entries_to_accept (a follower's): into the same batch.
//  4. messages: may leave at once, in the same turn in which the batch is written (10.2.1).
//  5. commit_to: apply up to there. All of it is on this node's disk.
//  6. reads_ready: after applying up to its index, which may lie beyond commit_to.
//  7. the rest: answered or noted at once.
//
// When the batch is durable the shard answers with a Persisted input. Nothing here waits for it,
// except by that answer.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "raft/membership.h"
#include "raft/message.h"
#include "raft/types.h"

namespace ursula::raft {

struct EntryToWrite {
    EntryId id;
    EntryKind kind = EntryKind::noop;
    SubmitTicket ticket;  // of the Submit or ChangeMembership; 0 for the leader's own entries
    constexpr auto operator<=>(const EntryToWrite&) const = default;
};

// Entries [first, last] of the Replicate that was just stepped: their bodies and kinds are in its
// frame. The WAL needs them one after the other, as they come.
struct EntriesToAccept {
    LogIndex first;
    LogIndex last;
    constexpr auto operator<=>(const EntriesToAccept&) const = default;
};

// Certain: nothing was written.
enum class SubmitRefusal : std::uint8_t {
    not_leader,        // another node may take it (or this one, soon)
    uncommitted_full,  // limits::uncommitted_bytes_max: overloaded, try later
    transferring,      // leadership is being handed over: another node takes it, soon
    // Of ChangeMembership only:
    change_in_flight,  // the last change, or the leader's first entry, is not committed yet
    not_caught_up,     // a new voter that is no learner, lacks entries or is down
    no_quorum,         // the target has no voters, or no majority of them is up
    too_many_members,  // limits::members_max
};

struct RefusedSubmit {
    SubmitTicket ticket;
    SubmitRefusal why = SubmitRefusal::not_leader;
    constexpr auto operator<=>(const RefusedSubmit&) const = default;
};

// Every read asked with a context up to this one may be answered from the state applied up to
// `index`.
struct ReadsReady {
    ReadContext context;
    LogIndex index;
    constexpr auto operator<=>(const ReadsReady&) const = default;
};

// The role after the last step. Two changes gathered in one Effects show as the last; its term
// tells.
struct RoleChange {
    Role role = Role::follower;
    Term term;
    NodeId leader;  // 0 = not known
    constexpr auto operator<=>(const RoleChange&) const = default;
};

// Get the leader's snapshot that covers the log through `last` (or a newer one) from `from`.
// Answered by SnapshotInstalled or SnapshotFailed.
struct FetchSnapshot {
    NodeId from;
    EntryId last;
    constexpr auto operator<=>(const FetchSnapshot&) const = default;
};

struct Effects {
    std::optional<HardState> hard_state;
    LogIndex truncate_from;  // 0 = nothing; entries below stay
    std::vector<EntryToWrite> entries_to_write;
    std::vector<MembershipAt> memberships_to_write;  // bodies of entries_to_write of that kind
    std::optional<EntriesToAccept> entries_to_accept;
    std::vector<Message> messages;
    LogIndex commit_to;  // 0 = did not move
    std::optional<ReadsReady> reads_ready;
    std::optional<ReadContext> reads_refused;  // all up to this: no leader here, ask again later
    std::vector<RefusedSubmit> refused_submits;
    std::optional<RoleChange> role_change;
    // The membership in force is another one now: appended, or back after a truncation.
    std::optional<MembershipAt> membership_change;
    std::optional<FetchSnapshot> fetch_snapshot;
    // This follower's durable log went back behind what it acknowledged to this leader: its disk
    // was replaced or lies (R11). It has no voice under this leader; the next one does not know of
    // it. For the alarm.
    NodeId reverted;
    // An entry that is committed here is another one in the leader's log: a majority has forgotten
    // what it had promised (R11). Nothing that is said from here on can be right; 0: no such thing.
    LogIndex contradicted;

    // Ready for the next turn; keeps the vectors' memory.
    void clear() {
        hard_state.reset();
        truncate_from = LogIndex{};
        entries_to_write.clear();
        memberships_to_write.clear();
        entries_to_accept.reset();
        messages.clear();
        commit_to = LogIndex{};
        reads_ready.reset();
        reads_refused.reset();
        refused_submits.clear();
        role_change.reset();
        membership_change.reset();
        fetch_snapshot.reset();
        reverted = NodeId{};
        contradicted = LogIndex{};
    }
    bool empty() const {
        return !hard_state && truncate_from == LogIndex{} && entries_to_write.empty() &&
               memberships_to_write.empty() && !entries_to_accept && messages.empty() &&
               commit_to == LogIndex{} && !reads_ready && !reads_refused &&
               refused_submits.empty() && !role_change && !membership_change && !fetch_snapshot &&
               reverted == NodeId{} && contradicted == LogIndex{};
    }
    bool operator==(const Effects&) const = default;
};

}  // namespace ursula::raft
