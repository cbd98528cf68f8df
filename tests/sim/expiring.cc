// Streams with a ttl. They are kept by clients for a while, then left alone, in turns. With true
// wall clocks nobody may be told that one is gone before its window is over, counted from what was
// acknowledged last; and when nobody asks any more, all of them go. By any clock, one that is gone
// stays so.
#include <fmt/format.h>

#include <algorithm>

#include "sim/cluster.h"

namespace ursula::sim {

namespace {

constexpr std::int64_t window_ms = 1000;
// Busy for longer than a window, so that only touches can keep a stream.
constexpr std::int64_t busy_ms = 2200;
constexpr std::int64_t round_ms = 3700;
constexpr std::int64_t rounding_ms = 2;  // clocks show whole milliseconds

std::string name_of(std::size_t stream) {
    return fmt::format("v1/x{}", stream);
}

}  // namespace

// Their clocks are the measure: no life has both such streams' oracle and wrong wall clocks.
bool Cluster::has_true_walls() const {
    return swarm_.expiring && !swarm_.has(Fault::jumps);
}

void Cluster::ask_about_expiring(Client& client) {
    client.expiring = random_.below(expiring_.size());
    const std::string stream = name_of(client.expiring);
    const std::uint32_t group = group_of(stream);
    const std::int64_t phase =
        (now_.ns / 1'000'000 + static_cast<std::int64_t>(client.expiring) * 900) % round_ms;
    const bool busy = phase < busy_ms;
    const std::uint64_t dice = random_.below(10);
    client.stream = stream;
    Node* node = choose_node(client, group, true);
    if (node == nullptr) {
        client.leaders[group] = 0;
        return;
    }
    client.verb = Verb::expiring;
    client.kept_since = expiring_[client.expiring].kept_since;
    client.asked_at = now_;
    api::StreamKey named = key(stream);
    named.name = keep(*node, stream, stream);
    if (dice == (busy ? 2u : 0u)) {  // left alone, but not quite
        api::AppendCall append;
        append.key = named;
        append.content_type = "text/plain";
        append.has_content_type = true;
        append.body = base::as_bytes(keep(*node, stream, "x"));
        send(client, *node, append);
    } else if (!busy || dice == 9) {
        send(client, *node, api::HeadCall{named});
    } else if (dice < 2) {
        api::CreateCall create;
        create.key = named;
        create.content_type = "text/plain";
        create.expiry = {api::Expiry::Kind::ttl, window_ms, {}};
        send(client, *node, create);
    } else {
        api::ReadCall read;
        read.key = named;
        read.from_now = dice < 5;
        read.bytes_max = 100;
        send(client, *node, read);
    }
}

void Cluster::answer_expiring(const Client& client, const api::Answer& answer) {
    const auto* refused = std::get_if<api::Refused>(&answer);
    const auto* created = std::get_if<api::CreateReply>(&answer);
    const bool gone = refused != nullptr && refused->why == api::Refusal::stream_not_found;
    Expiring& known = expiring_[client.expiring];
    base::Instant& kept = known.kept_since;
    if (gone || (created != nullptr && created->created)) {
        ++report_.expired;
        const base::Instant earliest =
            client.kept_since + base::milliseconds(window_ms - rounding_ms);
        if (has_true_walls() && client.kept_since != base::Instant{} && now_ < earliest) {
            fail(fmt::format("{} is gone for n{}, {} ms before its window is over", client.stream,
                             client.node, (earliest - now_).ms()));
        }
    }
    // What was gone does not come back: a read that says so is about the group's log, not its
    // clock.
    const auto* head = std::get_if<api::HeadReply>(&answer);
    const auto* read = std::get_if<api::ReadReply>(&answer);
    if (gone && known.newest_seen < client.asked_at && known.newest > known.gone) {
        known.gone = known.newest;
        known.gone_since = now_;
    }
    if (head != nullptr || read != nullptr) {
        const base::Incarnation seen = head != nullptr ? head->incarnation : read->incarnation;
        if (seen <= known.gone && known.gone_since < client.asked_at) {
            fail(fmt::format("{} was gone, and is there for n{}", client.stream, client.node));
        }
        if (seen > known.newest) {
            known.newest = seen;
            known.newest_seen = now_;
        }
    }
    if (read != nullptr) {
        // Its touch is committed, or the last one was no older than this.
        const base::Duration not_waited_for = base::milliseconds(window_ms / 4 + rounding_ms);
        kept = std::max(kept,
                        base::Instant{} + ((client.asked_at - base::Instant{}) - not_waited_for));
    } else if (std::holds_alternative<api::AppendReply>(answer) ||
               (created != nullptr && created->created)) {
        kept = std::max(kept, client.asked_at);
    }
}

// Long after the last call.
void Cluster::check_expired() {
    for (const Node& node : nodes_) {
        for (std::size_t at = 0; at < expiring_.size() && swarm_.expiring; ++at) {
            const std::uint32_t group = group_of(name_of(at));
            if (!node.up || node.lost || !node.member) {
                continue;
            }
            const stream::Machine& machine =
                part_of(node, group).shard->machine(base::GroupId(group));
            if (has_true_walls() &&
                machine.find(name_of(at), machine.hash_of(name_of(at))) != nullptr) {
                fail(fmt::format("{} is there for ever at n{}", name_of(at), node.number));
            }
        }
    }
}

}  // namespace ursula::sim
