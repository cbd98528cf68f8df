#include "http/tokens.h"

#include <doctest/doctest.h>

using namespace ursula;
using namespace ursula::http;

TEST_CASE("an offset is 16_16 digits and string order is position order") {
    CHECK(offset_token(0) == "0000000000000000_0000000000000000");
    CHECK(offset_token(7) == "0000000000000000_0000000000000007");
    CHECK(offset_token(1234567890123456) == "0000000000000000_1234567890123456");
    base::Random random(1);
    for (int i = 0; i < 10'000; ++i) {
        const std::uint64_t a = random.below(9'999'999'999'999'999u) >> random.below(50);
        const std::uint64_t b = random.below(9'999'999'999'999'999u) >> random.below(50);
        CHECK((offset_token(a) < offset_token(b)) == (a < b));
        CHECK(parse_offset(offset_token(a)) == a);
    }
}

TEST_CASE("nothing but our grammar is an offset") {
    for (const char* bad :
         {"", "-1", "now", "0_0", "1_2", "0000000000000000-0000000000000000",
          "0000000000000000_000000000000000", "0000000000000000_00000000000000000",
          "0000000000000000_00000000000000 0", "0000000000000000_+000000000000001",
          "000000000000000a_0000000000000000"}) {
        CAPTURE(bad);
        CHECK_FALSE(parse_offset(bad).has_value());
    }
    // Beyond every stream, yet well formed (digest 2.1).
    CHECK(parse_offset("9999999999999999_9999999999999999") == UINT64_MAX);
}

TEST_CASE("a cursor is the interval, or strictly above the client's own") {
    base::Random random(2);
    const base::WallTime now{1'795'400'000'000};
    const std::uint64_t interval = cursor_interval(now);
    CHECK(interval == (1'795'400'000'000u - 1'728'432'000'000u) / 20'000u);
    CHECK(next_cursor("", now, random) == interval);
    CHECK(next_cursor("12abc", now, random) == interval);
    CHECK(next_cursor("-5", now, random) == interval);
    CHECK(next_cursor("17", now, random) == interval);
    for (int i = 0; i < 1000; ++i) {
        const std::uint64_t next = next_cursor(std::to_string(interval), now, random);
        CHECK(next > interval);
        CHECK(next <= interval + 180);
    }
    CHECK(next_cursor("18446744073709551615", now, random) == UINT64_MAX);
    CHECK(next_cursor("99999999999999999999999", now, random) == interval);
    CHECK(cursor_interval(base::WallTime{0}) == 0);
}

TEST_CASE("an ETag names incarnation, range and closure") {
    const base::Incarnation one{base::GroupId(3), base::LogIndex(9), 1};
    const base::Incarnation two{base::GroupId(3), base::LogIndex(10), 1};
    const std::string tag = etag(0, one, 0, 100, false);
    CHECK(tag.front() == '"');
    CHECK(tag.back() == '"');
    CHECK(tag != etag(0, two, 0, 100, false));
    CHECK(tag != etag(7, one, 0, 100, false));
    CHECK(tag != etag(0, one, 1, 100, false));
    CHECK(tag != etag(0, one, 0, 101, false));
    CHECK(tag != etag(0, one, 0, 100, true));
    CHECK(etag_matches(tag, tag));
    CHECK(etag_matches("W/" + tag, tag));
    CHECK(etag_matches("\"x\", W/\"y\" ," + tag, tag));
    CHECK(etag_matches("*", tag));
    CHECK_FALSE(etag_matches("\"x\"", tag));
    CHECK_FALSE(etag_matches("", tag));
    CHECK_FALSE(etag_matches("\"unterminated", tag));
    CHECK_FALSE(etag_matches("x" + tag, tag));
}
