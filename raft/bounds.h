// Bounds and times of replication, by name, with their reasons. Compiled in: a group has no
// configuration of its own.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/time.h"

namespace ursula::raft::limits {

// Members of a group, learners and both sides of a joint change included. Five voters are the most
// that is sensible; a change from five to five others passes through ten.
constexpr std::size_t members_max = 12;

// --- elections (3.4, 9.3) ---
// Silence of a node for this long is what the shard reports as PeerDown. A node that says once in
// base::limits::beat_interval_ms that it lives may be late by nearly half of this.
constexpr base::Duration silence_timeout = base::milliseconds(400);
// How long a group without a leader waits at least for the election under way. Far above a round
// trip with two disk writes (9.3: broadcast time << election timeout).
constexpr base::Duration election_timeout = base::milliseconds(300);
// Drawn from on top, so that one candidate is alone long enough to win (3.4): a question must reach
// the others. Two whose questions cross do not split the votes (election.cc).
constexpr base::Duration election_spread = base::milliseconds(100);
// A candidate waits for votes, each of which is a write somewhere, twice as long as its own write
// took, but not longer than this.
constexpr base::Duration vote_wait_max = base::milliseconds(5'000);
// Added for a replica that should lead only when no other can, for disk trouble.
constexpr base::Duration last_resort_delay = base::milliseconds(1000);
// A transfer of leadership that takes longer is given up and submits are taken again (3.10).
constexpr base::Duration transfer_timeout = base::milliseconds(500);

// --- replication (10.2) ---
// A leader looks this often whether answers are missing; one that is missing twice is asked for
// again. Links lose messages only with the connection, so this is rare.
constexpr base::Duration retry_interval = base::milliseconds(100);
// A leader with uncommitted entries that commits nothing for this long gives up its place
// (reliability-anchors 3.4 raft.faux_leader): the last resort, behind silence and disk trouble. The
// largest body by default reaches two followers in it several times over 100 Mbit/s.
constexpr base::Duration commit_stall = base::milliseconds(10'000);
// And where every disk is slow, whoever leads: an election would cost two writes more.
constexpr base::Duration commit_stall_slow = base::milliseconds(30'000);
// One message names entries of at most this many bytes, but always one entry.
constexpr std::uint64_t message_bytes_max = 1u << 20;
constexpr std::uint64_t message_entries_max = 4096;
// Entries of a message lie in at most this many terms; more leave with the next message.
constexpr std::size_t message_runs_max = 4;
// Sent to one follower and not acknowledged; above, entries wait and leave in larger messages.
constexpr std::uint64_t inflight_bytes_max = 8u << 20;
constexpr std::size_t inflight_messages_max = 32;
// What an entry counts as when its size is not known any more (committed, or found at a start).
constexpr std::uint64_t unknown_entry_bytes = 64u << 10;

// A learner may become a voter when it lacks at most this many entries (4.2.1).
constexpr std::uint64_t promotion_gap_entries_max = 256;

static_assert(message_bytes_max <= inflight_bytes_max);

}  // namespace ursula::raft::limits
