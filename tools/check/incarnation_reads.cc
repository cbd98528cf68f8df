// What readers saw, compared with the log, and what it says about instants.
#include <unordered_map>
#include <utility>

#include "tools/check/incarnation_steps.h"
#include "tools/check/planted.h"
#include "tools/check/write.h"

namespace ursula::check {

bool Incarnation::sessions_are_sound() {
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

bool Incarnation::ends_grow() {
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

bool Incarnation::reads_are_sound() {
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

bool Incarnation::reads_from_unknown_ends_are_sound(Slots<KeyOfEnd>& states) {
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
                             name_of_place(to - 1) + " was said to end at " + offset_text(read.to) +
                                 ", where state " + std::to_string(same) + " ends",
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
    const auto by_offset = [](const Pending& a, const Pending& b) { return a.offset < b.offset; };
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
    verdict_.unplaced += static_cast<std::uint64_t>(std::count(done.begin(), done.end(), false));
    return true;
}

bool Incarnation::wrong_begin(std::uint32_t index, std::uint32_t state) {
    return wrong(Property::c5_atomic,
                 "a read of " + std::to_string(stream_.reads[index].count) + " appends began at " +
                     offset_text(stream_.reads[index].from) + ", the first of them begins at " +
                     offset_text(ends_[state]),
                 {ref(Kind::read, index)});
}

bool Incarnation::read_is_sound(std::uint32_t index, std::uint32_t from) {
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

bool Incarnation::bound_read(std::uint32_t index, std::uint32_t to) {
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

}  // namespace ursula::check
