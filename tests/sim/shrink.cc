#include "sim/shrink.h"

#include <algorithm>
#include <chrono>

#include "sim/runner.h"

namespace ursula::sim {

namespace {

// What kind of failure it is: its sentence without numbers, which differ from life to life.
std::string kind_of(const std::string& failure) {
    std::string kind;
    for (const char c : failure) {
        if (c < '0' || c > '9') {
            kind += c;
        }
    }
    return kind.substr(0, 24);
}

class Shrinker {
  public:
    Shrinker(const Swarm& failing, const std::string& failure, base::Duration time)
        : shrunk_{failing, failure, 0},
          kind_(kind_of(failure)),
          end_(std::chrono::steady_clock::now() + std::chrono::nanoseconds(time.ns)) {}

    Shrunk run() {
        for (bool better = true; better && !late();) {
            better = drop_faults();
            better = fewer_nodes() || better;
            better = fewer(&Swarm::groups, most_shards()) || better;
            better = fewer(&Swarm::streams, 1) || better;
            better = fewer(&Swarm::clients, 1) || better;
            better = shorter() || better;
            better = fewer_faults() || better;
        }
        return shrunk_;
    }

  private:
    bool late() const { return std::chrono::steady_clock::now() >= end_; }

    // Takes the smaller life if it fails in the same way.
    bool try_life(const Swarm& smaller) {
        if (late() || smaller == shrunk_.swarm) {
            return false;
        }
        ++shrunk_.attempts;
        const ClusterReport report = run_apart(smaller);
        if (report.failure.empty() || kind_of(report.failure) != kind_) {
            return false;
        }
        shrunk_.swarm = smaller;
        shrunk_.failure = report.failure;
        return true;
    }

    std::uint32_t most_shards() const {
        const std::vector<std::uint32_t>& shards = shrunk_.swarm.shards;
        return *std::max_element(shards.begin(), shards.end());
    }

    bool drop_faults() {
        bool better = false;
        for (std::uint32_t i = 0; i < static_cast<std::uint32_t>(Fault::last); ++i) {
            Swarm smaller = shrunk_.swarm;
            smaller.drop(static_cast<Fault>(i));
            better = (smaller.faults != shrunk_.swarm.faults && try_life(smaller)) || better;
        }
        Swarm smaller = shrunk_.swarm;
        smaller.buckets = false;
        smaller.operators = 1;
        better = try_life(smaller) || better;
        smaller = shrunk_.swarm;
        smaller.expiring = false;
        better = (shrunk_.swarm.expiring && try_life(smaller)) || better;
        smaller = shrunk_.swarm;
        smaller.forks = false;
        return (shrunk_.swarm.forks && try_life(smaller)) || better;
    }

    bool fewer_nodes() {
        bool better = false;
        for (const std::size_t nodes : {1u, 3u}) {
            Swarm smaller = shrunk_.swarm;
            if (smaller.shards.size() > nodes) {
                smaller.shards.resize(nodes);
                smaller.spares = 0;
                better = try_life(smaller) || better;
            }
        }
        Swarm smaller = shrunk_.swarm;
        smaller.shards.assign(smaller.shards.size(), 1);
        return try_life(smaller) || better;
    }

    // The least that still fails, by halves.
    bool fewer(std::uint32_t Swarm::*count, std::uint32_t least) {
        bool better = false;
        for (std::uint32_t low = least; low < shrunk_.swarm.*count && !late();) {
            Swarm smaller = shrunk_.swarm;
            smaller.*count = low + (shrunk_.swarm.*count - low) / 2;
            if (try_life(smaller)) {
                better = true;
            } else {
                low = smaller.*count + 1;
            }
        }
        return better;
    }

    bool shorter() {
        bool better = false;
        for (std::int64_t low = 500; low + 250 < shrunk_.swarm.life_ms && !late();) {
            Swarm smaller = shrunk_.swarm;
            smaller.life_ms = low + (shrunk_.swarm.life_ms - low) / 2;
            if (try_life(smaller)) {
                better = true;
            } else {
                low = smaller.life_ms;
            }
        }
        return better;
    }

    // The faults' numbers: the end as early as it can be, the beginning as late.
    bool fewer_faults() {
        constexpr std::uint64_t most = 512;  // decided in a life
        bool better = false;
        for (std::uint64_t low = shrunk_.swarm.first_fault;
             low < std::min(shrunk_.swarm.end_fault, most) && !late();) {
            Swarm smaller = shrunk_.swarm;
            smaller.end_fault = low + (std::min(smaller.end_fault, most) - low) / 2;
            if (try_life(smaller)) {
                better = true;
            } else {
                low = smaller.end_fault + 1;
            }
        }
        for (std::uint64_t high = std::min(shrunk_.swarm.end_fault, most);
             shrunk_.swarm.first_fault < high && !late();) {
            Swarm smaller = shrunk_.swarm;
            smaller.first_fault += (high - smaller.first_fault + 1) / 2;
            if (try_life(smaller)) {
                better = true;
            } else {
                high = smaller.first_fault - 1;
            }
        }
        return better;
    }

    Shrunk shrunk_;
    const std::string kind_;
    const std::chrono::steady_clock::time_point end_;
};

}  // namespace

Shrunk shrink(const Swarm& failing, const std::string& failure, base::Duration time) {
    return Shrinker(failing, failure, time).run();
}

}  // namespace ursula::sim
