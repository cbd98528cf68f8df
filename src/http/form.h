// In which form a finite read of a stream is sent (DESIGN "JSON", digest 2.12): a JSON stream as
// one array or, for who asks for it by name, one element per line; compressed for who takes gzip.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/slice.h"

namespace ursula::http {

struct Form {
    bool lines = false;  // application/x-ndjson; only of JSON streams
    bool gzip = false;
};

// What the request's Accept and Accept-Encoding ask for. Only the names themselves count, never a
// wildcard, and not with q=0: nobody gets a form that they may not know.
Form wanted_form(std::string_view accept, std::string_view accept_encoding);

// Whether so many stored bytes are worth compressing, and few enough for one turn of the loop.
bool is_compressed(const Form& form, std::uint64_t stored_bytes);

// Stored JSON elements, each with its comma, as lines. The same number of bytes: the commas between
// elements become line ends, and line ends inside elements, which are white space, spaces.
std::string as_lines(std::span<const base::Slice> pieces);

// One gzip member of all parts together.
std::string compress(std::span<const std::string_view> parts);

}  // namespace ursula::http
