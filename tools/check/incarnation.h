// One incarnation of a name: whether its log and what was said about it fit together, and the
// bounds that its operations leave for its transitions. Internal to the checker.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tools/check/bounds.h"
#include "tools/check/check.h"
#include "tools/check/history.h"
#include "tools/check/slots.h"

namespace ursula::check {

// The name did not exist at some instant of an operation.
struct Absence {
    std::int64_t start = 0;
    std::int64_t end = 0;
    Ref ref;
};

// Transition 0 is the creation, transition k the k-th append; then the close, if it was one of its
// own; the deletion is the last.
struct Life {
    std::uint32_t stream = 0;  // Index into History::streams.
    std::uint32_t appends = 0;
    std::uint32_t close_at = nowhere;   // The transition that closed; an append, when that closed.
    std::uint32_t delete_at = nowhere;  // The last transition, when it was deleted.
    std::vector<Bound> earliest;        // R, by transition; empty when it never was created.
    std::vector<Bound> latest;          // D
};

// Powers of the fold's base up to some exponent, in two tables of about its square root.
class Powers {
  public:
    explicit Powers(std::uint64_t highest);
    std::uint64_t of(std::uint64_t exponent) const {
        return multiply_mod(low_[exponent & (low_.size() - 1)], high_[exponent >> shift_]);
    }

  private:
    unsigned shift_ = 0;
    std::vector<std::uint64_t> low_;
    std::vector<std::uint64_t> high_;
};

// Judges one incarnation. False: a violation was added to the verdict, and `life` is half full.
bool check_incarnation(const History& history, std::uint32_t stream, const Powers& powers,
                       Verdict& verdict, Life& life, std::vector<Absence>& absences);

Interval interval_of(const History& history, const Ref& ref);
std::uint32_t line_of(const History& history, const Ref& ref);

void add_violation(const History& history, std::uint32_t stream, Property property,
                   std::string reason, std::vector<Ref> witnesses,
                   std::vector<Violation>& violations);

}  // namespace ursula::check
