// A request as views into received bytes. Valid for the turn in which RequestReader yielded it.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string_view>

#include "base/bytes.h"
#include "base/limits.h"
#include "base/verify.h"

namespace ursula::net {

enum class Method : std::uint8_t {
    get,
    head,
    put,
    post,
    remove,
    options,
    other
};  // other: 405, then close
constexpr std::array<std::string_view, 7> method_names = {"GET",    "HEAD",    "PUT",  "POST",
                                                          "DELETE", "OPTIONS", "other"};

// Headers that are looked up by name; everything else is only in the table. The order is that of
// known_header_names.
enum class KnownHeader : std::uint8_t {
    none,
    accept,
    accept_encoding,
    access_control_request_headers,
    access_control_request_method,
    authorization,
    connection,
    content_encoding,
    content_length,
    content_type,
    expect,
    host,
    if_match,
    if_none_match,
    last_event_id,
    origin,
    prefer,
    producer_epoch,
    producer_id,
    producer_seq,
    stream_closed,
    stream_expires_at,
    stream_fork_offset,
    stream_fork_sub_offset,
    stream_forked_from,
    stream_seq,
    stream_ttl,
    te,
    trailer,
    transfer_encoding,
    upgrade,
    user_agent,
    count,
};
std::string_view name_of(KnownHeader header);     // lower case
KnownHeader known_header(std::string_view name);  // any case; none when it is not one

// Where a field stands in the head, so that the table is small: a head has at most 32 KiB.
struct HeaderField {
    std::uint16_t name_at = 0;
    std::uint16_t name_size = 0;
    std::uint16_t value_at =
        0;  // without surrounding blanks; inside, HTAB and bytes from 0x80 may occur
    std::uint16_t value_size = 0;
    KnownHeader known = KnownHeader::none;
};

class Headers {
  public:
    bool has(KnownHeader header) const { return first_[index(header)] != absent; }
    // Empty when absent or empty: has() tells them apart.
    std::string_view get(KnownHeader header) const {
        const std::uint8_t at = first_[index(header)];
        return at == absent ? std::string_view() : value(at);
    }
    // The field occurred more than once; get() gives the first.
    bool repeated(KnownHeader header) const { return (repeated_ >> index(header) & 1u) != 0; }
    // Bit by KnownHeader: all that occurred more than once.
    std::uint64_t repeated_mask() const { return repeated_; }

    std::size_t size() const { return size_; }
    std::string_view name(std::size_t i) const {
        return text(fields_[i].name_at, fields_[i].name_size);
    }
    std::string_view value(std::size_t i) const {
        return text(fields_[i].value_at, fields_[i].value_size);
    }
    const HeaderField& field(std::size_t i) const { return fields_[i]; }

    // --- for the parser ---
    void reset(const char* head) {
        head_ = head;
        size_ = 0;
        repeated_ = 0;
        first_.fill(absent);
    }
    bool full() const { return size_ == base::limits::header_count_max; }
    void add(const HeaderField& field) {
        DVERIFY(!full());
        const std::size_t i = index(field.known);
        if (field.known != KnownHeader::none) {
            if (first_[i] == absent) {
                first_[i] = static_cast<std::uint8_t>(size_);
            } else {
                repeated_ |= std::uint64_t{1} << i;
            }
        }
        fields_[size_++] = field;
    }

    // What lies in a small table can be laid over another copy of the same head.
    struct Table {
        static constexpr std::size_t fields_max = 24;
        std::uint64_t repeated;
        std::uint8_t size;
        std::array<std::uint8_t, static_cast<std::size_t>(KnownHeader::count)> first;
        std::array<HeaderField, fields_max> fields;
    };
    void save(Table& table) const {  // size() is at most Table::fields_max
        table.repeated = repeated_;
        table.size = static_cast<std::uint8_t>(size_);
        table.first = first_;
        std::copy_n(fields_.begin(), size_, table.fields.begin());
    }
    void load(const Table& table, const char* head) {
        head_ = head;
        size_ = table.size;
        repeated_ = table.repeated;
        first_ = table.first;
        std::copy_n(table.fields.begin(), size_, fields_.begin());
    }

  private:
    static constexpr std::uint8_t absent = 255;
    static constexpr std::size_t index(KnownHeader header) {
        return static_cast<std::size_t>(header);
    }
    std::string_view text(std::size_t at, std::size_t size) const { return {head_ + at, size}; }

    const char* head_ = nullptr;
    std::size_t size_ = 0;
    std::uint64_t repeated_ = 0;
    std::array<std::uint8_t, static_cast<std::size_t>(KnownHeader::count)> first_{};
    std::array<HeaderField, base::limits::header_count_max> fields_;
};
static_assert(static_cast<std::size_t>(KnownHeader::count) <= 64);
static_assert(base::limits::header_count_max < 255);

// Where a head is remembered (net/head_memo.h): the same slot and version means the same bytes.
struct KnownHead {
    std::uint16_t slot = 0;
    bool known = false;
    std::uint64_t version = 0;  // never comes again: a client cannot make it wrap
};

struct Request {
    Method method = Method::other;
    bool http_1_0 = false;         // no chunked reply
    bool keep_alive = true;        // false: answer with Connection: close and close
    bool expect_continue = false;  // Expect: 100-continue and a body to come
    bool chunked = false;
    bool has_content_length = false;
    std::uint64_t content_length = 0;
    std::string_view method_name;
    std::string_view target;  // as sent
    std::string_view path;    // raw, before '?'; starts with '/', or is "*" (OPTIONS only)
    std::string_view query;   // raw, after '?'
    bool has_query = false;   // tells "/a?" from "/a"
    std::string_view host;    // Host, or the authority of an absolute-form target
    Headers headers;
    // Whole when request_ready, empty when head_ready. Empty also for GET, HEAD, DELETE and
    // OPTIONS, whose bodies are read and dropped; body_bytes is the size either way.
    base::Bytes body;
    std::uint64_t body_bytes = 0;
    KnownHead known;  // this head was seen before

    bool has_body() const { return chunked || content_length > 0; }
};

// Why a request was not served. The connection is over: answer with status and close
// (close_after_flush).
struct HttpError {
    int status = 0;  // 400, 413, 414, 417, 431, 501, 505; 408 is the caller's (Transport::expired)
    const char* code = "";  // stable, snake_case: the `code` of the error body
};

}  // namespace ursula::net
