// The nouns of replication. Thesis: D. Ongaro, "Consensus: Bridging Theory and Practice", 2014;
// section numbers in this folder are its.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>

#include "base/ids.h"
#include "base/time.h"

namespace ursula::raft {

using base::Duration;
using base::EntryId;
using base::GroupId;
using base::Instant;
using base::LogIndex;
using base::NodeId;
using base::Now;
using base::Term;

// pre_candidate asks whether it would win before it disturbs anybody with a new term (9.6).
enum class Role : std::uint8_t { follower, pre_candidate, candidate, leader };

// What an entry carries: nothing (a new leader's first entry, 6.4 step 1), commands of the stream
// machine, or a membership (4.1).
enum class EntryKind : std::uint8_t { noop, command, membership };

// What a voter must never forget (3.2, figure 3.1 "persistent state"): on disk before anything that
// depends on it.
struct HardState {
    Term term;
    NodeId vote;  // in `term`; 0 = none given
    constexpr auto operator<=>(const HardState&) const = default;
};

// A stretch of the log whose entries have one term: from `first` up to the next run or the log's
// end.
struct TermRun {
    LogIndex first;
    Term term;
    constexpr auto operator<=>(const TermRun&) const = default;
};

// Named by the shard, in rising order during a Group's life; see input.h ReadIndex. Between leader
// and followers contexts are the leader's own count of its rounds of confirmation.
using ReadContext = base::Id<struct ReadContextTag, std::uint64_t>;

// Named by the shard: ties a Submit to the entry or the refusal it leads to. The group only hands
// it back.
using SubmitTicket = base::Id<struct SubmitTicketTag, std::uint64_t>;

}  // namespace ursula::raft
