#include "raft/describe.h"

#include <fmt/format.h>

#include <iterator>

namespace ursula::raft {
namespace {

std::string text(EntryId id) {
    return fmt::format("{}/{}", id.term.value, id.index.value);
}
std::string text(NodeId node) {
    return node == NodeId{} ? "none" : fmt::format("n{}", node.value);
}
std::string text(HardState hard_state) {
    return fmt::format("t{} vote {}", hard_state.term.value, text(hard_state.vote));
}
std::string text(Instant instant) {
    return instant == Instant::never() ? "never" : fmt::format("{}ns", instant.ns);
}

std::string text(const Start& start) {
    std::string runs;
    for (const TermRun& run : start.log_terms) {
        fmt::format_to(std::back_inserter(runs), " t{} from {}", run.term.value, run.first.value);
    }
    std::string members;
    for (const MembershipAt& membership : start.memberships) {
        fmt::format_to(std::back_inserter(members), ", members from {}: {}", membership.index.value,
                       describe(membership.membership));
    }
    return fmt::format("start {}, snapshot {}, last {}, commit hint {}, log{}{}",
                       text(start.hard_state), text(start.snapshot), start.last.value,
                       start.commit_hint.value, runs.empty() ? " empty" : runs, members);
}
std::string text(const Submit& submit) {
    return fmt::format("submit #{} of {} bytes", submit.ticket.value, submit.bytes);
}
std::string text(const Persisted& persisted) {
    return fmt::format("persisted {}, {}{}", text(persisted.log), text(persisted.hard_state),
                       persisted.cuts == 0 ? "" : fmt::format(", cut {} times", persisted.cuts));
}
std::string text(const Timeout& /*timeout*/) {
    return "timeout";
}
std::string text(const ReadIndex& read) {
    return fmt::format("read index {}", read.context.value);
}
std::string text(const Applied& applied) {
    return fmt::format("applied {}", applied.index.value);
}
std::string text(const SnapshotTaken& taken) {
    return fmt::format("snapshot taken {}", text(taken.last));
}

std::string text(const Received& received) {
    return "received " + describe(*received.message);
}
std::string text(const TurnEnd& /*turn_end*/) {
    return "turn end";
}
std::string text(const ChangeMembership& change) {
    return fmt::format("change membership #{} to {}", change.ticket.value, describe(change.target));
}
std::string text(const Transfer& transfer) {
    return fmt::format("transfer to {}", text(transfer.to));
}
std::string text(const PeerDown& down) {
    return fmt::format("{} is down", text(down.node));
}
std::string text(const PeerUp& up) {
    return fmt::format("{} is up", text(up.node));
}
std::string text(const LeaderGone& gone) {
    return fmt::format("{} does not lead in t{}", text(gone.node), gone.term.value);
}
std::string text(const DiskTrouble& trouble) {
    return trouble.trouble ? "disk trouble" : "disk well";
}
std::string text(const MembershipAt& membership) {
    return fmt::format("{} from {}", describe(membership.membership), membership.index.value);
}
std::string text(const SnapshotComing& coming) {
    return fmt::format("snapshot coming {}", text(coming.last));
}
std::string text(const SnapshotInstalled& installed) {
    return fmt::format("snapshot installed {}, members {}", text(installed.last),
                       text(installed.membership));
}
std::string text(const SnapshotFailed& /*failed*/) {
    return "snapshot failed";
}

std::string text(const PreVote& vote) {
    return fmt::format("would you vote, last {}", text(vote.last));
}
std::string text(const PreVoted& voted) {
    return voted.granted ? "would vote" : "would not vote";
}
std::string text(const Vote& vote) {
    return fmt::format("vote, last {}{}", text(vote.last), vote.transfer ? ", handed over" : "");
}
std::string text(const Voted& voted) {
    return voted.granted ? "voted for you" : "voted not for you";
}
std::string text(const Replicate& entries) {
    std::string out = fmt::format("replicate #{} after {}", entries.number, text(entries.prev));
    if (entries.last > entries.prev.index) {
        fmt::format_to(std::back_inserter(out), " to {}:", entries.last.value);
    }
    for (std::size_t i = 0; i < entries.run_count; ++i) {
        fmt::format_to(std::back_inserter(out), " t{} from {}", entries.runs[i].term.value,
                       entries.runs[i].first.value);
    }
    if (entries.membership) {
        out += ", members " + text(*entries.membership);
    }
    return out + fmt::format(", commit {}", entries.commit.value);
}
std::string text(const Replicated& answer) {
    if (answer.accepted) {
        return fmt::format("replicated #{} durable {}, written {}, commit {}", answer.number,
                           answer.match.value, answer.last.value, answer.commit.value);
    }
    return fmt::format("rejected #{} after {}, last {}, try {}", answer.number,
                       answer.rejected.value, answer.last.value, text(answer.hint));
}
std::string text(const Heartbeat& heartbeat) {
    return fmt::format("heartbeat round {}, commit {}", heartbeat.round.value,
                       heartbeat.commit.value);
}
std::string text(const WhoLeads& /*question*/) {
    return "who leads";
}
std::string text(const HeartbeatSeen& seen) {
    return fmt::format("heartbeat seen round {}", seen.round.value);
}
std::string text(const ReadRequest& request) {
    return fmt::format("read request {}", request.context.value);
}
std::string text(const ReadReply& reply) {
    return reply.ready ? fmt::format("read {} ready at {}", reply.context.value, reply.index.value)
                       : fmt::format("read {} refused", reply.context.value);
}
std::string text(const TimeoutNow& timeout) {
    return timeout.for_good ? "campaign now, for good" : "campaign now";
}
std::string text(const SnapshotOffer& offer) {
    return fmt::format("snapshot offer {}, members {}", text(offer.last), text(offer.membership));
}
std::string text(const SnapshotStatus& status) {
    return status.failed ? "snapshot failed" : "snapshot on its way";
}

std::string_view name_of(Pace pace) {
    switch (pace) {
        case Pace::probe:
            return "probe";
        case Pace::replicate:
            return "replicate";
        case Pace::snapshot:
            return "snapshot";
    }
    return "?";
}
std::string_view name_of(EntryKind kind) {
    switch (kind) {
        case EntryKind::noop:
            return "noop";
        case EntryKind::command:
            return "command";
        case EntryKind::membership:
            return "membership";
    }
    return "?";
}
std::string_view name_of(SubmitRefusal why) {
    switch (why) {
        case SubmitRefusal::not_leader:
            return "not leader";
        case SubmitRefusal::uncommitted_full:
            return "too many uncommitted bytes";
        case SubmitRefusal::transferring:
            return "handing over";
        case SubmitRefusal::change_in_flight:
            return "a change is in flight";
        case SubmitRefusal::not_caught_up:
            return "a new voter has not caught up";
        case SubmitRefusal::no_quorum:
            return "no majority of the target is well";
        case SubmitRefusal::too_many_members:
            return "too many members";
    }
    return "?";
}
char letter_of(Role role) {
    switch (role) {
        case Role::follower:
            return 'F';
        case Role::pre_candidate:
            return 'P';
        case Role::candidate:
            return 'C';
        case Role::leader:
            return 'L';
    }
    return '?';
}

}  // namespace

std::string_view name_of(Role role) {
    switch (role) {
        case Role::follower:
            return "follower";
        case Role::pre_candidate:
            return "pre-candidate";
        case Role::candidate:
            return "candidate";
        case Role::leader:
            return "leader";
    }
    return "?";
}

std::string place(const Group& group) {
    return fmt::format("g{}{} t{}", group.id().value, letter_of(group.role()), group.term().value);
}

std::string describe(const Input& input) {
    return std::visit([](const auto& happened) { return text(happened); }, input);
}

std::string describe(const Message& message) {
    return fmt::format("{} > {} t{} {}", text(message.from), text(message.to), message.term.value,
                       std::visit([](const auto& body) { return text(body); }, message.body));
}

std::string describe(const Membership& membership) {
    std::string now;
    std::string before;
    for (const Member& member : membership.members()) {
        if (member.voter || (member.learner && !member.outgoing)) {
            now += (now.empty() ? "" : " ") + text(member.id) + (member.voter ? "" : "?");
        }
        if (member.outgoing) {
            before += (before.empty() ? "" : " ") + text(member.id) + (member.learner ? "?" : "");
        }
    }
    if (now.empty()) {
        now = "nobody";
    }
    return membership.joint() ? now + " of " + before : now;
}

std::string describe(const Effects& effects) {
    std::string out;
    const auto line = std::back_inserter(out);
    if (effects.hard_state) {
        fmt::format_to(line, "write hard state {}\n", text(*effects.hard_state));
    }
    if (effects.truncate_from != LogIndex{}) {
        fmt::format_to(line, "truncate from {}\n", effects.truncate_from.value);
    }
    for (const EntryToWrite& entry : effects.entries_to_write) {
        fmt::format_to(line, "write {} {}", text(entry.id), name_of(entry.kind));
        if (entry.ticket != SubmitTicket{}) {
            fmt::format_to(line, " #{}", entry.ticket.value);
        }
        out += '\n';
    }
    if (effects.entries_to_accept) {
        fmt::format_to(line, "accept {} to {}\n", effects.entries_to_accept->first.value,
                       effects.entries_to_accept->last.value);
    }
    for (const Message& message : effects.messages) {
        fmt::format_to(line, "send {}\n", describe(message));
    }
    if (effects.commit_to != LogIndex{}) {
        fmt::format_to(line, "commit to {}\n", effects.commit_to.value);
    }
    if (effects.reads_ready) {
        fmt::format_to(line, "reads up to {} ready at {}\n", effects.reads_ready->context.value,
                       effects.reads_ready->index.value);
    }
    if (effects.reads_refused) {
        fmt::format_to(line, "reads up to {} refused\n", effects.reads_refused->value);
    }
    for (const RefusedSubmit& refused : effects.refused_submits) {
        fmt::format_to(line, "refuse #{}: {}\n", refused.ticket.value, name_of(refused.why));
    }
    if (effects.role_change) {
        fmt::format_to(line, "now {} in t{}, leader {}\n", name_of(effects.role_change->role),
                       effects.role_change->term.value, text(effects.role_change->leader));
    }
    if (effects.membership_change) {
        fmt::format_to(line, "members {}\n", text(*effects.membership_change));
    }
    if (effects.fetch_snapshot) {
        fmt::format_to(line, "fetch snapshot {} from {}\n", text(effects.fetch_snapshot->last),
                       text(effects.fetch_snapshot->from));
    }
    if (effects.reverted != NodeId{}) {
        fmt::format_to(line, "alarm: {} lost what it had acknowledged\n", text(effects.reverted));
    }
    return out;
}

std::string describe(const Status& status) {
    std::string out = fmt::format(
        "g{} {} {} (durable {}), leader {}\n"
        "log after {} to {}, persisted {}, committed {}, applied {}, uncommitted {} bytes\n"
        "reads asked {}, answered {}; deadline {}\n",
        status.group.value, name_of(status.role), text(status.hard_state),
        text(status.hard_state_persisted), text(status.leader), text(status.snapshot),
        text(status.last), status.persisted.value, text(status.committed), status.applied.value,
        status.uncommitted_bytes, status.reads_asked.value, status.reads_answered.value,
        text(status.deadline));
    if (status.peers.size() == 1) {
        return out;
    }
    const auto line = std::back_inserter(out);
    fmt::format_to(line, "members {}\n", text(status.membership));
    if (status.role == Role::leader) {
        for (const Peer& peer : status.peers) {
            if (peer.id == status.self) {
                continue;
            }
            fmt::format_to(line, "{} {} match {}, next {}, in flight {}{}{}{}\n", text(peer.id),
                           name_of(peer.pace), peer.match.value, peer.next.value,
                           peer.inflight.size(), peer.waiting ? ", waiting" : "",
                           peer.down ? ", down" : "", peer.reverted ? ", reverted" : "");
        }
    }
    return out;
}

}  // namespace ursula::raft
