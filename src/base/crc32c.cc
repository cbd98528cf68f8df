#include "base/crc32c.h"

#if defined(__x86_64__)
#include <nmmintrin.h>
#elif defined(__aarch64__)
#include <arm_acle.h>
#else
#error "crc32c needs SSE4.2 or the ARMv8 CRC extension"
#endif

#include "base/wire.h"

namespace ursula::base {
namespace {

inline std::uint64_t step8(std::uint64_t crc, std::uint64_t word) {
#if defined(__x86_64__)
    return _mm_crc32_u64(crc, word);
#else
    return __crc32cd(static_cast<std::uint32_t>(crc), word);
#endif
}
inline std::uint32_t step1(std::uint32_t crc, std::uint8_t byte) {
#if defined(__x86_64__)
    return _mm_crc32_u8(crc, byte);
#else
    return __crc32cb(crc, byte);
#endif
}

}  // namespace

std::uint32_t crc32c(Bytes bytes, std::uint32_t previous) {
    const std::byte* at = bytes.data();
    std::size_t left = bytes.size();
    std::uint64_t crc = ~previous & 0xffffffffu;
    // Unrolled: else three of four instructions would count.
    for (; left >= 64; left -= 64, at += 64) {
        crc = step8(crc, load<std::uint64_t>(at));
        crc = step8(crc, load<std::uint64_t>(at + 8));
        crc = step8(crc, load<std::uint64_t>(at + 16));
        crc = step8(crc, load<std::uint64_t>(at + 24));
        crc = step8(crc, load<std::uint64_t>(at + 32));
        crc = step8(crc, load<std::uint64_t>(at + 40));
        crc = step8(crc, load<std::uint64_t>(at + 48));
        crc = step8(crc, load<std::uint64_t>(at + 56));
    }
    for (; left >= 8; left -= 8, at += 8) {
        crc = step8(crc, load<std::uint64_t>(at));
    }
    std::uint32_t tail = static_cast<std::uint32_t>(crc);
    for (; left > 0; --left, ++at) {
        tail = step1(tail, static_cast<std::uint8_t>(*at));
    }
    return ~tail;
}

}  // namespace ursula::base
