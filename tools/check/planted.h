// Faults that a test can plant in the checker, to see that its comparison with the exhaustive
// search finds them (a checker that has caught nothing is not counted as one). Compiled in only
// where URSULA_CHECK_PLANTED is defined, which the shipped program never does.
#pragma once

#include <cstdint>

namespace ursula::check {

enum class Planted : std::uint8_t {
    none,
    partial_read_ignored,
    stale_read_ignored,
    only_own_bounds,
    ties_refused,
    append_answer_ignored,
    append_start_ignored,
    first_attempt_counts,
    refused_may_appear,
    unknown_must_appear,
    lost_append_ignored,
    refused_closed_ignored,
    close_hides_from_reads,
    duplicate_ignored,
    old_epoch_duplicate_allowed,
    stale_epoch_ignored,
    answer_upper_ignored,
    answer_lower_ignored,
    absent_ignored,
    absent_before_only,
    deleted_stream_readable,
    incarnations_unordered,
    content_ignored,
    producer_order_ignored,
    double_ack_allowed,
    last,
};

#ifdef URSULA_CHECK_PLANTED
inline Planted planted_fault = Planted::none;
inline bool planted(Planted fault) {
    return planted_fault == fault;
}
#else
constexpr bool planted(Planted) {
    return false;
}
#endif

}  // namespace ursula::check
