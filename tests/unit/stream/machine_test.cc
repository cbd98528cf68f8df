#include "stream/machine.h"

#include <doctest/doctest.h>

#include "tests/unit/stream/support.h"

using namespace ursula;
using namespace ursula::stream;
using namespace ursula::stream::test;
using api::Refusal;

TEST_CASE("create, append, close, remove") {
    Replica r;
    Outcome o = r.run(create("demo/a"));
    CHECK(o.did == Did::created);
    CHECK(o.tail == 0);
    CHECK(!o.closed);
    CHECK(o.incarnation == base::Incarnation{base::GroupId(3), base::LogIndex(1), 0});
    o = r.run(append("demo/a", "hello"));
    CHECK(o.did == Did::appended);
    CHECK(o.from == 0);
    CHECK(o.to == 5);
    CHECK(o.tail == 5);
    CHECK(!o.closed);
    CHECK(!o.producer);
    o = r.run(append("demo/a", "world!"));
    CHECK(o.from == 5);
    CHECK(o.to == 11);
    o = r.run(close("demo/a", "bye"));
    CHECK(o.did == Did::appended);
    CHECK(o.closed);
    CHECK(o.tail == 14);
    CHECK(r.find("demo/a")->closed());
    r.find("demo/a")->watch = 42;
    o = r.run(simple(CommandKind::remove_stream, "demo/a"));
    CHECK(o.did == Did::removed);
    CHECK(o.watch == 42);
    CHECK(o.stream == nullptr);
    CHECK(o.incarnation.index == base::LogIndex(1));
    CHECK(r.find("demo/a") == nullptr);
    CHECK(r.machine.streams() == 0);
    CHECK(r.local.hot.bytes() == 0);
    CHECK(r.local.segments.live_total() == 0);
    CHECK(r.run(simple(CommandKind::remove_stream, "demo/a")).why == Refusal::stream_not_found);
    // A clean history under the old name.
    o = r.run(create("demo/a"));
    CHECK(o.did == Did::created);
    CHECK(o.tail == 0);
    CHECK(o.incarnation.index == base::LogIndex(7));
}

TEST_CASE("create with a body, closed, is one step") {
    Replica r;
    const Outcome o = r.run(create("demo/a", "text/plain", "all of it", true));
    CHECK(o.did == Did::created);
    CHECK(o.closed);
    CHECK(o.from == 0);
    CHECK(o.to == 9);
    CHECK(r.find("demo/a")->closed());
    CHECK(r.find("demo/a")->tail() == 9);
}

TEST_CASE("create again: same configuration is the same stream, another is a conflict") {
    Replica r;
    r.run(create("demo/a", "Text/Plain; charset=utf-8", "x"));
    const auto again = [&r](const Command& command) { return r.run(command); };
    CHECK(again(create("demo/a", "text/plain")).did == Did::existed);
    CHECK(again(create("demo/a", " TEXT/PLAIN;x=y")).did == Did::existed);
    CHECK(again(create("demo/a", "text/plain", "body is ignored")).did == Did::existed);
    CHECK(again(create("demo/a", "text/plain")).tail == 1);
    CHECK(again(create("demo/a", "text/html")).why == Refusal::stream_exists_with_other_config);
    CHECK(again(create("demo/a", "text/plain", {}, true)).why ==
          Refusal::stream_exists_with_other_config);
    // A bad body of a create that changes nothing is not looked at.
    CHECK(again(json(create("demo/a"), 0, Verdict::json_invalid)).why ==
          Refusal::stream_exists_with_other_config);
    r.run(create("demo/j", "application/json"));
    CHECK(again(json(create("demo/j"), 0, Verdict::json_invalid)).did == Did::existed);
    r.run(close("demo/a"));
    CHECK(again(create("demo/a", "text/plain")).why == Refusal::stream_exists_with_other_config);
    const Outcome o = again(create("demo/a", "text/plain", {}, true));
    CHECK(o.did == Did::existed);
    CHECK(o.closed);
    CHECK(r.find("demo/a")->content_type() == "Text/Plain; charset=utf-8");
}

TEST_CASE("JSON: elements are counted, a final comma is stored, verdicts are refused") {
    Replica r;
    CHECK(r.run(json(create("demo/j", "", "1,2"), 2)).to == 4);
    CHECK(r.find("demo/j")->json());
    CHECK(r.find("demo/j")->records_next() == 2);
    CHECK(r.run(json(append("demo/j", "{}"), 1)).to == 7);
    CHECK(r.find("demo/j")->records_next() == 3);
    CHECK(r.run(json(append("demo/j", ""), 0, Verdict::json_invalid)).why == Refusal::json_invalid);
    CHECK(r.run(json(append("demo/j", ""), 0, Verdict::json_empty_array)).why ==
          Refusal::json_empty_array);
    CHECK(r.run(json(append("demo/j", ""), 0, Verdict::json_too_deep)).why ==
          Refusal::json_too_deep);
    CHECK(r.find("demo/j")->tail() == 7);
    CHECK(r.run(json(create("demo/e", ""), 0, Verdict::json_empty_array)).did == Did::created);
    CHECK(r.find("demo/e")->tail() == 0);
    CHECK(r.run(json(create("demo/b", ""), 0, Verdict::json_invalid)).why == Refusal::json_invalid);
    CHECK(r.run(json(create("demo/b", ""), 0, Verdict::json_too_deep)).why ==
          Refusal::json_too_deep);
    CHECK(r.find("demo/b") == nullptr);
    CHECK(r.run(append("demo/j", "plain")).why == Refusal::content_type_mismatch);
}

TEST_CASE("Stream-Seq grows strictly, byte by byte, per stream") {
    Replica r;
    r.run(create("demo/a"));
    CHECK(r.run(with_seq(append("demo/a", "x"), "2")).did == Did::appended);
    CHECK(r.run(with_seq(append("demo/a", "x"), "10")).why == Refusal::stream_seq_not_increasing);
    CHECK(r.run(with_seq(append("demo/a", "x"), "2")).why == Refusal::stream_seq_not_increasing);
    CHECK(r.run(with_seq(append("demo/a", "x"), "20")).did == Did::appended);
    CHECK(r.run(with_seq(append("demo/a", "x"), "a")).did == Did::appended);
    CHECK(r.run(with_seq(append("demo/a", "x"), "B")).why == Refusal::stream_seq_not_increasing);
    CHECK(r.run(with_seq(append("demo/a", "x"), "\xff")).did == Did::appended);
    CHECK(r.run(append("demo/a", "x")).did == Did::appended);  // absent: not looked at
    CHECK(r.run(with_seq(append("demo/a", "x"), "z")).why == Refusal::stream_seq_not_increasing);
    // A close is a write like any other.
    CHECK(r.run(with_seq(close("demo/a"), "z")).why == Refusal::stream_seq_not_increasing);
    CHECK(r.run(with_seq(close("demo/a"), "\xff\x01")).did == Did::closed);
}

TEST_CASE("close: idempotent without a producer") {
    Replica r;
    r.run(create("demo/a"));
    r.run(append("demo/a", "abc"));
    Outcome o = r.run(close("demo/a"));
    CHECK(o.did == Did::closed);
    CHECK(o.changed);
    CHECK(o.closed);
    CHECK(o.tail == 3);
    o = r.run(close("demo/a"));
    CHECK(o.did == Did::closed);
    CHECK(!o.changed);
    CHECK(o.closed);
    CHECK(o.tail == 3);
    o = r.run(append("demo/a", "more"));
    CHECK(o.why == Refusal::stream_closed);
    CHECK(o.closed);
    CHECK(o.tail == 3);
    CHECK(o.numbers[1] == 0);
    CHECK(r.run(close("demo/a", "more")).why == Refusal::stream_closed);
    // A producer is told the number it sent.
    o = r.run(by(close("demo/a"), "p", 0, 5));
    CHECK(o.why == Refusal::stream_closed);
    CHECK(o.numbers[0] == 5);
    CHECK(o.numbers[1] == 1);
}

TEST_CASE("close by a producer: the exact triple again is a duplicate, whatever its body") {
    Replica r;
    r.run(create("demo/a"));
    CHECK(r.run(by(append("demo/a", "one"), "p", 4, 0)).did == Did::appended);
    Outcome o = r.run(by(close("demo/a", "last"), "p", 4, 1));
    CHECK(o.did == Did::appended);
    CHECK(o.closed);
    CHECK(o.producer);
    CHECK(o.tail == 7);
    for (const Command& again :
         {by(close("demo/a", "last"), "p", 4, 1), by(close("demo/a", "other"), "p", 4, 1),
          by(close("demo/a"), "p", 4, 1), by(append("demo/a", "z"), "p", 4, 1)}) {
        o = r.run(again);
        CHECK(o.did == Did::duplicate);
        CHECK(o.closed);
        CHECK(o.producer_epoch == 4);
        CHECK(o.producer_seq == 1);
        CHECK(o.tail == 7);
    }
    CHECK(r.run(by(append("demo/a", "one"), "p", 4, 0)).why == Refusal::stream_closed);
    CHECK(r.run(by(close("demo/a"), "p", 4, 2)).why == Refusal::stream_closed);
    CHECK(r.run(by(close("demo/a"), "p", 5, 0)).why == Refusal::stream_closed);
    CHECK(r.run(by(close("demo/a"), "p", 3, 1)).why == Refusal::stream_closed);
    CHECK(r.run(by(close("demo/a"), "q", 4, 1)).why == Refusal::stream_closed);
    CHECK(r.run(close("demo/a")).did == Did::closed);  // closed it is
}

TEST_CASE("close without data by a producer consumes a sequence number") {
    Replica r;
    r.run(create("demo/a"));
    r.run(by(append("demo/a", "one"), "p", 0, 0));
    CHECK(r.run(by(close("demo/a"), "p", 0, 2)).why == Refusal::producer_gap);
    // An already used number on an open stream is a duplicate and closes nothing.
    Outcome o = r.run(by(close("demo/a"), "p", 0, 0));
    CHECK(o.did == Did::duplicate);
    CHECK(!o.closed);
    CHECK(!r.find("demo/a")->closed());
    o = r.run(by(close("demo/a"), "p", 0, 1));
    CHECK(o.did == Did::closed);
    CHECK(o.changed);
    CHECK(o.producer);
    CHECK(o.producer_seq == 1);
    CHECK(r.run(by(close("demo/a"), "p", 0, 1)).did == Did::duplicate);
}

TEST_CASE("producers: the state machine of the protocol") {
    Replica r;
    r.run(create("demo/a"));
    const auto post = [&r](std::string_view id, std::uint64_t epoch, std::uint64_t seq) {
        return r.run(by(append("demo/a", "x"), id, epoch, seq));
    };
    Outcome o = post("p", 5, 1);
    CHECK(o.why == Refusal::producer_gap);
    CHECK(o.numbers[0] == 0);
    CHECK(o.numbers[1] == 1);
    o = post("p", 5, 0);
    CHECK(o.did == Did::appended);
    CHECK(o.producer);
    CHECK(o.producer_epoch == 5);
    CHECK(o.producer_seq == 0);
    CHECK(post("p", 5, 1).did == Did::appended);
    CHECK(post("p", 5, 2).did == Did::appended);
    o = post("p", 5, 1);
    CHECK(o.did == Did::duplicate);
    CHECK(o.producer_seq == 2);  // the highest accepted, not the request's
    CHECK(o.tail == 3);
    CHECK(!o.changed);
    o = post("p", 5, 4);
    CHECK(o.why == Refusal::producer_gap);
    CHECK(o.numbers[0] == 3);
    CHECK(o.numbers[1] == 4);
    o = post("p", 4, 0);
    CHECK(o.why == Refusal::producer_epoch_stale);
    CHECK(o.numbers[0] == 5);
    CHECK(o.producer_epoch == 5);
    CHECK(post("p", 6, 1).why == Refusal::producer_epoch_must_start_at_zero);
    CHECK(post("p", 9, 0).did == Did::appended);  // epochs may skip
    CHECK(post("p", 9, 1).did == Did::appended);
    CHECK(post("p", 5, 3).why == Refusal::producer_epoch_stale);
    CHECK(post("q", 0, 0).did == Did::appended);  // independent
    const std::uint64_t max = (1ull << 53) - 1;
    CHECK(post("r", max, 0).did == Did::appended);
    CHECK(post("r", max, max).why == Refusal::producer_gap);
    // Forgotten with the stream.
    r.run(simple(CommandKind::remove_stream, "demo/a"));
    r.run(create("demo/a"));
    CHECK(post("p", 0, 0).did == Did::appended);
}

TEST_CASE("precedence: each check hides those after it") {
    Replica r;
    r.run(create("demo/a"));
    r.run(with_seq(by(append("demo/a", "one"), "p", 1, 0), "m"));
    // Everything is wrong: 404 first.
    Command all =
        with_seq(by(json(append("demo/x", ""), 0, Verdict::json_invalid), "p", 0, 0), "a");
    all.has_content_type = false;
    CHECK(r.run(all).why == Refusal::stream_not_found);
    all.name = "demo/a";
    // Then the empty body and the missing type, before the state of the stream.
    Command empty = all;
    empty.has_body = false;
    CHECK(r.run(empty).why == Refusal::empty_append);
    CHECK(r.run(all).why == Refusal::content_type_missing);
    all.has_content_type = true;
    // Type before producer, producer before Stream-Seq, Stream-Seq before JSON.
    CHECK(r.run(all).why == Refusal::content_type_mismatch);
    all.content_type = "text/plain";
    CHECK(r.run(all).why == Refusal::producer_epoch_stale);
    all.producer.epoch = 1;
    CHECK(r.run(all).did == Did::duplicate);
    all.producer.seq = 1;
    CHECK(r.run(all).why == Refusal::stream_seq_not_increasing);
    all.stream_seq = "n";
    CHECK(r.run(all).why == Refusal::json_invalid);
    // None of them moved anything.
    CHECK(r.find("demo/a")->tail() == 3);
    CHECK(r.find("demo/a")->extra()->stream_seq == "m");
    // On a closed stream: closed before type, after the empty body.
    r.run(close("demo/a"));
    CHECK(r.run(append("demo/a", "x", "text/html")).why == Refusal::stream_closed);
    CHECK(r.run(append("demo/a", "")).why == Refusal::empty_append);
    CHECK(r.run(append("demo/a", "x", "")).why == Refusal::content_type_missing);
}

TEST_CASE("a refusal never moves producer or Stream-Seq") {
    Replica r;
    r.run(json(create("demo/j", ""), 0));
    r.run(by(json(append("demo/j", "1"), 1), "p", 0, 0));
    const std::uint64_t before = r.find("demo/j")->tail();
    CHECK(r.run(with_seq(by(json(append("demo/j", ""), 0, Verdict::json_invalid), "p", 0, 1), "a"))
              .why == Refusal::json_invalid);
    CHECK(r.find("demo/j")->tail() == before);
    CHECK(r.run(with_seq(by(json(append("demo/j", "2"), 1), "p", 0, 1), "a")).did == Did::appended);
    CHECK(r.run(with_seq(by(json(append("demo/j", "3"), 1), "p", 0, 2), "a")).why ==
          Refusal::stream_seq_not_increasing);
    CHECK(r.run(with_seq(by(json(append("demo/j", "3"), 1), "p", 0, 2), "b")).did == Did::appended);
}

TEST_CASE("decide is apply's answer and changes nothing") {
    Replica r;
    r.run(create("demo/a"));
    const std::uint64_t hash = r.machine.state_hash();
    const Command command = by(append("demo/a", "12345"), "p", 0, 0);
    const Outcome decided = r.machine.decide(command);
    CHECK(decided.did == Did::appended);
    CHECK(decided.to == 5);
    CHECK(r.machine.state_hash() == hash);
    CHECK(r.find("demo/a")->tail() == 0);
    const Outcome applied = r.run(command);
    CHECK(applied.to == decided.to);
    CHECK(r.machine.state_hash() != hash);
    CHECK(r.machine.decide(command).did == Did::duplicate);
}

TEST_CASE("a name's hash may be given or not") {
    Replica r;
    Command command = create("demo/a");
    command.name_hash = r.machine.hash_of("demo/a");
    r.machine.enter({base::Term(1), base::LogIndex(1)}, 5);
    CHECK(r.machine.apply(command, r.machine.applied(), 0).did == Did::created);
    CHECK(r.machine.apply(command, r.machine.applied(), 1).did == Did::existed);
    command.name_hash = 0;
    CHECK(r.machine.apply(command, r.machine.applied(), 2).did == Did::existed);
}

TEST_CASE("several commands of one entry have their own outcomes and incarnations") {
    Replica r;
    r.apply(make_entry(
        1, 5,
        {create("demo/a"), create("demo/b"), append("demo/a", "x"), create("demo/a", "a/b")}));
    REQUIRE(r.outcomes.size() == 4);
    CHECK(r.outcomes[0].incarnation.ordinal == 0);
    CHECK(r.outcomes[1].incarnation.ordinal == 1);
    CHECK(r.outcomes[2].to == 1);
    CHECK(r.outcomes[3].why == Refusal::stream_exists_with_other_config);
    CHECK(r.machine.first() == r.find("demo/a"));
    CHECK(r.machine.first()->next() == r.find("demo/b"));
}

TEST_CASE("group time never goes back") {
    Replica r;
    r.apply(make_entry(1, 100, {create("demo/a")}));
    CHECK(r.machine.time_ms() == 100);
    r.apply(make_entry(2, 50, {create("demo/b")}));
    CHECK(r.machine.time_ms() == 100);
    r.apply({{base::Term(1), base::LogIndex(3)}, {}});
    CHECK(r.machine.time_ms() == 100);
    CHECK(r.machine.applied().index == base::LogIndex(3));
}

TEST_CASE("buckets of group 0") {
    Replica r;
    Outcome o = r.run(simple(CommandKind::create_bucket, "demo"));
    CHECK(o.did == Did::bucket_created);
    CHECK(o.bucket_id == 1);
    o = r.run(simple(CommandKind::create_bucket, "demo"));
    CHECK(o.did == Did::bucket_existed);
    CHECK(o.bucket_id == 1);
    CHECK(r.run(simple(CommandKind::create_bucket, "other")).bucket_id == 2);
    CHECK(r.run(simple(CommandKind::begin_remove_bucket, "none")).why == Refusal::bucket_not_found);
    CHECK(r.run(simple(CommandKind::finish_remove_bucket, "demo", 1)).why ==
          Refusal::bucket_not_empty);
    o = r.run(simple(CommandKind::begin_remove_bucket, "demo"));
    CHECK(o.did == Did::bucket_closing);
    CHECK(o.changed);
    o = r.run(simple(CommandKind::begin_remove_bucket, "demo"));
    CHECK(o.did == Did::bucket_closing);
    CHECK(!o.changed);
    CHECK(r.run(simple(CommandKind::create_bucket, "demo")).why == Refusal::bucket_being_removed);
    CHECK(r.machine.find_bucket("demo")->closing);
    CHECK(r.run(simple(CommandKind::reopen_bucket, "demo", 1)).did == Did::bucket_reopened);
    CHECK(!r.machine.find_bucket("demo")->closing);
    r.run(simple(CommandKind::begin_remove_bucket, "demo"));
    // An id that is not the bucket's: a step of an earlier removal, repeated late.
    CHECK(r.run(simple(CommandKind::finish_remove_bucket, "demo", 9)).why ==
          Refusal::bucket_not_found);
    CHECK(r.run(simple(CommandKind::finish_remove_bucket, "demo", 1)).did == Did::bucket_removed);
    CHECK(r.run(simple(CommandKind::finish_remove_bucket, "demo", 1)).why ==
          Refusal::bucket_not_found);
    CHECK(r.machine.find_bucket("demo") == nullptr);
    CHECK(r.run(simple(CommandKind::create_bucket, "demo")).bucket_id == 3);
}

TEST_CASE("sealed buckets refuse creates, say whether they are empty, and can be unsealed") {
    Replica r;
    Command in = create("demo/a");
    in.number = 5;
    r.run(in);
    CHECK(r.machine.streams_of_bucket(5) == 1);
    Outcome o = r.run(simple(CommandKind::seal_bucket, "demo", 5));
    CHECK(o.did == Did::sealed);
    CHECK(!o.empty);
    CHECK(r.machine.is_sealed(5));
    Command late = create("demo/b");
    late.number = 5;
    CHECK(r.run(late).why == Refusal::bucket_being_removed);
    CHECK(r.run(in).did == Did::existed);
    CHECK(r.run(append("demo/a", "still open")).did == Did::appended);
    CHECK(r.run(simple(CommandKind::unseal_bucket, "demo", 5)).did == Did::unsealed);
    CHECK(r.run(late).did == Did::created);
    r.run(simple(CommandKind::remove_stream, "demo/a"));
    r.run(simple(CommandKind::remove_stream, "demo/b"));
    CHECK(r.run(simple(CommandKind::seal_bucket, "demo", 5)).empty);
    Command builtin = create("v1/x");
    CHECK(r.run(builtin).did == Did::created);
    CHECK(r.run(simple(CommandKind::seal_bucket, "v1", 0)).why == Refusal::bucket_not_found);
    CHECK(r.run(simple(CommandKind::unseal_bucket, "v1", 0)).why == Refusal::bucket_not_found);
}

TEST_CASE("seals and unseals of earlier rounds are refused, whatever bucket they are of") {
    Replica r;
    const auto seal = [&r](std::uint64_t id, std::uint64_t round) {
        return r.run(in_round(simple(CommandKind::seal_bucket, "demo", id), round));
    };
    const auto unseal = [&r](std::uint64_t id, std::uint64_t round) {
        return r.run(in_round(simple(CommandKind::unseal_bucket, "demo", id), round));
    };
    CHECK(seal(5, 10).changed);
    CHECK(!seal(5, 10).changed);
    CHECK(seal(5, 20).changed);
    CHECK(unseal(5, 10).why == Refusal::bucket_being_removed);
    CHECK(r.machine.is_sealed(5));
    CHECK(unseal(5, 20).did == Did::unsealed);
    CHECK(!unseal(5, 20).changed);
    CHECK(seal(5, 10).why == Refusal::bucket_being_removed);
    CHECK(seal(6, 19).why == Refusal::bucket_being_removed);
    CHECK(!r.machine.is_sealed(5));
    CHECK(unseal(6, 21).did == Did::unsealed);
    CHECK(r.machine.seal_round() == 21);
}

TEST_CASE("sealed ids are kept as intervals, whatever the order") {
    base::Random random(3);
    Replica r;
    std::vector<bool> model(200);
    for (int step = 0; step < 4000; ++step) {
        const std::uint64_t id = 1 + random.below(199);
        const bool seal = random.chance(2, 3);
        r.run(simple(seal ? CommandKind::seal_bucket : CommandKind::unseal_bucket, "b", id));
        model[id] = seal;
        for (std::uint64_t probe = 1; probe < 200; ++probe) {
            REQUIRE(r.machine.is_sealed(probe) == model[probe]);
        }
    }
}

TEST_CASE("streams share content types and bucket counts, and give them back") {
    Replica r;
    for (int i = 0; i < 100; ++i) {
        const std::string name = numbered("demo/s", i);
        const std::string type = numbered("text/x", i % 3);
        Command command = create(name, type);
        command.number = static_cast<std::uint64_t>(i % 4);
        r.run(command);
    }
    CHECK(r.machine.streams_of_bucket(2) == 25);
    CHECK(r.find("demo/s4")->content_type_slice().data() ==
          r.find("demo/s7")->content_type_slice().data());
    for (int i = 0; i < 100; ++i) {
        r.run(simple(CommandKind::remove_stream, numbered("demo/s", i)));
    }
    CHECK(r.machine.streams_of_bucket(2) == 0);
    CHECK(r.machine.first() == nullptr);
}

TEST_CASE("counters equal a recount after any schedule") {
    base::Random random(21);
    Replica r;
    for (int step = 0; step < 5000; ++step) {
        const std::string name = numbered("demo/", random.below(60));
        switch (random.below(4)) {
            case 0: {
                Command command = create(name, "text/plain", random.chance(1, 2) ? "body" : "");
                command.number = random.below(5);
                r.run(command);
                break;
            }
            case 1:
                r.run(simple(CommandKind::remove_stream, name));
                break;
            default:
                r.run(append(name, std::string(1 + random.below(50), 'x')));
        }
        std::uint64_t counts[5] = {};
        std::uint64_t live = 0;
        std::size_t streams = 0;
        for (const Stream* s = r.machine.first(); s != nullptr; s = s->next()) {
            ++counts[s->bucket_id()];
            live += s->tail();
            ++streams;
        }
        REQUIRE(streams == r.machine.streams());
        REQUIRE(live == r.local.segments.live_total());
        for (std::uint64_t b = 0; b < 5; ++b) {
            REQUIRE(counts[b] == r.machine.streams_of_bucket(b));
        }
    }
}
