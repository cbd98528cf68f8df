#include "stream/utf8.h"

#if defined(__SSSE3__)
#include <tmmintrin.h>
#endif

#include <cstring>

namespace ursula::stream {

namespace {

using Byte = unsigned char;

// Bytes of the character at `at`, 0 when there is none (Unicode 15, table 3-7).
std::size_t character_size(const Byte* at, std::size_t left) {
    const Byte lead = at[0];
    const auto tail = [](Byte c) { return (c & 0xc0) == 0x80; };
    if (lead < 0x80) {
        return 1;
    }
    if (lead < 0xc2) {
        return 0;
    }
    if (lead < 0xe0) {
        return left >= 2 && tail(at[1]) ? 2 : 0;
    }
    if (lead < 0xf0) {
        const Byte low = lead == 0xe0 ? 0xa0 : 0x80;
        const Byte high = lead == 0xed ? 0x9f : 0xbf;
        return left >= 3 && at[1] >= low && at[1] <= high && tail(at[2]) ? 3 : 0;
    }
    if (lead < 0xf5) {
        const Byte low = lead == 0xf0 ? 0x90 : 0x80;
        const Byte high = lead == 0xf4 ? 0x8f : 0xbf;
        return left >= 4 && at[1] >= low && at[1] <= high && tail(at[2]) && tail(at[3]) ? 4 : 0;
    }
    return 0;
}

#if defined(__SSSE3__)

// Validation by three table look-ups per byte: J. Keiser, D. Lemire, "Validating UTF-8 In Less Than
// One Instruction Per Byte", Software: Practice and Experience 51 (2021), section 6. Each bit is
// one way in which two neighbouring bytes can be wrong; a pair is wrong when all three tables agree
// on a bit.
constexpr int too_short = 1 << 0;       // a lead not followed by enough continuations
constexpr int too_long = 1 << 1;        // ASCII followed by a continuation
constexpr int overlong_3 = 1 << 2;      // E0 80..9F
constexpr int too_large = 1 << 3;       // F4 90..BF and above
constexpr int surrogate = 1 << 4;       // ED A0..BF
constexpr int overlong_2 = 1 << 5;      // C0, C1
constexpr int overlong_4 = 1 << 6;      // F0 80..8F
constexpr int too_large_1000 = 1 << 6;  // F5..FF 80..8F
constexpr int two_continuations = 1 << 7;
constexpr int carry = too_short | too_long | two_continuations;

__m128i table(int t0, int t1, int t2, int t3, int t4, int t5, int t6, int t7, int t8, int t9,
              int ta, int tb, int tc, int td, int te, int tf) {
    const auto c = [](int value) { return static_cast<char>(value); };
    return _mm_setr_epi8(c(t0), c(t1), c(t2), c(t3), c(t4), c(t5), c(t6), c(t7), c(t8), c(t9),
                         c(ta), c(tb), c(tc), c(td), c(te), c(tf));
}

__m128i upper_nibbles(__m128i bytes) {
    return _mm_and_si128(_mm_srli_epi16(bytes, 4), _mm_set1_epi8(0x0f));
}

// Non-zero bytes where `bytes`, with `before` in front of them, are ill-formed.
__m128i errors(__m128i bytes, __m128i before) {
    constexpr int large = carry | too_large | too_large_1000;
    const __m128i first_high =
        table(too_long, too_long, too_long, too_long, too_long, too_long, too_long, too_long,
              two_continuations, two_continuations, two_continuations, two_continuations,
              too_short | overlong_2, too_short, too_short | overlong_3 | surrogate,
              too_short | too_large | too_large_1000 | overlong_4);
    const __m128i first_low =
        table(carry | overlong_3 | overlong_2 | overlong_4, carry | overlong_2, carry, carry,
              carry | too_large, large, large, large, large, large, large, large, large,
              large | surrogate, large, large);
    constexpr int continuation = too_long | overlong_2 | two_continuations;
    const __m128i second_high =
        table(too_short, too_short, too_short, too_short, too_short, too_short, too_short,
              too_short, continuation | overlong_3 | too_large_1000 | overlong_4,
              continuation | overlong_3 | too_large, continuation | surrogate | too_large,
              continuation | surrogate | too_large, too_short, too_short, too_short, too_short);
    const __m128i one_before = _mm_alignr_epi8(bytes, before, 15);
    const __m128i pairs = _mm_and_si128(
        _mm_and_si128(_mm_shuffle_epi8(first_high, upper_nibbles(one_before)),
                      _mm_shuffle_epi8(first_low, _mm_and_si128(one_before, _mm_set1_epi8(0x0f)))),
        _mm_shuffle_epi8(second_high, upper_nibbles(bytes)));
    // Third and fourth bytes are the only places where two continuations in a row are right, and
    // must be.
    const __m128i third =
        _mm_subs_epu8(_mm_alignr_epi8(bytes, before, 14), _mm_set1_epi8(0xe0 - 0x80));
    const __m128i fourth =
        _mm_subs_epu8(_mm_alignr_epi8(bytes, before, 13), _mm_set1_epi8(0xf0 - 0x80));
    const __m128i expected =
        _mm_and_si128(_mm_or_si128(third, fourth), _mm_set1_epi8(static_cast<char>(0x80)));
    return _mm_xor_si128(expected, pairs);
}

bool all_zero(__m128i bytes) {
    return _mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_setzero_si128())) == 0xffff;
}

bool is_valid(base::Bytes bytes) {
    __m128i before = _mm_setzero_si128();
    __m128i wrong = _mm_setzero_si128();
    std::size_t at = 0;
    for (; at + 16 <= bytes.size(); at += 16) {
        const __m128i block = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes.data() + at));
        wrong = _mm_or_si128(wrong, errors(block, before));
        before = block;
    }
    // The rest, filled up with zeros: at least one, so that a character cut off by the end is seen.
    alignas(16) Byte rest[16] = {};
    base::copy_bytes(rest, bytes.subspan(at));
    wrong =
        _mm_or_si128(wrong, errors(_mm_load_si128(reinterpret_cast<const __m128i*>(rest)), before));
    return all_zero(wrong);
}

#else

bool is_valid(base::Bytes) {
    return false;
}  // by the loop below

#endif

}  // namespace

std::size_t valid_utf8_prefix(base::Bytes bytes) {
    if (is_valid(bytes)) {
        return bytes.size();
    }
    const Byte* data = reinterpret_cast<const Byte*>(bytes.data());
    std::size_t at = 0;
    while (at < bytes.size()) {
        const std::size_t size = character_size(data + at, bytes.size() - at);
        if (size == 0) {
            break;
        }
        at += size;
    }
    return at;
}

}  // namespace ursula::stream
