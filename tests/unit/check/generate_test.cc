#include "tools/check/generate.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>

#include "tools/check/check.h"
#include "tools/check/parse.h"
#include "tools/check/write.h"

using namespace ursula::check;

namespace {

History long_history() {
    Generate wanted;
    wanted.operations = 20'000;
    wanted.streams = 3;
    return generate_history(wanted);
}

// The property that a damaged history was refused for, or "".
std::string refused_for(const History& history) {
    const Verdict verdict = check_history(history);
    return verdict.violations.empty() ? "" : name_of(verdict.violations[0].property);
}

}  // namespace

TEST_CASE("a generated history is consistent, in memory and as text") {
    for (const std::uint32_t streams : {1u, 7u}) {
        Generate wanted;
        wanted.operations = 30'000;
        wanted.streams = streams;
        wanted.seed = streams;
        const History history = generate_history(wanted);
        const Verdict verdict = check_history(history);
        REQUIRE_MESSAGE(verdict.violations.empty(), explain(history, verdict.violations[0]));
        CHECK(history.operations >= wanted.operations);
        CHECK(verdict.acked > 5'000);
        CHECK(history.streams.size() > streams);  // Some were deleted and created again.

        std::string text;
        generate_text(wanted, [&](const std::string& piece) { text += piece; });
        History parsed;
        REQUIRE_FALSE(parse_history(text, parsed).has_value());
        CHECK(parsed.operations == history.operations);
        CHECK(parsed.streams.size() == history.streams.size());
        const Verdict again = check_history(parsed);
        CHECK(again.violations.empty());
        CHECK(again.acked == verdict.acked);
        CHECK(again.reads == verdict.reads);
    }
}

TEST_CASE("one fault in a long history is found") {
    const History sound = long_history();
    REQUIRE(refused_for(sound) == "");
    constexpr std::int64_t later = 10'000'000;  // Ten times what an operation may last.

    History lost = sound;
    std::vector<Logged>& log = lost.streams[0].logs[0].entries;
    REQUIRE(log.size() > 100);
    log.erase(log.begin() + 100);
    CHECK(refused_for(lost) == "C1");

    History swapped = sound;
    std::vector<Logged>& other = swapped.streams[0].logs[0].entries;
    std::swap(other[100].payload, other[101].payload);
    CHECK(refused_for(swapped) != "");

    History stale = sound;
    std::vector<Read>& reads = stale.streams[0].reads;
    const auto tail = std::find_if(reads.begin(), reads.end(),
                                   [](const Read& read) { return read.tail && !read.closed; });
    REQUIRE(tail != reads.end());
    tail->when.start += later;
    tail->when.end += later;
    CHECK(refused_for(stale) == "C2");

    History early = sound;
    Read& last = early.streams[0].reads.back();
    last.when.start -= later;
    last.when.end -= later;
    CHECK(refused_for(early) != "");
}
