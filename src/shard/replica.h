// Replica: one group on this node - its Raft state, its stream machine, and what waits for its
// entries. A plain struct owned by its shard, which carries out its effects; nothing outside
// src/shard sees it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "api/call.h"
#include "raft/group.h"
#include "shard/pending.h"
#include "storage/recovery.h"
#include "stream/machine.h"

namespace ursula::shard {

// A command of this turn, waiting to become part of an entry. Views into its call.
struct QueuedCommand {
    stream::Command command;
    Ticket ticket;
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
};

// An entry that recovery found and whose commitment was not known yet.
struct RecoveredBody {
    base::EntryId id;
    raft::EntryKind kind = raft::EntryKind::noop;
    std::vector<std::byte> body;
    std::vector<storage::Location> pieces;
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

    base::LogIndex snapshot;        // newest durable one
    std::uint64_t image_bytes = 0;  // of it
    std::vector<RecoveredBody>
        recovered;  // oldest first; applied by the ordinary path once committed
    std::size_t recovered_next = 0;
    std::vector<raft::TermRun> boot_terms;
    std::vector<storage::SegmentId> boot_live;  // what the loaded snapshot's locations name
};

}  // namespace ursula::shard
