// What steps ask to be done. One Effects may gather the steps of a whole turn; it is carried out
// once, from the top to the bottom, in the order of the fields:
//
//  1. hard_state: into the WAL batch, ahead of the entries, so no entry outlives its term.
//  2. entries_to_write: into the same batch, in order.
//  3. commit_to: apply up to there. With one voter all of that is on disk.
//  4. reads_ready: after applying up to its index.
//  5. reads_refused, refused_submits, role_change: answered or noted at once.
//
// When the batch is durable the shard answers with a Persisted input. Nothing here waits for it,
// except by that answer.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "raft/types.h"

namespace ursula::raft {

struct EntryToWrite {
    EntryId id;
    EntryKind kind = EntryKind::noop;
    SubmitTicket ticket;  // of the Submit; 0 for the leader's own noop
    constexpr auto operator<=>(const EntryToWrite&) const = default;
};

enum class SubmitRefusal : std::uint8_t {
    not_leader,        // nothing was written; another node may take it (or this one, soon)
    uncommitted_full,  // limits::uncommitted_bytes_max: overloaded, try later
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

struct Effects {
    std::optional<HardState> hard_state;
    std::vector<EntryToWrite> entries_to_write;
    LogIndex commit_to;  // 0 = did not move
    std::optional<ReadsReady> reads_ready;
    std::optional<ReadContext> reads_refused;  // all up to this: no leader here, ask again later
    std::vector<RefusedSubmit> refused_submits;
    std::optional<RoleChange> role_change;

    // Ready for the next turn; keeps the vectors' memory.
    void clear() {
        hard_state.reset();
        entries_to_write.clear();
        commit_to = LogIndex{};
        reads_ready.reset();
        reads_refused.reset();
        refused_submits.clear();
        role_change.reset();
    }
    bool empty() const {
        return !hard_state && entries_to_write.empty() && commit_to == LogIndex{} && !reads_ready &&
               !reads_refused && refused_submits.empty() && !role_change;
    }
    bool operator==(const Effects&) const = default;
};

}  // namespace ursula::raft
