// A group of one voter with a disk that does what the test says: staged writes become durable when
// told, a restart keeps what is durable. Every step is checked against raft/invariants.h.
#pragma once

#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "raft/describe.h"
#include "raft/group.h"
#include "raft/invariants.h"

namespace ursula::raft::test {

struct DurableLog {
    HardState hard_state;
    EntryId snapshot;
    std::vector<EntryId> entries;  // after the snapshot
    LogIndex commit_hint;

    EntryId last() const { return entries.empty() ? snapshot : entries.back(); }
    std::vector<TermRun> runs() const {
        std::vector<TermRun> found;
        for (const EntryId& id : entries) {
            if (found.empty() || found.back().term != id.term) {
                found.push_back({id.index, id.term});
            }
        }
        return found;
    }
};

class OneVoter {
  public:
    static constexpr NodeId self{1};

    explicit OneVoter(GroupId id = GroupId(7)) : group_(id, self) {}

    // Starts with what is durable; the effects of the start are returned.
    const Effects& start() {
        const std::vector<TermRun> runs = durable.runs();
        const NodeId voters[] = {self};
        const MembershipAt memberships[] = {{LogIndex{}, Membership::of_voters(voters)}};
        effects_.clear();
        group_.step(Start{.hard_state = durable.hard_state,
                          .snapshot = durable.snapshot,
                          .log_terms = runs,
                          .last = durable.last().index,
                          .commit_hint = durable.commit_hint,
                          .memberships = memberships},
                    now, effects_);
        CHECK(check_state(group_.status()) == "");
        return effects_;
    }
    // One input, its effects alone, every invariant; new writes wait for persist().
    const Effects& step(const Input& input) {
        const Status before = group_.status();
        effects_.clear();
        group_.step(input, now, effects_);
        CHECK(check_state(group_.status()) == "");
        CHECK(check_step(before, group_.status(), effects_) == "");
        if (effects_.hard_state) {
            staged_hard_state_ = *effects_.hard_state;
            has_staged_hard_state_ = true;
        }
        for (const EntryToWrite& entry : effects_.entries_to_write) {
            staged_.push_back(entry.id);
        }
        return effects_;
    }
    const Effects& timeout() { return step(Timeout{}); }
    const Effects& submit(std::uint64_t bytes) {
        ticket_ = ticket_.next();
        return step(Submit{.ticket = ticket_, .bytes = bytes});
    }
    const Effects& read() {
        context_ = context_.next();
        return step(ReadIndex{context_});
    }
    // Everything staged, or only the first `count` entries of it, is on disk now.
    const Effects& persist(std::size_t count = SIZE_MAX) {
        if (has_staged_hard_state_) {
            durable.hard_state = staged_hard_state_;
            has_staged_hard_state_ = false;
        }
        count = std::min(count, staged_.size());
        const auto end = staged_.begin() + static_cast<std::ptrdiff_t>(count);
        durable.entries.insert(durable.entries.end(), staged_.begin(), end);
        staged_.erase(staged_.begin(), end);
        return step(Persisted{.log = durable.last(), .hard_state = durable.hard_state});
    }
    const Effects& apply() { return step(Applied{group_.log().committed()}); }
    // The durable log notes what is committed, as the WAL's records do.
    void note_commit() { durable.commit_hint = group_.log().committed(); }
    const Effects& snapshot(EntryId last) {
        std::erase_if(durable.entries, [last](EntryId id) { return id.index <= last.index; });
        durable.snapshot = last;
        return step(SnapshotTaken{last});
    }
    // Power is cut: staged writes are gone.
    const Effects& restart() {
        group_ = Group(group_.id(), self);
        staged_.clear();
        has_staged_hard_state_ = false;
        context_ = ReadContext{};
        return start();
    }
    // From any start to a leader whose own noop is committed and applied.
    void lead() {
        start();
        timeout();
        persist();
        persist();
        apply();
    }

    const Group& group() const { return group_; }

    DurableLog durable;
    Now now{.mono = {1'000'000'000}, .wall = {0}};

  private:
    Group group_;
    Effects effects_;
    std::vector<EntryId> staged_;
    HardState staged_hard_state_;
    bool has_staged_hard_state_ = false;
    SubmitTicket ticket_;
    ReadContext context_;
};

inline EntryId id(std::uint64_t term, std::uint64_t index) {
    return {Term(term), LogIndex(index)};
}

}  // namespace ursula::raft::test
