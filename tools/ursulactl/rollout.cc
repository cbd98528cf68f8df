#include "tools/ursulactl/rollout.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "tools/ursulactl/output.h"

namespace ursula::ctl {

namespace {

// Groups under way at a time.
constexpr std::size_t window = 8;
// A node that was just started, or a leader just elected, is not known to be well at once.
constexpr std::chrono::milliseconds unsafe_for{5'000};
constexpr std::chrono::milliseconds line_pause{1'000};
constexpr std::size_t line_width = 78;  // of a terminal's line, which must not break

// Refusals of a moment. 5xx are too: whether the step took effect shows when it is asked again.
bool passes(const Reply& reply) {
    if (reply.trouble != Reply::Trouble::none) {
        return reply.trouble == Reply::Trouble::timeout;
    }
    const std::string code = problem_code(reply.body);
    return reply.status >= 500 || code == "member_not_caught_up" ||
           code == "member_change_under_way";
}

}  // namespace

Rollout::Rollout(const Client& client, std::vector<std::string> steps, std::uint32_t groups,
                 Ask ask)
    : client_(client), steps_(std::move(steps)), groups_(groups), ask_(std::move(ask)) {}

bool Rollout::round(Clock::time_point now) {
    while (active_.size() < window && next_ < groups_) {
        Group group;
        group.id = next_++;
        active_.push_back(std::move(group));
    }
    bool any = false;
    for (Group& group : active_) {
        any = go_on(group, now) || any;
    }
    const auto over = [this](const Group& group) {
        if (group.step < steps_.size()) {
            return false;
        }
        ++done_;
        changed_ += group.changed ? 1 : 0;
        return true;
    };
    std::erase_if(active_, over);
    return any;
}

// As many steps as it takes: between two of them the group may have less of a quorum than before.
bool Rollout::go_on(Group& group, Clock::time_point now) {
    const std::string path = fmt::format("/admin/v1/groups/{}/members", group.id);
    const std::size_t from = group.step;
    while (group.step < steps_.size()) {
        const Reply reply = ask_(path, steps_[group.step]);
        if (reply.trouble != Reply::Trouble::none || reply.status != 200) {
            take_refusal(group, reply, path, now);
            break;
        }
        group.changed = group.changed || nlohmann::json::parse(reply.body).at("changed") == true;
        group.reason.clear();
        group.unsafe = false;
        ++group.step;
    }
    return group.step != from;
}

void Rollout::take_refusal(Group& group, const Reply& reply, const std::string& path,
                           Clock::time_point now) {
    const Failure failure = client_.failure_of(reply, path);
    group.reason = failure.what();
    if (passes(reply)) {
        group.unsafe = false;
        return;
    }
    if (reply.trouble == Reply::Trouble::none && problem_code(reply.body) == "member_quorum") {
        if (!group.unsafe) {
            group.unsafe = true;
            group.unsafe_at = now;
        }
        if (now - group.unsafe_at < unsafe_for) {
            return;
        }
    }
    throw Failure(failure.exit_code, fmt::format("group {}: {}", group.id, failure.what()),
                  failure.next);
}

std::string Rollout::waits_for() const {
    const auto waiting = std::find_if(active_.begin(), active_.end(),
                                      [](const Group& group) { return !group.reason.empty(); });
    return waiting == active_.end() ? std::string()
                                    : fmt::format("group {}: {}", waiting->id, waiting->reason);
}

void Progress::show(const std::string& text) {
    const auto now = std::chrono::steady_clock::now();
    if (quiet_ || text == shown_ || (!terminal_ && now - shown_at_ < line_pause)) {
        return;
    }
    shown_ = text;
    shown_at_ = now;
    if (!terminal_) {
        talk(text);
        return;
    }
    std::string line = "\r" + printable(text).substr(0, line_width);
    const std::size_t width = line.size() - 1;
    line.append(width_ > width ? width_ - width : 0, ' ');
    width_ = width;
    std::fwrite(line.data(), 1, line.size(), stderr);
}

void Progress::end() {
    if (width_ > 0) {
        std::fputc('\n', stderr);
        width_ = 0;
    }
}

}  // namespace ursula::ctl
