// What a log entry carries, for every kind: 8 bytes with the group's commit index as its leader
// knew it when it wrote the entry (u64, little-endian), then for kind `command` the stream commands
// (stream/command.h).
//
// The hint is what lets a restart apply most of the log while reading it once: an entry at or below
// a hint that was durably written later is committed, whoever leads next (Raft thesis 3.5:
// commitment never goes back).
#pragma once

#include "base/bytes.h"
#include "base/ids.h"
#include "base/wire.h"

namespace ursula::shard {

constexpr std::size_t commit_hint_bytes = 8;

inline void write_commit_hint(base::MutableBytes body, base::LogIndex committed) {
    base::store(body.data(), committed.value);
}
inline base::LogIndex read_commit_hint(base::Bytes body) {
    return base::LogIndex(body.size() < commit_hint_bytes ? 0
                                                          : base::load<std::uint64_t>(body.data()));
}
inline base::Bytes commands_of(base::Bytes body) {
    return body.size() < commit_hint_bytes ? base::Bytes{} : body.subspan(commit_hint_bytes);
}

}  // namespace ursula::shard
