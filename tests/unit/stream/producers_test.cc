#include "stream/producers.h"

#include <doctest/doctest.h>

#include <list>
#include <map>

#include "tests/unit/stream/support.h"

using namespace ursula;
using namespace ursula::stream;
using namespace ursula::stream::test;

namespace {

// The protocol's table for one stream, written down as plainly as possible.
struct Model {
    struct State {
        std::uint64_t epoch;
        std::uint64_t last;
    };
    std::map<std::string, State> producers;
    std::uint64_t tail = 0;
    bool closed = false;
    bool has_closer = false;
    std::string closer_id;
    State closer{};

    std::string post(const std::string& id, std::uint64_t epoch, std::uint64_t seq,
                     std::size_t size, bool close) {
        if (size == 0 && !close) {
            return "empty";
        }
        if (closed) {
            return has_closer && closer_id == id && closer.epoch == epoch && closer.last == seq
                       ? numbered("duplicate ", seq)
                       : "closed";
        }
        const auto known = producers.find(id);
        if (known == producers.end()) {
            if (seq != 0) {
                return "gap 0";
            }
        } else if (epoch < known->second.epoch) {
            return numbered("stale ", known->second.epoch);
        } else if (epoch > known->second.epoch) {
            if (seq != 0) {
                return "start at zero";
            }
        } else if (seq <= known->second.last) {
            return numbered("duplicate ", known->second.last);
        } else if (seq != known->second.last + 1) {
            return numbered("gap ", known->second.last + 1);
        }
        producers[id] = {epoch, seq};
        tail += size;
        if (close) {
            closed = true;
            has_closer = true;
            closer_id = id;
            closer = {epoch, seq};
        }
        return numbered("accepted ", tail);
    }
};

std::string text(const Outcome& o) {
    using api::Refusal;
    if (o.why == Refusal::none) {
        return o.did == Did::duplicate ? numbered("duplicate ", o.producer_seq)
                                       : numbered("accepted ", o.tail);
    }
    if (o.why == Refusal::producer_gap) {
        return numbered("gap ", o.numbers[0]);
    }
    if (o.why == Refusal::producer_epoch_stale) {
        return numbered("stale ", o.numbers[0]);
    }
    if (o.why == Refusal::producer_epoch_must_start_at_zero) {
        return "start at zero";
    }
    if (o.why == Refusal::empty_append) {
        return "empty";
    }
    return o.why == Refusal::stream_closed ? "closed" : "?";
}

}  // namespace

TEST_CASE("producers behave like the model") {
    std::map<std::string, int> seen;
    for (std::uint64_t seed = 0; seed < 300; ++seed) {
        base::Random random(seed);
        Replica r;
        r.run(create("demo/a"));
        Model model;
        for (int step = 0; step < 200; ++step) {
            const std::string id(1, static_cast<char>('a' + random.below(3)));
            std::uint64_t epoch = random.below(3);
            std::uint64_t seq = random.below(4);
            // Most of the time what comes next, so that histories get somewhere.
            const auto known = model.producers.find(id);
            if (known != model.producers.end() && random.chance(3, 5)) {
                epoch = known->second.epoch;
                seq = known->second.last + random.below(3);
            }
            const std::string body(random.below(4), 'x');
            const bool closes = random.chance(1, 40);
            Command command = append("demo/a", body);
            command.close = closes;
            const std::string got = text(r.run(by(command, id, epoch, seq)));
            const std::string want = model.post(id, epoch, seq, body.size(), closes);
            REQUIRE(got == want);
            ++seen[want.substr(0, want.find(' '))];
            REQUIRE(r.find("demo/a")->tail() == model.tail);
            REQUIRE(r.find("demo/a")->closed() == model.closed);
        }
    }
    for (const char* kind : {"accepted", "duplicate", "gap", "stale", "start", "closed", "empty"}) {
        CHECK(seen[kind] > 100);
    }
}

TEST_CASE("the least recently used are forgotten first") {
    base::Random random(4);
    Producers producers;
    std::list<std::string> order;  // oldest first
    std::map<std::string, std::uint64_t> seqs;
    const auto hash = [](std::string_view id) { return base::siphash({9, 9}, base::as_bytes(id)); };
    for (int step = 0; step < 20000; ++step) {
        if (random.chance(1, 200)) {
            const std::size_t keep = random.below(order.size() + 2);
            std::size_t gone = 0;
            while (order.size() > keep) {
                seqs.erase(order.front());
                order.pop_front();
                ++gone;
            }
            CHECK(producers.forget(keep) == gone);
        }
        const std::string id = numbered("producer-", random.below(500));
        ProducerState* known = producers.find(hash(id), id);
        REQUIRE((known != nullptr) == (seqs.count(id) == 1));
        const std::uint64_t seq = random.next();
        producers.accept(known, hash(id), id, 1, seq);
        order.remove(id);
        order.push_back(id);
        seqs[id] = seq;
        REQUIRE(producers.size() == order.size());
    }
    const ProducerState* at = producers.oldest();
    for (const std::string& id : order) {
        REQUIRE(at != nullptr);
        CHECK(at->id() == id);
        CHECK(at->seq == seqs[id]);
        at = at->newer;
    }
    CHECK(at == nullptr);
}

TEST_CASE("forgetting is a replicated command, and a forgotten producer starts anew") {
    Replica r;
    r.run(create("demo/a"));
    for (int i = 0; i < 10; ++i) {
        CHECK(r.run(by(append("demo/a", "x"), numbered("p", i), 0, 0)).did == Did::appended);
    }
    CHECK(r.find("demo/a")->producers() == 10);
    CHECK(r.run(by(append("demo/a", "x"), "p0", 0, 1)).did == Did::appended);  // used again
    Outcome o = r.run(simple(CommandKind::forget_producers, "demo/a", 8));
    CHECK(o.did == Did::forgotten);
    CHECK(o.changed);
    CHECK(r.find("demo/a")->producers() == 8);
    CHECK(!r.run(simple(CommandKind::forget_producers, "demo/a", 8)).changed);
    CHECK(r.run(simple(CommandKind::forget_producers, "demo/none", 8)).why ==
          api::Refusal::stream_not_found);
    CHECK(r.run(by(append("demo/a", "x"), "p0", 0, 1)).did == Did::duplicate);
    CHECK(r.run(by(append("demo/a", "x"), "p3", 0, 0)).did == Did::duplicate);
    CHECK(r.run(by(append("demo/a", "x"), "p1", 0, 1)).why == api::Refusal::producer_gap);
    CHECK(r.run(by(append("demo/a", "x"), "p1", 0, 0)).did == Did::appended);
}

TEST_CASE("a duplicate does not count as use: replicas that never saw it agree") {
    // Duplicates may be answered by the leader without an entry, so they must not touch the order.
    Replica r;
    r.run(create("demo/a"));
    r.run(by(append("demo/a", "x"), "p", 0, 0));
    r.run(by(append("demo/a", "x"), "q", 0, 0));
    r.run(by(append("demo/a", "x"), "p", 0, 0));
    r.run(simple(CommandKind::forget_producers, "demo/a", 1));
    CHECK(r.run(by(append("demo/a", "x"), "q", 0, 0)).did == Did::duplicate);
}
