#include "http/http_date.h"

#include <doctest/doctest.h>

#include <ctime>
#include <limits>
#include <string>

#include "base/random.h"

namespace ursula::http {

namespace {

std::string date_of(std::int64_t ms) {
    std::string text(http_date_bytes, '?');
    write_http_date(text.data(), base::WallTime{ms});
    return text;
}

// The C library's opinion, in its C locale.
std::string reference(std::int64_t ms) {
    const std::time_t second = static_cast<std::time_t>(ms / 1000 - (ms % 1000 < 0 ? 1 : 0));
    std::tm date{};
    gmtime_r(&second, &date);
    char text[64];
    return std::string(text, std::strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", &date));
}

}  // namespace

TEST_CASE("dates that RFC 9110 and the calendar name") {
    CHECK(date_of(784'111'777'000) == "Sun, 06 Nov 1994 08:49:37 GMT");
    CHECK(date_of(0) == "Thu, 01 Jan 1970 00:00:00 GMT");
    CHECK(date_of(-1) == "Wed, 31 Dec 1969 23:59:59 GMT");
    CHECK(date_of(951'827'696'789) == "Tue, 29 Feb 2000 12:34:56 GMT");
    CHECK(date_of(4'107'542'400'000) == "Mon, 01 Mar 2100 00:00:00 GMT");
}

TEST_CASE("a clock that nobody set") {
    CHECK(date_of(std::numeric_limits<std::int64_t>::min()) == "Sat, 01 Jan 0000 00:00:00 GMT");
    CHECK(date_of(std::numeric_limits<std::int64_t>::max()) == "Fri, 31 Dec 9999 23:59:59 GMT");
}

TEST_CASE("a second of every kind, against the C library") {
    base::Random random(11);
    for (int i = 0; i < 20'000; ++i) {
        // Years 1000 to 9999: strftime writes earlier ones with fewer digits.
        const auto ms =
            static_cast<std::int64_t>(random.next() % 283'990'000'000'000) - 30'600'000'000'000;
        REQUIRE(date_of(ms) == reference(ms));
    }
}

}  // namespace ursula::http
