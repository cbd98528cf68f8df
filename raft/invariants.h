// What must hold of a Group after every step (notes/reliability-anchors.md 2.2 R1..R14, as far as
// one replica can see them), and between the states before and after one step. Run after each step
// by the tests and the simulator. Over Status, so a test can show each check a broken state.
#pragma once

#include <string_view>

#include "raft/effects.h"
#include "raft/group.h"

namespace ursula::raft {

// Empty when all hold, else the first broken one in words. Valid from the Start input on.
[[nodiscard]] std::string_view check_state(const Status& now);

// `effects` are those of this one step. Valid for every step but Start.
[[nodiscard]] std::string_view check_step(const Status& before, const Status& after,
                                          const Effects& effects);

}  // namespace ursula::raft
