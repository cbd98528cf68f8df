#include "stream/command.h"

#include <doctest/doctest.h>

#include "base/limits.h"
#include "tests/unit/stream/support.h"

using namespace ursula;
using namespace ursula::stream;
using namespace ursula::stream::test;

namespace {

std::vector<Command> one_of_each() {
    std::vector<Command> commands;
    Command created = create("demo/a", "Text/Plain; charset=utf-8", "hello", true);
    created.number = 7;
    commands.push_back(created);
    commands.push_back(append("demo/a", "x"));
    commands.push_back(close("demo/a"));
    commands.push_back(
        with_seq(by(append("v1/b/c", "payload"), "p:1/2", 3, (1ull << 53) - 1), "s9"));
    commands.push_back(json(append("demo/j", "1,2,3"), 3));
    commands.push_back(json(append("demo/j", "oops"), 0, Verdict::json_invalid));
    commands.push_back(json(append("demo/j", "[]"), 0, Verdict::json_empty_array));
    commands.push_back(json(append("demo/j", "[["), 0, Verdict::json_too_deep));
    commands.push_back(simple(CommandKind::remove_stream, "demo/a"));
    commands.push_back(simple(CommandKind::create_bucket, "demo"));
    commands.push_back(simple(CommandKind::begin_remove_bucket, "demo"));
    commands.push_back(simple(CommandKind::finish_remove_bucket, "demo", 1));
    commands.push_back(simple(CommandKind::reopen_bucket, "demo", 1));
    commands.push_back(simple(CommandKind::seal_bucket, "demo", 1));
    commands.push_back(simple(CommandKind::unseal_bucket, "demo", 1));
    commands.push_back(in_round(simple(CommandKind::seal_bucket, "demo", 1), 1ull << 52));
    commands.push_back(simple(CommandKind::forget_producers, "demo/a", 1'000'000));
    Command window = create("demo/w");
    window.expiry = {api::Expiry::Kind::ttl, 60'000, {}};
    commands.push_back(window);
    Command instant = create("demo/i", "text/plain", "body");
    instant.expiry = {api::Expiry::Kind::at, -5, "1969-12-31T23:59:59.995Z"};
    commands.push_back(instant);
    Command touch = simple(CommandKind::touch_stream, "demo/w", 1ull << 40);
    touch.ordinal = 77;
    commands.push_back(touch);
    Command expire = simple(CommandKind::expire_stream, "demo/w", 3);
    expire.expiry.ms = 1'700'000'000'000;
    commands.push_back(expire);
    commands.push_back(by(append("n", "y"), std::string_view("0123456789abcdef"), 0, 0));
    return commands;
}

}  // namespace

TEST_CASE("commands survive their bytes") {
    const std::vector<Command> commands = one_of_each();
    const Entry entry = make_entry(5, 1234567890123, commands);
    EntryReader reader(entry.body);
    CHECK(reader.header().commands == commands.size());
    CHECK(reader.header().time_ms == 1234567890123);
    Command got;
    for (const Command& want : commands) {
        REQUIRE(reader.next(got));
        CHECK(got.kind == want.kind);
        CHECK(got.close == want.close);
        CHECK(got.has_content_type == want.has_content_type);
        CHECK(got.has_body == want.has_body);
        CHECK(got.verdict == want.verdict);
        CHECK(got.name == want.name);
        CHECK(got.content_type == want.content_type);
        CHECK(got.producer.present == want.producer.present);
        CHECK(got.producer.id == want.producer.id);
        CHECK(got.producer.epoch == want.producer.epoch);
        CHECK(got.producer.seq == want.producer.seq);
        CHECK(got.stream_seq == want.stream_seq);
        CHECK(got.number == want.number);
        CHECK(got.round == want.round);
        CHECK(got.expiry.kind == want.expiry.kind);
        CHECK(got.expiry.ms == want.expiry.ms);
        CHECK(got.expiry.text == want.expiry.text);
        CHECK(got.ordinal == want.ordinal);
        CHECK(got.payload.json == want.payload.json);
        CHECK(got.payload.elements == want.payload.elements);
        CHECK(got.stored_size() == want.stored_size());
        std::string stored(base::as_text(want.payload.bytes));
        if (want.payload.elements > 0) {
            stored += ',';
        }
        CHECK(base::as_text(got.stored) == stored);
        CHECK(got.stored_crc == base::crc32c(base::as_bytes(stored)));
        CHECK(got.stored.data() == entry.body.data() + got.stored_at);
    }
    CHECK(!reader.next(got));
    CHECK(reader.ok());
}

TEST_CASE("an empty body is an entry without commands") {
    EntryReader reader({});
    Command command;
    CHECK(reader.header().commands == 0);
    CHECK(!reader.next(command));
    CHECK(reader.ok());
}

TEST_CASE("the longest producer id and the shortest fit the one byte of their size") {
    for (const std::size_t size : {std::size_t{1}, base::limits::producer_id_bytes_max}) {
        const std::string id(size, 'p');
        const Entry entry = make_entry(1, 0, {by(append("a/b", "c"), id, 1, 2)});
        EntryReader reader(entry.body);
        Command command;
        REQUIRE(reader.next(command));
        CHECK(command.producer.id == id);
    }
}

TEST_CASE("a body cut anywhere, or longer than promised, is refused") {
    const Entry entry = make_entry(5, 1, one_of_each());
    for (std::size_t size = 1; size < entry.body.size(); ++size) {
        EntryReader reader(base::Bytes(entry.body).first(size));
        Command command;
        while (reader.next(command)) {
        }
        CHECK(!reader.ok());
    }
    std::vector<std::byte> longer = entry.body;
    longer.push_back({});
    EntryReader reader(longer);
    Command command;
    while (reader.next(command)) {
    }
    CHECK(!reader.ok());
}

TEST_CASE("unknown versions, kinds, flags and verdicts are refused") {
    const Entry entry = make_entry(5, 1, {append("a/b", "c")});
    const auto refused = [&entry](std::size_t at, std::uint8_t value) {
        std::vector<std::byte> body = entry.body;
        body[at] = std::byte{value};
        EntryReader reader(body);
        Command command;
        while (reader.next(command)) {
        }
        return !reader.ok();
    };
    CHECK(!refused(0, 1));
    CHECK(refused(0, 0));
    CHECK(refused(0, 2));
    CHECK(refused(1, 1));
    CHECK(refused(entry_header_bytes, 0));
    CHECK(refused(entry_header_bytes, 13));
    CHECK(refused(entry_header_bytes + 1, 32));
    CHECK(refused(entry_header_bytes + 1, 128));
    CHECK(refused(entry_header_bytes + 2, 4));
}

TEST_CASE("any damage to a body is refused or decodes to something inside it") {
    const Entry entry = make_entry(5, 1, one_of_each());
    base::Random random(11);
    for (int round = 0; round < 20000; ++round) {
        std::vector<std::byte> body = entry.body;
        for (std::uint64_t flips = 1 + random.below(3); flips > 0; --flips) {
            body[random.below(body.size())] ^=
                std::byte{static_cast<std::uint8_t>(1u << random.below(8))};
        }
        EntryReader reader(body);
        Command command;
        std::size_t seen = 0;
        while (reader.next(command)) {
            ++seen;
            CHECK(command.stored_at + command.stored.size() <= body.size());
        }
        CHECK((!reader.ok() || seen == reader.header().commands));
    }
}
