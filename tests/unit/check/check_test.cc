#include "tools/check/check.h"

#include <doctest/doctest.h>

#include <cstdio>

#include "tools/check/parse.h"

using namespace ursula::check;

namespace {

// Writes the histories of this file: payload i has the hash 0x100 + i and ends at 10 * i.
std::string offset(int state) {
    char text[40];
    std::snprintf(text, sizeof text, "%016d_%016d", 0, state * 10);
    return text;
}

std::string payload(int index) {
    char text[20];
    std::snprintf(text, sizeof text, "%x", 0x100 + index);
    return text;
}

std::string log(std::initializer_list<int> payloads, const char* end = "open") {
    std::string text;
    int state = 0;
    for (const int index : payloads) {
        text += "log s " + payload(index) + " " + offset(++state) + "\n";
    }
    return text + "end s " + end + "\n";
}

std::string append(int start, int end, int index, int state, const std::string& more = "") {
    return "append s " + std::to_string(start) + " " + std::to_string(end) + " acked " +
           payload(index) + " " + offset(state) + more + "\n";
}

// A read from the beginning of the first `count` payloads, numbered from 1.
std::string read(int start, int end, int count, const std::string& flags = " tail") {
    std::uint64_t hash = 0;
    for (int index = 1; index <= count; ++index) {
        hash = fold(hash, static_cast<std::uint64_t>(0x100 + index));
    }
    char text[40];
    std::snprintf(text, sizeof text, "%llx", static_cast<unsigned long long>(hash));
    return "read s " + std::to_string(start) + " " + std::to_string(end) + " -1 " + offset(count) +
           " " + std::to_string(count) + " " + text + flags + "\n";
}

// The reason of the first violation, or "".
std::string reason(const std::string& text) {
    History history;
    const auto wrong = parse_history(text, history);
    CAPTURE(text);
    REQUIRE_MESSAGE(!wrong.has_value(), *wrong);
    const Verdict verdict = check_history(history);
    return verdict.violations.empty() ? "" : verdict.violations[0].reason;
}

bool has(const std::string& text, const char* part) {
    return text.find(part) != std::string::npos;
}

const std::string two = append(1, 2, 1, 1) + append(3, 4, 2, 2);

}  // namespace

TEST_CASE("a clean history is consistent") {
    CHECK(reason(log({1, 2}) + two + read(5, 6, 2) + read(3, 4, 1) + "head s 5 6 " + offset(2) +
                 "\n") == "");
    CHECK(reason("end s open\n") == "");
    CHECK(reason(log({1}) + "append s 1 - unknown " + payload(1) + " -\n" + read(9, 9, 1)) == "");
    CHECK(reason(log({}) + "append s 1 - unknown " + payload(1) + " -\n" + read(9, 9, 0)) == "");
}

TEST_CASE("lost, invented, repeated and refused appends are found") {
    CHECK(has(reason(log({1}) + two), "missing from the log"));
    CHECK(has(reason(log({1, 2, 3}) + two), "never sent"));
    CHECK(has(reason(log({1, 2, 1}) + two), "in the log twice"));
    CHECK(has(
        reason(log({1, 2}) + append(1, 2, 1, 1) + "append s 3 4 refused " + payload(2) + " -\n"),
        "though it was refused"));
    CHECK(has(reason(log({1, 2}) + append(1, 2, 1, 2)), "was acknowledged as ending at"));
}

TEST_CASE("a payload of another stream is found") {
    CHECK(has(reason("log t " + payload(1) + " -\nend t open\n" + log({}) +
                     "append s 1 - unknown " + payload(1) + " -\n"),
              "never sent to this stream"));
}

TEST_CASE("nodes that disagree are found") {
    const std::string one = "log s " + payload(1) + " " + offset(1);
    const std::string other = "log s " + payload(2) + " " + offset(1);
    CHECK(reason(one + " a\n" + one + " b\nend s open\n" + append(1, 2, 1, 1)) == "");
    CHECK(has(reason(one + " a\n" + other + " b\nend s open\n"), "nodes disagree"));
    CHECK(has(reason(one + " a\n" + one + " b\n" + "log s " + payload(2) + " - b\nend s open\n"),
              "has 2 appends"));
}

TEST_CASE("offsets must grow and be ends of appends") {
    CHECK(has(reason("log s " + payload(1) + " " + offset(2) + "\nlog s " + payload(2) + " " +
                     offset(1) + "\nend s open\nappend s 1 - unknown " + payload(1) +
                     " -\nappend s 1 - unknown " + payload(2) + " -\n"),
              "offsets do not grow"));
    CHECK(has(
        reason(log({1}) + append(1, 2, 1, 1) + "head s 3 4 0000000000000000_0000000000000005\n"),
        "is not the end of an append"));
}

TEST_CASE("reads are compared with the log") {
    CHECK(has(reason(log({2, 1}) + append(1, 2, 2, 1) + append(3, 4, 1, 2) + read(5, 6, 1)),
              "other bytes"));
    CHECK(has(reason(log({1}) + append(1, 2, 1, 1) + read(5, 6, 2)), "more appends than the log"));
    CHECK(has(reason(log({1, 2}) + two + "read s 5 6 -1 " + offset(2) + " 1 101\n"), "ended at"));
}

TEST_CASE("offsets that the log does not tell are learned from answers") {
    const std::string blind = "log s 101 -\nlog s 102 -\nend s open\n";
    const std::string sent =
        "append s 1 2 unknown 101 -\nappend s 3 4 acked 102 " + offset(2) + "\n";
    CHECK(reason(blind + sent + read(5, 6, 1, "") + "read s 7 8 " + offset(1) + " " + offset(2) +
                 " 1 102 tail\n") == "");
    CHECK(has(reason(blind + sent + read(5, 6, 1, "") + "read s 7 8 -1 " + offset(2) + " 1 101\n"),
              "ended at"));
    CHECK(has(reason(blind + sent + "read s 5 6 -1 " + offset(3) + " 1 101\n"), "do not grow"));

    History history;
    REQUIRE_FALSE(
        parse_history(blind + sent + "head s 5 6 " + offset(1) + "\n", history).has_value());
    CHECK(check_history(history).unplaced == 1);
}

TEST_CASE("real time is respected") {
    CHECK(has(reason(log({1, 2}) + two + read(5, 6, 1)), "stale read"));
    CHECK(reason(log({1, 2}) + two + read(4, 6, 1)) == "");
    CHECK(has(reason(log({1, 2}) + append(1, 2, 1, 1) + append(3, 9, 2, 2) + read(4, 5, 2) +
                     read(6, 7, 1)),
              "a read went back"));
    CHECK(has(reason(log({1, 2}) + append(1, 2, 1, 1) + append(5, 9, 2, 2) + read(3, 4, 2)),
              "future read"));
    CHECK(has(reason(log({2, 1}) + append(1, 2, 1, 2) + append(3, 4, 2, 1)), "against real time"));
    CHECK(has(reason(log({1, 2}) + two + "head s 5 6 " + offset(1) + "\n"), "stale read"));
    // What is pushed says nothing about what had not been seen when the wait began.
    CHECK(reason(log({1, 2}) + two + read(5, 6, 1, " tail live")) == "");
    // Without the claim to be up to date a short answer is legal.
    CHECK(reason(log({1, 2}) + two + read(5, 6, 1, "")) == "");
}

TEST_CASE("closed stays closed") {
    const std::string closed = log({1}, "closed");
    const std::string one = append(1, 2, 1, 1);
    const std::string shut = "close s 3 4 acked\n";
    CHECK(reason(closed + one + shut + read(5, 6, 1, " tail closed")) == "");
    CHECK(reason(closed + append(1, 2, 1, 1, " close") + read(5, 6, 1, " tail closed")) == "");
    CHECK(reason(closed + one + shut + "append s 5 6 refused-closed 105 -\n") == "");
    CHECK(has(reason(closed + one), "nobody closed it"));
    CHECK(has(reason(log({1}) + one + "append s 5 6 refused-closed 105 -\n"), "refused as closed"));
    CHECK(has(reason(log({1}) + one + shut), "ends open"));
    CHECK(
        has(reason(log({1}) + one + read(5, 6, 1, " tail closed")), "seen closed, but ends open"));
    CHECK(has(reason(closed + one + shut + read(5, 6, 1)), "stale read: the close"));
    CHECK(has(reason(closed + one + "close s 5 6 acked\n" + read(3, 4, 1, " tail closed")),
              "future read: the close"));
    CHECK(has(reason(closed + one + "close s 7 8 acked\nappend s 5 6 refused-closed 105 -\n"),
              "was seen before"));
    CHECK(has(reason(log({1, 2}, "closed") + append(1, 2, 1, 1, " close") + append(3, 4, 2, 2)),
              "appends follow append 1"));
    CHECK(has(reason(closed + append(1, 2, 1, 1, " close") + read(1, 6, 1)),
              "without the closed flag"));
    CHECK(has(reason(log({1, 2}, "closed") + two + shut + read(5, 6, 1, " closed")),
              "before its end was reached"));
}

TEST_CASE("a producer's appends are there once and in order") {
    const std::string p0 = " producer=p:0:0";
    const std::string p1 = " producer=p:0:1";
    CHECK(reason(log({1, 2}) + append(1, 2, 1, 1, p0) + append(3, 4, 2, 2, p1)) == "");
    CHECK(has(reason(log({1, 2}) + append(1, 2, 1, 1, p0) + append(3, 4, 2, 2, p0)), "repeats"));
    CHECK(has(reason(log({1, 2}) + append(1, 9, 1, 1, p0) + append(1, 9, 2, 2, " producer=p:0:2")),
              "breaks the order"));
    CHECK(has(reason(log({1}) + append(1, 2, 1, 1, " producer=p:0:3")), "begins with a seq"));
    CHECK(reason(log({1, 2}) + append(1, 2, 1, 1, p0) + append(3, 4, 2, 2, " producer=p:7:0")) ==
          "");

    const std::string lost = "append s 1 - unknown " + payload(1) + " -" + p0 + "\n";
    const std::string retry = "append s 5 6 duplicate " + payload(1) + " -" + p0 + "\n";
    CHECK(reason(log({1}) + lost + retry) == "");
    CHECK(has(reason(log({}) + lost + retry), "its triple is not in the log"));
    // A retry with other bytes finds the first.
    const std::string other = "append s 5 6 duplicate 777 -" + p0 + "\n";
    CHECK(reason(log({1}) + append(1, 2, 1, 1, p0) + other) == "");
    CHECK(has(reason(log({1}) + append(7, 8, 1, 1, p0) + other), "future read"));
    CHECK(has(reason(log({1}) + append(1, 2, 1, 1) + retry), "two producer triples"));
}

TEST_CASE("witnesses are named by their lines") {
    History history;
    REQUIRE_FALSE(parse_history(log({1, 2}) + two + read(5, 6, 1), history).has_value());
    const Verdict verdict = check_history(history);
    REQUIRE(verdict.violations.size() == 1);
    CHECK(verdict.violations[0].stream == "s");
    CHECK(verdict.violations[0].lines == std::vector<std::uint32_t>{5, 6});
}
