// The fixed answer of bare-http and bare-wal, many times over, so that any number of replies is one
// plain send.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace ursula::bare {

constexpr std::string_view no_content =
    "HTTP/1.1 204 No Content\r\n"
    "Stream-Next-Offset: 0000000000000000_0000000000000256\r\n\r\n";

class Replies {
  public:
    static constexpr std::size_t count_max = 1024;  // in one send; the rest follows in the next
    Replies() {
        for (std::size_t i = 0; i < count_max; ++i) {
            text_.append(no_content);
        }
    }
    const char* data() const { return text_.data(); }

  private:
    std::string text_;
};

}  // namespace ursula::bare
