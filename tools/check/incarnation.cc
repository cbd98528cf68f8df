#include "tools/check/incarnation.h"

#include <algorithm>
#include <utility>

#include "base/verify.h"
#include "tools/check/incarnation_steps.h"
#include "tools/check/planted.h"
#include "tools/check/write.h"

namespace ursula::check {

void Incarnation::note_absences() {
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

bool Incarnation::nothing_happened() {
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
            return wrong(Property::c9_deleted, reason, {append(static_cast<std::uint32_t>(index))});
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

bool Incarnation::nodes_agree() {
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
                         "node '" + other.node + "' has " + std::to_string(other.entries.size()) +
                             " appends, node '" + stream_.logs.front().node + "' has " +
                             std::to_string(log_.size()),
                         std::move(witness));
        }
    }
    return true;
}

bool Incarnation::log_is_sound() {
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

bool Incarnation::appends_are_sound() {
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
                return wrong(Property::c1_durable, "an acknowledged append is missing from the log",
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

bool Incarnation::attempt(std::uint32_t index, const Append& append, std::uint32_t place) {
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

bool Incarnation::log_was_sent() {
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

bool Incarnation::foreign(std::uint32_t place) {
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
