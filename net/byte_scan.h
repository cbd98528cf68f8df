// "Does any of these bytes ...?" for short strings, 16 at a time. Never reads outside the string.
#pragma once

#include <emmintrin.h>

#include <cstdint>
#include <cstring>
#include <string_view>

namespace ursula::net {

// Bytes that no header value has: controls but HTAB, and DEL. One bit per byte.
inline std::uint32_t control_mask(__m128i x) {
    const __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(x, _mm_set1_epi8(0x1f)), x);
    const __m128i tab = _mm_cmpeq_epi8(x, _mm_set1_epi8('\t'));
    const __m128i del = _mm_cmpeq_epi8(x, _mm_set1_epi8(0x7f));
    return static_cast<std::uint32_t>(
        _mm_movemask_epi8(_mm_or_si128(_mm_andnot_si128(tab, control), del)));
}

// mask(x) has a bit per byte of x that is looked for. Strings shorter than a register fill it by
// showing bytes twice.
template <class Mask>
bool any_byte(std::string_view text, Mask mask) {
    const char* data = text.data();
    const std::size_t size = text.size();
    const auto load = [](const char* from) {
        return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
    };
    if (size >= 16) {
        for (std::size_t at = 0; at + 16 < size; at += 16) {
            if (mask(load(data + at)) != 0) {
                return true;
            }
        }
        return mask(load(data + size - 16)) != 0;
    }
    std::uint64_t low = 0;
    std::uint64_t high = 0;
    if (size >= 8) {
        std::memcpy(&low, data, 8);
        std::memcpy(&high, data + size - 8, 8);
    } else if (size >= 4) {
        std::uint32_t first = 0;
        std::uint32_t last = 0;
        std::memcpy(&first, data, 4);
        std::memcpy(&last, data + size - 4, 4);
        low = high = std::uint64_t{last} << 32 | first;
    } else if (size > 0) {
        const auto byte = [data](std::size_t i) {
            return std::uint64_t{static_cast<unsigned char>(data[i])};
        };
        low = high =
            (byte(0) | byte(size / 2) << 8 | byte(size - 1) << 16 | byte(0) << 24) * 0x1'0000'0001u;
    } else {
        return false;
    }
    return mask(_mm_set_epi64x(static_cast<long long>(high), static_cast<long long>(low))) != 0;
}

}  // namespace ursula::net
