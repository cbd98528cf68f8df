// Refusals as HTTP: status, code, title and a hint that says what to do next, as a problem+json
// body that ends in a newline (INTERFACE.md section 2). One table for refusals that shards give,
// one for those the edge gives itself.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "api/reply.h"
#include "http/routes.h"

namespace ursula::http {

struct Problem {
    int status = 500;
    std::string_view code;
    std::string title;
    std::string hint;
    bool retry_after = false;  // 503 and 507: say Retry-After: 1
};

// Where the request went, for titles and hints.
struct Place {
    std::string_view host;  // authority as the client named it
    std::string_view path;  // raw path as sent
};

Problem problem_of(const api::Refused& refused, const Place& place);
Problem problem_of(NameTrouble trouble, const Place& place);
// Refused before a request existed: the parser's status and code.
Problem problem_of_status(int status, std::string_view code);

Problem bad_request(std::string_view code, std::string_view title, std::string_view hint);
// 307: the same request at that node.
Problem redirected(std::string_view url);
Problem method_not_allowed(std::string_view allow);
// 409 of an append; both are named. `path`: raw, as sent.
Problem content_type_differs(std::string_view path, std::string_view of_stream,
                             std::string_view given);

// {"status":...,"code":...,"title":...,"hint":...,"request_id":...}\n ; client text is escaped and
// capped.
std::string problem_body(const Problem& problem, std::string_view request_id);

}  // namespace ursula::http
