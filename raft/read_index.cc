// Linearizable reads without log entries (thesis 6.4). Contexts rise, so the open reads of a group
// are two numbers per asker, whatever their count: the newest asked and the newest answered.
//
// A leader confirms itself in rounds: one heartbeat to each voter, with a number never used before
// in its term. A read asked while a round is open waits for the next one, so every answer was asked
// for after the read (raft.readindex_reuse).
#include <algorithm>
#include <utility>

#include "base/verify.h"
#include "raft/group.h"

namespace ursula::raft {

void Group::on(const ReadIndex& read, Now /*now*/, Effects& effects) {
    VERIFY(read.context > reads_asked_);
    reads_asked_ = read.context;
    if (role_ == Role::leader && self_at_ != nobody) {
        if (!has_followers()) {
            // The leader recognises itself; with one voter that is a majority (6.4 step 3).
            answer_reads(effects);
            return;
        }
        peers_[self_at_].read_asked = read.context;
        turn_end_due_ = true;
    } else if (role_ == Role::follower && hears_leader()) {
        read_sent_ = false;
        turn_end_due_ = true;
    } else {
        refuse_reads(effects);
    }
}

void Group::begin_round(Effects& effects) {
    if (round_open_ || std::none_of(peers_.begin(), peers_.end(), [](const Peer& peer) {
            return peer.read_asked != ReadContext{};
        })) {
        return;
    }
    round_ = round_.next();
    round_open_ = true;
    for (Peer& peer : peers_) {
        peer.read_taken = std::exchange(peer.read_asked, ReadContext{});
    }
    if (self_at_ != nobody) {
        peers_[self_at_].round_seen = round_;
    }
    answer_reads(effects);
}

void Group::answer_reads(Effects& effects) {
    // 6.4 step 1: until an entry of its own term is committed a leader does not know how far its
    // log is.
    if (log_.committed() < term_start_ && !planted(Planted::reads_before_noop)) {
        return;
    }
    if (!has_followers()) {
        if (reads_answered_ != reads_asked_) {
            // Maybe asked while there were others.
            peers_[self_at_].read_asked = ReadContext{};
            peers_[self_at_].read_taken = ReadContext{};
            round_open_ = false;
            reads_answered_ = reads_asked_;
            effects.reads_ready = ReadsReady{reads_answered_, log_.committed()};
        }
        return;
    }
    if (!round_open_ ||
        reached([](const Peer& peer) { return peer.round_seen.value; }) < round_.value) {
        return;
    }
    round_open_ = false;
    for (Peer& peer : peers_) {
        const ReadContext answered = std::exchange(peer.read_taken, ReadContext{});
        if (answered == ReadContext{}) {
            continue;
        }
        if (peer.id == self_) {
            reads_answered_ = answered;
            effects.reads_ready = ReadsReady{answered, log_.committed()};
        } else {
            send(peer.id, ReadReply{true, answered, peer.life, log_.committed()}, effects);
        }
    }
    turn_end_due_ = true;  // maybe for the next round
}

// Those this node was asked for. Askers elsewhere ask again and are told who leads, or that nobody
// does.
void Group::refuse_reads(Effects& effects) {
    read_sent_ = false;
    if (reads_answered_ != reads_asked_) {
        reads_answered_ = reads_asked_;
        effects.reads_refused = reads_asked_;
    }
}

void Group::on(const Message& from, const Heartbeat& heartbeat, Now now, Effects& effects) {
    if (hear_leader(from, now, effects)) {
        follow_commit(heartbeat.commit, effects);
    }
    // Not hearing it as a leader, this says of which term there is one.
    send(from.from, HeartbeatSeen{heartbeat.round}, effects);
}

void Group::on(const Message& from, const HeartbeatSeen& seen, Now now, Effects& effects) {
    Peer* peer = find_peer(from.from);
    if (!is_current(from, now, effects) || role_ != Role::leader || peer == nullptr) {
        return;
    }
    peer->heard = true;
    peer->round_seen = std::max(peer->round_seen, std::min(seen.round, round_));
    answer_reads(effects);
}

void Group::on(const Message& from, const ReadRequest& request, Now /*now*/, Effects& effects) {
    Peer* peer = find_peer(from.from);
    if (role_ != Role::leader || peer == nullptr) {
        send(from.from, ReadReply{false, request.context, request.life, LogIndex{}}, effects);
        return;
    }
    if (peer->life != request.life) {
        peer->life = request.life;
        peer->read_taken = ReadContext{};
    }
    peer->read_asked = request.context;
    turn_end_due_ = true;
}

void Group::on(const Message& from, const ReadReply& reply, Now now, Effects& effects) {
    if (reply.life != life_) {
        return;  // asked by an earlier life of this node, whose contexts meant other reads
    }
    if (reply.ready) {
        // True whoever leads by now: it was confirmed after the question.
        if (role_ == Role::follower && reply.context > reads_answered_ &&
            reply.context <= reads_asked_) {
            reads_answered_ = reply.context;
            effects.reads_ready = ReadsReady{reply.context, reply.index};
        }
    } else if (is_current(from, now, effects) && role_ == Role::follower && leader_ == from.from) {
        lose_leader(Duration{}, now, effects);
    }
}

}  // namespace ursula::raft
