#include "tools/bench/sse_parser.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tools/bench/body.h"

using namespace ursula::bench;

namespace {

std::string stamp(std::int64_t ns) {
    std::string text(stamp_bytes, ' ');
    write_stamp(text.data(), ns);
    return text;
}

std::vector<std::int64_t> stamps_of(std::string_view events, std::size_t step, SseParser& parser) {
    std::vector<std::int64_t> found;
    for (std::size_t at = 0; at < events.size(); at += step) {
        REQUIRE(parser.feed(events.substr(at, step),
                            [&found](std::int64_t ns) { found.push_back(ns); }));
    }
    return found;
}

}  // namespace

TEST_CASE("sse parser: every append of every event, however the bytes are cut") {
    const std::string events =
        ": hb\n\nid: 0_2\nevent: data\ndata:" + stamp(1) + "abc" + stamp(2) +
        "\ndata:" + stamp(77) +
        "\n\nevent: control\ndata:{\"streamNextOffset\":\"0_9\",\"upToDate\":true}\n\n"
        "event: data\ndata:[{\"id\":\"" +
        stamp(INT64_MAX) + "\"}]\n\n";
    for (std::size_t step = 1; step <= events.size(); ++step) {
        SseParser parser;
        CHECK(stamps_of(events, step, parser) == std::vector<std::int64_t>{1, 2, 77, INT64_MAX});
        CHECK(parser.next_offset() == "0_9");
    }
}

TEST_CASE("sse parser: base64 data, and data that is none") {
    std::string decoded;
    REQUIRE(decode_base64("SGVsbG8=", decoded));
    CHECK(decoded == "Hello");
    decoded.clear();
    REQUIRE(decode_base64("", decoded));
    REQUIRE(decode_base64("fn5+/w==", decoded));
    CHECK(decoded == "~~~\xff");
    for (const std::string_view bad : {"SGVsbG8", "SGV=bG8=", "SG=sbG8=", "====", "SG sbG8="}) {
        CHECK_FALSE(decode_base64(bad, decoded));
    }
    SseParser parser;
    parser.set_base64(true);
    // "~0000000000000001" in base64.
    CHECK(stamps_of("event: data\ndata:fjAwMDAwMDAwMDAwMDAwMDE=\n\n", 7, parser) ==
          std::vector<std::int64_t>{1});
    CHECK_FALSE(parser.feed("event: data\ndata:~~~\n", [](std::int64_t) {}));
}

TEST_CASE("body: exactly the size asked for, one stamp mark or none") {
    for (const bool json : {false, true}) {
        for (std::size_t bytes = 1; bytes < 400; ++bytes) {
            Options options;
            options.body_bytes = bytes;
            options.content_type = json ? "application/json" : "text/plain";
            const bool stamped = bytes >= stamped_body_bytes_min;
            const Body body = make_body(options, stamped);
            REQUIRE(body.text.size() == bytes);
            CHECK(std::count(body.text.begin(), body.text.end(), stamp_mark) == (stamped ? 1 : 0));
            if (stamped) {
                CHECK(body.text[body.stamp_at] == stamp_mark);
                CHECK(read_stamp(body.text.data() + body.stamp_at + 1) == 0);
            }
        }
    }
    CHECK(read_stamp("00000000000000g0") == -1);
}
