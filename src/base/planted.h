// The switch for bugs planted on purpose. A folder that has some names them in its own planted.h,
// as an enum with `none`; tests build the folder once more with URSULA_PLANTED_BUGS, turn one on
// and must find it. In the product planted() is false at compile time.
#pragma once

namespace ursula::base {

#if defined(URSULA_PLANTED_BUGS)
// What the product refuses because only a bug or an enemy does it, and here there is no enemy.
constexpr bool planting = true;
template <class Bug>
inline Bug planted_bug = Bug::none;
template <class Bug>
bool planted(Bug bug) {
    return planted_bug<Bug> == bug;
}
#else
constexpr bool planting = false;
template <class Bug>
constexpr bool planted(Bug) {
    return false;
}
#endif

}  // namespace ursula::base
