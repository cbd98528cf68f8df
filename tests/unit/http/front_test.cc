// Connections to calls: order, bodies, refusals, the end of a connection.
#include "http/front.h"

#include "api/placement.h"
#include "tests/unit/http/edge_server.h"

namespace ursula::http::test {

using Client = test_support::LoopbackClient;
namespace limits = base::limits;

namespace {

constexpr std::string_view text_type = "Content-Type: text/plain\r\n";

std::string head(std::string_view method, std::string_view path, std::string_view headers = {}) {
    std::string text(method);
    text.append(" ").append(path).append(" HTTP/1.1\r\nHost: h\r\n").append(headers);
    return text += "\r\n";
}

std::string with_length(std::size_t size, std::string_view headers = text_type) {
    std::string text(headers);
    return text.append("Content-Length: ").append(std::to_string(size)).append("\r\n");
}

std::string append_to(std::string_view stream, std::string_view body,
                      std::string_view headers = text_type) {
    const std::string path = "/v1/stream/" + std::string(stream);
    return head("POST", path, with_length(body.size(), headers)) + std::string(body);
}

void accept_append(EdgeServer& server, const SentCall& call, std::uint64_t tail) {
    api::AppendReply reply;
    reply.tail = tail;
    server.answer(call.id, reply);
}

bool says(const std::string& response, int status, std::string_view code) {
    return response.starts_with("HTTP/1.1 " + std::to_string(status) + " ") &&
           response.find("\"code\":\"" + std::string(code) + "\"") != std::string::npos;
}

// Two streams of one shard in different groups.
std::pair<std::string, std::string> streams_of_two_groups(const EdgeServer& server) {
    const auto group = [&](const std::string& name) {
        return api::group_of("v1/" + name, server.default_options().groups);
    };
    for (int i = 0;; ++i) {
        const std::string other = "s" + std::to_string(i);
        if (group(other) != group("s")) {
            return {"s", other};
        }
    }
}

// The header lines of a response, without Content-Length.
std::string headers_of(const std::string& response) {
    std::string lines = response.substr(0, response.find("\r\n\r\n") + 2);
    const std::size_t at = lines.find("Content-Length:");
    return lines.erase(at, lines.find("\r\n", at) + 2 - at);
}

}  // namespace

TEST_CASE("appends of a connection overtake each other in no way") {
    EdgeServer server;
    const auto [one, other] = streams_of_two_groups(server);
    Client client(server.port);
    client.send(append_to(one, "1") + append_to(one, "2") + append_to(other, "3") +
                append_to(other, "4") + append_to(one, "5"));
    const SentCall first = server.take<api::AppendCall>();
    const SentCall second = server.take<api::AppendCall>();
    CHECK(first.body == "1");
    CHECK(second.body == "2");
    server.turns(5);
    CHECK(!server.has<api::AppendCall>());  // another group: its log could be quicker
    accept_append(server, second, 2);
    server.turns(3);
    CHECK(!server.has<api::AppendCall>());
    CHECK(client.receive().empty());  // answers leave in order, too
    accept_append(server, first, 1);
    const SentCall third = server.take<api::AppendCall>();
    const SentCall fourth = server.take<api::AppendCall>();
    CHECK(third.body == "3");
    CHECK(third.name == "v1/" + other);
    CHECK(fourth.body == "4");
    server.turns(3);
    CHECK(!server.has<api::AppendCall>());
    accept_append(server, third, 1);
    accept_append(server, fourth, 2);
    accept_append(server, server.take<api::AppendCall>(), 3);
    std::string got = server.receive_until(client, "0000000000000003\r\n\r\n");
    std::size_t at = 0;
    for (const std::string_view tail : {"1", "2", "1", "2", "3"}) {
        at = got.find("000000000000000" + std::string(tail) + "\r\n\r\n", at);
        REQUIRE(at != std::string::npos);
        ++at;
    }
}

TEST_CASE("a live reader with half a body behind it: the connection ends with the reader") {
    for (const bool finishes : {false, true}) {
        CAPTURE(finishes);
        EdgeServer server;
        Client client(server.port);
        client.send(head("GET", "/v1/stream/s?offset=-1&live=sse") +
                    head("POST", "/v1/stream/s", with_length(100)) + "x");
        api::CallId watch;
        go_live(server, 0, &watch);
        if (finishes) {
            client.finish_sending();
        }
        server.pass(base::seconds(61));  // the body's deadline
        server.answer(watch, post(0, "still served"));
        CHECK(server.receive_until(client, "still served").starts_with("HTTP/1.1 200 "));
        CHECK(!client.over);
        server.answer(watch, post(12, "", true));
        server.receive_until(client, "0\r\n\r\n");
        server.turn_until([&] { return client.receive().empty() && client.over; });
        CHECK(!server.has<api::AppendCall>());
        client.close();
        server.turn_until([&] { return server.transport().counters().open == 0; });
        CHECK(server.front().drained());
    }
}

TEST_CASE("a body behind a live reader that does not read is neither torn nor lost") {
    for (const bool chunked : {false, true}) {
        CAPTURE(chunked);
        EdgeServer server;
        Client client(server.port, 8192);
        client.send(head("GET", "/v1/stream/s?offset=-1&live=sse") +
                    head("POST", "/v1/stream/s",
                         chunked ? "Content-Type: text/plain\r\nTransfer-Encoding: chunked\r\n"
                                 : with_length(10)) +
                    (chunked ? "a\r\n01234" : "01234"));
        api::CallId watch;
        go_live(server, 0, &watch);
        const std::string event(64 << 10, 'e');
        std::uint64_t tail = 0;
        while (server.front().counters().sse_slow == 0) {
            REQUIRE(tail < (64u << 20));
            server.answer(watch, post(tail, event));
            tail += event.size();
            server.turn();
        }
        client.send("567");
        server.turns(3);
        const std::string next = append_to("s", "next");
        client.send((chunked ? "89\r\n0\r\n\r\n" : "89") + next.substr(0, 30));
        server.turns(3);
        client.send(next.substr(30));
        server.turns(3);
        CHECK(!server.has<api::AppendCall>());
        // It reads: the paused reader goes on by a read, which finds the end.
        std::string got;
        server.turn_until([&] {
            got += client.receive();
            return server.has<api::ReadCall>();
        });
        server.answer(server.take<api::ReadCall>().id, read_reply(tail, "", true, true));
        server.turn_until([&] {
            got += client.receive();
            return got.ends_with("0\r\n\r\n");
        });
        const SentCall first = server.take<api::AppendCall>();
        CHECK(first.body == "0123456789");
        accept_append(server, first, 10);
        const SentCall second = server.take<api::AppendCall>();
        CHECK(second.body == "next");
        accept_append(server, second, 14);
        server.receive_until(client, "0000000000000014");
    }
}

TEST_CASE("half a body alone is answered with 408") {
    EdgeServer server;
    Client client(server.port);
    client.send(head("POST", "/v1/stream/s", with_length(100)) + "x");
    server.turns(3);
    server.pass(base::seconds(61));
    CHECK(says(server.receive_until(client, "request_id"), 408, "request_timeout"));
    server.turn_until([&] { return client.receive().empty() && client.over; });
}

TEST_CASE("a body that hardly comes behind a live reader is ended under pressure") {
    EdgeOptions options = EdgeServer::default_options();
    base::Capacity connections(2);
    CHECK(connections.take(2));
    options.connections = &connections;
    EdgeServer server(options);
    Client client(server.port);
    client.send(head("GET", "/v1/stream/s?offset=-1&live=sse") +
                head("POST", "/v1/stream/s", with_length(100)) + "x");
    api::CallId watch;
    go_live(server, 0, &watch);
    for (int i = 0; i < 4; ++i) {
        server.pass(base::seconds(5));
        client.send("y");
        server.turns(2);
    }
    CHECK(server.front().counters().bodies_too_slow == 1);
    server.answer(watch, removed());
    server.receive_until(client, "0\r\n\r\n");
    server.turn_until([&] { return client.receive().empty() && client.over; });
}

TEST_CASE("unfinished bodies: at the bound, one above, ten times") {
    EdgeOptions options = EdgeServer::default_options();
    options.bodies_in_flight_bytes_max = 1000;
    EdgeServer server(options);
    Client large(server.port);
    Client small(server.port);
    large.send(head("POST", "/v1/stream/s", with_length(600)) + "x");
    small.send(head("PUT", "/v1/stream/t", with_length(400)));
    server.turns(5);
    CHECK(server.front().counters().bodies_refused == 0);
    // A body is counted by what was announced, not by what has come.
    for (const std::size_t size : {1u, 400u, 10'000u}) {
        CAPTURE(size);
        Client more(server.port);
        more.send(head("POST", "/v1/stream/s", with_length(size)));
        const std::string refused = server.receive_until(more, "request_id");
        CHECK(says(refused, 503, "too_many_bodies"));
        CHECK(refused.find("Retry-After: 1\r\n") != std::string::npos);
        CHECK(refused.find("Connection: close\r\n") != std::string::npos);
        server.turn_until([&] { return more.receive().empty() && more.over; });
    }
    {
        Client chunked(server.port);
        chunked.send(head("POST", "/v1/stream/s",
                          "Content-Type: text/plain\r\nTransfer-Encoding: chunked\r\n") +
                     "1\r\nx\r\n");
        CHECK(says(server.receive_until(chunked, "request_id"), 503, "too_many_bodies"));
    }
    CHECK(server.front().counters().bodies_refused == 4);
    // What takes no room is served: a request that came whole, a body that is dropped.
    Client other(server.port);
    other.send(append_to("s", "whole"));
    accept_append(server, server.take<api::AppendCall>(), 5);
    server.receive_until(other, " 204 ");
    other.send(head("GET", "/livez", "Content-Length: 5000\r\n"));
    server.turns(3);
    other.send(std::string(5000, 'z'));
    server.receive_until(other, " 200 ");
    // The announced ones come to their end, and their room is free again.
    large.send(std::string(599, 'x'));
    const SentCall append = server.take<api::AppendCall>();
    CHECK(append.body == std::string(600, 'x'));
    accept_append(server, append, 600);
    server.receive_until(large, " 204 ");
    small.reset();
    server.turn_until([&] { return server.transport().counters().open == 2; });
    large.send(head("POST", "/v1/stream/s", with_length(1000)));
    server.turns(5);
    CHECK(large.receive().empty());
    CHECK(server.front().counters().bodies_refused == 4);
}

TEST_CASE("a chunked body is counted as it grows") {
    EdgeOptions options = EdgeServer::default_options();
    options.bodies_in_flight_bytes_max = 1000;
    EdgeServer server(options);
    const std::string begin =
        head("POST", "/v1/stream/s", "Content-Type: text/plain\r\nTransfer-Encoding: chunked\r\n");
    Client one(server.port);
    Client two(server.port);
    one.send(begin + "258\r\n" + std::string(600, 'x') + "\r\n");
    two.send(begin + "190\r\n" + std::string(400, 'y') + "\r\n");
    server.turns(5);
    CHECK(server.front().counters().bodies_refused == 0);
    two.send("1\r\ny\r\n");
    CHECK(says(server.receive_until(two, "request_id"), 503, "too_many_bodies"));
    one.send("2\r\nzz\r\n0\r\n\r\n");
    CHECK(server.take<api::AppendCall>().body.size() == 602);
}

TEST_CASE("a bucket is looked for before its streams are") {
    EdgeOptions options = EdgeServer::default_options();
    options.shards = 2;
    EdgeServer server(options);
    Client client(server.port);
    client.send(head("GET", "/demo?prefix=a%20b&after=c&limit=3"));
    const SentCall resolve = server.take<api::ResolveBucketCall>();
    CHECK(resolve.name == "demo");
    server.turns(3);
    CHECK(!server.has<api::ListStreamsCall>());
    server.answer(resolve.id, api::BucketReply{false, 7});
    for (std::uint32_t shard = 0; shard < 2; ++shard) {
        const SentCall list = server.take<api::ListStreamsCall>();
        CHECK(list.to == base::ShardId(shard));
        CHECK(list.name == "demo");
        CHECK(list.body == "a b|c");
        CHECK(std::get<api::ListStreamsCall>(list.verb).count_max == 3);
        api::ListReply names;
        names.names = shard == 0 ? "b\nd" : "a\nc";
        server.answer(list.id, names);
    }
    CHECK(server.receive_until(client, "}\n")
              .ends_with("\r\n\r\n{\"streams\":[\"a\",\"b\",\"c\"],\"after\":\"c\"}\n"));
    client.send(head("HEAD", "/gone"));
    server.answer(server.take<api::ResolveBucketCall>().id,
                  api::Refused{api::Refusal::bucket_not_found});
    CHECK(server.receive_until(client, "\r\n\r\n").starts_with("HTTP/1.1 404 "));
    client.send(head("GET", "/full"));
    server.answer(server.take<api::ResolveBucketCall>().id, api::BucketReply{false, 8});
    server.send_before_refusing = 1;
    server.refuse_sends = 1;
    CHECK(says(server.receive_until(client, "request_id"), 503, "overloaded"));
}

TEST_CASE("buckets are listed in pages, by prefix") {
    EdgeServer server;
    Client client(server.port);
    const auto list = [&](std::string_view query) {
        client.send(head("GET", "/" + std::string(query), "Accept: application/json\r\n"));
        api::ListReply names;
        names.names = "b\na2\nab\na1\nc";
        server.answer(server.take<api::ListBucketsCall>().id, names);
        const std::string got = server.receive_until(client, "}\n");
        return got.substr(got.find("\r\n\r\n") + 4);
    };
    CHECK(list("") == "{\"buckets\":[\"a1\",\"a2\",\"ab\",\"b\",\"c\"]}\n");
    CHECK(list("?limit=2") == "{\"buckets\":[\"a1\",\"a2\"],\"after\":\"a2\"}\n");
    CHECK(list("?limit=2&after=a2") == "{\"buckets\":[\"ab\",\"b\"],\"after\":\"b\"}\n");
    CHECK(list("?limit=2&after=b") == "{\"buckets\":[\"c\"]}\n");
    CHECK(list("?prefix=a&limit=3") == "{\"buckets\":[\"a1\",\"a2\",\"ab\"]}\n");
    CHECK(list("?prefix=a&after=a1&limit=1") == "{\"buckets\":[\"a2\"],\"after\":\"a2\"}\n");
    CHECK(list("?prefix=d") == "{\"buckets\":[]}\n");
    CHECK(says(server.ask(client, head("GET", "/?limit=0", "Accept: application/json\r\n")), 400,
               "bad_limit"));
}

TEST_CASE("an append of another Content-Type is told both") {
    EdgeServer server;
    Client client(server.port);
    const auto append = [&] {
        client.send(append_to("s", "x"));
        const SentCall call = server.take<api::AppendCall>();
        server.answer(call.id, api::Refused{api::Refusal::content_type_mismatch});
    };
    append();
    SentCall asked = server.take<api::HeadCall>();
    CHECK(asked.name == "v1/s");
    api::HeadReply reply;
    reply.content_type = slice_of("application/json; charset=\"x\"");
    server.answer(asked.id, reply);
    const std::string got = server.receive_until(client, "request_id");
    CHECK(says(got, 409, "content_type_mismatch"));
    CHECK(got.find("the stream has application/json; charset=\\\"x\\\", the append text/plain") !=
          std::string::npos);
    // The stream has gone meanwhile: the append was refused all the same.
    append();
    server.answer(server.take<api::HeadCall>().id, api::Refused{api::Refusal::stream_not_found});
    CHECK(says(server.receive_until(client, "request_id"), 409, "content_type_mismatch"));
}

TEST_CASE("the refusal over the connection limit looks like any other") {
    net::TransportOptions transport = EdgeServer::default_transport();
    base::Capacity one(1);
    transport.connections = &one;
    EdgeServer server(EdgeServer::default_options(), transport);
    Client client(server.port);
    server.refuse_sends = 1;
    const std::string other = server.ask(client, head("GET", "/v1/stream/s"));
    CHECK(says(other, 503, "overloaded"));
    Client refused(server.port);
    const std::string got = server.receive_until(refused, "request_id");
    CHECK(says(got, 503, "too_many_connections"));
    std::string expected = headers_of(other);
    // Before there is a request nobody has an id to give.
    const std::size_t id = expected.find("X-Request-Id: ");
    REQUIRE(id != std::string::npos);
    expected.replace(id + 14, 16, std::string(16, '0'));
    expected.insert(expected.find("Content-Type:"), "Connection: close\r\n");
    // It is written where no turn's clock is at hand; a 5xx may be without a date.
    const std::size_t date = expected.find("Date: ");
    REQUIRE(date != std::string::npos);
    expected.erase(date, expected.find("\r\n", date) + 2 - date);
    CHECK(headers_of(got) == expected);
    const std::size_t body = got.find("\r\n\r\n") + 4;
    CHECK(got.find("Content-Length: " + std::to_string(got.size() - body) + "\r\n") !=
          std::string::npos);
    for (const std::string_view field : {"\"title\":\"", "\"hint\":\"", "\"request_id\":\""}) {
        CHECK(got.find(field, body) != std::string::npos);
    }
}

TEST_CASE("Location begins with the public URL, when there is one") {
    EdgeOptions options = EdgeServer::default_options();
    for (const std::string_view url : {"", "https://public.example:8443"}) {
        options.public_url = url;
        EdgeServer server(options);
        Client client(server.port);
        client.send(head("PUT", "/v1/stream/a%20b", text_type));
        api::CreateReply created;
        created.created = true;
        created.content_type = slice_of("text/plain");
        server.answer(server.take<api::CreateCall>().id, created);
        const std::string base(url.empty() ? std::string_view("http://h") : url);
        CHECK(server.receive_until(client, "\r\n\r\n")
                  .find("\r\nLocation: " + base + "/v1/stream/a%20b\r\n") != std::string::npos);
    }
}

TEST_CASE("JSON reads vary by Accept, beside a list of origins") {
    EdgeOptions options = EdgeServer::default_options();
    options.cors_origins = {"http://page.example"};
    EdgeServer server(options);
    Client client(server.port);
    for (const bool json : {true, false}) {
        client.send(head("GET", "/v1/stream/j?offset=-1"));
        api::ReadReply reply = read_reply(0, "1,");
        reply.json = json;
        server.answer(server.take<api::ReadCall>().id, reply);
        const std::string got = server.receive_until(client, "\r\n\r\n");
        CHECK(got.find("\r\nVary: Origin\r\n") != std::string::npos);
        CHECK((got.find("\r\nVary: Accept, Accept-Encoding\r\n") != std::string::npos) == json);
    }
}

TEST_CASE("lengths that the protocol bounds: at, one above, ten times") {
    EdgeServer server;
    Client client(server.port);
    struct Bounded {
        std::string_view what;
        std::size_t max;
        std::string_view code;
        std::string (*request)(std::size_t size);
    };
    const Bounded bounds[] = {
        {"Content-Type of an append", limits::content_type_bytes_max, "header_too_long",
         [](std::size_t size) {
             return append_to("s", "x", "Content-Type: a/" + std::string(size - 2, 'b') + "\r\n");
         }},
        {"Content-Type of a create", limits::content_type_bytes_max, "header_too_long",
         [](std::size_t size) {
             return head("PUT", "/v1/stream/s",
                         "Content-Type: a/" + std::string(size - 2, 'b') + "\r\n");
         }},
        {"Stream-Seq", limits::stream_seq_bytes_max, "header_too_long",
         [](std::size_t size) {
             return append_to(
                 "s", "x",
                 std::string(text_type) + "Stream-Seq: " + std::string(size, '1') + "\r\n");
         }},
        {"Producer-Id", limits::producer_id_bytes_max, "producer_id",
         [](std::size_t size) {
             return append_to("s", "x",
                              std::string(text_type) + "Producer-Epoch: 0\r\nProducer-Seq: 0\r\n" +
                                  "Producer-Id: " + std::string(size, 'p') + "\r\n");
         }},
        {"a name under /v1/stream", limits::path_bytes_max, "name_too_long",
         [](std::size_t size) { return append_to(std::string(size, 'n'), "x"); }},
        {"an escaped name under /v1/stream", limits::path_bytes_max, "name_too_long",
         [](std::size_t size) {
             std::string name;
             for (std::size_t i = 0; i < std::min<std::size_t>(size, 2000); ++i) {
                 name += "%6e";
             }
             return append_to(name, "x");
         }},
        {"a name in a bucket", limits::path_bytes_max, "name_too_long",
         [](std::size_t size) {
             return head("POST", "/demo/a/" + std::string(size - 2, 'n'), with_length(1)) + "x";
         }},
        {"a bucket", limits::bucket_name_bytes_max, "bad_bucket_name",
         [](std::size_t size) {
             return head("POST", "/" + std::string(size, 'b') + "/s", with_length(1)) + "x";
         }},
    };
    for (const Bounded& bound : bounds) {
        CAPTURE(bound.what);
        client.send(bound.request(bound.max));
        server.turn_until([&] { return !server.sent.empty(); });
        server.answer(server.sent.front().id, api::Refused{api::Refusal::empty_append});
        server.sent.clear();
        CHECK(says(server.receive_until(client, "request_id"), 400, "empty_append"));
        for (const std::size_t size :
             {bound.max + 1, bound.max * 10 > 7000 ? 7000 : bound.max * 10}) {
            CHECK(says(server.ask(client, bound.request(size)), 400, bound.code));
        }
    }
    CHECK(says(server.ask(client, append_to("s", "x",
                                            std::string(text_type) +
                                                "Producer-Epoch: 0\r\nProducer-Seq: 0\r\n"
                                                "Producer-Id:\r\n")),
               400, "producer_id"));
    CHECK(server.sent.empty());
}

TEST_CASE("probes say no with 503") {
    EdgeServer server;
    Client client(server.port);
    server.is_live = server.is_ready = false;
    for (const std::string_view path : {"/livez", "/readyz"}) {
        const std::string got = server.ask(client, head("GET", path));
        CHECK(got.starts_with("HTTP/1.1 503 "));
        CHECK(got.find("Content-Type: application/json\r\n") != std::string::npos);
        CHECK(got.ends_with("{\"status\":\"unavailable\"}\n"));
    }
}

TEST_CASE("Prefer: redirect sends a write to the leader's URL, when there is one") {
    EdgeServer server;
    api::Refused elsewhere{api::Refusal::not_leader};
    elsewhere.numbers[0] = 2;
    constexpr std::string_view prefer =
        "Content-Type: text/plain\r\nPrefer: respond-async\r\nprefer: wait=5 , Redirect;x=1\r\n";

    // Without URLs nobody is sent anywhere: the shard passes the call on.
    Client client(server.port);
    client.send(append_to("s", "x", prefer));
    SentCall call = server.take<api::AppendCall>();
    CHECK(!call.redirect);
    accept_append(server, call, 1);
    server.receive_until(client, "\r\n\r\n");

    server.options().client_urls = {{base::NodeId(1), "http://one:4437"},
                                    {base::NodeId(2), "https://two"}};
    client.send(append_to("s", "x"));
    call = server.take<api::AppendCall>();
    CHECK(!call.redirect);
    accept_append(server, call, 2);
    server.receive_until(client, "\r\n\r\n");

    const std::string target = "/v1/stream/a%20b?x=%2F";
    client.send(head("POST", target, with_length(1, prefer)) + "x");
    call = server.take<api::AppendCall>();
    CHECK(call.redirect);
    CHECK(call.name == "v1/a b");
    server.answer(call.id, elsewhere);
    std::string response = server.receive_until(client, "request_id");
    CHECK(says(response, 307, "not_leader"));
    CHECK(response.find("\r\nLocation: https://two" + target + "\r\n") != std::string::npos);
    CHECK(response.find("Retry-After") == std::string::npos);

    // Other writes too; a node that is not in the list is a refusal.
    for (const std::string_view method : {"PUT", "DELETE"}) {
        client.send(head(method, "/v1/stream/s", "Prefer: redirect\r\n"));
        server.turn_until([&server] { return !server.sent.empty(); });
        call = server.sent.front();
        server.sent.pop_front();
        CHECK(call.redirect);
        elsewhere.numbers[0] = method == "PUT" ? 1 : 3;
        server.answer(call.id, elsewhere);
        response = server.receive_until(client, "request_id");
        if (method == "PUT") {
            CHECK(says(response, 307, "not_leader"));
            CHECK(response.find("\r\nLocation: http://one:4437/v1/stream/s\r\n") !=
                  std::string::npos);
        } else {
            CHECK(says(response, 503, "not_leader"));
            CHECK(response.find("\r\nRetry-After: ") != std::string::npos);
        }
    }
    client.send(head("PUT", "/bucket", "Prefer: redirect\r\n"));
    CHECK(server.take<api::CreateBucketCall>().redirect);

    // Reads are served where they are asked.
    Client reader(server.port);
    reader.send(head("GET", "/v1/stream/s", "Prefer: redirect\r\n"));
    CHECK(!server.take<api::ReadCall>().redirect);
}

TEST_CASE("what clients asked for alone and do not take has a bound; who takes nothing loses it") {
    EdgeOptions options = EdgeServer::default_options();
    options.read_held_bytes_max = 1'000'000;
    EdgeServer server(options);
    const EdgeCounters& counters = server.front().counters();
    const auto read = [&](Client& client, std::size_t bytes, std::string_view mode = "") {
        client.send(head("GET", "/v1/stream/s?offset=-1" + std::string(mode)));
        server.answer(server.take<api::ReadCall>().id, read_reply(0, std::string(bytes, 'r')));
        server.turns(3);
    };
    constexpr std::size_t large = 6 << 20;  // more than a socket takes
    // The first is above the bound, and served all the same.
    Client deaf(server.port, 4096);
    read(deaf, large);
    Client other(server.port);
    for (const std::string_view mode : {"", "&live=long-poll"}) {
        CAPTURE(mode);
        read(other, large, mode);
        const std::string got = server.receive_until(other, "request_id");
        CHECK(says(got, 503, "reads_not_taken"));
        CHECK(got.find("\r\nRetry-After: 1\r\n") != std::string::npos);
    }
    CHECK(counters.reads_refused == 2);
    // What is small, and what others hold too, is not asked.
    read(other, limits::read_held_bytes_min - 1);
    CHECK(server.receive_until(other, "rrr").starts_with("HTTP/1.1 200 "));
    Client third(server.port);
    const base::Slice shared = slice_of(std::string(large, 'h'));
    third.send(head("GET", "/v1/stream/s?offset=-1"));
    api::ReadReply hot = read_reply(0, "x");
    hot.pieces = {shared};
    hot.next = large;
    server.answer(server.take<api::ReadCall>().id, hot);
    CHECK(server.receive_until(third, "hhh").starts_with("HTTP/1.1 200 "));
    // Nothing was taken for so long: its room is the next one's.
    server.pass(base::milliseconds(limits::read_stall_ms + 100));
    Client next(server.port);
    next.send(head("GET", "/v1/stream/s?offset=-1"));
    server.answer(server.take<api::ReadCall>().id, read_reply(0, std::string(large, 'n')));
    const std::string begin = server.receive_until(next, "nnn");
    CHECK(begin.starts_with("HTTP/1.1 200 "));
    server.turns(5);
    CHECK(counters.reads_refused == 2);
    std::size_t got_by_deaf = 0;
    server.turn_until([&] {
        got_by_deaf += deaf.receive().size();
        return deaf.over || deaf.error != 0;
    });
    CHECK(got_by_deaf < large);
    // One that takes all gives its room back.
    std::size_t taken = begin.size();
    server.turn_until([&] {
        taken += next.receive().size();
        return taken > large;
    });
    read(next, large);
    CHECK(counters.reads_refused == 2);
}

TEST_CASE("a group without a leader is 503 with Retry-After, an unknown outcome 500 without") {
    EdgeServer server;
    Client client(server.port);
    client.send(append_to("s", "x"));
    server.answer(server.take<api::AppendCall>().id, api::Refused{api::Refusal::no_leader});
    std::string response = server.receive_until(client, "request_id");
    CHECK(says(response, 503, "no_leader"));
    CHECK(response.find("\r\nRetry-After: ") != std::string::npos);
    client.send(append_to("s", "x"));
    server.answer(server.take<api::AppendCall>().id, api::Refused{api::Refusal::outcome_unknown});
    response = server.receive_until(client, "request_id");
    CHECK(says(response, 500, "outcome_unknown"));
    CHECK(response.find("Retry-After") == std::string::npos);
}

}  // namespace ursula::http::test
