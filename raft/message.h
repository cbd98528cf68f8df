// What nodes tell each other about one group, as values without payload. The shard puts them into
// frames, names the group there, and adds to a Replicate the bodies of the entries it names.
//
// A message may be lost, doubled, delayed and overtaken; none is harmful then. A message in a
// Group's effects may leave at once: what it promises is durable already (3.8), because the group
// keeps promises back until the Persisted input that makes them true.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <variant>

#include "raft/bounds.h"
#include "raft/membership.h"
#include "raft/types.h"

namespace ursula::raft {

// "Would you vote for me in the message's term?" (9.6). Nobody's state changes.
struct PreVote {
    EntryId last;  // of the sender's log
    bool operator==(const PreVote&) const = default;
};
struct PreVoted {
    // Granted: the message's term is the one asked about. Else it is the voter's own.
    bool granted = false;
    bool operator==(const PreVoted&) const = default;
};

// RequestVote (3.4).
struct Vote {
    EntryId last;
    // The leader asked for this election (3.10): a voter that hears a leader grants too.
    bool transfer = false;
    bool operator==(const Vote&) const = default;
};
struct Voted {
    bool granted = false;
    bool operator==(const Voted&) const = default;
};

// AppendEntries (3.5) without the payload: the entries (prev.index, last]. Empty when last ==
// prev.index. A shard that cannot send all of it may lower `last` (and drop the membership if it
// lies behind): that is a valid message too.
struct Replicate {
    EntryId prev;
    LogIndex last;
    std::array<TermRun, limits::message_runs_max> runs{};  // of the entries; the first at prev + 1
    std::uint8_t run_count = 0;
    std::optional<MembershipAt> membership;  // set by one of the entries; there is at most one
    LogIndex commit;                         // the leader's
    // Rises with each message of this leader to this follower; the answer names it.
    std::uint64_t number = 0;
    bool operator==(const Replicate&) const = default;
};
// The terms of a message's entries, asked for by rising index. The message outlives it.
class EntryTerms {
  public:
    explicit EntryTerms(const Replicate& entries) : entries_(entries) {}
    Term at(LogIndex index) {
        while (run_ + 1 < entries_.run_count && entries_.runs[run_ + 1].first <= index) {
            ++run_;
        }
        return entries_.runs[run_].term;
    }

  private:
    const Replicate& entries_;
    std::size_t run_ = 0;
};
struct Replicated {
    bool accepted = false;
    std::uint64_t number = 0;  // of the newest Replicate it answers
    // Accepted: durable at the follower and equal to the leader's log.
    LogIndex match;
    // Accepted: as match, but maybe not durable yet. Rejected: the end of the follower's log.
    LogIndex last;
    // Rejected: the entry that the leader should try next, or one before it (3.5, last paragraph).
    EntryId hint;
    // Rejected: the index of the prev that did not match; 0: the Replicate was of an earlier term,
    // and all this answer says is its own.
    LogIndex rejected;
    LogIndex commit;  // the follower knows this much is committed
    bool operator==(const Replicated&) const = default;
};

// "I lead in this term": confirms leadership for reads (6.4) and tells a follower that lost sight
// of its leader. Idle groups send none.
struct Heartbeat {
    ReadContext round;
    LogIndex commit;  // not beyond what the follower is known to hold
    bool operator==(const Heartbeat&) const = default;
};
// A member that cannot campaign lost sight of its leader: whoever leads answers with a Heartbeat.
struct WhoLeads {
    bool operator==(const WhoLeads&) const = default;
};
struct HeartbeatSeen {
    ReadContext round;
    bool operator==(const HeartbeatSeen&) const = default;
};

// A follower's ReadIndex (6.4, last paragraph). `life` is the asker's Start::life, so that no
// answer to an earlier life of the node is taken for one to this.
struct ReadRequest {
    ReadContext context;
    std::uint64_t life = 0;
    bool operator==(const ReadRequest&) const = default;
};
struct ReadReply {
    bool ready = false;  // else: not the leader
    ReadContext context;
    std::uint64_t life = 0;
    LogIndex index;
    bool operator==(const ReadReply&) const = default;
};

// Leadership transfer (3.10): campaign now. `for_good`: somebody decided that another one than the
// sender leads, so it should not be given back; else the sender only cannot lead at the moment.
struct TimeoutNow {
    bool for_good = false;
    bool operator==(const TimeoutNow&) const = default;
};

// InstallSnapshot (5.3) without the image: the entries the follower lacks are compacted away, here
// is what takes their place. The shards move the bytes.
struct SnapshotOffer {
    EntryId last;
    MembershipAt membership;  // as of `last`
    bool operator==(const SnapshotOffer&) const = default;
};
// The follower is at it, or gave up. That it is done says a Replicated.
struct SnapshotStatus {
    bool failed = false;
    bool operator==(const SnapshotStatus&) const = default;
};

using MessageBody =
    std::variant<PreVote, PreVoted, Vote, Voted, Replicate, Replicated, WhoLeads, Heartbeat,
                 HeartbeatSeen, ReadRequest, ReadReply, TimeoutNow, SnapshotOffer, SnapshotStatus>;

struct Message {
    NodeId from;
    NodeId to;
    Term term;  // the sender's; of PreVote the term asked about
    MessageBody body;
    bool operator==(const Message&) const = default;
};

}  // namespace ursula::raft
