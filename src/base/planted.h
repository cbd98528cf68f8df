// The switch for bugs planted on purpose. A folder that has some names them in its own planted.h,
// as an enum with `none`; tests build the folder once more with URSULA_PLANTED_BUGS, turn one on
// and must find it. In the product planted() is false at compile time.
#pragma once

namespace ursula::base {

#if defined(URSULA_PLANTED_BUGS)
template <class Bug>
inline Bug planted_bug = Bug::none;
template <class Bug>
bool planted(Bug bug) {
    return planted_bug<Bug> == bug;
}
#else
template <class Bug>
constexpr bool planted(Bug) {
    return false;
}
#endif

}  // namespace ursula::base
