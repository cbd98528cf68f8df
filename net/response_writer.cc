#include "net/response_writer.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "base/verify.h"
#include "net/byte_scan.h"

namespace ursula::net {

namespace {

struct Status {
    int code;
    std::string_view line;
};
// Sorted by code.
constexpr std::array<Status, 34> statuses = {{
    {200, "HTTP/1.1 200 OK\r\n"},
    {201, "HTTP/1.1 201 Created\r\n"},
    {202, "HTTP/1.1 202 Accepted\r\n"},
    {204, "HTTP/1.1 204 No Content\r\n"},
    {206, "HTTP/1.1 206 Partial Content\r\n"},
    {301, "HTTP/1.1 301 Moved Permanently\r\n"},
    {302, "HTTP/1.1 302 Found\r\n"},
    {303, "HTTP/1.1 303 See Other\r\n"},
    {304, "HTTP/1.1 304 Not Modified\r\n"},
    {307, "HTTP/1.1 307 Temporary Redirect\r\n"},
    {308, "HTTP/1.1 308 Permanent Redirect\r\n"},
    {400, "HTTP/1.1 400 Bad Request\r\n"},
    {401, "HTTP/1.1 401 Unauthorized\r\n"},
    {403, "HTTP/1.1 403 Forbidden\r\n"},
    {404, "HTTP/1.1 404 Not Found\r\n"},
    {405, "HTTP/1.1 405 Method Not Allowed\r\n"},
    {406, "HTTP/1.1 406 Not Acceptable\r\n"},
    {408, "HTTP/1.1 408 Request Timeout\r\n"},
    {409, "HTTP/1.1 409 Conflict\r\n"},
    {410, "HTTP/1.1 410 Gone\r\n"},
    {412, "HTTP/1.1 412 Precondition Failed\r\n"},
    {413, "HTTP/1.1 413 Content Too Large\r\n"},
    {414, "HTTP/1.1 414 URI Too Long\r\n"},
    {415, "HTTP/1.1 415 Unsupported Media Type\r\n"},
    {417, "HTTP/1.1 417 Expectation Failed\r\n"},
    {422, "HTTP/1.1 422 Unprocessable Content\r\n"},
    {429, "HTTP/1.1 429 Too Many Requests\r\n"},
    {431, "HTTP/1.1 431 Request Header Fields Too Large\r\n"},
    {500, "HTTP/1.1 500 Internal Server Error\r\n"},
    {501, "HTTP/1.1 501 Not Implemented\r\n"},
    {502, "HTTP/1.1 502 Bad Gateway\r\n"},
    {503, "HTTP/1.1 503 Service Unavailable\r\n"},
    {505, "HTTP/1.1 505 HTTP Version Not Supported\r\n"},
    {507, "HTTP/1.1 507 Insufficient Storage\r\n"},
}};
constexpr bool sorted_by_code() {
    for (std::size_t i = 1; i < statuses.size(); ++i) {
        if (statuses[i - 1].code >= statuses[i].code) {
            return false;
        }
    }
    return true;
}
static_assert(sorted_by_code());

std::string_view status_line(int status) {
    const auto* found =
        std::lower_bound(statuses.begin(), statuses.end(), status,
                         [](const Status& entry, int code) { return entry.code < code; });
    return found != statuses.end() && found->code == status ? found->line : std::string_view();
}

// Room for any std::uint64_t.
struct Digits {
    std::array<char, 20> text;
    std::size_t size;
    explicit Digits(std::uint64_t value) {
        size = static_cast<std::size_t>(
            std::to_chars(text.data(), text.data() + text.size(), value).ptr - text.data());
    }
    std::string_view view() const { return {text.data(), size}; }
};

// HTAB and everything from 0x20 but DEL (RFC 9110 field-value).
bool safe_value(std::string_view value) {
    return !any_byte(value, control_mask);
}

}  // namespace

std::string_view reason_phrase(int status) {
    constexpr std::size_t before = std::string_view("HTTP/1.1 200 ").size();
    const std::string_view line = status_line(status);
    return line.empty() ? line : line.substr(before, line.size() - before - 2);
}

ResponseWriter::ResponseWriter(OutputBuffer& output, int status, std::string_view constant_headers)
    : output_(output), start_(output.mark()) {
    const std::string_view line = status_line(status);
    if (line.empty()) [[unlikely]] {
        VERIFY(status >= 100 && status <= 999);
        put("HTTP/1.1 ");
        put(Digits(static_cast<std::uint64_t>(status)).view());
        put(" \r\n");
    } else {
        put(line);
    }
    put(constant_headers);
}

void ResponseWriter::put(std::string_view text) {
    output_.write(text);
}

ResponseWriter& ResponseWriter::header(std::string_view name, std::string_view value) {
    if (!safe_value(value)) [[unlikely]] {
        ok_ = false;
    }
    if (ok_) {
        // ": " and CRLF.
        const std::size_t size = name.size() + value.size() + 4;
        std::byte* to = output_.reserve(size);
        base::copy_bytes(to, base::as_bytes(name));
        base::copy_bytes(to + name.size(), base::as_bytes(": "));
        base::copy_bytes(to + name.size() + 2, base::as_bytes(value));
        base::copy_bytes(to + size - 2, base::as_bytes("\r\n"));
        output_.commit(size);
    }
    return *this;
}

ResponseWriter& ResponseWriter::header(std::string_view name, std::uint64_t value) {
    return header(name, Digits(value).view());
}

ResponseWriter& ResponseWriter::constant(std::string_view lines) {
    if (ok_) {
        put(lines);
    }
    return *this;
}

ResponseWriter& ResponseWriter::connection_close() {
    return constant("Connection: close\r\n");
}

bool ResponseWriter::finish(std::string_view tail) {
    if (!ok_) {
        output_.rewind(start_);
        return false;
    }
    put(tail);
    return true;
}

bool ResponseWriter::end_without_body() {
    return finish("\r\n");
}

bool ResponseWriter::end_with_length(std::uint64_t length) {
    constexpr std::string_view name = "Content-Length: ";
    const Digits digits(length);
    if (!ok_) {
        return finish({});
    }
    const std::size_t size = name.size() + digits.size + 4;
    std::byte* to = output_.reserve(size);
    base::copy_bytes(to, base::as_bytes(name));
    base::copy_bytes(to + name.size(), base::as_bytes(digits.view()));
    base::copy_bytes(to + size - 4, base::as_bytes("\r\n\r\n"));
    output_.commit(size);
    return true;
}

bool ResponseWriter::end_with_body(base::Bytes body) {
    if (!end_with_length(body.size())) {
        return false;
    }
    output_.write(body);
    return true;
}

bool ResponseWriter::end_chunked() {
    return finish("Transfer-Encoding: chunked\r\n\r\n");
}

bool ResponseWriter::end_until_close() {
    return finish("\r\n");
}

void write_continue(OutputBuffer& output) {
    output.write(std::string_view("HTTP/1.1 100 Continue\r\n\r\n"));
}

namespace {

void write_chunk_size(OutputBuffer& output, std::size_t size) {
    std::array<char, 18> text;
    char* end = std::to_chars(text.data(), text.data() + 16, size, 16).ptr;
    *end++ = '\r';
    *end++ = '\n';
    output.write(std::string_view(text.data(), static_cast<std::size_t>(end - text.data())));
}

}  // namespace

void write_chunk(OutputBuffer& output, base::Bytes data) {
    if (!data.empty()) {
        write_chunk_size(output, data.size());
        output.write(data);
        output.write(std::string_view("\r\n"));
    }
}

void write_chunk(OutputBuffer& output, base::Slice data) {
    if (!data.empty()) {
        write_chunk_size(output, data.size());
        output.write(std::move(data));
        output.write(std::string_view("\r\n"));
    }
}

void write_last_chunk(OutputBuffer& output) {
    output.write(std::string_view("0\r\n\r\n"));
}

}  // namespace ursula::net
