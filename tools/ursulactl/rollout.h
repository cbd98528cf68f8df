// A change of the members of all groups: the same steps in each of them, a few groups at a time, so
// that a new member does not fetch every group's data at once. What a step wants and is so already
// is answered at once, so a change that broke off is finished by making it again.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "tools/ursulactl/client.h"

namespace ursula::ctl {

class Rollout {
  public:
    using Clock = std::chrono::steady_clock;
    // POST `body` to `path`.
    using Ask = std::function<Reply(const std::string& path, const std::string& body)>;

    // `steps`: bodies for /admin/v1/groups/{g}/members, in order. `client` words what went wrong.
    Rollout(const Client& client, std::vector<std::string> steps, std::uint32_t groups, Ask ask);

    // Asks each group that is under way for its next step. False: none went on; pause then. What
    // time does not mend is a Failure that says which group.
    bool round(Clock::time_point now);

    bool done() const { return done_ == groups_; }
    std::uint32_t groups() const { return groups_; }
    std::uint32_t groups_done() const { return done_; }
    std::uint32_t groups_changed() const { return changed_; }
    // Why the first of those under way does not go on, as "group 3: ..."; empty: all do.
    std::string waits_for() const;

  private:
    struct Group {
        std::uint32_t id = 0;
        std::size_t step = 0;
        bool changed = false;
        std::string reason;           // of the last refusal
        Clock::time_point unsafe_at;  // since when a step would break its quorum
        bool unsafe = false;
    };

    bool go_on(Group& group, Clock::time_point now);
    void take_refusal(Group& group, const Reply& reply, const std::string& path,
                      Clock::time_point now);

    const Client& client_;
    const std::vector<std::string> steps_;
    const std::uint32_t groups_;
    const Ask ask_;
    std::uint32_t next_ = 0;
    std::uint32_t done_ = 0;
    std::uint32_t changed_ = 0;
    std::vector<Group> active_;
};

// A line on stderr that says how far something is: rewritten on a terminal, else a line of its own
// when it changed, not more often than every second.
class Progress {
  public:
    Progress(bool quiet, bool terminal) : quiet_(quiet), terminal_(terminal) {}
    ~Progress() { end(); }
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;

    void show(const std::string& text);
    // What follows begins on a line of its own.
    void end();

  private:
    bool quiet_;
    bool terminal_;
    std::string shown_;
    std::chrono::steady_clock::time_point shown_at_{};
    std::size_t width_ = 0;  // of the line that stands on the terminal
};

}  // namespace ursula::ctl
