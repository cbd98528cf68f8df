// Decides whether a history of append-only streams is linearizable, exactly, in time linear in its
// operations (reliability-anchors 4.9). No clock, no file, no output: values in, a verdict out.
//
// A log names the place of each of its appends, so the order of the writes is given and only
// intervals remain. The transitions of a name are, for one incarnation after the other, its
// creation, its appends, its close (unless the last append closed it in the same step) and its
// deletion. Each has an instant t, and t never falls along the transitions. Every operation says
// that one transition had happened by its end, or that another had not before its start: bounds
// R <= t <= D of each transition. The earliest choice, the maximum of R so far, is as good as any
// and fails only where every choice fails. "There is no such stream" may hold in several gaps
// between incarnations, so it is no such bound; but it forbids only an incarnation whose life, open
// interval (creation, deletion), holds the whole answer, and that is mended by a later creation
// alone: the earliest choice stays the best one.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tools/check/history.h"

namespace ursula::check {

// Which of the client-visible properties (reliability-anchors 2.1) was violated.
enum class Property : std::uint8_t {
    c1_durable,       // Acknowledged appends are in every node's final log, where they were said.
    c2_linearizable,  // Each operation takes effect at one instant between its start and its end.
    c3_immutable,     // The bytes at an offset never change.
    c4_offsets,       // Offsets are unique and grow.
    c5_atomic,        // What is read begins and ends where appends do.
    c6_producers,     // Each producer triple counts once, in its order.
    c8_closed,        // Closed stays closed.
    c9_deleted,       // A deleted stream stays deleted; its appends never land in a successor.
    c11_no_leak,      // No bytes of another stream.
    c14_live,         // A live reader misses and repeats nothing.
    c15_flags,        // "Closed" is said at the end of a closed stream only.
    c18_no_false_no,  // What was refused did not happen; what was sent by nobody is not there.
};

// "C1" and so on.
const char* name_of(Property property);

struct Violation {
    Property property = Property::c2_linearizable;
    std::string stream;  // Its word.
    std::string reason;
    // The operations that contradict each other. None is left out and none is needed beyond them,
    // given the final log.
    std::vector<Ref> witnesses;
    std::vector<std::uint32_t> lines;  // Of the witnesses that came from text.
};

struct Options {
    // How far apart two clock readings must be to be told apart, in the history's unit. What
    // contradicts by no more than this is reported apart.
    std::int64_t epsilon = 0;
};

struct Verdict {
    std::vector<Violation> violations;        // At most one a name: the first that was met.
    std::optional<Violation> within_epsilon;  // The first that is not above the clock's resolution.
    std::uint64_t appends = 0;                // Attempts.
    std::uint64_t acked = 0;                  // Appends that were acknowledged at least once.
    std::uint64_t reads = 0;
    // Reads from offsets that the history does not place; they were not judged.
    std::uint64_t unplaced = 0;
};

// Every stream's ending must be told (VERIFY).
Verdict check_history(const History& history, const Options& options = Options{});

// The violation and its witnesses, several lines of text.
std::string explain(const History& history, const Violation& violation);

}  // namespace ursula::check
