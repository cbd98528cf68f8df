// Formation: how nodes with empty directories become one cluster, as values (DESIGN "A cluster's
// identity"). Each member tells each other what it is (a Standing), again and again; what it hears
// may move it on:
//
//   none     ->  forming  the coordinator, which has the lowest id, has heard all others in its own
//                         life and none of them is formed: it draws the id and lists them. Any
//                         other member: the coordinator is forming and lists this very directory.
//   forming  ->  forming  with another id, by the same rules: somebody's directory was emptied
//                         before the cluster was there, and the coordinator lists them anew.
//   forming  ->  formed   the coordinator: every other is forming with this id. Any other member:
//                         somebody is formed with this id.
//
// A record is on disk before it is told. Only who is formed starts its groups and votes, and only
// the coordinator becomes formed without having heard of it: as long as nobody is formed nothing
// can have been promised, so beginning again is safe; once somebody is, nobody lists anew, and a
// directory emptied later is told apart by its incarnation and never counted.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "peer_greeting.h"
#include "storage/node_file.h"

namespace ursula {

// What the configuration says; the same on all members.
struct ClusterPlan {
    struct Member {
        base::NodeId id;
        std::string address;
        std::string client;
    };
    std::string name;
    std::uint32_t groups = 0;
    std::vector<Member> members;  // by rising id

    std::uint64_t hash() const;
};

class Formation {
  public:
    // `self.cluster` is what the directory holds, `self.plan` the plan's hash; self.node is one of
    // the plan's members.
    Formation(ClusterPlan plan, Standing self);

    // What to tell others: of what is stored only.
    const Standing& self() const { return self_; }
    bool formed() const { return self_.cluster.stage == storage::ClusterStage::formed; }

    // Somebody said this. `fresh_id` is a new random number, not 0. With an answer: that record
    // must be stored, and then stored() called, before anything else is told or heard.
    std::optional<storage::ClusterRecord> hear(const Standing& other, std::uint64_t fresh_id);
    // The same at the start, when nobody was heard: a cluster of one.
    std::optional<storage::ClusterRecord> begin(std::uint64_t fresh_id);
    void stored(const storage::ClusterRecord& record) { self_.cluster = record; }

    // Empty, or why this is nobody to form a cluster with; told to it and logged.
    std::string refusal_of(const Standing& other) const;

    // One sentence for the log: what is missing, and what to do.
    std::string waits_for() const;

  private:
    bool is_coordinator() const { return plan_.members.front().id == self_.node; }
    const Standing* heard(base::NodeId node) const;
    std::optional<storage::ClusterRecord> coordinate(std::uint64_t fresh_id) const;
    std::optional<storage::ClusterRecord> follow(const Standing& other) const;
    storage::ClusterRecord list_anew(std::uint64_t id) const;

    const ClusterPlan plan_;
    Standing self_;
    std::vector<Standing> heard_;  // the newest of each other member
};

}  // namespace ursula
