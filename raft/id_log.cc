#include "raft/id_log.h"

#include <algorithm>

#include "base/verify.h"
#include "raft/bounds.h"

namespace ursula::raft {

void IdLog::restore(EntryId snapshot, std::span<const TermRun> runs, LogIndex last,
                    LogIndex committed) {
    VERIFY(last >= snapshot.index);
    VERIFY(committed >= snapshot.index && committed <= last);
    VERIFY((last == snapshot.index) == runs.empty());
    // A run must start right behind what precedes it and terms never fall (3.5: log matching).
    Term term = snapshot.term;
    LogIndex expected_from = snapshot.index.next();
    for (const TermRun& run : runs) {
        VERIFY(run.term >= term && run.first >= expected_from && run.first <= last);
        VERIFY(&run != &runs.front() || run.first == expected_from);
        VERIFY(&run == &runs.front() || run.term > term);
        term = run.term;
        expected_from = run.first.next();
    }
    snapshot_ = snapshot;
    last_ = last;
    persisted_ = last;
    committed_ = committed;
    applied_ = snapshot.index;
    runs_.assign(runs.begin(), runs.end());
    sizes_.clear();
    sizes_head_ = 0;
    uncommitted_bytes_ = 0;
}

Term IdLog::term_at(LogIndex index) const {
    VERIFY(index >= snapshot_.index && index <= last_);
    if (index == snapshot_.index) {
        return snapshot_.term;
    }
    // Nearly every question is about the newest term.
    if (index >= runs_.back().first) {
        return runs_.back().term;
    }
    const auto after =
        std::upper_bound(runs_.begin(), runs_.end(), index,
                         [](LogIndex wanted, const TermRun& run) { return wanted < run.first; });
    return std::prev(after)->term;
}

bool IdLog::contains(EntryId id) const {
    return id.index >= snapshot_.index && id.index <= last_ && term_at(id.index) == id.term;
}

EntryId IdLog::append(Term term, std::uint64_t counted_bytes) {
    const Term newest = runs_.empty() ? snapshot_.term : runs_.back().term;
    VERIFY(term >= newest);
    last_ = last_.next();
    if (runs_.empty() || term != newest) {
        runs_.push_back({last_, term});
    }
    sizes_.push_back(counted_bytes);
    uncommitted_bytes_ += counted_bytes;
    return {term, last_};
}

std::uint64_t IdLog::bytes_of(LogIndex index) const {
    VERIFY(index >= first() && index <= last_);
    const std::uint64_t from_end = last_.value - index.value;
    const std::size_t known = sizes_.size() - sizes_head_;
    return from_end < known ? sizes_[sizes_.size() - 1 - from_end] : limits::unknown_entry_bytes;
}

EntryId IdLog::last_at_most(LogIndex index, Term term) const {
    index = std::min(index, last_);
    for (auto run = runs_.rbegin(); run != runs_.rend() && index > snapshot_.index; ++run) {
        if (run->first > index) {
            continue;
        }
        if (run->term <= term) {
            return {run->term, index};
        }
        index = LogIndex(run->first.value - 1);
    }
    return index == snapshot_.index && snapshot_.term <= term ? snapshot_ : EntryId{};
}

void IdLog::truncate(LogIndex from) {
    VERIFY(from > committed_ && from <= last_);
    while (!runs_.empty() && runs_.back().first >= from) {
        runs_.pop_back();
    }
    for (; last_ >= from; last_ = LogIndex(last_.value - 1)) {
        // Entries found at the start have no size here.
        if (sizes_.size() > sizes_head_) {
            uncommitted_bytes_ -= sizes_.back();
            sizes_.pop_back();
        }
    }
    persisted_ = std::min(persisted_, last_);
}

void IdLog::restart(EntryId snapshot) {
    VERIFY(snapshot.index > committed_);
    snapshot_ = snapshot;
    last_ = persisted_ = committed_ = applied_ = snapshot.index;
    runs_.clear();
    sizes_.clear();
    sizes_head_ = 0;
    uncommitted_bytes_ = 0;
}

void IdLog::set_persisted(LogIndex index) {
    VERIFY(index <= last_);
    persisted_ = std::max(persisted_, index);
}

void IdLog::set_committed(LogIndex index) {
    VERIFY(index <= last_);
    if (index <= committed_) {
        return;
    }
    committed_ = index;
    const std::uint64_t open = last_.value - index.value;
    while (sizes_.size() - sizes_head_ > open) {
        uncommitted_bytes_ -= sizes_[sizes_head_];
        ++sizes_head_;
    }
    if (sizes_head_ == sizes_.size()) {
        sizes_.clear();
        sizes_head_ = 0;
    } else if (sizes_head_ * 2 >= sizes_.size()) {
        // Moves at most as many sizes as were dropped, so the cost per entry is constant.
        sizes_.erase(sizes_.begin(), sizes_.begin() + static_cast<std::ptrdiff_t>(sizes_head_));
        sizes_head_ = 0;
    }
}

void IdLog::set_applied(LogIndex index) {
    VERIFY(index <= committed_);
    applied_ = std::max(applied_, index);
}

void IdLog::compact(EntryId last) {
    if (last.index <= snapshot_.index) {
        return;  // an older snapshot never brings ids back
    }
    VERIFY(last.index <= applied_ && contains(last));
    auto kept = runs_.begin();
    while (kept != runs_.end() &&
           (std::next(kept) != runs_.end() ? std::next(kept)->first : last_.next()) <=
               last.index.next()) {
        ++kept;
    }
    runs_.erase(runs_.begin(), kept);
    if (!runs_.empty()) {
        runs_.front().first = std::max(runs_.front().first, last.index.next());
    }
    snapshot_ = last;
    // With a snapshot that covers it an entry needs no log record to survive.
    persisted_ = std::max(persisted_, last.index);
}

bool IdLog::operator==(const IdLog& other) const {
    return snapshot_ == other.snapshot_ && last_ == other.last_ && persisted_ == other.persisted_ &&
           committed_ == other.committed_ && applied_ == other.applied_ && runs_ == other.runs_ &&
           uncommitted_bytes_ == other.uncommitted_bytes_ &&
           std::equal(sizes_.begin() + static_cast<std::ptrdiff_t>(sizes_head_), sizes_.end(),
                      other.sizes_.begin() + static_cast<std::ptrdiff_t>(other.sizes_head_),
                      other.sizes_.end());
}

}  // namespace ursula::raft
