#include "formation.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/siphash.h"

namespace ursula {

using storage::ClusterMember;
using storage::ClusterRecord;
using storage::ClusterStage;

namespace {

constexpr base::HashKey plan_key{0x75'7273'756c'61, 0x70'6c61'6e};

// The same nodes with the same directories.
bool same_members(const ClusterRecord& a, const ClusterRecord& b) {
    return a.members == b.members;
}

}  // namespace

std::uint64_t ClusterPlan::hash() const {
    std::string text = fmt::format("{}\n{}\n", name, groups);
    for (const Member& member : members) {
        text += fmt::format("{} {} {}\n", member.id.value, member.address, member.client);
    }
    return base::siphash(plan_key, base::as_bytes(text));
}

Formation::Formation(ClusterPlan plan, Standing self)
    : plan_(std::move(plan)), self_(std::move(self)) {}

bool Formation::is_planned(base::NodeId node) const {
    return std::any_of(plan_.members.begin(), plan_.members.end(),
                       [node](const ClusterPlan::Member& member) { return member.id == node; });
}

const Standing* Formation::heard(base::NodeId node) const {
    for (const Standing& standing : heard_) {
        if (standing.node == node) {
            return &standing;
        }
    }
    return nullptr;
}

std::string Formation::refusal_of(const Standing& other) const {
    const std::uint32_t node = other.node.value;
    if (other.node == self_.node) {
        return fmt::format("two members have cluster.node_id = {}", node);
    }
    if (other.cluster.stage == ClusterStage::formed) {
        return {};  // its members are those it knows; it may be about to take this node in
    }
    if (plan_.members.empty()) {
        return fmt::format("node {} forms no cluster, it waits to be added to one",
                           self_.node.value);
    }
    if (!is_planned(other.node)) {
        return fmt::format("node {} is not among the cluster.members of node {}", node,
                           self_.node.value);
    }
    if (other.groups != self_.groups) {
        return fmt::format(
            "node {} has {} groups and node {} has {}: cluster.groups must be the "
            "same on all",
            node, other.groups, self_.node.value, self_.groups);
    }
    if (other.plan != self_.plan) {
        return fmt::format(
            "cluster.name or cluster.members differ between nodes {} and {}: they "
            "must be the same on all",
            node, self_.node.value);
    }
    return {};
}

std::optional<ClusterRecord> Formation::begin(std::uint64_t fresh_id) {
    if (plan_.members.size() != 1 || formed()) {
        return std::nullopt;
    }
    ClusterRecord record = list_anew(fresh_id);
    record.stage = ClusterStage::formed;
    return record;
}

std::optional<ClusterRecord> Formation::hear(const Standing& other, std::uint64_t fresh_id) {
    if (formed() || !is_planned(other.node) || !refusal_of(other).empty()) {
        return std::nullopt;
    }
    std::erase_if(heard_,
                  [&other](const Standing& standing) { return standing.node == other.node; });
    heard_.push_back(other);
    if (auto record = follow(other)) {
        return record;
    }
    return is_coordinator() ? coordinate(fresh_id) : std::nullopt;
}

std::optional<ClusterRecord> Formation::follow(const Standing& other) const {
    const ClusterRecord& theirs = other.cluster;
    if (theirs.stage == ClusterStage::formed) {
        if (self_.cluster.stage == ClusterStage::forming && self_.cluster.id == theirs.id) {
            ClusterRecord record = self_.cluster;
            record.stage = ClusterStage::formed;
            return record;
        }
        return std::nullopt;
    }
    if (theirs.stage != ClusterStage::forming || other.node != plan_.members.front().id ||
        theirs == self_.cluster) {
        return std::nullopt;
    }
    const auto own =
        std::find_if(theirs.members.begin(), theirs.members.end(),
                     [this](const ClusterMember& member) { return member.id == self_.node; });
    if (own == theirs.members.end() || own->incarnation != self_.incarnation ||
        own->shards != self_.shards || theirs.members.size() != plan_.members.size()) {
        return std::nullopt;  // the coordinator will list this directory once it has heard of it
    }
    return theirs;
}

std::optional<ClusterRecord> Formation::coordinate(std::uint64_t fresh_id) const {
    if (heard_.size() + 1 < plan_.members.size()) {
        return std::nullopt;
    }
    bool all_follow = self_.cluster.stage == ClusterStage::forming;
    for (const Standing& standing : heard_) {
        if (standing.cluster.stage == ClusterStage::formed) {
            return std::nullopt;
        }
        all_follow = all_follow && standing.cluster == self_.cluster;
    }
    if (all_follow) {
        ClusterRecord record = self_.cluster;
        record.stage = ClusterStage::formed;
        return record;
    }
    ClusterRecord wanted = list_anew(fresh_id);
    if (self_.cluster.stage == ClusterStage::forming && same_members(self_.cluster, wanted)) {
        return std::nullopt;  // it is proposed; they have yet to take it
    }
    return wanted;
}

ClusterRecord Formation::list_anew(std::uint64_t id) const {
    ClusterRecord record;
    record.stage = ClusterStage::forming;
    record.id = id;
    for (const ClusterPlan::Member& planned : plan_.members) {
        const Standing& standing = planned.id == self_.node ? self_ : *heard(planned.id);
        ClusterMember member;
        member.id = planned.id;
        member.shards = standing.shards;
        member.incarnation = standing.incarnation;
        member.address = planned.address;
        member.client = planned.client;
        record.members.push_back(std::move(member));
    }
    return record;
}

Standing Formation::admitted(const Admission& admission) const {
    Standing standing = self_;
    standing.groups = admission.groups;
    standing.shards = std::min(standing.shards, admission.groups);
    standing.cluster = {ClusterStage::formed, admission.cluster, {}};
    return standing;
}

std::string refusal_of(const Admission& admission, const Standing& self, const std::string& name) {
    const std::uint32_t node = self.node.value;
    if (admission.node != self.node) {
        return fmt::format("this is node {}, not node {}", node, admission.node.value);
    }
    if (admission.incarnation != self.incarnation) {
        return fmt::format(
            "node {} has other storage than was visited: its directory was emptied in between; "
            "begin again",
            node);
    }
    if (admission.name != name) {
        return fmt::format(
            "node {} has cluster.name = \"{}\" and is not taken into cluster \"{}\": they must be "
            "the same",
            node, name, admission.name);
    }
    if (self.cluster.stage == ClusterStage::formed && self.cluster.id != admission.cluster) {
        return fmt::format(
            "node {} is of {} and not taken into {}: a directory's cluster never changes", node,
            cluster_name(self.cluster.id), cluster_name(admission.cluster));
    }
    if (self.cluster.stage == ClusterStage::forming) {
        return fmt::format(
            "node {} is about to form a cluster with the other cluster.members of its file: to "
            "have it added to another one, stop it, leave cluster.members out and empty its "
            "directory",
            node);
    }
    return {};
}

// A cluster is there without this directory.
std::string Formation::remedy(const Standing& formed) const {
    const std::vector<ClusterMember>& founders = formed.cluster.members;
    const std::uint32_t node = self_.node.value;
    const bool was_there =
        std::any_of(founders.begin(), founders.end(),
                    [this](const ClusterMember& member) { return member.id == self_.node; });
    if (was_there) {
        return fmt::format(
            "{} is there without this directory: node {} holds none of its data and is not "
            "counted until it is put back in: on another node run: ursulactl cluster replace {}. "
            "Its own directory may come back, an older copy of it never",
            cluster_name(formed.cluster.id), node, node);
    }
    return fmt::format(
        "{} is there without this directory: node {} is not counted until it is put in: on "
        "another node run: ursulactl cluster add --id {} --address {}, or, when the cluster has a "
        "node {}: ursulactl cluster replace {}",
        cluster_name(formed.cluster.id), node, node, plan_.address, node, node);
}

std::string Formation::waits_for() const {
    for (const Standing& standing : heard_) {
        if (standing.cluster.stage == ClusterStage::formed) {
            return remedy(standing);
        }
    }
    if (plan_.members.empty()) {
        return fmt::format(
            "node {} is of no cluster and waits to be added to one: on a member of it run: "
            "ursulactl cluster add --id {} --address {}",
            self_.node.value, self_.node.value, plan_.address);
    }
    std::string missing;
    for (const ClusterPlan::Member& member : plan_.members) {
        if (member.id != self_.node && heard(member.id) == nullptr) {
            missing += fmt::format("{}node {} at {}", missing.empty() ? "" : ", ", member.id.value,
                                   member.address);
        }
    }
    if (!missing.empty()) {
        return fmt::format(
            "a cluster of {} is made once all its members are there; not heard of: "
            "{}",
            plan_.members.size(), missing);
    }
    return is_coordinator()
               ? std::string("the other members have yet to take this cluster's identity")
               : fmt::format("node {} at {}, which has the lowest id, has yet to make the cluster",
                             plan_.members.front().id.value, plan_.members.front().address);
}

}  // namespace ursula
