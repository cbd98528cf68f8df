// PeerLink: what a shard knows of one shard of another node, with which it shares groups - when it
// was heard of, what is on its way to it in this turn's frame, and which entries wait to be sent. A
// plain struct owned by its shard.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/limits.h"
#include "base/time.h"
#include "raft/message.h"
#include "shard/frame.h"
#include "shard/peer_net.h"
#include "shard/snapshot_fetch.h"
#include "storage/wal.h"

namespace ursula::shard {

struct Replica;

// Entries [first, last] of one group on their way back from the log. The shard owns it until all
// its reads are back, wanted or not.
struct LogFetch {
    base::LogIndex first;
    base::LogIndex last;
    std::vector<storage::ReadRequest> requests;  // as long as they are under way, untouched
    std::vector<std::byte> bytes;                // the bodies, one after the other
    std::size_t waiting = 0;
    bool failed = false;
    bool wanted = true;
};

// A Replicate that is not sent yet, or not all of it: its frame is full, or its entries' bodies
// have to be read back.
struct WaitingEntries {
    Replica* replica = nullptr;
    base::Term term;  // worth sending only while this node leads in it
    raft::Replicate message;
    LogFetch* fetch = nullptr;
};

// An item that is longer than a frame should be, on its way in parts: one per link at a time. What
// comes after it in its group waits until it has left.
struct LargeItem {
    std::vector<std::byte> bytes;  // with its header; empty: there is none
    std::size_t sent = 0;
    base::GroupId group;
    std::uint64_t call = 0;  // the number of the call that it is; 0: entries of `term`
    base::Term term;
};

// And what came of one. Parts may be lost, doubled and overtaken: a later item ends an earlier one.
struct LargeItemIn {
    std::uint64_t number = 0;
    std::vector<std::byte> bytes;    // of its full length; empty: it is whole, or there is none
    std::vector<std::uint32_t> ats;  // of the parts that are here
    std::size_t missing = 0;         // bytes
};

struct PeerLink {
    PeerShard peer;
    std::uint32_t shards = 1;  // of that node; 0: a place that is free (drop_link)
    bool named = false;        // by a membership of a group that both share

    bool is_free() const { return shards == 0; }
    // Whether the group lives in that shard.
    bool has(base::GroupId group) const {
        return shards != 0 && group.value % shards == peer.shard.value;
    }

    // Sending.
    FrameWriter frame;
    std::uint64_t sequence = 0;          // of the newest frame
    std::deque<WaitingEntries> waiting;  // those of one group in their order
    std::deque<WaitingAsk> asks;
    std::deque<WaitingAnswer> answers;
    std::size_t fetch_bytes = 0;  // of fetches, in this turn's frame
    LargeItem large;
    std::uint64_t large_number = 0;  // of the newest
    bool large_wanted = false;       // entries wait for the present one's end: no call goes next
    base::Instant asked_at;          // for a beat
    bool beat_wanted = false;        // it asked for one, or its connection is new

    // Hearing.
    base::Instant heard;  // the newest frame of its life
    bool down = false;    // what the groups were told
    // When it is to be asked for a beat, unless it was heard of by then.
    base::Instant ask_at() const {
        return std::max(heard + base::milliseconds(base::limits::beat_ask_after_ms),
                        asked_at + base::milliseconds(base::limits::beat_again_ms));
    }
    DiskHealth disk;         // as its newest beat has it
    std::uint64_t boot = 0;  // its life; 0: not heard of yet
    std::uint64_t heard_sequence = 0;
    std::uint64_t incarnation = 0;  // of its storage in that life; 0: not heard of yet
    base::Instant unnamed_since = base::Instant::never();  // that storage, although it is heard
    base::Instant unheard_said{};  // other storage than the member's speaks; 0: not said yet

    // Forwarding, to it.
    std::uint64_t call_number = 0;  // of the newest call
    std::size_t open_forwards = 0;  // without an answer
    std::size_t open_bytes = 0;     // of those calls
    // And from it: the newest call taken of its lives, the present one first. Frames of several
    // lives may come mixed; more of them at once than these do not.
    struct Life {
        std::uint64_t boot = 0;
        std::uint64_t newest_call = 0;
        std::uint64_t newest_in_parts = 0;
        std::vector<std::uint64_t> newest_of_group;  // by position; empty: none yet
    };
    std::array<Life, 4> lives;
    LargeItemIn large_in;
    std::uint32_t generation = 0;  // rises with each life that is met
};

}  // namespace ursula::shard
