// What clients ask, and what they make of the answers. A client has one call under way; one whose
// producer was not answered asks again until it is.
#include <fmt/format.h>

#include <algorithm>

#include "api/placement.h"
#include "sim/cluster.h"

namespace ursula::sim {

namespace {

constexpr base::Duration patience = base::seconds(3);

}  // namespace

std::string text_of(const std::vector<base::Slice>& pieces) {
    std::string text;
    for (const base::Slice& piece : pieces) {
        text += base::as_text(piece.bytes());
    }
    return text;
}

api::StreamKey Cluster::key(const std::string& stream) const {
    return {stream, base::siphash(table_key, base::as_bytes(stream)),
            api::group_of(stream, groups_)};
}

std::size_t Cluster::stream_at(const std::string& stream) const {
    return static_cast<std::size_t>(std::find(streams_.begin(), streams_.end(), stream) -
                                    streams_.begin());
}

bool Cluster::is_json(const std::string& stream) const {
    return swarm_.json && stream_at(stream) % 2 == 0;
}

std::string_view Cluster::keep(Node& node, const std::string& stream, const std::string& text) {
    Part& part = part_of(node, group_of(stream));
    part.kept.push_back(text);
    return part.kept.back();
}

Cluster::Node* Cluster::choose_node(const Client& client, std::uint32_t group, bool any) {
    // Any node takes a write; half of them go where the last one went well.
    const std::size_t hint = client.leaders[group];
    const bool wander = random_.chance(1, 2);
    std::size_t at = random_.below(nodes_.size());
    if (!any && !wander && hint != 0) {
        at = hint - 1;
    }
    return nodes_[at].up ? &nodes_[at] : nullptr;
}

void Cluster::send(Client& client, Node& node, const api::Verb& verb) {
    send(client, node, group_of(client.stream), verb);
}

void Cluster::send(Client& client, Node& node, std::uint32_t group, const api::Verb& verb) {
    client.call = api::CallId(next_call_++);
    client.node = node.number;
    // Some wait longer than a forwarded write may take.
    client.at = now_ + (random_.chance(1, 8) ? patience * 2 : patience);
    Part& part = part_of(node, group);
    const auto shard = static_cast<std::uint32_t>(&part - node.parts.data());
    part.calls.push_back({client.call, base::ShardId(shard), verb});
}

void Cluster::give_up(Client& client) {
    exact_->unanswered(static_cast<std::size_t>(&client - clients_.data()));
    done(client);
}

void Cluster::done(Client& client) {
    client.verb = Verb::none;
    client.at = now_ + base::microseconds(static_cast<std::int64_t>(random_.between(100, 20'000)));
}

void Cluster::ask(Client& client) {
    client.at = now_ + base::milliseconds(static_cast<std::int64_t>(random_.between(1, 40)));
    if (!load_) {
        client.at = base::Instant::never();
        return;
    }
    std::size_t at = random_.below(streams_.size());
    if (proof_ && !client.producing) {
        const auto open = std::find(unproven_.begin(), unproven_.end(), true);
        if (open == unproven_.end()) {
            return;
        }
        at = static_cast<std::size_t>(open - unproven_.begin());
    }
    if (swarm_.snapshots && !proof_ && !client.producing && random_.chance(1, fetching() ? 2 : 5)) {
        ask_about_fleeting(client);
        return;
    }
    if (swarm_.buckets && !proof_ && !client.producing && random_.chance(1, 4)) {
        ask_about_bucket(client);
        return;
    }
    if (swarm_.expiring && !proof_ && !client.producing && random_.chance(1, 4)) {
        ask_about_expiring(client);
        return;
    }
    if (swarm_.forks && !proof_ && !client.producing && random_.chance(1, 3)) {
        ask_about_forks(client);
        return;
    }
    client.stream = client.producing ? client.produced_stream : streams_[at];
    if (client.producing) {
        ask_to_produce(client);
    } else {
        ask_about(client, client.stream);
    }
}

void Cluster::ask_about(Client& client, const std::string& stream) {
    const std::size_t at = stream_at(stream);
    const std::uint32_t group = group_of(stream);
    const std::uint64_t dice = proof_ ? 10 : random_.below(10);
    const bool producer = random_.chance(3, 8);
    Node* node = choose_node(client, group, dice < swarm_.reads_of_ten && created_[at]);
    if (node == nullptr) {
        client.leaders[group] = 0;
        return;
    }
    const auto number = static_cast<std::size_t>(&client - clients_.data());
    client.existed = created_[at];
    if (!created_[at]) {
        client.verb = Verb::create;
        api::CreateCall create;
        create.key = key(stream);
        create.key.name = keep(*node, stream, stream);
        create.content_type = type_of(stream);
        exact_->asks_create(number, at, now_);
        send(client, *node, create);
    } else if (dice < swarm_.reads_of_ten && random_.chance(1, 8)) {
        client.verb = Verb::list;
        send(client, *node, api::ListStreamsCall{"v1", "", "", 100});
    } else if (dice < swarm_.reads_of_ten) {
        client.verb = Verb::read;
        client.floor = history_.floor(stream);
        api::ReadCall read;
        read.key = key(stream);
        read.key.name = keep(*node, stream, stream);
        read.offset = random_.below(client.floor + 1);
        read.bytes_max = random_.chance(1, 2) ? 1 : random_.below(20'000);
        exact_->asks_read(number, at, now_);
        send(client, *node, read);
    } else if (producer && !proof_) {
        std::string body;
        client.producing = true;
        client.produced_stream = stream;
        client.produced =
            history_.begin(stream, random_.between(1, 200), true, form_of(stream), body);
        client.produced_body = body;
        ask_to_produce(client);
    } else {
        std::size_t size = random_.between(1, 300);
        if (random_.chance(1, 20)) {
            size = random_.between(2000, 12'000);
        }
        std::string body;
        client.verb = Verb::append;
        client.append = history_.begin(stream, size, false, form_of(stream), body);
        client.spoilt = is_json(stream) && !proof_ && random_.chance(1, 12);
        if (client.spoilt) {
            body.insert(body.size() / 2, "\x01");
        }
        api::AppendCall append;
        append.key = key(stream);
        append.key.name = keep(*node, stream, stream);
        append.content_type = type_of(stream);
        append.has_content_type = true;
        append.body = base::as_bytes(keep(*node, stream, body));
        exact_->asks_append(number, at, client.append, now_);
        send(client, *node, append);
    }
}

void Cluster::ask_to_produce(Client& client) {
    const std::string& stream = client.produced_stream;
    client.stream = stream;
    Node* node = choose_node(client, group_of(stream), false);
    if (node == nullptr) {
        client.leaders[group_of(stream)] = 0;
        return;
    }
    client.verb = Verb::produce;
    client.existed = true;
    api::AppendCall append;
    append.key = key(stream);
    append.key.name = keep(*node, stream, stream);
    append.content_type = type_of(stream);
    append.has_content_type = true;
    const auto number = static_cast<std::size_t>(&client - clients_.data());
    append.producer = {true, keep(*node, stream, fmt::format("p{}", number)), 0,
                       client.next_seq[stream]};
    append.body = base::as_bytes(keep(*node, stream, client.produced_body));
    exact_->asks_produce(number, stream_at(stream), client.produced, client.next_seq[stream], now_);
    send(client, *node, append);
}

void Cluster::answer(Client& client, const api::Answer& answer) {
    const std::uint32_t group = group_of(client.stream);
    const auto* refused = std::get_if<api::Refused>(&answer);
    if (client.verb == Verb::fleeting) {
        answer_fleeting(client, answer);
        done(client);
        return;
    }
    if (client.verb == Verb::bucket) {
        answer_about_bucket(client, answer);
        done(client);
        return;
    }
    if (client.verb == Verb::expiring) {
        answer_expiring(client, answer);
        done(client);
        return;
    }
    if (client.verb == Verb::forking) {
        answer_about_fork(client, answer);
        done(client);
        return;
    }
    if (refused != nullptr) {
        client.leaders[group] = refused->why == api::Refusal::not_leader
                                    ? static_cast<std::size_t>(refused->numbers[0])
                                    : 0;
        const bool transient = refused->why == api::Refusal::not_leader ||
                               refused->why == api::Refusal::no_leader ||
                               refused->why == api::Refusal::overloaded ||
                               refused->why == api::Refusal::outcome_unknown;
        // A flipped bit that no start could see, found by a checksum: the node is to be replaced,
        // but nobody is quick about it.
        Node& asked = nodes_[client.node - 1];
        if (refused->why == api::Refusal::data_damaged && asked.rotten) {
            asked.worn_out = !load_;
        } else if (!transient && !(client.spoilt && refused->why == api::Refusal::json_invalid) &&
                   (client.existed || refused->why != api::Refusal::stream_not_found)) {
            fail(fmt::format("{} is refused with {} by n{}", client.stream,
                             static_cast<int>(refused->why), client.node));
        }
    } else if (client.verb != Verb::read && client.verb != Verb::list) {
        client.leaders[group] = client.node;
    }
    switch (client.verb) {
        case Verb::none:
        case Verb::fleeting:
        case Verb::bucket:
        case Verb::expiring:
        case Verb::forking:
            break;
        case Verb::create:
            if (std::holds_alternative<api::CreateReply>(answer)) {
                const std::size_t at = stream_at(client.stream);
                created_[at] = true;
            }
            break;
        case Verb::append:
        case Verb::produce:
            answer_append(client, answer);
            break;
        case Verb::read:
            answer_read(client, answer);
            break;
        case Verb::list:
            // Its shard's streams: the one that the client had in mind was there when it asked.
            if (const auto* list = std::get_if<api::ListReply>(&answer);
                list != nullptr &&
                ("\n" + list->names + "\n").find("\n" + client.stream.substr(3) + "\n") ==
                    std::string::npos) {
                fail(fmt::format("n{} lists streams without {}", client.node, client.stream));
            }
            break;
    }
    done(client);
}

void Cluster::answer_append(Client& client, const api::Answer& answer) {
    const bool producer = client.verb == Verb::produce;
    const std::uint64_t append = producer ? client.produced : client.append;
    const std::size_t at = stream_at(client.stream);
    if (const auto* good = std::get_if<api::AppendReply>(&answer)) {
        if (client.spoilt && !producer) {
            fail(fmt::format("{} took what is no JSON", client.stream));
        }
        if (good->kind == api::AppendReply::Kind::appended) {
            history_.acknowledged(append, good->tail);
        } else {
            history_.repeated(append);
        }
        if (producer) {
            client.producing = false;
            ++client.next_seq[client.stream];
        }
        if (proof_) {
            unproven_[at] = false;
        }
    } else if (const auto* refused = std::get_if<api::Refused>(&answer);
               refused != nullptr && refused->why != api::Refusal::outcome_unknown) {
        history_.refused(append);
    }
}

void Cluster::answer_read(const Client& client, const api::Answer& answer) {
    const auto* reply = std::get_if<api::ReadReply>(&answer);
    if (reply == nullptr) {
        return;
    }
    read_content_ = text_of(reply->pieces);
    read_next_ = reply->next;
    read_up_to_date_ = reply->up_to_date;
    history_.read(client.stream, client.floor, reply->from, reply->next, reply->up_to_date,
                  read_content_);
}

}  // namespace ursula::sim
