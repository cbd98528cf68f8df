#include "http/problem.h"

#include <doctest/doctest.h>

#include <string>

#include "base/limits.h"

using namespace ursula;
using namespace ursula::http;

namespace {

std::string missing_stream(std::string_view host, std::string_view path) {
    return problem_of(api::Refused{api::Refusal::stream_not_found}, {host, path}).hint;
}

}  // namespace

TEST_CASE("a command in a hint can be pasted, or there is none") {
    CHECK(missing_stream("h:4437", "/demo/a") ==
          "create it: curl -X PUT 'http://h:4437/demo/a' -H 'Content-Type: text/plain'");
    // A quote would end the shell's word; what it stands for in a URL is the same name.
    CHECK(missing_stream("h", "/demo/a';rm -rf .;'") ==
          "create it: curl -X PUT 'http://h/demo/a%27;rm -rf .;%27' -H 'Content-Type: "
          "text/plain'");
    CHECK(missing_stream("h';x;'", "/demo/a").find("'http://h%27;x;%27/demo/a'") !=
          std::string::npos);
    bool had_none = false;
    for (std::size_t size = 0; size < 400; ++size) {
        for (const char c : {'n', '\''}) {
            const std::string path = "/demo/" + std::string(size, c);
            const std::string hint = missing_stream("h", path);
            CAPTURE(hint);
            // Whole in the body, or not there at all.
            CHECK(hint.size() <= base::limits::quoted_bytes_max);
            const bool has_command = hint.find("curl") != std::string::npos;
            CHECK(has_command == hint.ends_with("-H 'Content-Type: text/plain'"));
            had_none = had_none || !has_command;
            const Problem problem{404, "c", "t", hint, false};
            CHECK(problem_body(problem, "0").find(hint) != std::string::npos);
        }
    }
    CHECK(had_none);
    const Place place{"h", "/it's/a"};
    CHECK(problem_of(api::Refused{api::Refusal::bucket_not_found}, place).hint ==
          "create it: curl -X PUT 'http://h/it%27s'");
    CHECK(problem_of(api::Refused{api::Refusal::bucket_not_empty}, {"h", "/it's"}).hint ==
          "list them: curl 'http://h/it%27s' - DELETE each, then the bucket");
    const std::string long_name = "/" + std::string(300, 'b');
    CHECK(problem_of(api::Refused{api::Refusal::bucket_not_empty}, {"h", long_name})
              .hint.find("curl") == std::string::npos);
}

TEST_CASE("no client byte breaks out of a problem body") {
    Problem problem{400, "bad", "a\"b\\c\r\nd\x01\x7f\xc3\xa4", "", false};
    CHECK(problem_body(problem, "id") ==
          "{\"status\":400,\"code\":\"bad\",\"title\":\"a\\\"b\\\\c??d????\",\"hint\":\"\","
          "\"request_id\":\"id\"}\n");
    const std::size_t max = base::limits::quoted_bytes_max;
    for (const std::size_t size : {max, max + 1, max * 10}) {
        problem.title = std::string(size, 't');
        const std::string body = problem_body(problem, "id");
        CHECK(body.find(std::string(max, 't') + "\",\"hint\"") != std::string::npos);
    }
}

TEST_CASE("problems of a status carry its phrase") {
    CHECK(problem_of_status(503, "x").title == "Service Unavailable");
    CHECK(problem_of_status(503, "x").retry_after);
    CHECK(problem_of_status(413, "x").title == "Content Too Large");
    CHECK_FALSE(problem_of_status(413, "x").retry_after);
}
