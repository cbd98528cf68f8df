#include "tools/check/history.h"

#include <doctest/doctest.h>

#include "tools/check/parse.h"
#include "tools/check/write.h"

using namespace ursula::check;

namespace {

std::string error_of(const std::string& text) {
    History history;
    return parse_history(text, history).value_or("");
}

}  // namespace

TEST_CASE("a history of every kind of line is read") {
    History history;
    const auto wrong = parse_history(
        "# a comment\n"
        "\n"
        "log s 1f 0000000000000000_0000000000000005\n"
        "log s 20 -\n"
        "end s closed\n"
        "append s 1 2 acked 1f 0000000000000000_0000000000000005 producer=a:b:3:4\n"
        "append s 3 - unknown 20 - close\n"
        "close s 5 6 refused\n"
        "read s 7 9 -1 0000000000000000_0000000000000005 1 1f tail live\n"
        "head s 8 8 0000000000000000_0000000000000005 closed\n",
        history);
    REQUIRE_FALSE(wrong.has_value());
    REQUIRE(history.streams.size() == 1);
    CHECK(history.operations == 5);
    const Stream& stream = history.streams[0];
    CHECK(stream.ending == Ending::closed);
    REQUIRE(stream.logs.size() == 1);
    CHECK(stream.logs[0].entries[0].offset == Offset{0, 5});
    CHECK(stream.logs[0].entries[1].offset == unknown_offset);
    REQUIRE(stream.appends.size() == 2);
    CHECK(stream.appends[0].payload == 0x1f);
    CHECK(history.producers.at(stream.appends[0].producer.name - 1) == "a:b");
    CHECK(stream.appends[0].producer.epoch == 3);
    CHECK(stream.appends[0].producer.seq == 4);
    CHECK(stream.appends[0].when.line == 6);
    CHECK(stream.appends[1].when.end == never);
    CHECK(stream.appends[1].closes);
    REQUIRE(stream.reads.size() == 2);
    CHECK(stream.reads[0].from == Offset{});
    CHECK(stream.reads[0].live);
    CHECK(stream.reads[1].head);
    CHECK(stream.reads[1].closed);
}

TEST_CASE("an unreadable history names its line") {
    CHECK(error_of("") == "");
    CHECK(error_of("end s open\nwrite s 1 2\n").find("line 2: ") == 0);
    CHECK(error_of("log s 1f -\n").find("has no `end` line") != std::string::npos);
    for (const char* bad : {
             "end s\n",
             "end s ajar\n",
             "end s open\nend s open\n",
             "append\n",
             "append s\n",
             "append s 1\n",
             "append s 2 1 acked 1 -\n",
             "append s 1 2 maybe 1 -\n",
             "append s 1 2 acked xyz -\n",
             "append s 1 2 acked 1 5\n",
             "append s 1 2 acked 1\n",
             "append s 1 2 acked 1 - shut\n",
             "append s 1 2 acked 1 - producer=a:1\n",
             "append s 1 2 acked 1 - producer=a:x:1\n",
             "append s 1 2 acked 1 - producer=1\n",
             "append s 1 2 acked 11111111111111111 -\n",
             "close s 1 2\n",
             "close s 1 2 acked x\n",
             "read s 1 - -1 -1 0 0\n",
             "read s 1 2 - -1 0 0\n",
             "read s 1 2 -1 -1 x 0\n",
             "read s 1 2 -1 -1 0 0 nearly\n",
             "head s 1 2 -\n",
             "head s 1 2 1_2\n",
             "log s 1 0000000000000000_00000000000000x5\n",
         }) {
        CAPTURE(bad);
        CHECK_FALSE(error_of(std::string("end t open\n") + bad).empty());
    }
}

TEST_CASE("the fold is the polynomial the format describes") {
    CHECK(fold(0, 7) == 7);
    CHECK(fold(7, 5) == (7 * fold_base + 5) % fold_prime);
    CHECK(fold(0, fold_prime + 3) == 3);
}
