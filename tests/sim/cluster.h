// A cluster in simulated time: some nodes with some shards each, everything below src/loop.cc as it
// is in the server, on SlowDisks and a SimNet, with clients and faults - all from one seed. The
// same seed gives the same run, event for event.
//
// Oracles after each turn: election safety (3.2), leader completeness (3.6.3), state machine safety
// (one entry per applied index, and one state), log matching (3.5), what a replica knew to be
// durable is there after its restart. At the end, after healing: liveness, convergence, and all of
// history.h.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "base/time.h"
#include "shard/shard.h"
#include "sim/history.h"
#include "sim/sim_disk.h"
#include "sim/sim_net.h"
#include "sim/slow_disk.h"

namespace ursula::sim {

struct ClusterReport {
    std::string failure;  // empty: all was right
    std::uint64_t hash = 0;
    std::uint64_t events = 0;
    std::int64_t simulated_ms = 0;
    std::uint64_t appends = 0;
    std::uint64_t acknowledged = 0;
    std::uint64_t unknown = 0;
    std::uint64_t reads = 0;
    std::uint64_t crashes = 0;
    std::uint64_t elections = 0;
    std::uint64_t fetches = 0;  // entries read back for a follower
    std::uint64_t snapshots = 0;
    std::uint64_t installed = 0;      // snapshots fetched from another node
    std::uint64_t given_up = 0;       // fetches that were
    std::uint64_t fetched_bytes = 0;  // of payload
    std::uint64_t kept_bytes = 0;     // that a fetch found here
    std::uint64_t gone = 0;           // streams that were removed during a fetch
    std::uint64_t frames = 0;
    std::uint64_t frames_lost = 0;
    std::int64_t healed_ms = 0;  // from the end of the faults until all agree
};

class Cluster {
  public:
    // `print`: what happens goes to the standard output.
    Cluster(std::uint64_t seed, bool print);
    ~Cluster();
    ClusterReport run();

  private:
    struct Part {  // one shard of a node
        std::unique_ptr<SimNet::Port> port;
        Image image;  // while the node is down
        std::unique_ptr<SimDisk> sim;
        std::unique_ptr<SlowDisk> disk;
        std::unique_ptr<shard::Shard> shard;
        std::vector<api::Call> calls;
        std::deque<std::string> kept;
        base::Instant turned;  // its newest turn
    };
    struct Node {
        std::size_t number = 0;
        bool up = false;
        base::Duration skew;  // of its clock
        base::Instant paused_until{};
        base::Instant back_at = base::Instant::never();  // down: when it starts again
        std::vector<Part> parts;
        // By group: what it knew to be durable when it went down.
        std::vector<raft::EntryId> durable;
        std::vector<raft::HardState> promised;
        std::vector<base::LogIndex> checked;  // applied entries that were looked at
    };
    // fleeting: anything done to a stream that also gets removed.
    enum class Verb : std::uint8_t { none, create, append, produce, read, fleeting };
    struct Client {
        base::Instant at;  // when it asks next, or gives up
        Verb verb = Verb::none;
        api::CallId call;
        std::size_t node = 0;              // asked
        std::vector<std::size_t> leaders;  // by group, as it was told last; 0 none
        std::string stream;
        std::uint64_t append = 0;
        std::uint64_t floor = 0;
        bool existed = false;  // the stream, when it asked
        // Of its appends with a producer: sent until acknowledged.
        bool producing = false;
        std::string produced_stream;
        std::string produced_body;
        std::uint64_t produced = 0;
        std::map<std::string, std::uint64_t> next_seq;
    };

    bool failed() const { return !history_.failure().empty(); }
    void fail(const std::string& what);
    void say(const std::string& what) const;
    base::Now now_of(const Node& node) const;
    std::uint32_t group_of(const std::string& stream) const;

    // Life of nodes.
    void start(Node& node);
    void crash(Node& node, bool power);
    shard::ShardOptions options_of(const Node& node, std::size_t part) const;

    // Time.
    base::Instant wake_of(const Node& node, const Part& part) const;
    bool step(base::Instant until);
    void run_until(base::Instant until);
    void turn(Node& node, std::size_t part);
    void fault();
    void heal();
    void count(const shard::Shard& shard);

    // Clients.
    void ask(Client& client);
    void ask_about(Client& client, const std::string& stream);
    void ask_to_produce(Client& client);
    void ask_about_fleeting(Client& client);
    void ask_to_read_fleeting(Client& client, Node& node, const std::string& stream);
    void answer_fleeting(const Client& client, const api::Answer& answer);
    bool fetching() const;
    void maybe_crash_fetching(Node& node, const Part& part);
    void send(Client& client, Node& node, const api::Verb& verb);
    Node* choose_node(const Client& client, std::uint32_t group, bool any);
    api::StreamKey key(const std::string& stream) const;
    std::string_view keep(Node& node, const std::string& stream, const std::string& text);
    Part& part_of(Node& node, const std::string& stream);
    void answer(Client& client, const api::Answer& answer);
    void answer_read(const Client& client, const api::Answer& answer);
    void answer_append(Client& client, const api::Answer& answer);
    void done(Client& client);

    // Oracles.
    void check(Node& node, Part& part);
    void check_group(Node& node, const shard::Shard& shard, std::uint32_t group);
    void check_matching(std::uint32_t group);
    bool agreed() const;
    void read_all();
    void idle();
    void converge();

    base::Random random_;
    base::Random fault_random_;
    base::Random disk_random_;
    base::Random net_random_;
    const bool print_;
    base::Instant now_{};
    std::uint32_t groups_ = 1;
    std::uint32_t shards_ = 1;
    std::vector<Node> nodes_;  // number - 1
    std::unique_ptr<SimNet> net_;
    std::vector<Client> clients_;
    std::vector<std::string> streams_;
    std::vector<bool> created_;  // by stream: acknowledged
    // Bytes of streams that come and go, by incarnation: the same on every node.
    std::map<std::pair<std::string, base::Incarnation>, std::string> fleeting_;
    std::vector<bool> unproven_;  // by stream: after healing it took no append yet
    std::string read_content_;    // of the last read, for read_all
    std::uint64_t read_next_ = 0;
    bool read_up_to_date_ = false;
    History history_;
    std::uint64_t next_call_ = 1;
    std::uint64_t next_boot_ = 1;
    bool load_ = true;    // clients begin new calls
    bool proof_ = false;  // they only finish, and prove each stream alive
    bool faulty_ = true;
    bool crashes_ = false;
    bool cuts_ = false;
    bool pauses_ = false;
    bool slow_disks_ = false;
    bool small_log_ = false;
    bool snapshots_ = false;  // logs are short, so they are taken and followers need them
    base::Instant next_fault_{};
    base::Instant uncut_at_ = base::Instant::never();
    base::Instant unslow_at_ = base::Instant::never();

    std::vector<std::map<std::uint64_t, std::size_t>> leaders_;         // by group: term -> node
    std::vector<std::vector<std::uint64_t>> applied_terms_;             // by group, by index - 1
    std::vector<std::map<std::uint64_t, std::uint64_t>> state_hashes_;  // by group: index -> hash
    ClusterReport report_;
    std::vector<api::Reply> replies_;
    std::vector<api::Call> internal_;
};

}  // namespace ursula::sim
