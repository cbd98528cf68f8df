// Random lives of a cluster: messages lost, doubled, delayed and overtaken, nodes crashing with
// what was not durable, slow disks, one-way cuts, snapshots, transfers and changes of the members.
// The oracles of cluster.h look at every step; at the end everything is healed and the cluster must
// agree again.
//
// A failure prints its seed; URSULA_SEED=n runs that one alone, URSULA_SEEDS=n this many.
#include "base/random.h"

#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "raft/bounds.h"
#include "raft/describe.h"
#include "tests/unit/raft/cluster.h"

namespace ursula::raft {
namespace {

using test::Cluster;

// What happened over all seeds: a run that never saw something proves nothing about it.
struct Seen {
    std::uint64_t steps = 0;
    std::uint64_t elections = 0;
    std::uint64_t committed = 0;
    std::uint64_t reads = 0;
    std::uint64_t crashes = 0;
    std::uint64_t installs = 0;
    std::uint64_t changes = 0;
    std::uint64_t transfers = 0;
    std::uint64_t cuts = 0;
};

class Life {
  public:
    Life(std::uint64_t seed, bool print)
        : random_(seed), print_(print), cluster_(nodes_of(seed), voters_of(seed), seed) {
        steps_ = random_.between(100, 700);
        loss_percent_ = random_.chance(1, 2) ? 0 : random_.below(30);
        double_percent_ = random_.chance(1, 2) ? 0 : random_.below(20);
        in_order_ = random_.chance(1, 2);
        crashes_ = random_.chance(2, 3);
        cuts_ = random_.chance(1, 2);
        changes_ = random_.chance(1, 2);
        snapshots_ = random_.chance(1, 2);
        slow_disk_ = random_.chance(1, 3);
        const std::size_t nodes = cluster_.node_count();
        heard_.assign(nodes + 1, std::vector<Instant>(nodes + 1, cluster_.now.mono));
        down_.assign(nodes + 1, std::vector<bool>(nodes + 1, false));
        cut_.assign(nodes + 1, std::vector<bool>(nodes + 1, false));
        restarted_.assign(nodes + 1, std::vector<bool>(nodes + 1, false));
        next_beat_ = cluster_.now.mono;
    }

    std::string run(Seen& seen) {
        for (std::uint64_t i = 0; i < steps_ && cluster_.failure().empty(); ++i) {
            act(seen);
            ++seen.steps;
        }
        if (cluster_.failure().empty()) {
            heal(seen);
        }
        cluster_.check_log_matching();
        seen.elections += cluster_.elections;
        seen.committed += cluster_.committed().value;
        seen.reads += cluster_.reads_answered;
        seen.installs += cluster_.installs;
        return cluster_.failure().empty() ? problem_ : cluster_.failure();
    }

  private:
    static std::size_t nodes_of(std::uint64_t seed) { return seed % 4 == 0 ? 5 : 4; }
    static std::size_t voters_of(std::uint64_t seed) {
        return seed % 8 == 0 ? 5 : seed % 8 == 1 ? 1 : 3;
    }

    std::size_t any_node() { return random_.between(1, cluster_.node_count()); }
    bool up(std::size_t node) const { return cluster_.is_up(node); }
    void say(std::size_t node, const std::string& what) {
        if (print_) {
            std::printf("%8.1f ms n%zu %s\n", static_cast<double>(cluster_.now.mono.ns) / 1e6, node,
                        what.c_str());
        }
    }
    void step(std::size_t node, const Input& input) {
        say(node, describe(input));
        after(node, cluster_.step(node, input));
    }
    void after(std::size_t node, const Effects& effects) {
        if (print_ && !effects.empty()) {
            std::printf("%s", describe(effects).c_str());
        }
        if (up(node) && cluster_.group(node).wants_turn_end() && random_.chance(3, 4)) {
            const Effects& more = cluster_.end_turn(node);
            if (print_ && !more.empty()) {
                std::printf("%s", describe(more).c_str());
            }
        }
    }

    // Beats between nodes: who is there, and whether it leads the group. This is the shard's part
    // (raft/README.md "Silence").
    void beats() {
        const Instant now = cluster_.now.mono;
        const std::size_t nodes = cluster_.node_count();
        const bool due = now >= next_beat_;
        if (due) {
            next_beat_ = now + base::milliseconds(50);
        }
        for (std::size_t to = 1; to <= nodes; ++to) {
            if (!up(to)) {
                continue;
            }
            for (std::size_t from = 1; from <= nodes; ++from) {
                if (from == to) {
                    continue;
                }
                const NodeId id(static_cast<std::uint32_t>(from));
                if (due && up(from) && !cut_[from][to]) {
                    heard_[from][to] = now;
                    if (down_[to][from] || restarted_[to][from]) {
                        down_[to][from] = false;
                        step(to, PeerUp{id});
                    }
                    const bool leads = cluster_.group(from).is_leader() &&
                                       cluster_.group(from).term() == cluster_.group(to).term();
                    if (cluster_.group(to).leader() == id && (!leads || restarted_[to][from])) {
                        step(to, LeaderGone{id, cluster_.group(to).term()});
                    }
                    restarted_[to][from] = false;
                } else if (!down_[to][from] && now - heard_[from][to] >= limits::election_timeout) {
                    down_[to][from] = true;
                    step(to, PeerDown{id});
                }
            }
        }
    }

    void timeouts() {
        for (std::size_t i = 1; i <= cluster_.node_count(); ++i) {
            if (up(i) && cluster_.now.mono >= cluster_.group(i).deadline()) {
                step(i, Timeout{});
            }
        }
    }

    void deliver_one() {
        if (cluster_.network.empty()) {
            return;
        }
        std::size_t at = 0;
        if (!in_order_) {
            at = random_.below(std::min<std::size_t>(cluster_.network.size(), 6));
        }
        const std::size_t from = cluster_.network[at].message.from.value;
        const std::size_t to = cluster_.network[at].message.to.value;
        if (cut_[from][to] || random_.below(100) < loss_percent_) {
            cluster_.drop(at);
            return;
        }
        if (random_.below(100) < double_percent_ && cluster_.network.size() < 200) {
            cluster_.duplicate(at);
        }
        if (print_) {
            say(to, describe(cluster_.network[at].message));
        }
        after(to, cluster_.deliver(at));
    }

    void start(std::size_t node) {
        say(node, "starts");
        cluster_.start(node);
        for (std::size_t other = 1; other <= cluster_.node_count(); ++other) {
            heard_[other][node] = cluster_.now.mono;
            down_[node][other] = false;
            restarted_[other][node] = true;
        }
    }

    void change_members(std::size_t node, Seen& seen) {
        const Group& group = cluster_.group(node);
        if (!group.is_leader()) {
            return;
        }
        Membership target;
        for (std::size_t i = 1; i <= cluster_.node_count(); ++i) {
            const NodeId id(static_cast<std::uint32_t>(i));
            const Member* member = group.membership().membership.find(id);
            const bool known = member != nullptr;
            const std::uint64_t draw = random_.below(6);
            if (!known && draw < 3) {
                target.set({id, false, false, true});
            } else if (known && draw > 0) {
                const bool voter = draw < 5 ? member->voter || draw < 3 : !member->voter;
                target.set({id, voter, false, !voter});
            }
        }
        say(node, "change to " + describe(target));
        const Effects& effects =
            cluster_.step(node, ChangeMembership{SubmitTicket(1'000'000 + seen.steps), target});
        seen.changes += effects.refused_submits.empty() ? 1 : 0;
        after(node, effects);
    }

    void act(Seen& seen) {
        cluster_.now.mono = cluster_.now.mono +
                            base::microseconds(static_cast<std::int64_t>(random_.below(12'000)));
        beats();
        timeouts();
        const std::size_t node = any_node();
        const std::uint64_t what = random_.below(100);
        if (what < 50) {
            const std::uint64_t count = random_.between(1, 4);
            for (std::uint64_t i = 0; i < count; ++i) {
                deliver_one();
            }
        } else if (!up(node)) {
            if (what < 80) {
                start(node);
            }
        } else if (what < 68) {
            if (!slow_disk_ || random_.chance(1, 3)) {
                say(node, "persists");
                after(node, cluster_.persist(
                                node, random_.chance(1, 4) ? random_.between(1, 3) : SIZE_MAX));
            }
        } else if (what < 76) {
            const std::size_t leader = cluster_.leader();
            after(leader != 0 ? leader : node,
                  cluster_.submit(leader != 0 ? leader : node, random_.below(300) * 1000));
        } else if (what < 81) {
            say(node, "reads");
            after(node, cluster_.read(node));
        } else if (what < 86) {
            cluster_.apply(node);
        } else if (what < 90) {
            if (snapshots_) {
                cluster_.snapshot(node);
            }
        } else if (what < 91) {
            if (cluster_.fetches(node)) {
                after(node, cluster_.finish_fetch(node));
            }
        } else if (what < 93) {
            if (crashes_) {
                say(node, "crashes");
                ++seen.crashes;
                cluster_.crash(node);
            }
        } else if (what < 95) {
            if (cuts_) {
                toggle_cuts(seen);
            }
        } else if (what < 97) {
            if (changes_ && cluster_.leader() != 0) {
                change_members(cluster_.leader(), seen);
            }
        } else if (what < 98) {
            seen.transfers += cluster_.group(node).is_leader() ? 1 : 0;
            step(node, Transfer{NodeId(
                           static_cast<std::uint32_t>(random_.below(cluster_.node_count() + 1)))});
        } else {
            step(node, DiskTrouble{random_.chance(1, 3)});
        }
        if (up(node) && cluster_.group(node).wants_turn_end()) {
            cluster_.end_turn(node);
        }
    }

    void toggle_cuts(Seen& seen) {
        ++seen.cuts;
        const std::size_t nodes = cluster_.node_count();
        for (auto& row : cut_) {
            row.assign(nodes + 1, false);
        }
        const std::uint64_t shape = random_.below(4);
        const std::size_t alone = any_node();
        for (std::size_t other = 1; shape != 0 && other <= nodes; ++other) {
            const bool some = shape < 3 || random_.chance(1, 2);
            cut_[alone][other] = some && shape != 2;
            cut_[other][alone] = some && shape != 1;
        }
    }

    // Faults end; within a few simulated seconds there is a leader whose entries all members have.
    void heal(Seen& seen) {
        say(0, "heals");
        loss_percent_ = 0;
        double_percent_ = 0;
        in_order_ = true;
        for (auto& row : cut_) {
            row.assign(row.size(), false);
        }
        for (std::size_t i = 1; i <= cluster_.node_count(); ++i) {
            if (!up(i)) {
                start(i);
            }
            step(i, DiskTrouble{false});
        }
        const Instant until = cluster_.now.mono + base::seconds(15);
        bool submitted = false;
        LogIndex wanted;
        while (cluster_.now.mono < until && cluster_.failure().empty()) {
            cluster_.now.mono = cluster_.now.mono + base::milliseconds(5);
            ++seen.steps;
            beats();
            timeouts();
            cluster_.settle();
            const std::size_t leader = cluster_.leader();
            if (leader == 0) {
                continue;
            }
            if (!submitted) {
                const Effects& effects = cluster_.submit(leader, 10);
                if (!effects.entries_to_write.empty()) {
                    submitted = true;
                    wanted = effects.entries_to_write.front().id.index;
                }
                continue;
            }
            if (converged(leader, wanted)) {
                return;
            }
            submitted = submitted && cluster_.group(leader).log().last() >= wanted;
        }
        if (cluster_.failure().empty()) {
            problem_ = "liveness: no agreement after everything was healed";
            say(0, "wanted " + std::to_string(wanted.value) + (submitted ? " submitted" : "") +
                       ", " + std::to_string(cluster_.network.size()) + " messages");
            for (std::size_t i = 1; print_ && i <= cluster_.node_count(); ++i) {
                std::printf("n%zu %s", i, describe(cluster_.group(i).status()).c_str());
            }
        }
    }
    bool converged(std::size_t leader, LogIndex wanted) {
        const Group& group = cluster_.group(leader);
        if (group.log().committed() < wanted || group.membership().membership.joint()) {
            return false;
        }
        for (const Member& member : group.membership().membership.members()) {
            const Group& other = cluster_.group(member.id.value);
            if (other.log().last_id() != group.log().last_id() ||
                other.log().applied() != group.log().applied() ||
                other.leader() != NodeId(static_cast<std::uint32_t>(leader))) {
                return false;
            }
        }
        // Then it is silent.
        return cluster_.network.empty();
    }

    base::Random random_;
    bool print_;
    std::uint64_t steps_ = 0;
    Cluster cluster_;
    std::uint64_t loss_percent_ = 0;
    std::uint64_t double_percent_ = 0;
    bool in_order_ = true;
    bool crashes_ = false;
    bool cuts_ = false;
    bool changes_ = false;
    bool snapshots_ = false;
    bool slow_disk_ = false;
    Instant next_beat_;
    std::vector<std::vector<Instant>> heard_;   // [from][to]
    std::vector<std::vector<bool>> down_;       // [at][of]
    std::vector<std::vector<bool>> cut_;        // [from][to]
    std::vector<std::vector<bool>> restarted_;  // [at][of]
    std::string problem_;
};

std::uint64_t number_from(const char* name, std::uint64_t otherwise) {
    const char* text = std::getenv(name);
    return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

}  // namespace

TEST_CASE("random lives of a cluster") {
    const std::uint64_t only = number_from("URSULA_SEED", 0);
    const std::uint64_t count = number_from("URSULA_SEEDS", 10'000);
    Seen seen;
    for (std::uint64_t seed = only == 0 ? 1 : only; seed <= (only == 0 ? count : only); ++seed) {
        Life life(seed, only != 0);
        const std::string failure = life.run(seen);
        if (!failure.empty()) {
            FAIL_CHECK("seed " << seed << ": " << failure << " (replay: URSULA_SEED=" << seed
                               << ")");
            return;
        }
    }
    MESSAGE(seen.steps << " steps, " << seen.elections << " elections, " << seen.committed
                       << " committed, " << seen.reads << " reads, " << seen.crashes << " crashes, "
                       << seen.installs << " installs, " << seen.changes << " changes, "
                       << seen.transfers << " transfers, " << seen.cuts << " cuts");
    if (only == 0 && count >= 1000) {
        CHECK(seen.elections > count);
        CHECK(seen.committed > 5 * count);
        CHECK(seen.reads > count);
        CHECK(seen.crashes > count);
        CHECK(seen.installs > count / 50);
        CHECK(seen.changes > count / 20);
        CHECK(seen.transfers > count / 20);
    }
}

}  // namespace ursula::raft
