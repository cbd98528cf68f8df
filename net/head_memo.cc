#include "net/head_memo.h"

#include <nmmintrin.h>

#include <cstdlib>
#include <cstring>

#include "base/verify.h"

namespace ursula::net {

namespace {

// Part of a head as numbers, so that it can be laid over another copy of the same bytes.
struct Part {
    std::uint16_t at;
    std::uint16_t size;

    static Part of(std::string_view part, std::string_view head) {
        if (part.empty()) {
            return {0, 0};
        }
        const auto at = static_cast<std::size_t>(part.data() - head.data());
        VERIFY(at < head.size() && part.size() <= head.size() - at);
        return {static_cast<std::uint16_t>(at), static_cast<std::uint16_t>(part.size())};
    }
    std::string_view in(const char* head) const { return {head + at, size}; }
};

// The request line up to the version lies in here for all but long paths; a shorter head is never
// complete.
constexpr std::size_t hashed_bytes = 48;

}  // namespace

// All zero is a free one: they come from calloc, whose pages cost nothing before they are used.
struct HeadMemo::Known {
    std::uint16_t size;  // of the head; 0: free
    std::uint64_t version;
    Part method_name;
    Part target;
    Part path;
    Part query;
    Part host;
    Method method;
    bool http_1_0;
    bool keep_alive;
    bool expect_continue;
    bool chunked;
    bool has_content_length;
    bool has_query;
    std::uint64_t content_length;
    Headers::Table headers;
    char head[head_bytes_max];
};

void HeadMemo::Free::operator()(Known* known) const {
    std::free(known);
}

HeadMemo::HeadMemo() : known_(static_cast<Known*>(std::calloc(slots, sizeof(Known)))) {
    VERIFY(known_ != nullptr);
}
HeadMemo::~HeadMemo() = default;

std::size_t HeadMemo::slot_of(std::string_view bytes) {
    // The CPU's checksum is the cheapest mixing there is; equal bytes are asked for anyway.
    std::uint64_t hash = 0;
    for (std::size_t at = 0; at < hashed_bytes; at += sizeof(std::uint64_t)) {
        std::uint64_t word = 0;
        std::memcpy(&word, bytes.data() + at, sizeof(word));
        hash = _mm_crc32_u64(hash, word);
    }
    return hash % slots;
}

std::size_t HeadMemo::find(std::string_view bytes, Request& request) const {
    if (bytes.size() < hashed_bytes) {
        return 0;
    }
    const std::size_t slot = slot_of(bytes);
    const Known& known = known_.get()[slot];
    if (known.size == 0 || bytes.size() < known.size ||
        std::memcmp(bytes.data(), known.head, known.size) != 0) {
        return 0;
    }
    const char* head = bytes.data();
    request.method = known.method;
    request.http_1_0 = known.http_1_0;
    request.keep_alive = known.keep_alive;
    request.expect_continue = known.expect_continue;
    request.chunked = known.chunked;
    request.has_content_length = known.has_content_length;
    request.content_length = known.content_length;
    request.has_query = known.has_query;
    request.method_name = known.method_name.in(head);
    request.target = known.target.in(head);
    request.path = known.path.in(head);
    request.query = known.query.in(head);
    request.host = known.host.in(head);
    request.headers.load(known.headers, head);
    request.body = {};
    request.body_bytes = 0;
    request.known = {static_cast<std::uint16_t>(slot), true, known.version};
    return known.size;
}

void HeadMemo::remember(std::string_view head, const Request& request) {
    if (head.size() > head_bytes_max || head.size() < hashed_bytes ||
        request.headers.size() > Headers::Table::fields_max) {
        return;
    }
    Known& known = known_.get()[slot_of(head)];
    known.size = static_cast<std::uint16_t>(head.size());
    ++known.version;
    known.method_name = Part::of(request.method_name, head);
    known.target = Part::of(request.target, head);
    known.path = Part::of(request.path, head);
    known.query = Part::of(request.query, head);
    known.host = Part::of(request.host, head);
    known.method = request.method;
    known.http_1_0 = request.http_1_0;
    known.keep_alive = request.keep_alive;
    known.expect_continue = request.expect_continue;
    known.chunked = request.chunked;
    known.has_content_length = request.has_content_length;
    known.content_length = request.content_length;
    known.has_query = request.has_query;
    request.headers.save(known.headers);
    std::memcpy(known.head, head.data(), head.size());
}

}  // namespace ursula::net
