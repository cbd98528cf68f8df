// Forks in the machine: intents, holds, soft deletion, and all of it through images.
#include <doctest/doctest.h>

#include <deque>
#include <string>
#include <vector>

#include "base/limits.h"
#include "base/slice.h"
#include "stream/image.h"
#include "stream/json.h"
#include "stream/json_prefix.h"
#include "stream/read_plan.h"
#include "tests/unit/stream/support.h"

using namespace ursula;
using namespace ursula::stream;
using namespace ursula::stream::test;
using api::Refusal;

namespace {

namespace limits = base::limits;

// Source and forks in one group: the machine does not care where the other one is.
struct Forks : Replica {
    std::deque<ForkPart> parts;
    std::deque<std::string> texts;
    std::vector<Entry> log;
    std::int64_t time_ms = 1000;

    Outcome step(const Command& command) {
        log.push_back(make_entry(index + 1, time_ms, {command}));
        apply(log.back(), true, 700);
        return outcomes[0];
    }
    ForkPart& part(std::string_view source = {}) {
        ForkPart& fresh = parts.emplace_back();
        fresh.source.group = machine.group();
        fresh.source_name = texts.emplace_back(source);
        return fresh;
    }
    Command begin(std::string_view name, std::string_view source, api::ForkAsk asked = {}) {
        Command command = simple(CommandKind::begin_fork, name);
        ForkPart& own = part(source);
        own.asked = asked;
        command.fork = &own;
        return command;
    }
    Command hold(std::string_view source, base::Incarnation link,
                 std::uint64_t point = api::fork_at_tail) {
        Command command = simple(CommandKind::hold_stream, source);
        ForkPart& own = part();
        own.link = link;
        own.point = point;
        if (const Stream* stream = find(source)) {
            own.source = stream->incarnation(machine.group());
        }
        command.fork = &own;
        return command;
    }
    Command of_link(CommandKind kind, base::Incarnation link, std::string_view name = {}) {
        Command command = simple(kind, name);
        ForkPart& own = part();
        own.link = link;
        command.fork = &own;
        return command;
    }
    Command make(std::string_view name, std::string_view source, base::Incarnation link,
                 std::uint64_t point, std::string_view body = {}, api::ForkAsk asked = {}) {
        Command command = create(name, "text/plain", body);
        ForkPart& own = part(source);
        own.link = link;
        own.point = point;
        own.depth = 1;
        own.asked = asked;
        if (const Stream* stream = find(source)) {
            own.source = stream->incarnation(machine.group());
            own.depth = stream->origin() == nullptr ? 1 : stream->origin()->depth + 1;
        }
        command.fork = &own;
        return command;
    }
    // All three steps.
    base::Incarnation fork(std::string_view name, std::string_view source,
                           std::string_view body = {}) {
        const base::Incarnation link = step(begin(name, source)).incarnation;
        const Outcome held = step(hold(source, link));
        REQUIRE(held.did == Did::held);
        REQUIRE(step(make(name, source, link, held.fork_point, body)).did == Did::created);
        return link;
    }
    const ForkLink* link(base::Incarnation id) const {
        const auto found = machine.links().find(id);
        return found == machine.links().end() ? nullptr : &found->second;
    }
    Refusal why(const Command& command) {
        const Outcome outcome = step(command);
        REQUIRE(outcome.did == Did::refused);
        return outcome.why;
    }
};

struct Taken {
    std::vector<std::byte> image;
    std::vector<std::byte> locations;
    std::uint64_t hash = 0;
};

void restore(Replica& replica, const Taken& taken) {
    ImageReader image(replica.machine);
    const auto fed = image.feed(taken.image);
    REQUIRE_MESSAGE(fed.has_value(), (fed ? "" : fed.error().message));
    REQUIRE(image.finish().has_value());
    LocationReader locations(replica.machine);
    REQUIRE(locations.feed(taken.locations).has_value());
    REQUIRE(locations.finish().has_value());
    replica.index = replica.machine.applied().index.value;
}

}  // namespace

TEST_CASE("a fork takes its intent over and begins at its point") {
    Forks r;
    r.step(create("demo/a", "text/plain", "hello"));
    const Outcome begun = r.step(r.begin("demo/f", "demo/a"));
    REQUIRE(begun.did == Did::fork_begun);
    CHECK(r.machine.take_links_changed());
    REQUIRE(r.link(begun.incarnation) != nullptr);
    CHECK_FALSE(r.link(begun.incarnation)->releasing);
    const Outcome held = r.step(r.hold("demo/a", begun.incarnation));
    CHECK(held.fork_point == 5);
    CHECK(r.find("demo/a")->held());
    // Again: the same.
    r.step(append("demo/a", "!"));
    CHECK_FALSE(r.step(r.hold("demo/a", begun.incarnation, 5)).changed);
    const Outcome made = r.step(r.make("demo/f", "demo/a", begun.incarnation, 5, "own"));
    CHECK(made.did == Did::created);
    CHECK(made.from == 5);
    CHECK(made.to == 8);
    CHECK(r.machine.links().empty());
    const Stream* fork = r.find("demo/f");
    CHECK(fork->own_from() == 5);
    CHECK(fork->tail() == 8);
    CHECK(fork->origin()->source_name == "demo/a");
    CHECK(r.step(append("demo/f", "more")).to == 12);
    CHECK(r.find("demo/a")->tail() == 6);
    ReadPlan plan;
    plan_read(*fork, 5, 100, plan);
    CHECK(plan.from == 5);
    CHECK(plan.next == 12);
}

TEST_CASE("an intent that was given up makes no fork, and a hold that was let go comes no more") {
    Forks r;
    r.step(create("demo/a", "text/plain", "hello"));
    const base::Incarnation link = r.step(r.begin("demo/f", "demo/a")).incarnation;
    CHECK(r.step(r.of_link(CommandKind::abandon_fork, link)).changed);
    CHECK(r.link(link)->releasing);
    CHECK(r.why(r.make("demo/f", "demo/a", link, 5)) == Refusal::fork_abandoned);
    CHECK(r.find("demo/f") == nullptr);
    // The release overtook the hold.
    CHECK(r.step(r.of_link(CommandKind::release_hold, link, "demo/a")).did == Did::released);
    CHECK(r.why(r.hold("demo/a", link)) == Refusal::fork_abandoned);
    CHECK_FALSE(r.find("demo/a")->held());
    CHECK(r.step(r.of_link(CommandKind::forget_fork, link)).changed);
    CHECK(r.machine.links().empty());
    CHECK(r.why(r.make("demo/f", "demo/a", link, 5)) == Refusal::fork_abandoned);
    // Every step again.
    CHECK_FALSE(r.step(r.of_link(CommandKind::abandon_fork, link)).changed);
    CHECK_FALSE(r.step(r.of_link(CommandKind::forget_fork, link)).changed);
    CHECK_FALSE(r.step(r.of_link(CommandKind::release_hold, link, "demo/a")).changed);
    // It is remembered for as long as any call could be on its way.
    r.time_ms += limits::late_holds_kept_ms + 1;
    const base::Incarnation other = r.step(r.begin("demo/g", "demo/a")).incarnation;
    r.step(r.of_link(CommandKind::release_hold, other, "demo/a"));
    CHECK_FALSE(r.machine.late_holds().has(link));
    CHECK(r.machine.late_holds().has(other));
}

TEST_CASE("a create that finds a stream, or may not store its body, lets its intent go") {
    Forks r;
    r.step(create("demo/a", "text/plain", "hello"));
    const base::Incarnation first = r.step(r.begin("demo/f", "demo/a")).incarnation;
    const base::Incarnation second = r.step(r.begin("demo/f", "demo/a")).incarnation;
    CHECK(first != second);
    r.step(r.hold("demo/a", first));
    r.step(r.hold("demo/a", second));
    CHECK(r.step(r.make("demo/f", "demo/a", first, 5)).did == Did::created);
    CHECK(r.step(r.make("demo/f", "demo/a", second, 5)).did == Did::existed);
    CHECK(r.link(first) == nullptr);
    CHECK(r.link(second)->releasing);
    const base::Incarnation third = r.step(r.begin("demo/j", "demo/a")).incarnation;
    r.step(r.hold("demo/a", third));
    Command bad = r.make("demo/j", "demo/a", third, 5);
    bad.verdict = Verdict::json_invalid;
    CHECK(r.why(bad) == Refusal::json_invalid);
    CHECK(r.link(third)->releasing);
    // A sealed bucket takes neither.
    r.step(in_round(simple(CommandKind::seal_bucket, "b", 7), 1));
    const base::Incarnation fourth = r.step(r.begin("b/f", "demo/a")).incarnation;
    Command late = r.make("b/f", "demo/a", fourth, 5);
    late.number = 7;
    CHECK(r.why(late) == Refusal::bucket_being_removed);
    CHECK(r.link(fourth)->releasing);
    Command begin = r.begin("b/g", "demo/a");
    begin.number = 7;
    CHECK(r.why(begin) == Refusal::bucket_being_removed);
}

TEST_CASE("a source with forks is deleted softly, and goes with the last of them") {
    for (const bool expires : {false, true}) {
        CAPTURE(expires);
        Forks r;
        Command source = create("demo/a", "text/plain", "hello");
        if (expires) {
            source.expiry = {api::Expiry::Kind::ttl, 500, {}};
        }
        r.step(source);
        r.step(by(append("demo/a", "x"), "p", 0, 0));
        const base::Incarnation one = r.fork("demo/f", "demo/a");
        const base::Incarnation two = r.fork("demo/g", "demo/a");
        r.find("demo/a")->watch = 9;
        if (expires) {
            r.time_ms += 500;
            // Whichever command meets it first.
            const Outcome met = r.step(append("demo/a", "y"));
            CHECK(met.why == Refusal::stream_deleted);
            CHECK(met.watch == 9);
            CHECK(r.machine.next_due_ms() == INT64_MAX);
        } else {
            const Outcome removed = r.step(simple(CommandKind::remove_stream, "demo/a"));
            CHECK(removed.did == Did::removed);
            CHECK(removed.watch == 9);
        }
        REQUIRE(r.find("demo/a") != nullptr);
        CHECK(r.find("demo/a")->gone());
        CHECK(r.find("demo/a")->watch == 0);
        CHECK(r.find("demo/a")->producers() == 0);
        CHECK(r.why(append("demo/a", "z")) == Refusal::stream_deleted);
        CHECK(r.why(simple(CommandKind::remove_stream, "demo/a")) == Refusal::stream_deleted);
        CHECK(r.why(create("demo/a")) == Refusal::stream_held);
        CHECK(r.why(r.begin("demo/a", "demo/f")) == Refusal::stream_held);
        const base::Incarnation link = r.step(r.begin("demo/h", "demo/a")).incarnation;
        CHECK(r.why(r.hold("demo/a", link)) == Refusal::fork_source_deleted);
        CHECK(r.machine.streams_of_bucket(0) == 3);
        // The forks go: their links are released.
        r.step(simple(CommandKind::remove_stream, "demo/f"));
        CHECK(r.link(one)->releasing);
        r.step(r.of_link(CommandKind::release_hold, one, "demo/a"));
        REQUIRE(r.find("demo/a") != nullptr);
        r.step(simple(CommandKind::remove_stream, "demo/g"));
        r.step(r.of_link(CommandKind::release_hold, two, "demo/a"));
        CHECK(r.find("demo/a") == nullptr);
        CHECK(r.machine.streams() == 0);
        CHECK(r.step(create("demo/a")).did == Did::created);
    }
}

TEST_CASE("a source that was not deleted stays when its forks go, and a chain goes from its end") {
    Forks r;
    r.step(create("demo/a", "text/plain", "a"));
    const base::Incarnation b = r.fork("demo/b", "demo/a", "b");
    const base::Incarnation c = r.fork("demo/c", "demo/b", "c");
    CHECK(r.find("demo/c")->origin()->depth == 2);
    r.step(simple(CommandKind::remove_stream, "demo/b"));
    CHECK(r.find("demo/b")->gone());
    CHECK(r.machine.links().empty());  // it still reads demo/a
    r.step(simple(CommandKind::remove_stream, "demo/c"));
    r.step(r.of_link(CommandKind::release_hold, c, "demo/b"));
    CHECK(r.find("demo/b") == nullptr);
    REQUIRE(r.link(b) != nullptr);
    r.step(r.of_link(CommandKind::release_hold, b, "demo/a"));
    CHECK(r.find("demo/a") != nullptr);
    CHECK_FALSE(r.find("demo/a")->held());
    CHECK(r.step(append("demo/a", "x")).did == Did::appended);
}

TEST_CASE("an expired fork is replaced, and its link released") {
    Forks r;
    r.step(create("demo/a", "text/plain", "a"));
    const base::Incarnation link = r.step(r.begin("demo/f", "demo/a")).incarnation;
    r.step(r.hold("demo/a", link));
    Command made = r.make("demo/f", "demo/a", link, 1);
    made.expiry = {api::Expiry::Kind::ttl, 500, {}};
    r.step(made);
    r.time_ms += 500;
    CHECK(r.step(create("demo/f")).did == Did::created);
    CHECK(r.link(link)->releasing);
    CHECK(r.find("demo/f")->origin() == nullptr);
}

TEST_CASE("a fork's PUT again is the same by what was asked, or by what it got") {
    Forks r;
    r.step(create("demo/a", "text/plain", "hello"));
    api::ForkAsk asked;
    asked.sub_offset = 0;
    const base::Incarnation link = r.step(r.begin("demo/f", "demo/a", asked)).incarnation;
    r.step(r.hold("demo/a", link));
    Command made = r.make("demo/f", "demo/a", link, 5, {}, asked);
    made.expiry = {api::Expiry::Kind::ttl, 60'000, {}};  // inherited
    r.step(made);
    const auto again = [&](const std::function<void(Command&, api::ForkAsk&)>& change,
                           std::string_view source = "demo/a") {
        Command command = r.begin("demo/f", source);
        change(command, r.parts.back().asked);
        return r.machine.decide(command).did == Did::existed;
    };
    CHECK(again([](Command&, api::ForkAsk&) {}));
    CHECK(again([](Command& c, api::ForkAsk& a) {
        a.has_content_type = true;
        c.content_type = "TEXT/plain; x=y";
    }));
    CHECK(again([](Command&, api::ForkAsk& a) {
        a.has_offset = true;
        a.offset = 5;
    }));
    CHECK(again([](Command&, api::ForkAsk& a) {
        a.expires = api::Expiry::Kind::ttl;
        a.expires_ms = 60'000;
    }));
    CHECK_FALSE(again([](Command& c, api::ForkAsk& a) {
        a.has_content_type = true;
        c.content_type = "text/html";
    }));
    CHECK_FALSE(again([](Command&, api::ForkAsk& a) {
        a.has_offset = true;
        a.offset = 4;
    }));
    CHECK_FALSE(again([](Command&, api::ForkAsk& a) { a.sub_offset = 1; }));
    CHECK_FALSE(again([](Command&, api::ForkAsk& a) {
        a.expires = api::Expiry::Kind::ttl;
        a.expires_ms = 61'000;
    }));
    CHECK_FALSE(again([](Command& c, api::ForkAsk&) { c.close = true; }));
    CHECK_FALSE(again([](Command&, api::ForkAsk&) {}, "demo/b"));
    CHECK(r.why(create("demo/f")) == Refusal::stream_exists_with_other_config);
    CHECK(r.why(r.begin("demo/a", "demo/f")) == Refusal::stream_exists_with_other_config);
}

TEST_CASE("holds have their bounds: the life that was looked at, depth, number") {
    Forks r;
    r.step(create("demo/a", "text/plain", "hello"));
    const base::Incarnation link = r.step(r.begin("demo/f", "demo/a")).incarnation;
    Command old = r.hold("demo/a", link);
    r.step(simple(CommandKind::remove_stream, "demo/a"));
    CHECK(r.why(old) == Refusal::fork_source_not_found);
    r.step(create("demo/a", "text/plain", "again"));
    CHECK(r.why(old) == Refusal::fork_source_not_found);
    CHECK(r.why(r.hold("demo/a", link, 6)) == Refusal::fork_offset_invalid);
    CHECK(r.why(r.hold("demo/none", link)) == Refusal::fork_source_not_found);
    Command deep = r.make("demo/f", "demo/a", link, 5);
    r.step(r.hold("demo/a", link));
    r.parts.back().depth = limits::fork_depth_max;
    for (ForkPart& part : r.parts) {
        part.depth = limits::fork_depth_max;
    }
    r.step(deep);
    const base::Incarnation next = r.step(r.begin("demo/g", "demo/f")).incarnation;
    CHECK(r.why(r.hold("demo/f", next)) == Refusal::fork_too_deep);
    for (std::uint32_t i = 1; i < limits::forks_per_stream_max; ++i) {
        REQUIRE(r.step(r.hold("demo/a", {base::GroupId(1), base::LogIndex(i), 0})).did ==
                Did::held);
        r.parts.clear();
        r.texts.clear();
        r.log.clear();
    }
    CHECK(r.why(r.hold("demo/a", {base::GroupId(2), base::LogIndex(1), 0})) ==
          Refusal::forks_too_many);
    // And back from an image, in several items.
    Taken taken;
    {
        ImageWriter writer(r.machine);
        while (!writer.done()) {
            writer.next_slice(1 << 20, taken.image, taken.locations);
        }
    }
    Replica restored;
    restore(restored, taken);
    CHECK(restored.machine.state_hash() == r.machine.state_hash());
}

TEST_CASE("images of any moment carry links, holds, origins and what is gone") {
    for (std::uint64_t seed = 0; seed < 12; ++seed) {
        CAPTURE(seed);
        base::Random random(seed);
        Forks whole;
        std::vector<base::Incarnation> links;
        std::vector<std::uint64_t> hashes{whole.machine.state_hash()};
        std::vector<Taken> taken(1);
        std::unique_ptr<ImageWriter> writer;
        std::size_t written = 0;
        const auto name = [&] {
            return std::string_view(whole.texts.emplace_back(numbered("demo/", random.below(6))));
        };
        for (int i = 0; i < 250; ++i) {
            whole.time_ms += static_cast<std::int64_t>(random.below(100));
            const std::string_view of = name();
            const std::string_view other = name();
            const base::Incarnation link =
                links.empty() ? base::Incarnation{} : links[random.below(links.size())];
            Command command;
            switch (random.below(10)) {
                case 0:
                case 1:
                    command = create(of, "text/plain", "some bytes");
                    if (random.chance(1, 2)) {
                        command.expiry = {api::Expiry::Kind::ttl, 400, {}};
                    }
                    break;
                case 2:
                    command = whole.begin(of, other);
                    break;
                case 3:
                case 4:
                    command = whole.hold(of, link);
                    break;
                case 5:
                case 6: {
                    const Stream* source = whole.find(other);
                    command = whole.make(of, other, link, source == nullptr ? 0 : source->tail(),
                                         "own bytes");
                    break;
                }
                case 7:
                    command = simple(CommandKind::remove_stream, of);
                    break;
                case 8:
                    command = whole.of_link(
                        random.chance(1, 2) ? CommandKind::abandon_fork : CommandKind::forget_fork,
                        link);
                    break;
                default:
                    command = random.chance(1, 2)
                                  ? whole.of_link(CommandKind::release_hold, link, of)
                                  : append(of, "more");
            }
            const Outcome outcome = whole.step(command);
            if (outcome.did == Did::fork_begun) {
                links.push_back(outcome.incarnation);
            }
            hashes.push_back(whole.machine.state_hash());
            taken.emplace_back();
            if (writer == nullptr) {
                writer = std::make_unique<ImageWriter>(whole.machine);
                written = whole.log.size();
            }
            writer->next_slice(1 + random.below(300), taken[written].image,
                               taken[written].locations);
            if (writer->done()) {
                taken[written].hash = writer->state_hash();
                REQUIRE(taken[written].hash == hashes[written]);
                writer.reset();
            }
        }
        writer.reset();
        std::size_t restored_images = 0;
        for (std::size_t i = 1; i < taken.size(); ++i) {
            if (taken[i].hash == 0) {
                continue;
            }
            ++restored_images;
            Replica restored(plenty, true, {seed, i});
            restore(restored, taken[i]);
            REQUIRE(restored.machine.state_hash() == hashes[i]);
            for (std::size_t j = i; j < whole.log.size(); ++j) {
                restored.apply(whole.log[j], false, 700);
                REQUIRE(restored.machine.state_hash() == hashes[j + 1]);
            }
        }
        CHECK(restored_images > 5);
    }
}

TEST_CASE("a fork part is read back as it was written, and not when a byte is missing") {
    ForkPart part;
    part.link = {base::GroupId(3), base::LogIndex(70), 4};
    part.source = {base::GroupId(9), base::LogIndex(1234567890123), 7};
    part.source_name = "demo/source";
    part.point = 99;
    part.depth = 12;
    part.asked = {true, true, 77, 22, api::Expiry::Kind::ttl, 5000};
    Command command = create("demo/fork", "text/plain", "body");
    command.expiry = {api::Expiry::Kind::ttl, 5000, {}};
    command.fork = &part;
    const Entry entry = make_entry(1, 5, {command, append("demo/fork", "next")});
    EntryReader reader(entry.body);
    Command read;
    REQUIRE(reader.next(read));
    REQUIRE(read.fork != nullptr);
    CHECK(read.fork->link == part.link);
    CHECK(read.fork->source == part.source);
    CHECK(read.fork->source_name == "demo/source");
    CHECK(read.fork->point == 99);
    CHECK(read.fork->depth == 12);
    CHECK(read.fork->asked.has_content_type);
    CHECK(read.fork->asked.has_offset);
    CHECK(read.fork->asked.offset == 77);
    CHECK(read.fork->asked.sub_offset == 22);
    CHECK(read.fork->asked.expires == api::Expiry::Kind::ttl);
    CHECK(read.fork->asked.expires_ms == 5000);
    CHECK(base::as_text(read.stored) == "body");
    CHECK(read.expiry.ms == 5000);
    REQUIRE(reader.next(read));
    CHECK(read.fork == nullptr);
    CHECK(base::as_text(read.stored) == "next");
    CHECK_FALSE(reader.next(read));
    CHECK(reader.ok());
    for (std::size_t size = entry_header_bytes; size < entry.body.size(); ++size) {
        EntryReader cut(base::Bytes(entry.body).first(size));
        while (cut.next(read)) {
        }
        CHECK_FALSE(cut.ok());
    }
}

TEST_CASE("elements of stored JSON are counted where split_json counts them") {
    const std::string elements[] = {
        "1",    R"("a,b")", R"({"k":[1,2,{"x":","}],"y":"\\"})", R"([1,[2,3],"]"])", R"("\"")",
        "null", R"("[")"};
    base::Random random(3);
    for (int round = 0; round < 200; ++round) {
        std::string array = "[";
        const std::uint64_t count = 1 + random.below(6);
        for (std::uint64_t i = 0; i < count; ++i) {
            array += i == 0 ? "" : random.chance(1, 2) ? " , " : ",";
            array += elements[random.below(std::size(elements))];
        }
        array += "]";
        const JsonBody body = split_json(base::as_bytes(array));
        REQUIRE(body.count == count);
        std::string stored(base::as_text(body.elements));
        stored += ',';
        std::vector<base::Slice> slices;
        for (std::size_t at = 0; at < stored.size();) {
            const std::size_t size = std::min<std::size_t>(stored.size() - at, 1 + random.below(9));
            slices.push_back(base::Slice::copy_of(base::as_bytes(stored.substr(at, size))));
            at += size;
        }
        CHECK(json_prefix_bytes(slices, 0) == 0);
        CHECK(json_prefix_bytes(slices, count) == stored.size());
        CHECK_FALSE(json_prefix_bytes(slices, count + 1).has_value());
        for (std::uint64_t n = 1; n < count; ++n) {
            const auto bytes = json_prefix_bytes(slices, n);
            REQUIRE(bytes.has_value());
            const std::string prefix = "[" + stored.substr(0, *bytes - 1) + "]";
            CHECK(split_json(base::as_bytes(prefix)).count == n);
        }
    }
}

TEST_CASE("a plan ends at the fork's point, inside an append and inside a piece") {
    Replica r(64, true);  // next to no memory: most lies on disk
    r.run(create("demo/a"));
    for (int i = 0; i < 20; ++i) {
        r.apply(make_entry(r.index + 1, 0, {append("demo/a", std::string(100, 'x'))}), true, 30);
    }
    for (std::uint64_t from = 0; from < 2000; from += 100) {
        for (const std::uint64_t end : {from + 1, from + 30, from + 31, from + 100, from + 350}) {
            ReadPlan plan;
            plan_read(*r.find("demo/a"), from, 1 << 20, plan);
            const std::uint64_t next = std::min(plan.next, end);
            clamp_plan(plan, end);
            CHECK(plan.next == next);
            CHECK_FALSE(plan.up_to_date);
            std::uint64_t bytes = 0;
            std::uint64_t last = 0;
            for (const ReadPiece& piece : plan.pieces) {
                last = piece.size();
                bytes += last;
            }
            CHECK(bytes >= next - from);
            CHECK(bytes - last < next - from);
        }
    }
}
