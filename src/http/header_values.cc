#include "http/header_values.h"

#include "api/content_type.h"
#include "base/limits.h"

namespace ursula::http {

namespace limits = base::limits;
using net::KnownHeader;

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
    if (headers.repeated(KnownHeader::producer_id) ||
        headers.repeated(KnownHeader::producer_epoch) ||
        headers.repeated(KnownHeader::producer_seq)) {
        problem =
            bad_request("producer_headers", "A producer header is given twice", "send each once");
        return false;
    }
    producer.id = headers.get(KnownHeader::producer_id);
    if (producer.id.empty() || producer.id.size() > limits::producer_id_bytes_max) {
        problem =
            bad_request("producer_id", "Producer-Id is empty or too long", "send 1 to 256 bytes");
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

std::string_view unbuilt_header(const net::Headers& headers) {
    struct Unbuilt {
        KnownHeader header;
        std::string_view name;
    };
    constexpr Unbuilt unbuilt[] = {
        {KnownHeader::stream_ttl, "Stream-TTL"},
        {KnownHeader::stream_expires_at, "Stream-Expires-At"},
        {KnownHeader::stream_forked_from, "Stream-Forked-From"},
        {KnownHeader::stream_fork_offset, "Stream-Fork-Offset"},
        {KnownHeader::stream_fork_sub_offset, "Stream-Fork-Sub-Offset"},
    };
    for (const Unbuilt& one : unbuilt) {
        if (headers.has(one.header)) {
            return one.name;
        }
    }
    return {};
}

}  // namespace ursula::http
