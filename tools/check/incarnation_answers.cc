// What writers were told: duplicates, refusals and closes as observations of the stream.
#include <utility>

#include "tools/check/incarnation_steps.h"
#include "tools/check/planted.h"

namespace ursula::check {

bool Incarnation::bound_appends() {
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

bool Incarnation::told_closed(const Producer& producer, const Interval& when, Kind kind,
                              std::uint32_t index, const Causes& causes) {
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

template <class Write>
bool Incarnation::told_producer(const Write& write, Kind kind, std::uint32_t index,
                                const Causes& causes) {
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
                         "a duplicate of the closing append told another seq", {ref(kind, index)});
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
        return told_while_open(producers_.place_of(highest) + 1, next, write.when, ref(kind, index),
                               causes);
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
bool Incarnation::told_gap(const Write& write, Kind kind, std::uint32_t index,
                           const Causes& causes) {
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

bool Incarnation::told_while_open(std::uint32_t since, std::uint32_t next, const Interval& when,
                                  const Ref& what, const Causes& causes) {
    const std::uint32_t until = std::min(next == nowhere ? nowhere : next + 1, open_until());
    if (until <= since) {
        return wrong(Property::c6_producers,
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

bool Incarnation::bound_closes() {
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
        const bool counts = close.outcome == Outcome::acked || close.outcome == Outcome::unknown ||
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
            return wrong(Property::c8_closed, "the stream ends closed, but nobody closed it", {});
        }
        not_before(life_.close_at, stream_.closes[first].when.start, first, Cause::close_sent);
    }
    return true;
}

}  // namespace ursula::check
