#include "base/crc32c.h"

#include <doctest/doctest.h>

#include <string>

#include "base/bytes.h"
#include "base/random.h"

using namespace ursula;

namespace {

// RFC 3720 section B.4's polynomial, a bit at a time.
std::uint32_t by_bits(base::Bytes bytes) {
    std::uint32_t crc = UINT32_MAX;
    for (const std::byte byte : bytes) {
        crc ^= static_cast<std::uint32_t>(byte);
        for (int bit = 0; bit < 8; ++bit) {
            crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78u : 0u);
        }
    }
    return ~crc;
}

}  // namespace

TEST_CASE("crc32c of every length is that of its definition") {
    CHECK(base::crc32c(base::as_bytes(std::string_view("123456789"))) == 0xe306'9283);
    base::Random random(7);
    std::string text;
    for (std::size_t size = 0; size < 300; ++size) {
        const base::Bytes bytes = base::as_bytes(std::string_view(text));
        REQUIRE(base::crc32c(bytes) == by_bits(bytes));
        const std::size_t cut = random.below(size + 1);
        REQUIRE(base::crc32c(bytes.subspan(cut), base::crc32c(bytes.first(cut))) == by_bits(bytes));
        text += static_cast<char>(random.below(256));
    }
}
