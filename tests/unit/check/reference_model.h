// One name as a sequential machine, and small random histories of it: what the checker's verdicts
// are compared with. Nothing here reasons about intervals or bounds.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "base/random.h"
#include "tools/check/history.h"

namespace ursula::check::reference {

enum class Act : std::uint8_t { create, append, close, remove, read, absent };

// One operation. States are counts of appends; a state's offset is ten times it.
struct Op {
    Act act = Act::read;
    std::uint8_t incarnation = 1;
    Outcome outcome = Outcome::acked;
    std::int64_t start = 0;
    std::int64_t end = 0;
    // append, close
    std::uint64_t payload = 0;
    Producer producer;
    bool closes = false;
    std::uint64_t told = untold;
    std::uint64_t offset = untold;  // That an acked append was told.
    // read
    std::uint64_t from = 0;  // Offsets.
    std::uint64_t to = 0;
    std::vector<std::uint64_t> content;
    bool tail = false;
    bool closed = false;
    bool live = false;
};

struct Incarnation {
    std::vector<std::uint64_t> log;
    bool created = false;
    bool closed = false;
    bool deleted = false;
};

constexpr std::size_t incarnations_max = 3;

struct Case {
    std::array<Incarnation, incarnations_max> incarnations;  // Created ones first.
    std::vector<Op> ops;
    bool offsets_true = true;  // No offset and no content was damaged.
    bool offsets_told = true;  // The logs hold all offsets.
    std::uint64_t hidden = 0;  // Seed of which offsets the logs do not hold.
};

// The machine's state. Small and trivially copied: the search keeps many.
struct Model {
    struct ProducerState {
        bool known = false;
        std::uint8_t epoch = 0;
        std::uint8_t seq = 0;
    };

    std::uint8_t incarnation = 0;  // Creations so far.
    bool present = false;
    bool closed = false;
    std::uint8_t count = 0;  // Appends of this incarnation.
    ProducerState producers[2];
    Producer closer;

    // True when a server in this state may answer so; the state is then the one after it. `unknown`
    // stands for an operation that takes effect here.
    bool take(const Op& op, const Case& test);

    bool operator==(const Model& other) const { return packed() == other.packed(); }
    std::uint64_t packed() const;

  private:
    bool create(const Op& op, const Case& test);
    bool append(const Op& op, const Case& test);
    bool close(const Op& op);
    bool read(const Op& op) const;
    bool told_by_producer(const Op& op) const;
    bool is_next(const Producer& producer) const;
    void accept(const Producer& producer);
    bool here(const Op& op) const { return present && incarnation == op.incarnation; }
};

// A run of the machine, its operations widened to overlapping intervals. `damages` changes are made
// to it afterwards, which may or may not contradict something.
Case random_case(base::Random& random, std::uint64_t damages);

// Whether some order of the operations, each at an instant of its interval, is what the machine
// does and ends as the case says. Tries them all.
bool linearizable(const Case& test);

History history_of(const Case& test);

}  // namespace ursula::check::reference
