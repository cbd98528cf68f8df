#include "tools/check/check.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <unordered_map>
#include <utility>

#include "base/verify.h"

namespace ursula::check {

namespace {

constexpr std::size_t nowhere = std::numeric_limits<std::size_t>::max();

std::string offset_text(const Offset& offset) {
    const std::string high = std::to_string(offset.high);
    const std::string low = std::to_string(offset.low);
    constexpr std::size_t digits = 16;
    return std::string(digits - std::min(digits, high.size()), '0') + high + "_" +
           std::string(digits - std::min(digits, low.size()), '0') + low;
}

std::uint64_t power(std::uint64_t exponent) {
    __extension__ using Wide = unsigned __int128;
    Wide result = 1;
    Wide square = fold_base;
    for (; exponent > 0; exponent >>= 1) {
        if (exponent & 1u) {
            result = result * square % fold_prime;
        }
        square = square * square % fold_prime;
    }
    return static_cast<std::uint64_t>(result);
}

// Payload -> its place in the log. Open addressing: a run may hold ten million.
class Places {
  public:
    explicit Places(const std::vector<Logged>& log) : log_(log) {
        std::size_t size = 16;
        while (size < log.size() * 2) {
            size *= 2;
        }
        slots_.assign(size, 0);
    }
    // Returns the earlier place of the same payload, or nowhere.
    std::size_t add(std::size_t place) {
        std::size_t slot = slot_of(log_[place].payload);
        if (slots_[slot] != 0) {
            return slots_[slot] - 1;
        }
        slots_[slot] = static_cast<std::uint32_t>(place + 1);
        return nowhere;
    }
    std::size_t find(std::uint64_t payload) const {
        const std::uint32_t found = slots_[slot_of(payload)];
        return found == 0 ? nowhere : found - 1;
    }

  private:
    std::size_t slot_of(std::uint64_t payload) const {
        const std::size_t mask = slots_.size() - 1;
        std::size_t slot = (payload * 0x9e3779b97f4a7c15u >> 20) & mask;
        while (slots_[slot] != 0 && log_[slots_[slot] - 1].payload != payload) {
            slot = (slot + 1) & mask;
        }
        return slot;
    }

    const std::vector<Logged>& log_;
    std::vector<std::uint32_t> slots_;  // Place + 1; 0 is free.
};

// What forces an instant to be late (R) or early (D).
enum class Cause : std::uint8_t {
    none,
    append_sent,
    close_sent,
    not_seen,  // An exact read that had not seen the transition began here.
    append_answered,
    close_answered,
    refused_closed,
    seen,
};

struct Bound {
    std::int64_t at = 0;
    std::uint32_t line = 0;
    Cause cause = Cause::none;
};

// What all attempts at the append in one place of the log add up to.
struct Attempts {
    std::int64_t first_start = never;
    std::uint32_t first_line = 0;
    std::int64_t first_success = never;
    std::uint32_t success_line = 0;
    bool submitted = false;
    bool maybe = false;  // At least one attempt was not refused.
    bool closes = false;
    Producer producer;
};

class StreamCheck {
  public:
    StreamCheck(const Stream& stream, Verdict& verdict)
        : stream_(stream),
          verdict_(verdict),
          log_(stream.logs.empty() ? no_log_ : stream.logs.front().entries),
          places_(log_),
          attempts_(log_.size()) {}

    void run() {
        verdict_.reads += stream_.reads.size();
        if (!same_everywhere() || !log_is_sound() || !appends_are_sound() || !close_is_sound() ||
            !producers_are_sound()) {
            return;
        }
        prepare_bounds();
        if (!reads_are_sound() || !offsets_grow()) {
            return;
        }
        sweep();
    }

  private:
    bool wrong(std::string reason, std::vector<std::uint32_t> lines) {
        verdict_.violations.push_back(Violation{stream_.name, std::move(reason), std::move(lines)});
        return false;
    }

    std::string append_name(std::size_t place) const {
        return "append " + std::to_string(place + 1);
    }

    std::string transition_name(std::size_t transition) const {
        return transition > log_.size() ? "the close" : append_name(transition - 1);
    }

    bool same_everywhere() {
        for (const NodeLog& other : stream_.logs) {
            const std::size_t both = std::min(log_.size(), other.entries.size());
            for (std::size_t place = 0; place < both; ++place) {
                if (other.entries[place].payload != log_[place].payload) {
                    return wrong("nodes disagree on " + append_name(place),
                                 {log_[place].line, other.entries[place].line});
                }
            }
            if (other.entries.size() != log_.size()) {
                return wrong("node '" + other.node + "' has " +
                                 std::to_string(other.entries.size()) + " appends, node '" +
                                 stream_.logs.front().node + "' has " + std::to_string(log_.size()),
                             {});
            }
        }
        return true;
    }

    bool log_is_sound() {
        ends_.assign(log_.size() + 1, unknown_offset);
        ends_[0] = Offset{};
        prefix_.assign(log_.size() + 1, 0);
        for (std::size_t place = 0; place < log_.size(); ++place) {
            const std::size_t earlier = places_.add(place);
            if (earlier != nowhere) {
                return wrong("the same payload is in the log twice, as " + append_name(earlier) +
                                 " and " + append_name(place),
                             {log_[earlier].line, log_[place].line});
            }
            ends_[place + 1] = log_[place].offset;
            all_known_ = all_known_ && log_[place].offset != unknown_offset;
            prefix_[place + 1] = fold(prefix_[place], log_[place].payload);
        }
        return true;
    }

    bool appends_are_sound() {
        for (const Append& append : stream_.appends) {
            const std::size_t place = places_.find(append.payload);
            const bool success =
                append.outcome == Outcome::acked || append.outcome == Outcome::duplicate;
            if (place == nowhere) {
                if (append.outcome == Outcome::duplicate && append.producer.name != 0) {
                    other_payload_.push_back(&append);
                } else if (success) {
                    return wrong("an acknowledged append is missing from the log",
                                 {append.when.line});
                }
                continue;
            }
            Attempts& all = attempts_[place];
            if (all.submitted && all.producer != append.producer) {
                return wrong(append_name(place) + " was sent under two producer triples",
                             {all.first_line, append.when.line});
            }
            all.submitted = true;
            all.producer = append.producer;
            if (append.outcome == Outcome::refused || append.outcome == Outcome::refused_closed) {
                all.first_line = all.first_line == 0 ? append.when.line : all.first_line;
                continue;
            }
            all.closes = all.closes || append.closes;
            // A duplicate was there before, so another attempt brought it, if the history has one.
            if (!all.maybe || append.when.start < all.first_start) {
                all.first_start = append.when.start;
                all.first_line = append.when.line;
            }
            all.maybe = true;
            if (success && append.when.end < all.first_success) {
                all.first_success = append.when.end;
                all.success_line = append.when.line;
            }
            if (append.outcome == Outcome::acked && append.offset != unknown_offset) {
                if (!learn(place + 1, append.offset)) {
                    return wrong(append_name(place) + " was acknowledged as ending at " +
                                     offset_text(append.offset) + ", it ends at " +
                                     offset_text(ends_[place + 1]),
                                 {append.when.line, log_[place].line});
                }
            }
        }
        for (std::size_t place = 0; place < log_.size(); ++place) {
            if (!attempts_[place].submitted) {
                return wrong(append_name(place) + " was never sent to this stream",
                             {log_[place].line});
            }
            if (!attempts_[place].maybe) {
                return wrong(append_name(place) + " is in the log though it was refused",
                             {attempts_[place].first_line, log_[place].line});
            }
            verdict_.acked += attempts_[place].first_success != never ? 1 : 0;
        }
        verdict_.appends += stream_.appends.size();
        return true;
    }

    bool close_is_sound() {
        closed_ = *stream_.closed;
        for (std::size_t place = 0; place < log_.size(); ++place) {
            if (!attempts_[place].closes) {
                continue;
            }
            if (place + 1 != log_.size()) {
                return wrong("appends follow " + append_name(place) + ", which closed the stream",
                             {attempts_[place].first_line, log_[place + 1].line});
            }
            if (!closed_) {
                return wrong("the last append closed the stream, but it ends open",
                             {attempts_[place].first_line});
            }
            closed_by_append_ = true;
        }
        transitions_ = log_.size() + (closed_ && !closed_by_append_ ? 1 : 0);
        bool could_close = closed_by_append_;
        for (const Close& close : stream_.closes) {
            const bool success =
                close.outcome == Outcome::acked || close.outcome == Outcome::duplicate;
            if (success && !closed_) {
                return wrong("a close was acknowledged, but the stream ends open",
                             {close.when.line});
            }
            could_close = could_close || success || close.outcome == Outcome::unknown;
        }
        for (const Append& append : stream_.appends) {
            if (append.outcome == Outcome::refused_closed && !closed_) {
                return wrong("an append was refused as closed, but the stream ends open",
                             {append.when.line});
            }
        }
        if (closed_ && !could_close) {
            return wrong("the stream ends closed, but nobody closed it", {});
        }
        return true;
    }

    // In the log's order each producer's epochs grow, and its sequence numbers have no gap or
    // repeat.
    bool producers_are_sound() {
        struct Last {
            Producer producer;
            std::size_t place = 0;
        };
        std::unordered_map<std::uint32_t, Last> last_of;
        std::map<std::pair<std::uint32_t, std::uint64_t>, std::vector<std::size_t>> by_epoch;
        for (std::size_t place = 0; place < log_.size(); ++place) {
            const Producer& producer = attempts_[place].producer;
            if (producer.name == 0) {
                continue;
            }
            const auto [at, fresh] = last_of.try_emplace(producer.name, Last{producer, place});
            const Producer& last = at->second.producer;
            const bool next =
                !fresh && producer.epoch == last.epoch && producer.seq == last.seq + 1;
            const bool begins = producer.seq == 0 && (fresh || producer.epoch > last.epoch);
            if (!next && !begins) {
                const char* how = " breaks the order of its producer after ";
                if (fresh) {
                    how = " begins with a seq other than 0: ";
                } else if (producer == last) {
                    how = " repeats the producer triple of ";
                }
                return wrong(append_name(place) + how + append_name(at->second.place),
                             {attempts_[at->second.place].first_line, attempts_[place].first_line});
            }
            at->second = Last{producer, place};
            if (!other_payload_.empty()) {
                by_epoch[{producer.name, producer.epoch}].push_back(place);
            }
        }
        // A retry with other bytes is answered as a duplicate of what its triple brought.
        for (const Append* append : other_payload_) {
            const auto found = by_epoch.find({append->producer.name, append->producer.epoch});
            if (found == by_epoch.end() || append->producer.seq >= found->second.size()) {
                return wrong(
                    "a producer's append was answered as a duplicate, but its triple is not "
                    "in the log",
                    {append->when.line});
            }
            Attempts& all = attempts_[found->second[append->producer.seq]];
            if (append->when.end < all.first_success) {
                all.first_success = append->when.end;
                all.success_line = append->when.line;
            }
        }
        return true;
    }

    void not_before(std::size_t transition, std::int64_t at, std::uint32_t line, Cause cause) {
        if (transition >= 1 && transition <= transitions_ && at > earliest_[transition].at) {
            earliest_[transition] = Bound{at, line, cause};
        }
    }

    void not_after(std::size_t transition, std::int64_t at, std::uint32_t line, Cause cause) {
        if (transition >= 1 && at < latest_[transition].at) {
            latest_[transition] = Bound{at, line, cause};
        }
    }

    void prepare_bounds() {
        const Bound unbounded_early{std::numeric_limits<std::int64_t>::min(), 0, Cause::none};
        earliest_.assign(transitions_ + 1, unbounded_early);
        latest_.assign(transitions_ + 1, Bound{never, 0, Cause::none});
        for (std::size_t place = 0; place < log_.size(); ++place) {
            const Attempts& all = attempts_[place];
            not_before(place + 1, all.first_start, all.first_line, Cause::append_sent);
            not_after(place + 1, all.first_success, all.success_line, Cause::append_answered);
        }
        if (!closed_) {
            return;
        }
        Bound first_close{never, 0, Cause::none};
        for (const Close& close : stream_.closes) {
            if (close.outcome == Outcome::refused || close.outcome == Outcome::refused_closed) {
                continue;
            }
            if (close.when.start < first_close.at) {
                first_close = Bound{close.when.start, close.when.line, Cause::close_sent};
            }
            if (close.outcome != Outcome::unknown) {
                not_after(transitions_, close.when.end, close.when.line, Cause::close_answered);
            }
        }
        if (!closed_by_append_) {
            not_before(transitions_, first_close.at, first_close.line, first_close.cause);
        }
        for (const Append& append : stream_.appends) {
            if (append.outcome == Outcome::refused_closed) {
                not_after(transitions_, append.when.end, append.when.line, Cause::refused_closed);
            }
        }
    }

    // Notes that the append before state k ends at `offset`. False when another end is known.
    bool learn(std::size_t state, const Offset& offset) {
        if (ends_[state] == unknown_offset) {
            ends_[state] = offset;
            learned_[offset] = state;
            return true;
        }
        return ends_[state] == offset;
    }

    // The state whose end `offset` is; nowhere when the history does not tell.
    std::size_t place_of(const Offset& offset) const {
        if (all_known_) {
            const auto at = std::lower_bound(ends_.begin(), ends_.end(), offset);
            return at != ends_.end() && *at == offset ? static_cast<std::size_t>(at - ends_.begin())
                                                      : nowhere;
        }
        if (offset == Offset{}) {
            return 0;
        }
        const auto at = learned_.find(offset);
        return at == learned_.end() ? nowhere : at->second;
    }

    bool reads_are_sound() {
        if (stream_.reads.empty()) {
            return true;
        }
        std::vector<std::uint32_t> order(stream_.reads.size());
        std::iota(order.begin(), order.end(), 0u);
        if (!all_known_) {
            for (std::size_t state = 1; state < ends_.size(); ++state) {
                if (ends_[state] != unknown_offset) {
                    learned_[ends_[state]] = state;
                }
            }
            // An offset that a client asks for was in an answer that came before.
            std::stable_sort(order.begin(), order.end(), [this](std::uint32_t a, std::uint32_t b) {
                return stream_.reads[a].when.end < stream_.reads[b].when.end;
            });
        } else if (!std::is_sorted(ends_.begin(), ends_.end())) {
            return offsets_grow();
        }
        std::vector<std::uint32_t> later;
        for (const std::uint32_t index : order) {
            if (place_of(stream_.reads[index].from) == nowhere && !all_known_) {
                later.push_back(index);
            } else if (!read_is_sound(stream_.reads[index])) {
                return false;
            }
        }
        for (const std::uint32_t index : later) {
            if (!read_is_sound(stream_.reads[index])) {
                return false;
            }
        }
        return true;
    }

    bool read_is_sound(const Read& read) {
        const std::uint32_t line = read.when.line;
        const std::size_t from = place_of(read.from);
        if (from == nowhere) {
            if (all_known_) {
                return wrong("offset " + offset_text(read.from) + " is not the end of an append",
                             {line});
            }
            ++verdict_.unplaced;
            return true;
        }
        if (read.count > log_.size() - from) {
            return wrong("a read returned more appends than the log has", {line});
        }
        const std::size_t to = from + read.count;
        const auto hash = static_cast<std::uint64_t>(
            (prefix_[to] + fold_prime - multiply(prefix_[from], power(read.count))) % fold_prime);
        if (hash != read.hash) {
            return wrong("a read from " + offset_text(read.from) +
                             " returned other bytes than the log "
                             "has there",
                         {line});
        }
        if (!learn(to, read.to)) {
            return wrong("a read of " + std::to_string(read.count) + " appends ended at " +
                             offset_text(read.to) + ", the last of them ends at " +
                             offset_text(ends_[to]),
                         {line});
        }
        return observe(read, to);
    }

    bool observe(const Read& read, std::size_t to) {
        const std::uint32_t line = read.when.line;
        if (read.closed) {
            if (!closed_) {
                return wrong("the stream was seen closed, but ends open", {line});
            }
            if (to != log_.size()) {
                return wrong("the stream was said to be closed before its end was reached", {line});
            }
            not_after(transitions_, read.when.end, line, Cause::seen);
            return true;
        }
        not_after(to, read.when.end, line, Cause::seen);
        if (read.tail && to == log_.size() && closed_by_append_) {
            return wrong("the end of a closed stream was reached without the closed flag", {line});
        }
        if (read.tail && !read.live) {
            not_before(to + 1, read.when.start, line, Cause::not_seen);
        }
        return true;
    }

    static std::uint64_t multiply(std::uint64_t a, std::uint64_t b) {
        __extension__ using Wide = unsigned __int128;
        return static_cast<std::uint64_t>(Wide{a} * b % fold_prime);
    }

    bool offsets_grow() {
        std::size_t before = 0;
        for (std::size_t state = 1; state < ends_.size(); ++state) {
            if (ends_[state] == unknown_offset) {
                continue;
            }
            if (!(ends_[before] < ends_[state])) {
                return wrong("offsets do not grow: " + offset_text(ends_[before]) + " and then " +
                                 offset_text(ends_[state]) + " at " + append_name(state - 1),
                             {log_[state - 1].line});
            }
            before = state;
        }
        return true;
    }

    void sweep() {
        Bound late{std::numeric_limits<std::int64_t>::min(), 0, Cause::none};
        std::size_t late_transition = 0;
        for (std::size_t transition = 1; transition <= transitions_; ++transition) {
            if (earliest_[transition].at > late.at) {
                late = earliest_[transition];
                late_transition = transition;
            }
            if (late.at > latest_[transition].at) {
                wrong(explain(late, late_transition, latest_[transition], transition),
                      {late.line, latest_[transition].line});
                return;
            }
        }
    }

    // `late` began after `early` had ended, though the log's order says otherwise.
    std::string explain(const Bound& late, std::size_t late_transition, const Bound& early,
                        std::size_t early_transition) const {
        const std::string first = transition_name(late_transition);
        const std::string second = transition_name(early_transition);
        const std::string ahead =
            late_transition == early_transition ? "" : ", ahead of it in the log,";
        const bool answered =
            early.cause == Cause::append_answered || early.cause == Cause::close_answered;
        if (late.cause == Cause::not_seen) {
            return (answered ? "stale read: " : "a read went back: ") + second +
                   (answered ? " had been acknowledged" : " had been seen") +
                   ", and a later read did "
                   "not see " +
                   first;
        }
        if (answered) {
            return "against real time: " + second + " was acknowledged before " + first + ahead +
                   " was sent";
        }
        return "future read: " + second + " was seen before " + first + ahead + " was sent";
    }

    const Stream& stream_;
    Verdict& verdict_;
    const std::vector<Logged> no_log_;
    const std::vector<Logged>& log_;
    Places places_;
    std::vector<Attempts> attempts_;            // By place in the log.
    std::vector<const Append*> other_payload_;  // Duplicates whose payload is not in the log.
    std::vector<Offset> ends_;                  // By state; ends_[0] is the beginning.
    std::vector<std::uint64_t> prefix_;         // By state: fold of the payloads before.
    std::map<Offset, std::size_t> learned_;     // Used only while not all ends are known.
    bool all_known_ = true;
    bool closed_ = false;
    bool closed_by_append_ = false;
    std::size_t transitions_ = 0;
    std::vector<Bound> earliest_;  // R, by transition from 1.
    std::vector<Bound> latest_;    // D
};

}  // namespace

Verdict check_history(const History& history) {
    Verdict verdict;
    for (const Stream& stream : history.streams) {
        VERIFY(stream.closed.has_value());
        StreamCheck(stream, verdict).run();
    }
    return verdict;
}

}  // namespace ursula::check
