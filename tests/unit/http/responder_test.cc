// Responder alone: responses kept aside, as of a request behind an unanswered one, are looked at.
#include "http/responder.h"

#include <unistd.h>

#include "base/log.h"
#include "base/random.h"
#include "tests/unit/http/edge_server.h"

namespace ursula::http::test {

namespace {

class Responses {
  public:
    explicit Responses(std::vector<std::string> origins = {"*"})
        : options_(EdgeServer::default_options()) {
        options_.cors_origins = std::move(origins);
        responder_.options_changed();
    }
    // What `write` made of an exchange that `prepare` saw.
    template <class Prepare, class Write>
    std::string of(const Prepare& prepare, const Write& write) {
        Exchange& exchange = exchanges_.take();
        exchange.connection = {0, 1};
        exchange.held_aside = true;
        exchange.host = "h";
        exchange.path = "/demo/s";
        prepare(exchange);
        write(exchange);
        CHECK(exchange.done);
        REQUIRE(responder_.ended() == std::vector<std::uint32_t>{exchange.index});
        responder_.ended().clear();
        keep_alive = exchange.keep_alive;
        const std::vector<std::byte> bytes = exchange.held->flat();
        std::string text(base::as_text(base::Bytes(bytes)));
        exchanges_.give(exchange);
        return text;
    }
    template <class Write>
    std::string of(const Write& write) {
        return of([](Exchange&) {}, write);
    }
    Responder& responder() { return responder_; }
    const EdgeCounters& counters() const { return counters_; }
    bool keep_alive = true;

  private:
    EdgeServer server_;
    EdgeOptions options_;
    EdgeCounters counters_;
    Exchanges exchanges_;
    Responder responder_{options_, server_.transport(), counters_, base::WallTime{784'111'777'999}};
};

std::size_t count(const std::string& text, std::string_view part) {
    std::size_t found = 0;
    for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
        ++found;
    }
    return found;
}

}  // namespace

TEST_CASE("the short way of an accepted append says what the long one says") {
    Responses responses;
    const auto accepted = [&](Exchange& exchange) {
        responses.responder().append_accepted(exchange, 1234567890123456);
    };
    CHECK(responses.of(accepted) ==
          "HTTP/1.1 204 No Content\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
          "X-Content-Type-Options: nosniff\r\nCross-Origin-Resource-Policy: cross-origin\r\n"
          "Stream-Next-Offset: 0000000000000000_1234567890123456\r\n\r\n");
    const std::string closing =
        responses.of([](Exchange& exchange) { exchange.keep_alive = false; }, accepted);
    CHECK(closing ==
          "HTTP/1.1 204 No Content\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
          "X-Content-Type-Options: nosniff\r\nCross-Origin-Resource-Policy: "
          "cross-origin\r\nConnection: close\r\n"
          "Stream-Next-Offset: 0000000000000000_1234567890123456\r\n\r\n");
    CHECK(responses.counters().responses[6][2] == 2);
}

TEST_CASE("Date: the second of the turn, in every response") {
    Responses responses;
    const auto both_say = [&](std::int64_t ms, const std::string& date) {
        responses.responder().set_time(base::WallTime{ms});
        const std::string line = "\r\nDate: " + date + "\r\n";
        const std::string accepted = responses.of(
            [&](Exchange& exchange) { responses.responder().append_accepted(exchange, 5); });
        CHECK(count(accepted, line) == 1);
        CHECK(count(accepted, "Date:") == 1);
        const std::string refused = responses.of([&](Exchange& exchange) {
            responses.responder().problem(exchange, bad_request("a", "b", "c"));
        });
        CHECK(count(refused, line) == 1);
        CHECK(count(refused, "Date:") == 1);
    };
    both_say(784'111'777'999, "Sun, 06 Nov 1994 08:49:37 GMT");
    both_say(784'111'778'000, "Sun, 06 Nov 1994 08:49:38 GMT");
    both_say(784'111'778'999, "Sun, 06 Nov 1994 08:49:38 GMT");
    both_say(784'111'777'999, "Sun, 06 Nov 1994 08:49:37 GMT");  // set back
    both_say(-1, "Wed, 31 Dec 1969 23:59:59 GMT");
    both_say(0, "Thu, 01 Jan 1970 00:00:00 GMT");
}

TEST_CASE("origins: any, some, none") {
    const auto origin = [](std::string_view text) {
        return [text](Exchange& exchange) {
            exchange.has_origin = !text.empty();
            exchange.origin = text;
        };
    };
    constexpr std::string_view any = "Access-Control-Allow-Origin: *\r\n";
    for (const bool read : {true, false}) {
        CAPTURE(read);
        Responses open;
        const auto answer_with = [&](Responses& responses) {
            return [&responses, read](Exchange& exchange) {
                net::ResponseWriter writer = responses.responder().begin(exchange, 200, read);
                responses.responder().end(exchange, writer.end_with_body({}));
            };
        };
        CHECK(count(open.of(origin(""), answer_with(open)), any) == (read ? 1 : 0));
        CHECK(count(open.of(origin("http://a"), answer_with(open)), any) == 1);
        Responses listed({"http://a", "http://b"});
        const std::string known = listed.of(origin("http://b"), answer_with(listed));
        CHECK(count(known, "Access-Control-Allow-Origin: http://b\r\n") == 1);
        CHECK(count(known, "Vary: Origin\r\n") == 1);
        for (const std::string_view other : {"", "http://c"}) {
            const std::string unknown = listed.of(origin(other), answer_with(listed));
            CHECK(count(unknown, "Access-Control-") == 0);
            CHECK(count(unknown, "Vary: Origin\r\n") == 1);
        }
        Responses closed(std::vector<std::string>{});
        const std::string none = closed.of(origin("http://a"), answer_with(closed));
        CHECK(count(none, "Access-Control-") == 0);
        CHECK(count(none, "Vary") == 0);
    }
}

TEST_CASE("a client of HTTP/1.0 is told that its connection stays") {
    Responses responses;
    for (const bool stays : {true, false}) {
        const auto old = [stays](Exchange& exchange) {
            exchange.http_1_0 = true;
            exchange.keep_alive = stays;
        };
        const std::string accepted = responses.of(
            old, [&](Exchange& exchange) { responses.responder().append_accepted(exchange, 5); });
        CHECK(count(accepted, "Connection: keep-alive\r\n") == (stays ? 1 : 0));
        CHECK(count(accepted, "Connection: close\r\n") == (stays ? 0 : 1));
    }
}

TEST_CASE("a preflight gets the names it asked for back, and nothing else") {
    Responses responses;
    const std::string ours = responses.responder().preflight_headers("");
    CHECK(count(ours, "If-None-Match") == 1);
    CHECK(ours.ends_with(", Prefer\r\n"));
    const std::string at_limit(base::limits::preflight_headers_bytes_max, 'x');
    for (const std::string& names : {std::string("x-one, X_two,*"), at_limit}) {
        CHECK(responses.responder().preflight_headers(names) ==
              ours.substr(0, ours.size() - 2) + ", " + names + "\r\n");
    }
    for (const std::string& names :
         {std::string("a\tb"), std::string("a:b"), std::string("a\"b"), std::string("caf\xc3\xa9"),
          at_limit + "x", at_limit + at_limit}) {
        CHECK(responses.responder().preflight_headers(names) == ours);
    }
}

TEST_CASE("a body in the form that was asked for: JSON with its brackets, lines, gzip") {
    Responses responses;
    const auto body = [&](bool json, std::vector<std::string_view> pieces, Form wanted = {}) {
        return [&responses, json, pieces, wanted](Exchange& exchange) {
            api::ReadReply read;
            read.content_type = slice_of(json ? "application/json" : "text/plain");
            read.json = json;
            for (const std::string_view piece : pieces) {
                read.pieces.push_back(slice_of(piece));
                read.next += piece.size();
            }
            exchange.form = wanted;
            net::ResponseWriter writer = responses.responder().begin(exchange, 200, false);
            responses.responder().body(exchange, writer, read, Responder::form_of(exchange, read));
        };
    };
    CHECK(responses.of(body(true, {})).ends_with("Content-Length: 2\r\n\r\n[]"));
    CHECK(responses.of(body(true, {"1,"})).ends_with("Content-Length: 3\r\n\r\n[1]"));
    const std::string array = responses.of(body(true, {"1,", "2,3,"}));
    CHECK(array.ends_with("Content-Length: 7\r\n\r\n[1,2,3]"));
    CHECK(count(array, "Content-Type: application/json\r\n") == 1);
    CHECK(count(array, "Vary: Accept, Accept-Encoding\r\n") == 1);
    const std::string text = responses.of(body(false, {"1,", "2,"}));
    CHECK(text.ends_with("Content-Length: 4\r\n\r\n1,2,"));
    CHECK(count(text, "Vary: Accept-Encoding\r\n") == 1);
    CHECK(responses.of(body(false, {})).ends_with("Content-Length: 0\r\n\r\n"));

    const Form lines{true, false};
    const std::string two = responses.of(body(true, {"1,", "2,"}, lines));
    CHECK(two.ends_with("Content-Length: 4\r\n\r\n1\n2\n"));
    CHECK(count(two, "Content-Type: application/x-ndjson\r\n") == 1);
    CHECK(responses.of(body(true, {}, lines)).ends_with("Content-Length: 0\r\n\r\n"));
    // What is no JSON has one form.
    CHECK(responses.of(body(false, {"1,"}, lines)).ends_with("Content-Length: 2\r\n\r\n1,"));

    const Form gzip{false, true};
    const std::string much(5000, 'a');
    const std::string packed = responses.of(body(false, {much}, gzip));
    CHECK(count(packed, "Content-Encoding: gzip\r\n") == 1);
    CHECK(packed.size() < 1000);
    CHECK(packed.find("\r\n\r\n\x1f\x8b") != std::string::npos);
    CHECK(count(responses.of(body(false, {"short"}, gzip)), "Content-Encoding") == 0);
}

TEST_CASE("a value with a line end never leaves: 500 and the connection's end") {
    Responses responses;
    const std::string got = responses.of([&](Exchange& exchange) {
        net::ResponseWriter writer = responses.responder().begin(exchange, 200, false);
        writer.header("Content-Type", "text/plain\r\nInjected: yes");
        responses.responder().end(exchange, writer.end_with_body(base::as_bytes("x")));
    });
    CHECK(got.starts_with("HTTP/1.1 500 Internal Server Error\r\n"));
    CHECK(count(got, "HTTP/1.1") == 1);
    CHECK(count(got, "Injected") == 0);
    CHECK(count(got, "Connection: close\r\n") == 1);
    CHECK_FALSE(responses.keep_alive);
}

TEST_CASE("refusals carry the protocol's headers; request ids differ") {
    Responses responses;
    const auto refuse = [&](const api::Refused& refused) {
        return responses.of(
            [&](Exchange& exchange) { responses.responder().refuse(exchange, refused); });
    };
    api::Refused closed{api::Refusal::stream_closed};
    closed.tail = 12;
    const std::string first = refuse(closed);
    CHECK(first.starts_with("HTTP/1.1 409 "));
    CHECK(count(first,
                "Stream-Closed: true\r\nStream-Next-Offset: 0000000000000000_"
                "0000000000000012\r\n") == 1);
    CHECK(count(first, "Producer-") == 0);
    closed.numbers[0] = 7;
    closed.numbers[1] = 1;
    CHECK(count(refuse(closed), "Producer-Expected-Seq: 7\r\nProducer-Received-Seq: 7\r\n") == 1);
    api::Refused stale{api::Refusal::producer_epoch_stale};
    stale.numbers[0] = 8;
    CHECK(count(refuse(stale), "Producer-Epoch: 8\r\n") == 1);
    api::Refused gap{api::Refusal::producer_gap};
    gap.numbers[0] = 4;
    gap.numbers[1] = 9;
    CHECK(count(refuse(gap), "Producer-Expected-Seq: 4\r\nProducer-Received-Seq: 9\r\n") == 1);
    const std::string overloaded = refuse({api::Refusal::overloaded});
    CHECK(count(overloaded, "Retry-After: 1\r\n") == 1);
    const auto id = [](const std::string& text) {
        return text.substr(text.find("request_id\":\"") + 13, 16);
    };
    CHECK(id(first).find_first_not_of("0123456789abcdef") == std::string::npos);
    CHECK(id(first) != id(overloaded));
    CHECK(count(first, "\r\nX-Request-Id: " + id(first) + "\r\n") == 1);
    const std::string head =
        responses.of([](Exchange& exchange) { exchange.head_only = true; },
                     [&](Exchange& exchange) { responses.responder().refuse(exchange, closed); });
    CHECK(head.ends_with("\r\n\r\n"));
    CHECK(count(head, "Content-Length: 0") == 0);
}

TEST_CASE("refusals are logged with their ids: a burst, then one a second, of each kind") {
    Responses responses;
    std::array<int, 2> ends{};
    REQUIRE(pipe(ends.data()) == 0);
    base::set_log_descriptor(ends[1]);
    std::int64_t at_ms = 784'111'777'999;
    const auto refuse = [&](int status) {
        const std::string text = responses.of([&](Exchange& exchange) {
            exchange.method = 3;
            exchange.path = "/v1/stream/a b";
            Problem problem = bad_request("some_code", "b", "c");
            problem.status = status;
            responses.responder().problem(exchange, problem);
        });
        return text.substr(text.find("X-Request-Id: ") + 14, 16);
    };
    const auto logged = [&] {
        std::string text(1 << 16, 0);
        const std::string end = "end";
        REQUIRE(write(ends[1], end.data(), end.size()) == 3);
        text.resize(static_cast<std::size_t>(read(ends[0], text.data(), text.size())));
        return text.substr(0, text.size() - 3);
    };
    const std::string id = refuse(404);
    const std::string line = logged();
    CHECK(
        line.find("info request.refused request_id=" + id +
                  " status=404 code=some_code method=POST path=\"/v1/stream/a b\" left_out=0\n") !=
        std::string::npos);
    for (int i = 0; i < 30; ++i) {
        refuse(400);
    }
    CHECK(count(logged(), "\n") == 19);
    CHECK(refuse(503) != id);
    CHECK(count(logged(), "warning request.failed ") == 1);
    at_ms += 1000;
    responses.responder().set_time(base::WallTime{at_ms});
    refuse(400);
    refuse(400);
    const std::string later = logged();
    CHECK(count(later, "\n") == 1);
    CHECK(count(later, "left_out=11\n") == 1);
    responses.responder().set_time(base::WallTime{at_ms - 3'600'000});  // set back
    for (int i = 0; i < 30; ++i) {
        refuse(400);
    }
    CHECK(count(logged(), "\n") == 20);
    base::set_log_descriptor(-1);
    close(ends[0]);
    close(ends[1]);
}

}  // namespace ursula::http::test
