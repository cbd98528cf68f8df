// Patterns of subscriptions (protocol digest 2.13): segments between slashes; `*` is exactly one,
// `**` any number of them, everything else stands for itself (`%2A` for a star). Empty segments do
// not count.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ursula::stream {

class Glob {
  public:
    // An empty pattern matches nothing.
    explicit Glob(std::string_view pattern);
    // Looks at each segment of `path` no more often than the pattern has segments.
    bool matches(std::string_view path) const;

  private:
    enum class Kind : std::uint8_t { text, one, any };
    struct Segment {
        Kind kind = Kind::text;
        std::string text;
    };
    std::vector<Segment> segments_;
};

}  // namespace ursula::stream
