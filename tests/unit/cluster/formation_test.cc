// Formation in worlds of a few nodes: every order of messages, crashes before and after a store,
// and emptied directories, at random and from a seed.
#include "formation.h"

#include <doctest/doctest.h>

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/random.h"

using namespace ursula;
using storage::ClusterRecord;
using storage::ClusterStage;

namespace {

ClusterPlan plan_of(std::uint32_t members, const std::string& name = "t") {
    ClusterPlan plan;
    plan.name = name;
    plan.groups = 8;
    for (std::uint32_t id = 1; id <= members; ++id) {
        plan.members.push_back({base::NodeId(id), "127.0.0.1:" + std::to_string(5000 + id),
                                "http://127.0.0.1:" + std::to_string(6000 + id)});
    }
    return plan;
}

Standing standing_of_one(const ClusterPlan& plan) {
    Standing self;
    self.plan = plan.hash();
    self.node = base::NodeId(1);
    self.incarnation = 1;
    self.shards = 1;
    self.groups = 8;
    return self;
}

class World {
  public:
    explicit World(std::uint32_t members, std::uint64_t seed)
        : plan_(plan_of(members)), random_(seed), nodes_(members) {
        for (std::uint32_t i = 0; i < members; ++i) {
            nodes_[i].disk.incarnation = next_++;
            start(i);
        }
    }

    std::uint32_t size() const { return static_cast<std::uint32_t>(nodes_.size()); }
    const ClusterRecord& disk(std::uint32_t node) const { return nodes_[node].disk.cluster; }
    std::string waits(std::uint32_t node) const { return nodes_[node].process->waits_for(); }
    bool formed(std::uint32_t node) const { return disk(node).stage == ClusterStage::formed; }
    bool all_formed() const {
        for (std::uint32_t i = 0; i < size(); ++i) {
            if (!formed(i)) {
                return false;
            }
        }
        return true;
    }

    // What a node says now, on its way to another one's present life.
    void say(std::uint32_t from, std::uint32_t to) {
        if (nodes_[from].process && nodes_[to].process) {
            mail_.push_back({to, nodes_[to].life, nodes_[from].process->self()});
        }
    }
    // One of the messages under way, any; it may come again.
    void deliver(bool keep, int crash_at_store) {
        if (mail_.empty()) {
            return;
        }
        const std::size_t at = random_.below(mail_.size());
        const Mail mail = mail_[at];
        if (!keep) {
            mail_.erase(mail_.begin() + static_cast<std::ptrdiff_t>(at));
        }
        Node& node = nodes_[mail.to];
        if (!node.process || node.life != mail.life) {
            return;
        }
        const auto record = node.process->hear(mail.standing, next_++);
        if (!record) {
            return;
        }
        check_step(mail.to, *record);
        if (crash_at_store == 1) {
            crash(mail.to);
            return;
        }
        node.disk.cluster = *record;
        if (crash_at_store == 2) {
            crash(mail.to);
        } else {
            node.process->stored(*record);
        }
        check();
    }
    void crash(std::uint32_t node) {
        nodes_[node].process.reset();
        ++nodes_[node].life;
    }
    void start(std::uint32_t at) {
        Node& node = nodes_[at];
        Standing self;
        self.plan = plan_.hash();
        self.incarnation = node.disk.incarnation;
        self.node = plan_.members[at].id;
        self.shards = 1 + at;
        self.groups = plan_.groups;
        self.cluster = node.disk.cluster;
        ++node.life;
        node.process = std::make_unique<Formation>(plan_, self);
        if (const auto record = node.process->begin(next_++)) {
            node.disk.cluster = *record;
            node.process->stored(*record);
        }
    }
    void start_if_down(std::uint32_t node) {
        if (!nodes_[node].process) {
            start(node);
        }
    }
    void wipe(std::uint32_t node) {
        crash(node);
        nodes_[node].disk = {next_++, {}};
    }
    void step(bool wipes) {
        const auto node = static_cast<std::uint32_t>(random_.below(size()));
        const auto other = static_cast<std::uint32_t>(random_.below(size()));
        const std::uint64_t luck = random_.below(100);
        if (luck < 40) {
            if (node != other) {
                say(node, other);
            }
        } else if (luck < 80) {
            const int crash_at = random_.chance(1, 8) ? static_cast<int>(random_.between(1, 2)) : 0;
            deliver(random_.chance(1, 6), crash_at);
        } else if (luck < 87) {
            crash(node);
        } else if (luck < 97 || !wipes) {
            start_if_down(node);
        } else {
            wipe(node);
        }
    }
    // Everybody is up and everything arrives.
    void settle() {
        mail_.clear();
        for (int round = 0; round < 12; ++round) {
            for (std::uint32_t from = 0; from < size(); ++from) {
                start_if_down(from);
                for (std::uint32_t to = 0; to < size(); ++to) {
                    start_if_down(to);
                    if (from != to) {
                        say(from, to);
                        deliver(false, 0);
                    }
                }
            }
        }
    }

  private:
    struct Disk {
        std::uint64_t incarnation = 0;
        ClusterRecord cluster;
    };
    struct Node {
        Disk disk;
        std::unique_ptr<Formation> process;
        std::uint64_t life = 0;
    };
    struct Mail {
        std::uint32_t to = 0;
        std::uint64_t life = 0;
        Standing standing;
    };

    void check_step(std::uint32_t node, const ClusterRecord& next) const {
        const ClusterRecord& now = disk(node);
        CHECK(now.stage != ClusterStage::formed);  // a formed node moves no more
        if (next.stage == ClusterStage::formed) {
            CHECK(now.stage == ClusterStage::forming);
            CHECK(now.id == next.id);
            CHECK(now.members == next.members);
        }
    }

    // Directories that may vote agree on the cluster, and each was counted as what it is.
    void check() const {
        const ClusterRecord* first = nullptr;
        for (const Node& node : nodes_) {
            const ClusterRecord& record = node.disk.cluster;
            if (record.stage != ClusterStage::formed) {
                continue;
            }
            first = first == nullptr ? &record : first;
            CHECK(record == *first);
            const auto at = static_cast<std::size_t>(&node - nodes_.data());
            CHECK(record.members[at].incarnation == node.disk.incarnation);
            CHECK(record.members.size() == nodes_.size());
        }
    }

    const ClusterPlan plan_;
    base::Random random_;
    std::vector<Node> nodes_;
    std::vector<Mail> mail_;
    std::uint64_t next_ = 1;
};

}  // namespace

TEST_CASE("empty directories become one cluster, whoever speaks first") {
    for (std::uint64_t seed = 0; seed < 200; ++seed) {
        World world(3, seed);
        for (int steps = 0; steps < 40; ++steps) {
            world.step(false);
        }
        world.settle();
        REQUIRE(world.all_formed());
        CHECK(world.disk(0).id != 0);
        CHECK(world.disk(0) == world.disk(2));
        CHECK(world.disk(1).members[2].shards == 3);
        CHECK(world.disk(1).members[2].address == "127.0.0.1:5003");
    }
}

TEST_CASE("crashes and emptied directories never make two clusters, nor one that counts nobody") {
    std::map<std::uint32_t, int> ends;
    for (const std::uint32_t members : {2u, 3u, 5u}) {
        for (std::uint64_t seed = 0; seed < 3'000; ++seed) {
            World world(members, seed);
            const std::uint64_t steps = 20 + seed % 100;
            if (seed % 3 == 1) {
                world.settle();  // trouble after the cluster is there
            }
            for (std::uint64_t step = 0; step < steps; ++step) {
                world.step(seed % 4 != 0);
            }
            world.settle();
            std::uint32_t formed = 0;
            for (std::uint32_t node = 0; node < members; ++node) {
                formed += world.formed(node) ? 1 : 0;
                if (!world.formed(node)) {
                    CHECK(world.waits(node).find("is not counted until") != std::string::npos);
                }
            }
            // Who was emptied after the cluster was there waits; before, nobody does.
            CHECK(formed > 0);
            CHECK((seed % 4 != 0 || formed == members));
            ++ends[formed * 10 + members];
        }
    }
    // Both ends were met: whole clusters, and such that somebody fell out of.
    CHECK(ends[33] > 500);
    CHECK(ends[23] > 50);
}

TEST_CASE("a member emptied after the cluster was formed waits and says so") {
    World world(3, 7);
    world.settle();
    REQUIRE(world.all_formed());
    for (std::uint32_t node = 0; node < 3; ++node) {
        CAPTURE(node);
        World again = World(3, 7);
        again.settle();
        const std::uint64_t id = again.disk(0).id;
        again.wipe(node);
        again.settle();
        CHECK(again.disk(node).stage == ClusterStage::none);
        CHECK(again.waits(node) ==
              cluster_name(id) + " is there without this directory: node " +
                  std::to_string(node + 1) +
                  " holds none of its data and is not counted until it is put back in: on "
                  "another node run: ursulactl cluster replace " +
                  std::to_string(node + 1) +
                  ". Its own directory may come back, an older copy of it never");
    }
}

TEST_CASE("a member emptied while the cluster is forming is listed anew") {
    World world(3, 3);
    // The coordinator hears both and proposes; nobody has heard the proposal.
    for (std::uint32_t node = 1; node < 3; ++node) {
        world.say(node, 0);
        world.deliver(false, 0);
    }
    REQUIRE(world.disk(0).stage == ClusterStage::forming);
    const ClusterRecord first = world.disk(0);
    world.wipe(2);
    world.start(2);
    world.say(0, 2);
    world.deliver(false, 0);
    CHECK(world.disk(2).stage == ClusterStage::none);
    world.settle();
    REQUIRE(world.all_formed());
    CHECK(world.disk(0).id != first.id);
}

TEST_CASE("a cluster of one forms by itself") {
    World world(1, 1);
    CHECK(world.all_formed());
    CHECK(world.disk(0).members.size() == 1);
}

TEST_CASE("who is nobody to form a cluster with") {
    const ClusterPlan plan = plan_of(3);
    const Standing self = standing_of_one(plan);
    Formation formation(plan, self);
    Standing other = self;
    other.node = base::NodeId(2);
    other.incarnation = 2;
    CHECK(formation.refusal_of(other) == "");
    CHECK(formation.refusal_of(self) == "two members have cluster.node_id = 1");
    other.node = base::NodeId(4);
    CHECK(formation.refusal_of(other) == "node 4 is not among the cluster.members of node 1");
    other.node = base::NodeId(2);
    other.groups = 9;
    CHECK(formation.refusal_of(other) ==
          "node 2 has 9 groups and node 1 has 8: cluster.groups must be the same on all");
    other.groups = 8;
    other.plan = plan_of(3, "u").hash();
    CHECK(formation.refusal_of(other) ==
          "cluster.name or cluster.members differ between nodes 2 and 1: they must be the same on "
          "all");
    CHECK(!formation.hear(other, 5));
    CHECK(formation.waits_for() ==
          "a cluster of 3 is made once all its members are there; not heard of: node 2 at "
          "127.0.0.1:5002, node 3 at 127.0.0.1:5003");
}

namespace {

Standing standing_of_four() {
    Standing self;
    self.node = base::NodeId(4);
    self.incarnation = 104;
    self.shards = 6;
    self.groups = 16;
    return self;
}

// By node 2 of a cluster with 4 groups.
Admission admission_of_four() {
    Admission admission;
    admission.cluster = 77;
    admission.incarnation = 104;
    admission.node = base::NodeId(4);
    admission.groups = 4;
    admission.by = base::NodeId(2);
    admission.name = "t";
    return admission;
}

// What a member of a formed cluster of `members` says.
Standing member_of(std::uint32_t node, std::uint32_t members) {
    Standing standing = standing_of_four();
    standing.node = base::NodeId(node);
    standing.incarnation = 100 + node;
    standing.cluster = {ClusterStage::formed, 77, {}};
    for (std::uint32_t id = 1; id <= members; ++id) {
        standing.cluster.members.push_back({base::NodeId(id), 1, 100 + id, {}, {}});
    }
    return standing;
}

}  // namespace

TEST_CASE("a node whose file names no members waits to be taken in") {
    ClusterPlan plan;
    plan.name = "t";
    plan.groups = 16;
    plan.address = "10.0.0.4:4439";
    Formation formation(plan, standing_of_four());
    CHECK(!formation.begin(9));
    CHECK(formation.waits_for() ==
          "node 4 is of no cluster and waits to be added to one: on a member of it run: ursulactl "
          "cluster add --id 4 --address 10.0.0.4:4439");
    // It forms none, whoever asks; a visitor of a cluster is let in.
    Standing other = standing_of_four();
    other.node = base::NodeId(5);
    CHECK(formation.refusal_of(other) == "node 4 forms no cluster, it waits to be added to one");
    CHECK(!formation.hear(other, 9));
    CHECK(formation.refusal_of(member_of(2, 3)) == "");
    CHECK(!formation.hear(member_of(2, 3), 9));

    CHECK(refusal_of(admission_of_four(), formation.self(), "t") == "");
    const Standing joined = formation.admitted(admission_of_four());
    CHECK(joined.cluster.admitted());
    CHECK(joined.cluster.id == 77);
    CHECK(joined.groups == 4);
    CHECK(joined.shards == 4);  // no shard without a group
    CHECK(joined.incarnation == 104);
    CHECK(!formation.formed());
    formation.stored(joined);
    CHECK(formation.formed());
    CHECK(formation.self() == joined);
    CHECK(formation.admitted(admission_of_four()) == joined);
}

TEST_CASE("who is not taken in, and why") {
    const auto refusal = [](auto change, const std::string& name = "t") {
        Admission admission = admission_of_four();
        Standing self = standing_of_four();
        change(admission, self);
        return refusal_of(admission, self, name);
    };
    CHECK(refusal([](Admission&, Standing&) {}) == "");
    CHECK(refusal([](Admission& admission, Standing&) { admission.node = base::NodeId(5); }) ==
          "this is node 4, not node 5");
    CHECK(refusal([](Admission& admission, Standing&) { admission.incarnation = 105; }) ==
          "node 4 has other storage than was visited: its directory was emptied in between; begin "
          "again");
    CHECK(refusal([](Admission&, Standing&) {}, "u") ==
          "node 4 has cluster.name = \"u\" and is not taken into cluster \"t\": they must be the "
          "same");
    CHECK(refusal([](Admission&, Standing& self) {
              self.cluster = {ClusterStage::formed, 78, {}};
          }) ==
          "node 4 is of cluster 000000000000004e and not taken into cluster 000000000000004d: a "
          "directory's cluster never changes");
    CHECK(refusal([](Admission&, Standing& self) {
              self.cluster = {ClusterStage::formed, 77, {}};
          }) == "");
    CHECK(refusal([](Admission&, Standing& self) {
              self.cluster = {ClusterStage::forming, 77, {}};
          }).find("node 4 is about to form a cluster") == 0);
}

TEST_CASE("a node in whose file a cluster was made without it says how it is put in") {
    ClusterPlan plan = plan_of(4);
    plan.address = "10.0.0.4:4439";
    Formation formation(plan, standing_of_four());
    CHECK(formation.waits_for().find("not heard of: node 1 at") != std::string::npos);
    CHECK(!formation.hear(member_of(2, 3), 9));
    CHECK(formation.waits_for() ==
          "cluster 000000000000004d is there without this directory: node 4 is not counted until "
          "it is put in: on another node run: ursulactl cluster add --id 4 --address "
          "10.0.0.4:4439, or, when the cluster has a node 4: ursulactl cluster replace 4");
    CHECK(refusal_of(admission_of_four(), formation.self(), "t") == "");
    formation.stored(formation.admitted(admission_of_four()));
    CHECK(formation.formed());
    // What others hear of it later does not make them its followers.
    Formation third(plan, [] {
        Standing self = standing_of_four();
        self.node = base::NodeId(3);
        return self;
    }());
    CHECK(!third.hear(formation.self(), 9));
    CHECK(!third.formed());
}

TEST_CASE("a visitor from elsewhere does not keep nodes from becoming a cluster") {
    const ClusterPlan plan = plan_of(2);
    const Standing self = standing_of_one(plan);
    Formation formation(plan, self);
    CHECK(formation.refusal_of(member_of(9, 3)) == "");
    CHECK(!formation.hear(member_of(9, 3), 5));
    Standing other = self;
    other.node = base::NodeId(2);
    other.incarnation = 2;
    const auto record = formation.hear(other, 5);
    REQUIRE(record);
    CHECK(record->stage == ClusterStage::forming);
}
