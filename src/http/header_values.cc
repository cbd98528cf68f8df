#include "http/header_values.h"

#include "api/content_type.h"
#include "api/subscription.h"
#include "base/limits.h"
#include "http/instant.h"
#include "http/tokens.h"

namespace ursula::http {

namespace limits = base::limits;
using net::KnownHeader;

namespace {

struct NamedHeader {
    KnownHeader header;
    std::string_view name;
};
// What the verbs read. If-None-Match is a list and may stand in several lines; what is not exactly
// one `true` in Stream-Closed is as if it were absent, never an error (digest 1.1).
constexpr NamedHeader single_headers[] = {
    {KnownHeader::content_type, "Content-Type"},
    {KnownHeader::content_encoding, "Content-Encoding"},
    {KnownHeader::last_event_id, "Last-Event-ID"},
    {KnownHeader::producer_epoch, "Producer-Epoch"},
    {KnownHeader::producer_id, "Producer-Id"},
    {KnownHeader::producer_seq, "Producer-Seq"},
    {KnownHeader::stream_expires_at, "Stream-Expires-At"},
    {KnownHeader::stream_fork_offset, "Stream-Fork-Offset"},
    {KnownHeader::stream_fork_sub_offset, "Stream-Fork-Sub-Offset"},
    {KnownHeader::stream_forked_from, "Stream-Forked-From"},
    {KnownHeader::stream_seq, "Stream-Seq"},
    {KnownHeader::stream_ttl, "Stream-TTL"},
};
constexpr std::uint64_t single_mask = [] {
    std::uint64_t mask = 0;
    for (const NamedHeader& one : single_headers) {
        mask |= std::uint64_t{1} << static_cast<unsigned>(one.header);
    }
    return mask;
}();

}  // namespace

std::string_view repeated_header(const net::Headers& headers) {
    if ((headers.repeated_mask() & single_mask) == 0) [[likely]] {
        return {};
    }
    for (const NamedHeader& one : single_headers) {
        if (headers.repeated(one.header)) {
            return one.name;
        }
    }
    return {};
}

bool check_coding(const net::Headers& headers, Problem& problem) {
    if (!headers.has(KnownHeader::content_encoding) ||
        api::equal_ignoring_case(headers.get(KnownHeader::content_encoding), "identity")) {
        return true;
    }
    problem =
        bad_request("content_encoding", "Request bodies are stored as they come, never decoded",
                    "send the body without Content-Encoding");
    problem.status = 415;
    return false;
}

bool prefers_redirect(const net::Headers& headers) {
    if (!headers.has(KnownHeader::prefer)) {
        return false;
    }
    for (std::size_t i = 0; i < headers.size(); ++i) {
        if (headers.field(i).known != KnownHeader::prefer) {
            continue;
        }
        for (std::string_view left = headers.value(i); !left.empty();) {
            const std::size_t end = left.find(',');
            std::string_view one = left.substr(0, end);
            left = end == std::string_view::npos ? std::string_view() : left.substr(end + 1);
            one = one.substr(0, one.find(';'));
            while (!one.empty() && (one.front() == ' ' || one.front() == '\t')) {
                one.remove_prefix(1);
            }
            while (!one.empty() && (one.back() == ' ' || one.back() == '\t')) {
                one.remove_suffix(1);
            }
            if (api::equal_ignoring_case(one, "redirect")) {
                return true;
            }
        }
    }
    return false;
}

bool says_closed(const net::Headers& headers) {
    return headers.has(KnownHeader::stream_closed) &&
           !headers.repeated(KnownHeader::stream_closed) &&
           api::equal_ignoring_case(headers.get(KnownHeader::stream_closed), "true");
}

std::optional<std::uint64_t> parse_producer_number(std::string_view digits) {
    if (digits.empty() || digits.size() > 64) {
        return std::nullopt;
    }
    std::uint64_t value = 0;
    for (char c : digits) {
        if (c < '0' || c > '9') {
            return std::nullopt;
        }
        value = value * 10 + static_cast<std::uint64_t>(c - '0');
        if (value > limits::producer_number_max) {
            return std::nullopt;
        }
    }
    return value;
}

bool read_producer(const net::Headers& headers, api::Producer& producer, Problem& problem) {
    const bool id = headers.has(KnownHeader::producer_id);
    const bool epoch = headers.has(KnownHeader::producer_epoch);
    const bool seq = headers.has(KnownHeader::producer_seq);
    if (!id && !epoch && !seq) {
        return true;
    }
    if (!id || !epoch || !seq) {
        problem = bad_request("producer_headers",
                              "Producer-Id, Producer-Epoch and Producer-Seq go together",
                              "send all three or none");
        return false;
    }
    producer.id = headers.get(KnownHeader::producer_id);
    if (producer.id.empty() || producer.id.size() > limits::producer_id_bytes_max) {
        problem =
            bad_request("producer_id", "Producer-Id is empty or too long", "send 1 to 256 bytes");
        return false;
    }
    if (producer.id.starts_with(api::wake_producer_prefix)) {
        problem = bad_request("producer_id", "Producer-Id may not begin with __ds/",
                              "that is the server's own, which announces wakes by it");
        return false;
    }
    const auto epoch_number = parse_producer_number(headers.get(KnownHeader::producer_epoch));
    const auto seq_number = parse_producer_number(headers.get(KnownHeader::producer_seq));
    if (!epoch_number || !seq_number) {
        problem = bad_request("producer_number", "Producer-Epoch or Producer-Seq is not a number",
                              "send digits only, at most 9007199254740991");
        return false;
    }
    producer.present = true;
    producer.epoch = *epoch_number;
    producer.seq = *seq_number;
    return true;
}

bool read_expiry(const net::Headers& headers, api::Expiry& expiry, Problem& problem) {
    const bool ttl = headers.has(KnownHeader::stream_ttl);
    const bool at = headers.has(KnownHeader::stream_expires_at);
    if (!ttl && !at) {
        return true;
    }
    if (ttl && at) {
        problem = bad_request("two_expiries", "Stream-TTL and Stream-Expires-At exclude each other",
                              "send one of them: a window that slides with every read and append, "
                              "or an instant");
        return false;
    }
    if (at) {
        const std::string_view text = headers.get(KnownHeader::stream_expires_at);
        const std::optional<std::int64_t> ms = parse_instant(text);
        if (!ms) {
            problem = bad_request("expires_at", "Stream-Expires-At is not an instant",
                                  "send RFC 3339 with Z or an offset, as in 2030-01-31T12:00:00Z");
            return false;
        }
        expiry = {api::Expiry::Kind::at, *ms, text};
        return true;
    }
    const std::string_view digits = headers.get(KnownHeader::stream_ttl);
    const std::optional<std::uint64_t> seconds = parse_producer_number(digits);
    if (!seconds || *seconds > limits::ttl_s_max || (digits.front() == '0' && digits.size() > 1)) {
        problem = bad_request("ttl", "Stream-TTL is not a number of seconds",
                              "send digits only, without leading zeros, at most 9007199254740991");
        return false;
    }
    expiry = {api::Expiry::Kind::ttl, static_cast<std::int64_t>(*seconds) * 1000, {}};
    return true;
}

bool read_fork(const net::Headers& headers, ForkHeaders& fork, Problem& problem) {
    const bool from = headers.has(KnownHeader::stream_forked_from);
    const bool offset = headers.has(KnownHeader::stream_fork_offset);
    const bool sub_offset = headers.has(KnownHeader::stream_fork_sub_offset);
    if (!from && !offset && !sub_offset) {
        return true;
    }
    if (!from) {
        problem = bad_request("fork_without_source",
                              "Stream-Fork-Offset and Stream-Fork-Sub-Offset need a source",
                              "name it with Stream-Forked-From: /v1/stream/NAME");
        return false;
    }
    fork.from = headers.get(KnownHeader::stream_forked_from);
    if (!fork.from.starts_with('/') || fork.from.find_first_of("?#") != std::string_view::npos) {
        problem = bad_request("forked_from", "Stream-Forked-From is not a path of this server",
                              "send the path of the source's URL, as in /v1/stream/NAME");
        return false;
    }
    if (offset) {
        const auto position = parse_offset(headers.get(KnownHeader::stream_fork_offset));
        if (!position) {
            problem = bad_request("fork_offset", "Stream-Fork-Offset is not an offset",
                                  "send a Stream-Next-Offset of the source as it was given");
            return false;
        }
        fork.has_offset = true;
        fork.offset = *position;
    }
    if (sub_offset) {
        const std::string_view digits = headers.get(KnownHeader::stream_fork_sub_offset);
        const auto number = parse_producer_number(digits);
        if (!number || (digits.front() == '0' && digits.size() > 1)) {
            problem = bad_request("fork_sub_offset", "Stream-Fork-Sub-Offset is not a number",
                                  "send digits only, without leading zeros: bytes, or messages of "
                                  "a JSON stream, behind Stream-Fork-Offset");
            return false;
        }
        fork.sub_offset = *number;
    }
    return true;
}

}  // namespace ursula::http
