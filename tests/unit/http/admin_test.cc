// The admin plane over HTTP: who may ask what, and how questions go to shards and back.
#include "admin/visit.h"
#include "api/inspect.h"
#include "api/placement.h"
#include "tests/unit/http/edge_server.h"

namespace ursula::http::test {

using Client = test_support::LoopbackClient;

namespace {

std::string get(std::string_view path) {
    return "GET " + std::string(path) + " HTTP/1.1\r\nHost: h\r\n\r\n";
}

std::string post(std::string_view path, std::string_view body, std::string_view headers = {}) {
    return "POST " + std::string(path) + " HTTP/1.1\r\nHost: h\r\n" + std::string(headers) +
           "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + std::string(body);
}

constexpr std::string_view transfer = "/admin/v1/groups/3/transfer";

bool says(const std::string& response, int status, std::string_view code) {
    return response.starts_with("HTTP/1.1 " + std::to_string(status) + " ") &&
           response.find("\"code\":\"" + std::string(code) + "\"") != std::string::npos;
}

bool has(const std::string& response, std::string_view part) {
    return response.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("looking is for every client, on both planes") {
    EdgeServer server;
    server.use_shard();
    for (const std::uint16_t port : {server.port, server.admin_port}) {
        Client client(port);
        const std::string status = server.ask(client, get("/admin/v1/status"));
        CHECK(status.starts_with("HTTP/1.1 200 "));
        CHECK(has(status, "Content-Type: application/json\r\n"));
        CHECK(has(status, "Cache-Control: no-store\r\n"));
        CHECK(has(status, "\"nodes\":[{\"id\":1,\"address\":\"127.0.0.1:4437\","));
        CHECK(has(status, "\"reachable\":true,\"state\":\"ready\",\"leads\":4,"));
        CHECK(has(status, "\"groups\":{\"total\":4,\"leaderless\":0}"));
        CHECK(has(server.ask(client, get("/admin/v1/health")), "\"status\":\"ok\""));
        CHECK(has(server.ask(client, get("/admin/v1/groups")), "\"id\":3,"));
        CHECK(has(server.ask(client, get("/admin/v1/groups/2")), "\"id\":2,"));
        CHECK(says(server.ask(client, get("/admin/v1/groups/4")), 404, "group_not_found"));
        CHECK(says(server.ask(client, get("/admin/v1/groups/")), 404, "group_not_found"));
        CHECK(says(server.ask(client, get("/admin/v1/groups/-1")), 404, "group_not_found"));
        CHECK(says(server.ask(client, get("/admin/v1/groups/1/x")), 404, "no_such_route"));
        CHECK(says(server.ask(client, get("/admin/v1/nothing")), 404, "no_such_route"));
        CHECK(says(server.ask(client, get("/admin/v1/status?x=1")), 400, "bad_query"));
    }
}

TEST_CASE("a stream is found by the names clients use") {
    EdgeServer server;
    server.use_shard();
    Client client(server.port);
    server.ask(client,
               "PUT /v1/stream/a/b HTTP/1.1\r\nHost: h\r\nContent-Type: text/plain\r\n"
               "Content-Length: 5\r\n\r\nhello");
    const std::string shown = server.ask(client, get("/admin/v1/streams/v1/stream/a/b"));
    CHECK(shown.starts_with("HTTP/1.1 200 "));
    CHECK(has(shown, "\"stream\":\"v1/stream/a/b\""));
    CHECK(has(shown, "\"tail\":5,\"next_offset\":\"0000000000000000_0000000000000005\""));
    CHECK(has(shown, "\"leader\":1,"));
    CHECK(has(shown, "\"cold_offset\":0,"));
    CHECK(has(shown, "\"confirmed\":true"));
    // Decoded once, like everywhere.
    CHECK(has(server.ask(client, get("/admin/v1/streams/v1/stream/a%2Fb")), "\"tail\":5,"));
    CHECK(says(server.ask(client, get("/admin/v1/streams/demo/x")), 404, "stream_not_found"));
    for (const char* path : {"demo", "admin/x", "demo//x", "a/b/c/d", ""}) {
        CAPTURE(path);
        CHECK(says(server.ask(client, get("/admin/v1/streams/" + std::string(path))), 400,
                   "not_a_stream"));
    }
    CHECK(says(server.ask(client, get("/admin/v1/streams/v1/stream/__ds/x")), 400, "not_a_stream"));
}

TEST_CASE("changes need the admin plane, and no web page") {
    EdgeServer server;
    Client client(server.port);
    CHECK(says(server.ask(client, post(transfer, "{\"to\":1}")), 403, "admin_only"));
    Client operators(server.admin_port);
    const std::string page =
        server.ask(operators, post(transfer, "{\"to\":1}", "Origin: http://evil.example\r\n"));
    CHECK(says(page, 403, "admin_only"));
    CHECK(!server.has<api::TransferCall>());

    operators.send(post(transfer, "{\"to\":2}"));
    const SentCall call = server.take<api::TransferCall>();
    server.answer(call.id, api::TransferReply{api::TransferReply::Kind::begun, base::NodeId(1),
                                              base::Term(5)});
    const std::string begun = server.receive_until(operators, "}\n");
    CHECK(begun.starts_with("HTTP/1.1 202 "));
    CHECK(has(begun,
              "{\"schema\":1,\"group\":3,\"from\":1,\"to\":2,\"term\":5,"
              "\"state\":\"under_way\"}\n"));
}

TEST_CASE("a change of members goes to the group and comes back in words") {
    constexpr std::string_view path = "/admin/v1/groups/3/members";
    constexpr std::string_view remove = "{\"step\":\"remove\",\"node\":2}";
    EdgeServer server;
    Client client(server.port);
    Client operators(server.admin_port);
    CHECK(says(server.ask(client, post(path, remove)), 403, "admin_only"));
    CHECK(says(server.ask(operators, get(path)), 405, "method_not_allowed"));
    CHECK(says(server.ask(operators, post(path, "{}")), 400, "bad_body"));
    CHECK(!server.has<api::ChangeMemberCall>());

    operators.send(post(path, remove));
    const SentCall call = server.take<api::ChangeMemberCall>();
    CHECK(call.to == api::shard_of(base::GroupId(3), 1));
    server.answer(call.id, api::ChangeMemberReply{true, base::LogIndex(17)});
    const std::string done = server.receive_until(operators, "}\n");
    CHECK(done.starts_with("HTTP/1.1 200 "));
    CHECK(has(done, "{\"schema\":1,\"group\":3,\"node\":2,\"changed\":true,\"index\":17}\n"));

    operators.send(post(path, "{\"step\":\"promote\",\"node\":4}"));
    api::Refused refused{api::Refusal::member_not_caught_up};
    refused.numbers[0] = 12;
    server.answer(server.take<api::ChangeMemberCall>().id, refused);
    const std::string behind = server.receive_until(operators, "}\n");
    CHECK(says(behind, 409, "member_not_caught_up"));
    CHECK(has(behind, "it lacks 12 of"));
}

TEST_CASE("what is read is not for other origins") {
    EdgeServer server;
    server.use_shard();
    Client client(server.port);
    const std::string seen = server.ask(
        client, "GET /admin/v1/health HTTP/1.1\r\nHost: h\r\nOrigin: http://x.example\r\n\r\n");
    CHECK(seen.starts_with("HTTP/1.1 200 "));
    CHECK(!has(seen, "Access-Control-Allow-Origin"));
}

TEST_CASE("bodies that are not {\"to\": NODE}") {
    EdgeServer server;
    Client operators(server.admin_port);
    const std::string deep(50'000, '[');
    for (const std::string& body :
         {std::string(), std::string("{"), std::string("[]"), std::string("{\"to\":0}"),
          std::string("{\"to\":-1}"), std::string("{\"to\":1.5}"), std::string("{\"to\":\"1\"}"),
          std::string("{\"to\":4294967296}"), std::string("{\"to\":99999999999999999999}"),
          std::string("{\"to\":1,\"x\":2}"), std::string("{\"To\":1}"), std::string("{\"to\":1}x"),
          std::string("\xff"), deep}) {
        CAPTURE(body.substr(0, 40));
        CHECK(says(server.ask(operators, post(transfer, body)), 400, "bad_body"));
    }
    const std::string padded =
        std::string(base::limits::admin_body_bytes_max + 1 - 8, ' ') + "{\"to\":1}";
    CHECK(says(server.ask(operators, post(transfer, padded)), 413, "body_too_large"));
    CHECK(!server.has<api::TransferCall>());
    operators.send(post(transfer, padded.substr(1)));
    CHECK(server.take<api::TransferCall>().id != api::CallId{});
}

TEST_CASE("a visit is made by the loop, and its outcome is the response") {
    constexpr std::string_view visit = "/admin/v1/cluster/visit";
    constexpr std::string_view admit = "/admin/v1/cluster/admit";
    using Kind = admin::VisitOutcome::Kind;
    EdgeServer server;
    Client client(server.port);
    Client operators(server.admin_port);
    const std::string there = "{\"address\":\"10.0.0.4:4439\"}";
    CHECK(says(server.ask(client, post(visit, there)), 403, "admin_only"));
    CHECK(says(server.ask(operators, get(visit)), 405, "method_not_allowed"));
    for (const char* body :
         {"", "{}", "[]", "{\"address\":4439}", "{\"address\":\"a\",\"node\":1}"}) {
        CHECK(says(server.ask(operators, post(visit, body)), 400, "bad_body"));
    }
    for (const char* body :
         {"{\"address\":\"a\"}", "{\"address\":\"a\",\"node\":4,\"incarnation\":5}",
          "{\"address\":\"a\",\"node\":0,\"incarnation\":\"5\"}",
          "{\"address\":\"a\",\"node\":70000,\"incarnation\":\"5\"}",
          "{\"address\":\"a\",\"node\":4,\"incarnation\":\"0\"}",
          "{\"address\":\"a\",\"node\":4,\"incarnation\":\"-5\"}",
          "{\"address\":\"a\",\"node\":4,\"incarnation\":\"18446744073709551616\"}",
          "{\"address\":\"a\",\"node\":4,\"incarnation\":\"5\",\"x\":1}"}) {
        CAPTURE(body);
        CHECK(says(server.ask(operators, post(admit, body)), 400, "bad_body"));
    }
    CHECK(server.visits.empty());

    operators.send(post(visit, there));
    server.turn_until([&] { return server.visits.size() == 1; });
    CHECK(server.visits[0].second.address == "10.0.0.4:4439");
    CHECK(!server.visits[0].second.admits);
    admin::VisitOutcome outcome;
    outcome.node = base::NodeId(4);
    outcome.incarnation = 18'446'744'073'709'551'615u;
    outcome.shards = 2;
    outcome.groups = 64;
    server.end_visit(outcome);
    CHECK(has(server.receive_until(operators, "}\n"),
              "{\"schema\":1,\"node\":4,\"incarnation\":\"18446744073709551615\",\"shards\":2,"
              "\"groups\":64,\"stage\":\"none\",\"cluster\":\"\"}\n"));

    const auto answer = [&](Kind kind) {
        operators.send(
            post(admit, "{\"address\":\"10.0.0.4:4439\",\"node\":4,\"incarnation\":\"77\"}"));
        server.turn_until([&] { return server.visits.size() == 1; });
        CHECK(server.visits[0].second.admits);
        CHECK(server.visits[0].second.node == base::NodeId(4));
        CHECK(server.visits[0].second.incarnation == 77);
        outcome.kind = kind;
        outcome.why = "so it is";
        server.end_visit(outcome);
        return server.receive_until(operators, "}\n");
    };
    outcome.stage = admin::VisitOutcome::Stage::formed;
    outcome.cluster = 0xabc;
    CHECK(has(answer(Kind::answered), "\"stage\":\"formed\",\"cluster\":\"0000000000000abc\"}\n"));
    CHECK(says(answer(Kind::alone), 409, "not_clustered"));
    CHECK(says(answer(Kind::bad_address), 400, "bad_address"));
    CHECK(says(answer(Kind::too_many), 503, "too_many_visits"));
    const std::string nobody = answer(Kind::unreachable);
    CHECK(says(nobody, 504, "node_unreachable"));
    CHECK(has(nobody, "No node was reached at 10.0.0.4:4439: so it is"));
    const std::string refused = answer(Kind::refused);
    CHECK(says(refused, 409, "node_refused"));
    CHECK(has(refused, "so it is"));
    CHECK(says(answer(Kind::other_cluster), 409, "other_cluster"));
}

TEST_CASE("methods") {
    EdgeServer server;
    Client operators(server.admin_port);
    const std::string refused = server.ask(operators, get(transfer));
    CHECK(says(refused, 405, "method_not_allowed"));
    CHECK(has(refused, "\r\nAllow: POST\r\n"));
    CHECK(says(server.ask(operators, post("/admin/v1/status", "")), 405, "method_not_allowed"));
    CHECK(says(server.ask(operators, post("/admin/v1/groups/1", "")), 405, "method_not_allowed"));
    server.use_shard();
    const std::string head =
        server.ask(operators, "HEAD /admin/v1/status HTTP/1.1\r\nHost: h\r\n\r\n");
    CHECK(head.starts_with("HTTP/1.1 200 "));
    CHECK(head.ends_with("\r\n\r\n"));
}

TEST_CASE("every shard is asked, and the last answer makes the response") {
    EdgeOptions options = EdgeServer::default_options();
    options.shards = 3;
    options.groups = 6;
    EdgeServer server(options);
    Client client(server.port);
    client.send(get("/admin/v1/groups"));
    std::vector<SentCall> calls;
    for (int i = 0; i < 3; ++i) {
        calls.push_back(server.take<api::InspectCall>());
    }
    for (const SentCall& call : calls) {
        CHECK(client.receive().empty());
        api::InspectReply reply;
        for (std::uint32_t group = call.to.value; group < 6; group += 3) {
            api::GroupView view;
            view.group = base::GroupId(group);
            reply.groups.push_back(view);
        }
        server.answer(call.id, reply);
        server.turns(3);
    }
    const std::string response = server.receive_until(client, "}\n");
    std::size_t at = 0;
    for (int group = 0; group < 6; ++group) {
        at = response.find("{\"id\":" + std::to_string(group) + ",", at);
        CHECK(at != std::string::npos);
    }
}

TEST_CASE("one shard whose mailbox is full refuses the whole, and late answers find nobody") {
    EdgeOptions options = EdgeServer::default_options();
    options.shards = 2;
    EdgeServer server(options);
    Client client(server.port);
    server.send_before_refusing = 1;
    server.refuse_sends = 1;
    const std::string response = server.ask(client, get("/admin/v1/status"));
    CHECK(says(response, 503, "overloaded"));
    const SentCall late = server.take<api::InspectCall>();
    server.answer(late.id, api::InspectReply{});
    server.turns(3);
    CHECK(client.receive().empty());
}

TEST_CASE("a group that cannot confirm now is 503, to be asked again") {
    EdgeServer server;
    Client client(server.port);
    client.send(get("/admin/v1/streams/demo/x"));
    const SentCall call = server.take<api::InspectCall>();
    CHECK(call.name == "demo/x");
    CHECK(call.to == api::shard_of(api::group_of("demo/x", 4), 1));
    server.answer(call.id, api::Refused{api::Refusal::overloaded});
    const std::string response = server.receive_until(client, "}\n");
    CHECK(says(response, 503, "not_now"));
    CHECK(has(response, "Retry-After"));
}

TEST_CASE("while shards read their logs none is asked") {
    EdgeServer server;
    server.facts.started = false;
    server.facts.health.recovered = false;
    Client client(server.admin_port);
    const std::string status = server.ask(client, get("/admin/v1/status"));
    CHECK(has(status, "\"state\":\"starting\""));
    CHECK(has(status, "\"health\":\"down\""));
    CHECK(has(status, "\"leaderless\":4"));
    CHECK(has(server.ask(client, get("/admin/v1/health")), "\"status\":\"down\""));
    CHECK(says(server.ask(client, get("/admin/v1/groups")), 503, "starting"));
    CHECK(says(server.ask(client, get("/admin/v1/streams/demo/x")), 503, "starting"));
    CHECK(says(server.ask(client, post(transfer, "{\"to\":1}")), 503, "starting"));
    CHECK(says(server.ask(client, get("/demo/x")), 503, "starting"));
    CHECK(says(server.ask(client, get("/demo")), 503, "starting"));
    CHECK(has(server.ask(client, get("/livez")), " 200 "));
    CHECK(server.sent.empty());
}

TEST_CASE("the admin plane serves data too, once the node is ready") {
    EdgeServer server;
    server.use_shard();
    Client client(server.admin_port);
    const std::string made =
        server.ask(client, "PUT /v1/stream/x HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi");
    CHECK(made.starts_with("HTTP/1.1 201 "));
    CHECK(server.ask(client, get("/v1/stream/x")).ends_with("\r\n\r\nhi"));
}

TEST_CASE("the plane's other names stay the server's own") {
    EdgeServer server;
    Client client(server.port);
    CHECK(says(server.ask(client, get("/admin")), 404, "reserved_name"));
    CHECK(says(server.ask(client, get("/Admin/v1/status")), 404, "reserved_name"));
    CHECK(says(server.ask(client, get("/admin/")), 404, "no_such_route"));
    CHECK(says(server.ask(client, post("/admin/x", "")), 404, "no_such_route"));
}

TEST_CASE("operators are let in when clients have taken every connection") {
    base::Capacity clients(1);
    base::Capacity operators(1);
    net::TransportOptions transport;
    transport.connections = &clients;
    transport.admin_connections = &operators;
    EdgeServer server(EdgeServer::default_options(), transport);
    server.use_shard();
    Client first(server.port);
    CHECK(has(server.ask(first, get("/livez")), " 200 "));
    Client second(server.port);
    CHECK(has(server.receive_until(second, "}\n"), "too_many_connections"));
    {
        Client operator_one(server.admin_port);
        CHECK(has(server.ask(operator_one, get("/admin/v1/health")), " 200 "));
        Client operator_two(server.admin_port);
        CHECK(has(server.receive_until(operator_two, "}\n"), "too_many_connections"));
    }
    server.turn_until([&] { return operators.left() == 1; });
    Client again(server.admin_port);
    CHECK(has(server.ask(again, get("/admin/v1/health")), " 200 "));
    CHECK(clients.left() == 0);
}

}  // namespace ursula::http::test
