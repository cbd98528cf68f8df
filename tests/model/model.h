// Breadth-first exploration of three real Groups: every order of deliveries, disk writes, timeouts
// and crashes from a start state, up to a bound on terms and entries. A message is delivered at
// most once and at any time or never, so loss and reordering are in; what is never delivered is
// lost.
//
// A node (its Group, its disk, what it has staged) is kept once and named by a number, and what an
// input does to it is computed once. A state of the cluster is then a handful of numbers, and a
// step between two states a lookup. States are told apart by a 64-bit hash of them.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

#include "raft/group.h"

namespace ursula::raft::model {

constexpr std::size_t node_count = 3;

struct DiskEntry {
    Term term;
    bool sets_membership = false;
    Membership membership;
    bool operator==(const DiskEntry&) const = default;
};

struct Record {
    enum class Kind : std::uint8_t { hard_state, cut, entry };
    Kind kind = Kind::entry;
    HardState hard_state;
    LogIndex cut;
    DiskEntry entry;
    bool operator==(const Record&) const = default;
};

struct Disk {
    HardState hard_state;
    std::vector<DiskEntry> entries;  // index 1 first
    std::uint64_t cuts = 0;          // since the node's start
    bool operator==(const Disk&) const = default;
};

struct Node {
    Group group;
    Disk disk;
    std::vector<Record> staged;
    std::vector<DiskEntry> memory;  // the log with what is staged
    bool operator==(const Node&) const = default;
};

// What the checks over several nodes need, packed: four bits of term per index.
struct Summary {
    std::uint64_t log = 0;
    std::uint64_t disk = 0;
    std::uint8_t last = 0;
    std::uint8_t disk_last = 0;
    std::uint8_t committed = 0;
    std::uint8_t term = 0;
    bool leads = false;
    // Bit i: node i + 1.
    std::uint8_t voters = 0;
    std::uint8_t outgoing = 0;
};

struct Scenario {
    std::string name;
    Membership first;
    std::uint64_t term_max = 3;
    std::uint64_t last_max = 4;  // no submits from this length of the log on
    bool changes_membership = false;
    Membership target;
    // Campaigns begin with the votes asked for: the question before them (9.6) is answered yes by
    // everybody, which allows more than the question does.
    bool skips_pre_vote = true;
    std::uint64_t crashes_max = 1;
    // The disk says it has what it has not: the exploration must find what comes of it.
    bool disk_lies = false;
};

class Model {
  public:
    explicit Model(const Scenario& scenario);

    // Explores until nothing is left or `states_max` were found. The first violation, or empty.
    std::string explore(std::uint64_t states_max);

    std::uint64_t states() const { return states_; }
    std::uint64_t steps() const { return steps_; }
    std::uint64_t depth() const { return depth_; }
    std::size_t distinct_nodes() const { return nodes_.size(); }
    // How many states had: two leaders of different terms, an entry cut off, a joint membership, a
    // commit in a later term than the first.
    struct Reached {
        std::uint64_t two_leaders = 0;
        std::uint64_t cuts = 0;
        std::uint64_t joint = 0;
        std::uint64_t later_commits = 0;
    };
    const Reached& reached() const { return reached_; }

  private:
    // A state: node_count node ids, committed terms (2 words) and their count, the number of
    // crashes so far, then message ids in rising order.
    static constexpr std::size_t crashes_at = node_count + 3;
    static constexpr std::size_t header_words = node_count + 4;
    using State = std::vector<std::uint32_t>;
    enum class Act : std::uint8_t { campaign, persist, submit, crash, change, deliver, restarted };
    struct Outcome {
        std::uint32_t node = 0;
        bool possible = false;
        std::vector<std::uint32_t> sent;
        std::string broken;
    };

    const Outcome& act(std::uint32_t node, Act what, std::uint32_t argument);
    Outcome compute(std::uint32_t node, Act what, std::uint32_t argument);
    void step(Node& node, const Input& input, Outcome& outcome);
    void start(Node& node, Outcome& outcome);
    std::uint32_t keep(const Node& node);
    std::uint32_t keep(const Message& message);
    bool is_dead(const Message& message, const Summary& receiver) const;
    void successors(const std::uint32_t* state, std::size_t words);
    void crash(const std::uint32_t* state, std::size_t words, std::size_t at);
    void add(const std::uint32_t* state, std::size_t words, std::size_t at, const Outcome& outcome,
             std::size_t without);
    std::string check(const State& before, const State& after, std::size_t at) const;
    bool visit(const State& state);
    State first_state();
    void say_violation(const std::string& what);

    Scenario scenario_;
    std::vector<Node> nodes_;
    std::vector<Summary> summaries_;
    std::unordered_multimap<std::uint64_t, std::uint32_t> node_ids_;
    std::vector<Message> messages_;
    std::unordered_multimap<std::uint64_t, std::uint32_t> message_ids_;
    std::unordered_map<std::uint64_t, Outcome> outcomes_;
    std::vector<std::uint64_t> visited_;  // open addressing, 0 = empty
    std::vector<std::uint32_t> frontier_;
    std::vector<std::uint32_t> next_;
    State built_;
    State crashed_;
    std::string violation_;
    std::uint64_t states_ = 0;
    std::uint64_t steps_ = 0;
    std::uint64_t depth_ = 0;
    Reached reached_;
};

}  // namespace ursula::raft::model
