// The life's history as tools/check judges it: exactly linearizable or not (reliability-anchors
// 4.9), with the instants at which clients asked and were answered. history.h judges the same life
// by simpler rules; this one also sees reads that go back, and orders that contradict time.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "api/reply.h"
#include "base/time.h"
#include "tools/check/history.h"

namespace ursula::sim {

class Exact {
  public:
    // All streams and clients there will be, by their places in these numbers.
    Exact(const std::vector<std::string>& streams, std::size_t clients, std::size_t nodes);

    // A client asks; each has one call under way.
    void asks_create(std::size_t client, std::size_t stream, base::Instant now);
    // `append` numbers the body (History::begin); a producer's is client's own, number `seq`.
    void asks_append(std::size_t client, std::size_t stream, std::uint64_t append,
                     base::Instant now);
    void asks_produce(std::size_t client, std::size_t stream, std::uint64_t append,
                      std::uint64_t seq, base::Instant now);
    void asks_read(std::size_t client, std::size_t stream, base::Instant now);
    void answered(std::size_t client, const api::Answer& answer, base::Instant now);
    // It waits no longer; the call may still have an effect.
    void unanswered(std::size_t client);

    // A stream as a node has it at the end.
    void final_content(std::size_t stream, std::size_t node, std::string_view content);
    // What contradicts, as text; empty: linearizable.
    std::string verdict();

    // The numbers of the appends in it, oldest first, and where each ends. False: it is not made of
    // whole appends.
    static bool split(std::string_view content, std::vector<std::uint64_t>& appends,
                      std::vector<std::uint64_t>& ends);

  private:
    enum class Kind : std::uint8_t { none, create, append, read };
    struct Call {
        Kind kind = Kind::none;
        std::size_t stream = 0;
        base::Instant start;
        std::uint64_t append = 0;
        std::uint64_t seq = 0;
        bool producer = false;
    };
    void answered_append(std::size_t client, const Call& call, const api::Answer& answer,
                         base::Instant now);
    void answered_read(const Call& call, const api::ReadReply& reply, base::Instant now);
    check::Append append_of(std::size_t client, const Call& call) const;

    check::History history_;
    std::vector<Call> calls_;  // by client
    std::vector<std::uint64_t> numbers_;
    std::vector<std::uint64_t> ends_;
    bool torn_ = false;  // a read showed what is not made of whole appends
};

}  // namespace ursula::sim
