#include "stream/locations.h"

#include <doctest/doctest.h>

#include <map>

#include "base/random.h"

using namespace ursula;
using namespace ursula::stream;

namespace {

struct Reference {
    std::vector<Piece> pieces;

    std::uint32_t find(std::uint64_t offset) const {
        // First piece of the first append whose end lies beyond the offset.
        std::uint32_t start = 0;
        for (std::uint32_t i = 0; i < pieces.size(); ++i) {
            if (pieces[i].last) {
                if (pieces[i].to > offset) {
                    return start;
                }
                start = i + 1;
            }
        }
        return static_cast<std::uint32_t>(pieces.size());
    }
    std::uint32_t find_end(std::uint64_t offset) const {
        std::uint32_t end = 0;
        for (std::uint32_t i = 0; i < pieces.size(); ++i) {
            if (pieces[i].last && pieces[i].to <= offset) {
                end = i + 1;
            }
        }
        return end;
    }
};

void fill(Locations& locations, Reference& reference, base::Random& random, std::uint64_t from,
          int appends) {
    for (int i = 0; i < appends; ++i) {
        std::vector<Place> places;
        const std::uint64_t pieces = random.chance(1, 8) ? 1 + random.below(5) : 1;
        std::uint64_t at = from;
        for (std::uint64_t p = 0; p < pieces; ++p) {
            Place place;
            place.segment = static_cast<std::uint32_t>(random.below(50));
            place.position = static_cast<std::uint32_t>(random.next());
            place.size = static_cast<std::uint32_t>(1 + random.below(40));
            place.crc = static_cast<std::uint32_t>(random.next());
            reference.pieces.push_back({at, at + place.size, place, p + 1 == pieces});
            at += place.size;
            places.push_back(place);
        }
        locations.add_append(from, places);
        from = at;
    }
}

bool same(const Piece& a, const Piece& b) {
    return a.from == b.from && a.to == b.to && a.last == b.last &&
           a.place.segment == b.place.segment && a.place.position == b.place.position &&
           a.place.size == b.place.size && a.place.crc == b.place.crc;
}

}  // namespace

TEST_CASE("locations give back what was added and find append boundaries") {
    for (const std::uint64_t base : {std::uint64_t{0}, std::uint64_t{5}, std::uint64_t{1} << 40}) {
        for (const int appends : {0, 1, 2, 3, 4, 5, 16, 17, 64, 65, 300, 1000, 2500, 5000}) {
            base::Random random(base + static_cast<std::uint64_t>(appends));
            Locations locations;
            Reference reference;
            fill(locations, reference, random, base, appends);
            REQUIRE(locations.count() == reference.pieces.size());
            CHECK(locations.empty() == (appends == 0));
            for (std::uint32_t i = 0; i < locations.count(); ++i) {
                REQUIRE(same(locations.at(i), reference.pieces[i]));
            }
            const std::uint64_t end = appends == 0 ? base : reference.pieces.back().to;
            const std::uint64_t step = appends > 300 ? 1 + (end - base) / 300 : 1;
            for (std::uint64_t offset = base == 0 ? 0 : base - 1; offset <= end + 1;
                 offset += step) {
                REQUIRE(locations.find(offset) == reference.find(offset));
                REQUIRE(locations.find_end(offset) == reference.find_end(offset));
            }
            for (const Piece& piece : reference.pieces) {
                if (random.chance(1, 50)) {
                    for (const std::uint64_t offset :
                         {piece.from, piece.to, piece.to - 1, piece.to + 1}) {
                        REQUIRE(locations.find(offset) == reference.find(offset));
                        REQUIRE(locations.find_end(offset) == reference.find_end(offset));
                    }
                }
            }
            CHECK(locations.find(UINT64_MAX) == locations.count());
            CHECK(locations.find_end(UINT64_MAX) == locations.count());
        }
    }
}

TEST_CASE("locations move whole and are counted per segment") {
    base::Random random(8);
    for (const int appends : {1, 3, 100, 3000}) {
        Locations locations;
        Reference reference;
        fill(locations, reference, random, 0, appends);
        SegmentLoad load;
        locations.count_into(load);
        std::map<std::uint32_t, std::uint64_t> sums;
        std::uint64_t total = 0;
        for (const Piece& piece : reference.pieces) {
            sums[piece.place.segment] += piece.place.size;
            total += piece.place.size;
        }
        CHECK(load.live_total() == total);
        for (std::uint32_t segment = 0; segment < 60; ++segment) {
            CHECK(load.live(segment) == sums[segment]);
        }
        Locations moved = std::move(locations);
        CHECK(locations.empty());  // NOLINT: stated by the class
        CHECK(locations.find(0) == 0);
        CHECK(moved.count() == reference.pieces.size());
        CHECK(same(moved.at(0), reference.pieces[0]));
        Locations again;
        Reference other;
        fill(again, other, random, 0, 70);
        again = std::move(moved);
        CHECK(again.count() == reference.pieces.size());
        again.take_from(load);
        CHECK(load.live_total() == 0);
        again.clear();
        CHECK(again.empty());
        CHECK(again.memory_bytes() == 0);
        fill(again, other, random, 7, 3);  // used again, from anywhere
        CHECK(again.at(0).from == 7);
    }
}

TEST_CASE("one small append costs nothing beside the object") {
    Locations locations;
    const Place place{1, 2, 100, 3};
    locations.add_append(0, {&place, 1});
    CHECK(locations.memory_bytes() == 0);
    CHECK(locations.at(0).to == 100);
}

TEST_CASE("a segment's load follows segments that go and come") {
    SegmentLoad load;
    std::map<std::uint32_t, std::uint64_t> model;
    base::Random random(2);
    std::uint32_t front = 1000;
    for (int step = 0; step < 20000; ++step) {
        const std::uint32_t segment = front - static_cast<std::uint32_t>(random.below(20));
        if (random.chance(1, 2)) {
            const std::uint64_t bytes = 1 + random.below(100);
            load.add(segment, bytes);
            model[segment] += bytes;
        } else if (model[segment] > 0) {
            const std::uint64_t bytes = 1 + random.below(model[segment]);
            load.subtract(segment, bytes);
            model[segment] -= bytes;
        }
        front += random.chance(1, 50) ? 1 : 0;
        if (random.chance(1, 3000)) {  // all segments die, numbering goes on far ahead
            for (auto& [number, bytes] : model) {
                if (bytes > 0) {
                    load.subtract(number, bytes);
                }
                bytes = 0;
            }
            front += 100000;
        }
        std::uint64_t total = 0;
        for (const auto& [number, bytes] : model) {
            total += bytes;
            REQUIRE(load.live(number) == bytes);
        }
        REQUIRE(load.live_total() == total);
        if (model.size() > 200) {
            for (auto it = model.begin(); it != model.end();) {
                it = it->second == 0 ? model.erase(it) : std::next(it);
            }
        }
    }
    CHECK(load.live(0) == 0);
    CHECK(load.live(UINT32_MAX) == 0);
}
