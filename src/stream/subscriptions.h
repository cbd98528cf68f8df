// What one group's machine knows of subscriptions: those that live in it, what subscriptions of any
// group look for in it, and in group 0 the signing keys. Replicated state, deterministic, made by
// commands of kind `subscription`; a machine that never saw one has none of this.
//
// A subscription (protocol digest 2.13, 2.14) is in one of these states:
//   idle    no wake.
//   awake   a wake with its generation and id. A webhook's is being delivered while
//           `next_attempt_ms` is not 0 - the delivery is due then, or under way - and leased
//           otherwise. A pull-wake's waits to be announced while `notify_due`, then to be claimed;
//           with a holder it is leased.
// What is due is state, so a leader that comes later goes on with it; what is under way is known
// only to the leader that does it (shard/shard_subscriptions.cc) and may happen again.
//
// An *enrolment* is what a subscription looks for in a group. A command that brings a stream data,
// or takes it away, leaves a *mark* for every enrolment it matches, in the same apply. The group's
// leader tells marks to the subscription's group and clears them, by a command, once that group has
// them by a command: a mark is cleared only if its stream is still as it was told.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "api/subscription.h"
#include "base/bytes.h"
#include "base/ids.h"
#include "stream/glob.h"

namespace ursula::stream {

class Machine;
class Stream;

// Chosen by the leader for whatever the command leads to.
struct Chance {
    std::uint64_t wake = 0;    // of the id of a wake that begins
    std::uint32_t jitter = 0;  // of a retry: 0 .. 1000, 500 changes nothing
};

// What the leader found out about a bearer token before it submitted.
enum class TokenVerdict : std::uint8_t { invalid, expired, good };

// --- bodies of commands; each follows an op, a Chance and a list of GroupMarks ---

struct PutCommand {
    api::PutSubscription put;
    std::string secret;  // of tokens
    std::uint32_t groups = 1;
};
struct AckCommand {
    api::AckSubscription ack;  // without its token
    TokenVerdict verdict = TokenVerdict::invalid;
    base::Incarnation checked;  // the subscription whose secret was used
    std::uint64_t token_generation = 0;
};
struct Enrolled {
    base::Incarnation subscription;
    std::uint64_t version = 0;
    std::vector<std::uint32_t> groups;
    bool over = false;  // of one that was removed
};
struct Delivered {
    base::Incarnation subscription;
    std::uint64_t generation = 0;
    bool ok = false;
    bool done = false;
};
struct Notified {
    base::Incarnation subscription;
    std::uint64_t generation = 0;
};
struct ClearMarks {
    base::Incarnation subscription;
    std::vector<api::StreamMark> marks;
};
struct MakeKey {
    api::SigningKey key;
    bool rotate = false;
};

std::vector<std::byte> pack_command(api::SubscriptionOp op, const Chance& chance,
                                    const std::vector<api::GroupMarks>& marks,
                                    base::Bytes packed_body);

// --- state ---

struct Link {
    bool is_explicit = false;
    bool by_pattern = false;
    std::int64_t acked = api::before_all;
    std::int64_t tail = 0;
    std::uint64_t created = 0;  // of the stream's life; 0: no stream of that name was seen
    std::uint32_t ordinal = 0;
    std::int64_t shown = api::not_shown;  // the tail when the wake began

    bool pending() const { return tail > acked; }
};

struct Subscription {
    base::Incarnation id;
    api::SubscriptionConfig config;
    std::string base_url;
    std::string secret;
    std::int64_t created_ms = 0;
    std::uint32_t groups = 1;
    std::uint64_t version = 1;          // of what groups are to look for
    std::set<std::uint32_t> enrolling;  // groups that do not have it yet
    std::map<std::string, Link> links;
    std::map<std::uint32_t, std::uint64_t> seen;  // by group: GroupMarks::as_of of the newest

    std::uint64_t generation = 0;
    bool awake = false;
    std::uint64_t wake = 0;
    std::string holder;
    std::int64_t lease_until_ms = 0;  // 0: none
    std::int64_t next_attempt_ms = 0;
    std::uint32_t failures = 0;  // in a row
    bool failed = false;
    bool notify_due = false;

    bool pending() const;
    std::string wake_id() const;
    // The earliest time at which something is due, INT64_MAX: nothing.
    std::int64_t due_ms() const;
    // As resources and deliveries show it, those with something pending first when there are more
    // than `count_max`.
    std::vector<api::LinkView> view(std::size_t count_max) const;
};

// What the group is to look for.
api::EnrollSubscription enrolment_of(const Subscription& subscription, std::string_view name,
                                     std::uint32_t group);

struct Enrolment {
    std::string name;
    std::string pattern;
    std::set<std::string> paths;
    std::uint64_t version = 0;
    std::map<std::string, api::StreamMark> marks;  // by path; without tails

    base::Incarnation id;
    Glob glob{std::string_view{}};  // of the pattern
    std::string scope;              // "v1/"
};

class Subscriptions {
  public:
    explicit Subscriptions(base::GroupId group) : group_(group) {}

    // The command's name and payload; `machine` is the one that has all this, its entry is entered.
    // What the asker is answered is in answer() until the next.
    void apply(const Machine& machine, std::string_view name, base::Bytes command,
               std::uint32_t ordinal);
    base::Bytes answer() const { return answer_; }

    // A stream got data. Not by a wake of ours: a subscription would wake itself for ever.
    void note_data(const Stream& stream, std::string_view producer_id);
    void note_gone(const Stream& stream);
    // Something that a leader may have to act on changed since this was asked last.
    bool take_changed() {
        const bool changed = changed_;
        changed_ = false;
        return changed;
    }

    const Subscription* find(std::string_view name) const;
    const std::map<std::string, Subscription, std::less<>>& all() const { return all_; }
    // Subscriptions that are gone, and the groups that may still look for them.
    const std::map<base::Incarnation, std::pair<std::string, std::set<std::uint32_t>>>& removed()
        const {
        return removed_;
    }
    const std::map<base::Incarnation, Enrolment>& enrolments() const { return enrolments_; }
    const std::set<base::Incarnation>& marked() const { return marked_; }
    const std::vector<api::SigningKey>& keys() const { return keys_; }
    // Up to `count_max` of its marks, with the tails of now.
    api::GroupMarks marks_of(const Machine& machine, base::Incarnation subscription,
                             std::size_t count_max) const;

    // The whole state in one canonical form.
    void write(std::vector<std::byte>& out) const;
    [[nodiscard]] bool read(base::Bytes bytes);

  private:
    struct Turn {  // one command
        const Machine& machine;
        std::string_view name;
        base::Incarnation id;  // of what it makes
        std::int64_t now_ms = 0;
        Chance chance;
        api::SubscriptionAnswer answer;
    };
    void put(Turn& turn, const PutCommand& command);
    void remove(Turn& turn);
    void change_streams(Turn& turn, const api::ChangeSubscriptionStreams& change);
    void claim(Turn& turn, const api::ClaimSubscription& claim);
    void ack(Turn& turn, const AckCommand& command);
    void enrolled(Turn& turn, const Enrolled& command);
    void delivered(Turn& turn, const Delivered& command);
    void notified(Turn& turn, const Notified& command);
    void look(Turn& turn);
    void enroll(Turn& turn, const api::EnrollSubscription& enroll);
    void clear_marks(Turn& turn, const ClearMarks& clear);
    void make_key(Turn& turn, const MakeKey& command);
    bool take_marks(Subscription& subscription, std::string_view name,
                    const api::GroupMarks& marks);

    Subscription* find_mutable(std::string_view name);
    Subscription* find_exactly(std::string_view name, base::Incarnation id);
    const std::vector<Enrolment*>& matches(const Stream& stream);
    void mark(Enrolment& enrolment, const Stream& stream, std::string_view path, bool gone,
              std::int64_t first);

    base::GroupId group_;
    std::map<std::string, Subscription, std::less<>> all_;
    std::map<base::Incarnation, std::pair<std::string, std::set<std::uint32_t>>> removed_;
    std::map<base::Incarnation, Enrolment> enrolments_;
    std::vector<api::SigningKey> keys_;  // oldest first; the last one signs

    // --- derived or local ---
    std::set<base::Incarnation> marked_;  // enrolments with marks
    std::unordered_map<const Stream*, std::vector<Enrolment*>> matches_;
    std::vector<std::byte> answer_;
    bool changed_ = true;
};

template <class Io, api::Like<PutCommand> T>
void fields(Io& io, T& m) {
    io(m.put, m.secret, m.groups);
}
template <class Io, api::Like<AckCommand> T>
void fields(Io& io, T& m) {
    io(m.ack, m.verdict, m.checked, m.token_generation);
}
template <class Io, api::Like<Enrolled> T>
void fields(Io& io, T& m) {
    io(m.subscription, m.version, m.groups, m.over);
}
template <class Io, api::Like<Delivered> T>
void fields(Io& io, T& m) {
    io(m.subscription, m.generation, m.ok, m.done);
}
template <class Io, api::Like<Notified> T>
void fields(Io& io, T& m) {
    io(m.subscription, m.generation);
}
template <class Io, api::Like<ClearMarks> T>
void fields(Io& io, T& m) {
    io(m.subscription, m.marks);
}
template <class Io, api::Like<MakeKey> T>
void fields(Io& io, T& m) {
    io(m.key, m.rotate);
}

}  // namespace ursula::stream
