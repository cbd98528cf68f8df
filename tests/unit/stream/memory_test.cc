// What an idle stream costs and that a warm append allocates nothing. Plain builds only: sanitizers
// bring their own allocator.
#include <doctest/doctest.h>
#include <malloc.h>

#include <cstdio>
#include <memory>

#include "stream/read_plan.h"
#include "tests/support/count_allocations.h"
#include "tests/unit/stream/support.h"

using namespace ursula;
using namespace ursula::stream;
using namespace ursula::stream::test;

namespace {

std::size_t heap_bytes() {
    return mallinfo2().uordblks;
}

// Bytes of heap per stream, of `count` streams over 64 machines as a node has them, each made by
// `commands(name)`.
template <class Make>
double bytes_per_stream(std::size_t count, std::uint64_t hot_bytes, const Make& make) {
    const std::size_t before = heap_bytes();
    Local local{HotMemory(hot_bytes, true), SegmentLoad()};
    std::vector<std::unique_ptr<Machine>> machines;
    for (std::uint32_t g = 0; g < 64; ++g) {
        machines.push_back(std::make_unique<Machine>(base::GroupId(g), base::HashKey{1, 2}, local));
    }
    for (std::size_t i = 0; i < count; ++i) {
        Machine& machine = *machines[i % 64];
        const base::EntryId id{base::Term(1), machine.applied().index.next()};
        machine.enter(id, 0);
        make(machine, id, numbered("demo/stream-", 1'000'000 + i));  // 19 bytes
    }
    return static_cast<double>(heap_bytes() - before) / static_cast<double>(count);
}

void apply(Machine& machine, const Command& command, std::uint32_t ordinal) {
    const Outcome outcome = machine.apply(command, machine.applied(), ordinal);
    REQUIRE(outcome.why == api::Refusal::none);
    if (outcome.grew()) {
        const Place place{1, 2, static_cast<std::uint32_t>(outcome.to - outcome.from), 3};
        machine.keep(outcome, command.payload.bytes, {&place, 1});
    }
}

}  // namespace

TEST_CASE("an idle stream costs at most 256 bytes") {
    const std::string small(32, 'x');
    const std::string event(256, 'x');
    const auto empty = [](Machine& m, base::EntryId, const std::string& name) {
        apply(m, create(name), 0);
    };
    const auto one_small = [&small](Machine& m, base::EntryId, const std::string& name) {
        apply(m, create(name), 0);
        apply(m, append(name, small), 1);
    };
    const auto one_event = [&event](Machine& m, base::EntryId, const std::string& name) {
        apply(m, create(name), 0);
        apply(m, append(name, event), 1);
    };
    const auto ten_events = [&event](Machine& m, base::EntryId, const std::string& name) {
        apply(m, create(name), 0);
        for (std::uint32_t i = 0; i < 10; ++i) {
            apply(m, append(name, event), 1 + i);
        }
    };
    const auto producer = [&small](Machine& m, base::EntryId, const std::string& name) {
        apply(m, create(name), 0);
        apply(m, by(append(name, small), "2b1f7e6c-producer-of-events", 0, 0), 1);
    };
    for (const std::size_t count : {std::size_t{100'000}, std::size_t{200'000}}) {
        const double e = bytes_per_stream(count, plenty, empty);
        const double s = bytes_per_stream(count, plenty, one_small);
        const double h = bytes_per_stream(count, plenty, one_event);
        const double c = bytes_per_stream(count, 1 << 20, one_event);
        const double t = bytes_per_stream(count, 1 << 20, ten_events);
        const double p = bytes_per_stream(count, 1 << 20, producer);
        std::printf(
            "%zu streams, bytes each: empty %.0f; 32 B in memory %.0f; 256 B in memory %.0f, on "
            "disk %.0f; "
            "10 appends on disk %.0f; 1 producer, 32 B on disk %.0f\n",
            count, e, s, h, c, t, p);
        CHECK(e <= 200);
        CHECK(s <= 256);
        CHECK(c <= 210);
        CHECK(t <= 512);
        CHECK(p <= 400);
    }
}

TEST_CASE("a warm append allocates nothing, a read of memory neither") {
    const std::string event(256, 'x');
    Local local{HotMemory(4 << 20, true), SegmentLoad()};
    Machine machine(base::GroupId(1), {1, 2}, local);
    std::vector<std::byte> body(4096);
    std::uint64_t index = 0;
    const auto run = [&](const Command& command) {
        EntryHeader header{1, 5};
        const std::size_t size =
            entry_header_bytes +
            encode(command, base::MutableBytes(body).subspan(entry_header_bytes));
        encode_header(header, body);
        EntryReader reader(base::Bytes(body).first(size));
        machine.enter({base::Term(1), base::LogIndex(++index)}, header.time_ms);
        Command decoded;
        REQUIRE(reader.next(decoded));
        const Outcome outcome = machine.apply(decoded, machine.applied(), 0);
        if (outcome.grew()) {
            const Place place{static_cast<std::uint32_t>(index >> 12), 0, 256, decoded.stored_crc};
            machine.keep(outcome, decoded.stored, {&place, 1});
        }
        return outcome;
    };
    std::vector<std::string> names;
    for (int i = 0; i < 10; ++i) {
        names.push_back(numbered("demo/", i));
        run(create(names.back()));
    }
    const auto round = [&](std::uint64_t n) {
        const Command plain = append(names[n % names.size()], event);
        REQUIRE(run(plain).did == Did::appended);
        REQUIRE(run(with_seq(
                        by(append(names[n % names.size()], event), "producer", 0, n / names.size()),
                        numbered("", 1'000'000 + n)))
                    .did == Did::appended);
    };
    // Until memory is full and recycles its chunks.
    std::uint64_t n = 0;
    while (n < 20'000) {
        round(n++);
    }
    // What is left: a block of 1,024 locations now and then.
    const std::uint64_t before = test_support::allocations();
    const std::uint64_t strings = 0;
    for (std::uint64_t until = n + 20'000; n < until; ++n) {
        round(n);
    }
    const double each =
        static_cast<double>(test_support::allocations() - before - strings) / 40'000;
    std::printf("allocations per warm append: %.4f\n", each);
    CHECK(each < 0.003);

    ReadPlan plan;
    plan.pieces.reserve(64);
    const Stream* stream = machine.find(names[0], machine.hash_of(names[0]));
    const std::uint64_t quiet = test_support::allocations();
    for (int i = 0; i < 1000; ++i) {
        plan_read(*stream, stream->tail() - 10'000, 8'000, plan);
    }
    CHECK(test_support::allocations() == quiet);
}
