// HeadMemo: heads that were parsed before. A client sends the same head again and again - same
// path, same headers, same length - and equal bytes have equal meaning, so a head that is byte for
// byte one accepted earlier is not parsed again. Nothing is ever accepted here that the parser did
// not accept first. One per loop; direct mapped by the head's first bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "net/http_message.h"

namespace ursula::net {

class HeadMemo {
  public:
    static constexpr std::size_t slots = 1024;
    static constexpr std::size_t head_bytes_max = 512;  // longer heads are parsed every time

    HeadMemo();
    ~HeadMemo();
    HeadMemo(const HeadMemo&) = delete;
    HeadMemo& operator=(const HeadMemo&) = delete;

    // When `bytes` begin with a remembered head: its size, and the request as views into `bytes`.
    // 0: not known.
    std::size_t find(std::string_view bytes, Request& request) const;
    // Remembers an accepted head.
    void remember(std::string_view head, const Request& request);

  private:
    struct Known;
    static std::size_t slot_of(std::string_view bytes);

    struct Free {
        void operator()(Known* known) const;
    };
    std::unique_ptr<Known, Free> known_;  // an array of `slots`
};

}  // namespace ursula::net
