// One request of the admin plane: what it asks of the shards, and what is made of their answers.
// HTTP carries requests here and responses away (src/http/front_admin.cc).
//
//   GET  /admin/v1/status                  the cluster as this node sees it
//   GET  /admin/v1/health                  ok, degraded or down, with reasons
//   GET  /admin/v1/members                 every node that groups name, and as what
//   GET  /admin/v1/groups                  this node's replicas
//   GET  /admin/v1/groups/{g}              one of them
//   GET  /admin/v1/streams/{bucket}/{...}  where a stream is
//   POST /admin/v1/groups/{g}/transfer     {"to": N}: begins to hand its leadership over; 202
//   POST /admin/v1/groups/{g}/members      one step of a change (admin/members.h), through the
//                                          group's leader; 200 when it is committed
//   POST /admin/v1/webhooks/rotate-key     {}: webhooks are signed with a new key from here on
//   POST /admin/v1/cluster/visit, admit    (admin/visit.h) asks a node, and takes it in
//
// Every answer is JSON with "schema": 1, which grows by keys only.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "admin/facts.h"
#include "admin/members.h"
#include "admin/response.h"
#include "admin/visit.h"
#include "api/call.h"
#include "api/reply.h"

namespace ursula::admin {

enum class Method : std::uint8_t { get, post, other };

// Views that live during Task::begin.
struct Request {
    Method method = Method::get;
    std::string_view path;   // decoded, from its second segment on: "/v1/status"
    std::string_view query;  // raw
    base::Bytes body;
    bool may_change = false;   // came over the admin plane, from no web page
    bool has_stream = false;   // the path names one behind "/v1/streams", by the rules for clients
    api::StreamKey stream;     // its name lives until the call is taken
    std::uint32_t groups = 0;  // of the node
};

// What to ask: every shard, or the one that has a group.
struct Ask {
    bool every_shard = false;
    base::GroupId group;
    api::Verb verb;
};

class Task {
  public:
    // A response at once, or nothing: make the calls of ask(), hand every answer to take() until it
    // says that it has all, then finish().
    std::optional<Response> begin(const Request& request, const NodeFacts& facts);
    const Ask& ask() const { return ask_; }
    // Nothing is asked of shards: this visit is to be made, its outcome is visit_response's.
    const std::optional<Visit>& visit() const { return visit_; }
    // `answers`: as many as calls are made.
    void expect(std::uint32_t answers) { waiting_ = answers; }
    bool take(api::Answer& answer);
    Response finish(const NodeFacts& facts);

  private:
    enum class Kind : std::uint8_t {
        status,
        health,
        members,
        groups,
        group,
        stream,
        transfer,
        change,
        rotate_key
    };

    std::optional<Response> begin_group(const Request& request, std::string_view rest);
    std::optional<Response> begin_transfer(const Request& request);
    std::optional<Response> begin_change(const Request& request);
    std::optional<Response> begin_visit(const Request& request, bool admits);
    std::optional<Response> begin_rotation(const Request& request);
    void ask_every_shard();

    Kind kind_ = Kind::status;
    std::uint32_t waiting_ = 0;
    Ask ask_;
    std::optional<Visit> visit_;
    std::string stream_;  // its name
    base::NodeId to_;     // of a transfer
    MemberChange change_;
    api::Refused refused_;
    api::InspectReply found_;  // merged, groups in the order of their ids
    api::TransferReply transfer_;
    api::ChangeMemberReply changed_;
    api::SubscriptionAnswer keys_;
};

}  // namespace ursula::admin
