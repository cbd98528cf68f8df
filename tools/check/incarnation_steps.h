// How one incarnation is judged, step by step. Internal to the checker: incarnation.cc compares the
// final log with what was sent, incarnation_life.cc finds its first and last transitions and its
// producers' order, incarnation_answers.cc judges what writers were told, incarnation_reads.cc what
// readers saw.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "tools/check/incarnation.h"
#include "tools/check/producers.h"
#include "tools/check/slots.h"

namespace ursula::check {

// What all attempts at the append in one place of the log add up to.
struct Attempts {
    std::int64_t first_start = never;
    std::int64_t success = never;   // End of the attempt that was acked.
    std::uint32_t first = nowhere;  // Index of the one that began first, of those that may count.
    std::uint32_t acked = nowhere;
    std::uint32_t any = nowhere;  // Any attempt, also a refused one.
    bool known = false;           // Acknowledged, or said to be a duplicate.
    bool closes = false;
    Producer producer;
};

inline bool is_success(Outcome outcome) {
    return outcome == Outcome::acked || outcome == Outcome::duplicate;
}

// Operations that may have had an effect.
inline bool may_count(Outcome outcome) {
    return is_success(outcome) || outcome == Outcome::unknown;
}

struct KeyOfPayload {
    const std::vector<Logged>* log;
    std::uint64_t operator()(std::uint32_t place) const { return (*log)[place].payload; }
};

struct KeyOfEnd {
    const std::vector<Offset>* ends;
    const Offset& operator()(std::uint32_t state) const { return (*ends)[state]; }
};

// What one kind of operation gives for a cause. Sent and answered: it made the transition;
// unaware and aware: its answer did not know of it, or did.
struct Causes {
    Cause sent;
    Cause answered;
    Cause unaware;
    Cause aware;
};
inline constexpr Causes of_create{Cause::create_sent, Cause::create_answered, Cause::create_unaware,
                                  Cause::create_aware};
inline constexpr Causes of_append{Cause::append_sent, Cause::append_answered, Cause::append_unaware,
                                  Cause::append_aware};
inline constexpr Causes of_close{Cause::close_sent, Cause::close_answered, Cause::close_unaware,
                                 Cause::close_aware};
inline constexpr Causes of_delete{Cause::delete_sent, Cause::delete_answered, Cause::none,
                                  Cause::none};
inline constexpr Causes of_read{Cause::none, Cause::none, Cause::read_unaware, Cause::read_aware};

class Incarnation {
  public:
    Incarnation(const History& history, std::uint32_t stream, const Powers& powers,
                Verdict& verdict, Life& life, std::vector<Absence>& absences)
        : history_(history),
          index_(stream),
          stream_(history.streams[stream]),
          powers_(powers),
          verdict_(verdict),
          life_(life),
          absences_(absences),
          log_(stream_.logs.empty() ? no_log_ : stream_.logs.front().entries),
          places_(log_.size(), KeyOfPayload{&log_}),
          attempts_(log_.size()) {}

    bool run() {
        verdict_.reads += stream_.reads.size();
        verdict_.appends += stream_.appends.size();
        life_.stream = index_;
        note_absences();
        if (stream_.ending == Ending::uncreated) {
            return nothing_happened();
        }
        life_.appends = static_cast<std::uint32_t>(log_.size());
        return nodes_agree() && log_is_sound() && appends_are_sound() && log_was_sent() &&
               producers_are_sound() && close_is_sound() && life_is_sound() && bound_appends() &&
               bound_closes() && sessions_are_sound() && reads_are_sound() && ends_grow();
    }

  private:
    Ref ref(Kind kind, std::uint32_t index) const { return Ref{kind, index_, index, 0}; }
    Ref logged(std::uint32_t place, std::uint32_t log = 0) const {
        return Ref{Kind::logged, index_, place, log};
    }
    Ref append(std::uint32_t index) const { return ref(Kind::append, index); }

    bool wrong(Property property, std::string reason, std::vector<Ref> witnesses) {
        add_violation(history_, index_, property, std::move(reason), std::move(witnesses),
                      verdict_.violations);
        return false;
    }

    static std::string name_of_place(std::uint32_t place) {
        return "append " + std::to_string(place + 1);
    }

    bool closed() const {
        return stream_.ending == Ending::closed || stream_.ending == Ending::closed_deleted;
    }
    bool deleted() const {
        return stream_.ending == Ending::deleted || stream_.ending == Ending::closed_deleted;
    }
    // The first transition after which the stream does not take appends, or nowhere.
    std::uint32_t open_until() const { return std::min(life_.close_at, life_.delete_at); }

    void note_absence(const Interval& when, Kind kind, std::size_t index) {
        absences_.push_back(
            Absence{when.start, when.end, ref(kind, static_cast<std::uint32_t>(index))});
    }

    void note_absences();

    // Nobody saw anything of a stream that never was.
    bool nothing_happened();

    bool nodes_agree();

    bool log_is_sound();

    bool appends_are_sound();

    // One more attempt at an append that is in the log.
    bool attempt(std::uint32_t index, const Append& append, std::uint32_t place);

    bool log_was_sent();

    // Says where a payload comes from that this stream's clients did not send.
    bool foreign(std::uint32_t place);

    // In the log's order each producer's epochs grow, and its sequence numbers have no gap or
    // repeat.
    bool producers_are_sound();

    // Finds out which transition closed the stream, and by whose hand.
    bool close_is_sound();

    // Sizes the bounds and fills in those of creation, appends and deletion.
    bool life_is_sound();

    // A creation or deletion was made by the one that was acked, else by any that may have. A
    // stream that was only found to be there was created before the history began.
    bool made_once(const std::vector<Change>& changes, Kind kind, const Causes& causes,
                   std::uint32_t transition);

    void not_before(std::uint32_t transition, std::int64_t at, std::uint32_t index, Cause cause) {
        if (at > life_.earliest[transition].at) {
            life_.earliest[transition] = Bound{at, index, cause};
        }
    }

    void not_after(std::uint32_t transition, std::int64_t at, std::uint32_t index, Cause cause) {
        if (at < life_.latest[transition].at) {
            life_.latest[transition] = Bound{at, index, cause};
        }
    }

    // At some instant of an operation `since` had happened and `until` (unless nowhere) had not.
    void during(std::uint32_t since, std::uint32_t until, const Interval& when, std::uint32_t index,
                const Causes& causes) {
        not_after(since, when.end, index, causes.aware);
        if (until != nowhere) {
            not_before(until, when.start, index, causes.unaware);
        }
    }

    bool bound_appends();

    bool told_closed(const Producer& producer, const Interval& when, Kind kind, std::uint32_t index,
                     const Causes& causes);

    // What an answer says that was given by the producer's state alone. The stream was open then:
    // whether it is closed is judged first, and only the closer's own triple passes.
    template <class Write>
    bool told_producer(const Write& write, Kind kind, std::uint32_t index, const Causes& causes);

    template <class Write>
    bool told_gap(const Write& write, Kind kind, std::uint32_t index, const Causes& causes);

    // A producer was answered after the transition `since`, before the append in place `next` (if
    // any), and while the stream was open.
    bool told_while_open(std::uint32_t since, std::uint32_t next, const Interval& when,
                         const Ref& what, const Causes& causes);

    bool bound_closes();

    // A session's reads follow each other without gap or repeat.
    bool sessions_are_sound();

    // The offsets that are known grow along the log.
    bool ends_grow();

    bool reads_are_sound();

    // Reads tell where offsets are that the log does not tell: one whose begin (or end) is known
    // tells its end (or begin), from which others go on.
    bool reads_from_unknown_ends_are_sound(Slots<KeyOfEnd>& states);

    bool wrong_begin(std::uint32_t index, std::uint32_t state);

    // Compares a read that begins after `from` appends with the log.
    bool read_is_sound(std::uint32_t index, std::uint32_t from);

    bool bound_read(std::uint32_t index, std::uint32_t to);

    const History& history_;
    const std::uint32_t index_;
    const Stream& stream_;
    const Powers& powers_;
    Verdict& verdict_;
    Life& life_;
    std::vector<Absence>& absences_;
    const std::vector<Logged> no_log_;
    const std::vector<Logged>& log_;
    Slots<KeyOfPayload> places_;
    std::vector<Attempts> attempts_;  // By place in the log.
    ProducerLog producers_;
    bool has_producers_ = false;
    Producer closer_;                    // The triple that closed, where it is known.
    bool own_close_ = false;             // The close is a transition of its own.
    std::vector<Offset> ends_;           // By state; ends_[0] is the beginning.
    std::vector<std::uint64_t> prefix_;  // By state: fold of the payloads before.
};

}  // namespace ursula::check
