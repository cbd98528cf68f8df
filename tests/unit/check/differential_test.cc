// The checker against an exhaustive search, over small random histories with random damage.
#include <doctest/doctest.h>

#include <algorithm>
#include <set>
#include <tuple>
#include <utility>

#include "base/random.h"
#include "tools/check/check.h"

using namespace ursula::check;
using ursula::base::Random;

namespace {

constexpr int histories = 200'000;
constexpr std::uint64_t first_payload = 1;

enum class Act { append, append_close, close, read, partial_read };

// One operation as the search sees it: states are counts of appends plus one for a close of its
// own.
struct Op {
    Act act = Act::read;
    std::int64_t start = 0;
    std::int64_t end = 0;
    Outcome outcome = Outcome::acked;
    std::uint64_t payload = 0;
    std::size_t count = 0;  // Appends a read saw.
    bool closed = false;    // A read saw the closed flag.
};

struct Case {
    std::vector<std::uint64_t> log;
    bool closed = false;
    std::vector<Op> ops;
};

// Tries every order of the operations that real time allows.
class Search {
  public:
    explicit Search(const Case& test) : test_(test) {}

    bool linearizable() { return go(0, 0, false); }

  private:
    bool optional(const Op& op) const { return op.outcome == Outcome::unknown; }

    // Applies an operation to the state, or says that it cannot stand here.
    bool apply(const Op& op, std::size_t& count, bool& closed) const {
        switch (op.act) {
            case Act::append:
            case Act::append_close:
                if (op.outcome == Outcome::refused) {
                    return true;
                }
                if (op.outcome == Outcome::refused_closed) {
                    return closed;
                }
                if (closed || count == test_.log.size() || test_.log[count] != op.payload) {
                    return false;
                }
                ++count;
                closed = op.act == Act::append_close;
                return true;
            case Act::close:
                closed = true;
                return true;
            case Act::read:
                return op.count == count && op.closed == closed;
            case Act::partial_read:
                return op.count <= count;
        }
        return false;
    }

    bool go(std::uint32_t done, std::size_t count, bool closed) {
        if (!seen_.insert({done, count, closed}).second) {
            return false;
        }
        bool finished = count == test_.log.size() && closed == test_.closed;
        for (std::size_t index = 0; index < test_.ops.size(); ++index) {
            const Op& op = test_.ops[index];
            if ((done >> index & 1u) != 0) {
                continue;
            }
            finished = finished && optional(op);
            if (!may_be_next(index, done)) {
                continue;
            }
            std::size_t next_count = count;
            bool next_closed = closed;
            if (apply(op, next_count, next_closed) &&
                go(done | 1u << index, next_count, next_closed)) {
                return true;
            }
        }
        return finished;
    }

    // No operation that must still happen ended before this one began. An optional one that is left
    // out never happens, and its end is never known.
    bool may_be_next(std::size_t index, std::uint32_t done) const {
        for (std::size_t other = 0; other < test_.ops.size(); ++other) {
            if ((done >> other & 1u) == 0 && !optional(test_.ops[other]) &&
                test_.ops[other].end < test_.ops[index].start) {
                return false;
            }
        }
        return true;
    }

    const Case& test_;
    std::set<std::tuple<std::uint32_t, std::size_t, bool>> seen_;
};

// Plays a run in one order, gives each operation an interval around its instant, then damages some.
Case random_case(Random& random) {
    Case test;
    bool closed = false;
    std::uint64_t payload = first_payload;
    const std::size_t count = 1 + random.below(8);
    for (std::size_t step = 0; step < count; ++step) {
        Op op;
        const auto instant = static_cast<std::int64_t>(10 + step * 3);
        op.start = instant - static_cast<std::int64_t>(random.below(8));
        op.end = instant + static_cast<std::int64_t>(random.below(8));
        const std::uint64_t dice = random.below(20);
        if (dice < 9) {
            op.act = dice == 0 ? Act::append_close : Act::append;
            op.payload = payload++;
            if (closed) {
                op.outcome = random.chance(1, 4) ? Outcome::unknown : Outcome::refused_closed;
            } else if (random.chance(1, 10)) {
                op.outcome = Outcome::refused;
            } else {
                const bool lost = random.chance(1, 4);
                op.outcome = lost ? Outcome::unknown : Outcome::acked;
                if (!lost || random.chance(1, 2)) {
                    test.log.push_back(op.payload);
                    closed = op.act == Act::append_close;
                }
            }
        } else if (dice == 9) {
            op.act = Act::close;
            op.outcome = random.chance(1, 4) ? Outcome::unknown : Outcome::acked;
            closed = closed || op.outcome == Outcome::acked || random.chance(1, 2);
        } else if (dice < 17) {
            op.act = Act::read;
            op.count = test.log.size();
            op.closed = closed;
        } else {
            op.act = Act::partial_read;
            op.count = random.below(test.log.size() + 1);
        }
        test.ops.push_back(op);
    }
    test.closed = closed;
    const std::uint64_t damages = random.below(4);
    for (std::uint64_t damage = 0; damage < damages; ++damage) {
        Op& op = test.ops[random.below(test.ops.size())];
        switch (random.below(6)) {
            case 0:
                op.count = random.below(test.log.size() + 1);
                break;
            case 1:
                op.start += static_cast<std::int64_t>(random.below(20));
                op.end = std::max(op.start, op.end + static_cast<std::int64_t>(random.below(20)));
                break;
            case 2:
                op.start -= static_cast<std::int64_t>(random.below(20));
                op.end = std::max(op.start, op.end - static_cast<std::int64_t>(random.below(20)));
                break;
            case 3:
                if (test.log.size() > 1) {
                    const std::size_t at = random.below(test.log.size() - 1);
                    std::swap(test.log[at], test.log[at + 1]);
                }
                break;
            case 4:
                test.closed = !test.closed;
                break;
            default:
                op.closed = op.act == Act::read && !op.closed;
                break;
        }
    }
    return test;
}

History history_of(const Case& test) {
    const auto offset = [](std::size_t state) { return Offset{0, state * 10}; };
    History history;
    Stream& stream = history.streams.emplace_back();
    stream.name = std::string("stream");
    stream.closed = test.closed;
    NodeLog& log = stream.logs.emplace_back();
    for (const std::uint64_t payload : test.log) {
        log.entries.push_back(Logged{payload, offset(log.entries.size() + 1), 0});
    }
    for (const Op& op : test.ops) {
        const Interval when{op.start, op.outcome == Outcome::unknown ? never : op.end, 0};
        if (op.act == Act::append || op.act == Act::append_close) {
            Append& append = stream.appends.emplace_back();
            append.when = when;
            append.payload = op.payload;
            append.outcome = op.outcome;
            append.closes = op.act == Act::append_close;
        } else if (op.act == Act::close) {
            stream.closes.push_back(Close{when, op.outcome});
        } else {
            Read& read = stream.reads.emplace_back();
            read.when = when;
            read.to = offset(op.count);
            read.count = op.count;
            for (std::size_t place = 0; place < op.count; ++place) {
                read.hash = fold(read.hash, test.log[place]);
            }
            read.tail = op.act == Act::read;
            read.closed = op.closed;
        }
    }
    return history;
}

}  // namespace

TEST_CASE("the checker agrees with an exhaustive search") {
    Random random(20261123);
    int consistent = 0;
    for (int number = 0; number < histories; ++number) {
        const Case test = random_case(random);
        const bool expected = Search(test).linearizable();
        const Verdict verdict = check_history(history_of(test));
        std::string reason;
        if (!verdict.violations.empty()) {
            reason = verdict.violations[0].reason;
        }
        CAPTURE(number);
        CAPTURE(reason);
        REQUIRE(verdict.violations.empty() == expected);
        consistent += expected ? 1 : 0;
    }
    // Both verdicts must be common, else the comparison means little.
    CHECK(consistent > histories / 4);
    CHECK(consistent < histories * 3 / 4);
}
