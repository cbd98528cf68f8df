#include "http/instant.h"

#include <doctest/doctest.h>

#include <string>

using ursula::http::parse_instant;

namespace {

std::int64_t ms(std::string_view text) {
    const auto parsed = parse_instant(text);
    CAPTURE(text);
    REQUIRE(parsed.has_value());
    return *parsed;
}

}  // namespace

TEST_CASE("instants of RFC 3339") {
    CHECK(ms("1970-01-01T00:00:00Z") == 0);
    CHECK(ms("2030-01-01T00:00:00Z") == 1'893'456'000'000);
    CHECK(ms("2030-01-01t00:00:00z") == 1'893'456'000'000);
    CHECK(ms("2030-01-01T00:00:00+00:00") == 1'893'456'000'000);
    CHECK(ms("2030-01-01T00:00:00-00:00") == 1'893'456'000'000);
    CHECK(ms("2030-01-01T05:30:00+05:30") == 1'893'456'000'000);
    CHECK(ms("2029-12-31T16:00:00-08:00") == 1'893'456'000'000);
    CHECK(ms("2029-12-31T00:01:00-23:59") == 1'893'456'000'000);
    CHECK(ms("1969-12-31T23:59:59.999Z") == -1);
    CHECK(ms("0000-01-01T00:00:00Z") == -62'167'219'200'000);
    CHECK(ms("9999-12-31T23:59:59Z") == 253'402'300'799'000);
    CHECK(ms("2024-02-29T00:00:00Z") == 1'709'164'800'000);
}

TEST_CASE("fractions of one to nine digits, rounded up to the millisecond") {
    CHECK(ms("1970-01-01T00:00:00.5Z") == 500);
    CHECK(ms("1970-01-01T00:00:00.05Z") == 50);
    CHECK(ms("1970-01-01T00:00:00.123Z") == 123);
    CHECK(ms("1970-01-01T00:00:00.123456Z") == 124);
    CHECK(ms("1970-01-01T00:00:00.1230000Z") == 123);
    CHECK(ms("1970-01-01T00:00:00.000000001Z") == 1);
    CHECK(ms("1970-01-01T00:00:00.999999999+00:00") == 1000);
}

TEST_CASE("a leap second is the second after it, where one can be") {
    CHECK(ms("2016-12-31T23:59:60Z") == ms("2017-01-01T00:00:00Z"));
    CHECK(ms("2017-01-01T01:59:60+02:00") == ms("2017-01-01T00:00:00Z"));
    CHECK_FALSE(parse_instant("2016-12-31T23:58:60Z").has_value());
    CHECK_FALSE(parse_instant("2016-12-31T23:59:60+01:00").has_value());
    CHECK_FALSE(parse_instant("2016-12-31T23:59:61Z").has_value());
}

TEST_CASE("what is not an instant") {
    for (const std::string bad : {"",
                                  "2030",
                                  "2030-01-01",
                                  "2030-01-01T00:00:00",
                                  "2030-01-01 00:00:00Z",
                                  "2030-1-01T00:00:00Z",
                                  "2030-13-01T00:00:00Z",
                                  "2030-00-01T00:00:00Z",
                                  "2030-01-00T00:00:00Z",
                                  "2030-02-30T00:00:00Z",
                                  "2030-02-29T00:00:00Z",
                                  "2030-01-01T24:00:00Z",
                                  "2030-01-01T00:60:00Z",
                                  "2030-01-01T00:00Z",
                                  "2030-01-01T00:00:00.Z",
                                  "2030-01-01T00:00:00,5Z",
                                  "2030-01-01T00:00:00.1234567890Z",
                                  "2030-01-01T00:00:00+0100",
                                  "2030-01-01T00:00:00+01",
                                  "2030-01-01T00:00:00+24:00",
                                  "2030-01-01T00:00:00+01:60",
                                  "2030-01-01T00:00:00ZZ",
                                  "2030-01-01T00:00:00Z ",
                                  " 2030-01-01T00:00:00Z",
                                  "+2030-01-01T00:00:00Z",
                                  "20300101T000000Z",
                                  "Tue, 01 Jan 2030 00:00:00 GMT",
                                  "1893456000",
                                  "not-a-timestamp",
                                  "2030-01-01T00:00:00 Z",
                                  "2030-01-01T00:00:00.5",
                                  "2030-01-01T00:00:00.123456789+00:000"}) {
        CAPTURE(bad);
        CHECK_FALSE(parse_instant(bad).has_value());
    }
    const std::string good = "2030-01-01T00:00:00.123456789+00:00";
    for (std::size_t size = 0; size < good.size(); ++size) {
        CHECK_FALSE(parse_instant(good.substr(0, size)).has_value());
    }
}
