#include "raft/id_log.h"

#include <doctest/doctest.h>

#include <map>
#include <vector>

#include "base/random.h"
#include "raft/bounds.h"
#include "tests/unit/raft/one_voter.h"

namespace ursula::raft {
using test::id;

namespace {
IdLog restored(EntryId snapshot, std::vector<TermRun> runs, std::uint64_t last,
               std::uint64_t committed) {
    IdLog log;
    log.restore(snapshot, runs, LogIndex(last), LogIndex(committed));
    return log;
}
}  // namespace

TEST_CASE("an empty log knows the id before its first entry") {
    const IdLog log;
    CHECK(log.first() == LogIndex(1));
    CHECK(log.last_id() == EntryId{});
    CHECK(log.term_at(LogIndex(0)) == Term(0));
    CHECK(log.contains(EntryId{}));
    CHECK_FALSE(log.contains(id(1, 1)));
}

TEST_CASE("restored runs give every index its term") {
    const IdLog log =
        restored(id(2, 10), {{LogIndex(11), Term(2)}, {LogIndex(14), Term(5)}}, 15, 12);
    CHECK(log.first() == LogIndex(11));
    CHECK(log.term_at(LogIndex(10)) == Term(2));
    CHECK(log.term_at(LogIndex(11)) == Term(2));
    CHECK(log.term_at(LogIndex(13)) == Term(2));
    CHECK(log.term_at(LogIndex(14)) == Term(5));
    CHECK(log.last_id() == id(5, 15));
    CHECK(log.persisted() == LogIndex(15));
    CHECK(log.committed() == LogIndex(12));
    CHECK(log.applied() == LogIndex(10));
    CHECK(log.contains(id(2, 10)));
    CHECK(log.contains(id(5, 14)));
    CHECK_FALSE(log.contains(id(2, 14)));
    CHECK_FALSE(log.contains(id(2, 9)));
    CHECK_FALSE(log.contains(id(5, 16)));
}

TEST_CASE("bytes are counted from append to commit") {
    IdLog log;
    log.append(Term(1), 100);
    log.append(Term(1), 0);
    log.append(Term(2), 30);
    CHECK(log.uncommitted_bytes() == 130);
    log.set_committed(LogIndex(1));
    CHECK(log.uncommitted_bytes() == 30);
    log.set_committed(LogIndex(1));
    CHECK(log.uncommitted_bytes() == 30);
    log.append(Term(2), 5);
    log.set_committed(LogIndex(3));
    CHECK(log.uncommitted_bytes() == 5);
    log.set_committed(LogIndex(4));
    CHECK(log.uncommitted_bytes() == 0);
}

TEST_CASE("entries recovered before they were committed count no bytes") {
    IdLog log = restored({}, {{LogIndex(1), Term(1)}}, 5, 2);
    log.append(Term(2), 40);
    CHECK(log.uncommitted_bytes() == 40);
    log.set_committed(LogIndex(5));
    CHECK(log.uncommitted_bytes() == 40);
    log.set_committed(LogIndex(6));
    CHECK(log.uncommitted_bytes() == 0);
}

TEST_CASE("marks move forward only") {
    IdLog log;
    log.append(Term(1), 1);
    log.append(Term(1), 1);
    log.set_persisted(LogIndex(2));
    log.set_persisted(LogIndex(1));
    CHECK(log.persisted() == LogIndex(2));
    log.set_committed(LogIndex(2));
    log.set_committed(LogIndex(1));
    CHECK(log.committed() == LogIndex(2));
    log.set_applied(LogIndex(2));
    log.set_applied(LogIndex(1));
    CHECK(log.applied() == LogIndex(2));
}

TEST_CASE("compaction forgets whole runs, shortens one, and never goes back") {
    IdLog log = restored(
        {}, {{LogIndex(1), Term(1)}, {LogIndex(4), Term(3)}, {LogIndex(6), Term(4)}}, 8, 8);
    log.set_applied(LogIndex(8));
    log.compact(id(3, 4));
    CHECK(log.snapshot() == id(3, 4));
    CHECK(log.first() == LogIndex(5));
    REQUIRE(log.runs().size() == 2);
    CHECK(log.runs()[0] == TermRun{LogIndex(5), Term(3)});
    CHECK(log.term_at(LogIndex(6)) == Term(4));
    log.compact(id(1, 2));
    CHECK(log.snapshot() == id(3, 4));
    log.compact(id(4, 8));
    CHECK(log.runs().empty());
    CHECK(log.last_id() == id(4, 8));
    log.append(Term(4), 1);
    CHECK(log.last_id() == id(4, 9));
    CHECK(log.term_at(LogIndex(8)) == Term(4));
}

TEST_CASE("a snapshot makes what it covers durable") {
    IdLog log;
    log.append(Term(1), 1);
    log.append(Term(1), 1);
    log.set_committed(LogIndex(2));
    log.set_applied(LogIndex(2));
    CHECK(log.persisted() == LogIndex(0));
    log.compact(id(1, 2));
    CHECK(log.persisted() == LogIndex(2));
}

TEST_CASE("a copy is equal, whatever happened to reach that state") {
    IdLog a;
    for (std::uint64_t i = 0; i < 40; ++i) {
        a.append(Term(1), 10);
    }
    a.set_committed(LogIndex(17));
    IdLog b = a;
    CHECK(a == b);
    b.append(Term(1), 10);
    CHECK_FALSE(a == b);
    a.append(Term(1), 11);
    CHECK_FALSE(a == b);
    b.set_committed(LogIndex(41));
    a.set_committed(LogIndex(30));
    a.set_committed(LogIndex(41));
    CHECK(a == b);
}

TEST_CASE("agrees with a map of terms and sizes over random histories") {
    for (std::uint64_t seed = 1; seed <= 40; ++seed) {
        CAPTURE(seed);
        base::Random random(seed);
        IdLog log;
        std::map<std::uint64_t, std::pair<std::uint64_t, std::uint64_t>>
            model;  // index: term, size
        std::uint64_t term = 1;
        std::uint64_t last = 0;
        std::uint64_t committed = 0;
        std::uint64_t compacted = 0;
        for (int round = 0; round < 400; ++round) {
            switch (random.below(5)) {
                case 0:
                    term += random.below(3);
                    [[fallthrough]];
                case 1:
                case 2: {
                    const std::uint64_t size = random.below(100);
                    CHECK(log.append(Term(term), size) == id(term, ++last));
                    model[last] = {term, size};
                    break;
                }
                case 3:
                    committed = random.between(committed, last);
                    log.set_committed(LogIndex(committed));
                    log.set_applied(LogIndex(committed));
                    break;
                default:
                    if (committed > compacted && random.chance(1, 4)) {
                        compacted = random.between(compacted + 1, committed);
                        log.compact(id(model[compacted].first, compacted));
                    }
                    break;
            }
            std::uint64_t open = 0;
            for (std::uint64_t i = committed + 1; i <= last; ++i) {
                open += model[i].second;
            }
            CHECK(log.uncommitted_bytes() == open);
            const std::uint64_t probe = random.between(compacted, last);
            CHECK(log.term_at(LogIndex(probe)).value == (probe == 0 ? 0 : model[probe].first));
        }
    }
}

TEST_CASE("a million entries of few terms take no memory of their own") {
    IdLog log;
    for (std::uint64_t i = 1; i <= 1'000'000; ++i) {
        log.append(Term(1 + i / 250'000), 300);
        if (i % 64 == 0) {
            log.set_committed(LogIndex(i));
        }
    }
    CHECK(log.runs().size() == 5);
    CHECK(log.uncommitted_bytes() == 1'000'000 % 64 * 300);
}

TEST_CASE("a log is cut off: terms, sizes and the durable mark go with the entries") {
    IdLog log;
    const TermRun runs[] = {{LogIndex(1), Term(1)}};
    log.restore({}, runs, LogIndex(2), LogIndex(1));
    log.append(Term(2), 100);
    log.append(Term(2), 200);
    log.set_persisted(LogIndex(4));
    log.truncate(LogIndex(4));
    CHECK(log.last_id() == EntryId{Term(2), LogIndex(3)});
    CHECK(log.persisted() == LogIndex(3));
    CHECK(log.uncommitted_bytes() == 100);
    // Down into what was found at the start, whose sizes are not known.
    log.truncate(LogIndex(2));
    CHECK(log.last_id() == EntryId{Term(1), LogIndex(1)});
    CHECK(log.uncommitted_bytes() == 0);
    CHECK(log.append(Term(3), 7) == EntryId{Term(3), LogIndex(2)});
    CHECK(log.runs().size() == 2);
}

TEST_CASE("where two logs may agree") {
    IdLog log;
    const TermRun runs[] = {{LogIndex(4), Term(2)}, {LogIndex(6), Term(4)}, {LogIndex(9), Term(7)}};
    log.restore({Term(2), LogIndex(3)}, runs, LogIndex(10), LogIndex(3));
    CHECK(log.last_at_most(LogIndex(10), Term(7)) == EntryId{Term(7), LogIndex(10)});
    CHECK(log.last_at_most(LogIndex(99), Term(9)) == EntryId{Term(7), LogIndex(10)});
    CHECK(log.last_at_most(LogIndex(10), Term(6)) == EntryId{Term(4), LogIndex(8)});
    CHECK(log.last_at_most(LogIndex(7), Term(6)) == EntryId{Term(4), LogIndex(7)});
    CHECK(log.last_at_most(LogIndex(7), Term(3)) == EntryId{Term(2), LogIndex(5)});
    CHECK(log.last_at_most(LogIndex(3), Term(2)) == EntryId{Term(2), LogIndex(3)});
    CHECK(log.last_at_most(LogIndex(10), Term(1)) == EntryId{});
    CHECK(log.last_at_most(LogIndex(2), Term(9)) == EntryId{});
}

TEST_CASE("sizes: exact while uncommitted, an estimate else") {
    IdLog log;
    log.restore({}, {}, LogIndex{}, LogIndex{});
    log.append(Term(1), 100);
    log.append(Term(1), 200);
    log.append(Term(1), 300);
    CHECK(log.bytes_of(LogIndex(1)) == 100);
    CHECK(log.bytes_of(LogIndex(3)) == 300);
    log.set_committed(LogIndex(2));
    CHECK(log.bytes_of(LogIndex(2)) == limits::unknown_entry_bytes);
    CHECK(log.bytes_of(LogIndex(3)) == 300);
}

TEST_CASE("a snapshot in place of the log") {
    IdLog log;
    log.restore({}, {}, LogIndex{}, LogIndex{});
    log.append(Term(1), 100);
    log.restart({Term(4), LogIndex(9)});
    CHECK(log.last_id() == EntryId{Term(4), LogIndex(9)});
    CHECK(log.persisted() == LogIndex(9));
    CHECK(log.applied() == LogIndex(9));
    CHECK(log.uncommitted_bytes() == 0);
    CHECK(log.append(Term(4), 1) == EntryId{Term(4), LogIndex(10)});
}

}  // namespace ursula::raft
