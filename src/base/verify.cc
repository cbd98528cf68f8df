#include "base/verify.h"

#include <cstdio>
#include <cstdlib>

namespace ursula::base {

void verify_failed(const char* expression, const char* file, int line) noexcept {
    std::fprintf(stderr, "%s:%d: VERIFY(%s) failed: this is a bug in ursula, please report it\n",
                 file, line, expression);
    std::abort();
}

}  // namespace ursula::base
