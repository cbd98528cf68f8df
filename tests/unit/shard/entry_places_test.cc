// Where entries lie: what is pushed is found until it is cut off or forgotten.
#include "shard/entry_places.h"

#include <doctest/doctest.h>

#include <deque>
#include <string>

#include "base/random.h"
#include "shard/replica.h"

namespace ursula::shard {

using base::LogIndex;

namespace {

struct Known {
    std::string body;
    std::vector<storage::Location> pieces;
};

void push(EntryPlaces& places, std::deque<Known>& known, std::uint64_t first,
          base::Random& random) {
    Known entry;
    entry.body = std::string(random.between(1, 50), 'x');
    for (std::uint64_t n = random.between(1, 3); n > 0; --n) {
        entry.pieces.push_back({storage::SegmentId(static_cast<std::uint32_t>(random.below(9))),
                                static_cast<std::uint32_t>(random.below(1000)), 7});
    }
    places.push(LogIndex(first + known.size()), raft::EntryKind::command,
                base::as_bytes(entry.body), entry.pieces);
    known.push_back(entry);
}

void check(const EntryPlaces& places, const std::deque<Known>& known, std::uint64_t first) {
    CHECK(places.count() == known.size());
    CHECK(!places.has(LogIndex(first - 1)));
    CHECK(!places.has(LogIndex(first + known.size())));
    for (std::size_t i = 0; i < known.size(); ++i) {
        REQUIRE(places.has(LogIndex(first + i)));
        const EntryPlaces::View view = places.at(LogIndex(first + i));
        CHECK(view.size == known[i].body.size());
        CHECK(view.crc == base::crc32c(base::as_bytes(known[i].body)));
        REQUIRE(view.pieces.size() == known[i].pieces.size());
        const bool same =
            std::equal(view.pieces.begin(), view.pieces.end(), known[i].pieces.begin());
        CHECK(same);
    }
}

}  // namespace

TEST_CASE("entries are found until they are cut off or forgotten") {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        CAPTURE(seed);
        base::Random random(seed);
        EntryPlaces places;
        std::deque<Known> known;
        std::uint64_t first = 100;
        for (int step = 0; step < 200; ++step) {
            const std::uint64_t dice = random.below(10);
            if (dice < 7) {
                push(places, known, first, random);
            } else if (dice < 8 && !known.empty()) {
                const std::size_t left = random.below(known.size() + 1);
                places.cut(LogIndex(first + left));
                known.resize(left);
            } else if (dice < 9) {
                const std::size_t gone = random.below(known.size() + 1);
                places.forget(LogIndex(first + gone - 1));
                known.erase(known.begin(), known.begin() + static_cast<std::ptrdiff_t>(gone));
                first += gone;
            } else if (step % 50 == 49) {
                places.clear();
                known.clear();
                first += random.below(1000);
            }
            check(places, known, first);
        }
    }
}

TEST_CASE("what is forgotten gives its memory back") {
    EntryPlaces places;
    const storage::Location piece{storage::SegmentId(1), 0, 8};
    for (std::uint64_t index = 1; index <= 100'000; ++index) {
        places.push(LogIndex(index), raft::EntryKind::command, base::as_bytes("12345678"),
                    {&piece, 1});
        if (index > 10) {
            places.forget(LogIndex(index - 10));
        }
        CHECK(places.count() <= 11);
    }
    CHECK(places.at(LogIndex(100'000)).pieces.size() == 1);
}

TEST_CASE("what recovery found is there by its index until it is taken or cut off") {
    RecoveredEntries entries;
    CHECK(entries.body(base::LogIndex(1)).empty());
    std::vector<std::string> bodies;
    for (std::uint64_t i = 5; i < 20; ++i) {
        bodies.push_back(std::string(i, static_cast<char>('a' + i)));
    }
    for (std::uint64_t i = 5; i < 20; ++i) {
        entries.push({base::Term(2), base::LogIndex(i)}, raft::EntryKind::command,
                     base::as_bytes(bodies[i - 5]), {});
    }
    std::uint64_t first = 5;
    for (; first < 17; ++first) {
        CHECK(entries.body(base::LogIndex(first - 1)).empty());
        for (std::uint64_t i = first; i < 20; ++i) {
            CHECK(base::as_text(entries.body(base::LogIndex(i))) == bodies[i - 5]);
        }
        entries.pop_first();
    }
    entries.pop_last();
    CHECK(entries.body(base::LogIndex(19)).empty());
    entries.push({base::Term(3), base::LogIndex(19)}, raft::EntryKind::command,
                 base::as_bytes(bodies[0]), {});
    CHECK(base::as_text(entries.body(base::LogIndex(19))) == bodies[0]);
    CHECK(base::as_text(entries.body(base::LogIndex(18))) == bodies[13]);
    CHECK(entries.body(base::LogIndex(20)).empty());
}

}  // namespace ursula::shard
