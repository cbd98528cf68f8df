// Streams that are forked, forks of forks, and their removal, in any order. Each name is created
// once, and a body says of which stream it is. What a fork shows is what its source has up to its
// point, and then its own; who was told that it is there finds it on every node until somebody asks
// for its removal; and when all is healed, no link is left without its fork, no hold without its
// fork and no fork without its hold.
#include <fmt/format.h>

#include <algorithm>

#include "api/placement.h"
#include "sim/cluster.h"

namespace ursula::sim {

namespace {

std::string tag_of(const std::string& stream) {
    return "<" + stream + ":";
}

// Whole bodies of that stream and nothing else.
bool is_own(std::string_view text, const std::string& stream) {
    const std::string tag = tag_of(stream);
    while (!text.empty()) {
        const std::size_t end = text.find('>');
        if (!text.starts_with(tag) || end == std::string_view::npos) {
            return false;
        }
        text.remove_prefix(end + 1);
    }
    return true;
}

}  // namespace

void Cluster::ask_about_forks(Client& client) {
    const std::uint64_t dice = random_.below(14);
    const std::uint64_t back = random_.below(8);
    const std::uint64_t sub_offset = random_.below(40);
    const bool at_offset = random_.chance(1, 2);
    const std::uint64_t size = random_.between(10, random_.chance(1, 10) ? 3000 : 200);
    const bool any = fork_streams_.empty() || dice < 2;
    const std::size_t chosen =
        any ? SIZE_MAX : fork_streams_.size() - 1 - std::min(back, fork_streams_.size() - 1);
    const bool makes = any || dice < 7;
    client.fork_stream = makes ? fork_streams_.size() : chosen;
    client.stream = makes ? fmt::format("w/k{}", client.fork_stream) : fork_streams_[chosen].name;
    Node* node = choose_node(client, group_of(client.stream), dice >= 11);
    if (node == nullptr) {
        client.leaders[group_of(client.stream)] = 0;
        return;
    }
    client.verb = Verb::forking;
    client.fork_source = SIZE_MAX;
    const std::string stream = client.stream;
    api::StreamKey named = key(stream);
    named.name = keep(*node, stream, stream);
    const base::Bytes body = base::as_bytes(
        keep(*node, stream,
             tag_of(stream) + std::string(size, static_cast<char>('a' + random_.below(26))) + ">"));
    if (makes) {
        fork_streams_.push_back({stream, false, false});
    }
    client.existed =
        !makes && fork_streams_[chosen].acknowledged && !fork_streams_[chosen].removing;
    if (any) {
        api::CreateCall create;
        create.key = named;
        create.content_type = "text/plain";
        create.body = body;
        send(client, *node, create);
    } else if (makes) {
        const ForkStream& source = fork_streams_[chosen];
        client.fork_source = chosen;
        client.existed = source.acknowledged && !source.removing;
        api::ForkCall fork;
        fork.key = named;
        fork.source = keep(*node, stream, source.name);
        fork.source_group = base::GroupId(group_of(source.name));
        fork.has_offset = at_offset;
        fork.sub_offset = at_offset ? sub_offset : 0;
        fork.body = sub_offset % 2 == 0 ? body : base::Bytes();
        send(client, *node, fork);
    } else if (dice < 9) {
        api::AppendCall append;
        append.key = named;
        append.content_type = "text/plain";
        append.has_content_type = true;
        append.body = body;
        send(client, *node, append);
    } else if (dice < 11) {
        fork_streams_[chosen].removing = true;
        send(client, *node, api::RemoveCall{named});
    } else {
        ask_to_read_fork(client, *node, chosen);
    }
}

void Cluster::ask_to_read_fork(Client& client, Node& node, std::size_t stream) {
    client.verb = Verb::forking;
    client.fork_stream = stream;
    client.fork_source = SIZE_MAX;
    client.stream = fork_streams_[stream].name;
    client.existed = fork_streams_[stream].acknowledged && !fork_streams_[stream].removing;
    api::ReadCall read;
    read.key = key(client.stream);
    read.key.name = keep(node, client.stream, client.stream);
    read.bytes_max = load_ && random_.chance(1, 2) ? random_.below(500) : 1 << 20;
    send(client, node, read);
}

void Cluster::answer_about_fork(const Client& client, const api::Answer& answer) {
    ForkStream& stream = fork_streams_[client.fork_stream];
    if (const auto* refused = std::get_if<api::Refused>(&answer)) {
        const bool missing = refused->why == api::Refusal::stream_not_found ||
                             refused->why == api::Refusal::stream_deleted ||
                             refused->why == api::Refusal::fork_source_not_found ||
                             refused->why == api::Refusal::fork_source_deleted;
        const ForkStream& named =
            client.fork_source == SIZE_MAX ? stream : fork_streams_[client.fork_source];
        if (missing && client.existed && !named.removing) {
            fail(fmt::format("n{} says that {} is not there ({})", client.node, named.name,
                             static_cast<int>(refused->why)));
        }
        if (refused->why == api::Refusal::read_failed ||
            refused->why == api::Refusal::data_damaged) {
            Node& asked = nodes_[client.node - 1];
            asked.worn_out = asked.rotten && !load_;
            if (!asked.rotten) {
                fail(fmt::format("n{} cannot read {}", client.node, client.stream));
            }
        }
        return;
    }
    if (std::holds_alternative<api::CreateReply>(answer)) {
        stream.acknowledged = true;
        report_.forks += client.fork_source == SIZE_MAX ? 0 : 1;
    }
    if (const auto* read = std::get_if<api::ReadReply>(&answer)) {
        check_fork_read(client, *read);
    }
}

// It begins at 0.
void Cluster::check_fork_read(const Client& client, const api::ReadReply& read) {
    const std::string text = text_of(read.pieces);
    const auto blame = [&](const char* what) {
        fail(fmt::format("n{} shows {} bytes of {}: {}", client.node, text.size(), client.stream,
                         what));
    };
    if (text.size() != read.next || read.from != 0) {
        blame("not as many as it says");
    }
    if (text.empty() && !read.up_to_date) {
        blame("nothing, and more is there");
    }
    std::string& known = fork_bytes_[read.incarnation];
    const std::size_t common = std::min(text.size(), known.size());
    if (text.compare(0, common, known, 0, common) != 0) {
        blame("others than another node");
    }
    if (text.size() > known.size()) {
        known = text;
    }
    // Where its own begin is replicated state, which other oracles see to.
    const Node& node = nodes_[client.node - 1];
    const stream::Machine& machine =
        part_of(node, group_of(client.stream)).shard->machine(read.incarnation.group);
    const stream::Stream* stream = machine.find(client.stream, machine.hash_of(client.stream));
    if (stream == nullptr || stream->incarnation(read.incarnation.group) != read.incarnation) {
        return;
    }
    const stream::ForkOrigin* origin = stream->origin();
    const std::uint64_t point = stream->own_from();
    if (text.size() > point && !is_own(std::string_view(text).substr(point), client.stream)) {
        blame("others than its own behind its point");
    }
    if (origin != nullptr) {
        const std::string& source = fork_bytes_[origin->source];
        const std::size_t both = std::min({text.size(), source.size(), std::size_t{point}});
        if (text.compare(0, both, source, 0, both) != 0) {
            blame("others than its source before its point");
        }
    }
}

// Whether some group still has a link to look after.
bool Cluster::releases_forks() const {
    for (const Node& node : nodes_) {
        for (std::uint32_t group = 0; group < groups_ && node.up && node.member; ++group) {
            if (!part_of(node, group).shard->machine(base::GroupId(group)).links().empty()) {
                return true;
            }
        }
    }
    return false;
}

// When all agree.
void Cluster::check_forks() {
    for (const Node& node : nodes_) {
        if (!node.up || !node.member || node.lost) {
            continue;
        }
        std::map<base::Incarnation, std::string> holds;
        std::map<base::Incarnation, std::string> forks;
        for (std::uint32_t group = 0; group < groups_; ++group) {
            const stream::Machine& machine =
                part_of(node, group).shard->machine(base::GroupId(group));
            for (const stream::Stream* s = machine.first(); s != nullptr; s = s->next()) {
                if (s->gone() && !s->held()) {
                    fail(fmt::format("n{} keeps {} for nobody", node.number, s->name()));
                }
                if (s->held()) {
                    for (const base::Incarnation& id : *s->extra()->holds()) {
                        holds.emplace(id, s->name());
                    }
                }
                if (const stream::ForkOrigin* origin = s->origin()) {
                    forks.emplace(origin->link, origin->source_name);
                }
            }
        }
        for (const auto& [id, source] : holds) {
            const auto fork = forks.find(id);
            if (fork == forks.end() || fork->second != source) {
                fail(fmt::format("n{}: {} is held and nobody forks it", node.number, source));
            }
        }
        for (const auto& [id, source] : forks) {
            const auto hold = holds.find(id);
            if (hold == holds.end() || hold->second != source) {
                fail(fmt::format("n{}: {} is forked and not held", node.number, source));
            }
        }
        for (const ForkStream& stream : fork_streams_) {
            const std::uint32_t group = group_of(stream.name);
            const stream::Machine& machine =
                part_of(node, group).shard->machine(base::GroupId(group));
            const stream::Stream* found = machine.find(stream.name, machine.hash_of(stream.name));
            if (stream.acknowledged && !stream.removing && (found == nullptr || found->gone())) {
                fail(fmt::format("n{} has lost {}", node.number, stream.name));
            }
        }
    }
}

}  // namespace ursula::sim
