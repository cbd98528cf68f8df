#include "tests/unit/check/reference_model.h"

#include <algorithm>
#include <unordered_set>
#include <utility>

namespace ursula::check::reference {

namespace {

bool same_triple(const Producer& a, const Producer& b) {
    return a.name != 0 && a == b;
}

// Tries every order of the operations that real time allows.
class Search {
  public:
    explicit Search(const Case& test) : test_(test), ops_(test.ops) {
        // A server hop may send an operation again: what was answered as known, or as gone, may
        // have had that effect itself, at any time after it was sent.
        for (const Op& op : test.ops) {
            if ((op.outcome == Outcome::duplicate &&
                 (op.act == Act::append || op.act == Act::create)) ||
                (op.outcome == Outcome::refused_absent && op.act == Act::remove)) {
                Op effect = op;
                effect.outcome = Outcome::unknown;
                ops_.push_back(effect);
            }
        }
        for (const Op& op : test.ops) {
            creation_told_[op.incarnation] =
                creation_told_[op.incarnation] ||
                (op.act == Act::create &&
                 (op.outcome == Outcome::acked || op.outcome == Outcome::unknown));
        }
        for (const Incarnation& incarnation : test.incarnations) {
            created_ = static_cast<std::uint8_t>(created_ + (incarnation.created ? 1 : 0));
        }
    }

    bool run() { return go(0, Model{}); }

  private:
    static bool optional(const Op& op) { return op.outcome == Outcome::unknown; }

    bool is_final(const Model& model) const {
        if (model.incarnation != created_) {
            return false;
        }
        if (created_ == 0) {
            return true;
        }
        const Incarnation& last = test_.incarnations[created_ - 1];
        return model.present != last.deleted &&
               (last.deleted || (model.count == last.log.size() && model.closed == last.closed));
    }

    bool go(std::uint32_t done, const Model& model) {
        if (!seen_.insert(std::uint64_t{done} << 44 | model.packed()).second) {
            return false;
        }
        bool finished = is_final(model);
        for (std::size_t index = 0; index < ops_.size(); ++index) {
            const Op& op = ops_[index];
            if ((done >> index & 1u) != 0) {
                continue;
            }
            finished = finished && optional(op);
            if (!may_be_next(op, done)) {
                continue;
            }
            Model next = model;
            if (next.take(op, test_) && go(done | 1u << index, next)) {
                return true;
            }
        }
        if (!finished && !model.present && model.incarnation < created_ &&
            !creation_told_[model.incarnation + 1u]) {
            Model next = model;
            next.incarnation = static_cast<std::uint8_t>(model.incarnation + 1);
            next.present = true;
            next.closed = false;
            next.count = 0;
            next.producers[0] = next.producers[1] = Model::ProducerState{};
            next.closer = Producer{};
            return go(done, next);
        }
        return finished;
    }

    // No operation that must still happen ended before this one began.
    bool may_be_next(const Op& op, std::uint32_t done) const {
        if (op.live) {
            return true;
        }
        for (std::size_t other = 0; other < ops_.size(); ++other) {
            if ((done >> other & 1u) == 0 && !optional(ops_[other]) && ops_[other].end < op.start) {
                return false;
            }
        }
        return true;
    }

    const Case& test_;
    std::vector<Op> ops_;
    std::array<bool, incarnations_max + 2> creation_told_{};
    std::uint8_t created_ = 0;
    std::unordered_set<std::uint64_t> seen_;
};

// Reads that do not match the log, and offsets that are not where the log has them, are wrong in
// every order.
bool content_fits(const Case& test) {
    for (const Op& op : test.ops) {
        const std::vector<std::uint64_t>& log = test.incarnations[op.incarnation - 1u].log;
        if (op.act == Act::append && op.outcome == Outcome::acked && op.offset != untold) {
            const auto at = std::find(log.begin(), log.end(), op.payload);
            if (at == log.end() ||
                op.offset != static_cast<std::uint64_t>(at - log.begin() + 1) * 10) {
                return false;
            }
        }
        if (op.act != Act::read) {
            continue;
        }
        const std::uint64_t from = op.from / 10;
        if (op.from % 10 != 0 || op.to != (from + op.content.size()) * 10 ||
            from + op.content.size() > log.size() ||
            !std::equal(op.content.begin(), op.content.end(),
                        log.begin() + static_cast<std::ptrdiff_t>(from))) {
            return false;
        }
    }
    return true;
}

}  // namespace

std::uint64_t Model::packed() const {
    std::uint64_t bits = incarnation;
    const auto add = [&](std::uint64_t value, int width) { bits = bits << width | value; };
    add(present, 1);
    add(closed, 1);
    add(count, 4);
    for (const ProducerState& producer : producers) {
        add(producer.known, 1);
        add(producer.epoch, 3);
        add(producer.seq, 4);
    }
    add(closer.name, 2);
    add(closer.epoch, 3);
    add(closer.seq, 4);
    return bits;
}

bool Model::is_next(const Producer& producer) const {
    if (producer.name == 0) {
        return true;
    }
    const ProducerState& state = producers[producer.name - 1];
    if (!state.known || producer.epoch > state.epoch) {
        return producer.seq == 0;
    }
    return producer.epoch == state.epoch && producer.seq == state.seq + 1u;
}

void Model::accept(const Producer& producer) {
    if (producer.name != 0) {
        producers[producer.name - 1] =
            ProducerState{true, static_cast<std::uint8_t>(producer.epoch),
                          static_cast<std::uint8_t>(producer.seq)};
    }
}

// Duplicates, stale epochs and gaps; the protocol judges closure first.
bool Model::told_by_producer(const Op& op) const {
    if (!here(op)) {
        return false;
    }
    if (closed) {
        return op.outcome == Outcome::duplicate && same_triple(op.producer, closer) &&
               (op.told == untold || op.told == op.producer.seq);
    }
    const ProducerState& state = producers[op.producer.name - 1];
    if (op.outcome == Outcome::duplicate) {
        return state.known && state.epoch == op.producer.epoch && op.producer.seq <= state.seq &&
               (op.told == untold || op.told == state.seq);
    }
    if (op.outcome == Outcome::refused_stale) {
        return state.known && op.producer.epoch < state.epoch &&
               (op.told == untold || op.told == state.epoch);
    }
    if (state.known && state.epoch != op.producer.epoch) {
        return false;
    }
    const std::uint64_t expected = state.known ? state.seq + 1u : 0;
    return op.told == expected && op.producer.seq > expected;
}

bool Model::create(const Op& op, const Case& test) {
    if (op.outcome == Outcome::duplicate) {
        return here(op);
    }
    if (present || op.incarnation != incarnation + 1 ||
        !test.incarnations[op.incarnation - 1u].created) {
        return false;
    }
    *this = Model{};
    incarnation = op.incarnation;
    present = true;
    return true;
}

bool Model::append(const Op& op, const Case& test) {
    const std::vector<std::uint64_t>& log = test.incarnations[op.incarnation - 1u].log;
    if (!here(op) || closed || !is_next(op.producer) || count == log.size() ||
        log[count] != op.payload) {
        return false;
    }
    accept(op.producer);
    ++count;
    if (op.closes) {
        closed = true;
        closer = op.producer;
    }
    return true;
}

bool Model::close(const Op& op) {
    if (!here(op)) {
        return false;
    }
    if (closed) {
        return op.outcome == Outcome::acked &&
               (op.producer.name == 0 || same_triple(op.producer, closer));
    }
    if (!is_next(op.producer)) {
        return false;
    }
    accept(op.producer);
    closed = true;
    closer = op.producer;
    return true;
}

bool Model::read(const Op& op) const {
    const std::size_t end = op.from / 10 + op.content.size();
    if (!here(op) || count < end) {
        return false;
    }
    if (op.closed) {
        return closed && count == end;
    }
    return !op.tail || op.live || (count == end && !closed);
}

bool Model::take(const Op& op, const Case& test) {
    if (op.outcome == Outcome::refused) {
        return true;
    }
    if (op.outcome == Outcome::refused_absent || op.act == Act::absent) {
        return !present;
    }
    if (op.outcome == Outcome::refused_closed) {
        return here(op) && closed && !same_triple(op.producer, closer);
    }
    if (op.outcome == Outcome::refused_stale || op.outcome == Outcome::refused_gap ||
        (op.outcome == Outcome::duplicate && op.act != Act::create)) {
        return told_by_producer(op);
    }
    switch (op.act) {
        case Act::create:
            return create(op, test);
        case Act::append:
            return append(op, test);
        case Act::close:
            return close(op);
        case Act::read:
            return read(op);
        case Act::remove: {
            const Incarnation& all = test.incarnations[op.incarnation - 1u];
            if (!here(op) || !all.deleted || count != all.log.size() || closed != all.closed) {
                return false;
            }
            present = false;
            return true;
        }
        case Act::absent:
            break;
    }
    return false;
}

bool linearizable(const Case& test) {
    return content_fits(test) && Search(test).run();
}

History history_of(const Case& test) {
    const auto offset = [](std::uint64_t at) {
        return at == untold ? unknown_offset : Offset{0, at};
    };
    History history;
    history.producers = {"p", "q"};
    base::Random hidden(test.hidden);
    for (std::size_t number = 0; number < incarnations_max; ++number) {
        const Incarnation& incarnation = test.incarnations[number];
        Stream& stream = history.streams.emplace_back();
        stream.name = "stream";
        stream.incarnation = number + 1;
        stream.ending = incarnation.closed ? Ending::closed : Ending::open;
        if (incarnation.deleted) {
            stream.ending = incarnation.closed ? Ending::closed_deleted : Ending::deleted;
        }
        if (!incarnation.created) {
            stream.ending = Ending::uncreated;
        }
        NodeLog& log = stream.logs.emplace_back();
        for (const std::uint64_t payload : incarnation.log) {
            const bool told = test.offsets_told || hidden.chance(1, 2);
            const std::uint64_t at = told ? (log.entries.size() + 1) * 10 : untold;
            log.entries.push_back(Logged{payload, offset(at), 0});
        }
    }
    for (const Op& op : test.ops) {
        Stream& stream = history.streams[op.incarnation - 1u];
        const Interval when{op.start, op.outcome == Outcome::unknown ? never : op.end, 0, 0};
        switch (op.act) {
            case Act::create:
                stream.creates.push_back(Change{when, op.outcome});
                break;
            case Act::remove:
                stream.deletes.push_back(Change{when, op.outcome});
                break;
            case Act::close:
                stream.closes.push_back(Close{when, op.outcome, op.producer, op.told});
                break;
            case Act::absent:
                stream.absents.push_back(when);
                break;
            case Act::append: {
                const bool told = op.outcome == Outcome::acked;
                stream.appends.push_back(Append{when, op.payload, offset(told ? op.offset : untold),
                                                op.outcome, op.closes, op.producer, op.told});
                break;
            }
            case Act::read: {
                Read read;
                read.when = when;
                read.from = offset(op.from);
                read.to = offset(op.to);
                read.count = op.content.size();
                for (const std::uint64_t payload : op.content) {
                    read.hash = fold(read.hash, payload);
                }
                read.tail = op.tail;
                read.closed = op.closed;
                read.live = op.live;
                stream.reads.push_back(read);
                break;
            }
        }
    }
    return history;
}

}  // namespace ursula::check::reference
