#include "tools/check/check.h"

#include <algorithm>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "tools/check/bounds.h"
#include "tools/check/incarnation.h"
#include "tools/check/planted.h"
#include "tools/check/write.h"

namespace ursula::check {

namespace {

Kind kind_of(Cause cause) {
    switch (cause) {
        case Cause::create_sent:
        case Cause::create_unaware:
        case Cause::create_answered:
        case Cause::create_aware:
            return Kind::create;
        case Cause::close_sent:
        case Cause::close_unaware:
        case Cause::close_answered:
        case Cause::close_aware:
            return Kind::close;
        case Cause::delete_sent:
        case Cause::delete_answered:
            return Kind::remove;
        case Cause::read_unaware:
        case Cause::read_aware:
            return Kind::read;
        case Cause::absent:
            return Kind::absent;
        case Cause::append_sent:
        case Cause::append_unaware:
        case Cause::append_answered:
        case Cause::append_aware:
        case Cause::none:
            break;
    }
    return Kind::append;
}

bool is_unaware(Cause cause) {
    return cause == Cause::create_unaware || cause == Cause::append_unaware ||
           cause == Cause::close_unaware || cause == Cause::read_unaware;
}

bool is_answered(Cause cause) {
    return cause == Cause::create_answered || cause == Cause::append_answered ||
           cause == Cause::close_answered || cause == Cause::delete_answered;
}

// A bound, and the transition it is of.
struct Placed {
    Bound bound;
    const Life* life = nullptr;
    std::uint32_t transition = 0;
};

// All incarnations of one name, in their order.
class Name {
  public:
    Name(const History& history, const Options& options, const Powers& powers, Verdict& verdict)
        : history_(history), options_(options), powers_(powers), verdict_(verdict) {}

    void run(const std::vector<std::uint32_t>& streams) {
        lives_.resize(streams.size());
        for (std::size_t number = 0; number < streams.size(); ++number) {
            if (!check_incarnation(history_, streams[number], powers_, verdict_, lives_[number],
                                   absences_)) {
                return;
            }
        }
        // Without the absences first: what contradicts without them is explained by two operations.
        if (sweep(false) && !absences_.empty()) {
            sort_absences();
            sweep(true);
        }
    }

  private:
    // By their ends; latest_start_[k] is the one of the first k + 1 that began last.
    void sort_absences() {
        std::sort(absences_.begin(), absences_.end(),
                  [](const Absence& a, const Absence& b) { return a.end < b.end; });
        latest_start_.resize(absences_.size());
        for (std::uint32_t index = 0; index < absences_.size(); ++index) {
            const std::uint32_t before = index == 0 ? 0 : latest_start_[index - 1];
            latest_start_[index] =
                absences_[index].start > absences_[before].start ? index : before;
        }
    }

    bool sweep(bool with_absences) {
        late_ = Placed{Bound{always, 0, Cause::none}, nullptr, 0};
        const Life* before = nullptr;
        for (const Life& life : lives_) {
            if (life.earliest.empty()) {
                continue;
            }
            if (before != nullptr && before->delete_at == nowhere) {
                add_violation(history_, life.stream, Property::c9_deleted,
                              "the stream was created again, but " +
                                  stream_word(history_.streams[before->stream]) +
                                  " was not deleted",
                              {}, verdict_.violations);
                return false;
            }
            before = &life;
            if (planted(Planted::incarnations_unordered)) {
                late_ = Placed{Bound{always, 0, Cause::none}, nullptr, 0};
            }
            advance(Placed{life.earliest[0], &life, 0});
            if (with_absences) {
                create_after_absences(life);
            }
            for (std::uint32_t transition = 0; transition < life.earliest.size(); ++transition) {
                const Placed early{life.latest[transition], &life, transition};
                advance(Placed{life.earliest[transition], &life, transition});
                if (planted(Planted::only_own_bounds)) {
                    late_ = Placed{life.earliest[transition], &life, transition};
                }
                if (!fits(early)) {
                    return false;
                }
            }
        }
        return true;
    }

    void advance(const Placed& candidate) {
        if (candidate.bound.at > late_.bound.at) {
            late_ = candidate;
        }
    }

    // No absence may lie wholly inside a life. The deletion comes as early as it can, so what must
    // give way is the creation: it follows the start of every absence that ended before.
    void create_after_absences(const Life& life) {
        forced_ = Placed{Bound{never, 0, Cause::none}, &life, 0};
        if (life.delete_at != nowhere) {
            forced_ = late_;
            for (std::uint32_t transition = 1; transition <= life.delete_at; ++transition) {
                if (life.earliest[transition].at > forced_.bound.at) {
                    forced_ = Placed{life.earliest[transition], &life, transition};
                }
            }
        }
        const auto after = std::lower_bound(
            absences_.begin(), absences_.end(), forced_.bound.at,
            [](const Absence& absence, std::int64_t at) { return absence.end < at; });
        if (after == absences_.begin() || planted(Planted::absent_ignored) ||
            (planted(Planted::absent_before_only) && life.delete_at != nowhere)) {
            return;
        }
        const std::uint32_t last =
            latest_start_[static_cast<std::size_t>(after - absences_.begin()) - 1];
        advance(Placed{Bound{absences_[last].start, last, Cause::absent}, &life, 0});
    }

    bool fits(const Placed& early) {
        const bool tie = planted(Planted::ties_refused) && late_.bound.at == early.bound.at &&
                         early.bound.at != never;
        if (late_.bound.at <= early.bound.at && !tie) {
            return true;
        }
        // Both are readings of a clock, so neither is an infinity; the distance fits 64 bits.
        const std::uint64_t distance =
            static_cast<std::uint64_t>(late_.bound.at) - static_cast<std::uint64_t>(early.bound.at);
        const bool blurred = distance <= static_cast<std::uint64_t>(options_.epsilon) && !tie;
        if (blurred && verdict_.within_epsilon.has_value()) {
            return true;
        }
        std::vector<Violation> found;
        std::vector<Ref> witnesses{ref_of(early), ref_of(late_)};
        if (late_.bound.cause == Cause::absent && forced_.bound.cause != Cause::none &&
            ref_of(forced_) != witnesses[0]) {
            witnesses.push_back(ref_of(forced_));
        }
        add_violation(history_, early.life->stream, property_of(early), reason_of(early),
                      std::move(witnesses), found);
        if (blurred) {
            verdict_.within_epsilon = std::move(found[0]);
            return true;
        }
        verdict_.violations.push_back(std::move(found[0]));
        return false;
    }

    Ref ref_of(const Placed& placed) const {
        if (placed.bound.cause == Cause::absent) {
            return absences_[placed.bound.index].ref;
        }
        return Ref{kind_of(placed.bound.cause), placed.life->stream, placed.bound.index, 0};
    }

    std::string name_of(const Placed& placed) const {
        std::string name;
        if (placed.transition == 0) {
            name = "the creation";
        } else if (placed.transition == placed.life->delete_at) {
            name = "the deletion";
        } else if (placed.transition > placed.life->appends) {
            name = "the close";
        } else {
            name = "append " + std::to_string(placed.transition);
        }
        return lives_.size() == 1
                   ? name
                   : name + " of " + stream_word(history_.streams[placed.life->stream]);
    }

    static bool is_close(const Placed& placed) {
        return placed.transition > placed.life->appends ||
               (placed.transition == placed.life->close_at &&
                (placed.bound.cause == Cause::append_aware ||
                 placed.bound.cause == Cause::close_answered));
    }

    Property property_of(const Placed& early) const {
        const auto ends_life = [](const Placed& placed) {
            return placed.transition == placed.life->delete_at;
        };
        if (late_.bound.cause == Cause::absent || late_.life != early.life || ends_life(late_) ||
            ends_life(early)) {
            return Property::c9_deleted;
        }
        if (is_close(late_) || is_close(early)) {
            return Property::c8_closed;
        }
        if (late_.bound.cause == Cause::append_unaware ||
            late_.bound.cause == Cause::close_unaware || early.bound.cause == Cause::append_aware ||
            early.bound.cause == Cause::close_aware) {
            return Property::c6_producers;
        }
        return Property::c2_linearizable;
    }

    // The late bound begins after the early one had ended, though the transitions' order says
    // otherwise.
    std::string reason_of(const Placed& early) const {
        const bool same = late_.life == early.life && late_.transition == early.transition;
        const std::string first = name_of(late_);
        const std::string second = name_of(early);
        const bool answered = is_answered(early.bound.cause);
        const std::string had = answered ? " had been acknowledged" : " had been seen";
        if (late_.bound.cause == Cause::absent) {
            return "a stream vanished: " + second + had +
                   ", and a later answer said that there is no such stream, before " +
                   (forced_.bound.cause == Cause::none ? "and without its deletion"
                                                       : "its deletion");
        }
        if (late_.bound.cause == Cause::read_unaware) {
            return (answered ? "stale read: " : "a read went back: ") + second + had +
                   ", and a later read did not see " + (same ? "it" : first);
        }
        if (is_unaware(late_.bound.cause)) {
            return "an answer went back: " + second + had +
                   ", and a later answer did not know of " + (same ? "it" : first);
        }
        std::string ahead = same ? "it" : first;
        if (!same) {
            ahead += ", ahead of it in the log,";
        }
        if (answered) {
            return "against real time: " + second + " was acknowledged before " + ahead +
                   " was sent";
        }
        return "future read: " + second + " was seen before " + ahead + " was sent";
    }

    const History& history_;
    const Options& options_;
    const Powers& powers_;
    Verdict& verdict_;
    std::vector<Life> lives_;
    std::vector<Absence> absences_;
    std::vector<std::uint32_t> latest_start_;
    Placed late_;    // The greatest R so far.
    Placed forced_;  // What keeps the current life's deletion late; cause none: it has none.
};

}  // namespace

const char* name_of(Property property) {
    switch (property) {
        case Property::c1_durable:
            return "C1";
        case Property::c2_linearizable:
            return "C2";
        case Property::c3_immutable:
            return "C3";
        case Property::c4_offsets:
            return "C4";
        case Property::c5_atomic:
            return "C5";
        case Property::c6_producers:
            return "C6";
        case Property::c8_closed:
            return "C8";
        case Property::c9_deleted:
            return "C9";
        case Property::c11_no_leak:
            return "C11";
        case Property::c14_live:
            return "C14";
        case Property::c15_flags:
            return "C15";
        case Property::c18_no_false_no:
            return "C18";
    }
    return "";
}

Verdict check_history(const History& history, const Options& options) {
    Verdict verdict;
    std::unordered_map<std::string_view, std::size_t> names;
    std::vector<std::vector<std::uint32_t>> groups;
    std::size_t longest = 0;
    for (std::uint32_t index = 0; index < history.streams.size(); ++index) {
        const Stream& stream = history.streams[index];
        const auto [at, fresh] = names.try_emplace(stream.name, groups.size());
        if (fresh) {
            groups.emplace_back();
        }
        groups[at->second].push_back(index);
        for (const NodeLog& log : stream.logs) {
            longest = std::max(longest, log.entries.size());
        }
    }
    const Powers powers(longest);
    for (std::vector<std::uint32_t>& group : groups) {
        std::sort(group.begin(), group.end(), [&](std::uint32_t a, std::uint32_t b) {
            return history.streams[a].incarnation < history.streams[b].incarnation;
        });
        Name(history, options, powers, verdict).run(group);
    }
    return verdict;
}

std::string explain(const History& history, const Violation& violation) {
    std::string out = std::string(name_of(violation.property)) + " stream " + violation.stream +
                      ": " + violation.reason + '\n';
    for (const Ref& witness : violation.witnesses) {
        const std::uint32_t line = line_of(history, witness);
        out += "    ";
        if (line != 0) {
            out += "line " + std::to_string(line) + ": ";
        }
        out += describe(history, witness);
        out += '\n';
    }
    return out;
}

}  // namespace ursula::check
