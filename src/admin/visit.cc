#include "admin/visit.h"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/limits.h"

namespace ursula::admin {

namespace {

using Json = nlohmann::ordered_json;
using Kind = VisitOutcome::Kind;

std::string_view name_of(VisitOutcome::Stage stage) {
    switch (stage) {
        case VisitOutcome::Stage::none:
            return "none";
        case VisitOutcome::Stage::forming:
            return "forming";
        case VisitOutcome::Stage::formed:
            return "formed";
    }
    return {};
}

std::string hex(std::uint64_t id) {
    char text[17];
    std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(id));
    return text;
}

}  // namespace

std::optional<Visit> read_visit(base::Bytes body, bool admits) {
    const std::string_view text = base::as_text(body);
    const Json parsed = Json::parse(text.begin(), text.end(), nullptr, false);
    if (!parsed.is_object() || parsed.size() != (admits ? 3u : 1u)) {
        return std::nullopt;
    }
    const auto address = parsed.find("address");
    if (address == parsed.end() || !address->is_string()) {
        return std::nullopt;
    }
    Visit visit;
    visit.address = address->get<std::string>();
    visit.admits = admits;
    if (!admits) {
        return visit;
    }
    const auto node = parsed.find("node");
    const auto incarnation = parsed.find("incarnation");
    if (node == parsed.end() || !node->is_number_unsigned() || incarnation == parsed.end() ||
        !incarnation->is_string()) {
        return std::nullopt;
    }
    const auto id = node->get<std::uint64_t>();
    const std::optional<std::uint64_t> storage =
        parse_decimal<std::uint64_t>(incarnation->get<std::string>());
    if (id == 0 || id > base::limits::node_id_max || !storage || *storage == 0) {
        return std::nullopt;
    }
    visit.node = base::NodeId(static_cast<std::uint32_t>(id));
    visit.incarnation = *storage;
    return visit;
}

Response visit_response(const Visit& visit, const VisitOutcome& outcome) {
    switch (outcome.kind) {
        case Kind::answered:
            break;
        case Kind::alone:
            return problem(409, "not_clustered", "This node is alone and of no cluster",
                           "ask a member of a cluster");
        case Kind::bad_address:
            return problem(400, "bad_address", "The address is not numeric with a port",
                           "write it as that node's cluster.listen, as in 10.0.0.4:4439");
        case Kind::too_many:
            return problem(503, "too_many_visits", "Other nodes are being visited",
                           "try again in a second");
        case Kind::unreachable:
            return problem(504, "node_unreachable",
                           "No node was reached at " + visit.address + ": " + outcome.why,
                           "see that it runs and that its cluster.listen is this address");
        case Kind::refused:
            return problem(409, "node_refused", outcome.why,
                           "see the log of the node at " + visit.address);
        case Kind::other_cluster:
            return problem(409, "other_cluster",
                           "node " + std::to_string(outcome.node.value) + " at " + visit.address +
                               " is of another cluster (" + hex(outcome.cluster) + ")",
                           "give it an empty storage.path to have it in this one");
    }
    Json json;
    json["schema"] = 1;
    json["node"] = outcome.node.value;
    json["incarnation"] = std::to_string(outcome.incarnation);
    json["shards"] = outcome.shards;
    json["groups"] = outcome.groups;
    json["stage"] = name_of(outcome.stage);
    json["cluster"] = outcome.cluster == 0 ? std::string() : hex(outcome.cluster);
    Response response;
    response.body = json.dump() + "\n";
    return response;
}

}  // namespace ursula::admin
