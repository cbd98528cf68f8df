#include "tools/check/generate.h"

#include <doctest/doctest.h>

#include "tools/check/check.h"
#include "tools/check/parse.h"
#include "tools/check/write.h"

using namespace ursula::check;

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
