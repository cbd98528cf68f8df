// Linearizable reads without log entries (thesis 6.4). Contexts rise, so the open reads of a group
// are two numbers, whatever their count: the newest asked and the newest answered.
#include <array>

#include "base/verify.h"
#include "raft/group.h"
#include "raft/quorum.h"

namespace ursula::raft {

void Group::on(const ReadIndex& read, Now /*now*/, Effects& effects) {
    VERIFY(read.context > reads_asked_);
    reads_asked_ = read.context;
    if (role_ != Role::leader) {
        reads_answered_ = read.context;
        effects.reads_refused = read.context;
        return;
    }
    // The leader recognises itself; with one voter that is a majority (6.4 step 3).
    self_voter().read_confirmed = read.context;
    answer_reads(effects);
}

void Group::answer_reads(Effects& effects) {
    if (reads_answered_ == reads_asked_) {
        return;
    }
    // 6.4 step 1: until an entry of its own term is committed a leader does not know how far its
    // log is.
    if (log_.committed() < term_start_) {
        return;
    }
    std::array<std::uint64_t, voters_max> confirmed;
    for (std::size_t i = 0; i < voters_.size(); ++i) {
        confirmed[i] = voters_[i].read_confirmed.value;
    }
    const ReadContext reached(reached_by_majority({confirmed.data(), voters_.size()}));
    if (reached > reads_answered_) {
        reads_answered_ = reached;
        effects.reads_ready = ReadsReady{reached, log_.committed()};
    }
}

}  // namespace ursula::raft
