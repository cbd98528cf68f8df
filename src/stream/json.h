// JSON bodies: a strict RFC 8259 validator that also finds the part of the body to store. A
// top-level array is flattened one level: its elements, byte for byte as written and with the
// commas and white space between them, are what is stored; any other value is one element. No
// recursion, linear time, no allocation.
//
// Strict means: UTF-8 without a byte order mark (surrogates encoded as UTF-8, overlong forms and
// code points above 10FFFF refused), nothing but white space after the value, numbers of any size
// and precision by the grammar alone, duplicate keys allowed. An escape \uD800..\uDFFF without its
// partner is grammatical by RFC 8259 section 8.2 and kept as written: the server never interprets
// strings.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/bytes.h"

namespace ursula::stream {

enum class JsonError : std::uint8_t {
    none,
    empty,     // no value: nothing or only white space
    invalid,   // not JSON
    bad_utf8,  // a string holds bytes that are not UTF-8
    byte_order_mark,
    too_deep,  // nested deeper than limits::json_depth_max
};

struct JsonBody {
    JsonError error = JsonError::none;
    std::size_t error_at = 0;  // byte position of the first offending byte
    base::Bytes elements;  // inside the body; outer brackets and white space trimmed; empty for []
    std::uint32_t count = 0;  // elements; 0 only for []
    bool array = false;       // the body was a top-level array
};

// `body` needs no padding and is not changed; the answer's view lies inside it.
[[nodiscard]] JsonBody split_json(base::Bytes body);

}  // namespace ursula::stream
