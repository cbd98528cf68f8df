#include "raft/invariants.h"

#include <algorithm>
#include <vector>

#include "raft/quorum.h"

// Each line of a check is one invariant: the sentence returned is what is broken.
#define HOLDS(condition, sentence) \
    do {                           \
        if (!(condition)) {        \
            return sentence;       \
        }                          \
    } while (false)

namespace ursula::raft {
namespace {

// By the definition, slower than Group::reached: this index is durable on a majority of each side.
bool on_majorities(const Status& status, LogIndex index) {
    std::size_t voters = 0;
    std::size_t have = 0;
    std::size_t outgoing = 0;
    std::size_t outgoing_have = 0;
    for (const Peer& peer : status.peers) {
        const bool has = peer.match >= index;
        voters += peer.voter ? 1 : 0;
        have += peer.voter && has ? 1 : 0;
        outgoing += peer.outgoing ? 1 : 0;
        outgoing_have += peer.outgoing && has ? 1 : 0;
    }
    return have >= majority(voters) && (outgoing == 0 || outgoing_have >= majority(outgoing));
}

bool granted_by_majorities(const Status& status) {
    Status as_matches = status;
    for (Peer& peer : as_matches.peers) {
        peer.match = LogIndex(peer.granted ? 1 : 0);
    }
    return on_majorities(as_matches, LogIndex(1));
}

const Peer* find_self(const Status& status) {
    for (const Peer& peer : status.peers) {
        if (peer.id == status.self) {
            return &peer;
        }
    }
    return nullptr;
}

std::string_view check_marks(const Status& now) {
    HOLDS(now.snapshot.index <= now.applied, "the snapshot covers entries that were not applied");
    HOLDS(now.applied <= now.commit_told, "applied beyond what was told to be committed");
    HOLDS(now.commit_told <= now.committed.index && now.commit_told <= now.persisted,
          "told to apply what is not committed and on this disk");
    HOLDS(now.committed.index <= now.last.index, "committed beyond the log");
    HOLDS(now.persisted <= now.last.index, "persisted beyond the log");
    HOLDS(now.snapshot.index <= now.persisted, "the snapshot covers entries that are not durable");
    HOLDS(now.snapshot.term <= now.committed.term && now.committed.term <= now.last.term,
          "terms fall along the log");
    HOLDS(now.last.term <= now.hard_state.term, "an entry of a term not yet entered");
    HOLDS(now.committed.index < now.last.index || now.uncommitted_bytes == 0,
          "bytes counted as uncommitted in a log that is committed to its end");
    HOLDS(now.verified <= now.last.index, "equal to the leader's log beyond the end of one's own");
    HOLDS(now.membership.index <= now.last.index, "a membership from beyond the log");
    return {};
}

std::string_view check_members(const Status& now) {
    const std::span<const Member> members = now.membership.membership.members();
    HOLDS(members.size() == now.peers.size(), "peers that are not the members");
    bool any_outgoing = false;
    for (std::size_t i = 0; i < members.size(); ++i) {
        const Member& member = members[i];
        HOLDS(member.id == now.peers[i].id && member.voter == now.peers[i].voter &&
                  member.outgoing == now.peers[i].outgoing,
              "peers that are not the members");
        HOLDS(i == 0 || members[i - 1].id < member.id, "a member named twice");
        HOLDS(member.voter || member.outgoing || member.learner, "a member that is nothing");
        any_outgoing = any_outgoing || member.outgoing;
    }
    HOLDS(any_outgoing == now.membership.membership.joint(),
          "a joint membership without an old side, or an old side without one");
    return {};
}

std::string_view check_leader(const Status& now, const Peer* self) {
    HOLDS(now.leader == now.self, "a leader that names another");
    HOLDS(now.hard_state.vote == now.self && (self == nullptr || self->granted),
          "leads without its own vote");
    HOLDS(now.hard_state_persisted == now.hard_state, "leads a term that is not durable");
    HOLDS(now.term_start <= now.last.index && now.last.term == now.hard_state.term,
          "a leader without an entry of its own term");
    HOLDS(self == nullptr || self->match <= now.persisted,
          "counts itself before its own write is durable");
    HOLDS(now.committed.index < now.term_start || now.membership.index > LogIndex{} ||
              on_majorities(now, now.committed.index),
          "committed without a majority");
    HOLDS(now.deadline == Instant::never() || now.peers.size() > (self == nullptr ? 0u : 1u),
          "a leader without followers that waits for something");
    for (const Peer& peer : now.peers) {
        if (peer.id == now.self) {
            continue;
        }
        HOLDS(peer.match <= now.last.index, "a follower with more than the leader");
        HOLDS(peer.next > peer.match && peer.next <= now.last.index.next(),
              "a follower's next entry that it has, or that does not exist");
        HOLDS(peer.inflight.size() <= limits::inflight_messages_max, "too many in flight");
        HOLDS(peer.pace == Pace::replicate || peer.inflight.empty(),
              "entries in flight to a follower that is not known to match");
        std::uint64_t bytes = 0;
        LogIndex behind = peer.match;
        for (const Inflight& message : peer.inflight) {
            HOLDS(message.last > behind, "messages in flight out of order");
            behind = message.last;
            bytes += message.bytes;
        }
        HOLDS(peer.inflight.empty() || behind < peer.next, "in flight and yet to be sent");
        HOLDS(bytes == peer.inflight_bytes, "bytes in flight counted wrongly");
    }
    return {};
}

std::string_view check_follower(const Status& now) {
    HOLDS(now.leader != now.self, "a follower of itself");
    HOLDS(now.reads_answered == now.reads_asked || (now.leader != NodeId{} && !now.leader_silent),
          "a follower that keeps reads open and hears no leader");
    HOLDS(!now.may_campaign || now.deadline != Instant::never() ||
              (now.leader != NodeId{} && !now.leader_silent),
          "a voter that hears no leader and waits for nothing");
    return {};
}

}  // namespace

std::string_view check_state(const Status& now) {
    HOLDS(now.hard_state_persisted <= now.hard_state, "durable hard state ahead of the real one");
    HOLDS(now.reads_answered <= now.reads_asked, "a read answered before it was asked");
    if (const std::string_view broken = check_marks(now); !broken.empty()) {
        return broken;
    }
    if (const std::string_view broken = check_members(now); !broken.empty()) {
        return broken;
    }
    const Peer* self = find_self(now);
    HOLDS(now.role == Role::leader || now.transfer_to == NodeId{}, "hands over what it has not");
    switch (now.role) {
        case Role::follower:
            return check_follower(now);
        case Role::pre_candidate:
        case Role::candidate:
            HOLDS(now.may_campaign, "a candidate that is no voter");
            HOLDS(now.leader == NodeId{}, "a candidate that knows a leader");
            HOLDS(now.reads_answered == now.reads_asked, "a candidate that keeps reads open");
            HOLDS(!granted_by_majorities(now), "a candidate that has won and does not go on");
            HOLDS(now.role == Role::pre_candidate || now.hard_state.vote == now.self,
                  "a candidate that voted for another");
            HOLDS(now.role == Role::pre_candidate || self == nullptr || !self->granted ||
                      now.hard_state_persisted == now.hard_state,
                  "a candidate that counts a vote which is not durable");
            return {};
        case Role::leader:
            return check_leader(now, self);
    }
    return "a role that does not exist";
}

namespace {

std::string_view check_log_step(const Status& before, const Status& after, const Effects& effects) {
    const bool installed = after.snapshot.index > before.snapshot.index &&
                           after.snapshot.index > before.committed.index &&
                           after.committed == after.snapshot && after.last == after.snapshot;
    if (installed) {
        HOLDS(after.cuts == before.cuts + 1, "a log replaced without counting the cut");
        HOLDS(effects.entries_to_write.empty() && !effects.entries_to_accept &&
                  effects.truncate_from == LogIndex{} && effects.commit_to == LogIndex{},
              "a snapshot and entries in one step");
        return {};
    }
    const bool cut = effects.truncate_from != LogIndex{};
    HOLDS(cut || after.last.index >= before.last.index, "a log shortened without a cut");
    HOLDS(after.cuts == before.cuts + (cut ? 1 : 0), "a cut that is not counted");
    LogIndex last = before.last.index;
    if (cut) {
        HOLDS(before.role != Role::leader || after.hard_state.term > before.hard_state.term,
              "a leader shortened its log");
        HOLDS(effects.truncate_from > before.committed.index, "a committed entry cut off");
        HOLDS(effects.truncate_from <= last, "a cut behind the end of the log");
        // Entries that conflict come with it, or a snapshot that does (SnapshotComing).
        HOLDS(effects.entries_to_accept
                  ? effects.entries_to_accept->first == effects.truncate_from
                  : after.role == Role::follower && after.hard_state == before.hard_state,
              "a cut without entries that conflict");
        last = LogIndex(effects.truncate_from.value - 1);
    }
    // New entries are exactly those to write: next to the old end, of this term, without a gap.
    if (effects.entries_to_accept) {
        HOLDS(effects.entries_to_accept->first == last.next() &&
                  effects.entries_to_accept->last > last,
              "entries accepted out of their place");
        HOLDS(after.role == Role::follower && effects.entries_to_write.empty(),
              "entries accepted without a leader");
        last = effects.entries_to_accept->last;
    }
    std::size_t memberships = 0;
    for (const EntryToWrite& entry : effects.entries_to_write) {
        last = last.next();
        HOLDS(entry.id == (EntryId{after.hard_state.term, last}), "an entry out of its place");
        if (entry.kind == EntryKind::membership) {
            HOLDS(memberships < effects.memberships_to_write.size() &&
                      effects.memberships_to_write[memberships].index == last,
                  "a membership entry without its membership");
            ++memberships;
        }
    }
    HOLDS(memberships == effects.memberships_to_write.size(), "a membership without its entry");
    HOLDS(last == after.last.index, "an entry that is not written");
    HOLDS(effects.entries_to_write.empty() || after.role == Role::leader,
          "a new entry without a leader");
    HOLDS(cut || after.persisted >= before.persisted, "a mark went back");

    const bool told = after.commit_told != before.commit_told;
    HOLDS(effects.commit_to == (told ? after.commit_told : LogIndex{}),
          "a commit that is not told");
    HOLDS(after.role != Role::leader || after.committed.index == before.committed.index ||
              after.committed.term == after.hard_state.term,
          "committed by counting an entry of an earlier term");
    return {};
}

// 3.8 and R6: what a message promises is durable before it leaves.
std::string_view check_messages(const Status& after, const Effects& effects) {
    for (const Message& message : effects.messages) {
        HOLDS(message.from == after.self && message.to != after.self, "a message to nobody else");
        const bool durable_term = after.hard_state_persisted.term >= message.term;
        if (std::holds_alternative<Vote>(message.body)) {
            HOLDS(after.hard_state_persisted == (HardState{message.term, after.self}),
                  "asks for votes before its own is durable");
        } else if (const auto* voted = std::get_if<Voted>(&message.body)) {
            HOLDS(!voted->granted ||
                      after.hard_state_persisted == (HardState{message.term, message.to}),
                  "a vote told before it is durable");
        } else if (const auto* answer = std::get_if<Replicated>(&message.body)) {
            HOLDS(!answer->accepted || durable_term,
                  "entries acknowledged in a term that is not durable");
            HOLDS(!answer->accepted || answer->match <= after.persisted,
                  "entries acknowledged before they are durable");
            HOLDS(!answer->accepted || answer->match <= after.verified,
                  "entries acknowledged that may not be the leader's");
        } else if (const auto* entries = std::get_if<Replicate>(&message.body)) {
            HOLDS(durable_term && entries->commit <= after.committed.index,
                  "replicates what it may not");
        }
    }
    return {};
}

std::string_view check_reads_step(const Status& before, const Status& after,
                                  const Effects& effects) {
    if (!effects.reads_ready) {
        return {};
    }
    const ReadsReady& ready = *effects.reads_ready;
    HOLDS(ready.context > before.reads_answered && ready.context <= after.reads_answered,
          "a read answered twice or never asked");
    // A follower's answer comes from its leader, who checked it.
    HOLDS(before.role == Role::leader || before.role == Role::follower,
          "a read answered without a leader");
    if (before.role == Role::leader) {
        HOLDS(after.committed.index >= after.term_start,
              "a read answered before an entry of this term was committed");
        HOLDS(ready.index == after.committed.index, "a read at another index");
    }
    return {};
}

}  // namespace

std::string_view check_step(const Status& before, const Status& after, const Effects& effects) {
    HOLDS(before.group == after.group && before.self == after.self, "another group");
    HOLDS(after.hard_state.term >= before.hard_state.term, "the term went back");
    HOLDS(after.hard_state.term > before.hard_state.term || before.hard_state.vote == NodeId{} ||
              after.hard_state.vote == before.hard_state.vote,
          "a second vote in one term");
    HOLDS(after.hard_state == before.hard_state || effects.hard_state == after.hard_state,
          "a changed hard state that is not written");
    HOLDS(after.committed.index >= before.committed.index && after.applied >= before.applied &&
              after.snapshot.index >= before.snapshot.index &&
              after.commit_told >= before.commit_told,
          "a mark went back");
    if (const std::string_view broken = check_log_step(before, after, effects); !broken.empty()) {
        return broken;
    }
    const bool role_changed = after.role != before.role || after.leader != before.leader ||
                              after.hard_state.term != before.hard_state.term;
    HOLDS(role_changed == effects.role_change.has_value(), "a role change that is not told");
    HOLDS(!effects.role_change ||
              *effects.role_change == (RoleChange{after.role, after.hard_state.term, after.leader}),
          "a role change told wrongly");
    HOLDS(effects.membership_change.has_value() == (before.membership != after.membership) ||
              effects.membership_change == after.membership,
          "a change of members that is not told");
    HOLDS(before.leader == NodeId{} || after.leader == NodeId{} || before.leader == after.leader ||
              after.hard_state.term > before.hard_state.term,
          "two leaders in one term");
    if (const std::string_view broken = check_messages(after, effects); !broken.empty()) {
        return broken;
    }
    return check_reads_step(before, after, effects);
}

}  // namespace ursula::raft
