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
    return fmt::format("start {}, snapshot {}, last {}, commit hint {}, log{}",
                       text(start.hard_state), text(start.snapshot), start.last.value,
                       start.commit_hint.value, runs.empty() ? " empty" : runs);
}
std::string text(const Submit& submit) {
    return fmt::format("submit #{} of {} bytes", submit.ticket.value, submit.bytes);
}
std::string text(const Persisted& persisted) {
    return fmt::format("persisted {}, {}", text(persisted.log), text(persisted.hard_state));
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

std::string_view name_of(EntryKind kind) {
    switch (kind) {
        case EntryKind::noop:
            return "noop";
        case EntryKind::command:
            return "command";
    }
    return "?";
}
std::string_view name_of(SubmitRefusal why) {
    switch (why) {
        case SubmitRefusal::not_leader:
            return "not leader";
        case SubmitRefusal::uncommitted_full:
            return "too many uncommitted bytes";
    }
    return "?";
}
char letter_of(Role role) {
    switch (role) {
        case Role::follower:
            return 'F';
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

std::string describe(const Effects& effects) {
    std::string out;
    const auto line = std::back_inserter(out);
    if (effects.hard_state) {
        fmt::format_to(line, "write hard state {}\n", text(*effects.hard_state));
    }
    for (const EntryToWrite& entry : effects.entries_to_write) {
        fmt::format_to(line, "write {} {}", text(entry.id), name_of(entry.kind));
        if (entry.kind == EntryKind::command) {
            fmt::format_to(line, " #{}", entry.ticket.value);
        }
        out += '\n';
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
    return out;
}

std::string describe(const Status& status) {
    return fmt::format(
        "g{} {} {} (durable {}), leader {}\n"
        "log after {} to {}, persisted {}, committed {}, applied {}, uncommitted {} bytes\n"
        "reads asked {}, answered {}; deadline {}\n",
        status.group.value, name_of(status.role), text(status.hard_state),
        text(status.hard_state_persisted), text(status.leader), text(status.snapshot),
        text(status.last), status.persisted.value, text(status.committed), status.applied.value,
        status.uncommitted_bytes, status.reads_asked.value, status.reads_answered.value,
        text(status.deadline));
}

}  // namespace ursula::raft
