// The leader's log: new entries (thesis 3.5) and what is committed (3.6.2).
#include <array>

#include "base/limits.h"
#include "base/verify.h"
#include "raft/group.h"
#include "raft/quorum.h"

namespace ursula::raft {

void Group::on(const Submit& submit, Now /*now*/, Effects& effects) {
    if (role_ != Role::leader) {
        effects.refused_submits.push_back({submit.ticket, SubmitRefusal::not_leader});
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
}

void Group::advance_commit(Effects& effects) {
    std::array<std::uint64_t, voters_max> matches;
    for (std::size_t i = 0; i < voters_.size(); ++i) {
        matches[i] = voters_[i].match.value;
    }
    const LogIndex reached(reached_by_majority({matches.data(), voters_.size()}));
    // 3.6.2, figure 3.7: an entry of an earlier term on a majority may still be overwritten. Only
    // one of the leader's own term commits by being counted; those before it commit with it.
    if (reached <= log_.committed() || log_.term_at(reached) != hard_state_.term) {
        return;
    }
    log_.set_committed(reached);
    effects.commit_to = reached;
    answer_reads(effects);
}

}  // namespace ursula::raft
