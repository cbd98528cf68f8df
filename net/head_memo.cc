#include "net/head_memo.h"

#include <algorithm>
#include <cstring>

#include "base/stable_hash.h"

namespace ursula::net {

namespace {

// Part of a head as numbers, so that it can be laid over another copy of the same bytes.
struct Part {
    std::uint16_t at = 0;
    std::uint16_t size = 0;

    static Part of(std::string_view part, const char* head) {
        if (part.data() == nullptr) {
            return {};
        }
        return {static_cast<std::uint16_t>(part.data() - head),
                static_cast<std::uint16_t>(part.size())};
    }
    std::string_view in(const char* head) const { return {head + at, size}; }
};

// The request line up to the version lies in here for all but long paths; a shorter head is never
// complete.
constexpr std::size_t hashed_bytes = 48;

}  // namespace

struct HeadMemo::Known {
    std::uint16_t size = 0;  // of the head; 0: free
    std::uint64_t version = 0;
    Part method_name;
    Part target;
    Part path;
    Part query;
    Part host;
    Request request;  // numbers and flags; its views are not used
    char head[head_bytes_max];
};

HeadMemo::HeadMemo() : known_(std::make_unique<Known[]>(slots)) {}
HeadMemo::~HeadMemo() = default;

std::size_t HeadMemo::slot_of(std::string_view bytes) {
    return base::stable_hash(base::as_bytes(bytes.substr(0, hashed_bytes))) % slots;
}

std::size_t HeadMemo::find(std::string_view bytes, Request& request) const {
    if (bytes.size() < hashed_bytes) {
        return 0;
    }
    const std::size_t slot = slot_of(bytes);
    const Known& known = known_[slot];
    if (known.size == 0 || bytes.size() < known.size ||
        std::memcmp(bytes.data(), known.head, known.size) != 0) {
        return 0;
    }
    const Request& from = known.request;
    const char* head = bytes.data();
    request.method = from.method;
    request.http_1_0 = from.http_1_0;
    request.keep_alive = from.keep_alive;
    request.expect_continue = from.expect_continue;
    request.chunked = from.chunked;
    request.has_content_length = from.has_content_length;
    request.content_length = from.content_length;
    request.has_query = from.has_query;
    request.method_name = known.method_name.in(head);
    request.target = known.target.in(head);
    request.path = known.path.in(head);
    request.query = known.query.in(head);
    request.host = known.host.in(head);
    request.headers.lay_over(from.headers, head);
    request.body = {};
    request.body_bytes = 0;
    request.known = {static_cast<std::uint16_t>(slot), true, known.version};
    return known.size;
}

void HeadMemo::remember(std::string_view head, const Request& request) {
    if (head.size() > head_bytes_max || head.size() < hashed_bytes ||
        request.headers.size() > fields_max) {
        return;
    }
    Known& known = known_[slot_of(head)];
    known.size = static_cast<std::uint16_t>(head.size());
    ++known.version;
    known.method_name = Part::of(request.method_name, head.data());
    known.target = Part::of(request.target, head.data());
    known.path = Part::of(request.path, head.data());
    known.query = Part::of(request.query, head.data());
    known.host = Part::of(request.host, head.data());
    Request& to = known.request;
    to.method = request.method;
    to.http_1_0 = request.http_1_0;
    to.keep_alive = request.keep_alive;
    to.expect_continue = request.expect_continue;
    to.chunked = request.chunked;
    to.has_content_length = request.has_content_length;
    to.content_length = request.content_length;
    to.has_query = request.has_query;
    to.headers.lay_over(request.headers, known.head);
    std::memcpy(known.head, head.data(), head.size());
}

}  // namespace ursula::net
