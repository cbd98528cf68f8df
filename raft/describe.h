// Text of what goes in and comes out of a Group and of its state: for logs and golden scenarios.
#pragma once

#include <string>
#include <string_view>

#include "raft/effects.h"
#include "raft/group.h"
#include "raft/input.h"
#include "raft/message.h"

namespace ursula::raft {

// "follower", "pre-candidate", "candidate", "leader".
[[nodiscard]] std::string_view name_of(Role role);
// Where a log line comes from: "g117L t9" is group 117, leader, term 9.
[[nodiscard]] std::string place(const Group& group);

[[nodiscard]] std::string describe(const Input& input);
// "n1 > n2 t3 vote, last 2/5".
[[nodiscard]] std::string describe(const Message& message);
// "n1 n2 n3", a learner as "n4?", in a joint change "n1 n2 of n1 n3".
[[nodiscard]] std::string describe(const Membership& membership);
// One line per effect, in the order they are carried out; empty when there is none.
[[nodiscard]] std::string describe(const Effects& effects);
[[nodiscard]] std::string describe(const Status& status);

}  // namespace ursula::raft
