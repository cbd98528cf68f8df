#include "tools/bench/response_parser.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using ursula::bench::find_header;
using ursula::bench::ResponseParser;

namespace {

struct Seen {
    std::string log;
    void on_head(int status, std::string_view) {
        log.append("<").append(std::to_string(status)).append(":");
    }
    void on_body(std::string_view bytes) { log.append(bytes); }
    void on_end() { log += ">"; }
};

constexpr std::string_view responses =
    "HTTP/1.1 204 No Content\r\nStream-Next-Offset: 0_1\r\n\r\n"
    "HTTP/1.1 100 Continue\r\n\r\n"
    "HTTP/1.1 200 OK\r\ncontent-length:  5 \r\n\r\nhello"
    "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    "HTTP/1.1 200 OK\r\nX-Content-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n"
    "3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\nTrailer: t\r\n\r\n"
    "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno";
constexpr std::string_view expected = "<204:><200:hello><200:><200:abc0123456789><404:no>";

}  // namespace

TEST_CASE("response parser: the same responses however they are cut") {
    for (std::size_t step = 1; step <= responses.size(); ++step) {
        ResponseParser parser;
        Seen seen;
        for (std::size_t at = 0; at < responses.size(); at += step) {
            REQUIRE(parser.feed(responses.substr(at, step), seen));
        }
        CHECK(seen.log == expected);
        CHECK(parser.before_head());
    }
}

TEST_CASE("response parser: bytes taken elsewhere end the response too") {
    ResponseParser parser;
    Seen seen;
    REQUIRE(parser.feed("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab", seen));
    CHECK(parser.body_left() == 8);
    parser.skip_body(5, seen);
    CHECK(seen.log == "<200:ab");
    parser.skip_body(3, seen);
    CHECK(seen.log == "<200:ab>");
}

TEST_CASE("response parser: what is no response is refused") {
    for (const std::string_view bytes : {
             "SSH-2.0-x\r\n\r\nxxxxxxxxxx",
             "HTTP/1.1 2x4 No\r\n\r\n",
             "HTTP/1.1 200 OK\r\nContent-Length: 5x\r\n\r\n",
             "HTTP/1.1 200 OK\r\n\r\n",
             "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
             "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
         }) {
        ResponseParser parser;
        Seen seen;
        CHECK_FALSE(parser.feed(bytes, seen));
    }
}

TEST_CASE("find_header: any case of the name, no blanks around the value, whole names only") {
    constexpr std::string_view head =
        "HTTP/1.1 200 OK\r\nX-A: 1\r\nSTREAM-Next-Offset:\t 0_5 \r\nEmpty:\r\n\r\n";
    CHECK(find_header(head, "stream-next-offset") == "0_5");
    CHECK(find_header(head, "x-a") == "1");
    CHECK(find_header(head, "empty").empty());
    CHECK(find_header(head, "a").empty());
    CHECK(find_header(head, "stream-next").empty());
}
