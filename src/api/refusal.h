// Every expected refusal, named for what the client did or what to do next. src/http/refusals.cc
// gives each its status, code, title and hint in one table.
#pragma once

#include <cstdint>

namespace ursula::api {

enum class Refusal : std::uint8_t {
    none,
    // definite: nothing was changed and nothing of the request will be
    stream_not_found,
    stream_exists_with_other_config,
    bucket_not_found,
    bucket_not_empty,
    bucket_being_removed,
    stream_closed,  // numbers: the producer's seq, 1 when there was a producer
    content_type_missing,
    content_type_mismatch,
    empty_append,
    stream_seq_not_increasing,
    producer_epoch_stale,  // numbers: current epoch
    producer_epoch_must_start_at_zero,
    producer_gap,  // numbers: expected, received
    json_invalid,
    json_empty_array,
    json_too_deep,
    overloaded,      // 503 + Retry-After
    disk_full,       // 507 + Retry-After
    memory_full,     // 507 + Retry-After: a node without a data directory, at storage.hot_bytes
    too_many_tails,  // 503 + Retry-After
    data_damaged,    // 500: bytes on disk fail their checksum; never served
    read_failed,     // 500
    not_leader,      // 503: another node takes writes of this group; numbers: it, 0 unknown
    // of ChangeMemberCall
    member_invalid,           // no such member can be: a bound, or the node belongs to no cluster
    member_unknown,           // promote: the node is no member
    member_other_storage,     // the member's storage has another incarnation; numbers: that
    member_not_caught_up,     // promote; numbers: entries it lacks
    member_change_under_way,  // another change, or a hand-over of leadership: ask again
    member_quorum,            // no majority of the voters that would be is up
    members_too_many,
    no_leader,  // 503: no leader of this group is known, or none that can be reached
    // unknown outcome: 5xx that promises nothing
    shutting_down,
    outcome_unknown,
    // definite, of streams that are forked and of forks
    stream_deleted,  // removed or expired, and kept for its forks alone
    stream_held,     // a create in its place
    fork_source_not_found,
    fork_source_deleted,      // kept for its forks: it takes no further one
    fork_type_mismatch,       // another content type than the source's
    fork_offset_invalid,      // beyond the source's tail, or no boundary of its appends
    fork_sub_offset_invalid,  // more than the next append has, or there is none
    fork_too_deep,
    forks_too_many,
    fork_abandoned,  // 503: its group's leader changed meanwhile; there is no fork
};

}  // namespace ursula::api
