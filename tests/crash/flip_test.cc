// With URSULA_FLIP_STRIDE=1 (tools/flip-all) every byte, else of payload and padding every 16th.
#include <doctest/doctest.h>
#include <fmt/core.h>

#include <cstdlib>

#include "flips.h"

namespace ursula::crash {
namespace {

TEST_CASE("every flipped byte is harmless or refused with file and position") {
    const sim::Image directory = make_directory();
    std::uint64_t size = 0;
    for (const auto& named : directory.files) {
        size += named.second.size();
    }
    CHECK(size >= 900 * 1024);
    CHECK(directory.files.size() > 10);
    const char* stride = std::getenv("URSULA_FLIP_STRIDE");
    const FlipCounts counts =
        flip_bytes(directory, stride == nullptr ? 16 : std::strtoull(stride, nullptr, 10));
    fmt::print(
        "{} files, {} bytes, {} flipped one at a time: {} harmless, {} refused, {} payloads "
        "unreadable\n",
        directory.files.size(), size, counts.bytes, counts.harmless, counts.refused,
        counts.unreadable);
    CHECK(counts.wrong == "");
    CHECK(counts.harmless > 0);
    CHECK(counts.refused > 0);
    CHECK(counts.unreadable > 0);
}

}  // namespace
}  // namespace ursula::crash
