// A failing environment (disk, socket, file) is a Result. A bug is VERIFY. An expected refusal is
// an api::Refusal in the reply. tl::expected until std::expected is on both compilers.
#pragma once

#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace ursula::base {

// What happened and what to do next, in one sentence for a person.
struct Error {
    std::string message;
    int errno_value = 0;  // 0 when the failure was not a system call's
};

template <class T>
using Result = tl::expected<T, Error>;

[[nodiscard]] inline tl::unexpected<Error> fail(std::string message, int errno_value = 0) {
    return tl::unexpected<Error>(Error{std::move(message), errno_value});
}

}  // namespace ursula::base

// Returns the error of a Result-valued expression from the enclosing function.
#define TRY(expression)                                            \
    do {                                                           \
        auto try_result_ = (expression);                           \
        if (!try_result_) {                                        \
            return tl::unexpected(std::move(try_result_.error())); \
        }                                                          \
    } while (false)
