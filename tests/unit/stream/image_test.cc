#include "stream/image.h"

#include <doctest/doctest.h>

#include <memory>

#include "tests/unit/stream/history.h"

using namespace ursula;
using namespace ursula::stream;
using namespace ursula::stream::test;

namespace {

struct Taken {
    std::vector<std::byte> image;
    std::vector<std::byte> locations;
    std::uint64_t hash = 0;
    std::map<std::uint32_t, std::uint64_t> segments;
};

Taken take(Machine& machine, std::size_t slice = 1 << 20) {
    Taken taken;
    ImageWriter writer(machine);
    while (!writer.done()) {
        writer.next_slice(slice, taken.image, taken.locations);
    }
    taken.hash = writer.state_hash();
    taken.segments = writer.segments();
    return taken;
}

// Feeds both images in pieces of `step` bytes; the error's text, or nothing.
template <class Reader>
std::string feed(Reader& reader, const std::vector<std::byte>& bytes, std::size_t step) {
    for (std::size_t at = 0; at < bytes.size(); at += step) {
        const auto fed =
            reader.feed(base::Bytes(bytes).subspan(at, std::min(step, bytes.size() - at)));
        if (!fed) {
            return fed.error().message;
        }
    }
    const auto finished = reader.finish();
    return finished ? "" : finished.error().message;
}

std::string restore(Replica& replica, const Taken& taken, std::size_t step = 1 << 16) {
    ImageReader image(replica.machine);
    std::string error = feed(image, taken.image, step);
    if (error.empty()) {
        LocationReader locations(replica.machine);
        error = feed(locations, taken.locations, step);
        replica.index = replica.machine.applied().index.value;
    }
    return error;
}

// Streams, their locations and what the segments hold, as text.
std::string local_text(const Replica& replica) {
    std::string text;
    for (const Stream* s = replica.machine.first(); s != nullptr; s = s->next()) {
        text += s->name();
        for (std::uint32_t i = 0; i < s->locations.count(); ++i) {
            const Piece piece = s->locations.at(i);
            for (const std::uint64_t number :
                 {piece.from, piece.to, std::uint64_t{piece.place.segment},
                  std::uint64_t{piece.place.position}, std::uint64_t{piece.place.crc},
                  std::uint64_t{piece.last}}) {
                text += numbered(" ", number);
            }
        }
        text += '\n';
    }
    for (std::uint32_t segment = 0; segment < 40; ++segment) {
        text += numbered(" ", replica.local.segments.live(segment));
    }
    return text;
}

}  // namespace

TEST_CASE(
    "restore(snapshot at i) and the rest of the log give what the whole log gives, for all i") {
    for (std::uint64_t seed = 0; seed < 6; ++seed) {
        const History history(seed, 120);
        const std::vector<Entry>& log = history.entries();
        std::vector<std::uint64_t> hashes;
        std::vector<std::string> locals;
        std::vector<Taken> taken;
        Replica whole;
        hashes.push_back(whole.machine.state_hash());
        taken.push_back(take(whole.machine));
        for (const Entry& entry : log) {
            whole.apply(entry, true, 700);
            hashes.push_back(whole.machine.state_hash());
            taken.push_back(take(whole.machine, 1 + seed * 300));
            REQUIRE(taken.back().hash == hashes.back());
        }
        const std::string local = local_text(whole);
        for (std::size_t i = 0; i <= log.size(); ++i) {
            Replica restored(plenty, true, {seed, i});
            REQUIRE(restore(restored, taken[i], 1 + (i * 37) % 5000) == "");
            REQUIRE(restored.machine.state_hash() == hashes[i]);
            for (std::size_t j = i; j < log.size(); ++j) {
                restored.apply(log[j], false, 700);
                if ((i + j) % 11 == 0) {
                    REQUIRE(restored.machine.state_hash() == hashes[j + 1]);
                }
            }
            REQUIRE(restored.machine.state_hash() == hashes.back());
            REQUIRE(local_text(restored) == local);
        }
    }
}

TEST_CASE("an image taken in slices is of its index, whatever is applied meanwhile") {
    for (std::uint64_t seed = 100; seed < 220; ++seed) {
        base::Random random(seed);
        const History history(seed, 150, 4 + random.below(30));
        const std::vector<Entry>& log = history.entries();
        Replica replica;
        std::size_t i = 0;
        const std::size_t at = random.below(log.size());
        while (i < at) {
            replica.apply(log[i++], true, 100);
        }
        const std::uint64_t hash = replica.machine.state_hash();
        const std::string local = local_text(replica);
        std::map<std::uint32_t, std::uint64_t> segments;
        for (std::uint32_t segment = 0; segment < 40; ++segment) {
            if (replica.local.segments.live(segment) > 0) {
                segments[segment] = replica.local.segments.live(segment);
            }
        }
        Taken taken;
        {
            ImageWriter writer(replica.machine);
            CHECK(writer.at() == replica.machine.applied());
            while (!writer.done()) {
                writer.next_slice(1 + random.below(400), taken.image, taken.locations);
                for (std::uint64_t n = random.below(4); n > 0 && i < log.size(); --n) {
                    replica.apply(log[i++], true, 100);
                }
            }
            REQUIRE(writer.state_hash() == hash);
            REQUIRE(writer.segments() == segments);
        }
        Replica restored(plenty, true, {seed, seed});
        REQUIRE(restore(restored, taken) == "");
        REQUIRE(restored.machine.state_hash() == hash);
        REQUIRE(local_text(restored) == local);
        for (std::size_t j = at; j < log.size(); ++j) {
            restored.apply(log[j], true, 100);
            if (j >= i) {
                replica.apply(log[j], true, 100);
            }
        }
        REQUIRE(restored.machine.state_hash() == replica.machine.state_hash());
        REQUIRE(local_text(restored) == local_text(replica));
    }
}

TEST_CASE("slices with every stream changed, removed or made anew before its turn") {
    for (const int action : {0, 1, 2}) {
        Replica replica;
        for (int n = 0; n < 50; ++n) {
            replica.run(create(numbered("demo/", n), "text/plain", numbered("body of ", n)));
            for (int k = 0; k < n; ++k) {
                replica.run(append(numbered("demo/", n), "some more"));
            }
        }
        const std::uint64_t hash = replica.machine.state_hash();
        const std::string local = local_text(replica);
        Taken taken;
        {
            ImageWriter writer(replica.machine);
            writer.next_slice(500, taken.image, taken.locations);
            for (int n = 49; n >= 0; --n) {
                const std::string name = numbered("demo/", n);
                if (action == 0) {
                    replica.run(append(name, "x"));
                    replica.run(append(name, "y"));
                } else {
                    replica.run(simple(CommandKind::remove_stream, name));
                    if (action == 2) {
                        replica.run(create(name, "text/html", "another life"));
                    }
                }
            }
            while (!writer.done()) {
                writer.next_slice(300, taken.image, taken.locations);
            }
            CHECK(writer.state_hash() == hash);
        }
        Replica restored;
        REQUIRE(restore(restored, taken) == "");
        CHECK(restored.machine.state_hash() == hash);
        CHECK(local_text(restored) == local);
    }
}

TEST_CASE("a stream with many pieces is cut by slices and may vanish in the middle") {
    Replica replica;
    replica.run(create("demo/long"));
    for (int n = 0; n < 9000; ++n) {
        replica.run(append("demo/long", "0123456789"));
    }
    replica.run(create("demo/next", "text/plain", "x"));
    const std::string local = local_text(replica);
    Taken taken;
    {
        ImageWriter writer(replica.machine);
        int slices = 0;
        while (!writer.done()) {
            const std::size_t before = taken.locations.size();
            writer.next_slice(2000, taken.image, taken.locations);
            CHECK(taken.locations.size() - before < 40'000);
            if (++slices == 4) {
                replica.run(append("demo/long", "later"));
                replica.run(simple(CommandKind::remove_stream, "demo/long"));
                CHECK(replica.local.segments.live_total() == 1);
            }
        }
        CHECK(slices > 5);
    }
    Replica restored;
    REQUIRE(restore(restored, taken) == "");
    CHECK(local_text(restored) == local);
}

TEST_CASE("many producers and a producer's order survive") {
    Replica replica;
    replica.run(create("demo/a"));
    for (int n = 0; n < 3000; ++n) {
        replica.run(by(append("demo/a", "x"), numbered("producer-", (n * 7) % 1000), 0,
                       static_cast<std::uint64_t>(n / 1000)));
    }
    CHECK(replica.find("demo/a")->producers() == 1000);
    const Taken taken = take(replica.machine, 777);
    Replica restored(plenty, true, {55, 66});
    REQUIRE(restore(restored, taken) == "");
    CHECK(restored.machine.state_hash() == replica.machine.state_hash());
    replica.run(simple(CommandKind::forget_producers, "demo/a", 400));
    restored.run(simple(CommandKind::forget_producers, "demo/a", 400));
    CHECK(restored.machine.state_hash() == replica.machine.state_hash());
}

TEST_CASE("replicas agree whatever their hash key, memory and slices") {
    const History history(77, 400, 40);
    Replica one(plenty, true, {1, 2});
    Replica two(4096, true, {0xdeadbeef, 99});
    Replica three(plenty, false, {7, 7});
    for (const Entry& entry : history.entries()) {
        one.apply(entry);
        two.apply(entry, false, 5);
        three.apply(entry);
        REQUIRE(one.machine.state_hash() == two.machine.state_hash());
        REQUIRE(one.machine.state_hash() == three.machine.state_hash());
        REQUIRE(one.outcomes.size() == two.outcomes.size());
        for (std::size_t i = 0; i < one.outcomes.size(); ++i) {
            REQUIRE(one.outcomes[i].did == two.outcomes[i].did);
            REQUIRE(one.outcomes[i].why == two.outcomes[i].why);
            REQUIRE(one.outcomes[i].tail == two.outcomes[i].tail);
        }
    }
    // The same bytes too, when sliced alike.
    CHECK(take(one.machine).image == take(two.machine).image);
}

TEST_CASE("the state hash sees every part of the state") {
    std::vector<std::uint64_t> hashes;
    const auto add = [&hashes](const std::vector<Command>& commands) {
        Replica replica;
        replica.apply(make_entry(1, 5, commands));
        hashes.push_back(replica.machine.state_hash());
    };
    add({});
    add({create("demo/a")});
    add({create("demo/b")});
    add({create("demo/a", "text/html")});
    add({create("demo/a", "text/plain", "x")});
    add({create("demo/a", "text/plain", "", true)});
    add({json(create("demo/a", "", "1"), 1)});
    add({json(create("demo/a", "", "1"), 2)});
    add({create("demo/a"), by(append("demo/a", "x"), "p", 0, 0)});
    add({create("demo/a"), by(append("demo/a", "x"), "q", 0, 0)});
    add({create("demo/a"), by(append("demo/a", "x"), "p", 1, 0)});
    add({create("demo/a"), with_seq(append("demo/a", "x"), "s")});
    add({create("demo/a"), with_seq(append("demo/a", "x"), "t")});
    add({create("demo/a"), close("demo/a", "zz")});
    add({create("demo/a"), by(close("demo/a"), "p", 0, 0)});
    add({create("demo/a"), create("demo/b")});
    add({create("demo/b"), create("demo/a")});
    Command in_bucket = create("demo/a");
    in_bucket.number = 3;
    add({in_bucket});
    add({simple(CommandKind::create_bucket, "b")});
    add({simple(CommandKind::create_bucket, "b"), simple(CommandKind::begin_remove_bucket, "b")});
    add({simple(CommandKind::seal_bucket, "b", 1)});
    add({simple(CommandKind::seal_bucket, "b", 2)});
    add({in_round(simple(CommandKind::seal_bucket, "b", 2), 7)});
    for (std::size_t i = 0; i < hashes.size(); ++i) {
        for (std::size_t j = 0; j < i; ++j) {
            CAPTURE(i);
            CAPTURE(j);
            CHECK(hashes[i] != hashes[j]);
        }
    }
}

TEST_CASE("an abandoned image leaves no trace and the next one is right") {
    const History history(5, 60);
    Replica replica;
    for (const Entry& entry : history.entries()) {
        replica.apply(entry);
    }
    Taken part;
    {
        ImageWriter writer(replica.machine);
        writer.next_slice(100, part.image, part.locations);
        replica.run(create("demo/new"));
        replica.run(append("demo/stream-1", "x"));
        replica.run(simple(CommandKind::remove_stream, "demo/stream-2"));
    }
    replica.run(append("demo/new", "x"));
    const Taken taken = take(replica.machine, 50);
    CHECK(taken.hash == replica.machine.state_hash());
    Replica restored;
    REQUIRE(restore(restored, taken) == "");
    CHECK(local_text(restored) == local_text(replica));
    // The part that was written is no image.
    Replica none;
    CHECK(restore(none, part) == "an image is cut short");
}

TEST_CASE("a damaged or cut image is refused, at every byte") {
    const History history(9, 40, 5);
    Replica replica(plenty, true, {1, 2}, 0);
    for (const Entry& entry : history.entries()) {
        replica.apply(entry, true, 50);
    }
    const Taken taken = take(replica.machine, 400);
    const auto result = [](const Taken& t) {
        Replica fresh(plenty, true, {3, 4}, 0);
        return restore(fresh, t, 1000);
    };
    REQUIRE(result(taken) == "");
    for (std::vector<std::byte> Taken::*part : {&Taken::image, &Taken::locations}) {
        for (std::size_t at = 0; at < (taken.*part).size(); ++at) {
            Taken damaged = taken;
            (damaged.*part)[at] ^= std::byte{static_cast<std::uint8_t>(1u << (at % 8))};
            REQUIRE(result(damaged) != "");
            Taken cut = taken;
            (cut.*part).resize(at);
            REQUIRE(result(cut) != "");
        }
        Taken longer = taken;
        (longer.*part).push_back({});
        CHECK(result(longer) != "");
        Taken twice = taken;
        (twice.*part).insert((twice.*part).end(), (taken.*part).begin(), (taken.*part).end());
        CHECK(result(twice) != "");
    }
}

TEST_CASE("an image of another group, or locations of another index, are refused") {
    Replica replica;
    replica.run(create("demo/a", "text/plain", "x"));
    const Taken first = take(replica.machine);
    replica.run(append("demo/a", "y"));
    const Taken second = take(replica.machine);
    Replica other(plenty, true, {1, 2}, 4);
    CHECK(restore(other, first) == "an image is of another group");
    Replica mixed;
    Taken mixture = first;
    mixture.locations = second.locations;
    CHECK(restore(mixed, mixture) == "a location image is not of its machine's image");
}

TEST_CASE("frames that check but make no sense are refused") {
    Replica replica;
    replica.run(create("demo/a", "text/plain", "x"));
    const Taken taken = take(replica.machine);
    // Items in an order or number that no writer makes: taken apart and put together with right
    // checksums.
    std::vector<std::vector<std::byte>> items;
    FrameReader frames;
    const auto collected = frames.feed(
        taken.image,
        [&items](ItemKind, std::uint8_t, base::Bytes, base::Bytes whole) -> base::Result<void> {
            items.emplace_back(whole.begin(), whole.end());
            return {};
        });
    REQUIRE(collected);
    REQUIRE(items.size() == 3);  // head, stream, end
    const auto image_of = [&items](std::vector<std::size_t> order) {
        Taken made;
        FrameWriter writer(made.image);
        for (const std::size_t i : order) {
            writer.put(items[i]);
        }
        writer.close();
        Replica fresh;
        return restore(fresh, made);
    };
    CHECK(image_of({0, 1}) == "an image is cut short");
    CHECK(image_of({1, 0, 2}) != "");
    CHECK(image_of({0, 0, 1, 2}) != "");
    CHECK(image_of({0, 1, 1, 2}) != "");
    CHECK(image_of({0, 2}) != "");
    CHECK(image_of({2}) != "");
    CHECK(image_of({0, 1, 2, 1}) != "");
}

TEST_CASE("the state hash of a fixed history is the same in every build, for ever") {
    // Replicas of different builds compare these. A change here is a change of the image's format.
    const History history(4242, 300, 25);
    Replica replica;
    for (const Entry& entry : history.entries()) {
        replica.apply(entry);
    }
    CHECK(replica.machine.state_hash() == 5795198938689136434u);
}

TEST_CASE("the members that an entry set are part of the state and of its image") {
    Replica whole;
    Replica plain;
    whole.machine.enter({base::Term(1), base::LogIndex(1)}, 0);
    plain.machine.enter({base::Term(1), base::LogIndex(1)}, 0);
    CHECK(whole.machine.membership().empty());
    CHECK(whole.machine.state_hash() == plain.machine.state_hash());
    whole.machine.set_membership(base::as_bytes("one, two"));
    CHECK(whole.machine.state_hash() != plain.machine.state_hash());
    whole.machine.enter({base::Term(1), base::LogIndex(2)}, 0);
    whole.machine.enter({base::Term(2), base::LogIndex(3)}, 0);
    whole.machine.set_membership(base::as_bytes("one, two, three"));
    whole.machine.enter({base::Term(2), base::LogIndex(4)}, 0);

    const Taken taken = take(whole.machine);
    for (const std::size_t step : {std::size_t{1}, std::size_t{1} << 16}) {
        Replica copy;
        REQUIRE(restore(copy, taken, step) == "");
        CHECK(base::as_text(copy.machine.membership()) == "one, two, three");
        CHECK(copy.machine.membership_index() == base::LogIndex(3));
        CHECK(copy.machine.state_hash() == whole.machine.state_hash());
    }
    // A machine without members is written as it was before there were any.
    const Taken old = take(plain.machine);
    CHECK(base::load<std::uint32_t>(old.image.data() + frame_head_bytes + item_head_bytes) == 1);
    CHECK(base::load<std::uint32_t>(taken.image.data() + frame_head_bytes + item_head_bytes) == 2);
}

TEST_CASE("an image whose members are missing, twice or too new is refused") {
    // Head, members and end of a machine without streams: one frame, which is put together anew.
    Replica whole;
    whole.machine.enter({base::Term(1), base::LogIndex(5)}, 0);
    whole.machine.set_membership(base::as_bytes("members"));
    const Taken taken = take(whole.machine);
    const base::Bytes items = base::Bytes(taken.image).subspan(frame_head_bytes);
    const std::size_t head = item_size(items);
    const std::size_t members = item_size(items.subspan(head));
    const auto restored = [&](const std::vector<base::Bytes>& parts) {
        std::vector<std::byte> image;
        FrameWriter frames(image);
        std::uint64_t hash = 0;
        for (const base::Bytes part : parts) {
            hash = chain_hash(hash, part);
            frames.put(part);
        }
        std::vector<std::byte> last;
        ItemWriter end(last, ItemKind::end);
        end.put(hash);
        end.finish();
        frames.put(last);
        frames.close();
        Replica copy;
        ImageReader reader(copy.machine);
        return feed(reader, image, image.size());
    };
    const base::Bytes first = items.first(head);
    const base::Bytes second = items.subspan(head, members);
    CHECK(restored({first, second}) == "");
    CHECK(restored({first}) != "");
    CHECK(restored({first, second, second}) != "");
    CHECK(restored({second, first}) != "");
    std::vector<std::byte> wrong(second.begin(), second.end());
    base::store(wrong.data() + item_head_bytes, std::uint64_t{6});  // beyond what is applied
    CHECK(restored({first, wrong}) != "");
    base::store(wrong.data() + item_head_bytes, std::uint64_t{0});
    CHECK(restored({first, wrong}) != "");
    std::vector<std::byte> old(first.begin(), first.end());
    base::store(old.data() + item_head_bytes, std::uint32_t{1});
    CHECK(restored({old, second}) != "");
    CHECK(restored({old}) == "");
    base::store(old.data() + item_head_bytes, std::uint32_t{3});
    CHECK(restored({old, second}) != "");
}
