// What a node knows of one member of its group, itself included. What follows "leader:" and
// "candidate:" is reset at each election.
#pragma once

#include <cstdint>
#include <vector>

#include "raft/membership.h"
#include "raft/types.h"

namespace ursula::raft {

// How a leader sends to a follower: one message until it is answered, while it is not known where
// the logs agree (probe); a window of messages (replicate); nothing but an offer (snapshot).
enum class Pace : std::uint8_t { probe, replicate, snapshot };

// A Replicate with entries that is on its way.
struct Inflight {
    LogIndex last;
    std::uint64_t bytes = 0;
    constexpr auto operator<=>(const Inflight&) const = default;
};

struct Peer {
    NodeId id;
    bool voter = false;  // as raft::Member
    bool outgoing = false;
    bool down = false;     // PeerDown was the last word; kept over elections
    bool granted = false;  // candidate: its vote for us is durable (pre-candidate: it would)
    bool refused = false;  // candidate
    // leader: its log went back behind what it acknowledged; its answers count for nothing (R11)
    bool reverted = false;
    bool waiting = false;    // leader, probe and snapshot: one is sent and not answered
    bool bare = false;       // leader, probe: the next one is a question only, without entries
    bool heard = false;      // leader: it answered since the last look
    bool greet = false;      // leader: it should hear who leads
    std::uint8_t quiet = 0;  // leader: looks in a row at which an answer was missing
    Pace pace = Pace::probe;
    LogIndex match;                  // leader: its log is durable up to here and equal to ours
    LogIndex next;                   // leader: the first entry to send
    LogIndex commit_sent;            // leader: the newest commit index sent to it
    LogIndex commit_known;           // leader: and the newest it answered
    std::uint64_t number = 0;        // leader: of the newest Replicate
    std::uint64_t fresh_from = 0;    // leader: rejections of earlier numbers speak of the past
    std::uint64_t match_number = 0;  // leader: `number` when match rose last
    ReadContext round_sent;          // leader: heartbeat of this round is sent
    ReadContext round_seen;  // leader: it recognised our leadership after this round had begun
    ReadContext read_asked;  // leader: its newest ReadIndex; for itself the shard's
    ReadContext read_taken;  // leader: the part of it that the open round answers
    std::uint64_t life = 0;  // leader: of the asker
    std::uint64_t inflight_bytes = 0;
    std::vector<Inflight>
        inflight;  // leader, replicate: oldest first; limits::inflight_messages_max

    bool votes() const { return voter || outgoing; }
    bool operator==(const Peer&) const = default;
};

}  // namespace ursula::raft
