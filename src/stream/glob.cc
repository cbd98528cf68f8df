#include "stream/glob.h"

#include <cstddef>

namespace ursula::stream {

namespace {

// The next segment that is not empty; false at the end.
bool next_segment(std::string_view& rest, std::string_view& segment) {
    while (!rest.empty() && rest.front() == '/') {
        rest.remove_prefix(1);
    }
    if (rest.empty()) {
        return false;
    }
    segment = rest.substr(0, rest.find('/'));
    rest.remove_prefix(segment.size());
    return true;
}

std::string unescaped(std::string_view segment) {
    std::string text;
    while (!segment.empty()) {
        const bool star = segment.size() >= 3 && segment.starts_with("%2") &&
                          (segment[2] == 'A' || segment[2] == 'a');
        text += star ? '*' : segment.front();
        segment.remove_prefix(star ? 3 : 1);
    }
    return text;
}

}  // namespace

Glob::Glob(std::string_view pattern) {
    std::string_view segment;
    while (next_segment(pattern, segment)) {
        Segment& added = segments_.emplace_back();
        if (segment == "**") {
            added.kind = Kind::any;
        } else if (segment == "*") {
            added.kind = Kind::one;
        } else {
            added.text = unescaped(segment);
        }
    }
}

// Greedy with one place to go back to, which is the newest `**`: an earlier one could not match
// more than it.
bool Glob::matches(std::string_view path) const {
    if (segments_.empty()) {
        return false;
    }
    std::size_t at = 0;
    std::size_t any_at = segments_.size();  // of the newest `**`; none yet
    std::string_view any_rest;              // of the path behind what that one has taken
    std::string_view rest = path;
    for (;;) {
        std::string_view after = rest;
        std::string_view segment;
        const bool more = next_segment(after, segment);
        if (at < segments_.size() && segments_[at].kind == Kind::any) {
            any_at = at++;
            any_rest = rest;
            continue;
        }
        if (!more && at == segments_.size()) {
            return true;
        }
        if (more && at < segments_.size() &&
            (segments_[at].kind == Kind::one || segments_[at].text == segment)) {
            ++at;
            rest = after;
            continue;
        }
        std::string_view dropped;
        if (!more || any_at == segments_.size() || !next_segment(any_rest, dropped)) {
            return false;
        }
        at = any_at + 1;
        rest = any_rest;
    }
}

}  // namespace ursula::stream
