// The leader's log: new entries and who has them (thesis 3.5, 10.2), and what is committed (3.6.2).
#include <algorithm>

#include "base/limits.h"
#include "base/verify.h"
#include "raft/group.h"

namespace ursula::raft {

void Group::on(const Submit& submit, Now /*now*/, Effects& effects) {
    if (role_ != Role::leader) {
        effects.refused_submits.push_back({submit.ticket, SubmitRefusal::not_leader});
        return;
    }
    if (transfer_to_ != NodeId{}) {
        effects.refused_submits.push_back({submit.ticket, SubmitRefusal::transferring});
        return;
    }
    const std::uint64_t counted = submit.bytes + IdLog::entry_overhead_bytes;
    const std::uint64_t open = log_.uncommitted_bytes();
    // An entry that is alone may have any size: else one larger than the bound could never be
    // written.
    if (open != 0 && open + counted > base::limits::uncommitted_bytes_max) {
        effects.refused_submits.push_back({submit.ticket, SubmitRefusal::uncommitted_full});
        return;
    }
    append(EntryKind::command, submit.ticket, counted, effects);
}

void Group::append(EntryKind kind, SubmitTicket ticket, std::uint64_t counted_bytes,
                   Effects& effects) {
    const EntryId id = log_.append(hard_state_.term, counted_bytes);
    effects.entries_to_write.push_back({id, kind, ticket});
    turn_end_due_ = has_followers();
    if (planted(Planted::self_ack) && self_at_ != nobody) {
        peers_[self_at_].match = id.index;
    }
}

void Group::advance_commit(Now now, Effects& effects) {
    const LogIndex durable(
        reached([](const Peer& peer) { return peer.reverted ? 0 : peer.match.value; }));
    // 3.6.2, figure 3.7: an entry of an earlier term on a majority may still be overwritten. Only
    // one of the leader's own term commits by being counted; those before it commit with it.
    if (durable <= log_.committed() ||
        (log_.term_at(durable) != hard_state_.term && !planted(Planted::old_term_commit))) {
        return;
    }
    log_.set_committed(durable);
    tell_commit(effects);
    answer_reads(effects);
    if (has_followers()) {
        turn_end_due_ = true;
    }
    if (memberships_.back().index > LogIndex{}) {
        follow_up_change(now, effects);
    }
}

// --- what is sent ---

// 3.5: "when a leader first comes to power, it initializes all nextIndex values to the index just
// after the last one in its log".
void Group::start_sending_to(Peer& peer) const {
    Peer fresh;
    fresh.id = peer.id;
    fresh.voter = peer.voter;
    fresh.outgoing = peer.outgoing;
    fresh.down = peer.down;
    fresh.granted = peer.granted;
    fresh.refused = peer.refused;
    fresh.greet = peer.id != self_;
    fresh.next = log_.last().next();
    peer = std::move(fresh);
}

void Group::probe(Peer& peer, LogIndex next) const {
    peer.pace = Pace::probe;
    peer.waiting = false;
    peer.bare = false;
    peer.quiet = 0;
    peer.next = next;
    peer.fresh_from = peer.number + 1;
    peer.inflight.clear();
    peer.inflight_bytes = 0;
}

// What one follower is to be sent now; false when nothing is.
bool Group::send_due(Peer& peer, Effects& effects) {
    if (peer.down || peer.reverted) {
        return false;
    }
    bool sent = false;
    const bool round_due = round_open_ && peer.votes() && peer.round_sent < round_;
    const bool entries_follow =
        peer.pace == Pace::replicate ? peer.next <= log_.last() : !peer.waiting;
    if (round_due || (peer.greet && !entries_follow)) {
        send(peer.id, Heartbeat{round_, std::min(log_.committed(), peer.match)}, effects);
        peer.round_sent = round_;
        sent = true;
    }
    peer.greet = false;
    switch (peer.pace) {
        case Pace::probe:
            if (!peer.waiting) {
                peer.waiting = true;
                send_entries(peer, peer.bare, effects);
                sent = true;
            }
            break;
        case Pace::snapshot:
            if (!peer.waiting) {
                offer_snapshot(peer, effects);
                sent = true;
            }
            break;
        case Pace::replicate:
            while (peer.next <= log_.last() &&
                   peer.inflight.size() < limits::inflight_messages_max &&
                   peer.inflight_bytes < limits::inflight_bytes_max) {
                send_entries(peer, false, effects);
                sent = true;
                if (peer.pace != Pace::replicate) {
                    return sent;
                }
            }
            if (peer.commit_sent < log_.committed()) {
                send_entries(peer, true, effects);
                sent = true;
            }
            break;
    }
    return sent;
}

// One Replicate from peer.next on; bare: without entries. Or an offer of the snapshot, when the log
// does not reach back that far.
void Group::send_entries(Peer& peer, bool bare, Effects& effects) {
    const LogIndex prev(peer.next.value - 1);
    if (prev < log_.snapshot().index) {
        peer.pace = Pace::snapshot;
        offer_snapshot(peer, effects);
        return;
    }
    Replicate entries;
    entries.prev = {log_.term_at(prev), prev};
    entries.last = prev;
    entries.commit = log_.committed();
    entries.number = ++peer.number;
    std::uint64_t bytes = 0;
    std::uint64_t count = 0;
    const std::span<const TermRun> runs = log_.runs();
    auto run = std::upper_bound(
        runs.begin(), runs.end(), peer.next,
        [](LogIndex wanted, const TermRun& candidate) { return wanted < candidate.first; });
    for (LogIndex index = peer.next; !bare && index <= log_.last(); index = index.next()) {
        const std::uint64_t size = log_.bytes_of(index);
        if (count > 0 &&
            (bytes + size > limits::message_bytes_max || count == limits::message_entries_max)) {
            break;
        }
        const bool begins_run = run != runs.end() && run->first == index;
        if (count == 0 || begins_run) {
            if (entries.run_count == limits::message_runs_max) {
                break;
            }
            if (begins_run) {
                ++run;
            }
            entries.runs[entries.run_count++] = {index, std::prev(run)->term};
        }
        entries.last = index;
        bytes += size;
        ++count;
    }
    for (const MembershipAt& membership : memberships_) {
        if (membership.index > prev && membership.index <= entries.last) {
            if (entries.membership) {
                // One per message: the next one leaves with the next message.
                entries.last = LogIndex(membership.index.value - 1);
                while (entries.runs[entries.run_count - 1].first > entries.last) {
                    --entries.run_count;
                }
                break;
            }
            entries.membership = membership;
        }
    }
    if (peer.pace == Pace::replicate && entries.last > prev) {
        peer.next = entries.last.next();
        peer.inflight.push_back({entries.last, bytes});
        peer.inflight_bytes += bytes;
    }
    peer.commit_sent = log_.committed();
    send(peer.id, entries, effects);
}

void Group::offer_snapshot(Peer& peer, Effects& effects) {
    VERIFY(log_.snapshot().index != LogIndex{});
    peer.waiting = true;
    send(peer.id, SnapshotOffer{log_.snapshot(), memberships_.front()}, effects);
}

// --- what is answered ---

void Group::on(const Message& from, const Replicated& answer, Now now, Effects& effects) {
    Peer* peer = find_peer(from.from);
    if (!is_current(from, now, effects) || role_ != Role::leader || peer == nullptr ||
        peer->reverted) {
        return;
    }
    peer->heard = true;
    if (!answer.accepted) {
        if (answer.rejected == LogIndex{}) {
            return;  // meant for the leader of an earlier term, which this node may have been
        }
        if (answer.number < peer->fresh_from) {
            return;  // it speaks of what was sent before this pace began
        }
        // R11: nothing that was acknowledged may be gone. The message was sent after that
        // acknowledgement had come, so this is no answer that was overtaken.
        if (answer.number > peer->match_number && answer.last < peer->match) {
            peer->reverted = true;
            effects.reverted = peer->id;
            return;
        }
        if (answer.rejected <= peer->match) {
            return;
        }
        const LogIndex common = log_.last_at_most(answer.hint.index, answer.hint.term).index;
        probe(*peer,
              std::max(std::min(common, LogIndex(answer.rejected.value - 1)), peer->match).next());
        turn_end_due_ = true;
        return;
    }
    if (answer.match > log_.last() || answer.last > log_.last()) {
        return;  // no follower of this leader can say so
    }
    peer->commit_known = std::max(peer->commit_known, answer.commit);
    const LogIndex match = planted(Planted::undurable_counted) ? answer.last : answer.match;
    const bool rose = match > peer->match;
    if (rose) {
        peer->match = match;
        peer->match_number = peer->number;
        peer->next = std::max(peer->next, peer->match.next());
    }
    // What it has but not on disk is gone if it was restarted since.
    const LogIndex known =
        answer.number < peer->fresh_from ? peer->match : std::max(peer->match, answer.last);
    switch (peer->pace) {
        case Pace::snapshot:
            if (peer->match < log_.snapshot().index) {
                if (rose) {
                    // It has installed one, and the log went on without it: the next, at once.
                    peer->waiting = false;
                    turn_end_due_ = true;
                }
                break;
            }
            probe(*peer, known.next());
            peer->pace = Pace::replicate;
            break;
        case Pace::probe:
            probe(*peer, known.next());
            peer->pace = Pace::replicate;
            break;
        case Pace::replicate: {
            const auto done = std::find_if(
                peer->inflight.begin(), peer->inflight.end(),
                [peer](const Inflight& message) { return message.last > peer->match; });
            std::for_each(peer->inflight.begin(), done, [peer](const Inflight& message) {
                peer->inflight_bytes -= message.bytes;
            });
            peer->inflight.erase(peer->inflight.begin(), done);
            break;
        }
    }
    turn_end_due_ =
        turn_end_due_ || peer->next <= log_.last() || peer->commit_sent < log_.committed();
    if (rose && peer->votes()) {
        advance_commit(now, effects);
    }
    if (role_ == Role::leader && transfer_to_ == from.from) {
        finish_transfer(effects);
    }
}

void Group::on(const Message& from, const SnapshotStatus& status, Now now, Effects& effects) {
    Peer* peer = find_peer(from.from);
    if (!is_current(from, now, effects) || role_ != Role::leader || peer == nullptr) {
        return;
    }
    // One that failed is offered again at the next look, not at once.
    peer->heard = !status.failed;
}

// Whether a follower has something of this leader to answer.
bool Group::owes_answer(const Peer& peer) const {
    return peer.id != self_ && !peer.down && !peer.reverted &&
           (peer.waiting || peer.match < log_.last() || peer.commit_known < log_.committed() ||
            (round_open_ && peer.votes() && peer.round_seen < round_));
}

// Links keep order and lose nothing but with the connection, which the shard tells; this is for
// what is lost all the same.
void Group::look_after_followers(Now now, Effects& effects) {
    deadline_ = Instant::never();
    if (transfer_to_ != NodeId{} && now.mono >= transfer_until_) {
        transfer_to_ = NodeId{};
        transfer_until_ = Instant::never();
        if (disk_trouble_) {
            step_down(now, effects);
            return;
        }
    }
    if (stall_since_ == Instant::never() || log_.committed() != stall_commit_ ||
        log_.committed() == log_.last()) {
        stall_commit_ = log_.committed();
        stall_since_ = now.mono;
    } else if (now.mono - stall_since_ >=
               (disk_patience_ ? limits::commit_stall_slow : limits::commit_stall)) {
        // A leader that cannot commit, by whatever disk, is no use to anybody.
        step_down(now, effects);
        return;
    }
    bool owed = log_.committed() < log_.last();
    for (Peer& peer : peers_) {
        if (!owes_answer(peer)) {
            peer.quiet = 0;
            continue;
        }
        owed = true;
        if (peer.heard) {
            peer.heard = false;
            peer.quiet = 0;
            continue;
        }
        if (++peer.quiet < 2 || planted(Planted::never_asked_again)) {
            continue;
        }
        peer.quiet = 0;
        peer.round_sent = ReadContext{};
        if (peer.pace == Pace::snapshot) {
            peer.waiting = false;
        } else {
            const bool was_replicating = peer.pace == Pace::replicate;
            probe(peer, was_replicating ? peer.match.next() : peer.next);
            peer.bare = true;
        }
        turn_end_due_ = true;
    }
    if (owed && has_followers()) {
        deadline_ = now.mono + limits::retry_interval;
    } else {
        stall_since_ = Instant::never();
    }
    deadline_ = std::min(deadline_, transfer_until_);
}

}  // namespace ursula::raft
