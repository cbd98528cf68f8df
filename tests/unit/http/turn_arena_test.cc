#include "http/turn_arena.h"

#include <doctest/doctest.h>

#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "tests/support/count_allocations.h"

using namespace ursula;
using http::TurnArena;

TEST_CASE("what is kept stays through the next turn") {
    TurnArena arena;
    base::Random random(3);
    std::vector<std::pair<std::string_view, std::string>> last;
    std::vector<std::pair<std::string_view, std::string>> current;
    for (int turn = 0; turn < 50; ++turn) {
        for (std::uint64_t i = random.below(40); i > 0; --i) {
            // Empty, small, around a chunk's end, larger than a chunk.
            const std::size_t size =
                random.below(4) == 0 ? 60'000 + random.below(10'000) : random.below(3000);
            const std::string text(size, static_cast<char>('a' + random.below(26)));
            current.emplace_back(arena.keep(text), text);
        }
        for (const auto& [view, text] : last) {
            REQUIRE(view == text);
        }
        for (const auto& [view, text] : current) {
            REQUIRE(view == text);
        }
        arena.flip();
        last = std::move(current);
        current.clear();
    }
}

TEST_CASE("a warm arena allocates nothing for small texts") {
    TurnArena arena;
    const std::string text(1000, 'x');
    const auto turn = [&] {
        for (int i = 0; i < 200; ++i) {
            static_cast<void>(arena.keep(text));
        }
        arena.flip();
    };
    turn();
    turn();
    const std::uint64_t before = test_support::allocations();
    for (int i = 0; i < 10; ++i) {
        turn();
    }
    CHECK(test_support::allocations() == before);
}
