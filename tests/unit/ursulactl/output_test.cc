#include "tools/ursulactl/output.h"

#include <doctest/doctest.h>

namespace ursula::ctl {

TEST_CASE("tables: columns as wide as needed, numbers to the right, no blanks at the end") {
    Table table({{"NAME"}, {"COUNT"}, {"MORE", true}, {"LAST"}});
    table.add({{"a"}, {"7", Mood::plain, true}, {"hidden"}, {"x"}});
    table.add({{"ümläut"}, {"1234567", Mood::plain, true}, {"h"}, {""}});
    GlobalFlags flags;
    CHECK(table.text(flags) ==
          "NAME      COUNT  LAST\n"
          "a             7  x\n"
          "ümläut  1234567\n");
    flags.headers = false;
    CHECK(table.text(flags) ==
          "a             7  x\n"
          "ümläut  1234567\n");
    flags.format = Format::wide;
    flags.headers = true;
    CHECK(table.text(flags) ==
          "NAME      COUNT  MORE    LAST\n"
          "a             7  hidden  x\n"
          "ümläut  1234567  h\n");
}

TEST_CASE("colour only when it is wanted, and never counted as width") {
    Table table({{"STATE"}, {"N"}});
    table.add({{"ready", Mood::good}, {"1", Mood::plain, true}});
    table.add({{"gone", Mood::bad}, {"2", Mood::plain, true}});
    GlobalFlags flags;
    CHECK(table.text(flags) == "STATE  N\nready  1\ngone   2\n");
    flags.colour = true;
    CHECK(table.text(flags) == "STATE  N\n\033[32mready\033[0m  1\n\033[31mgone\033[0m   2\n");
}

TEST_CASE("a terminal is shown no command of others") {
    CHECK(printable("plain ümläut 日本") == "plain ümläut 日本");
    CHECK(printable("\033[2Jx\n\x7f") == "?[2Jx??");
    CHECK(printable("a\xc2\x9b"
                    "1m") == "a?1m");
    CHECK(printable("x\xe2\x80\xaey\xe2\x81\xa6z") == "x?y?z");
    CHECK(printable("\xc2") == "\xc2");
    CHECK(printable("\xe2\x80") == "\xe2\x80");
}

TEST_CASE("JSON whole, or a line per item") {
    const std::string body = R"({"a":[{"x":1},{"x":2}],"b":0})";
    GlobalFlags flags;
    std::string kept;
    Output out(flags, &kept);
    CHECK(!out.json(body, "a"));
    CHECK(kept.empty());
    flags.format = Format::ndjson;
    CHECK(out.json(body, "a"));
    CHECK(kept == "{\"x\":1}\n{\"x\":2}\n");
    kept.clear();
    CHECK(out.json(body));
    CHECK(kept == body + "\n");
    kept.clear();
    flags.format = Format::json;
    flags.quiet = true;  // JSON was asked for: it is not talk
    CHECK(out.json(body, "a"));
    CHECK(kept.find("\"b\": 0") != std::string::npos);
    kept.clear();
    out.line("talk");
    CHECK(kept.empty());
}

TEST_CASE("sizes and times for people") {
    CHECK(human_bytes(0) == "0 B");
    CHECK(human_bytes(1023) == "1023 B");
    CHECK(human_bytes(1024) == "1.0 KiB");
    CHECK(human_bytes(1024 * 1024 - 1) == "1.0 MiB");
    CHECK(human_bytes(UINT64_MAX) == "16384.0 PiB");
    CHECK(human_seconds(59) == "59s");
    CHECK(human_seconds(61) == "1m 1s");
    CHECK(human_seconds(3660) == "1h 1m");
    CHECK(human_seconds(90'000) == "1d 1h");
}

}  // namespace ursula::ctl
