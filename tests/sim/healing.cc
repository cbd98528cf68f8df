// The end of a life: faults end, and the cluster must work, agree, and fall silent.
#include <fmt/format.h>

#include <algorithm>

#include "base/limits.h"
#include "raft/describe.h"
#include "sim/cluster.h"

namespace ursula::sim {

// Faults end; every node that is not lost comes back. Then the cluster must work and agree.
void Cluster::heal() {
    say("healed");
    faulty_ = false;
    net_->faults = {};
    end_cuts();
    for (Node& node : nodes_) {
        node.paused_until = now_;
        if (!node.up && !node.lost && is_needed(node)) {
            node.back_at = now_;
        }
        if (!is_needed(node)) {
            retire(operators_.front(), node);
        }
        set_disks(node, base::microseconds(50), base::microseconds(400));
        for (std::size_t other = 1; other <= nodes_.size(); ++other) {
            net_->clog(node.number, other, now_);
        }
    }
    const base::Instant healed = now_;
    converge();
    report_.healed_ms = (now_ - healed).ms();
    for (Operator& op : operators_) {
        op.at = base::Instant::never();  // a rotten bit that is read below is nobody's work now
    }
    check_buckets();
    check_forks();
    if (!failed()) {
        read_all();
        check_expired();
    }
    if (!failed()) {
        idle();
    }
    if (!failed()) {
        if (const std::string verdict = exact_->verdict(); !verdict.empty()) {
            fail("not linearizable: " + verdict);
        }
    }
    for (Node& node : nodes_) {
        for (Part& part : node.parts) {
            if (node.up) {
                count(*part.shard);
            }
        }
    }
}

void Cluster::converge() {
    const base::Instant end = now_ + healing_max;
    proof_ = true;
    unproven_.assign(streams_.size(), true);
    while (!failed()) {
        run_until(now_ + base::milliseconds(10));
        const bool proven =
            std::none_of(unproven_.begin(), unproven_.end(), [](bool one) { return one; });
        const bool busy = std::any_of(clients_.begin(), clients_.end(), [](const Client& client) {
            return client.verb != Verb::none || client.producing;
        });
        if (proven && !busy && agreed()) {
            break;
        }
        if (now_ >= end) {
            fail(why_not_healed());
        }
    }
    load_ = false;
}

std::string Cluster::why_not_healed() const {
    std::string text = "not healed after 30 s:";
    for (std::size_t i = 0; i < streams_.size(); ++i) {
        if (unproven_[i]) {
            text += fmt::format(" {} (g{}) takes no append;", streams_[i], group_of(streams_[i]));
        }
    }
    text += removes_buckets() ? " a bucket is being removed;" : "";
    text += releases_forks() ? " a fork's link is being released;" : "";
    for (const Operator& op : operators_) {
        if (op.node != nullptr) {
            text += fmt::format(" an operator asks for n{} in g{}, step {} of {};", op.node->number,
                                op.group, op.step, op.steps.size());
        }
    }
    for (const Node& node : nodes_) {
        if (!node.up) {
            text += fmt::format(" n{} is {};", node.number,
                                node.lost      ? "lost"
                                : !node.member ? "no member"
                                               : "down");
            continue;
        }
        for (std::uint32_t group = 0; group < groups_; ++group) {
            const raft::Status status = replica_of(node, group).status();
            text += fmt::format(
                " n{} g{} role {} term {} leader {} last {} applied {} members {} of {};",
                node.number, group, static_cast<int>(status.role), status.hard_state.term.value,
                status.leader.value, status.last.index.value, status.applied.value,
                raft::describe(status.membership.membership), status.membership.index.value);
        }
        for (const Part& part : node.parts) {
            const shard::ShardCounters& c = part.shard->counters();
            text += fmt::format(" [n{} frames sent {} taken {} refused {} turned {} wake {}]",
                                node.number, c.frames_sent, c.frames_taken, c.frames_refused,
                                part.turned.ns / 1000000, wake_of(node, part).ns / 1000000);
        }
    }
    return text;
}

// One leader per group, every member has applied all of its log, and the members are those that are
// to be.
bool Cluster::agreed() const {
    if (std::any_of(operators_.begin(), operators_.end(),
                    [](const Operator& op) { return op.node != nullptr; })) {
        return false;
    }
    if (removes_buckets() || releases_forks()) {
        return false;
    }
    for (std::uint32_t group = 0; group < groups_; ++group) {
        std::size_t leaders = 0;
        base::EntryId last;
        for (const Node& node : nodes_) {
            if (!node.member || (node.lost && !swarm_.has(Fault::members))) {
                continue;
            }
            if (!node.up) {
                return false;
            }
            const raft::Group& replica = replica_of(node, group);
            leaders += replica.is_leader() ? 1 : 0;
            last = std::max(last, replica.log().last_id());
        }
        if (leaders != 1) {
            return false;
        }
        for (const Node& node : nodes_) {
            if (node.up && node.member && !has_members(node, group)) {
                return false;
            }
            if (!node.lost && node.member &&
                part_of(node, group).shard->machine(base::GroupId(group)).applied() != last) {
                return false;
            }
        }
    }
    return true;
}

// With nothing to do there are beats and nothing else.
void Cluster::idle() {
    run_until(now_ + base::seconds(1));
    const std::uint64_t before = net_->sent();
    run_until(now_ + base::seconds(2));
    std::uint64_t links = 0;
    for (const Node& from : nodes_) {
        for (const Node& to : nodes_) {
            links += &from == &to ? 0 : from.parts.size() * to.parts.size();
        }
    }
    const auto beats = static_cast<std::uint64_t>(2100 / base::limits::beat_interval_ms + 1);
    if (net_->sent() - before > links * beats) {
        fail(fmt::format("an idle cluster sent {} frames in 2 s over {} links",
                         net_->sent() - before, links));
    }
}

// Every stream from every node, by reads as clients do them.
void Cluster::read_all() {
    // A write whose client gave up may still be on its way: by then it is done, or never will be.
    run_until(now_ +
              base::milliseconds(base::limits::forward_timeout_ms + base::limits::leader_wait_ms));
    for (std::uint32_t group = 0; group < groups_; ++group) {
        check_matching(group);
    }
    for (Client& client : clients_) {
        client.at = base::Instant::never();
    }
    Client& reader = clients_.front();
    for (Node& node : nodes_) {
        for (const std::string& stream : streams_) {
            if (node.lost || !node.member) {
                break;
            }
            std::string content;
            const base::Instant end = now_ + healing_max;
            do {
                reader.stream = stream;
                reader.verb = Verb::read;
                reader.existed = true;
                reader.floor = history_.floor(stream);
                api::ReadCall read;
                read.key = key(stream);
                read.key.name = keep(node, stream, stream);
                read.offset = content.size();
                read.bytes_max = 1 << 20;
                read_next_ = UINT64_MAX;
                send(reader, node, read);
                reader.at = base::Instant::never();
                while (!failed() && !node.lost && reader.verb != Verb::none && step(end)) {
                }
                reader.at = base::Instant::never();
                if (node.lost) {
                    break;  // the read itself found a rotten bit
                }
                if (read_next_ == UINT64_MAX && now_ < end) {
                    // Refused: it does not hear its leader yet.
                    read_up_to_date_ = false;
                    run_until(now_ + base::milliseconds(50));
                    continue;
                }
                if (reader.verb != Verb::none || read_next_ == UINT64_MAX) {
                    fail(fmt::format("a read of {} on n{} has no answer", stream, node.number));
                }
                content += read_content_;
            } while (!failed() && !read_up_to_date_);
            if (failed()) {
                return;
            }
            if (node.lost) {
                reader.verb = Verb::none;
                break;
            }
            history_.final_content(stream, content);
            exact_->final_content(stream_at(stream), node.number, content);
        }
        for (int i = 0; i < 4 && swarm_.snapshots && node.up && !failed(); ++i) {
            ask_to_read_fleeting(reader, node, fmt::format("v1/f{}", i));
            reader.at = base::Instant::never();
            const base::Instant end = now_ + base::seconds(5);
            while (!failed() && reader.verb != Verb::none && step(end)) {
            }
            reader.at = base::Instant::never();
        }
        const std::size_t newest = std::min<std::size_t>(fork_streams_.size(), 12);
        for (std::size_t i = 0; i < newest && node.up && !node.lost && node.member && !failed();
             ++i) {
            ask_to_read_fork(reader, node, fork_streams_.size() - 1 - i);
            reader.at = base::Instant::never();
            const base::Instant end = now_ + base::seconds(5);
            while (!failed() && reader.verb != Verb::none && step(end)) {
            }
            reader.at = base::Instant::never();
        }
    }
}

}  // namespace ursula::sim
