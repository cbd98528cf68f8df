#include "tools/ursulactl/client.h"

#include <doctest/doctest.h>

namespace ursula::ctl {

namespace {

Reply problem(long status, const std::string& code) {
    Reply reply;
    reply.status = status;
    reply.body = "{\"status\":" + std::to_string(status) + ",\"code\":\"" + code +
                 "\",\"title\":\"What happened\",\"hint\":\"what to do\",\"request_id\":\"1\"}\n";
    return reply;
}

}  // namespace

TEST_CASE("what a node says becomes an exit code, a sentence and a next step") {
    const Client client({"", "http://h:1"}, {});
    const auto failure = [&client](const Reply& reply, const char* path = "/admin/v1/status") {
        return client.failure_of(reply, path);
    };
    CHECK(failure(problem(400, "bad_body")).exit_code == exit_usage);
    CHECK(failure(problem(401, "no_token")).exit_code == exit_denied);
    CHECK(failure(problem(403, "admin_only")).exit_code == exit_denied);
    CHECK(failure(problem(404, "group_not_found")).exit_code == exit_not_found);
    CHECK(failure(problem(404, "stream_not_found")).exit_code == exit_not_found);
    CHECK(failure(problem(409, "not_leader")).exit_code == exit_conflict);
    CHECK(failure(problem(503, "starting")).exit_code == exit_unreachable);
    CHECK(failure(problem(500, "data_damaged")).exit_code == exit_failed);
    CHECK(failure(problem(404, "x")).what() == std::string("What happened"));
    CHECK(failure(problem(404, "x")).next == "what to do");

    // A server that has no admin plane yet, and something that is no server of ours.
    const Failure older = failure(problem(404, "reserved_name"));
    CHECK(older.exit_code == exit_failed);
    CHECK(std::string(older.what()).find("another version") != std::string::npos);
    CHECK(failure(problem(404, "reserved_name"), "/admin").exit_code == exit_not_found);
    Reply page;
    page.status = 200;
    page.body = "<html>";
    CHECK(failure(page).exit_code == exit_failed);
    CHECK(std::string(failure(page).what()).find("no Ursula node") != std::string::npos);
    CHECK(failure(page).next.find("--server") != std::string::npos);
}

TEST_CASE("why nothing came") {
    const Client client({"/a.sock", "http://localhost"}, {});
    const auto code = [&client](Reply::Trouble trouble) {
        Reply reply;
        reply.trouble = trouble;
        reply.error = "it did";
        const Failure failure = client.failure_of(reply, "/");
        CHECK(!failure.next.empty());
        CHECK(std::string(failure.what()).find("unix:/a.sock") != std::string::npos);
        return failure.exit_code;
    };
    CHECK(code(Reply::Trouble::denied) == exit_denied);
    CHECK(code(Reply::Trouble::no_socket) == exit_unreachable);
    CHECK(code(Reply::Trouble::refused) == exit_unreachable);
    CHECK(code(Reply::Trouble::hung_up) == exit_unreachable);
    CHECK(code(Reply::Trouble::timeout) == exit_unreachable);
    CHECK(code(Reply::Trouble::other) == exit_unreachable);
}

TEST_CASE("--print-curl: a command a shell takes back as it is, and nothing is sent") {
    GlobalFlags flags;
    flags.print_curl = true;
    const auto printed = [&flags](Target target, const std::string& body) {
        Client client(std::move(target), flags);
        try {
            static_cast<void>(client.ask("/p", body, std::chrono::milliseconds(1)));
        } catch (const CurlPrinted& command) {
            return command.command;
        }
        return std::string();
    };
    CHECK(printed({"", "http://h:1"}, "") == "curl -sS 'http://h:1/p'");
    CHECK(printed({"/it's.sock", "http://localhost"}, "{\"to\":2}") ==
          "curl -sS --unix-socket '/it'\\''s.sock' -H 'Content-Type: application/json' -d "
          "'{\"to\":2}' 'http://localhost/p'");
}

TEST_CASE("names in a URL") {
    CHECK(escape_path("demo/a-b_c.d~e") == "demo/a-b_c.d~e");
    CHECK(escape_path("a b?c#d%e") == "a%20b%3Fc%23d%25e");
    CHECK(escape_path("ü&=+") == "%C3%BC%26%3D%2B");
}

}  // namespace ursula::ctl
