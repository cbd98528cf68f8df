#include "tools/check/generate.h"

#include <algorithm>
#include <utility>

#include "base/random.h"
#include "tools/check/write.h"

namespace ursula::check {

namespace {

constexpr std::int64_t tick = 1000;  // Mean distance of two operations, in nanoseconds.
constexpr std::uint64_t longest_wait = 200'000;
constexpr std::uint32_t producers_per_stream = 8;

// Gathers operations in a history, or as text.
class Memory {
  public:
    explicit Memory(History& history) : history_(history) {}
    template <class Operation>
    void add(std::uint32_t stream, std::vector<Operation> Stream::*list, const char*,
             const Operation& operation) {
        (history_.streams[stream].*list).push_back(operation);
    }

  private:
    History& history_;
};

class Text {
  public:
    Text(const History& names, const std::function<void(const std::string&)>& put)
        : names_(names), put_(put) {}
    ~Text() { put_(text_); }
    Text(const Text&) = delete;
    Text& operator=(const Text&) = delete;

    template <class Operation>
    void add(std::uint32_t stream, std::vector<Operation> Stream::*, const char* kind,
             const Operation& operation) {
        const std::string word = stream_word(names_.streams[stream]);
        if constexpr (std::is_same_v<Operation, Change>) {
            write(text_, word, names_, kind, operation);
        } else {
            write(text_, word, names_, operation);
        }
        text_ += '\n';
        constexpr std::size_t piece_bytes = 1 << 20;
        if (text_.size() >= piece_bytes) {
            put_(text_);
            text_.clear();
        }
    }

  private:
    const History& names_;
    const std::function<void(const std::string&)>& put_;
    std::string text_;
};

// Runs a server in its head: each operation takes effect at `now_` and lasts from some time before
// to some time after.
template <class Sink>
class Generator {
  public:
    Generator(const Generate& wanted, History& history, Sink& sink)
        : wanted_(wanted), random_(wanted.seed), history_(history), sink_(sink) {}

    void run() {
        history_.nodes = {"a", "b", "c"};
        for (std::uint32_t number = 0; number < wanted_.streams; ++number) {
            states_.emplace_back();
            create(number);
        }
        while (history_.operations < wanted_.operations) {
            now_ += static_cast<std::int64_t>(random_.below(2 * tick));
            const auto name = static_cast<std::uint32_t>(random_.below(states_.size()));
            operation(name);
        }
        for (const State& state : states_) {
            Stream& stream = history_.streams[state.stream];
            stream.ending = state.closed ? Ending::closed : Ending::open;
        }
    }

  private:
    struct State {
        std::uint32_t stream = 0;  // Index of the living incarnation.
        std::uint64_t incarnation = 0;
        std::uint64_t bytes = 0;
        bool closed = false;
        std::vector<std::uint64_t> prefix;  // Folds, by state.
        std::vector<Producer> producers;    // What each sends next.
    };

    std::vector<Logged>& log_of(const State& state) {
        return history_.streams[state.stream].logs[0].entries;
    }

    Interval around() {
        Interval when;
        when.start = now_ - static_cast<std::int64_t>(random_.below(longest_wait));
        when.end = now_ + static_cast<std::int64_t>(random_.below(longest_wait));
        when.node = static_cast<std::uint32_t>(1 + random_.below(history_.nodes.size()));
        return when;
    }

    template <class Operation>
    void add(std::uint32_t stream, std::vector<Operation> Stream::*list, const Operation& what,
             const char* kind = "") {
        sink_.add(stream, list, kind, what);
        ++history_.operations;
    }

    void create(std::uint32_t name) {
        State& state = states_[name];
        const std::uint64_t incarnation = state.incarnation + 1;
        state = State{};
        state.incarnation = incarnation;
        state.stream = static_cast<std::uint32_t>(history_.streams.size());
        state.prefix.push_back(0);
        Stream& stream = history_.streams.emplace_back();
        stream.name = "stream-" + std::to_string(name);
        stream.incarnation = incarnation;
        stream.logs.emplace_back();
        for (std::uint32_t number = 0; number < producers_per_stream; ++number) {
            history_.producers.push_back(stream.name + '-' + std::to_string(incarnation) + '-' +
                                         std::to_string(number));
            Producer producer;
            producer.name = static_cast<std::uint32_t>(history_.producers.size());
            state.producers.push_back(producer);
        }
        Change change;
        change.when = around();
        change.outcome = Outcome::acked;
        add(state.stream, &Stream::creates, change, "create");
    }

    void operation(std::uint32_t name) {
        State& state = states_[name];
        const std::uint64_t dice = random_.below(100);
        // Each name is closed about four times; a closed one is soon deleted.
        const bool turns =
            state.closed ? random_.chance(1, 500)
                         : random_.chance(4 * std::uint64_t{wanted_.streams}, wanted_.operations);
        if (turns) {
            replace(name);
        } else if (dice < 45) {
            append(state);
        } else if (dice < 90) {
            read(state);
        } else {
            head(state);
        }
    }

    void append(State& state) {
        Append append;
        append.when = around();
        append.payload = next_payload_++ * 0x9e3779b97f4a7c15u;
        if (state.closed) {
            append.outcome = Outcome::refused_closed;
            add(state.stream, &Stream::appends, append);
            return;
        }
        Producer* producer = nullptr;
        if (random_.chance(1, 3)) {
            producer = &state.producers[random_.below(state.producers.size())];
            append.producer = *producer;
        }
        const bool lost = random_.chance(1, 100);
        const bool landed = !lost || random_.chance(1, 2);
        if (landed) {
            state.bytes += random_.between(1, 4096);
            log_of(state).push_back(Logged{append.payload, Offset{0, state.bytes}, 0});
            state.prefix.push_back(fold(state.prefix.back(), append.payload));
        }
        append.outcome = lost ? Outcome::unknown : Outcome::acked;
        append.offset = lost ? unknown_offset : Offset{0, state.bytes};
        if (lost) {
            append.when.end = never;
        }
        add(state.stream, &Stream::appends, append);
        if (producer == nullptr) {
            return;
        }
        if (lost || random_.chance(1, 50)) {
            retry(state, append, landed);
        }
        if (random_.chance(1, 1000)) {
            producer->seq = 0;
            ++producer->epoch;
        } else {
            ++producer->seq;
        }
    }

    // A producer asks again for what it got no answer to, or may as well not have.
    void retry(State& state, Append append, bool landed) {
        append.when = around();
        append.offset = unknown_offset;
        if (landed) {
            append.outcome = Outcome::duplicate;
            append.told = append.producer.seq;
        } else {
            append.outcome = Outcome::acked;
            state.bytes += random_.between(1, 4096);
            append.offset = Offset{0, state.bytes};
            log_of(state).push_back(Logged{append.payload, append.offset, 0});
            state.prefix.push_back(fold(state.prefix.back(), append.payload));
        }
        add(state.stream, &Stream::appends, append);
    }

    Offset end_of(State& state, std::size_t count) {
        return count == 0 ? Offset{} : log_of(state)[count - 1].offset;
    }

    void read(State& state) {
        const std::size_t size = log_of(state).size();
        // Most readers are near the tail; some are anywhere.
        const std::size_t from = random_.chance(3, 4)
                                     ? size - random_.below(std::min<std::size_t>(size + 1, 64))
                                     : random_.below(size + 1);
        const std::size_t count = std::min<std::size_t>(size - from, random_.below(256));
        Read read;
        read.when = around();
        read.from = end_of(state, from);
        read.to = end_of(state, from + count);
        read.count = count;
        const std::uint64_t before = multiply_mod(state.prefix[from], power(count));
        const std::uint64_t after = state.prefix[from + count];
        read.hash = after >= before ? after - before : after + fold_prime - before;
        read.tail = from + count == size;
        read.closed = read.tail && state.closed;
        add(state.stream, &Stream::reads, read);
    }

    static std::uint64_t power(std::size_t exponent) {
        std::uint64_t result = 1;
        std::uint64_t square = fold_base;
        for (; exponent > 0; exponent >>= 1) {
            result = (exponent & 1u) != 0 ? multiply_mod(result, square) : result;
            square = multiply_mod(square, square);
        }
        return result;
    }

    void head(State& state) {
        Read read;
        read.when = around();
        read.head = true;
        read.tail = true;
        read.closed = state.closed;
        read.to = end_of(state, log_of(state).size());
        read.from = read.to;
        add(state.stream, &Stream::reads, read);
    }

    // Closes an open stream; deletes a closed one and creates it again.
    void replace(std::uint32_t name) {
        State& state = states_[name];
        if (!state.closed) {
            state.closed = true;
            Close close;
            close.when = around();
            close.outcome = Outcome::acked;
            add(state.stream, &Stream::closes, close);
            return;
        }
        Change change;
        change.when = around();
        change.outcome = Outcome::acked;
        add(state.stream, &Stream::deletes, change, "delete");
        history_.streams[state.stream].ending = Ending::closed_deleted;
        now_ += tick;
        add(state.stream, &Stream::absents, around());
        now_ += tick;
        create(name);
    }

    const Generate& wanted_;
    base::Random random_;
    History& history_;
    Sink& sink_;
    std::vector<State> states_;
    std::int64_t now_ = static_cast<std::int64_t>(longest_wait);
    std::uint64_t next_payload_ = 1;
};

}  // namespace

History generate_history(const Generate& wanted) {
    History history;
    Memory sink(history);
    Generator<Memory>(wanted, history, sink).run();
    return history;
}

void generate_text(const Generate& wanted, const std::function<void(const std::string&)>& put) {
    History history;
    {
        Text sink(history, put);
        Generator<Text>(wanted, history, sink).run();
    }
    // What the operations left: the logs and the endings.
    std::string text;
    for (const Stream& stream : history.streams) {
        write_stream(text, history, stream);
        put(text);
        text.clear();
    }
}

}  // namespace ursula::check
