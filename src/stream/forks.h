// What the machines of two groups keep about forks (DESIGN "Calls between groups"). In the fork's
// group an intent comes first - a link, by where its begin_fork lies in the log - and in the
// source's group a hold of that name. The fork takes its link over when it is created. While a link
// or a fork of it is there, so may the hold be; and whenever a link loses its fork, or never gets
// one, it stays `releasing` until the hold is known to be gone. So neither group ever counts on
// what the other has not committed.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "api/call.h"
#include "base/ids.h"

namespace ursula::stream {

// Of a fork: where the bytes before its own are.
struct ForkOrigin {
    base::Incarnation link;
    base::Incarnation source;
    std::uint64_t point = 0;  // its own bytes begin here; the source has those before
    std::uint32_t depth = 1;  // 1: the source is no fork
    api::ForkAsk asked;
    std::string source_name;
};

// Of a source: the forks that read what is before their points.
using Holds = std::set<base::Incarnation>;

// An intent that no stream has taken over, or whose stream is gone.
struct ForkLink {
    bool releasing = false;
    base::GroupId source_group;
    std::string source;
};
using ForkLinks = std::map<base::Incarnation, ForkLink>;

// Holds that were released before they came, by group time: they are refused when they do. Kept
// for longer than any call is on its way.
class LateHolds {
  public:
    bool has(const base::Incarnation& id) const { return times_.count(id) != 0; }
    void add(const base::Incarnation& id, std::int64_t time_ms);
    // Drops what is older than limits::late_holds_kept_ms, and the oldest beyond
    // limits::late_holds_max.
    void forget(std::int64_t time_ms);
    const std::set<std::pair<std::int64_t, base::Incarnation>>& by_time() const { return by_time_; }
    void swap(LateHolds& other) {
        times_.swap(other.times_);
        by_time_.swap(other.by_time_);
    }

  private:
    std::map<base::Incarnation, std::int64_t> times_;
    std::set<std::pair<std::int64_t, base::Incarnation>> by_time_;
};

}  // namespace ursula::stream
