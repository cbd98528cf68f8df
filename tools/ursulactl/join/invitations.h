// The one-time tokens of one `cluster invite`, as digests in its memory: with the command they are
// gone, so nothing that was stolen from a disk, or from a terminal's history, opens a cluster
// later. Time is handed in.
#pragma once

#include <chrono>
#include <cstdint>
#include <vector>

#include "tools/ursulactl/join/secrets.h"

namespace ursula::ctl {

class Invitations {
  public:
    using Instant = std::chrono::steady_clock::time_point;
    enum class Verdict { good, unknown, used, expired };
    struct Found {
        Verdict verdict = Verdict::unknown;
        std::uint32_t node = 0;  // whose token it is; 0: nobody's
    };

    // Whoever offers tokens that are nobody's is guessing; 144 bits need no bound, but a person
    // wants to know.
    static constexpr std::uint32_t unknown_max = 20;

    explicit Invitations(Instant until) : until_(until) {}

    // The token is the caller's alone: it is not kept.
    Token invite(std::uint32_t node);
    // Every digest is compared, whatever the first ones say. An unknown one is counted.
    Found look(base::Bytes token, Instant now);
    // Before what it buys goes out.
    void burn(std::uint32_t node);

    Instant until() const { return until_; }
    bool guessed() const { return unknown_ >= unknown_max; }
    // Nodes whose token was not used.
    std::vector<std::uint32_t> open() const;

  private:
    struct One {
        std::uint32_t node;
        Digest digest;
        bool used;
    };
    const Instant until_;
    std::vector<One> all_;
    std::uint32_t unknown_ = 0;
};

}  // namespace ursula::ctl
