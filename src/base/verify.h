// VERIFY stays on in release builds: a broken invariant stops the process, never the data.
// DVERIFY is for checks too costly for release; it is on in debug and sanitizer builds.
#pragma once

namespace ursula::base {
// Prints "file:line: VERIFY(expression) failed" to stderr and aborts.
[[noreturn]] void verify_failed(const char* expression, const char* file, int line) noexcept;
}  // namespace ursula::base

#define VERIFY(condition)                                                  \
    do {                                                                   \
        if (!(condition)) [[unlikely]] {                                   \
            ::ursula::base::verify_failed(#condition, __FILE__, __LINE__); \
        }                                                                  \
    } while (false)

#if defined(URSULA_CHECKED)
#define DVERIFY(condition) VERIFY(condition)
#else
#define DVERIFY(condition) static_cast<void>(sizeof(!(condition)))
#endif
