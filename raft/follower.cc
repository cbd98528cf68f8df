// A follower and its leader's log (thesis 3.5): what it takes over, what it cuts off, what it may
// promise - and snapshots in place of a log that is gone (5.3).
#include <algorithm>

#include "base/verify.h"
#include "raft/group.h"

namespace ursula::raft {

namespace {

// Log matching (3.5) needs it: runs from right behind prev, terms rising, none beyond the leader's.
bool well_formed(const Replicate& entries, Term term) {
    if (entries.last <= entries.prev.index) {
        return entries.last == entries.prev.index;
    }
    if (entries.run_count == 0 || entries.run_count > limits::message_runs_max ||
        entries.runs[0].first != entries.prev.index.next() ||
        entries.runs[0].term < entries.prev.term) {
        return false;
    }
    for (std::size_t i = 1; i < entries.run_count; ++i) {
        if (entries.runs[i].first <= entries.runs[i - 1].first ||
            entries.runs[i].term <= entries.runs[i - 1].term) {
            return false;
        }
    }
    const TermRun& last = entries.runs[entries.run_count - 1u];
    return last.term <= term && last.first <= entries.last &&
           (!entries.membership || (entries.membership->index > entries.prev.index &&
                                    entries.membership->index <= entries.last));
}

}  // namespace

// Who sends this leads in its term (3.4). False: in an earlier one. A leader that the shard calls
// down (its disk is stuck, say, while its frames arrive) is followed but not counted as heard: no
// other PeerDown would come when it falls silent.
bool Group::hear_leader(const Message& from, Now now, Effects& effects) {
    if (!is_current(from, now, effects)) {
        return false;
    }
    // A second leader of one term: somebody voted twice, or it is no leader. The first one stays.
    if (role_ == Role::leader || (leader_ != NodeId{} && leader_ != from.from)) {
        VERIFY(!base::planting);
        return false;
    }
    const Peer* peer = find_peer(from.from);
    const bool down = peer != nullptr && peer->down;
    if (role_ != Role::follower || leader_ != from.from) {
        become(Role::follower, from.from, effects);
        deadline_ = Instant::never();
        if (down) {
            leader_silent_ = true;
            arm_election(limits::election_timeout, now);
        }
    } else if (leader_silent_ && !down) {
        leader_silent_ = false;
        deadline_ = Instant::never();
    }
    return true;
}

// The first entry that is committed here and another one there; 0: none.
LogIndex Group::contradicted_by(const Replicate& entries) const {
    LogIndex index = std::max(entries.prev.index, log_.snapshot().index);
    if (index == entries.prev.index && index <= log_.committed() && !log_.contains(entries.prev)) {
        return index;
    }
    EntryTerms terms(entries);
    for (index = index.next(); index <= std::min(entries.last, log_.committed());
         index = index.next()) {
        if (log_.term_at(index) != terms.at(index)) {
            return index;
        }
    }
    return {};
}

void Group::on(const Message& from, const Replicate& entries, Now now, Effects& effects) {
    if (!hear_leader(from, now, effects)) {
        if (from.term < hard_state_.term) {
            // An old leader learns that there is a newer term.
            send(from.from, Replicated{.accepted = false, .number = entries.number}, effects);
        }
        return;
    }
    if (!well_formed(entries, from.term)) {
        return;
    }
    if (!planted(Planted::previous_unchecked)) {
        effects.contradicted = contradicted_by(entries);
    }
    if (effects.contradicted != LogIndex{}) {
        return;
    }
    answering_ = std::max(answering_, entries.number);
    const bool follows = log_.contains(entries.prev) || (planted(Planted::previous_unchecked) &&
                                                         entries.prev.index <= log_.last());
    if (entries.prev.index > log_.committed() && !follows) {
        // What is committed here is in the leader's log too, so it is the least that agrees.
        const EntryId committed{log_.term_at(log_.committed()), log_.committed()};
        const EntryId agreed = log_.last_at_most(entries.prev.index, entries.prev.term);
        send(from.from,
             Replicated{.accepted = false,
                        .number = entries.number,
                        .match = {},
                        .last = log_.last(),
                        .hint = agreed.index > committed.index ? agreed : committed,
                        .rejected = entries.prev.index,
                        .commit = log_.committed()},
             effects);
        return;
    }
    const bool new_entries = accept(entries, now, effects);
    follow_commit(entries.commit, effects);
    owes_answer_ = true;
    // New ones are answered when they are durable; a question that brings none is answered with
    // what is known, so that a slow disk does not look like a lost message.
    if (!new_entries) {
        acknowledge(effects);
    }
}

// The leader's entries come into the log; one of ours that conflicts goes, with all behind it.
// Whether there was a new one.
bool Group::accept(const Replicate& entries, Now now, Effects& effects) {
    LogIndex index = std::max(entries.prev.index, log_.committed()).next();
    EntryTerms terms(entries);
    while (index <= entries.last && index <= log_.last() &&
           log_.term_at(index) == terms.at(index) && !planted(Planted::cut_on_repeat)) {
        index = index.next();
    }
    const bool new_entries = index <= entries.last;
    if (new_entries) {
        bool membership_changed = cut(index, effects);
        effects.entries_to_accept = EntriesToAccept{index, entries.last};
        if (entries.membership && entries.membership->index >= index) {
            memberships_.push_back(*entries.membership);
            membership_changed = true;
        }
        for (; index <= entries.last; index = index.next()) {
            log_.append(terms.at(index), 0);
        }
        if (membership_changed) {
            adopt_membership(now, effects);
        }
    }
    verified_ = std::max({verified_, entries.last, log_.committed()});
    return new_entries;
}

// Entries from this index on go. Whether the membership in force goes with them.
bool Group::cut(LogIndex from, Effects& effects) {
    bool membership_changed = false;
    if (from <= log_.last()) {
        log_.truncate(from);
        ++cuts_;
        effects.truncate_from =
            effects.truncate_from == LogIndex{} ? from : std::min(effects.truncate_from, from);
        while (memberships_.back().index >= from) {
            memberships_.pop_back();
            membership_changed = true;
        }
    }
    return membership_changed;
}

void Group::follow_commit(LogIndex commit, Effects& effects) {
    log_.set_committed(
        std::min(commit, planted(Planted::commit_unverified) ? log_.last() : verified_));
    tell_commit(effects);
}

// Tells the leader how much is durable. Only when the term is too: a follower that forgot the term
// could let an older leader cut off what it acknowledges here.
void Group::acknowledge(Effects& effects) {
    if (leader_ == NodeId{} || hard_state_persisted_.term != hard_state_.term) {
        return;
    }
    const LogIndex match =
        planted(Planted::ack_unpersisted) ? verified_ : std::min(log_.persisted(), verified_);
    owes_answer_ = match < verified_;
    send(leader_,
         Replicated{.accepted = true,
                    .number = answering_,
                    .match = match,
                    .last = verified_,
                    .hint = {},
                    .rejected = {},
                    .commit = log_.committed()},
         effects);
}

void Group::on(const Message& from, const SnapshotOffer& offer, Now now, Effects& effects) {
    if (!hear_leader(from, now, effects)) {
        send(from.from, SnapshotStatus{true}, effects);
        return;
    }
    if (!needs_snapshot(offer.last)) {
        // Its last entry is here, committed or not, and with it all before (log matching).
        verified_ = std::max({verified_, log_.committed(), offer.last.index});
        follow_commit(offer.last.index, effects);
        owes_answer_ = true;
        acknowledge(effects);
        return;
    }
    if (fetching_ != offer.last) {
        fetching_ = offer.last;
        effects.fetch_snapshot = FetchSnapshot{from.from, offer.last};
    }
    send(from.from, SnapshotStatus{false}, effects);
}

void Group::on(const SnapshotComing& coming, Now now, Effects& effects) {
    VERIFY(needs_snapshot(coming.last) && role_ == Role::follower);
    if (cut(coming.last.index.next(), effects)) {
        adopt_membership(now, effects);
    }
    verified_ = std::min(verified_, log_.last());
}

void Group::on(const SnapshotInstalled& installed, Now now, Effects& effects) {
    VERIFY(needs_snapshot(installed.last) && installed.membership.index <= installed.last.index);
    VERIFY(role_ != Role::leader);
    fetching_ = EntryId{};
    if (installed.last.term > hard_state_.term) {
        enter_term(installed.last.term, now, effects);  // newer than what was offered
    }
    log_.restart(installed.last);
    ++cuts_;
    commit_told_ = installed.last.index;
    memberships_.assign(1, installed.membership);
    adopt_membership(now, effects);
    // Committed, so it is in the log of every leader that this term can have (3.6.3).
    verified_ = installed.last.index;
    owes_answer_ = true;
    acknowledge(effects);
}

void Group::on(const SnapshotFailed& /*failed*/, Now /*now*/, Effects& effects) {
    fetching_ = EntryId{};
    if (role_ == Role::follower && leader_ != NodeId{}) {
        send(leader_, SnapshotStatus{true}, effects);
    }
}

}  // namespace ursula::raft
