#include "net/response_writer.h"

#include <doctest/doctest.h>

#include <string>

#include "base/slice.h"

using namespace ursula;
using net::OutputBuffer;
using net::OutputPool;
using net::ResponseWriter;

namespace {

std::string text_of(const OutputBuffer& output) {
    const std::vector<std::byte> bytes = output.flat();
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

TEST_CASE("a response with a body") {
    OutputPool pool;
    OutputBuffer output(pool);
    CHECK(ResponseWriter(output, 200, "X-Content-Type-Options: nosniff\r\n")
              .header("Content-Type", "text/plain")
              .header("Stream-Next-Offset", std::uint64_t{17})
              .end_with_body(base::as_bytes("hello")));
    CHECK(text_of(output) ==
          "HTTP/1.1 200 OK\r\nX-Content-Type-Options: nosniff\r\nContent-Type: text/plain\r\n"
          "Stream-Next-Offset: 17\r\nContent-Length: 5\r\n\r\nhello");
}

TEST_CASE("the ways a head ends") {
    OutputPool pool;
    OutputBuffer output(pool);
    CHECK(ResponseWriter(output, 204).end_without_body());
    CHECK(ResponseWriter(output, 404).end_with_length(12345));
    CHECK(ResponseWriter(output, 200).end_chunked());
    CHECK(ResponseWriter(output, 200).end_until_close());
    CHECK(ResponseWriter(output, 413).connection_close().end_with_length(0));
    CHECK(ResponseWriter(output, 599).end_without_body());
    CHECK(text_of(output) ==
          "HTTP/1.1 204 No Content\r\n\r\n"
          "HTTP/1.1 404 Not Found\r\nContent-Length: 12345\r\n\r\n"
          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
          "HTTP/1.1 200 OK\r\n\r\n"
          "HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
          "HTTP/1.1 599 \r\n\r\n");
    CHECK(net::reason_phrase(507) == "Insufficient Storage");
    CHECK(net::reason_phrase(599).empty());
}

TEST_CASE("a value that would split the response aborts it, and only it") {
    OutputPool pool;
    OutputBuffer output(pool);
    CHECK(ResponseWriter(output, 204).end_without_body());
    const std::string before = text_of(output);
    for (const std::string_view bad :
         {std::string_view("a\r\nX: y"), std::string_view("a\n"), std::string_view("\r"),
          std::string_view("a\0b", 3), std::string_view("\x1b"), std::string_view("\x7f")}) {
        CHECK_FALSE(ResponseWriter(output, 200)
                        .header("A", "fine")
                        .header("Content-Type", bad)
                        .header("B", "fine")
                        .end_with_body(base::as_bytes("hello")));
        CHECK(text_of(output) == before);
        CHECK_FALSE(ResponseWriter(output, 200).header("A", bad).end_with_length(3));
        CHECK_FALSE(ResponseWriter(output, 200).header("A", bad).end_chunked());
        CHECK(text_of(output) == before);
    }
    CHECK(ResponseWriter(output, 200).header("A", "tab\tand \xc3\xa4").end_without_body());
}

TEST_CASE("a head longer than a block, then aborted") {
    OutputPool pool;
    OutputBuffer output(pool);
    output.write(std::string_view("before"));
    const std::string value(3000, 'v');
    {
        ResponseWriter writer(output, 200);
        writer.header("A", value).header("B", value).header("C", "\n");
        CHECK_FALSE(writer.end_without_body());
    }
    CHECK(text_of(output) == "before");
    CHECK(ResponseWriter(output, 200).header("A", value).header("B", value).end_without_body());
    CHECK(text_of(output) ==
          "beforeHTTP/1.1 200 OK\r\nA: " + value + "\r\nB: " + value + "\r\n\r\n");
}

TEST_CASE("chunks") {
    OutputPool pool;
    OutputBuffer output(pool);
    net::write_continue(output);
    net::write_chunk(output, base::as_bytes("hello world 1234"));
    net::write_chunk(output, base::Bytes());
    net::write_chunk(output, base::Slice::copy_of(base::as_bytes("x")));
    net::write_last_chunk(output);
    CHECK(text_of(output) ==
          "HTTP/1.1 100 Continue\r\n\r\n10\r\nhello world 1234\r\n1\r\nx\r\n0\r\n\r\n");
}
