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
             "append s 1 2 acked 1 - node=\n",
             "append s 1 2 acked 1 - told=x producer=p:0:0\n",
             "append s 1 2 acked 1 - producer=:0:0\n",
             "append s 1 2 refused-stale 1 -\n",
             "append s 1 2 refused-gap 1 - producer=p:0:1\n",
             "close s 1 2 refused-gap\n",
             "close s 1 2 acked close\n",
             "create s 1 2\n",
             "create s 1 2 refused-closed\n",
             "create s 1 2 refused-absent\n",
             "delete s 1 2 duplicate\n",
             "delete s 1 2 acked soon\n",
             "absent s 1 -\n",
             "absent s 2 1\n",
             "absent s 1 2 3\n",
             "read s 1 2 -1 -1 0 2000000000000000\n",
             "read s 1 2 -1 -1 1 -\n",
             "read s 1 2 -1 -1 1 - ids=1,2\n",
             "read s 1 2 -1 -1 1 - ids=x\n",
             "read s 1 2 -1 -1 1 1 ids=1\n",
             "end s#1 open\nend s open\n",
         }) {
        CAPTURE(bad);
        CHECK_FALSE(error_of(std::string("end t open\n") + bad).empty());
    }
}

TEST_CASE("what was read is written alike") {
    const std::string text =
        "create s 1 2 acked node=a\n"
        "append s 3 4 acked 1f 0000000000000000_0000000000000005 producer=p:1:0 told=7 node=b\n"
        "append s 5 - unknown 20 - close\n"
        "append s 5 6 refused-gap 21 - producer=p:1:2 told=1\n"
        "close s 7 8 refused-closed producer=p:1:2\n"
        "delete s 9 - unknown\n"
        "read s 10 11 0000000000000000_0000000000000000 0000000000000000_0000000000000005 1 1f "
        "tail closed live session=x node=a\n"
        "head s 12 13 0000000000000000_0000000000000005 closed\n"
        "absent s 14 15 node=c\n"
        "log s 1f 0000000000000000_0000000000000005\n"
        "log s 20 - b\n"
        "end s closed-deleted\n"
        "end s#2 open\n"
        "end t never\n";
    History history;
    REQUIRE_FALSE(parse_history(text, history).has_value());
    CHECK(write_history(history) == text);
}

TEST_CASE("a name and its first incarnation are one stream") {
    History history;
    REQUIRE_FALSE(
        parse_history("end s#2 open\nend s#1 deleted\nabsent s 1 2\nend a#b open\n", history)
            .has_value());
    REQUIRE(history.streams.size() == 3);
    CHECK(history.streams[0].incarnation == 2);
    CHECK(history.streams[1].name == "s");
    CHECK(history.streams[1].absents.size() == 1);
    CHECK(history.streams[2].name == "a#b");
}

TEST_CASE("ids are folded") {
    History history;
    REQUIRE_FALSE(parse_history("end s open\nread s 1 2 -1 -1 2 - ids=7,5\n", history).has_value());
    CHECK(history.streams[0].reads[0].hash == fold(7, 5));
}

TEST_CASE("the fold is the polynomial the format describes") {
    CHECK(fold(0, 7) == 7);
    CHECK(fold(7, 5) == (7 * fold_base + 5) % fold_prime);
    CHECK(fold(0, fold_prime + 3) == 3);
}
