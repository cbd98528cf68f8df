#include "tools/check/incarnation.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "base/verify.h"
#include "tools/check/planted.h"
#include "tools/check/producers.h"
#include "tools/check/write.h"

namespace ursula::check {

namespace {

// What all attempts at the append in one place of the log add up to.
struct Attempts {
    std::int64_t first_start = never;
    std::int64_t success = never;  // End of the attempt that was acked.
    std::uint32_t first =
        nowhere;  // Index of the attempt that began first, of those that may count.
    std::uint32_t acked = nowhere;
    std::uint32_t any = nowhere;  // Any attempt, also a refused one.
    bool known = false;           // Acknowledged, or said to be a duplicate.
    bool closes = false;
    Producer producer;
};

bool is_success(Outcome outcome) {
    return outcome == Outcome::acked || outcome == Outcome::duplicate;
}

// Operations that may have had an effect.
bool may_count(Outcome outcome) {
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

// The three causes of one kind of operation.
struct Causes {
    Cause sent;
    Cause answered;
    Cause unaware;
    Cause aware;
};
constexpr Causes of_create{Cause::create_sent, Cause::create_answered, Cause::create_unaware,
                           Cause::create_aware};
constexpr Causes of_append{Cause::append_sent, Cause::append_answered, Cause::append_unaware,
                           Cause::append_aware};
constexpr Causes of_close{Cause::close_sent, Cause::close_answered, Cause::close_unaware,
                          Cause::close_aware};
constexpr Causes of_delete{Cause::delete_sent, Cause::delete_answered, Cause::none, Cause::none};
constexpr Causes of_read{Cause::none, Cause::none, Cause::read_unaware, Cause::read_aware};

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

    void note_absences() {
        for (std::size_t index = 0; index < stream_.absents.size(); ++index) {
            note_absence(stream_.absents[index], Kind::absent, index);
        }
        for (std::size_t index = 0; index < stream_.appends.size(); ++index) {
            if (stream_.appends[index].outcome == Outcome::refused_absent) {
                note_absence(stream_.appends[index].when, Kind::append, index);
            }
        }
        for (std::size_t index = 0; index < stream_.closes.size(); ++index) {
            if (stream_.closes[index].outcome == Outcome::refused_absent) {
                note_absence(stream_.closes[index].when, Kind::close, index);
            }
        }
        for (std::size_t index = 0; index < stream_.deletes.size(); ++index) {
            if (stream_.deletes[index].outcome == Outcome::refused_absent) {
                note_absence(stream_.deletes[index].when, Kind::remove, index);
            }
        }
    }

    // Nobody saw anything of a stream that never was.
    bool nothing_happened() {
        const auto tells = [](Outcome outcome) {
            return outcome != Outcome::unknown && outcome != Outcome::refused &&
                   outcome != Outcome::refused_absent;
        };
        const char* reason = "something was seen of a stream that was never created";
        if (!log_.empty()) {
            return wrong(Property::c9_deleted, reason, {logged(0)});
        }
        for (std::size_t index = 0; index < stream_.creates.size(); ++index) {
            if (tells(stream_.creates[index].outcome)) {
                return wrong(Property::c9_deleted, reason,
                             {ref(Kind::create, static_cast<std::uint32_t>(index))});
            }
        }
        for (std::size_t index = 0; index < stream_.appends.size(); ++index) {
            if (tells(stream_.appends[index].outcome)) {
                return wrong(Property::c9_deleted, reason,
                             {append(static_cast<std::uint32_t>(index))});
            }
        }
        for (std::size_t index = 0; index < stream_.closes.size(); ++index) {
            if (tells(stream_.closes[index].outcome)) {
                return wrong(Property::c9_deleted, reason,
                             {ref(Kind::close, static_cast<std::uint32_t>(index))});
            }
        }
        for (std::size_t index = 0; index < stream_.deletes.size(); ++index) {
            if (tells(stream_.deletes[index].outcome)) {
                return wrong(Property::c9_deleted, reason,
                             {ref(Kind::remove, static_cast<std::uint32_t>(index))});
            }
        }
        if (!stream_.reads.empty()) {
            return wrong(Property::c9_deleted, reason, {ref(Kind::read, 0)});
        }
        return true;
    }

    bool nodes_agree() {
        for (std::uint32_t number = 1; number < stream_.logs.size(); ++number) {
            const NodeLog& other = stream_.logs[number];
            const std::size_t both = std::min(log_.size(), other.entries.size());
            for (std::uint32_t place = 0; place < both; ++place) {
                const Logged& mine = log_[place];
                const Logged& theirs = other.entries[place];
                if (theirs.payload != mine.payload) {
                    return wrong(Property::c1_durable, "nodes disagree on " + name_of_place(place),
                                 {logged(place), logged(place, number)});
                }
                if (theirs.offset != mine.offset && theirs.offset != unknown_offset &&
                    mine.offset != unknown_offset) {
                    return wrong(Property::c4_offsets,
                                 "nodes disagree on the end of " + name_of_place(place),
                                 {logged(place), logged(place, number)});
                }
            }
            if (other.entries.size() != log_.size()) {
                std::vector<Ref> witness;
                if (both < log_.size()) {
                    witness.push_back(logged(static_cast<std::uint32_t>(both)));
                } else {
                    witness.push_back(logged(static_cast<std::uint32_t>(both), number));
                }
                return wrong(Property::c1_durable,
                             "node '" + other.node + "' has " +
                                 std::to_string(other.entries.size()) + " appends, node '" +
                                 stream_.logs.front().node + "' has " + std::to_string(log_.size()),
                             std::move(witness));
            }
        }
        return true;
    }

    bool log_is_sound() {
        ends_.assign(log_.size() + 1, unknown_offset);
        ends_[0] = Offset{};
        prefix_.assign(log_.size() + 1, 0);
        for (std::uint32_t place = 0; place < log_.size(); ++place) {
            const std::uint32_t earlier = places_.add(place);
            if (earlier != nowhere) {
                return wrong(Property::c6_producers,
                             "the same payload is in the log twice, as " + name_of_place(earlier) +
                                 " and " + name_of_place(place),
                             {logged(earlier), logged(place)});
            }
            ends_[place + 1] = log_[place].offset;
            prefix_[place + 1] = fold(prefix_[place], log_[place].payload);
        }
        return true;
    }

    bool appends_are_sound() {
        for (std::uint32_t index = 0; index < stream_.appends.size(); ++index) {
            const Append& append = stream_.appends[index];
            const std::uint32_t place = places_.find(append.payload);
            if (append.producer.name != 0) {
                has_producers_ = true;
            }
            if (place == nowhere) {
                const bool of_producer =
                    append.outcome == Outcome::duplicate && append.producer.name != 0;
                if (is_success(append.outcome) && !of_producer &&
                    !planted(Planted::lost_append_ignored)) {
                    return wrong(Property::c1_durable,
                                 "an acknowledged append is missing from the log",
                                 {this->append(index)});
                }
                if (append.outcome == Outcome::unknown && planted(Planted::unknown_must_appear)) {
                    return wrong(Property::c1_durable, "planted", {this->append(index)});
                }
            } else if (!attempt(index, append, place)) {
                return false;
            }
        }
        return true;
    }

    // One more attempt at an append that is in the log.
    bool attempt(std::uint32_t index, const Append& append, std::uint32_t place) {
        Attempts& all = attempts_[place];
        if (all.any != nowhere && all.producer != append.producer) {
            return wrong(Property::c6_producers,
                         name_of_place(place) + " was sent under two producer triples",
                         {this->append(all.any), this->append(index)});
        }
        all.any = index;
        all.producer = append.producer;
        if (!may_count(append.outcome) && !planted(Planted::refused_may_appear)) {
            return true;
        }
        all.known = all.known || is_success(append.outcome);
        if (append.outcome == Outcome::acked) {
            if (all.acked != nowhere && !planted(Planted::double_ack_allowed)) {
                return wrong(Property::c6_producers,
                             name_of_place(place) +
                                 " is in the log once, but two attempts at it "
                                 "were acknowledged as new",
                             {this->append(all.acked), this->append(index)});
            }
            all.acked = index;
            all.success = append.when.end;
            all.closes = append.closes;
            if (append.offset != unknown_offset && ends_[place + 1] == unknown_offset) {
                ends_[place + 1] = append.offset;
            } else if (append.offset != unknown_offset && append.offset != ends_[place + 1]) {
                return wrong(Property::c1_durable,
                             name_of_place(place) + " was acknowledged as ending at " +
                                 offset_text(append.offset) + ", it ends at " +
                                 offset_text(ends_[place + 1]),
                             {this->append(index), logged(place)});
            }
        } else if (all.acked == nowhere) {
            all.closes = all.closes || append.closes;
        }
        // The attempt that was acked is the one that counted. Among others it was any of them: a
        // duplicate too, when a server hop had sent it twice.
        if (append.outcome == Outcome::acked
                ? !planted(Planted::first_attempt_counts) || append.when.start < all.first_start
                : all.acked == nowhere && append.when.start < all.first_start) {
            all.first_start = append.when.start;
            all.first = index;
        }
        return true;
    }

    bool log_was_sent() {
        for (std::uint32_t place = 0; place < log_.size(); ++place) {
            const Attempts& all = attempts_[place];
            if (all.any == nowhere) {
                return foreign(place);
            }
            if (all.first == nowhere) {
                return wrong(Property::c18_no_false_no,
                             name_of_place(place) + " is in the log though it was refused",
                             {append(all.any), logged(place)});
            }
            verdict_.acked += all.known ? 1 : 0;
        }
        return true;
    }

    // Says where a payload comes from that this stream's clients did not send.
    bool foreign(std::uint32_t place) {
        const std::string what = name_of_place(place) + " was never sent to this stream";
        for (std::uint32_t number = 0; number < history_.streams.size(); ++number) {
            const Stream& other = history_.streams[number];
            for (std::uint32_t index = 0; index < other.appends.size(); ++index) {
                if (other.appends[index].payload != log_[place].payload) {
                    continue;
                }
                const bool same_name = other.name == stream_.name;
                return wrong(same_name ? Property::c9_deleted : Property::c11_no_leak,
                             what + ", but to " + (same_name ? "its incarnation " : "stream ") +
                                 stream_word(other),
                             {logged(place), Ref{Kind::append, number, index, 0}});
            }
        }
        return wrong(Property::c18_no_false_no, what, {logged(place)});
    }

    // In the log's order each producer's epochs grow, and its sequence numbers have no gap or
    // repeat.
    bool producers_are_sound() {
        if (!has_producers_) {
            return true;
        }
        for (std::uint32_t place = 0; place < log_.size(); ++place) {
            const Producer& producer = attempts_[place].producer;
            if (producer.name == 0) {
                continue;
            }
            if (!producers_.may_follow(producer)) {
                const std::uint32_t last = producers_.last_of(producer.name);
                if (planted(Planted::producer_order_ignored)) {
                    continue;
                }
                if (last == nowhere) {
                    return wrong(Property::c6_producers,
                                 name_of_place(place) + " begins with a seq other than 0",
                                 {append(attempts_[place].first), logged(place)});
                }
                return wrong(Property::c6_producers,
                             name_of_place(place) +
                                 (attempts_[last].producer == producer
                                      ? " repeats the producer triple of "
                                      : " breaks the order of its producer after ") +
                                 name_of_place(last),
                             {append(attempts_[last].first), append(attempts_[place].first)});
            }
            producers_.add(producer, place);
        }
        return true;
    }

    // Finds out which transition closed the stream, and by whose hand.
    bool close_is_sound() {
        std::uint32_t closing = nowhere;
        for (std::uint32_t place = 0; place < log_.size(); ++place) {
            if (!attempts_[place].closes) {
                continue;
            }
            if (place + 1 != log_.size()) {
                return wrong(Property::c8_closed,
                             "appends follow " + name_of_place(place) + ", which closed the stream",
                             {append(attempts_[place].first), logged(place + 1)});
            }
            if (!closed()) {
                return wrong(Property::c8_closed,
                             "the last append closed the stream, but it ends open",
                             {append(attempts_[place].first)});
            }
            closing = place;
        }
        if (closing != nowhere) {
            life_.close_at = closing + 1;
            closer_ = attempts_[closing].producer;
        } else if (closed()) {
            life_.close_at = life_.appends + 1;
        }
        std::uint32_t named = nowhere;  // The close that told the closer's triple.
        for (std::uint32_t index = 0; index < stream_.closes.size(); ++index) {
            const Close& close = stream_.closes[index];
            const bool of_producer = close.producer.name != 0;
            const bool success = close.outcome == Outcome::acked ||
                                 (close.outcome == Outcome::duplicate && !of_producer);
            if (success && !closed()) {
                return wrong(Property::c8_closed,
                             "a close was acknowledged, but the stream ends open",
                             {ref(Kind::close, index)});
            }
            if (!success || !of_producer) {
                continue;
            }
            if (closing != nowhere && close.producer != closer_) {
                return wrong(Property::c6_producers,
                             "a close was acknowledged to a producer, but " +
                                 name_of_place(closing) + " closed the stream",
                             {ref(Kind::close, index), append(attempts_[closing].first)});
            }
            if (named != nowhere && close.producer != closer_) {
                return wrong(Property::c6_producers,
                             "a close was acknowledged under two producer triples",
                             {ref(Kind::close, named), ref(Kind::close, index)});
            }
            if (closing == nowhere && !producers_.may_follow(close.producer)) {
                return wrong(Property::c6_producers,
                             "a producer's close does not follow its appends",
                             {ref(Kind::close, index)});
            }
            named = index;
            closer_ = close.producer;
        }
        own_close_ = closed() && closing == nowhere;
        return true;
    }

    // Sizes the bounds and fills in those of creation, appends and deletion.
    bool life_is_sound() {
        std::size_t transitions = 1 + log_.size() + (own_close_ ? 1 : 0);
        if (deleted()) {
            life_.delete_at = static_cast<std::uint32_t>(transitions++);
        }
        life_.earliest.assign(transitions, Bound{always, 0, Cause::none});
        life_.latest.assign(transitions, Bound{never, 0, Cause::none});
        if (!made_once(stream_.creates, Kind::create, of_create, 0)) {
            return false;
        }
        for (std::uint32_t index = 0; index < stream_.creates.size(); ++index) {
            if (stream_.creates[index].outcome == Outcome::duplicate) {
                during(0, life_.delete_at, stream_.creates[index].when, index, of_create);
            }
        }
        for (std::uint32_t place = 0; place < log_.size(); ++place) {
            const Attempts& all = attempts_[place];
            if (!planted(Planted::append_start_ignored)) {
                not_before(place + 1, all.first_start, all.first, Cause::append_sent);
            }
            if (all.acked != nowhere && !planted(Planted::append_answer_ignored)) {
                not_after(place + 1, all.success, all.acked, Cause::append_answered);
            }
        }
        if (deleted()) {
            return made_once(stream_.deletes, Kind::remove, of_delete, life_.delete_at);
        }
        for (std::uint32_t index = 0; index < stream_.deletes.size(); ++index) {
            if (is_success(stream_.deletes[index].outcome)) {
                return wrong(Property::c9_deleted,
                             "a delete was acknowledged, but the stream is still there",
                             {ref(Kind::remove, index)});
            }
        }
        return true;
    }

    // A creation or deletion was made by the one that was acked, else by any that may have. A
    // stream that was only found to be there was created before the history began.
    bool made_once(const std::vector<Change>& changes, Kind kind, const Causes& causes,
                   std::uint32_t transition) {
        std::uint32_t acked = nowhere;
        std::uint32_t first = nowhere;
        bool recorded = false;
        for (std::uint32_t index = 0; index < changes.size(); ++index) {
            const Change& change = changes[index];
            if (change.outcome == Outcome::acked) {
                if (acked != nowhere) {
                    return wrong(Property::c9_deleted,
                                 std::string("one ") +
                                     (kind == Kind::create ? "creation" : "deletion") +
                                     " was acknowledged to two",
                                 {ref(kind, acked), ref(kind, index)});
                }
                acked = index;
            }
            recorded =
                recorded || change.outcome == Outcome::acked || change.outcome == Outcome::unknown;
            if (change.outcome != Outcome::refused &&
                (first == nowhere || change.when.start < changes[first].when.start)) {
                first = index;
            }
        }
        if (acked != nowhere) {
            not_before(transition, changes[acked].when.start, acked, causes.sent);
            not_after(transition, changes[acked].when.end, acked, causes.answered);
        } else if (first != nowhere && (recorded || kind == Kind::remove)) {
            not_before(transition, changes[first].when.start, first, causes.sent);
        } else if (kind == Kind::remove) {
            return wrong(Property::c9_deleted, "the stream is gone, but nobody deleted it", {});
        }
        return true;
    }

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

    bool bound_appends() {
        for (std::uint32_t index = 0; index < stream_.appends.size(); ++index) {
            const Append& append = stream_.appends[index];
            if (append.outcome == Outcome::refused_closed) {
                if (!closed()) {
                    return wrong(Property::c8_closed,
                                 "an append was refused as closed, but the stream ends open",
                                 {this->append(index)});
                }
                if (!told_closed(append.producer, append.when, Kind::append, index, of_append)) {
                    return false;
                }
            } else if (append.outcome != Outcome::acked && append.producer.name != 0 &&
                       !told_producer(append, Kind::append, index, of_append)) {
                return false;
            } else if (append.outcome == Outcome::duplicate && append.producer.name == 0) {
                during(places_.find(append.payload) + 1, life_.delete_at, append.when, index,
                       of_append);
            }
        }
        return true;
    }

    bool told_closed(const Producer& producer, const Interval& when, Kind kind, std::uint32_t index,
                     const Causes& causes) {
        if (producer.name != 0 && producer == closer_) {
            return wrong(Property::c6_producers,
                         "the producer that closed the stream was refused its retry",
                         {ref(kind, index)});
        }
        if (!planted(Planted::refused_closed_ignored)) {
            during(life_.close_at, life_.delete_at, when, index, causes);
        }
        return true;
    }

    // What an answer says that was given by the producer's state alone. The stream was open then:
    // whether it is closed is judged first, and only the closer's own triple passes.
    template <class Write>
    bool told_producer(const Write& write, Kind kind, std::uint32_t index, const Causes& causes) {
        const Producer& producer = write.producer;
        if (write.outcome == Outcome::duplicate) {
            if (planted(Planted::duplicate_ignored)) {
                return true;
            }
            const std::uint32_t place = producers_.place_of(producer);
            if (place == nowhere) {
                return wrong(Property::c6_producers,
                             "a producer was told of a duplicate, but its triple is not in the log",
                             {ref(kind, index)});
            }
            if (place + 1 == life_.close_at) {
                during(place + 1, life_.delete_at, write.when, index, causes);
                return write.told == untold || write.told == producer.seq ||
                       wrong(Property::c6_producers,
                             "a duplicate of the closing append told another seq",
                             {ref(kind, index)});
            }
            Producer highest = producer;
            std::uint32_t next = producers_.first_from(producer.name, producer.epoch + 1);
            if (write.told != untold) {
                highest.seq = write.told;
                if (write.told < producer.seq || producers_.place_of(highest) == nowhere) {
                    return wrong(Property::c6_producers,
                                 "a duplicate told a highest seq that the producer never had",
                                 {ref(kind, index)});
                }
                next = producers_.place_after(highest);
            }
            if (planted(Planted::old_epoch_duplicate_allowed)) {
                next = nowhere;
            }
            return told_while_open(producers_.place_of(highest) + 1, next, write.when,
                                   ref(kind, index), causes);
        }
        if (write.outcome == Outcome::refused_stale) {
            const std::uint64_t epoch = write.told == untold ? producer.epoch + 1 : write.told;
            const std::uint32_t first = producers_.first_from(producer.name, epoch);
            if (epoch <= producer.epoch || first == nowhere ||
                (write.told != untold && !producers_.has_epoch(producer.name, epoch))) {
                return wrong(Property::c6_producers,
                             "a producer was told of a higher epoch that it never had",
                             {ref(kind, index)});
            }
            const std::uint32_t next =
                write.told == untold ? nowhere : producers_.first_from(producer.name, epoch + 1);
            return planted(Planted::stale_epoch_ignored) ||
                   told_while_open(first + 1, next, write.when, ref(kind, index), causes);
        }
        if (write.outcome == Outcome::refused_gap) {
            return told_gap(write, kind, index, causes);
        }
        return true;
    }

    template <class Write>
    bool told_gap(const Write& write, Kind kind, std::uint32_t index, const Causes& causes) {
        const Producer& producer = write.producer;
        std::uint32_t since = 0;
        std::uint32_t next = producers_.first_of(producer.name);
        if (write.told > 0) {
            const Producer last{producer.name, producer.epoch, write.told - 1};
            const std::uint32_t place = producers_.place_of(last);
            if (place == nowhere) {
                return wrong(Property::c6_producers,
                             "a producer was told to expect a seq that never came next",
                             {ref(kind, index)});
            }
            since = place + 1;
            next = producers_.place_after(last);
        }
        if (write.told >= producer.seq) {
            return wrong(Property::c6_producers,
                         "a producer was refused for a gap, but its seq was not ahead",
                         {ref(kind, index)});
        }
        return told_while_open(since, next, write.when, ref(kind, index), causes);
    }

    // A producer was answered after the transition `since`, before the append in place `next` (if
    // any), and while the stream was open.
    bool told_while_open(std::uint32_t since, std::uint32_t next, const Interval& when,
                         const Ref& what, const Causes& causes) {
        const std::uint32_t until = std::min(next == nowhere ? nowhere : next + 1, open_until());
        if (until <= since) {
            return wrong(
                Property::c6_producers,
                "a producer was answered from a state that it had only once the stream was "
                "closed",
                {what});
        }
        if (!planted(Planted::answer_lower_ignored)) {
            not_after(since, when.end, what.index, causes.aware);
        }
        if (until != nowhere && !planted(Planted::answer_upper_ignored)) {
            not_before(until, when.start, what.index, causes.unaware);
        }
        return true;
    }

    bool bound_closes() {
        // A producer that was refused as closed is not the one that closed.
        std::vector<Producer> others;
        if (own_close_ && closer_.name == 0) {
            for (const Close& close : stream_.closes) {
                if (close.outcome == Outcome::refused_closed && close.producer.name != 0) {
                    others.push_back(close.producer);
                }
            }
            for (const Append& append : stream_.appends) {
                if (append.outcome == Outcome::refused_closed && append.producer.name != 0) {
                    others.push_back(append.producer);
                }
            }
        }
        std::uint32_t first = nowhere;
        for (std::uint32_t index = 0; index < stream_.closes.size(); ++index) {
            const Close& close = stream_.closes[index];
            const bool of_producer = close.producer.name != 0;
            if (close.outcome == Outcome::refused_closed) {
                if (!closed()) {
                    return wrong(Property::c8_closed,
                                 "a close was refused as closed, but the stream ends open",
                                 {ref(Kind::close, index)});
                }
                if (!told_closed(close.producer, close.when, Kind::close, index, of_close)) {
                    return false;
                }
            } else if (of_producer && close.outcome != Outcome::acked) {
                if (!told_producer(close, Kind::close, index, of_close)) {
                    return false;
                }
            } else if (is_success(close.outcome)) {
                not_after(life_.close_at, close.when.end, index, of_close.answered);
                during(life_.close_at, life_.delete_at, close.when, index, of_close);
            }
            const bool counts = close.outcome == Outcome::acked ||
                                close.outcome == Outcome::unknown ||
                                (close.outcome == Outcome::duplicate && !of_producer);
            const bool possible = closer_.name != 0
                                      ? close.producer == closer_
                                      : !of_producer || (producers_.may_follow(close.producer) &&
                                                         std::find(others.begin(), others.end(),
                                                                   close.producer) == others.end());
            if (counts && possible &&
                (first == nowhere || close.when.start < stream_.closes[first].when.start)) {
                first = index;
            }
        }
        if (own_close_) {
            if (first == nowhere) {
                return wrong(Property::c8_closed, "the stream ends closed, but nobody closed it",
                             {});
            }
            not_before(life_.close_at, stream_.closes[first].when.start, first, Cause::close_sent);
        }
        return true;
    }

    // A session's reads follow each other without gap or repeat.
    bool sessions_are_sound() {
        std::unordered_map<std::uint32_t, std::uint32_t> last_of;
        for (std::uint32_t index = 0; index < stream_.reads.size(); ++index) {
            const Read& read = stream_.reads[index];
            if (read.session == 0) {
                continue;
            }
            const auto [at, fresh] = last_of.try_emplace(read.session, index);
            if (!fresh && read.from != stream_.reads[at->second].to) {
                return wrong(Property::c14_live,
                             std::string("a session ") +
                                 (read.from < stream_.reads[at->second].to ? "repeats" : "misses") +
                                 " what lies between " + offset_text(stream_.reads[at->second].to) +
                                 " and " + offset_text(read.from),
                             {ref(Kind::read, at->second), ref(Kind::read, index)});
            }
            at->second = index;
        }
        return true;
    }

    // The offsets that are known grow along the log.
    bool ends_grow() {
        std::uint32_t before = 0;
        for (std::uint32_t state = 1; state < ends_.size(); ++state) {
            if (ends_[state] == unknown_offset) {
                continue;
            }
            if (!(ends_[before] < ends_[state])) {
                return wrong(Property::c4_offsets,
                             "offsets do not grow: " + offset_text(ends_[before]) + " and then " +
                                 offset_text(ends_[state]) + " at " + name_of_place(state - 1),
                             {logged(state - 1)});
            }
            before = state;
        }
        return true;
    }

    bool reads_are_sound() {
        if (stream_.reads.empty()) {
            return true;
        }
        if (!ends_grow()) {
            return false;
        }
        Slots<KeyOfEnd> states(ends_.size(), KeyOfEnd{&ends_});
        states.add(0);
        bool all_known = true;
        for (std::uint32_t state = 1; state < ends_.size(); ++state) {
            if (ends_[state] == unknown_offset) {
                all_known = false;
            } else {
                states.add(state);
            }
        }
        if (!all_known) {
            return reads_from_unknown_ends_are_sound(states);
        }
        for (std::uint32_t index = 0; index < stream_.reads.size(); ++index) {
            const Read& read = stream_.reads[index];
            const std::uint32_t from = states.find(read.from);
            if (from == nowhere) {
                return wrong(Property::c5_atomic,
                             "offset " + offset_text(read.from) + " is not the end of an append",
                             {ref(Kind::read, index)});
            }
            if (!read_is_sound(index, from)) {
                return false;
            }
        }
        return true;
    }

    // Reads tell where offsets are that the log does not tell: one whose begin (or end) is known
    // tells its end (or begin), from which others go on.
    bool reads_from_unknown_ends_are_sound(Slots<KeyOfEnd>& states) {
        struct Pending {
            Offset offset;
            std::uint32_t index;
        };
        std::vector<Pending> pending;
        std::vector<bool> done(stream_.reads.size(), false);
        std::vector<std::uint32_t> learned;  // States whose offset was just found out.
        const auto take = [&](std::uint32_t index) {
            const Read& read = stream_.reads[index];
            std::uint32_t from = states.find(read.from);
            if (from == nowhere) {
                const std::uint32_t to = states.find(read.to);
                if (to == nowhere) {
                    return true;
                }
                if (read.count > to) {
                    return wrong(Property::c3_immutable,
                                 "a read returned more appends than the log has before its end",
                                 {ref(Kind::read, index)});
                }
                from = to - static_cast<std::uint32_t>(read.count);
                if (ends_[from] != unknown_offset) {
                    return wrong_begin(index, from);
                }
                ends_[from] = read.from;
                states.add(from);
                learned.push_back(from);
            }
            done[index] = true;
            const bool knew =
                read.count <= log_.size() - from && ends_[from + read.count] != unknown_offset;
            if (!read_is_sound(index, from)) {
                return false;
            }
            const auto to = static_cast<std::uint32_t>(from + read.count);
            if (!knew) {
                const std::uint32_t same = states.add(to);
                if (same != nowhere) {
                    return wrong(Property::c4_offsets,
                                 name_of_place(to - 1) + " was said to end at " +
                                     offset_text(read.to) + ", where state " +
                                     std::to_string(same) + " ends",
                                 {ref(Kind::read, index)});
                }
                learned.push_back(to);
            }
            return true;
        };
        for (std::uint32_t index = 0; index < stream_.reads.size(); ++index) {
            if (!take(index)) {
                return false;
            }
            if (!done[index]) {
                pending.push_back(Pending{stream_.reads[index].from, index});
                pending.push_back(Pending{stream_.reads[index].to, index});
            }
        }
        const auto by_offset = [](const Pending& a, const Pending& b) {
            return a.offset < b.offset;
        };
        std::sort(pending.begin(), pending.end(), by_offset);
        while (!learned.empty()) {
            const Pending wanted{ends_[learned.back()], 0};
            learned.pop_back();
            const auto range = std::equal_range(pending.begin(), pending.end(), wanted, by_offset);
            for (auto at = range.first; at != range.second; ++at) {
                if (!done[at->index] && !take(at->index)) {
                    return false;
                }
            }
        }
        verdict_.unplaced +=
            static_cast<std::uint64_t>(std::count(done.begin(), done.end(), false));
        return true;
    }

    bool wrong_begin(std::uint32_t index, std::uint32_t state) {
        return wrong(Property::c5_atomic,
                     "a read of " + std::to_string(stream_.reads[index].count) +
                         " appends began at " + offset_text(stream_.reads[index].from) +
                         ", the first of them begins at " + offset_text(ends_[state]),
                     {ref(Kind::read, index)});
    }

    // Compares a read that begins after `from` appends with the log.
    bool read_is_sound(std::uint32_t index, std::uint32_t from) {
        const Read& read = stream_.reads[index];
        if (read.count > log_.size() - from) {
            return wrong(Property::c3_immutable, "a read returned more appends than the log has",
                         {ref(Kind::read, index)});
        }
        const auto to = static_cast<std::uint32_t>(from + read.count);
        const std::uint64_t before = multiply_mod(prefix_[from], powers_.of(read.count));
        const std::uint64_t hash =
            prefix_[to] >= before ? prefix_[to] - before : prefix_[to] + fold_prime - before;
        if (hash != read.hash && !planted(Planted::content_ignored)) {
            return wrong(Property::c3_immutable,
                         "a read from " + offset_text(read.from) +
                             " returned other bytes than the log has there",
                         {ref(Kind::read, index)});
        }
        if (ends_[to] == unknown_offset) {
            ends_[to] = read.to;
        } else if (ends_[to] != read.to) {
            return wrong(Property::c5_atomic,
                         "a read of " + std::to_string(read.count) + " appends ended at " +
                             offset_text(read.to) + ", the last of them ends at " +
                             offset_text(ends_[to]),
                         {ref(Kind::read, index)});
        }
        return bound_read(index, to);
    }

    bool bound_read(std::uint32_t index, std::uint32_t to) {
        const Read& read = stream_.reads[index];
        // What was pushed says nothing about the instant when the wait began.
        std::uint32_t until = nowhere;
        std::uint32_t since = to;
        if (read.closed) {
            if (!closed()) {
                return wrong(Property::c8_closed, "the stream was seen closed, but ends open",
                             {ref(Kind::read, index)});
            }
            if (to != log_.size()) {
                return wrong(Property::c15_flags,
                             "the stream was said to be closed before its end was reached",
                             {ref(Kind::read, index)});
            }
            since = life_.close_at;
            until = life_.delete_at;
        } else if (read.tail) {
            if (!read.live && to == life_.close_at) {
                return wrong(Property::c15_flags,
                             "the end of a closed stream was reached without the closed flag",
                             {ref(Kind::read, index)});
            }
            until = to + 1 < life_.latest.size() ? to + 1 : nowhere;
            if (planted(Planted::stale_read_ignored)) {
                until = life_.delete_at;
            }
            if (planted(Planted::close_hides_from_reads) && until == life_.close_at) {
                until = life_.delete_at;
            }
        } else {
            until = life_.delete_at;
            if (planted(Planted::partial_read_ignored)) {
                return true;
            }
        }
        if (planted(Planted::deleted_stream_readable) && until == life_.delete_at) {
            until = nowhere;
        }
        during(since, read.live ? nowhere : until, read.when, index, of_read);
        return true;
    }

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

}  // namespace

Powers::Powers(std::uint64_t highest) {
    while (highest >> shift_ > std::uint64_t{1} << shift_) {
        ++shift_;
    }
    low_.assign(std::size_t{1} << shift_, 1);
    high_.assign((highest >> shift_) + 1, 1);
    for (std::size_t exponent = 1; exponent < low_.size(); ++exponent) {
        low_[exponent] = multiply_mod(low_[exponent - 1], fold_base);
    }
    const std::uint64_t stride = multiply_mod(low_.back(), fold_base);
    for (std::size_t exponent = 1; exponent < high_.size(); ++exponent) {
        high_[exponent] = multiply_mod(high_[exponent - 1], stride);
    }
}

bool check_incarnation(const History& history, std::uint32_t stream, const Powers& powers,
                       Verdict& verdict, Life& life, std::vector<Absence>& absences) {
    VERIFY(history.streams[stream].ending != Ending::unsaid);
    return Incarnation(history, stream, powers, verdict, life, absences).run();
}

Interval interval_of(const History& history, const Ref& ref) {
    const Stream& stream = history.streams[ref.stream];
    switch (ref.kind) {
        case Kind::logged:
            return Interval{0, never, stream.logs[ref.log].entries[ref.index].line, 0};
        case Kind::create:
            return stream.creates[ref.index].when;
        case Kind::append:
            return stream.appends[ref.index].when;
        case Kind::close:
            return stream.closes[ref.index].when;
        case Kind::remove:
            return stream.deletes[ref.index].when;
        case Kind::read:
            return stream.reads[ref.index].when;
        case Kind::absent:
            return stream.absents[ref.index];
    }
    return Interval{};
}

std::uint32_t line_of(const History& history, const Ref& ref) {
    return interval_of(history, ref).line;
}

void add_violation(const History& history, std::uint32_t stream, Property property,
                   std::string reason, std::vector<Ref> witnesses,
                   std::vector<Violation>& violations) {
    Violation violation;
    violation.property = property;
    violation.stream = stream_word(history.streams[stream]);
    violation.reason = std::move(reason);
    for (const Ref& witness : witnesses) {
        if (const std::uint32_t line = line_of(history, witness)) {
            violation.lines.push_back(line);
        }
    }
    violation.witnesses = std::move(witnesses);
    violations.push_back(std::move(violation));
}

}  // namespace ursula::check
