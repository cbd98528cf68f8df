// A cluster in simulated time: some nodes with some shards each, everything below src/loop.cc as it
// is in the server, on SlowDisks and a SimNet, with clients and faults - all from one seed. The
// same seed gives the same run, event for event.
//
// Oracles after each turn: election safety (3.2), leader completeness (3.6.3), state machine safety
// (one entry per applied index, and one state), log matching (3.5), committed entries are durable
// on a majority, marks move forward only, what a frame promises is durable, what a replica knew to
// be durable is on its disk and there after its restart. At the end, after healing: liveness,
// convergence, and all of history.h.
//
// Files: cluster.cc time · life.cc starts and ends of nodes · clients.cc · faults.cc · healing.cc
// the end of a life · operator.cc changes of the members · buckets.cc · oracles.cc; swarm.h what a
// seed decides.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/random.h"
#include "base/time.h"
#include "shard/frame.h"
#include "shard/shard.h"
#include "sim/exact.h"
#include "sim/history.h"
#include "sim/sim_disk.h"
#include "sim/sim_net.h"
#include "sim/slow_disk.h"
#include "sim/swarm.h"

namespace ursula::sim {

inline constexpr base::HashKey table_key{0x1234, 0x5678};
inline constexpr base::Duration healing_max = base::seconds(30);

struct ClusterFigures {
    std::uint64_t hash = 0;
    std::uint64_t events = 0;
    std::int64_t simulated_ms = 0;
    std::uint64_t appends = 0;
    std::uint64_t acknowledged = 0;
    std::uint64_t unknown = 0;
    std::uint64_t reads = 0;
    std::uint64_t crashes = 0;
    std::uint64_t lost_nodes = 0;  // wiped, or refused for damage
    std::uint64_t elections = 0;
    std::uint64_t changes = 0;         // steps of changes of the members
    std::uint64_t fetches = 0;         // entries read back for a follower
    std::uint64_t forwards = 0;        // writes taken over from other nodes
    std::uint64_t forwards_again = 0;  // refused by who did not lead, and sent again
    std::uint64_t snapshots = 0;
    std::uint64_t installed = 0;      // snapshots fetched from another node
    std::uint64_t given_up = 0;       // fetches that were
    std::uint64_t fetched_bytes = 0;  // of payload
    std::uint64_t kept_bytes = 0;     // that a fetch found here
    std::uint64_t gone = 0;           // streams that were removed during a fetch
    std::uint64_t sources = 0;        // other nodes that were asked for bytes in their place
    std::uint64_t entries_lost = 0;   // times that a leader could not read what a follower lacked
    std::uint64_t frames = 0;
    std::uint64_t frames_lost = 0;
    std::uint64_t forks = 0;     // acknowledged
    std::uint64_t expired = 0;   // clients were told that a stream with a ttl is not there
    std::int64_t healed_ms = 0;  // from the end of the faults until all agree
};
struct ClusterReport : ClusterFigures {
    std::string failure;  // empty: all was right
};

// The bytes of a read, in one piece.
std::string text_of(const std::vector<base::Slice>& pieces);

class Cluster final : public FrameWitness {
  public:
    // `print`: what happens goes to the standard output.
    Cluster(const Swarm& swarm, bool print);
    ~Cluster() override;
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
        base::Instant wake;    // when it wants the next one, whatever comes
    };
    // What the oracles know of one replica.
    struct Seen {
        // When it went down: what it knew to be durable.
        raft::IdLog log;
        raft::HardState promised;
        // Of this life.
        base::LogIndex checked;  // applied entries that were looked at
        base::LogIndex committed;
        base::Term term;
        base::Term led;  // the newest term it was seen to lead
    };
    struct Node {
        std::size_t number = 0;
        bool up = false;
        bool lost = false;      // for good: its directory is gone, or it refused it
        bool rotten = false;    // a bit of its directory has flipped
        bool worn_out = false;  // and a read has found it
        bool member = true;     // of every group, or on its way to be
        bool founder = true;
        bool replacing = false;        // new storage that is not a member of every group yet
        std::uint64_t generation = 0;  // of its storage
        std::vector<std::vector<Seen>> former;  // by generation
        base::Duration skew;                    // of its clock
        std::int64_t ppm = 0;                   // by how much its clock is fast
        base::Duration wall;                    // of its wall clock
        base::Instant paused_until{};
        base::Instant back_at = base::Instant::never();  // down: when it starts again
        std::vector<Part> parts;
        std::vector<Seen> seen;  // by group
    };
    // fleeting: anything done to a stream that also gets removed.
    // bucket: of buckets and the streams in them. expiring: of streams with a ttl. forking: of
    // streams with forks, and of these.
    enum class Verb : std::uint8_t {
        none,
        create,
        append,
        produce,
        read,
        list,
        fleeting,
        bucket,
        expiring,
        forking
    };
    struct Client {
        base::Instant at;  // when it asks next, or gives up
        Verb verb = Verb::none;
        api::CallId call;
        std::size_t node = 0;              // asked
        std::vector<std::size_t> leaders;  // by group, as it was told last; 0 none
        std::string stream;
        std::uint64_t append = 0;
        bool spoilt = false;  // its body is no JSON
        std::uint64_t floor = 0;
        bool existed = false;  // the stream, when it asked
        // Of its appends with a producer: sent until acknowledged.
        bool producing = false;
        std::string produced_stream;
        std::string produced_body;
        std::uint64_t produced = 0;
        std::map<std::string, std::uint64_t> next_seq;
        std::string bucket;
        std::size_t bucket_stream = SIZE_MAX;  // in bucket_streams_
        std::size_t expiring = 0;              // in expiring_
        std::size_t fork_stream = 0;           // in fork_streams_
        std::size_t fork_source = SIZE_MAX;    // of a fork that is asked for
        base::Instant kept_since{};            // as it was when it asked
        base::Instant asked_at{};
    };
    // A stream with a ttl, by what clients were told.
    struct Expiring {
        base::Instant kept_since{};  // its window began then or later
        base::Incarnation newest;
        base::Instant newest_seen{};
        base::Incarnation gone;  // all up to this one, known since
        base::Instant gone_since{};
    };
    // Each name is created once.
    struct ForkStream {
        std::string name;
        bool acknowledged = false;
        bool removing = false;  // somebody asked for that
    };
    struct BucketStream {
        std::string name;
        bool acknowledged = false;
        bool removing = false;  // somebody asked for that
    };

    struct Operator {
        base::Random random{0};
        base::Instant at = base::Instant::never();  // when it asks next, or gives up waiting
        Node* node = nullptr;                       // whom its plan is about; null: it has none
        Node* before = nullptr;                     // and that of the last one
        std::vector<api::ChangeMemberCall::Step> steps;
        std::size_t step = 0;
        std::uint32_t group = 0;
        bool by_group = false;  // all steps of a group, then the next one
        std::uint64_t tries = 0;
        std::uint64_t old_incarnation = 0;  // what is removed
        shard::MemberInfo info;             // the open call looks at it
        api::CallId call;                   // 0: none is open
        std::size_t hint = 0;               // whom to ask; 0: anybody
        base::Instant begins{};             // when it comes to carry out the plan
    };

    // What happens next.
    enum class What : std::uint8_t { net, turn, client, start, fault, uncut, unslow, operate, rot };

    bool failed() const { return !history_.failure().empty(); }
    void fail(const std::string& what);
    void say(const std::string& what) const;
    base::Now now_of(const Node& node) const;
    std::uint32_t group_of(const std::string& stream) const;
    std::size_t stream_at(const std::string& stream) const;
    bool is_json(const std::string& stream) const;
    std::string_view type_of(const std::string& stream) const {
        return is_json(stream) ? "application/json" : "text/plain";
    }
    History::Form form_of(const std::string& stream) const {
        return is_json(stream) ? History::Form::json : History::Form::text;
    }

    const Part& part_of(const Node& node, std::uint32_t group) const {
        return node.parts[group % node.parts.size()];
    }
    Part& part_of(Node& node, std::uint32_t group) { return node.parts[group % node.parts.size()]; }
    const raft::Group& replica_of(const Node& node, std::uint32_t group) const {
        return part_of(node, group).shard->group(base::GroupId(group));
    }

    // life.cc
    void start(Node& node);
    void check_start(Node& node, std::size_t part);
    void count(const shard::Shard& shard);
    void crash(Node& node, bool power);
    void remember(Node& node);
    void lose(Node& node);
    shard::ShardOptions options_of(const Node& node, std::size_t part) const;

    // Time.
    base::Instant simulated(const Node& node, base::Instant mono) const;
    base::Instant wake_of(const Node& node, const Part& part) const;
    void plan(const Node& node, Part& part) const;
    bool step(base::Instant until);
    void happen(What what, std::size_t which, std::size_t part);
    void run_until(base::Instant until);
    void turn(Node& node, std::size_t part);

    // faults.cc
    void fault();
    void cut_links(std::uint64_t kind, std::size_t node, std::size_t other, base::Random& random);
    void end_cuts();
    void set_disks(Node& node, base::Duration low, base::Duration high);
    bool may_lose(const Node& node) const;
    bool survives(const shard::MemberTable& table, const Node& without) const;
    void stand_still(Node& node, base::Random& random);
    void rot(Node& node, base::Random& random);
    void plan_rot(Node& node, Node& away, base::Duration outage, base::Random& random);
    void rot_under_way();
    template <class Flip>
    void rot_at(Node& node, const std::string& name, std::size_t position, base::Random& random,
                const Flip& flip);

    // healing.cc
    void heal();
    void converge();
    std::string why_not_healed() const;
    bool agreed() const;
    void read_all();
    void idle();

    // operator.cc
    std::uint64_t incarnation_of(const Node& node) const;
    shard::MemberInfo info_of(const Node& node) const;
    void renew(Node& node);
    void plan_change(Operator& op);
    bool is_aimed_at(const Node& node) const;
    bool is_as_wanted(const Node& node) const;
    // A member of any group.
    bool is_needed(const Node& node) const { return node.member || is_aimed_at(node); }
    void aim(Operator& op, Node& node);
    void operate(Operator& op);
    void operator_hears(Operator& op, const api::Answer& answer, std::size_t from);
    void retire(Operator& op, Node& node);
    bool has_members(const Node& node, std::uint32_t group) const;
    std::span<const shard::MemberTable> tables_of(const Node& node, std::uint32_t group) const {
        return part_of(node, group).shard->tables(base::GroupId(group));
    }
    const Seen* seen_of(const Node& node, std::uint64_t generation, std::uint32_t group) const;
    bool by_majority(const shard::MemberTable& table,
                     const std::function<bool(const Node&, std::uint64_t generation)>& has) const;
    std::vector<shard::MemberTable> tables_from(std::uint32_t group, base::EntryId entry) const;
    static bool holds(const raft::IdLog& log, base::EntryId entry);

    // clients.cc
    void ask(Client& client);
    void ask_about(Client& client, const std::string& stream);
    void ask_to_produce(Client& client);
    void send(Client& client, Node& node, const api::Verb& verb);
    void send(Client& client, Node& node, std::uint32_t group, const api::Verb& verb);
    Node* choose_node(const Client& client, std::uint32_t group, bool any);
    api::StreamKey key(const std::string& stream) const;
    std::string_view keep(Node& node, const std::string& stream, const std::string& text);
    void answer(Client& client, const api::Answer& answer);
    void answer_read(const Client& client, const api::Answer& answer);
    void answer_append(Client& client, const api::Answer& answer);
    void done(Client& client);
    void give_up(Client& client);  // waiting for an answer

    // buckets.cc
    void ask_about_bucket(Client& client);
    void ask_for_bucket(Client& client, api::Verb verb);
    void answer_about_bucket(const Client& client, const api::Answer& answer);
    void route_internal(Node& node, const api::Call& call);
    bool removes_buckets() const;
    void check_buckets();

    // fleeting.cc
    bool fetching() const;
    void ask_about_fleeting(Client& client);
    void ask_to_read_fleeting(Client& client, Node& node, const std::string& stream);
    void answer_fleeting(const Client& client, const api::Answer& answer);
    void maybe_crash_fetching(Node& node, const Part& part);

    // expiring.cc
    bool has_true_walls() const;
    void ask_about_expiring(Client& client);
    void answer_expiring(const Client& client, const api::Answer& answer);
    void check_expired();

    // forking.cc
    void ask_about_forks(Client& client);
    void ask_to_read_fork(Client& client, Node& node, std::size_t stream);
    void answer_about_fork(const Client& client, const api::Answer& answer);
    void check_fork_read(const Client& client, const api::ReadReply& read);
    bool releases_forks() const;
    void check_forks();

    // oracles.cc
    void check(Node& node, std::size_t part);
    void check_group(Node& node, const shard::Shard& shard, std::uint32_t group);
    void check_votes(const Node& node, const raft::Group& replica, std::uint32_t group);
    void check_leader(Node& node, const raft::Group& replica, std::uint32_t group);
    void check_applied(Node& node, const shard::Shard& shard, std::uint32_t group);
    void check_majority(std::uint32_t group, base::EntryId applied);
    void check_matching(std::uint32_t group);
    void check_disk(const Node& node, std::size_t part);
    void on_frame(std::size_t from, base::Bytes frame) override;
    void check_promise(const Node& node, std::uint32_t group, const raft::Message& message);

    base::Random random_;
    base::Random disk_random_;
    base::Random net_random_;
    const bool print_;
    base::Instant now_{};
    const Swarm swarm_;
    const std::uint32_t groups_;
    std::vector<Node> nodes_;  // number - 1
    std::unique_ptr<SimNet> net_;
    std::vector<Operator> operators_;
    std::vector<Client> clients_;
    std::vector<std::string> streams_;
    std::vector<bool> created_;  // by stream: acknowledged
    // Bytes of streams that come and go, by incarnation: the same on every node.
    std::map<std::pair<std::string, base::Incarnation>, std::string> fleeting_;
    std::map<std::string, std::uint64_t> bucket_ids_;  // as somebody was told last
    std::set<std::uint64_t> known_buckets_;            // all of them
    std::vector<BucketStream> bucket_streams_;
    std::vector<ForkStream> fork_streams_;
    std::map<base::Incarnation, std::string> fork_bytes_;  // the same on every node
    std::vector<Expiring> expiring_ = std::vector<Expiring>(3);
    std::vector<bool> unproven_;  // by stream: after healing it took no append yet
    std::string read_content_;    // of the last read, for read_all
    std::uint64_t read_next_ = 0;
    bool read_up_to_date_ = false;
    History history_;
    std::unique_ptr<Exact> exact_;
    std::uint64_t next_call_ = 1;
    std::uint64_t next_boot_ = 1;
    bool load_ = true;    // clients begin new calls
    bool proof_ = false;  // they only finish, and prove each stream alive
    bool faulty_ = true;
    std::uint64_t faults_ = 0;  // decided so far
    base::Instant next_fault_{};
    base::Instant uncut_at_ = base::Instant::never();
    base::Instant unslow_at_ = base::Instant::never();
    base::Instant rot_at_ = base::Instant::never();
    std::size_t rotting_ = 0;  // then, this node
    base::Random rot_random_{0};

    std::vector<std::map<std::uint64_t, std::size_t>> leaders_;  // by group: term -> node
    std::vector<std::vector<std::uint64_t>> applied_terms_;      // by group, by index - 1
    // By group, by index: 0 where no node was seen.
    std::vector<std::vector<std::uint64_t>> state_hashes_;
    shard::FrameItem item_;  // the one being read
    ClusterReport report_;
    // Of the turn under way; memory is kept.
    std::vector<api::Call> calls_;
    std::deque<std::string> kept_;
    std::vector<api::Reply> replies_;
    std::vector<api::Call> internal_;
};

}  // namespace ursula::sim
