#include "stream/hot_tail.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>

#include "base/random.h"

using namespace ursula;
using namespace ursula::stream;

namespace {

std::string random_text(base::Random& random, std::size_t size) {
    std::string text(size, ' ');
    for (char& c : text) {
        c = static_cast<char>('a' + random.below(26));
    }
    return text;
}

std::string joined(const std::vector<base::Slice>& slices) {
    std::string text;
    for (const base::Slice& slice : slices) {
        text += base::as_text(slice.bytes());
    }
    return text;
}

std::string read(const HotTail& tail, std::uint64_t from, std::uint64_t to) {
    std::vector<base::Slice> slices;
    tail.slices(from, to, slices);
    return joined(slices);
}

}  // namespace

TEST_CASE("what goes in comes out, over chunks of growing size") {
    base::Random random(1);
    HotMemory memory(1ull << 30, true);
    HotTail tail;
    std::string all;
    const std::uint64_t start = 1000;
    CHECK(tail.begin() == UINT64_MAX);
    for (int step = 0; step < 300; ++step) {
        const std::string text =
            random_text(random, 1 + random.below(random.chance(1, 20) ? 200'000 : 2'000));
        tail.append(memory, start + all.size(), base::as_bytes(text));
        all += text;
        REQUIRE(tail.begin() == start);
        REQUIRE(tail.end() == start + all.size());
        const std::uint64_t from = random.below(all.size());
        const std::uint64_t to = from + random.below(all.size() - from + 1);
        REQUIRE(read(tail, start + from, start + to) == all.substr(from, to - from));
    }
    CHECK(read(tail, start, start + all.size()) == all);
    CHECK(memory.bytes() >= all.size());
    CHECK(memory.bytes() < all.size() + 128 * 1024);
    tail.clear(memory);
    CHECK(tail.empty());
    CHECK(memory.bytes() == 0);
}

TEST_CASE("a small payload gets a small chunk") {
    HotMemory memory(1ull << 30, true);
    HotTail tail;
    const std::string text(32, 'x');
    tail.append(memory, 0, base::as_bytes(text));
    CHECK(memory.bytes() <= 96);
    tail.clear(memory);
}

TEST_CASE("slices stay valid when the stream grows, is evicted or goes away") {
    HotMemory memory(1ull << 30, true);
    HotTail tail;
    const std::string first(100, 'a');
    tail.append(memory, 0, base::as_bytes(first));
    std::vector<base::Slice> slices;
    tail.slices(0, 100, slices);
    tail.append(memory, 100, base::as_bytes(std::string(100'000, 'b')));
    CHECK(joined(slices) == first);
    tail.slices(50'000, 100'100, slices);
    tail.clear(memory);
    CHECK(memory.bytes() == 0);
    CHECK(joined(slices) == first + std::string(50'100, 'b'));
}

TEST_CASE("a run that does not continue starts anew") {
    HotMemory memory(1ull << 30, true);
    HotTail tail;
    tail.append(memory, 0, base::as_bytes(std::string("abc")));
    tail.append(memory, 10, base::as_bytes(std::string("xyz")));
    CHECK(tail.begin() == 10);
    CHECK(read(tail, 10, 13) == "xyz");
    tail.clear(memory);
}

TEST_CASE("the oldest chunks of all streams leave when the budget is exceeded") {
    base::Random random(5);
    constexpr std::uint64_t budget = 2 << 20;
    HotMemory memory(budget, true);
    constexpr std::size_t streams = 50;
    std::vector<HotTail> tails(streams);
    std::vector<std::string> all(streams);
    std::vector<std::pair<std::string, std::vector<base::Slice>>> held;
    std::uint64_t evicted = 0;
    for (int step = 0; step < 20000; ++step) {
        const std::size_t i = random.below(random.chance(1, 2) ? 3 : streams);
        const std::string text = random_text(random, 1 + random.below(1500));
        tails[i].append(memory, all[i].size(), base::as_bytes(text));
        all[i] += text;
        REQUIRE(memory.bytes() <= budget);
        REQUIRE(tails[i].end() == all[i].size());
        REQUIRE(tails[i].begin() <= all[i].size() - text.size());  // what was just written stays
        evicted = std::max(evicted, tails[i].begin());
        const std::size_t probe = random.below(streams);
        if (!tails[probe].empty()) {
            const std::uint64_t begin = tails[probe].begin();
            REQUIRE(read(tails[probe], begin, all[probe].size()) == all[probe].substr(begin));
            if (random.chance(1, 100)) {
                held.emplace_back(all[probe].substr(begin), std::vector<base::Slice>());
                tails[probe].slices(begin, all[probe].size(), held.back().second);
            }
        }
        if (random.chance(1, 500)) {
            tails[probe].clear(memory);
        }
        if (held.size() > 20) {
            REQUIRE(joined(held.front().second) == held.front().first);
            held.erase(held.begin());
        }
    }
    CHECK(evicted > 0);
    for (const auto& [text, slices] : held) {
        CHECK(joined(slices) == text);
    }
    for (HotTail& tail : tails) {
        tail.clear(memory);
    }
    CHECK(memory.bytes() == 0);
}

TEST_CASE("one payload larger than the budget is held until the next one") {
    HotMemory memory(100'000, true);
    HotTail large;
    HotTail small;
    small.append(memory, 0, base::as_bytes(std::string("old")));
    const std::string text(1'000'000, 'x');
    large.append(memory, 0, base::as_bytes(text));
    CHECK(small.empty());
    CHECK(large.begin() == 0);
    CHECK(read(large, 0, text.size()) == text);
    small.append(memory, 3, base::as_bytes(std::string("new")));
    CHECK(memory.bytes() <= 100'000);
    CHECK(small.end() == 6);
    small.clear(memory);
    large.clear(memory);
}

TEST_CASE("shards share one capacity: a busy one takes what the others leave, and gives it back") {
    constexpr std::uint64_t slab = base::Capacity::slab_bytes;
    base::Capacity capacity(10 * slab + 5'000);
    {
        HotMemory busy(0, false, &capacity);
        HotMemory quiet(0, false, &capacity);
        CHECK(quiet.reserve(1));
        CHECK(capacity.left() == 9 * slab + 5'000);
        CHECK(busy.reserve(9 * slab + 5'000));  // the last of it is no whole slab
        CHECK(capacity.left() == 0);
        CHECK(!busy.reserve(1));
        CHECK(quiet.reserve(slab - 1));  // its own slab is still its own
        CHECK(!quiet.reserve(1));
        busy.unreserve(9 * slab + 5'000);
        CHECK(capacity.left() == 7 * slab + 5'000);  // two slabs stay for what comes next
        CHECK(quiet.reserve(7 * slab + 5'000));
        quiet.unreserve(8 * slab + 5'000);
    }
    CHECK(capacity.left() == 10 * slab + 5'000);
}

TEST_CASE("without a disk nothing is evicted and reservations say when it is enough") {
    HotMemory memory(100'000, false);
    HotTail tail;
    CHECK(memory.reserve(60'000));
    CHECK(!memory.reserve(40'001));
    CHECK(memory.reserve(40'000));
    CHECK(!memory.reserve(1));
    memory.unreserve(40'000);
    memory.unreserve(60'000);
    tail.append(memory, 0, base::as_bytes(std::string(60'000, 'x')));
    CHECK(!memory.reserve(40'000));  // the block's own bytes count too
    CHECK(memory.reserve(39'000));
    memory.unreserve(39'000);
    tail.append(memory, 60'000, base::as_bytes(std::string(39'000, 'x')));
    CHECK(tail.begin() == 0);
    CHECK(!memory.reserve(5'000));
    tail.clear(memory);
    CHECK(memory.reserve(100'000));
    memory.unreserve(100'000);
    HotMemory evicting(1000, true);
    CHECK(evicting.reserve(1ull << 40));
}
