#include "net/http_head.h"

#include <nmmintrin.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/verify.h"
#include "net/byte_scan.h"

namespace ursula::net {

namespace limits = base::limits;

namespace {

static_assert(limits::header_bytes_max <= UINT16_MAX, "HeaderField counts in 16 bits");

// RFC 9110 tchar.
constexpr std::array<bool, 256> make_token_table() {
    std::array<bool, 256> table{};
    for (const char c : std::string_view("!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                         "abcdefghijklmnopqrstuvwxyz")) {
        table[static_cast<unsigned char>(c)] = true;
    }
    return table;
}
constexpr std::array<bool, 256> token_table = make_token_table();

bool all_of(std::string_view text, const std::array<bool, 256>& table) {
    return std::all_of(text.begin(), text.end(),
                       [&table](char c) { return table[static_cast<unsigned char>(c)]; });
}

constexpr char lower(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
}

bool equal_ignoring_case(std::string_view a, std::string_view b) {
    return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(),
                                              [](char x, char y) { return lower(x) == lower(y); });
}

// Bit i: byte i may not stand in a target (space, control, DEL, not ASCII, '#'), or is the '?'
// looked for.
std::uint32_t target_mask(__m128i x) {
    const __m128i low_or_high = _mm_cmplt_epi8(x, _mm_set1_epi8(0x21));  // signed: also from 0x80
    const __m128i del = _mm_cmpeq_epi8(x, _mm_set1_epi8(0x7f));
    const __m128i hash = _mm_cmpeq_epi8(x, _mm_set1_epi8('#'));
    const __m128i question = _mm_cmpeq_epi8(x, _mm_set1_epi8('?'));
    return static_cast<std::uint32_t>(_mm_movemask_epi8(
        _mm_or_si128(_mm_or_si128(low_or_high, del), _mm_or_si128(hash, question))));
}

// The mask of up to 16 bytes from bytes[at]: never reads outside bytes.
template <class Mask>
std::uint32_t mask_at(std::string_view bytes, std::size_t at, Mask mask) {
    const std::size_t left = bytes.size() - at;
    if (left >= 16) [[likely]] {
        return mask(_mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes.data() + at)));
    }
    if (bytes.size() >= 16) {
        const char* last = bytes.data() + bytes.size() - 16;
        return mask(_mm_loadu_si128(reinterpret_cast<const __m128i*>(last))) >> (16 - left);
    }
    std::array<char, 16> copy{};
    std::memcpy(copy.data(), bytes.data() + at, left);
    const std::uint32_t all = mask(_mm_loadu_si128(reinterpret_cast<const __m128i*>(copy.data())));
    return all & ((1u << left) - 1);
}

// RFC 3986 reg-name, IP-literal and port as hosts are written in practice: no percent-escapes, no
// '!' or '~'. Bit i: byte i is none of their characters.
std::uint32_t not_host_mask(__m128i x) {
    // Pairs of first and last byte; SSE4.2 compares 16 bytes with up to eight such ranges at once.
    const __m128i ranges = _mm_setr_epi8('$', '$', '&', '.', '0', ';', '=', '=', 'A', '[', ']', ']',
                                         '_', '_', 'a', 'z');
    constexpr int mode = _SIDD_UBYTE_OPS | _SIDD_CMP_RANGES | _SIDD_NEGATIVE_POLARITY;
    return static_cast<std::uint32_t>(_mm_cvtsi128_si32(_mm_cmpestrm(ranges, 16, x, 16, mode)));
}

// host: a part of head.
bool valid_host(std::string_view head, std::string_view host) {
    const auto start = static_cast<std::size_t>(host.data() - head.data());
    for (std::size_t at = 0; at < host.size(); at += 16) {
        const std::size_t left = host.size() - at;
        const std::uint32_t looked_at = left >= 16 ? 0xffffu : (1u << left) - 1;
        if ((mask_at(head, start + at, not_host_mask) & looked_at) != 0) {
            return false;
        }
    }
    return !host.empty();
}

bool refuse(HttpError& error, int status, const char* code) {
    error = {status, code};
    return false;
}

// The position from which on a line that starts at line_start is too long.
std::size_t line_breaks_at(std::size_t line_start, std::size_t line) {
    return line_start + 1 +
           (line == 0 ? limits::request_line_bytes_max : limits::header_field_bytes_max);
}

// Of two broken limits the one that a byte-wise reader would meet first is named.
HttpError limit_error(const HeadScan& scan) {
    if (line_breaks_at(scan.line_start, scan.lines) >= limits::header_bytes_max) {
        return {431, "headers_too_large"};
    }
    return scan.lines == 0 ? HttpError{414, "target_too_long"}
                           : HttpError{431, "header_field_too_large"};
}

Method method_of(std::string_view name) {
    switch (name.size()) {
        case 3:
            return name == "GET" ? Method::get : name == "PUT" ? Method::put : Method::other;
        case 4:
            return name == "POST" ? Method::post : name == "HEAD" ? Method::head : Method::other;
        case 6:
            return name == "DELETE" ? Method::remove : Method::other;
        case 7:
            return name == "OPTIONS" ? Method::options : Method::other;
        default:
            return Method::other;
    }
}

// "http://host:port/path?query" from here on means its path; the authority must then equal Host.
// from: as in parse_target.
bool split_absolute_form(std::string_view from, Request& request, std::string_view& target,
                         HttpError& error) {
    const std::size_t scheme = target.starts_with("http://")    ? 7
                               : target.starts_with("https://") ? 8
                                                                : 0;
    if (scheme == 0) {
        return refuse(error, 400, "bad_target");
    }
    std::string_view rest = target.substr(scheme);
    const std::size_t end = std::min(rest.find_first_of("/?"), rest.size());
    request.host = rest.substr(0, end);
    if (!valid_host(from, request.host)) {
        return refuse(error, 400, "bad_target");
    }
    target = rest.substr(end);
    return true;
}

// from: what begins with the target, for reading 16 bytes at a time.
bool parse_target(std::string_view from, Request& request, HttpError& error) {
    std::string_view target = request.target;
    if (target.empty()) {
        return refuse(error, 400, "bad_request_line");
    }
    std::size_t question = target.size();
    for (std::size_t at = 0; at < target.size(); at += 16) {
        std::uint32_t mask = mask_at(from, at, target_mask);
        while (mask != 0) {
            const std::size_t i = at + static_cast<std::size_t>(std::countr_zero(mask));
            mask &= mask - 1;
            if (i >= target.size()) {
                break;
            }
            if (target[i] != '?') {
                // "curl http://host/ä" sends such bytes: the code says what to do.
                return refuse(error, 400,
                              static_cast<unsigned char>(target[i]) >= 0x80
                                  ? "target_not_percent_encoded"
                                  : "bad_target");
            }
            question = std::min(question, i);
        }
    }
    request.path = target.substr(0, question);
    request.has_query = question < target.size();
    request.query = request.has_query ? target.substr(question + 1) : std::string_view();
    if (target.front() == '/') [[likely]] {
        return true;
    }
    if (target == "*" && request.method == Method::options) {
        return true;
    }
    if (request.method == Method::other) {
        return true;  // CONNECT's host:port; refused by its method
    }
    if (!split_absolute_form(from, request, target, error)) {
        return false;
    }
    question = std::min(target.find('?'), target.size());
    // Without a path it is "/": the second one of "http://", so that all views lie in the head.
    request.path =
        question == 0 ? std::string_view(request.host.data() - 1, 1) : target.substr(0, question);
    return true;
}

// head: the whole of it, for reading 16 bytes at a time; the request line are its first `size`
// bytes.
bool parse_request_line(std::string_view head, std::size_t size, Request& request,
                        HttpError& error) {
    constexpr std::string_view version_1_1 = " HTTP/1.1";
    const std::uint32_t spaces = mask_at(head, 0, [](__m128i x) {
        return static_cast<std::uint32_t>(_mm_movemask_epi8(_mm_cmpeq_epi8(x, _mm_set1_epi8(' '))));
    });
    const auto space = static_cast<std::size_t>(std::countr_zero(spaces));
    // A method of more than 15 letters is none that anybody uses.
    if (spaces == 0 || space == 0 || size < space + 1 + version_1_1.size()) {
        return refuse(error, 400, "bad_request_line");
    }
    request.method_name = head.substr(0, space);
    request.method = method_of(request.method_name);
    if (request.method == Method::other &&
        !std::all_of(request.method_name.begin(), request.method_name.end(),
                     [](char c) { return (c >= 'A' && c <= 'Z') || c == '-'; })) {
        return refuse(error, 400, "bad_method");
    }
    const std::size_t target_end = size - version_1_1.size();
    const std::string_view version = head.substr(target_end, version_1_1.size());
    if (version == version_1_1) [[likely]] {
        request.http_1_0 = false;
    } else if (version == " HTTP/1.0") {
        request.http_1_0 = true;
    } else {
        const bool other = version.starts_with(" HTTP/") && version[7] == '.' &&
                           version[6] >= '0' && version[6] <= '9' && version[8] >= '0' &&
                           version[8] <= '9';
        return other ? refuse(error, 505, "http_version_not_supported")
                     : refuse(error, 400, "bad_request_line");
    }
    request.target = head.substr(space + 1, target_end - space - 1);
    return parse_target(head.substr(space + 1), request, error);
}

constexpr bool blank(char c) {
    return c == ' ' || c == '\t';
}

bool parse_fields(std::string_view head, const HeadLines& lines, Headers& headers,
                  HttpError& error) {
    for (std::size_t i = 1; i < lines.count; ++i) {
        const std::size_t start = lines.ends[i - 1] + std::size_t{2};
        std::size_t end = lines.ends[i];
        std::size_t colon = start;
        for (;;) {
            const std::uint32_t mask = mask_at(head, colon, [](__m128i x) {
                return static_cast<std::uint32_t>(
                    _mm_movemask_epi8(_mm_cmpeq_epi8(x, _mm_set1_epi8(':'))));
            });
            if (mask != 0) {
                colon += static_cast<std::size_t>(std::countr_zero(mask));
                break;
            }
            colon += 16;
            if (colon >= end) {
                break;
            }
        }
        if (colon >= end) {
            return refuse(error, 400,
                          blank(head[start]) ? "folded_header" : "header_without_colon");
        }
        const std::string_view name = head.substr(start, colon - start);
        const KnownHeader known = known_header(name);
        if (known == KnownHeader::none && (name.empty() || !all_of(name, token_table))) {
            return refuse(error, 400, blank(head[start]) ? "folded_header" : "bad_header_name");
        }
        std::size_t value = colon + 1;
        while (value < end && blank(head[value])) {
            ++value;
        }
        while (end > value && blank(head[end - 1])) {
            --end;
        }
        headers.add({.name_at = static_cast<std::uint16_t>(start),
                     .name_size = static_cast<std::uint16_t>(name.size()),
                     .value_at = static_cast<std::uint16_t>(value),
                     .value_size = static_cast<std::uint16_t>(end - value),
                     .known = known});
    }
    return true;
}

bool parse_host(std::string_view head, Request& request, HttpError& error) {
    const Headers& headers = request.headers;
    if (!headers.has(KnownHeader::host)) {
        if (request.http_1_0) {
            return true;
        }
        return refuse(error, 400, "host_missing");
    }
    const std::string_view host = headers.get(KnownHeader::host);
    if (headers.repeated(KnownHeader::host) || !valid_host(head, host)) {
        return refuse(error, 400, "bad_host");
    }
    if (!request.host.empty() && !equal_ignoring_case(request.host, host)) {
        return refuse(error, 400, "host_mismatch");
    }
    request.host = host;
    return true;
}

bool parse_content_length(Request& request, HttpError& error) {
    const std::string_view text = request.headers.get(KnownHeader::content_length);
    constexpr std::uint64_t length_max = std::uint64_t{1} << 53;
    std::uint64_t length = 0;
    if (text.empty() || text.size() > 19 || request.headers.repeated(KnownHeader::content_length)) {
        return refuse(error, 400, "bad_content_length");
    }
    for (const char c : text) {
        if (c < '0' || c > '9') {
            return refuse(error, 400, "bad_content_length");
        }
        length = length * 10 + static_cast<std::uint64_t>(c - '0');
    }
    if (length > length_max) {
        return refuse(error, 400, "bad_content_length");
    }
    request.has_content_length = true;
    request.content_length = length;
    return true;
}

bool parse_transfer_encoding(Request& request, HttpError& error) {
    const Headers& headers = request.headers;
    const std::string_view coding = headers.get(KnownHeader::transfer_encoding);
    if (headers.has(KnownHeader::content_length)) {
        return refuse(error, 400, "content_length_with_transfer_encoding");
    }
    if (request.http_1_0 || headers.repeated(KnownHeader::transfer_encoding)) {
        return refuse(error, 400, "bad_transfer_encoding");
    }
    if (equal_ignoring_case(coding, "chunked")) {
        request.chunked = true;
        return true;
    }
    // "gzip, chunked": framed well, but in a coding we do not undo (RFC 9112 6.1).
    const std::size_t comma = coding.rfind(',');
    if (comma != std::string_view::npos) {
        std::string_view last = coding.substr(comma + 1);
        while (!last.empty() && blank(last.front())) {
            last.remove_prefix(1);
        }
        const std::string_view first = coding.substr(0, coding.find_first_of(", \t"));
        if (equal_ignoring_case(last, "chunked") && !first.empty() &&
            !equal_ignoring_case(first, "chunked") && all_of(first, token_table)) {
            return refuse(error, 501, "transfer_coding_not_supported");
        }
    }
    return refuse(error, 400, "bad_transfer_encoding");
}

void parse_connection_options(std::string_view value, bool& close, bool& keep_alive) {
    while (!value.empty()) {
        const std::size_t comma = std::min(value.find(','), value.size());
        std::string_view option = value.substr(0, comma);
        value.remove_prefix(std::min(comma + 1, value.size()));
        while (!option.empty() && blank(option.front())) {
            option.remove_prefix(1);
        }
        while (!option.empty() && blank(option.back())) {
            option.remove_suffix(1);
        }
        close = close || equal_ignoring_case(option, "close");
        keep_alive = keep_alive || equal_ignoring_case(option, "keep-alive");
    }
}

void parse_connection(Request& request) {
    bool close = false;
    bool keep_alive = false;
    const Headers& headers = request.headers;
    if (headers.repeated(KnownHeader::connection)) {
        for (std::size_t i = 0; i < headers.size(); ++i) {
            if (headers.field(i).known == KnownHeader::connection) {
                parse_connection_options(headers.value(i), close, keep_alive);
            }
        }
    } else {
        parse_connection_options(headers.get(KnownHeader::connection), close, keep_alive);
    }
    request.keep_alive = !close && (!request.http_1_0 || keep_alive);
}

}  // namespace

HeadState scan_head(std::string_view bytes, HeadScan& scan, HeadLines& lines,
                    std::size_t& head_size, HttpError& error) {
    const bool resumed = scan.scanned > 0;
    const auto event_breaks_at = [](const HeadScan& at) {
        // The CR of a line end needs its LF to fit too.
        constexpr std::size_t head_breaks_at = limits::header_bytes_max - 1;
        return std::min(line_breaks_at(at.line_start, at.lines), head_breaks_at);
    };
    const auto failed = [&error](HttpError why) {
        error = why;
        return HeadState::failed;
    };
    std::size_t next = scan.scanned;  // bytes before it are done with
    std::size_t breaks_at = event_breaks_at(scan);
    for (std::size_t base = next; base < bytes.size(); base += 16) {
        std::uint32_t mask = mask_at(bytes, base, control_mask);
        if (base < next) {
            mask &= ~1u;  // the LF of a CR in the block before
        }
        while (mask != 0) {
            const std::size_t at = base + static_cast<std::size_t>(std::countr_zero(mask));
            mask &= mask - 1;
            if (at >= breaks_at) [[unlikely]] {
                return failed(limit_error(scan));
            }
            if (bytes[at] != '\r') [[unlikely]] {
                return failed({400, bytes[at] == '\n' ? "bare_lf" : "control_in_header"});
            }
            if (at + 1 == bytes.size()) [[unlikely]] {
                scan.scanned = static_cast<std::uint32_t>(at);
                return HeadState::need_more;
            }
            if (bytes[at + 1] != '\n') [[unlikely]] {
                return failed({400, "bare_cr"});
            }
            mask &= mask - 1;  // the LF, when it is in this block
            next = at + 2;
            if (at == scan.line_start) {
                if (scan.lines == 0) {
                    return failed({400, "bad_request_line"});
                }
                if (resumed) {  // the ends of the first lines were found in a turn long gone
                    scan = {};
                    return scan_head(bytes.substr(0, next), scan, lines, head_size, error);
                }
                lines.count = scan.lines;
                head_size = next;
                return HeadState::complete;
            }
            if (scan.lines == lines.ends.size()) [[unlikely]] {
                return failed({431, "too_many_headers"});
            }
            lines.ends[scan.lines] = static_cast<std::uint16_t>(at);
            ++scan.lines;
            scan.line_start = static_cast<std::uint32_t>(next);
            breaks_at = event_breaks_at(scan);
        }
    }
    scan.scanned = static_cast<std::uint32_t>(bytes.size());
    if (bytes.size() >= line_breaks_at(scan.line_start, scan.lines) ||
        bytes.size() >= limits::header_bytes_max) {
        return failed(limit_error(scan));
    }
    return HeadState::need_more;
}

bool parse_head_lines(std::string_view head, const HeadLines& lines, Request& request,
                      HttpError& error) {
    DVERIFY(lines.count > 0);
    request.headers.reset(head.data());
    request.expect_continue = false;
    request.chunked = false;
    request.has_content_length = false;
    request.content_length = 0;
    request.host = {};
    request.body = {};
    request.body_bytes = 0;
    if (!parse_request_line(head, lines.ends[0], request, error) ||
        !parse_fields(head, lines, request.headers, error) || !parse_host(head, request, error)) {
        return false;
    }
    const Headers& headers = request.headers;
    if (headers.has(KnownHeader::transfer_encoding)) {
        if (!parse_transfer_encoding(request, error)) {
            return false;
        }
    } else if (headers.has(KnownHeader::content_length)) {
        if (!parse_content_length(request, error)) {
            return false;
        }
    }
    if (headers.has(KnownHeader::connection) || request.http_1_0) {
        parse_connection(request);
    } else {
        request.keep_alive = true;
    }
    if (request.method == Method::other) {
        request.keep_alive = false;  // what an unknown method's body would mean is unknown too
    }
    if (headers.has(KnownHeader::expect)) {
        if (headers.repeated(KnownHeader::expect) ||
            !equal_ignoring_case(headers.get(KnownHeader::expect), "100-continue")) {
            return refuse(error, 417, "expectation_failed");
        }
        request.expect_continue = !request.http_1_0 && request.has_body();
    }
    return true;
}

}  // namespace ursula::net
