// Operators who change the members while all else goes on: add spare nodes, remove members and
// replace those whose directory is gone, one plan at a time, step by step for every group, asking
// again until it is done. Nothing is kept of a plan but what it wants, as in ursulactl. Two of them
// have different nodes in mind and do not wait for each other.
#include <fmt/format.h>

#include <algorithm>

#include "sim/cluster.h"

namespace ursula::sim {

namespace {

constexpr base::Duration patience = base::milliseconds(800);
constexpr std::uint64_t generation_step = 1000;  // of a node's incarnations

using Step = api::ChangeMemberCall::Step;

}  // namespace

std::uint64_t Cluster::incarnation_of(const Node& node) const {
    return node.number + generation_step * node.generation;
}

shard::MemberInfo Cluster::info_of(const Node& node) const {
    shard::MemberInfo info;
    info.node = base::NodeId(static_cast<std::uint32_t>(node.number));
    info.shards = static_cast<std::uint32_t>(node.parts.size());
    info.incarnation = incarnation_of(node);
    info.address = fmt::format("10.0.0.{}:4439", node.number);
    info.client = fmt::format("http://10.0.0.{}:4437", node.number);
    return info;
}

// A directory that never was one of the cluster's: other storage, and nothing promised.
void Cluster::renew(Node& node) {
    ++node.generation;
    node.former.push_back(std::move(node.seen));
    node.seen.clear();
    node.seen.resize(groups_);
    node.lost = false;
    node.rotten = false;
    node.worn_out = false;
    for (Part& part : node.parts) {
        part.image = {};
    }
}

bool Cluster::is_aimed_at(const Node& node) const {
    return std::any_of(operators_.begin(), operators_.end(),
                       [&node](const Operator& op) { return op.node == &node; });
}

// Decides what to do next. Nothing while nothing is to be done.
void Cluster::plan_change(Operator& op) {
    Node& node = nodes_[op.random.below(nodes_.size())];
    const bool by_group = op.random.chance(1, 2);
    const auto members =
        std::count_if(nodes_.begin(), nodes_.end(), [](const Node& one) { return one.member; });
    const auto broken = std::find_if(nodes_.begin(), nodes_.end(), [this](const Node& one) {
        return one.lost && one.member && !is_aimed_at(one);
    });
    op.by_group = by_group;
    op.tries = 0;
    if (broken != nodes_.end()) {
        aim(op, *broken);
    } else if (is_aimed_at(node)) {
        return;
    } else if (faulty_ && !node.member) {
        // The disk of a node that was a member may be used again, or not.
        if (!node.up && (node.lost || op.random.chance(1, 2))) {
            renew(node);
        }
        node.member = true;
        aim(op, node);
    } else if (faulty_ && members > 1 && op.random.chance(1, 2)) {
        node.member = false;
        aim(op, node);
    } else if (!faulty_ && !is_as_wanted(node)) {
        aim(op, node);  // a call that was given up, of an earlier plan, was done late
    }
}

// By what those who lead say.
bool Cluster::is_as_wanted(const Node& node) const {
    for (std::uint32_t group = 0; group < groups_; ++group) {
        for (const Node& one : nodes_) {
            if (!one.up || !replica_of(one, group).is_leader()) {
                continue;
            }
            const raft::Member* member =
                replica_of(one, group)
                    .membership()
                    .membership.find(base::NodeId(static_cast<std::uint32_t>(node.number)));
            if (node.member ? member == nullptr || !member->voter : member != nullptr) {
                return false;
            }
        }
    }
    return true;
}

// The plan that makes it a member, or none, from wherever it is now.
void Cluster::aim(Operator& op, Node& node) {
    op.node = &node;
    op.step = 0;
    op.group = 0;
    op.steps.clear();
    op.old_incarnation = incarnation_of(node);
    if (!node.member) {
        op.steps = {Step::remove};
        say(fmt::format("operator: removes n{}", node.number));
        return;
    }
    if (node.lost) {
        op.steps = {Step::remove};
        renew(node);
        node.replacing = true;
        // The node may be there again, with nothing on its disk, long before anybody looks.
        const std::uint64_t late = op.random.below(1500);
        if (faulty_ && op.random.chance(1, 2)) {
            op.begins = now_ + base::milliseconds(static_cast<std::int64_t>(late));
        }
    }
    op.steps.insert(op.steps.end(), {Step::add_learner, Step::promote});
    if (!node.up && node.back_at == base::Instant::never()) {
        node.back_at = now_;
    }
    say(fmt::format("operator: {} n{}", node.replacing ? "replaces" : "adds", node.number));
}

void Cluster::operate(Operator& op) {
    op.at = now_ + base::milliseconds(static_cast<std::int64_t>(op.random.between(5, 60)));
    op.call = api::CallId{};
    if (op.node == nullptr) {
        plan_change(op);
        if (op.node == nullptr) {
            op.at =
                now_ + base::milliseconds(static_cast<std::int64_t>(op.random.between(50, 600)));
            return;
        }
    }
    // Sometimes it changes its mind; and a removal waits until nobody is missing.
    const bool missing = std::any_of(nodes_.begin(), nodes_.end(), [&op](const Node& one) {
        return &one != op.node && one.member && (one.lost || one.rotten || one.replacing);
    });
    const bool others_stay = std::any_of(nodes_.begin(), nodes_.end(), [&op](const Node& one) {
        return &one != op.node && one.member;
    });
    if ((missing && !op.node->member) ||
        (faulty_ && !op.node->replacing && ++op.tries % 64 == 0 && op.random.chance(1, 2) &&
         (!op.node->member || others_stay))) {
        say(fmt::format("operator: changes its mind about n{}", op.node->number));
        op.node->member = !op.node->member;
        aim(op, *op.node);
    }
    // Whoever is lost on the way to being a member becomes one as another.
    if (op.node->lost && op.node->member) {
        aim(op, *op.node);
    }
    if (now_ < op.begins) {
        op.at = op.begins;
        return;
    }
    Node& asked = op.hint != 0 ? nodes_[op.hint - 1] : nodes_[op.random.below(nodes_.size())];
    op.hint = 0;
    if (!asked.up) {
        return;
    }
    api::ChangeMemberCall change;
    change.group = base::GroupId(op.group);
    change.step = op.steps[op.step];
    change.node = base::NodeId(static_cast<std::uint32_t>(op.node->number));
    if (change.step == Step::add_learner) {
        op.info = info_of(*op.node);
        change.incarnation = op.info.incarnation;
        change.shards = op.info.shards;
        change.address = op.info.address;
        change.client = op.info.client;
    } else if (change.step == Step::remove) {
        change.incarnation = op.old_incarnation;
    } else {
        change.incarnation = incarnation_of(*op.node);
    }
    op.call = api::CallId(next_call_++);
    op.at = now_ + patience;
    Part& part = part_of(asked, op.group);
    const auto shard = static_cast<std::uint32_t>(&part - asked.parts.data());
    part.calls.push_back({op.call, base::ShardId(shard), change});
}

void Cluster::operator_hears(Operator& op, const api::Answer& answer, std::size_t from) {
    op.call = api::CallId{};
    op.at = now_ + base::milliseconds(static_cast<std::int64_t>(op.random.between(1, 40)));
    if (const auto* refused = std::get_if<api::Refused>(&answer)) {
        const api::Refusal why = refused->why;
        say(fmt::format("n{} refuses step {} for n{} in g{} with {}", from, op.step,
                        op.node->number, op.group, static_cast<int>(why)));
        if (why == api::Refusal::not_leader) {
            op.hint = static_cast<std::size_t>(refused->numbers[0]);
        } else if (why == api::Refusal::member_unknown ||
                   why == api::Refusal::member_other_storage) {
            // Its mind changed under way: from the beginning. What an earlier plan, given up, put
            // in with a directory that is gone must go first; the group says which, one guess for
            // it.
            op.step = 0;
            op.group = 0;
            if (why == api::Refusal::member_other_storage && op.node->member) {
                if (op.steps.front() != Step::remove) {
                    op.steps.insert(op.steps.begin(), Step::remove);
                    op.old_incarnation = incarnation_of(*op.node);
                }
                op.old_incarnation = op.old_incarnation > generation_step
                                         ? op.old_incarnation - generation_step
                                         : incarnation_of(*op.node);
            }
        } else if (why == api::Refusal::outcome_unknown || why == api::Refusal::overloaded ||
                   why == api::Refusal::member_not_caught_up ||
                   why == api::Refusal::member_change_under_way ||
                   why == api::Refusal::member_quorum) {
            op.hint = from;
        } else {
            fail(fmt::format("a change of g{} is refused with {} by n{}", op.group,
                             static_cast<int>(why), from));
        }
        return;
    }
    say(fmt::format("n{} has done step {} for n{} in g{}", from, op.step, op.node->number,
                    op.group));
    op.hint = from;
    ++report_.changes;
    // Through all groups and steps, one or the other in the inner loop.
    bool over = false;
    if (op.by_group) {
        over = ++op.step == op.steps.size() && ++op.group == groups_;
        op.step %= op.steps.size();
    } else {
        over = ++op.group == groups_ && ++op.step == op.steps.size();
        op.group %= groups_;
    }
    if (!over) {
        return;
    }
    Node& node = *op.node;
    say(fmt::format("operator: n{} is {}", node.number,
                    node.member ? "a member" : "none any more"));
    node.replacing = false;
    op.before = op.node;
    op.node = nullptr;
    if (!node.member) {
        retire(op, node);
    }
}

// Whoever is no member goes, at once or when it falls next.
void Cluster::retire(Operator& op, Node& node) {
    node.back_at = base::Instant::never();
    if (node.up && (!faulty_ || op.random.chance(2, 3))) {
        crash(node, false);
        node.back_at = base::Instant::never();
    }
}

// Whether the replica has exactly those voters, and no change is under way.
bool Cluster::has_members(const Node& node, std::uint32_t group) const {
    const raft::Membership& membership = replica_of(node, group).membership().membership;
    std::size_t members = 0;
    for (const Node& one : nodes_) {
        members += one.member ? 1 : 0;
        const raft::Member* member =
            membership.find(base::NodeId(static_cast<std::uint32_t>(one.number)));
        if (one.member && (member == nullptr || !member->voter)) {
            return false;
        }
    }
    return !membership.joint() && membership.members().size() == members;
}

// What the node's storage of that generation holds, or held last. Null: there was none yet.
const Cluster::Seen* Cluster::seen_of(const Node& node, std::uint64_t generation,
                                      std::uint32_t group) const {
    if (generation == node.generation) {
        return &node.seen[group];
    }
    return generation < node.generation ? &node.former[generation][group] : nullptr;
}

// Whether `has` is true of a majority of each side, each with the storage that the table names: a
// node with other storage is not that member (R11).
bool Cluster::by_majority(
    const shard::MemberTable& table,
    const std::function<bool(const Node&, std::uint64_t generation)>& has) const {
    std::size_t voters[2] = {};
    std::size_t good[2] = {};
    for (const raft::Member& member : table.at.membership.members()) {
        const std::uint64_t generation = table.find(member.id)->incarnation / generation_step;
        const bool its =
            member.id.value <= nodes_.size() && has(nodes_[member.id.value - 1], generation);
        for (const std::size_t side : {std::size_t{0}, std::size_t{1}}) {
            if (side == 0 ? member.voter : member.outgoing) {
                ++voters[side];
                good[side] += its ? 1 : 0;
            }
        }
    }
    return good[0] * 2 > voters[0] && (!table.at.membership.joint() || good[1] * 2 > voters[1]);
}

bool Cluster::holds(const raft::IdLog& log, base::EntryId entry) {
    return log.snapshot().index > entry.index || log.contains(entry);
}

// The memberships that a commit of the entry may have been counted by, as those who have it know
// them: the one in force at it, and later ones.
std::vector<shard::MemberTable> Cluster::tables_from(std::uint32_t group,
                                                     base::EntryId entry) const {
    base::LogIndex first;
    std::vector<shard::MemberTable> all;
    for (const Node& node : nodes_) {
        if (!node.up || !holds(replica_of(node, group).log(), entry)) {
            continue;
        }
        for (const shard::MemberTable& one : tables_of(node, group)) {
            if (one.at.membership.voters() == 0) {
                continue;
            }
            all.push_back(one);
            if (one.at.index <= entry.index) {
                first = std::max(first, one.at.index);
            }
        }
    }
    std::erase_if(all, [first](const shard::MemberTable& one) { return one.at.index < first; });
    return all;
}

// Whether the membership has a majority without the node, and has one too when changes that are on
// their way to it are done - any of those that operators have in mind, or had last.
bool Cluster::survives(const shard::MemberTable& table, const Node& without) const {
    const auto is_good = [&](const Node& one) {
        return &one != &without && !one.lost && !one.rotten && !one.replacing;
    };
    std::vector<const Node*> changing;
    for (const Operator& op : operators_) {
        for (const Node* node : {op.node, op.before}) {
            if (node != nullptr) {
                changing.push_back(node);
            }
        }
    }
    for (std::uint32_t present = 0; present < 1u << changing.size(); ++present) {
        for (const bool old_side : {false, true}) {
            std::map<std::size_t, bool> voters;
            for (const raft::Member& member : table.at.membership.members()) {
                const Node& one = nodes_[member.id.value - 1];
                if (old_side ? member.outgoing : member.voter) {
                    voters[one.number] =
                        is_good(one) && table.find(member.id)->incarnation == incarnation_of(one);
                }
            }
            for (std::size_t i = 0; i < changing.size(); ++i) {
                if ((present >> i & 1) != 0) {
                    voters[changing[i]->number] = is_good(*changing[i]);
                } else {
                    voters.erase(changing[i]->number);
                }
            }
            const auto good = std::count_if(voters.begin(), voters.end(),
                                            [](const auto& one) { return one.second; });
            if ((!old_side || table.at.membership.joint()) &&
                static_cast<std::size_t>(good) * 2 <= voters.size()) {
                return false;
            }
        }
    }
    return true;
}

// At most a minority of any membership that may count now may be lost: more is beyond what is
// promised (3.2).
bool Cluster::may_lose(const Node& node) const {
    if (node.lost || node.replacing) {
        return false;
    }
    if (!swarm_.has(Fault::members)) {
        const auto bad = std::count_if(nodes_.begin(), nodes_.end(), [&node](const Node& one) {
            return &one != &node && (one.lost || one.rotten);
        });
        return static_cast<std::size_t>(bad) + 1 <= (nodes_.size() - 1) / 2;
    }
    for (std::uint32_t group = 0; group < groups_; ++group) {
        base::EntryId committed;
        for (const Node& one : nodes_) {
            if (one.up) {
                const raft::IdLog& log = replica_of(one, group).log();
                committed = std::max(committed, {log.term_at(log.committed()), log.committed()});
            }
        }
        const std::vector<shard::MemberTable> all = tables_from(group, committed);
        if (all.empty() || !std::all_of(all.begin(), all.end(),
                                        [&](const auto& one) { return survives(one, node); })) {
            return false;
        }
    }
    return true;
}

}  // namespace ursula::sim
