#include "stream/json.h"

#if defined(__SSSE3__)
#include <tmmintrin.h>
#endif

#include <array>
#include <bit>
#include <cstring>

#include "base/limits.h"
#include "stream/utf8.h"

namespace ursula::stream {

namespace {

constexpr std::size_t depth_max = base::limits::json_depth_max;
constexpr std::ptrdiff_t searched_bytes = 16;

using Byte = unsigned char;

bool is_space(Byte c) {
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}
bool is_digit(Byte c) {
    return static_cast<Byte>(c - '0') <= 9;
}
bool is_hex(Byte c) {
    return is_digit(c) || static_cast<Byte>((c | 0x20) - 'a') <= 'f' - 'a';
}

// The two searches that most bytes go through, sixteen at a time. They may look at the sixteen
// bytes before `end`. On other machines they find nothing and all is done byte by byte.
#if defined(__SSSE3__)

__m128i load(const Byte* at) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
}

// Over the bytes that mean nothing in a string. `seen` gathers their top bits.
struct Seen {
    __m128i bits = _mm_setzero_si128();
    bool beyond_ascii() const { return _mm_movemask_epi8(bits) != 0; }
    void add(Byte c) { bits = _mm_or_si128(bits, _mm_set1_epi8(static_cast<char>(c))); }
    void add(Seen other) { bits = _mm_or_si128(bits, other.bits); }
};

// To the first byte of [at, end) whose bit is set in mask(sixteen bytes), or to the end.
template <class Mask>
[[gnu::always_inline]] inline const Byte* search(const Byte* at, const Byte* end,
                                                 const Mask& mask) {
    while (end - at >= 16) {
        const unsigned found = mask(load(at));
        if (found != 0) {
            return at + std::countr_zero(found);
        }
        at += 16;
    }
    if (at == end) {
        return end;
    }
    // The last sixteen bytes of the text, without those before `at`.
    const unsigned found = mask(load(end - 16)) >> (16 - (end - at));
    return found != 0 ? at + std::countr_zero(found) : end;
}

// Bit i: byte i ends the plain text of a string.
[[gnu::always_inline]] inline unsigned not_plain(__m128i bytes, Seen& seen) {
    // With bit 1 turned over the quote (22) joins the control characters (00..1f) below 21, and
    // nothing else does.
    const __m128i turned = _mm_xor_si128(bytes, _mm_set1_epi8(2));
    const __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(turned, _mm_set1_epi8(0x20)), turned);
    const __m128i slash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));
    seen.bits = _mm_or_si128(seen.bits, bytes);
    return static_cast<unsigned>(_mm_movemask_epi8(_mm_or_si128(low, slash)));
}

[[gnu::always_inline]] inline const Byte* skip_plain(const Byte* at, const Byte* end, Seen& seen) {
    return search(at, end, [&seen](__m128i bytes) { return not_plain(bytes, seen); });
}

// Where the next token begins depends on how long this one is, and finding that out takes as long
// as all else that is done with it. The elements of an array are much alike: a token is taken to be
// as long as the one in its place in the last object, and the processor goes on from there while it
// computes the truth. Costs little when there is no likeness.
class Lengths {
  public:
    void begin_object() { next_ = 0; }
    [[gnu::always_inline]] inline const Byte* step(const Byte* at, unsigned length) {
        Byte& last = last_[next_ % last_.size()];
        ++next_;
        std::size_t guess = last;
        if (guess == length) {
            // Else the compiler would see that it is the same, and wait for `length`.
            __asm__("" : "+r"(guess));
            return at + guess;
        }
        last = static_cast<Byte>(length);
        return at + length;
    }

  private:
    std::array<Byte, 32> last_{};
    unsigned next_ = 0;
};

// The quote that ends a string of plain text; null when it is farther away, or something else comes
// before it. How many rounds a search takes is what a processor guesses wrong: one of thirty-two is
// enough for most strings, one of sixteen for most keys.
[[gnu::always_inline]] inline const Byte* quote_within_16(const Byte* at, const Byte* end,
                                                          Seen& seen, Lengths& lengths) {
    if (end - at < 17) {
        return nullptr;
    }
    const unsigned found = not_plain(load(at), seen) | 1u << 16;
    at = lengths.step(at, static_cast<unsigned>(std::countr_zero(found)));
    return *at == '"' ? at : nullptr;
}
[[gnu::always_inline]] inline const Byte* quote_within_32(const Byte* at, const Byte* end,
                                                          Seen& seen, Lengths& lengths) {
    if (end - at < 33) {
        return nullptr;
    }
    const unsigned found = not_plain(load(at), seen) | not_plain(load(at + 16), seen) << 16;
    at = lengths.step(at, static_cast<unsigned>(std::countr_zero(found)));
    return *at == '"' ? at : nullptr;
}

// A number of up to fourteen characters, without exponent: its digits are counted in one look, not
// one by one, so that its length is nothing to guess either. Null: another number, or none.
[[gnu::always_inline]] inline const Byte* short_number(const Byte* at, const Byte* end,
                                                       Lengths& lengths) {
    if (end - at < 16) {
        return nullptr;
    }
    const __m128i over_zero = _mm_sub_epi8(load(at), _mm_set1_epi8('0'));
    const __m128i digit = _mm_cmpeq_epi8(_mm_min_epu8(over_zero, _mm_set1_epi8(9)), over_zero);
    // Bit i: byte i is no digit; as if byte 15 were none.
    const unsigned others = ~static_cast<unsigned>(_mm_movemask_epi8(digit)) | 1u << 15;
    const unsigned minus = *at == '-' ? 1 : 0;
    const auto whole = static_cast<unsigned>(std::countr_zero(others >> minus));
    unsigned length = minus + whole;
    if (at[length] == '.') {
        const auto fraction = static_cast<unsigned>(std::countr_zero(others >> (length + 1)));
        if (fraction == 0) {
            return nullptr;
        }
        length += 1 + fraction;
    }
    const bool zero_first = at[minus] == '0' && whole > 1;
    if (whole == 0 || zero_first || length >= 15 || (at[length] | 0x20) == 'e') {
        return nullptr;
    }
    return lengths.step(at, length);
}

[[gnu::always_inline]] inline const Byte* skip_spaces(const Byte* at, const Byte* end) {
    return search(at, end, [](__m128i bytes) {
        // The four kinds of white space differ in their low four bits.
        const __m128i spaces =
            _mm_setr_epi8(' ', 0, 0, 0, 0, 0, 0, 0, 0, '\t', '\n', 0, 0, '\r', 0, 0);
        const __m128i space = _mm_cmpeq_epi8(_mm_shuffle_epi8(spaces, bytes), bytes);
        return static_cast<unsigned>(_mm_movemask_epi8(space)) ^ 0xffffu;
    });
}

#else

struct Seen {
    Byte bits = 0;
    bool beyond_ascii() const { return (bits & 0x80) != 0; }
    void add(Byte c) { bits = static_cast<Byte>(bits | c); }
    void add(Seen other) { add(other.bits); }
};
const Byte* skip_plain(const Byte* at, const Byte*, Seen&) {
    return at;
}
struct Lengths {
    void begin_object() {}
};
const Byte* quote_within_16(const Byte*, const Byte*, Seen&, Lengths&) {
    return nullptr;
}
const Byte* quote_within_32(const Byte*, const Byte*, Seen&, Lengths&) {
    return nullptr;
}
const Byte* short_number(const Byte*, const Byte*, Lengths&) {
    return nullptr;
}
const Byte* skip_spaces(const Byte* at, const Byte*) {
    return at;
}

#endif

// All functions take the place to begin at and return the place after what they read; null when it
// is wrong, with error and at() set. One pass over [begin, end), which has no white space at either
// end. A text that ends with a closing bracket needs no check for the end of input outside strings:
// nothing but the container it closes can consume that bracket. All other texts (scalars, and what
// is wrong anyway) are `guarded`: there the end reads as a NUL, which is legal nowhere.
template <bool guarded>
class Scanner {
  public:
    explicit Scanner(const Byte* end) : end_(end) {}

    const Byte* text(const Byte* at) {
        Seen seen;  // apart from the members, so that it stays in a register
        const Byte* const end = text(at, seen);
        seen_.add(seen);
        return end;
    }
    JsonError error() const { return error_; }
    const Byte* at() const { return failed_at_; }
    std::uint32_t commas() const { return commas_; }  // of the outermost array
    // Some byte may be other than ASCII: the caller validates UTF-8.
    bool beyond_ascii() const { return seen_.beyond_ascii(); }

  private:
    enum Container : Byte { array = 0, object = 1 };

    Byte peek(const Byte* at) const {
        if (guarded && at == end_) {
            return 0;
        }
        return *at;
    }
    const Byte* fail(const Byte* at, JsonError error = JsonError::invalid) {
        failed_at_ = at;
        error_ = error;
        return nullptr;
    }
    std::size_t left(const Byte* at) const { return static_cast<std::size_t>(end_ - at); }
    const Byte* skip_space(const Byte* at) const {
        // None is the rule, one blank the next best; lines with indentation are left to a loop.
        if (peek(at) > ' ') {
            return at;
        }
        if (peek(at) == ' ' && peek(at + 1) > ' ') {
            return at + 1;
        }
        return skip_more_space(at);
    }
    const Byte* skip_more_space(const Byte* at) const;
    [[gnu::always_inline]] inline const Byte* text(const Byte* at, Seen& seen);
    // From behind the opening quote.
    [[gnu::always_inline]] inline const Byte* key(const Byte* at, Seen& seen, Lengths& lengths) {
        const Byte* const end = quote_within_16(at, end_, seen, lengths);
        return end != nullptr ? end + 1 : rest_of_string(at);
    }
    [[gnu::always_inline]] inline const Byte* string(const Byte* at, Seen& seen, Lengths& lengths) {
        const Byte* const end = quote_within_32(at, end_, seen, lengths);
        return end != nullptr ? end + 1 : rest_of_string(at);
    }
    const Byte* rest_of_string(const Byte* at);
    const Byte* escape(const Byte* at);
    [[gnu::always_inline]] inline const Byte* number(const Byte* at, Lengths& lengths) {
        const Byte* const after = short_number(at, end_, lengths);
        return after != nullptr ? after : any_number(at);
    }
    const Byte* any_number(const Byte* at);
    const Byte* digits(const Byte* at);
    const Byte* literal(const Byte* at, const char* word, std::size_t size) {
        return left(at) < size || std::memcmp(at, word, size) != 0 ? fail(at) : at + size;
    }

    const Byte* const end_;
    const Byte* failed_at_ = nullptr;
    Seen seen_;
    JsonError error_ = JsonError::none;
    std::uint32_t commas_ = 0;
};

template <bool guarded>
const Byte* Scanner<guarded>::skip_more_space(const Byte* at) const {
    at = skip_spaces(at, end_);
    while (is_space(peek(at))) {
        ++at;
    }
    return at;
}

// A string with something other than plain text in it, or near the end of input.
template <bool guarded>
const Byte* Scanner<guarded>::rest_of_string(const Byte* at) {
    for (;;) {
        at = skip_plain(at, end_, seen_);
        if (at == end_) {
            return fail(at);
        }
        const Byte c = *at;
        if (c == '"') {
            return at + 1;
        }
        if (c == '\\') {
            at = escape(at);
            if (at == nullptr) {
                return nullptr;
            }
        } else if (c < 0x20) {
            return fail(at);
        } else {
            seen_.add(c);
            ++at;
        }
    }
}

template <bool guarded>
const Byte* Scanner<guarded>::escape(const Byte* at) {
    if (left(at) < 2) {
        return fail(end_);
    }
    const Byte c = at[1];
    if (c == 'u') {
        for (std::size_t i = 2; i < 6; ++i) {
            if (left(at) <= i || !is_hex(at[i])) {
                return fail(left(at) <= i ? end_ : at + i);
            }
        }
        return at + 6;
    }
    if (c == '"' || c == '\\' || c == '/' || c == 'b' || c == 'f' || c == 'n' || c == 'r' ||
        c == 't') {
        return at + 2;
    }
    return fail(at + 1);
}

// At least one digit.
template <bool guarded>
const Byte* Scanner<guarded>::digits(const Byte* at) {
    if (!is_digit(peek(at))) {
        return fail(at);
    }
    do {
        ++at;
    } while (is_digit(peek(at)));
    return at;
}

// At a minus sign or a digit.
template <bool guarded>
const Byte* Scanner<guarded>::any_number(const Byte* at) {
    at += *at == '-' ? 1 : 0;
    if (peek(at) == '0') {
        ++at;
    } else if (at = digits(at); at == nullptr) {
        return nullptr;
    }
    if (peek(at) == '.') {
        at = digits(at + 1);
        if (at == nullptr) {
            return nullptr;
        }
    }
    if ((peek(at) | 0x20) == 'e') {
        ++at;
        at += peek(at) == '+' || peek(at) == '-' ? 1 : 0;
        return digits(at);
    }
    return at;
}

// A state machine whose states are labels; what is open is a stack of one byte per level. What is
// most likely next - a comma, a colon, a quote - is looked for before white space is.
template <bool guarded>
const Byte* Scanner<guarded>::text(const Byte* at, Seen& seen) {
    Byte open[depth_max];
    std::size_t depth = 0;
    std::uint32_t commas = 0;
    Lengths lengths;
    Byte inside = array;
    Byte c = 0;

value:
    c = peek(at);
value_that_begins:
    if (c == '"') {
        at = string(at + 1, seen, lengths);
    } else if (c == '{' || c == '[') {
        if (depth == depth_max) {
            return fail(at, JsonError::too_deep);
        }
        open[depth] = inside;
        ++depth;
        ++at;
        if (c == '{') {
            inside = object;
            lengths.begin_object();
            if (peek(at) == '"') {
                goto key;
            }
            at = skip_space(at);
            if (peek(at) == '}') {
                goto close;
            }
            goto key;
        }
        inside = array;
        at = skip_space(at);
        if (peek(at) == ']') {
            goto close;
        }
        goto value;
    } else if (is_digit(c) || c == '-') {
        at = number(at, lengths);
    } else if (c == 't') {
        at = literal(at, "true", 4);
    } else if (c == 'f') {
        at = literal(at, "false", 5);
    } else if (c == 'n') {
        at = literal(at, "null", 4);
    } else if (is_space(c)) {
        at = skip_space(at);
        c = peek(at);
        if (!is_space(c)) {
            goto value_that_begins;
        }
        return fail(at);
    } else {
        return fail(at);
    }
    if (at == nullptr) {
        return nullptr;
    }
    // Nothing but a container is outside of all in a text that is not guarded.
    if (guarded && depth == 0) {
        return at == end_ ? at : fail(skip_space(at));
    }

after_value:
    c = peek(at);
    if (c <= ' ') {
        at = skip_space(at);
        c = peek(at);
    }
    if (c == ',') {
        ++at;
        if (inside == object) {
            if (peek(at) != '"') {
                at = skip_space(at);
            }
            goto key;
        }
        commas += depth == 1 ? 1 : 0;
        goto value;
    }
    if (c != (inside == object ? '}' : ']')) {
        return fail(at);
    }

close:
    ++at;
    --depth;
    inside = open[depth];
    if (depth == 0) {
        commas_ = commas;
        return at == end_ ? at : fail(skip_space(at));
    }
    // The last bracket of a text that is not guarded: just consumed, and something is still open.
    if (!guarded && at == end_) {
        return fail(at);
    }
    goto after_value;

key:
    if (peek(at) != '"') {
        return fail(at);
    }
    at = key(at + 1, seen, lengths);
    if (at == nullptr) {
        return nullptr;
    }
    if (peek(at) != ':') {
        at = skip_space(at);
        if (peek(at) != ':') {
            return fail(at);
        }
    }
    ++at;
    goto value;
}

template <bool guarded>
JsonBody split(const Byte* body, const Byte* first, const Byte* end) {
    // A short text is scanned in a place with sixteen bytes before its end.
    Byte room[2 * searched_bytes] = {};
    const Byte* scanned = first;
    if (end - first < searched_bytes) {
        std::memcpy(room + searched_bytes, first, static_cast<std::size_t>(end - first));
        scanned = room + searched_bytes;
    }
    Scanner<guarded> scanner(scanned + (end - first));
    JsonBody result;
    const bool valid = scanner.text(scanned) != nullptr;
    // What was scanned ends here.
    const Byte* const until = valid ? end : first + (scanner.at() - scanned);
    if (!valid) {
        result.error = scanner.error();
        result.error_at = static_cast<std::size_t>(until - body);
    }
    if (scanner.beyond_ascii()) {
        // It is right but for its characters; the first wrong byte of all is reported.
        const base::Bytes text{reinterpret_cast<const std::byte*>(first),
                               static_cast<std::size_t>(until - first)};
        const std::size_t good = valid_utf8_prefix(text);
        if (good < text.size()) {
            result.error = JsonError::bad_utf8;
            result.error_at = static_cast<std::size_t>(first - body) + good;
        }
    }
    if (result.error != JsonError::none) {
        return result;
    }
    result.array = *first == '[';
    result.count = 1;
    if (result.array) {
        ++first;
        --end;
        while (first < end && is_space(*first)) {
            ++first;
        }
        while (first < end && is_space(end[-1])) {
            --end;
        }
        result.count = first == end ? 0 : scanner.commas() + 1;
    }
    result.elements = {reinterpret_cast<const std::byte*>(first),
                       static_cast<std::size_t>(end - first)};
    return result;
}

}  // namespace

JsonBody split_json(base::Bytes bytes) {
    const Byte* const body = reinterpret_cast<const Byte*>(bytes.data());
    const Byte* first = body;
    const Byte* end = body + bytes.size();
    while (first < end && is_space(*first)) {
        ++first;
    }
    while (first < end && is_space(end[-1])) {
        --end;
    }
    JsonBody result;
    if (first == end) {
        result.error = JsonError::empty;
        return result;
    }
    if (end - first >= 3 && first[0] == 0xef && first[1] == 0xbb && first[2] == 0xbf) {
        result.error = JsonError::byte_order_mark;
        result.error_at = static_cast<std::size_t>(first - body);
        return result;
    }
    const Byte last = end[-1];
    const bool closes = last == ']' || last == '}';
    return closes && (*first == '[' || *first == '{') ? split<false>(body, first, end)
                                                      : split<true>(body, first, end);
}

}  // namespace ursula::stream
