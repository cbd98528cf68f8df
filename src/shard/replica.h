// Replica: one group on this node - its Raft state, its stream machine, and what waits for its
// entries. A plain struct owned by its shard, which carries out its effects; nothing outside
// src/shard sees it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "api/call.h"
#include "raft/group.h"
#include "shard/entry_places.h"
#include "shard/forking.h"
#include "shard/forward.h"
#include "shard/member_info.h"
#include "shard/pending.h"
#include "shard/snapshot_fetch.h"
#include "storage/recovery.h"
#include "stream/machine.h"

namespace ursula::shard {

// A command of this turn, waiting to become part of an entry. Views into its call.
struct QueuedCommand {
    stream::Command command;
    Ticket ticket;
};

// A listing that waits for all groups of its shard; answered once, served or refused.
struct ParkedListing {
    api::CallId call;
    base::ShardId from;
    std::string bucket;
    std::string prefix;
    std::string after;
    std::uint32_t count_max = 0;
    std::size_t waiting = 0;  // groups that did not confirm yet
    bool answered = false;
    bool marks = false;  // of the subscription that `prefix` names, instead of streams
};

// A linearizable read that its group has not confirmed yet; owns what its call only showed.
struct ParkedRead {
    raft::ReadContext context;
    base::LogIndex index;  // set when confirmed: serve once this is applied
    bool confirmed = false;
    api::CallId call;
    base::ShardId from;
    std::string name;
    api::Verb verb;  // its key's name points to `name` when served
    base::Instant since;
    std::shared_ptr<ParkedListing> listing;  // part of one; core-local
};

// A write whose outcome applied state tells already - a refusal, a duplicate - once its group has
// confirmed that this state is current. Nothing of it is in the log; owns what its call only
// showed.
struct EarlyCall {
    raft::ReadContext context;
    base::LogIndex index;  // set when confirmed: decide once this is applied
    bool confirmed = false;
    bool redirect = false;  // api::Call's
    api::CallId call;
    base::ShardId from;
    std::uint64_t name_hash = 0;   // api::StreamKey::hash
    std::uint64_t turn = 0;        // in which it came
    std::vector<std::byte> bytes;  // shard/call_wire.h
    base::Instant since;
};

// Entries that recovery found and whose commitment was not known yet, oldest first. Bodies lie one
// after the other in memory that is used again, so a restart costs no allocation per entry.
class RecoveredEntries {
  public:
    struct View {
        base::EntryId id;
        raft::EntryKind kind = raft::EntryKind::noop;
        base::Bytes body;  // both valid until the next push()
        std::span<const storage::Location> pieces;
    };

    bool empty() const { return first_ == entries_.size(); }
    // Empty: it is none of these.
    base::Bytes body(base::LogIndex index) const;
    base::EntryId first_id() const { return entries_[first_].id; }
    base::EntryId last_id() const { return entries_.back().id; }

    void push(base::EntryId id, raft::EntryKind kind, base::Bytes body,
              std::span<const storage::Location> pieces);
    View pop_first();
    void pop_last();
    // Gives the memory back.
    void clear() { *this = {}; }

  private:
    struct Entry {
        base::EntryId id;
        raft::EntryKind kind = raft::EntryKind::noop;
        std::size_t body_end = 0;  // ends in bytes_ and pieces_; each begins where the last ends
        std::size_t pieces_end = 0;
    };
    std::size_t body_begin(std::size_t entry) const;
    std::size_t pieces_begin(std::size_t entry) const;

    std::vector<Entry> entries_;  // from first_ on
    std::size_t first_ = 0;
    std::vector<std::byte> bytes_;
    std::vector<storage::Location> pieces_;
};

// An operator's change of the members whose entry is written but not applied.
struct PendingChange {
    base::LogIndex index;  // of that entry
    bool changed = true;   // false: it was under way already
    api::CallId call;
    base::ShardId from;
};

struct Replica {
    Replica(base::GroupId id, base::NodeId self, base::HashKey key, stream::Local& local)
        : group(id, self), machine(id, key, local) {}

    base::GroupId id() const { return machine.group(); }

    raft::Group group;
    stream::Machine machine;
    raft::Effects effects;

    // Commands of this turn and of entries not applied yet.
    std::vector<QueuedCommand> queued;
    Fifo<PendingEntry> entries;
    Fifo<Ticket> tickets;
    TouchedNames touched;
    bool listed = false;  // in the shard's list of replicas with queued commands

    // ReadIndex, once per turn for all reads of the group.
    std::uint64_t read_turn = 0;
    bool read_confirmed = false;
    raft::ReadContext read_context;
    std::vector<ParkedRead> parked;
    std::deque<EarlyCall> early;  // leader: by rising context

    base::LogIndex snapshot;  // newest durable one; entries behind log().snapshot() are kept
    base::LogIndex
        snapshot_file;  // of the newest in the store: newer when a fetched one was not needed
    std::uint64_t image_bytes = 0;  // of it
    // Entries up to here cannot all be read back: the log forgets them once a snapshot covers them.
    base::LogIndex unreadable;
    RecoveredEntries recovered;  // applied by the ordinary path once committed
    std::vector<raft::TermRun> boot_terms;
    std::vector<storage::SegmentId> boot_live;  // what the loaded snapshot's locations name

    // Every membership that the log may still fall back to, by rising index; the last is in force.
    std::vector<MemberTable> tables;
    std::vector<PendingChange> changes;  // oldest first
    bool stranger = false;  // the membership in force names other storage by this node's id

    std::map<base::Incarnation, LinkAtWork> links_at_work;  // leader: of forks
    bool links_listed = false;  // in the shard's list of replicas whose links are to be looked at
    bool links_again = false;   // likewise, later

    // Only of a cluster's.
    base::Now led_since;               // leader: the clocks when it became one
    EntryPlaces places;                // of the entries that are applied or were recovered
    std::vector<base::LogIndex> sent;  // leader: the newest entry sent, by link
    base::NodeId handed_by;        // who gave the group away for good, last; until its next life
    base::LogIndex kept_from;      // leader: entries from here on, though applied, are held
    bool keeps = false;            // listed as one that holds applied entries
    bool turn_end = false;         // listed for a raft::TurnEnd
    std::deque<Forward> forwards;  // first those sent, last those that wait to be
    std::size_t forwards_waiting = 0;  // how many
    std::size_t forwards_refused = 0;  // of those sent
    bool forwards_held = false;        // they wait for a large one that is on its way
    base::Instant forwards_held_since;
    bool ask_again = false;      // parked reads were refused: there was no leader
    bool waits = false;          // listed for one of these
    base::Instant heard_leader;  // when it last had one
    bool tails_ended = false;    // since then
    std::unique_ptr<SnapshotFetch> fetch;
    std::vector<std::unique_ptr<stream::Machine>> fetched;  // of fetches given up, for the next one
    base::Instant fetched_until;
    std::vector<std::unique_ptr<ServedFetch>> served;
};

}  // namespace ursula::shard
