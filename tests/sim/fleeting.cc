// Streams that come and go, so that a snapshot under way meets removals. Nothing of them is in the
// histories: every node must hold the same bytes of an incarnation, and none may fail to read what
// it names.
#include <fmt/format.h>

#include <algorithm>

#include "sim/cluster.h"

namespace ursula::sim {

bool Cluster::fetching() const {
    return std::any_of(nodes_.begin(), nodes_.end(), [](const Node& node) {
        return node.up && std::any_of(node.parts.begin(), node.parts.end(),
                                      [](const Part& part) { return part.shard->fetching(); });
    });
}

// While a snapshot is fetched, they go and are read.
void Cluster::ask_about_fleeting(Client& client) {
    const std::string stream = fmt::format("v1/f{}", random_.below(4));
    const std::uint32_t group = group_of(stream);
    const bool fetched = fetching();
    const std::uint64_t what = random_.below(fetched ? 8 : 12);
    const std::uint64_t dice = !fetched ? what : what < 2 ? 0 : what < 7 ? 2 : 3;
    client.stream = stream;
    Node* node = choose_node(client, group, dice == 2);
    if (node == nullptr) {
        client.leaders[group] = 0;
        return;
    }
    if (dice == 2) {
        // Most often where a snapshot is fetched: the read waits there, and the stream may go.
        for (Node& one : nodes_) {
            if (one.up && random_.chance(3, 4) && part_of(one, group).shard->fetching()) {
                node = &one;
            }
        }
        ask_to_read_fleeting(client, *node, stream);
        return;
    }
    client.verb = Verb::fleeting;
    if (dice < 2) {
        api::RemoveCall remove;
        remove.key = key(stream);
        remove.key.name = keep(*node, stream, stream);
        send(client, *node, remove);
    } else if (dice < 5) {
        api::CreateCall create;
        create.key = key(stream);
        create.key.name = keep(*node, stream, stream);
        create.content_type = "text/plain";
        send(client, *node, create);
    } else {
        std::string body = fmt::format("{:016x}", random_.next());
        const std::uint64_t size = random_.between(20, 3000);
        while (body.size() < size) {
            body += body;
        }
        api::AppendCall append;
        append.key = key(stream);
        append.key.name = keep(*node, stream, stream);
        append.content_type = "text/plain";
        append.has_content_type = true;
        append.body = base::as_bytes(keep(*node, stream, body));
        send(client, *node, append);
    }
}

void Cluster::ask_to_read_fleeting(Client& client, Node& node, const std::string& stream) {
    client.stream = stream;
    client.verb = Verb::fleeting;
    api::ReadCall read;
    read.key = key(stream);
    read.key.name = keep(node, stream, stream);
    read.bytes_max = 1 << 20;
    send(client, node, read);
}

void Cluster::answer_fleeting(const Client& client, const api::Answer& answer) {
    if (const auto* refused = std::get_if<api::Refused>(&answer);
        refused != nullptr &&
        (refused->why == api::Refusal::read_failed || refused->why == api::Refusal::data_damaged)) {
        Node& asked = nodes_[client.node - 1];
        asked.worn_out = asked.rotten && !load_;
        if (!asked.rotten) {
            fail(fmt::format("n{} cannot read {}", client.node, client.stream));
        }
    }
    const auto* read = std::get_if<api::ReadReply>(&answer);
    if (read == nullptr) {
        return;
    }
    // Reads begin at 0: the longer one begins with the shorter.
    const std::string text = text_of(read->pieces);
    std::string& known = fleeting_[{client.stream, read->incarnation}];
    const std::size_t common = std::min(text.size(), known.size());
    if (text.compare(0, common, known, 0, common) != 0) {
        fail(
            fmt::format("n{} has other bytes of {} than another node", client.node, client.stream));
    }
    if (text.size() > known.size()) {
        known = text;
    }
}

// A fetch is short: faults by the clock would rarely meet one.
void Cluster::maybe_crash_fetching(Node& node, const Part& part) {
    if (!faulty_ || !swarm_.snapshots || !swarm_.has(Fault::kills) || !part.shard->fetching() ||
        !disk_random_.chance(1, 150)) {
        return;
    }
    const std::uint64_t other = disk_random_.below(nodes_.size());
    Node& victim = disk_random_.chance(2, 3) ? node : nodes_[other];
    const bool power = disk_random_.chance(1, 2) && swarm_.has(Fault::power);
    const auto pause = static_cast<std::int64_t>(disk_random_.between(1, 800));
    if (victim.up) {
        crash(victim, power);
        victim.back_at =
            is_needed(victim) ? now_ + base::milliseconds(pause) : base::Instant::never();
    }
}

}  // namespace ursula::sim
