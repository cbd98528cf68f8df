#include "tools/ursulactl/join/messages.h"

#include <array>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "base/base64url.h"
#include "base/limits.h"

namespace ursula::ctl {

namespace {

using Json = nlohmann::ordered_json;

constexpr int version = 1;
constexpr std::array<std::pair<Refusal, std::string_view>, 6> refusal_names = {{
    {Refusal::unknown_token, "unknown_token"},
    {Refusal::used_token, "used_token"},
    {Refusal::expired_token, "expired_token"},
    {Refusal::bad_request, "bad_request"},
    {Refusal::conflict, "conflict"},
    {Refusal::failed, "failed"},
}};

// Null: it is none of ours.
Json read_object(const std::string& text) {
    Json json = text.size() > message_bytes_max ? Json() : Json::parse(text, nullptr, false);
    const bool fits = json.is_object() && json.value("version", Json()) == version;
    return fits ? std::move(json) : Json();
}

bool take(const Json& json, const char* key, std::string& out) {
    const auto at = json.find(key);
    if (at == json.end() || !at->is_string()) {
        return false;
    }
    out = at->get<std::string>();
    return true;
}

bool take_node(const Json& json, std::uint32_t& out) {
    const bool fits = json.is_number_unsigned() && json.get<std::uint64_t>() >= 1 &&
                      json.get<std::uint64_t>() <= base::limits::node_id_max;
    out = fits ? json.get<std::uint32_t>() : 0;
    return fits;
}

bool take_members(const Json& json, JoinReply& out) {
    const auto members = json.find("members");
    const auto awaited = json.find("awaited");
    const auto formed = json.find("formed");
    const auto again = json.find("again");
    if (members == json.end() || !members->is_array() || awaited == json.end() ||
        !awaited->is_array() || formed == json.end() || !formed->is_boolean() ||
        again == json.end() || !again->is_boolean()) {
        return false;
    }
    for (const Json& member : *members) {
        JoinMember one;
        if (!member.is_object() || !take_node(member.value("node", Json()), one.node) ||
            !take(member, "address", one.address)) {
            return false;
        }
        out.members.push_back(std::move(one));
    }
    for (const Json& node : *awaited) {
        std::uint32_t id = 0;
        if (!take_node(node, id)) {
            return false;
        }
        out.awaited.push_back(id);
    }
    out.formed = formed->get<bool>();
    out.again = again->get<bool>();
    return true;
}

std::string dump(const Json& json) {
    return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

std::string text_of(const JoinRequest& request) {
    Json json;
    json["version"] = version;
    json["token"] = base::to_base64url(request.token);
    json["node"] = request.node;
    json["address"] = request.address;
    json["request"] = request.request;
    return dump(json);
}

std::string text_of(const JoinReply& reply) {
    Json json;
    json["version"] = version;
    for (const auto& [refusal, name] : refusal_names) {
        if (refusal == reply.refusal) {
            json["refusal"] = name;
            json["why"] = reply.why;
            return dump(json);
        }
    }
    json["certificate"] = reply.certificate;
    json["authority"] = reply.authority;
    json["members"] = Json::array();
    for (const JoinMember& member : reply.members) {
        json["members"].push_back(Json{{"node", member.node}, {"address", member.address}});
    }
    json["awaited"] = reply.awaited;
    json["formed"] = reply.formed;
    json["again"] = reply.again;
    return dump(json);
}

std::optional<JoinRequest> read_request(const std::string& text) {
    const Json json = read_object(text);
    JoinRequest request;
    std::string token;
    if (!json.is_object() || !take(json, "token", token) ||
        !take_node(json.value("node", Json()), request.node) ||
        !take(json, "address", request.address) || !take(json, "request", request.request)) {
        return std::nullopt;
    }
    auto bytes = base::from_base64url(token);
    forget(token);
    if (!bytes) {
        return std::nullopt;
    }
    request.token = std::move(*bytes);
    return request;
}

std::optional<JoinReply> read_reply(const std::string& text) {
    const Json json = read_object(text);
    JoinReply reply;
    if (!json.is_object()) {
        return std::nullopt;
    }
    std::string refusal;
    if (take(json, "refusal", refusal)) {
        for (const auto& [known, name] : refusal_names) {
            reply.refusal = name == refusal ? known : reply.refusal;
        }
        return reply.refusal != Refusal::none && take(json, "why", reply.why)
                   ? std::optional<JoinReply>(std::move(reply))
                   : std::nullopt;
    }
    if (!take(json, "certificate", reply.certificate) ||
        !take(json, "authority", reply.authority) || !take_members(json, reply)) {
        return std::nullopt;
    }
    return reply;
}

}  // namespace ursula::ctl
