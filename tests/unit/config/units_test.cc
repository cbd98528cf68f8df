#include "units.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <limits>

namespace ursula {

namespace {

constexpr std::uint64_t u64_max = std::numeric_limits<std::uint64_t>::max();

std::string size_hint(std::string_view text) {
    const auto size = parse_size(text);
    REQUIRE_FALSE(size.has_value());
    return size.error().hint;
}

std::string duration_hint(std::string_view text) {
    const auto duration = parse_duration(text);
    REQUIRE_FALSE(duration.has_value());
    return duration.error().hint;
}

}  // namespace

TEST_CASE("sizes: every unit, and bytes without one") {
    CHECK(parse_size("0").value() == 0);
    CHECK(parse_size("4096").value() == 4096);
    CHECK(parse_size("512B").value() == 512);
    CHECK(parse_size("64KiB").value() == 65536);
    CHECK(parse_size("256MiB").value() == 268435456);
    CHECK(parse_size("1GiB").value() == 1073741824);
    CHECK(parse_size("2TiB").value() == 2199023255552);
}

TEST_CASE("sizes: the largest, and one more") {
    CHECK(parse_size("18446744073709551615").value() == u64_max);
    CHECK_FALSE(parse_size("18446744073709551616").has_value());
    CHECK(parse_size("16777215TiB").value() == u64_max - ((1ull << 40) - 1));
    CHECK_FALSE(parse_size("16777216TiB").has_value());
    CHECK(size_hint("16777216TiB") == "write a smaller size");
}

TEST_CASE("sizes: another spelling is refused with the right one") {
    CHECK(size_hint("16MB") == "did you mean \"16MiB\"?");
    CHECK(size_hint("16mib") == "did you mean \"16MiB\"?");
    CHECK(size_hint("16 MiB") == "did you mean \"16MiB\"?");
    CHECK(size_hint("16k") == "did you mean \"16KiB\"?");
    CHECK(size_hint("1G") == "did you mean \"1GiB\"?");
    CHECK(size_hint("10 bytes") == "did you mean \"10B\"?");
}

TEST_CASE("sizes: what is none") {
    for (const char* text :
         {"", " ", "MiB", "-1", "+1", "1.5GiB", "0x10", "1e3", " 1", "1 ", "1MiBMiB", "1_000"}) {
        CAPTURE(text);
        CHECK_FALSE(parse_size(text).has_value());
    }
    CHECK(size_hint("many") == "write a number and KiB, MiB, GiB or TiB, such as \"64MiB\"");
}

TEST_CASE("durations: every unit") {
    CHECK(parse_duration("7ns").value() == base::Duration{7});
    CHECK(parse_duration("250us").value() == base::microseconds(250));
    CHECK(parse_duration("500ms").value() == base::milliseconds(500));
    CHECK(parse_duration("20s").value() == base::seconds(20));
    CHECK(parse_duration("1m").value() == base::seconds(60));
    CHECK(parse_duration("1h").value() == base::seconds(3600));
    CHECK(parse_duration("0s").value() == base::Duration{0});
}

TEST_CASE("durations: the longest, and one more") {
    CHECK(parse_duration("9223372036854775807ns").value().ns == INT64_MAX);
    CHECK_FALSE(parse_duration("9223372036854775808ns").has_value());
    CHECK(parse_duration("9223372036s").has_value());
    CHECK_FALSE(parse_duration("9223372037s").has_value());
    CHECK_FALSE(parse_duration("99999999999999999999h").has_value());
}

TEST_CASE("durations: another spelling is refused with the right one") {
    CHECK(parse_duration("20").error().message == "\"20\" has no unit");
    CHECK(duration_hint("20") == "did you mean \"20s\"?");
    CHECK(duration_hint("20sec") == "did you mean \"20s\"?");
    CHECK(duration_hint("20 s") == "did you mean \"20s\"?");
    CHECK(duration_hint("5min") == "did you mean \"5m\"?");
    CHECK(duration_hint("5MS") == "did you mean \"5ms\"?");
    CHECK(duration_hint("soon") ==
          "write a number and ms, s, m or h, such as \"500ms\" or \"20s\"");
}

TEST_CASE("durations: what is none") {
    for (const char* text : {"", "s", "-1s", "1.5s", "1m30s", " 1s", "1s ", "1d"}) {
        CAPTURE(text);
        CHECK_FALSE(parse_duration(text).has_value());
    }
}

TEST_CASE("percentages") {
    CHECK(parse_percent("0%").value() == 0);
    CHECK(parse_percent("5%").value() == 500);
    CHECK(parse_percent("2.5%").value() == 250);
    CHECK(parse_percent("0.25%").value() == 25);
    CHECK(parse_percent("100%").value() == 10'000);
    for (const char* text : {"", "%", "5", "-5%", "100.01%", "101%", "1.234%", "1.%", ".5%", "1,5%",
                             "5 %", "99999999999999999999%"}) {
        CAPTURE(text);
        CHECK_FALSE(parse_percent(text).has_value());
    }
}

TEST_CASE("what is printed is what was meant") {
    CHECK(format_size(16 << 20) == "16MiB");
    CHECK(format_size(1536 << 10) == "1536KiB");
    CHECK(format_size(1000) == "1000");
    CHECK(format_size(0) == "0");
    CHECK(format_duration(base::seconds(60)) == "60s");
    CHECK(format_duration(base::seconds(120)) == "2m");
    CHECK(format_duration(base::seconds(3600)) == "1h");
    CHECK(format_duration(base::milliseconds(1500)) == "1500ms");
    CHECK(format_duration(base::Duration{0}) == "0s");
    CHECK(format_percent(500) == "5%");
    CHECK(format_percent(250) == "2.5%");
    CHECK(format_percent(25) == "0.25%");
    CHECK(format_percent(1005) == "10.05%");
}

TEST_CASE("printing and parsing are inverse") {
    for (std::uint64_t number = 1; number < (1ull << 62); number = number * 3 + 1) {
        CHECK(parse_size(format_size(number)).value() == number);
        const base::Duration duration{static_cast<std::int64_t>(number)};
        CHECK(parse_duration(format_duration(duration)).value() == duration);
    }
    for (std::uint32_t hundredths = 0; hundredths <= 10'000; ++hundredths) {
        CHECK(parse_percent(format_percent(hundredths)).value() == hundredths);
    }
}

}  // namespace ursula
