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
//   none     ->  formed   without founders: a member of a formed cluster came and said so (an
//                         Admission), an operator's doing. So is a node taken in whose file names
//                         no members, or such that formed a cluster without it; it votes in no
//                         group before that group's leader told it who does.
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

// What the configuration says.
struct ClusterPlan {
    struct Member {
        base::NodeId id;
        std::string address;
        std::string client;
    };
    std::string name;
    std::uint32_t groups = 0;
    std::vector<Member> members;  // by rising id; none: the node waits to be added
    std::string address;          // of this node, for a person

    // Of what must be the same on all members.
    std::uint64_t hash() const;
};

class Formation {
  public:
    // `self.cluster` is what the directory holds, `self.plan` the plan's hash; self.node is one of
    // the plan's members, if it has any.
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

    // Somebody takes this node in, and nothing speaks against it (refusal_of): what it is then. It
    // must be stored, and then stored() called with the same, before it is told.
    Standing admitted(const Admission& admission) const;
    void stored(const Standing& standing) { self_ = standing; }

    // Empty, or why this is nobody to form a cluster with; told to it and logged.
    std::string refusal_of(const Standing& other) const;

    // One sentence for the log: what is missing, and what to do.
    std::string waits_for() const;

  private:
    bool is_planned(base::NodeId node) const;
    bool is_coordinator() const {
        return !plan_.members.empty() && plan_.members.front().id == self_.node;
    }
    std::string remedy(const Standing& formed) const;
    const Standing* heard(base::NodeId node) const;
    std::optional<storage::ClusterRecord> coordinate(std::uint64_t fresh_id) const;
    std::optional<storage::ClusterRecord> follow(const Standing& other) const;
    storage::ClusterRecord list_anew(std::uint64_t id) const;

    const ClusterPlan plan_;
    Standing self_;
    std::vector<Standing> heard_;  // the newest of each other member
};

// Empty, or why the node that stands so, with that cluster.name, is not taken in; one that was
// taken into the same cluster before is taken in again.
std::string refusal_of(const Admission& admission, const Standing& self, const std::string& name);

}  // namespace ursula
