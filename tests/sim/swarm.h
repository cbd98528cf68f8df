// Swarm: all that a seed decides about one simulated life before it begins - the cluster's size,
// its limits, its load, which classes of faults there are and how often. A value that is drawn from
// the seed, and may be changed by hand or by the shrinker: as text it is the line that replays the
// life.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ursula::sim {

// Classes of faults, each on or off in a life.
enum class Fault : std::uint8_t {
    loss,          // frames are lost
    doubles,       // and doubled
    delays,        // and take far longer than others
    cuts,          // links fail, one way or both
    clogs,         // a link holds frames back for a while, then delivers all
    resets,        // connections begin anew
    kills,         // processes end
    power,         // machines lose power: what was not synced is lost, kept or torn
    failed_disks,  // a write or sync fails
    slow_disks,
    rot,      // a bit of a node that is down flips
    pauses,   // processes stand still (SIGSTOP)
    wipes,    // a directory is gone for good; of a minority
    skew,     // nodes' clocks differ
    drift,    // and run at different rates
    jumps,    // wall clocks jump
    members,  // operators add, remove and replace nodes
    last,
};
const char* name_of(Fault fault);

// Frames per thousand.
struct NetFaults {
    std::uint64_t loss_permille = 0;
    std::uint64_t double_permille = 0;
    std::uint64_t delay_permille = 0;
    std::uint64_t latency_us_max = 200;  // of the others
};

struct Swarm {
    std::uint64_t seed = 1;
    std::vector<std::uint32_t> shards;  // by node
    std::uint32_t spares = 0;           // so many of them, the last, are no members at first
    std::uint32_t operators = 1;        // who change the members, each another one at a time
    std::uint32_t groups = 1;           // at least as many as any node's shards
    std::uint32_t streams = 1;
    std::uint32_t clients = 2;
    std::uint32_t reads_of_ten = 2;  // calls
    std::int64_t life_ms = 2000;     // until the faults end
    bool tiny = false;               // limits of the log are as small as they can be
    bool buckets = false;            // some clients make and remove buckets
    bool expiring = false;           // some have streams with a ttl
    bool json = false;               // every other stream is of JSON
    bool forks = false;              // some fork streams
    bool snapshots = false;          // logs are short: snapshots are taken and followers need them
    std::uint32_t faults = 0;        // bit per Fault
    NetFaults net;
    std::int64_t fault_gap_ms_max = 1200;
    // Only the faults with these numbers happen, from 0: [first, end).
    std::uint64_t first_fault = 0;
    std::uint64_t end_fault = UINT64_MAX;

    bool has(Fault fault) const { return (faults >> static_cast<unsigned>(fault) & 1) != 0; }
    void drop(Fault fault) { faults &= ~(1u << static_cast<unsigned>(fault)); }
    bool operator==(const Swarm& other) const;
};

Swarm draw_swarm(std::uint64_t seed);
// Words KEY=VALUE: the seed and what differs from draw_swarm(seed).
std::string to_text(const Swarm& swarm);
// False: not such a text.
bool parse_swarm(std::string_view text, Swarm& swarm);

// Two numbers become one that looks like neither: seeds of independent streams of draws.
constexpr std::uint64_t mixed(std::uint64_t seed, std::uint64_t what) {
    return seed * 0x9e37'79b9'7f4a'7c15u + what * 0xd6e8'feb8'6659'fd93u;
}

}  // namespace ursula::sim
