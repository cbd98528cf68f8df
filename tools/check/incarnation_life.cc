// The producers' order in the log, and the creation, close and deletion.
#include <utility>

#include "tools/check/incarnation_steps.h"
#include "tools/check/planted.h"

namespace ursula::check {

bool Incarnation::producers_are_sound() {
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

bool Incarnation::close_is_sound() {
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
            return wrong(Property::c8_closed, "the last append closed the stream, but it ends open",
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
            return wrong(Property::c8_closed, "a close was acknowledged, but the stream ends open",
                         {ref(Kind::close, index)});
        }
        if (!success || !of_producer) {
            continue;
        }
        if (closing != nowhere && close.producer != closer_) {
            return wrong(Property::c6_producers,
                         "a close was acknowledged to a producer, but " + name_of_place(closing) +
                             " closed the stream",
                         {ref(Kind::close, index), append(attempts_[closing].first)});
        }
        if (named != nowhere && close.producer != closer_) {
            return wrong(Property::c6_producers,
                         "a close was acknowledged under two producer triples",
                         {ref(Kind::close, named), ref(Kind::close, index)});
        }
        if (closing == nowhere && !producers_.may_follow(close.producer)) {
            return wrong(Property::c6_producers, "a producer's close does not follow its appends",
                         {ref(Kind::close, index)});
        }
        named = index;
        closer_ = close.producer;
    }
    own_close_ = closed() && closing == nowhere;
    return true;
}

bool Incarnation::life_is_sound() {
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

bool Incarnation::made_once(const std::vector<Change>& changes, Kind kind, const Causes& causes,
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

}  // namespace ursula::check
