// Random histories: a run of the machine, and damage to it.
#include <algorithm>

#include "tests/unit/check/reference_model.h"

namespace ursula::check::reference {

namespace {

using base::Random;

// Plays a server: decides each operation's answer from the state.
class Run {
  public:
    explicit Run(Random& random) : random_(random) {
        if (random_.chance(1, 2)) {
            create();  // Before the history begins.
        }
    }

    Case play() {
        const std::size_t count = 1 + random_.below(8);
        while (test_.ops.size() < count) {
            Op op = present() ? operation() : operation_on_nothing();
            const auto instant = static_cast<std::int64_t>(10 + test_.ops.size() * 3);
            op.start = instant - static_cast<std::int64_t>(random_.below(8));
            op.end = instant + static_cast<std::int64_t>(random_.below(8));
            test_.ops.push_back(op);
        }
        return test_;
    }

  private:
    Incarnation& now() { return test_.incarnations[model_.incarnation - 1u]; }
    bool present() const { return model_.present; }

    void create() {
        model_.incarnation = static_cast<std::uint8_t>(model_.incarnation + 1);
        model_.present = true;
        model_.closed = false;
        model_.producers[0] = model_.producers[1] = Model::ProducerState{};
        model_.closer = Producer{};
        now().created = true;
    }

    // Loses the answer of an operation sometimes. True: its effect was lost with it.
    bool lose(Op& op) {
        if (!random_.chance(1, 5)) {
            return false;
        }
        op.outcome = Outcome::unknown;
        return random_.chance(1, 2);
    }

    Op operation_on_nothing() {
        Op op;
        const std::uint64_t dice = random_.below(10);
        op.incarnation = std::max<std::uint8_t>(model_.incarnation, 1);
        if (dice < 5 && model_.incarnation < incarnations_max) {
            op.act = Act::create;
            op.incarnation = static_cast<std::uint8_t>(model_.incarnation + 1);
            if (!lose(op)) {
                create();
            }
        } else if (dice < 8) {
            op.act = Act::absent;
        } else {
            op.outcome = Outcome::refused_absent;
            op.act = dice == 8 ? Act::append : Act::remove;
            op.payload = next_payload_++;
        }
        return op;
    }

    Op operation() {
        Op op;
        op.incarnation = model_.incarnation;
        const std::uint64_t dice = random_.below(40);
        if (dice < 20) {
            append(op);
        } else if (dice < 23) {
            close(op);
        } else if (dice < 25) {
            op.act = Act::remove;
            if (!lose(op)) {
                model_.present = false;
                now().deleted = true;
            }
        } else if (dice == 25) {
            op.act = Act::create;
            op.outcome = Outcome::duplicate;
        } else if (dice == 26) {
            op.act = Act::append;
            op.payload = next_payload_++;
            op.outcome = Outcome::refused;
        } else {
            read(op, dice);
        }
        return op;
    }

    Producer some_triple() {
        Producer producer;
        if (random_.chance(1, 2)) {
            return producer;
        }
        producer.name = 1 + static_cast<std::uint32_t>(random_.below(2));
        const Model::ProducerState& state = model_.producers[producer.name - 1];
        if (!state.known) {
            producer.epoch = random_.below(2);
            producer.seq = random_.chance(1, 6) ? 1 : 0;
            return producer;
        }
        producer.epoch = state.epoch;
        producer.seq = state.seq + 1u;
        switch (random_.below(8)) {
            case 0:
                ++producer.epoch;
                producer.seq = 0;
                break;
            case 1:
                producer.seq = random_.below(state.seq + 1u);
                break;
            case 2:
                ++producer.seq;
                break;
            case 3:
                producer.epoch = random_.below(state.epoch + 1u);
                break;
            default:
                break;
        }
        return producer;
    }

    // What a server says to a write. Acked: it takes effect.
    void judge(Op& op) {
        const bool of_producer = op.producer.name != 0;
        if (model_.closed) {
            const bool closer = of_producer && op.producer == model_.closer;
            op.outcome = op.act == Act::append
                             ? (closer ? Outcome::duplicate : Outcome::refused_closed)
                             : (closer || !of_producer ? Outcome::acked : Outcome::refused_closed);
            return;
        }
        if (!of_producer) {
            return;
        }
        const Model::ProducerState& state = model_.producers[op.producer.name - 1];
        if (state.known && op.producer.epoch < state.epoch) {
            op.outcome = Outcome::refused_stale;
            op.told = state.epoch;
        } else if (state.known && op.producer.epoch > state.epoch) {
            op.outcome = op.producer.seq == 0 ? Outcome::acked : Outcome::refused;
        } else if (state.known && op.producer.seq <= state.seq) {
            op.outcome = op.act == Act::append ? Outcome::duplicate : Outcome::refused;
            op.told = op.act == Act::append ? state.seq : untold;
        } else if (op.producer.seq != (state.known ? state.seq + 1u : 0)) {
            op.outcome = Outcome::refused_gap;
            op.told = state.known ? state.seq + 1u : 0;
        }
        if (op.outcome != Outcome::refused_gap && random_.chance(1, 2)) {
            op.told = untold;
        }
    }

    void take_effect(const Op& op) {
        if (op.producer.name != 0) {
            model_.producers[op.producer.name - 1] =
                Model::ProducerState{true, static_cast<std::uint8_t>(op.producer.epoch),
                                     static_cast<std::uint8_t>(op.producer.seq)};
        }
        if (op.act == Act::close || op.closes) {
            model_.closed = true;
            model_.closer = op.producer;
            now().closed = true;
        }
    }

    void append(Op& op) {
        op.act = Act::append;
        const Op* before = nullptr;
        if (random_.chance(1, 3)) {
            // Something that was sent before, by a producer: its retry.
            const Op& other = test_.ops.empty() ? op : test_.ops[random_.below(test_.ops.size())];
            before = other.act == Act::append && other.producer.name != 0 &&
                             other.incarnation == op.incarnation
                         ? &other
                         : nullptr;
        }
        if (before != nullptr) {
            op.payload = before->payload;
            op.producer = before->producer;
            op.closes = before->closes;
        } else {
            op.payload = next_payload_++;
            op.producer = some_triple();
            op.closes = random_.chance(1, 12);
        }
        judge(op);
        const bool fits = op.outcome == Outcome::acked;
        if (lose(op) || !fits) {
            return;
        }
        take_effect(op);
        now().log.push_back(op.payload);
        op.offset = random_.chance(1, 4) ? untold : now().log.size() * 10;
    }

    void close(Op& op) {
        op.act = Act::close;
        op.producer = random_.chance(1, 3) ? some_triple() : Producer{};
        judge(op);
        const bool fits = op.outcome == Outcome::acked && !model_.closed;
        if (!lose(op) && fits) {
            take_effect(op);
        }
    }

    void read(Op& op, std::uint64_t dice) {
        const std::vector<std::uint64_t>& log = now().log;
        const bool partial = dice >= 36;
        const std::uint64_t from = random_.below(log.size() + 1);
        const std::uint64_t to = partial ? random_.between(from, log.size()) : log.size();
        op.from = from * 10;
        op.to = to * 10;
        op.content.assign(log.begin() + static_cast<std::ptrdiff_t>(from),
                          log.begin() + static_cast<std::ptrdiff_t>(to));
        op.tail = !partial;
        op.closed = to == log.size() && model_.closed && (!partial || random_.chance(1, 2));
        op.live = random_.chance(1, 8);
    }

    Random& random_;
    Case test_;
    Model model_;
    std::uint64_t next_payload_ = 1;
};

// All operations that carry one payload say the same of it.
template <class Change>
void change_payload(Case& test, std::uint64_t payload, const Change& change) {
    for (Op& op : test.ops) {
        if (op.act == Act::append && op.payload == payload) {
            change(op);
        }
    }
}

Outcome some_outcome(Random& random, const Op& op) {
    switch (op.act) {
        case Act::create: {
            constexpr Outcome all[] = {Outcome::acked, Outcome::duplicate, Outcome::unknown,
                                       Outcome::refused};
            return all[random.below(4)];
        }
        case Act::remove: {
            constexpr Outcome all[] = {Outcome::acked, Outcome::refused_absent, Outcome::unknown,
                                       Outcome::refused};
            return all[random.below(4)];
        }
        case Act::append:
        case Act::close: {
            constexpr Outcome all[] = {Outcome::acked,          Outcome::unknown,
                                       Outcome::refused,        Outcome::refused_closed,
                                       Outcome::refused_absent, Outcome::refused_stale,
                                       Outcome::refused_gap,    Outcome::duplicate};
            if (op.producer.name == 0) {
                return all[random.below(5)];
            }
            return all[random.below(op.act == Act::append ? 8 : 7)];
        }
        case Act::read:
        case Act::absent:
            break;
    }
    return op.outcome;
}

void damage(Random& random, Case& test) {
    Op& op = test.ops[random.below(test.ops.size())];
    Incarnation& incarnation = test.incarnations[op.incarnation - 1u];
    const auto shift = static_cast<std::int64_t>(random.below(20));
    const auto stretch = static_cast<std::int64_t>(random.below(20));
    switch (random.below(18)) {
        case 0:
        case 1:
            op.start += shift;
            op.end = std::max(op.start, op.end + stretch);
            break;
        case 2:
        case 3:
            op.start -= shift;
            op.end = std::max(op.start, op.end - stretch);
            break;
        case 4:
            op.start = op.end;
            break;
        case 5:
            if (op.act == Act::read && !op.content.empty()) {
                // A shorter read of the same place: still what the log has there.
                op.content.pop_back();
                op.to -= 10;
                op.closed = false;
            }
            break;
        case 6:
            if (op.act == Act::read) {
                op.closed = !op.closed;
            }
            break;
        case 7:
            if (op.act == Act::read) {
                op.tail = !op.tail;
            }
            break;
        case 8:
            if (incarnation.log.size() > 1) {
                const std::size_t at = random.below(incarnation.log.size() - 1);
                std::swap(incarnation.log[at], incarnation.log[at + 1]);
                test.offsets_true = false;
            }
            break;
        case 9:
            incarnation.closed = incarnation.created && !incarnation.closed;
            break;
        case 10:
            incarnation.deleted = incarnation.created && !incarnation.deleted;
            break;
        case 11:
        case 12:
            op.outcome = some_outcome(random, op);
            if (op.outcome == Outcome::refused_gap || random.chance(1, 4)) {
                op.told = random.below(3);
            }
            break;
        case 13:
            if (op.told != untold) {
                op.told = random.below(4);
            }
            break;
        case 14:
            if (op.producer.name != 0) {
                Producer other = op.producer;
                other.seq = random.chance(1, 2) ? other.seq + 1 : other.seq / 2;
                other.epoch = random.chance(1, 3) ? other.epoch + 1 : other.epoch;
                op.producer = other;
                if (op.act == Act::append) {
                    change_payload(test, op.payload, [&](Op& one) { one.producer = other; });
                }
            }
            break;
        case 15:
            if (op.act == Act::append) {
                const bool closes = !op.closes;
                change_payload(test, op.payload, [&](Op& one) { one.closes = closes; });
            }
            break;
        case 16:
            op.incarnation = static_cast<std::uint8_t>(1 + random.below(incarnations_max));
            test.offsets_true = false;
            break;
        default:
            test.offsets_true = false;
            switch (random.below(5)) {
                case 0:
                    op.from += random.chance(1, 3) ? 5 : 10;
                    break;
                case 1:
                    op.to += random.chance(1, 3) ? 5 : 10;
                    break;
                case 2:
                    op.offset = op.offset == untold ? untold : op.offset + 10;
                    break;
                case 3:
                    if (!op.content.empty()) {
                        ++op.content.back();
                    }
                    break;
                default:
                    if (!incarnation.log.empty()) {
                        incarnation.log.pop_back();
                    }
                    break;
            }
            break;
    }
}

// The history's text cannot tell these apart from what it means: one triple for an append and for a
// close that is not the same step.
bool is_ambiguous(const Case& test) {
    for (const Op& one : test.ops) {
        for (const Op& other : test.ops) {
            if (one.act == Act::close && other.act == Act::append && one.producer.name != 0 &&
                one.producer == other.producer && one.incarnation == other.incarnation) {
                return true;
            }
        }
    }
    return false;
}

}  // namespace

Case random_case(Random& random, std::uint64_t damages) {
    for (;;) {
        Case test = Run(random).play();
        for (std::uint64_t count = 0; count < damages; ++count) {
            damage(random, test);
        }
        if (is_ambiguous(test)) {
            continue;
        }
        test.offsets_told = !test.offsets_true || random.chance(3, 4);
        test.hidden = random.next();
        return test;
    }
}

}  // namespace ursula::check::reference
