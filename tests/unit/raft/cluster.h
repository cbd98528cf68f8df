// Several Groups with disks and a network that do what a test says: staged writes become durable
// when told, a crash loses the others, messages wait until they are delivered, doubled or dropped.
// Every step is checked against raft/invariants.h and against what no single replica can see:
//
//   election safety       one leader per term (3.2)
//   log matching          same index and term, same entries before (3.5)
//   leader completeness   a new leader has everything that was committed (3.6.3)
//   state machine safety  one entry per committed index, everywhere
//   durability            committed entries are on the disks of a majority; what a message
//                         acknowledges is on the sender's disk
//   linearizable reads    a read's index is not below what was committed when it was asked
//
// The first violation is kept as a sentence; a test looks at failure().
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "raft/group.h"

namespace ursula::raft::test {

struct TestEntry {
    EntryId id;
    EntryKind kind = EntryKind::noop;
    std::uint64_t value = 0;  // no two entries ever written have the same
    Membership membership;
    bool operator==(const TestEntry&) const = default;
};

// A log as a disk or a memory holds it.
struct TestLog {
    EntryId snapshot;
    MembershipAt snapshot_membership;
    std::vector<TestEntry> entries;  // after the snapshot

    EntryId last() const { return entries.empty() ? snapshot : entries.back().id; }
    const TestEntry* at(LogIndex index) const;
    void cut(LogIndex from);
    void cover(EntryId last);
};

// One write: what a WAL record is.
struct TestRecord {
    enum class Kind : std::uint8_t { hard_state, cut, entry };
    Kind kind = Kind::entry;
    HardState hard_state;
    TestEntry entry;
    EntryId id;  // cut: its index
};

struct TestFrame {
    std::uint64_t number = 0;  // in the order of sending
    Message message;
    std::vector<TestEntry> entries;  // the payload of a Replicate
};

class Cluster {
  public:
    // Nodes 1..nodes exist; the first `voters` of them are the group's first members. Those after
    // them start without a membership.
    Cluster(std::size_t nodes, std::size_t voters, std::uint64_t seed);

    // --- what can happen ---
    void start(std::size_t node);
    void crash(std::size_t node);
    // Disk and all: starts as a node that was never there (R11).
    void wipe(std::size_t node);
    const Effects& step(std::size_t node, const Input& input);
    const Effects& end_turn(std::size_t node);
    // The first `count` staged records are durable; a Persisted follows.
    const Effects& persist(std::size_t node, std::size_t count = SIZE_MAX);
    const Effects& submit(std::size_t node, std::uint64_t bytes);
    const Effects& read(std::size_t node);
    void apply(std::size_t node);
    // A snapshot up to what is applied, durable at once.
    void snapshot(std::size_t node);
    // Time goes to the node's deadline, which is told.
    const Effects& expire(std::size_t node);
    const Effects& deliver(std::size_t at);
    void drop(std::size_t at);
    void duplicate(std::size_t at) { network.push_back(network[at]); }
    // The snapshot asked for by fetch_snapshot arrives, or its source is gone.
    const Effects& finish_fetch(std::size_t node);

    // Deliveries, writes and turn ends until nothing is left to do. Time stands still.
    void settle();
    // Elects `node`, in a healthy cluster that has no leader, and settles.
    void elect(std::size_t node);

    // --- what is ---
    bool is_up(std::size_t node) const { return nodes_[node].group.has_value(); }
    const Group& group(std::size_t node) const { return *nodes_[node].group; }
    const TestLog& memory(std::size_t node) const { return nodes_[node].memory; }
    const TestLog& disk(std::size_t node) const { return nodes_[node].disk; }
    HardState disk_hard_state(std::size_t node) const { return nodes_[node].disk_hard_state; }
    std::size_t staged(std::size_t node) const { return nodes_[node].staged.size(); }
    bool fetches(std::size_t node) const { return nodes_[node].fetch.has_value(); }
    LogIndex committed() const { return LogIndex(committed_.size()); }
    std::size_t node_count() const { return nodes_.size() - 1; }
    // The leader of the newest term, 0 when there is none.
    std::size_t leader() const;
    // The newest message of that kind and way that waits, or npos.
    template <class Body>
    std::size_t find(std::size_t from, std::size_t to) const {
        for (std::size_t i = network.size(); i > 0; --i) {
            const Message& message = network[i - 1].message;
            if (std::holds_alternative<Body>(message.body) && message.from.value == from &&
                message.to.value == to) {
                return i - 1;
            }
        }
        return npos;
    }
    const std::string& failure() const { return failure_; }
    // The whole of two logs, slowly.
    void check_log_matching();

    static constexpr std::size_t npos = SIZE_MAX;

    std::vector<TestFrame> network;  // oldest first
    Now now{.mono = {1'000'000'000}, .wall = {0}};
    std::uint64_t reads_answered = 0;
    std::uint64_t elections = 0;
    std::uint64_t installs = 0;

  private:
    struct Node {
        std::optional<Group> group;
        Status status;
        Effects effects;
        std::uint64_t life = 0;
        HardState disk_hard_state;
        TestLog disk;
        TestLog memory;
        std::uint64_t disk_cuts = 0;
        std::vector<TestRecord> staged;
        std::optional<FetchSnapshot> fetch;
        ReadContext context;
        std::map<std::uint64_t, LogIndex> reads;  // context -> committed when asked
    };
    struct Committed {
        Term term;
        std::uint64_t value = 0;
    };

    void fail(std::size_t node, const std::string& what);
    void carry_out(std::size_t at, const TestFrame* frame, std::uint64_t value);
    void stage(Node& node, const TestRecord& record);
    void check_message(std::size_t at, const Message& message);
    void note_commit(std::size_t at, const Status& before);
    bool on_disks(const Membership& membership, EntryId id) const;

    std::vector<Node> nodes_;  // 0 unused
    std::vector<MembershipAt> first_membership_;
    std::vector<Committed> committed_;         // index 1 first
    std::map<std::uint64_t, NodeId> leaders_;  // by term
    std::uint64_t next_value_ = 1;
    std::uint64_t next_frame_ = 1;
    std::uint64_t lives_ = 0;
    std::uint64_t seed_;
    std::string failure_;
};

}  // namespace ursula::raft::test
