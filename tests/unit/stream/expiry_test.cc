// Streams that go by themselves: decided by the entries' time alone.
#include <doctest/doctest.h>

#include <memory>
#include <vector>

#include "stream/image.h"
#include "tests/unit/stream/support.h"

using namespace ursula;
using namespace ursula::stream;
using namespace ursula::stream::test;

namespace {

using api::Refusal;

constexpr std::int64_t t0 = 1'000'000;

Command with_ttl(Command command, std::int64_t ms) {
    command.expiry = {api::Expiry::Kind::ttl, ms, {}};
    return command;
}

Command expires_at(Command command, std::int64_t ms, std::string_view text) {
    command.expiry = {api::Expiry::Kind::at, ms, text};
    return command;
}

// A machine whose entries have the times that the test says.
struct Timed : Replica {
    Outcome at(std::int64_t time_ms, const Command& command) {
        apply(make_entry(index + 1, time_ms, {command}));
        return outcomes[0];
    }
    Command about(CommandKind kind, std::string_view name, std::int64_t touched_ms = 0) {
        const Stream* stream = find(name);
        REQUIRE(stream != nullptr);
        const base::Incarnation life = stream->incarnation(machine.group());
        Command command = simple(kind, name, life.index.value);
        command.ordinal = life.ordinal;
        command.expiry.ms = touched_ms;
        return command;
    }
    Command expire(std::string_view name) {
        return about(CommandKind::expire_stream, name, find(name)->expiry()->touched_ms);
    }
    std::int64_t deadline(std::string_view name) { return find(name)->expiry()->deadline_ms(); }
};

// The machine again from its image: the same hash, or the reader's complaint.
std::string restored_hash(Machine& machine, Replica& fresh) {
    std::vector<std::byte> image;
    std::vector<std::byte> locations;
    ImageWriter writer(machine, false);
    while (!writer.done()) {
        writer.next_slice(1 << 16, image, locations);
    }
    ImageReader reader(fresh.machine);
    if (const auto fed = reader.feed(image); !fed) {
        return fed.error().message;
    }
    if (const auto finished = reader.finish(); !finished) {
        return finished.error().message;
    }
    return fresh.machine.state_hash() == machine.state_hash() ? "" : "another hash";
}

}  // namespace

TEST_CASE("a window slides with every accepted write and touch, and with nothing else") {
    Timed machine;
    REQUIRE(machine.at(t0, with_ttl(create("v1/a"), 1000)).did == Did::created);
    CHECK(machine.deadline("v1/a") == t0 + 1000);
    CHECK(machine.at(t0 + 100, append("v1/a", "x")).did == Did::appended);
    CHECK(machine.deadline("v1/a") == t0 + 1100);
    CHECK(machine.at(t0 + 200, append("v1/a", "x", "text/html")).did == Did::refused);
    CHECK(machine.at(t0 + 300, with_ttl(create("v1/a"), 1000)).did == Did::existed);
    CHECK(machine.deadline("v1/a") == t0 + 1100);
    CHECK(machine.at(t0 + 400, by(append("v1/a", "y"), "p", 0, 0)).did == Did::appended);
    const Outcome again = machine.at(t0 + 500, by(append("v1/a", "y"), "p", 0, 0));
    CHECK(again.did == Did::duplicate);
    CHECK(again.changed);
    CHECK(machine.deadline("v1/a") == t0 + 1500);
    CHECK(machine.at(t0 + 600, machine.about(CommandKind::touch_stream, "v1/a")).did ==
          Did::touched);
    CHECK(machine.deadline("v1/a") == t0 + 1600);
    CHECK(machine.at(t0 + 700, close("v1/a")).did == Did::closed);
    CHECK(machine.at(t0 + 800, close("v1/a")).did == Did::closed);
    CHECK(machine.deadline("v1/a") == t0 + 1800);
    // Refused because it is closed: no traffic that counts.
    CHECK(machine.at(t0 + 900, append("v1/a", "x")).why == Refusal::stream_closed);
    CHECK(machine.deadline("v1/a") == t0 + 1800);
}

TEST_CASE("an instant does not move") {
    Timed machine;
    const auto command = expires_at(create("v1/a"), t0 + 1000, "2030-01-01T00:00:00Z");
    REQUIRE(machine.at(t0, command).did == Did::created);
    machine.at(t0 + 500, append("v1/a", "x"));
    const Outcome touched = machine.at(t0 + 600, machine.about(CommandKind::touch_stream, "v1/a"));
    CHECK(touched.did == Did::touched);
    CHECK_FALSE(touched.changed);
    CHECK(machine.deadline("v1/a") == t0 + 1000);
    CHECK(machine.find("v1/a")->expiry()->text == "2030-01-01T00:00:00Z");
    // The same instant in other words is the same configuration.
    CHECK(machine.at(t0 + 700, expires_at(create("v1/a"), t0 + 1000, "elsewhere")).did ==
          Did::existed);
    for (const Command& other : {create("v1/a"), with_ttl(create("v1/a"), t0 + 1000),
                                 expires_at(create("v1/a"), t0 + 1001, "2030-01-01T00:00:00Z")}) {
        CHECK(machine.at(t0 + 800, other).why == Refusal::stream_exists_with_other_config);
    }
    CHECK(machine.at(t0 + 999, append("v1/a", "x")).did == Did::appended);
    CHECK(machine.at(t0 + 1000, append("v1/a", "x")).why == Refusal::stream_not_found);
    CHECK(machine.find("v1/a") == nullptr);
}

TEST_CASE(
    "at the exact tick: a millisecond before it is there, at it it is gone, for every command") {
    for (const std::int64_t late : {-1, 0}) {
        for (int what = 0; what < 5; ++what) {
            Timed machine;
            machine.at(t0, with_ttl(create("v1/a", "text/plain", "old"), 1000));
            machine.find("v1/a")->watch = 7;
            const base::Incarnation life =
                machine.find("v1/a")->incarnation(machine.machine.group());
            const Command touch = machine.about(CommandKind::touch_stream, "v1/a");
            const Command commands[] = {append("v1/a", "x"), create("v1/a"),
                                        simple(CommandKind::remove_stream, "v1/a"), touch,
                                        machine.expire("v1/a")};
            const Entry entry = make_entry(machine.index + 1, t0 + 1000 + late, {commands[what]});
            machine.apply(entry);
            const Outcome& outcome = machine.outcomes[0];
            CAPTURE(late);
            CAPTURE(what);
            if (late < 0) {
                const Did dids[] = {Did::appended, Did::refused, Did::removed, Did::touched,
                                    Did::kept};
                CHECK(outcome.did == dids[what]);
                CHECK(outcome.watch == (what == 2 ? 7u : 0u));
                continue;
            }
            // Its readers are told, whatever the command was.
            CHECK(outcome.watch == 7);
            CHECK(outcome.changed);
            if (what == 1) {
                CHECK(outcome.did == Did::created);
                CHECK(outcome.tail == 0);
                CHECK(outcome.incarnation != life);
                CHECK(machine.find("v1/a")->expiry() == nullptr);
                CHECK(machine.find("v1/a")->watch == 0);
            } else {
                CHECK(outcome.did == (what == 4 ? Did::removed : Did::refused));
                CHECK(machine.find("v1/a") == nullptr);
                CHECK(machine.machine.streams() == 0);
            }
            CHECK(machine.machine.next_due_ms() == INT64_MAX);
        }
    }
}

TEST_CASE("what expired leaves nothing to its successor") {
    Timed machine;
    machine.at(t0, with_ttl(create("v1/a"), 1000));
    machine.at(t0, with_seq(by(append("v1/a", "x"), "p", 3, 0), "9"));
    CHECK(machine.at(t0 + 1000, with_ttl(create("v1/a", "text/html"), 2000)).did == Did::created);
    const Stream* stream = machine.find("v1/a");
    CHECK(stream->tail() == 0);
    CHECK(stream->producers() == 0);
    CHECK(stream->content_type() == "text/html");
    CHECK(machine.deadline("v1/a") == t0 + 3000);
    CHECK(machine.at(t0 + 1001, by(append("v1/a", "x", "text/html"), "p", 0, 0)).did ==
          Did::appended);
}

TEST_CASE("no window and a past instant: created, and gone with the next look") {
    Timed machine;
    CHECK(machine.at(t0, with_ttl(create("v1/a"), 0)).did == Did::created);
    CHECK(machine.at(t0, expires_at(create("v1/b"), -1, "1969-12-31T23:59:59.999Z")).did ==
          Did::created);
    for (const std::string_view name : {"v1/a", "v1/b"}) {
        CHECK(machine.machine.is_dead(*machine.find(name)));
        CHECK(machine.at(t0, append(name, "x")).why == Refusal::stream_not_found);
    }
    // The longest window there is overflows nothing.
    constexpr std::int64_t longest = ((std::int64_t{1} << 53) - 1) * 1000;
    machine.at(1'800'000'000'000, with_ttl(create("v1/c"), longest));
    CHECK(machine.deadline("v1/c") == 1'800'000'000'000 + longest);
}

TEST_CASE("expire_stream is for one life and one last touch") {
    Timed machine;
    machine.at(t0, with_ttl(create("v1/a"), 1000));
    const Command early = machine.expire("v1/a");
    machine.at(t0 + 500, append("v1/a", "x"));
    // It was touched after the leader looked.
    CHECK(machine.at(t0 + 1000, early).did == Did::kept);
    REQUIRE(machine.find("v1/a") != nullptr);
    const Command late = machine.expire("v1/a");
    CHECK(machine.at(t0 + 1499, late).did == Did::kept);
    CHECK(machine.at(t0 + 1500, late).did == Did::removed);
    CHECK(machine.at(t0 + 1501, late).why == Refusal::stream_not_found);
    // Another stream of that name.
    machine.at(t0 + 1502, with_ttl(create("v1/a"), 1000));
    CHECK(machine.at(t0 + 1503, late).why == Refusal::stream_not_found);
    CHECK(machine.find("v1/a") != nullptr);
    Command other_life = machine.about(CommandKind::touch_stream, "v1/a");
    ++other_life.ordinal;
    CHECK(machine.at(t0 + 1600, other_life).why == Refusal::stream_not_found);
    CHECK(machine.deadline("v1/a") == t0 + 2502);
}

TEST_CASE("decide tells of a dead stream and leaves it") {
    Timed machine;
    machine.at(t0, with_ttl(create("v1/a"), 1000));
    machine.at(t0 + 1000, create("v1/b"));
    const std::uint64_t hash = machine.machine.state_hash();
    CHECK(machine.machine.decide(append("v1/a", "x")).why == Refusal::stream_not_found);
    CHECK(machine.machine.decide(create("v1/a")).did == Did::created);
    CHECK(machine.machine.state_hash() == hash);
    CHECK(machine.find("v1/a") != nullptr);
}

TEST_CASE("the index finds what is due, in order, and touches leave it alone") {
    Timed machine;
    std::size_t steps = 100;
    CHECK(machine.machine.find_due(INT64_MAX, steps) == nullptr);
    machine.at(t0, with_ttl(create("v1/late"), 3000));
    machine.at(t0, with_ttl(create("v1/first"), 1000));
    machine.at(t0, with_ttl(create("v1/second"), 1000));
    machine.at(t0, create("v1/never"));
    CHECK(machine.machine.next_due_ms() == t0 + 1000);
    CHECK(machine.machine.find_due(t0 + 999, steps) == nullptr);
    machine.at(t0 + 500, append("v1/first", "x"));
    CHECK(machine.machine.next_due_ms() == t0 + 1000);
    Stream* due = machine.machine.find_due(t0 + 1000, steps);
    REQUIRE(due != nullptr);
    CHECK(due->name() == "v1/second");
    CHECK(steps == 99);  // for the one that was touched
    machine.machine.set_due(due, t0 + 5000);
    CHECK(machine.machine.find_due(t0 + 1499, steps) == nullptr);
    due = machine.machine.find_due(t0 + 1500, steps);
    REQUIRE(due != nullptr);
    CHECK(due->name() == "v1/first");
    steps = 0;
    CHECK(machine.machine.find_due(t0 + 1500, steps) == nullptr);
    machine.at(t0 + 600, simple(CommandKind::remove_stream, "v1/first"));
    machine.at(t0 + 600, simple(CommandKind::remove_stream, "v1/second"));
    CHECK(machine.machine.next_due_ms() == t0 + 3000);
    machine.at(t0 + 600, simple(CommandKind::remove_stream, "v1/late"));
    CHECK(machine.machine.next_due_ms() == INT64_MAX);
}

TEST_CASE("the index agrees with a walk over all streams, whatever happens") {
    base::Random random(5);
    for (int round = 0; round < 50; ++round) {
        Timed machine;
        std::int64_t now = t0;
        for (int step = 0; step < 200; ++step) {
            now += static_cast<std::int64_t>(random.below(40));
            const std::string name = numbered("v1/", random.below(12));
            const Stream* stream = machine.find(name);
            switch (random.below(6)) {
                case 0:
                    machine.at(
                        now, with_ttl(create(name), static_cast<std::int64_t>(random.below(300))));
                    break;
                case 1:
                    machine.at(now, expires_at(create(name),
                                               now + static_cast<std::int64_t>(random.below(300)),
                                               "then"));
                    break;
                case 2:
                    machine.at(now, append(name, "x"));
                    break;
                case 3:
                    machine.at(now, simple(CommandKind::remove_stream, name));
                    break;
                case 4:
                    if (stream != nullptr) {
                        machine.at(now, machine.about(CommandKind::touch_stream, name));
                    }
                    break;
                default: {
                    std::size_t steps = 1000;
                    while (Stream* due = machine.machine.find_due(now, steps)) {
                        CHECK(due->expiry()->deadline_ms() <= now);
                        const std::string dead(due->name());
                        CHECK(machine.at(now, machine.expire(dead)).did == Did::removed);
                    }
                    for (const Stream* s = machine.machine.first(); s != nullptr; s = s->next()) {
                        CHECK_FALSE(machine.machine.is_dead(*s));
                    }
                    break;
                }
            }
            std::int64_t first = INT64_MAX;
            for (const Stream* s = machine.machine.first(); s != nullptr; s = s->next()) {
                if (s->expiry() != nullptr) {
                    first = std::min(first, s->expiry()->deadline_ms());
                }
            }
            CHECK(machine.machine.next_due_ms() <= first);
            CHECK((first != INT64_MAX || machine.machine.next_due_ms() == INT64_MAX));
        }
        Replica fresh;
        CHECK(restored_hash(machine.machine, fresh) == "");
    }
}

TEST_CASE("windows and instants survive an image, also one taken while they change") {
    Timed machine;
    machine.at(t0, with_ttl(create("v1/a"), 1000));
    machine.at(t0 + 10, expires_at(create("v1/b"), t0 + 9000, "2030-01-01T00:00:00+01:00"));
    machine.at(t0 + 20, create("v1/c"));
    machine.at(t0 + 30, with_seq(by(append("v1/a", "x"), "p", 3, 0), "9"));
    Replica fresh({}, true, {9, 9});
    REQUIRE(restored_hash(machine.machine, fresh) == "");
    const Expiry* a = fresh.find("v1/a")->expiry();
    CHECK(a->slides());
    CHECK(a->deadline_ms() == t0 + 1030);
    const Expiry* b = fresh.find("v1/b")->expiry();
    CHECK_FALSE(b->slides());
    CHECK(b->deadline_ms() == t0 + 9000);
    CHECK(b->text == "2030-01-01T00:00:00+01:00");
    CHECK(fresh.find("v1/c")->expiry() == nullptr);
    CHECK(fresh.machine.next_due_ms() == t0 + 1030);

    const std::uint64_t hash = machine.machine.state_hash();
    ImageWriter writer(machine.machine, false);
    machine.at(t0 + 40, machine.about(CommandKind::touch_stream, "v1/a"));
    machine.at(t0 + 50, by(append("v1/a", "x"), "p", 3, 0));
    std::vector<std::byte> image;
    std::vector<std::byte> locations;
    while (!writer.done()) {
        writer.next_slice(1 << 16, image, locations);
    }
    CHECK(writer.state_hash() == hash);
    CHECK(machine.machine.state_hash() != hash);
}

TEST_CASE("swapped machines take their index along") {
    Timed machine;
    machine.at(t0, with_ttl(create("v1/a"), 1000));
    Machine other(machine.machine.group(), {1, 2}, machine.local);
    machine.machine.swap(other);
    CHECK(machine.machine.next_due_ms() == INT64_MAX);
    CHECK(other.next_due_ms() == t0 + 1000);
    machine.machine.swap(other);
}
