// TurnArena: text and bodies that calls look at. A call is a set of views which its shard may read
// until the advance that takes it is over - that of this turn, or of the next for a call made while
// answers are handed out - whatever happens to the connection, exchange or watch it was made for.
// So what a call shows lies here, and is forgotten two turns later. (What lies in this turn's
// received bytes may stay there: Transport and HttpParser keep those until the turn's end.)
#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

#include "base/bytes.h"

namespace ursula::http {

class TurnArena {
  public:
    std::string_view keep(std::string_view text) {
        char* at = room(text.size());
        if (!text.empty()) {
            std::memcpy(at, text.data(), text.size());
        }
        return {at, text.size()};
    }
    char* room(std::size_t size) {
        Half& half = halves_[current_];
        if (size > chunk_bytes) {
            half.large.push_back(std::make_unique<char[]>(size));
            return half.large.back().get();
        }
        if (half.chunks.empty() || half.used + size > chunk_bytes) {
            if (++half.open > half.chunks.size()) {
                half.chunks.push_back(std::make_unique<char[]>(chunk_bytes));
            }
            half.used = 0;
        }
        char* at = half.chunks[half.open - 1].get() + half.used;
        half.used += size;
        return at;
    }
    // Once per turn, after the shard's advance: what was kept before the last flip is over.
    void flip() {
        current_ = 1 - current_;
        Half& half = halves_[current_];
        half.large.clear();
        half.open = half.chunks.empty() ? 0 : 1;
        half.used = 0;
    }

  private:
    static constexpr std::size_t chunk_bytes = 64 * 1024;
    struct Half {
        std::vector<std::unique_ptr<char[]>> chunks;  // kept; as many as the busiest turn needed
        std::vector<std::unique_ptr<char[]>> large;
        std::size_t open = 0;  // chunks in use; the last of them is being filled
        std::size_t used = 0;
    };
    Half halves_[2];
    int current_ = 0;
};

}  // namespace ursula::http
