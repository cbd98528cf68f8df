// What HTTP carries in header fields and query values, against arbitrary bytes:
// - offsets and instants: exactly what their grammar says is taken, and what is written for the
//   value is read as it again;
// - producer numbers, cursors, ETag lists: nothing but digits in bounds, never a smaller cursor, a
//   match only with what is there;
// - the headers of a write that the strict request reader let through: values in their bounds or a
//   refusal;
// - a stream's elements as lines: one line each, JSON each.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <memory>
#include <string>

#include "base/limits.h"
#include "base/verify.h"
#include "http/form.h"
#include "http/header_values.h"
#include "http/instant.h"
#include "http/tokens.h"
#include "net/http_parser.h"
#include "net/uri.h"
#include "stream/json.h"
#include "tests/support/json_reference.h"

using namespace ursula;

namespace {

bool all_digits(std::string_view text) {
    return !text.empty() &&
           std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

void check_offset(std::string_view text) {
    const bool fits = text.size() == 33 && text[16] == '_' && all_digits(text.substr(0, 16)) &&
                      all_digits(text.substr(17));
    const auto offset = http::parse_offset(text);
    VERIFY(offset.has_value() == fits);
    if (!fits) {
        return;
    }
    if (text.substr(0, 16) == "0000000000000000") {
        VERIFY(*offset < 10'000'000'000'000'000u && http::offset_token(*offset) == text);
    } else {
        VERIFY(*offset == UINT64_MAX);
    }
}

void check_query_value(std::string_view text) {
    std::array<char, base::limits::query_value_bytes_max> buffer;
    const net::DecodedPath value = net::decode_query_value(text, buffer);
    if (value.error == net::UriError::none) {
        check_offset(value.text);
    }
}

// Digits, no more than 64 of them, at most 2^53-1: by their text.
void check_producer_number(std::string_view text) {
    constexpr std::string_view most = "9007199254740991";
    std::string_view digits = text;
    while (digits.size() > 1 && digits.front() == '0') {
        digits.remove_prefix(1);
    }
    const bool fits =
        all_digits(text) && text.size() <= 64 &&
        (digits.size() < most.size() || (digits.size() == most.size() && digits <= most));
    const auto number = http::parse_producer_number(text);
    VERIFY(number.has_value() == fits);
    VERIFY(!fits || std::to_string(*number) == digits);
}

void check_instant(std::string_view text) {
    const auto ms = http::parse_instant(text);
    // By its parts: "YYYY-MM-DDTHH:MM:SS", a fraction, a zone.
    constexpr std::string_view form = "dddd-dd-ddTdd:dd:dd";
    bool fits = text.size() >= 20 && text.size() <= 35;
    for (std::size_t i = 0; fits && i < form.size(); ++i) {
        const char c = text[i];
        fits = form[i] == 'd'   ? c >= '0' && c <= '9'
               : form[i] == 'T' ? c == 'T' || c == 't'
                                : c == form[i];
    }
    VERIFY(fits || !ms);
    if (!ms) {
        return;
    }
    std::string_view rest = text.substr(19);
    if (rest.front() == '.') {
        const std::size_t end = rest.find_first_not_of("0123456789", 1);
        VERIFY(end != std::string_view::npos && end >= 2 && end <= 10);
        rest.remove_prefix(end);
    }
    VERIFY(rest == "Z" || rest == "z" ||
           (rest.size() == 6 && (rest[0] == '+' || rest[0] == '-') && rest[3] == ':' &&
            all_digits(rest.substr(1, 2)) && all_digits(rest.substr(4))));
    // Written as UTC and read again, it is the same.
    const std::int64_t into_second = (*ms % 1000 + 1000) % 1000;
    const std::time_t second = (*ms - into_second) / 1000;
    std::tm parts{};
    VERIFY(gmtime_r(&second, &parts) != nullptr);
    if (parts.tm_year + 1900 < 0 || parts.tm_year + 1900 > 9999) {
        return;  // the zone took it out of what can be written
    }
    std::array<char, 64> written{};
    std::snprintf(written.data(), written.size(), "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ",
                  parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday, parts.tm_hour,
                  parts.tm_min, parts.tm_sec, static_cast<int>(into_second));
    VERIFY(http::parse_instant(written.data()) == ms);
}

void check_cursor(std::string_view text, std::uint8_t seed) {
    constexpr base::WallTime now{1'800'000'000'000};
    const std::uint64_t interval = http::cursor_interval(now);
    base::Random random(seed);
    const std::uint64_t cursor = http::next_cursor(text, now, random);
    VERIFY(cursor >= interval);
    std::uint64_t sent = 0;
    bool overflows = false;
    for (char c : text) {
        const auto digit = static_cast<std::uint64_t>(static_cast<unsigned char>(c) - '0');
        overflows = overflows || sent > (UINT64_MAX - digit) / 10;
        sent = sent * 10 + digit;
    }
    if (!all_digits(text) || overflows || sent < interval) {
        VERIFY(cursor == interval);
    } else {
        VERIFY(sent == UINT64_MAX ? cursor == sent : cursor > sent && cursor - sent <= 180);
    }
}

void check_tags(std::string_view text) {
    const std::string tag = http::etag(0, {base::GroupId(3), base::LogIndex(70), 1}, 0, 12, true);
    const bool matches = http::etag_matches(text, tag);
    VERIFY(!matches || text.find('*') != std::string_view::npos ||
           text.find(tag) != std::string_view::npos);
    VERIFY(http::etag_matches(tag, tag) && http::etag_matches("W/" + tag, tag));
    VERIFY(http::etag_matches("\"a\", " + tag + std::string(text), tag));
    const http::Form form = http::wanted_form(text, text);
    const http::Form more = http::wanted_form(std::string(text) + ",x", "x," + std::string(text));
    VERIFY(form.lines == more.lines && form.gzip == more.gzip);
}

void check_headers(std::string_view text) {
    static net::HttpParser parser(1 << 16);
    net::RequestReader reader;
    const auto request = std::make_unique<net::Request>();
    const std::string bytes = "PUT /a HTTP/1.1\r\nHost: h\r\n" + std::string(text) + "\r\n\r\n";
    reader.feed(base::as_bytes(bytes));
    if (reader.next(parser, *request) == net::ReadEvent::request_ready) {
        const net::Headers& headers = request->headers;
        http::Problem problem;
        api::Producer producer;
        if (http::read_producer(headers, producer, problem)) {
            VERIFY(producer.present == headers.has(net::KnownHeader::producer_id));
            VERIFY(!producer.present || !producer.id.empty());
            VERIFY(producer.epoch <= base::limits::producer_number_max &&
                   producer.seq <= base::limits::producer_number_max);
        } else {
            VERIFY(problem.status == 400 && !problem.code.empty());
        }
        problem = {};
        api::Expiry expiry;
        if (http::read_expiry(headers, expiry, problem)) {
            VERIFY(expiry.kind != api::Expiry::Kind::ttl || expiry.ms % 1000 == 0);
        } else {
            VERIFY(problem.status == 400);
        }
        VERIFY(!http::says_closed(headers) || headers.has(net::KnownHeader::stream_closed));
        VERIFY(!http::prefers_redirect(headers) || headers.has(net::KnownHeader::prefer));
        VERIFY(http::check_coding(headers, problem) ||
               headers.has(net::KnownHeader::content_encoding));
    }
    reader.reset(parser);
    parser.end_turn();
}

void check_lines(std::string_view text) {
    const stream::JsonBody body = stream::split_json(base::as_bytes(text));
    if (body.error != stream::JsonError::none || body.count == 0) {
        return;
    }
    const std::string stored = std::string(base::as_text(body.elements)) + ",";
    const std::array<base::Slice, 2> pieces{
        base::Slice::copy_of(base::as_bytes(std::string_view(stored).substr(0, stored.size() / 2))),
        base::Slice::copy_of(base::as_bytes(std::string_view(stored).substr(stored.size() / 2)))};
    const std::string lines = http::as_lines(pieces);
    VERIFY(lines.size() == stored.size() && lines.back() == '\n');
    VERIFY(static_cast<std::uint32_t>(std::count(lines.begin(), lines.end(), '\n')) == body.count);
    for (std::size_t at = 0; at < lines.size();) {
        const std::size_t end = lines.find('\n', at);
        VERIFY(test_support::JsonReference(std::string_view(lines).substr(at, end - at)).valid());
        at = end + 1;
    }
}

}  // namespace

// First byte: what the rest is.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) {
        return 0;
    }
    // In a block of exactly its size, so that AddressSanitizer sees any look beyond it.
    const std::unique_ptr<char[]> exact(new char[size - 1]);
    std::copy(data + 1, data + size, exact.get());
    const std::string_view text(exact.get(), size - 1);
    switch (data[0] % 8) {
        case 0:
            check_offset(text);
            break;
        case 1:
            check_query_value(text);
            break;
        case 2:
            check_producer_number(text);
            break;
        case 3:
            check_instant(text);
            break;
        case 4:
            check_cursor(text, data[0]);
            break;
        case 5:
            check_tags(text);
            break;
        case 6:
            check_headers(text);
            break;
        default:
            check_lines(text);
            break;
    }
    return 0;
}
