// The log without its payload: which term each index has, how many bytes are not committed yet, and
// the marks that Raft moves. Payload and locations are the WAL's and the shard's.
//
// Memory: one TermRun per change of leader still in the log, 8 bytes per uncommitted entry; a
// million entries of a few terms cost what ten do.
//
// Invariants: snapshot.index <= applied <= committed <= last, snapshot.index <= persisted <= last.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "raft/types.h"

namespace ursula::raft {

class IdLog {
  public:
    // From recovery. Everything up to `last` is persisted. `committed` lies in [snapshot.index,
    // last].
    void restore(EntryId snapshot, std::span<const TermRun> runs, LogIndex last,
                 LogIndex committed);

    // The last id that was compacted away, {0, 0} if none.
    EntryId snapshot() const { return snapshot_; }
    LogIndex first() const { return snapshot_.index.next(); }
    LogIndex last() const { return last_; }
    EntryId last_id() const { return {term_at(last_), last_}; }
    LogIndex persisted() const { return persisted_; }
    LogIndex committed() const { return committed_; }
    LogIndex applied() const { return applied_; }

    // Payload of the entries in (committed, last] that were appended since the start, each with
    // entry_overhead_bytes unless it is empty (a noop).
    std::uint64_t uncommitted_bytes() const { return uncommitted_bytes_; }
    // What `bytes` of payload count in uncommitted_bytes(): never nothing, so that the number of
    // entries is bounded too.
    static constexpr std::uint64_t entry_overhead_bytes = 64;

    // Term of an index in [snapshot().index, last()].
    Term term_at(LogIndex index) const;
    // Whether this very entry is in the log (or is the snapshot's last).
    bool contains(EntryId id) const;

    // What an entry counts in windows: exact while it is not committed, an estimate else.
    std::uint64_t bytes_of(LogIndex index) const;
    // The newest entry at or before `index` whose term is at most `term`: where two logs may agree
    // (3.5, last paragraph). {0, 0} when it would lie below the snapshot.
    EntryId last_at_most(LogIndex index, Term term) const;

    // The next entry. Its term is not below the last one's.
    EntryId append(Term term, std::uint64_t counted_bytes);
    // Entries from this index on, none of them committed, are gone.
    void truncate(LogIndex from);
    // A snapshot replaces the whole log; it is durable and applied.
    void restart(EntryId snapshot);
    // Marks only move forward; a lower value changes nothing.
    void set_persisted(LogIndex index);
    void set_committed(LogIndex index);
    void set_applied(LogIndex index);
    // Forgets the ids up to `last`, which is in the log and applied.
    void compact(EntryId last);

    std::span<const TermRun> runs() const { return runs_; }
    bool operator==(const IdLog& other) const;

  private:
    EntryId snapshot_;
    LogIndex last_;
    LogIndex persisted_;
    LogIndex committed_;
    LogIndex applied_;
    std::vector<TermRun>
        runs_;  // of the entries in (snapshot, last], in order; terms rise strictly

    // Counted bytes of the newest entries, oldest first: sizes_[sizes_head_ ..] end at last_.
    // Entries recovered at start are not among them.
    std::vector<std::uint64_t> sizes_;
    std::size_t sizes_head_ = 0;
    std::uint64_t uncommitted_bytes_ = 0;
};

}  // namespace ursula::raft
