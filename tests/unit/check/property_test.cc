// One small history for each way to break a property, beside the consistent one that differs from
// it least.
#include <doctest/doctest.h>

#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "tools/check/check.h"
#include "tools/check/parse.h"
#include "tools/check/write.h"

using namespace ursula::check;

namespace {

// The tables below write `@3` for the offset after three appends, `%12` for the fold of the
// payloads 1 and 2, and `/` for a newline.
std::string spelled(std::string_view text) {
    std::string out;
    for (std::size_t at = 0; at < text.size(); ++at) {
        if (text[at] == '/') {
            out += '\n';
        } else if (text[at] == '@') {
            out += offset_text(Offset{0, static_cast<std::uint64_t>(text[++at] - '0') * 10});
        } else if (text[at] == '%') {
            std::uint64_t hash = 0;
            while (at + 1 < text.size() && text[at + 1] >= '0' && text[at + 1] <= '9') {
                hash = fold(hash, static_cast<std::uint64_t>(text[++at] - '0'));
            }
            char digits[24];
            std::snprintf(digits, sizeof digits, "%llx", static_cast<unsigned long long>(hash));
            out += digits;
        } else {
            out += text[at];
        }
    }
    return out + '\n';
}

Verdict verdict_of(const std::string& text) {
    History history;
    const auto wrong = parse_history(text, history);
    CAPTURE(text);
    REQUIRE_MESSAGE(!wrong.has_value(), *wrong);
    return check_history(history);
}

struct Pair {
    const char* property;
    const char* common;    // In both histories.
    const char* accepted;  // And this,
    const char* refused;   // or this.
    const char* words;     // Of the reason.
};

constexpr const char* one = "log s 1 @1/end s open/append s 1 2 acked 1 @1/";
constexpr const char* two =
    "log s 1 @1/log s 2 @2/end s open/append s 1 2 acked 1 @1/append s 3 4 acked 2 @2/";
constexpr const char* shut = "log s 1 @1/end s closed/append s 1 2 acked 1 @1/";
constexpr const char* gone = "log s 1 @1/end s deleted/append s 1 2 acked 1 @1/";
// Producer p: 0:0 by [1, 2], 0:1 by [3, 4], 1:0 by [5, 6].
constexpr const char* epochs =
    "log s 1 @1/log s 2 @2/log s 3 @3/end s open/append s 1 2 acked 1 @1 producer=p:0:0/"
    "append s 3 4 acked 2 @2 producer=p:0:1/append s 5 6 acked 3 @3 producer=p:1:0/";
// s lived in [1, 8] and lives again from [9, 10].
constexpr const char* again =
    "log s 1 @1/end s deleted/create s 1 2 acked/append s 3 4 acked 1 @1/delete s 7 8 acked/"
    "log s#2 2 @1/end s#2 open/create s#2 9 10 acked/append s#2 11 12 acked 2 @1/";

const std::vector<Pair> pairs = {
    {"C1", one, "append s 3 - unknown 2 -", "append s 3 4 acked 2 @2", "missing from the log"},
    {"C1", "end s open/log s 1 @1/", "append s 1 2 acked 1 @1", "append s 1 2 acked 1 @2",
     "was acknowledged as ending at"},
    {"C1", "end s open/append s 1 2 acked 1 @1/append s 1 - unknown 2 -/log s 1 @1 a/",
     "log s 1 @1 b", "log s 2 @1 b", "nodes disagree"},
    {"C1", "end s open/append s 1 2 acked 1 @1/append s 1 - unknown 2 -/log s 1 @1 a/",
     "log s 1 @1 b", "log s 1 @1 b/log s 2 @2 b", "has 2 appends"},
    {"C2", two, "read s 4 6 -1 @1 1 %1 tail", "read s 5 6 -1 @1 1 %1 tail", "stale read"},
    {"C2", two, "head s 4 6 @1", "head s 5 6 @1", "stale read"},
    {"C2", "log s 1 @1/end s open/append s 1 9 acked 1 @1/read s 3 4 -1 @1 1 %1/", "head s 4 6 @0",
     "head s 5 6 @0", "a read went back"},
    {"C2", one, "read s 0 1 -1 @1 1 %1", "read s 0 0 -1 @1 1 %1", "future read"},
    {"C2", "log s 1 @1/log s 2 @2/end s open/append s 3 4 acked 1 @1/", "append s 2 3 acked 2 @2",
     "append s 1 2 acked 2 @2", "against real time"},
    {"C2", two, "read s 9 9 -1 @1 1 %1 tail live", "read s 9 9 -1 @1 1 %1 tail", "stale read"},
    {"C3", two, "read s 5 6 -1 @2 2 %12 tail", "read s 5 6 -1 @2 2 %21 tail", "other bytes"},
    {"C3", two, "read s 5 6 @1 @2 1 %2", "read s 5 6 @1 @2 1 %1", "other bytes"},
    {"C3", two, "read s 5 6 @1 @2 1 - ids=2", "read s 5 6 @1 @2 2 - ids=2,3",
     "more appends than the log"},
    {"C4", "end s open/append s 1 2 acked 1 -/append s 3 4 acked 2 -/log s 1 @1/", "log s 2 @2",
     "log s 2 @1", "offsets do not grow"},
    {"C4", "end s open/append s 1 2 acked 1 -/log s 1 @1 a/", "log s 1 @1 b", "log s 1 @2 b",
     "nodes disagree on the end"},
    {"C5", two, "head s 5 6 @2", "head s 5 6 @3", "not the end of an append"},
    {"C5", two, "read s 5 6 -1 @1 1 %1", "read s 5 6 -1 @2 1 %1", "the last of them ends at"},
    {"C6", "log s 1 @1/log s 2 @2/end s open/append s 1 2 acked 1 @1 producer=p:0:0/",
     "append s 3 4 acked 2 @2 producer=p:0:1", "append s 3 4 acked 2 @2 producer=p:0:0",
     "repeats the producer triple"},
    {"C6", "log s 1 @1/log s 2 @2/end s open/append s 1 2 acked 1 @1 producer=p:0:0/",
     "append s 3 4 acked 2 @2 producer=p:3:0", "append s 3 4 acked 2 @2 producer=p:0:2",
     "breaks the order"},
    {"C6", "log s 1 @1/end s open/", "append s 1 2 acked 1 @1 producer=p:3:0",
     "append s 1 2 acked 1 @1 producer=p:0:1", "begins with a seq"},
    {"C6", "log s 1 @1/end s open/append s 1 2 acked 1 @1 producer=p:0:0/",
     "append s 3 4 duplicate 1 - producer=p:0:0", "append s 3 4 acked 1 - producer=p:0:0",
     "acknowledged as new"},
    {"C6", epochs, "append s 3 5 duplicate 9 - producer=p:0:1",
     "append s 3 5 duplicate 9 - producer=p:0:2", "its triple is not in the log"},
    {"C6", epochs, "append s 6 7 duplicate 9 - producer=p:0:1",
     "append s 7 8 duplicate 9 - producer=p:0:1", "an answer went back"},
    {"C6", epochs, "append s 4 5 duplicate 9 - producer=p:0:0 told=1",
     "append s 5 6 duplicate 9 - producer=p:0:0 told=0", "an answer went back"},
    {"C6", epochs, "append s 4 5 refused-stale 9 - producer=p:0:2 told=1",
     "append s 3 4 refused-stale 9 - producer=p:0:2 told=1", "future read"},
    {"C6", epochs, "append s 7 8 refused-stale 9 - producer=p:0:2",
     "append s 7 8 refused-stale 9 - producer=p:1:0", "a higher epoch that it never had"},
    {"C6", epochs, "append s 2 3 refused-gap 9 - producer=p:0:2 told=1",
     "append s 5 6 refused-gap 9 - producer=p:0:2 told=1", "an answer went back"},
    {"C6", epochs, "append s 0 1 refused-gap 9 - producer=p:0:2 told=0",
     "append s 3 4 refused-gap 9 - producer=p:0:2 told=0", "an answer went back"},
    {"C6", epochs, "append s 4 5 refused-gap 9 - producer=p:0:3 told=2",
     "append s 4 5 refused-gap 9 - producer=p:0:2 told=2", "its seq was not ahead"},
    {"C6", "log s 1 @1/end s closed/append s 1 2 acked 1 @1 close producer=p:0:0/",
     "append s 3 4 duplicate 9 - producer=p:0:0", "append s 3 4 refused-closed 9 - producer=p:0:0",
     "was refused its retry"},
    {"C6", "log s 1 @1/end s closed/append s 1 2 acked 1 @1 producer=p:0:0/",
     "close s 3 4 acked producer=p:0:1", "close s 3 4 acked producer=p:0:2", "does not follow"},
    {"C6", "end s closed/close s 3 4 acked producer=p:0:0/", "close s 5 6 acked producer=p:0:0",
     "close s 5 6 acked producer=q:0:0", "under two producer triples"},
    {"C8", "log s 1 @1/append s 1 2 acked 1 @1/close s 3 4 acked/", "end s closed", "end s open",
     "ends open"},
    {"C8", shut, "close s 3 - unknown", "close s 3 4 refused", "nobody closed it"},
    {"C8", "end s closed/append s 5 6 refused-closed 9 -/", "close s 6 7 acked",
     "close s 7 8 acked", "future read: the close"},
    {"C8", shut, "close s 3 4 acked/read s 4 6 -1 @1 1 %1 tail",
     "close s 3 4 acked/read s 5 6 -1 @1 1 %1 tail", "stale read: the close"},
    {"C8", shut, "close s 4 5 acked/read s 3 4 -1 @1 1 %1 tail closed",
     "close s 5 6 acked/read s 3 4 -1 @1 1 %1 tail closed", "future read: the close"},
    {"C8", "log s 1 @1/log s 2 @2/end s closed/append s 3 4 acked 2 @2/close s 5 6 acked/",
     "append s 1 2 acked 1 @1", "append s 1 2 acked 1 @1 close", "which closed the stream"},
    {"C9", gone, "delete s 5 6 acked/read s 6 8 -1 @1 1 %1",
     "delete s 5 6 acked/read s 7 8 -1 @1 1 %1", "stale read: the deletion"},
    {"C9", gone, "delete s 5 - unknown", "delete s 5 6 refused", "nobody deleted it"},
    {"C9", gone, "delete s 5 6 acked", "delete s 5 6 acked/delete s 5 6 acked",
     "one deletion was acknowledged to two"},
    {"C9", "log s 1 @1/append s 1 2 acked 1 @1/delete s 5 6 acked/", "end s deleted", "end s open",
     "the stream is still there"},
    {"C9", again, "absent s 8 9", "absent s 3 4", "a stream vanished"},
    {"C9", again, "absent s 2 3", "absent s 11 12", "a stream vanished"},
    {"C9", again, "read s 8 9 -1 @1 1 %1", "read s 9 9 -1 @1 1 %1", "stale read: the deletion"},
    {"C9", again, "append s 5 6 refused 3 -", "append s 5 6 refused-absent 3 -",
     "a stream vanished"},
    {"C9", again, "append s 3 - unknown 3 -/append s#2 3 - unknown 4 -/absent s 0 0",
     "append s 3 - unknown 3 -/append s#2 3 - unknown 4 -/absent s 5 6", "a stream vanished"},
    {"C2", again, "head s#2 10 11 @0", "head s#2 7 8 @0", "the creation of s#2 was seen before"},
    {"C9",
     "log s 1 @1/end s deleted/append s 1 2 acked 1 @1/delete s 3 4 acked/log s#2 2 @1/"
     "end s#2 open/",
     "append s#2 5 6 acked 2 @1", "append s 2 - unknown 2 @1", "but to its incarnation s"},
    {"C9", "end s#2 open/create s 1 2 acked/create s#2 5 6 acked/delete s 3 4 acked/",
     "end s deleted", "end s open", "the stream is still there"},
    {"C9", "end s#2 open/create s 1 2 acked/create s#2 5 6 acked/",
     "end s deleted/delete s 2 - unknown", "end s open", "was not deleted"},
    {"C9", "end s never/", "create s 1 - unknown/absent s 2 3", "create s 1 2 acked",
     "never created"},
    {"C11", "log s 1 @1/end s open/end t open/", "append s 1 - unknown 1 -",
     "append t 1 - unknown 1 -", "but to stream t"},
    {"C14", two, "read s 5 5 -1 @1 1 %1 live session=x/read s 6 6 @1 @2 1 %2 live session=x",
     "read s 5 5 -1 @1 1 %1 live session=x/read s 6 6 @2 @2 0 0 live session=x", "misses"},
    {"C14", two, "read s 5 5 -1 @1 1 %1 live session=x/read s 6 6 -1 @1 1 %1 live session=y",
     "read s 5 5 -1 @1 1 %1 live session=x/read s 6 6 -1 @1 1 %1 live session=x", "repeats"},
    {"C15",
     "log s 1 @1/log s 2 @2/end s closed/append s 1 2 acked 1 @1/append s 3 4 acked 2 @2/"
     "close s 5 6 acked/",
     "read s 7 8 -1 @1 1 %1", "read s 7 8 -1 @1 1 %1 closed", "before its end was reached"},
    {"C15", "log s 1 @1/end s closed/append s 1 2 acked 1 @1 close/",
     "read s 5 6 -1 @1 1 %1 tail closed", "read s 5 6 -1 @1 1 %1 tail", "without the closed flag"},
    {"C18", "log s 1 @1/end s open/", "append s 1 - unknown 1 -", "append s 1 2 refused 1 -",
     "though it was refused"},
    {"C18", "end s open/append s 1 - unknown 1 -/", "log s 1 @1", "log s 2 @1", "never sent"},
};

}  // namespace

TEST_CASE("each property: the smallest break is refused, its neighbour is not") {
    for (const Pair& pair : pairs) {
        const std::string good = spelled(std::string(pair.common) + pair.accepted);
        const Verdict accepted = verdict_of(good);
        CAPTURE(good);
        if (!accepted.violations.empty()) {
            CHECK_MESSAGE(false, accepted.violations[0].reason);
        }
        const std::string bad = spelled(std::string(pair.common) + pair.refused);
        const Verdict refused = verdict_of(bad);
        CAPTURE(bad);
        REQUIRE(!refused.violations.empty());
        const Violation& violation = refused.violations[0];
        CHECK(std::string(name_of(violation.property)) == pair.property);
        CHECK_MESSAGE(violation.reason.find(pair.words) != std::string::npos, violation.reason);
        CHECK(violation.lines.size() == violation.witnesses.size());
    }
}

TEST_CASE("a violation says which operations contradict each other") {
    History history;
    REQUIRE_FALSE(
        parse_history(spelled(std::string(two) + "head s 5 6 @1 node=b"), history).has_value());
    const Verdict verdict = check_history(history);
    REQUIRE(verdict.violations.size() == 1);
    CHECK(verdict.violations[0].witnesses ==
          std::vector<Ref>{Ref{Kind::append, 0, 1, 0}, Ref{Kind::read, 0, 0, 0}});
    CHECK(explain(history, verdict.violations[0]) ==
          spelled("C2 stream s: stale read: append 2 had been acknowledged, and a later read did "
                  "not see it/    line 5: append s 3 4 acked 2 @2/    line 6: head s 5 6 @1 "
                  "node=b"));
}

TEST_CASE("an absence names what it contradicts") {
    History history;
    REQUIRE_FALSE(parse_history(spelled(std::string(again) + "absent s 5 6"), history).has_value());
    const Verdict verdict = check_history(history);
    REQUIRE(verdict.violations.size() == 1);
    // The creation was answered by 2, the absence began at 5, the deletion was sent at 7.
    CHECK(verdict.violations[0].lines == std::vector<std::uint32_t>{3, 10, 5});
}

TEST_CASE("what is within the clock's resolution is reported apart") {
    History history;
    REQUIRE_FALSE(parse_history(spelled(std::string(two) + "head s 6 7 @1"), history).has_value());
    Options options;
    options.epsilon = 1;
    CHECK(check_history(history, options).violations.size() == 1);
    options.epsilon = 2;
    const Verdict verdict = check_history(history, options);
    CHECK(verdict.violations.empty());
    REQUIRE(verdict.within_epsilon.has_value());
    CHECK(verdict.within_epsilon->reason.find("stale read") != std::string::npos);
    // A greater one behind it is still found.
    History worse;
    REQUIRE_FALSE(parse_history(spelled("log s 1 @1/log s 2 @2/end s open/append s 3 4 acked 1 @1/"
                                        "append s 20 21 acked 2 @2/head s 1 2 @1/head s 5 6 @2"),
                                worse)
                      .has_value());
    const Verdict both = check_history(worse, options);
    CHECK(both.within_epsilon.has_value());
    CHECK(both.violations.size() == 1);
}

TEST_CASE("a history without text or lines is explained as well") {
    History history;
    Stream& stream = history.streams.emplace_back();
    stream.name = std::string("s");
    stream.ending = Ending::open;
    Append lost;
    lost.when = Interval{1, 2, 0, 0};
    lost.payload = 7;
    lost.outcome = Outcome::acked;
    stream.appends.push_back(lost);
    const Verdict verdict = check_history(history);
    REQUIRE(verdict.violations.size() == 1);
    CHECK(verdict.violations[0].lines.empty());
    CHECK(explain(history, verdict.violations[0]) ==
          "C1 stream s: an acknowledged append is missing from the log\n"
          "    append s 1 2 acked 7 -\n");
}
