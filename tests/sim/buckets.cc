// Buckets that come and go with the streams in them. Nothing of them is in the histories: what is
// acknowledged in a bucket and not removed by itself is never lost by a bucket's removal, a removed
// bucket has no streams and gets none, and one that is there takes them.
#include <fmt/format.h>

#include <algorithm>

#include "shard/call_wire.h"
#include "sim/cluster.h"

namespace ursula::sim {

void Cluster::ask_about_bucket(Client& client) {
    const std::string bucket = fmt::format("b{}", random_.below(2));
    const auto id = bucket_ids_.find(bucket);
    const std::uint64_t dice = random_.below(12);
    // One of the newest: most of the others were removed.
    const std::size_t back = random_.below(6);
    const std::size_t chosen = bucket_streams_.size() - std::min(back + 1, bucket_streams_.size());
    client.bucket = bucket;
    client.bucket_stream = chosen;
    const bool open = chosen < bucket_streams_.size() && !bucket_streams_[chosen].removing;
    client.existed = open && bucket_streams_[chosen].acknowledged;
    if (dice < 7 && (dice < 1 || id == bucket_ids_.end())) {
        ask_for_bucket(client, api::CreateBucketCall{bucket});
    } else if (dice < 2) {
        ask_for_bucket(client, api::ResolveBucketCall{bucket});
    } else if (dice < 4) {
        ask_for_bucket(client, api::RemoveBucketCall{bucket});
    } else if (dice < 7) {
        client.bucket_stream = bucket_streams_.size();
        client.stream = fmt::format("{}/k{}", bucket, bucket_streams_.size());
        if (Node* node = choose_node(client, group_of(client.stream), false); node != nullptr) {
            bucket_streams_.push_back({client.stream, false, false});
            api::CreateCall create;
            create.key = key(client.stream);
            create.key.name = keep(*node, client.stream, client.stream);
            create.content_type = "text/plain";
            create.bucket_id = id->second;  // maybe of long ago
            client.verb = Verb::bucket;
            send(client, *node, create);
        }
    } else if (open) {
        client.stream = bucket_streams_[chosen].name;
        Node* node = choose_node(client, group_of(client.stream), false);
        if (node == nullptr) {
            return;
        }
        client.verb = Verb::bucket;
        api::StreamKey at = key(client.stream);
        at.name = keep(*node, client.stream, client.stream);
        if (dice < 11) {
            bucket_streams_[chosen].removing = true;
            send(client, *node, api::RemoveCall{at});
        } else {
            api::AppendCall append;
            append.key = at;
            append.content_type = "text/plain";
            append.has_content_type = true;
            append.body = base::as_bytes(keep(*node, client.stream, "in a bucket"));
            send(client, *node, append);
        }
    }
}

// Of group 0.
void Cluster::ask_for_bucket(Client& client, api::Verb verb) {
    client.bucket_stream = SIZE_MAX;
    Node* node = choose_node(client, 0, std::holds_alternative<api::ResolveBucketCall>(verb));
    if (node == nullptr) {
        return;
    }
    Part& part = part_of(*node, 0);
    part.kept.push_back(client.bucket);
    const std::string_view bucket = part.kept.back();
    if (auto* make = std::get_if<api::CreateBucketCall>(&verb)) {
        make->bucket = bucket;
    } else if (auto* drop = std::get_if<api::RemoveBucketCall>(&verb)) {
        drop->bucket = bucket;
    } else {
        std::get<api::ResolveBucketCall>(verb).bucket = bucket;
    }
    client.verb = Verb::bucket;
    send(client, *node, 0, verb);
}

void Cluster::answer_about_bucket(const Client& client, const api::Answer& answer) {
    if (const auto* bucket = std::get_if<api::BucketReply>(&answer);
        bucket != nullptr && bucket->bucket_id != 0) {
        bucket_ids_[client.bucket] = bucket->bucket_id;
        known_buckets_.insert(bucket->bucket_id);
        return;
    }
    if (client.bucket_stream >= bucket_streams_.size()) {
        return;
    }
    BucketStream& stream = bucket_streams_[client.bucket_stream];
    if (std::holds_alternative<api::CreateReply>(answer)) {
        stream.acknowledged = true;
    } else if (const auto* refused = std::get_if<api::Refused>(&answer);
               refused != nullptr && refused->why == api::Refusal::stream_not_found &&
               client.existed && !stream.removing) {
        fail(fmt::format("n{} says that there is no {}", client.node, stream.name));
    }
}

// A step of a bucket's removal, from the node's shard of group 0 to its shard of another group.
void Cluster::route_internal(Node& node, const api::Call& call) {
    api::Call own = call;
    Part& part = part_of(node, shard::group_of_internal(own.verb).value);
    shard::keep_internal(own.verb, [&part](std::string_view text) {
        return std::string_view(part.kept.emplace_back(text));
    });
    part.calls.push_back(own);
}

// Whether some node takes a bucket for one that is being removed.
bool Cluster::removes_buckets() const {
    return std::any_of(nodes_.begin(), nodes_.end(), [this](const Node& node) {
        if (!node.up || !node.member) {
            return false;
        }
        const auto& buckets = part_of(node, 0).shard->machine(base::GroupId(0)).buckets();
        return std::any_of(buckets.begin(), buckets.end(),
                           [](const auto& bucket) { return bucket.second.closing; });
    });
}

// When all agree.
void Cluster::check_buckets() {
    for (const Node& node : nodes_) {
        if (!node.up || !node.member || node.lost) {
            continue;
        }
        std::set<std::uint64_t> there;
        for (const auto& [name, bucket] :
             part_of(node, 0).shard->machine(base::GroupId(0)).buckets()) {
            there.insert(bucket.id);
        }
        for (std::uint32_t group = 0; group < groups_; ++group) {
            const stream::Machine& machine =
                part_of(node, group).shard->machine(base::GroupId(group));
            for (const std::uint64_t id : known_buckets_) {
                if (machine.is_sealed(id) == (there.count(id) != 0)) {
                    fail(fmt::format(
                        "n{} g{}: bucket {} is {}", node.number, group, id,
                        machine.is_sealed(id) ? "there and sealed" : "removed and not sealed"));
                }
                if (there.count(id) == 0 && machine.streams_of_bucket(id) != 0) {
                    fail(fmt::format("n{} g{}: bucket {} is removed and has {} streams",
                                     node.number, group, id, machine.streams_of_bucket(id)));
                }
            }
        }
        for (const BucketStream& stream : bucket_streams_) {
            const api::StreamKey at = key(stream.name);
            const stream::Machine& machine = part_of(node, at.group.value).shard->machine(at.group);
            if (stream.acknowledged && !stream.removing &&
                machine.find(stream.name, at.hash) == nullptr) {
                fail(fmt::format("n{} has lost {}", node.number, stream.name));
            }
        }
    }
}

}  // namespace ursula::sim
