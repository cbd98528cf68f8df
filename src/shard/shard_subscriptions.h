// What a shard does for subscriptions beside applying their commands (stream/subscriptions.h): it
// prepares the operations of clients for the log, and for the groups that it leads it carries out
// what their state says is due. Whatever is under way here is lost with the leadership, and what is
// due is still in the state: the next leader does it again.
//
//   enrolling      a subscription tells every group concerned what to look for there
//   marks          a group tells a subscription what it has seen, then clears that
//   deliveries     of wakes: requests by shard::Webhooks, or appends to the wake stream
//   leases         that end
//   operations     a claim, and an acknowledgement that may find nothing pending, first asks all
//                  groups for what they have not told yet; a PUT waits until it is enrolled
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "api/subscription.h"
#include "shard/shard.h"
#include "shard/webhooks.h"

namespace ursula::shard {

class Shard::Subscribing {
  public:
    explicit Subscribing(Shard& shard) : shard_(shard), led_(shard.replicas_.size()) {}

    // A call that changes something, for a group that this shard leads (or would refuse).
    void take(const api::Call& call, const api::SubscriptionCall& asked);
    // A read that its group, or all groups of the shard, have confirmed.
    void serve(Replica& replica, base::ShardId from, api::CallId id,
               const api::SubscriptionCall& asked);
    void serve_marks(base::ShardId from, api::CallId id, std::string_view packed_subscription);
    // Applied something, or may lead by now.
    void note(Replica& replica);
    bool is_new_leader(const Replica& replica);
    // False: it is no answer to anything of these.
    bool take_answer(const api::Reply& reply);

    bool due() const {
        return due_ || !noted_.empty() || !deliveries_.empty() || shard_.now_.mono >= look_at_;
    }
    base::Instant deadline() const { return due_ || !noted_.empty() ? shard_.now_.mono : look_at_; }
    void run();

  private:
    // A call or a command of these, on its way; views of it lead here until it is answered.
    struct Task {
        enum class Kind : std::uint8_t {
            enroll,
            enrolled,
            push_marks,
            clear_marks,
            wake_event,
            outcome,
            key,
            pull,
            operation
        };
        Kind kind = Kind::outcome;
        base::GroupId group;  // that has to do with it and is led here
        base::Term term;
        base::Incarnation subscription;
        std::string name;
        std::string producer;
        std::string stream;  // the wake stream
        std::vector<std::byte> body;
        std::vector<api::StreamMark> marks;
        std::uint32_t other_group = 0;
        std::uint64_t number = 0;  // generation, version, or an operation's
        bool over = false;
    };
    // Of a client, not answered yet.
    struct Operation {
        api::CallId call;
        base::ShardId from;
        base::GroupId group;
        base::Term term;
        std::string name;
        api::SubscriptionOp op = api::SubscriptionOp::put;
        std::vector<std::byte> body;  // of the call
        base::Instant since;
        std::uint32_t pulls = 0;  // that are not answered
        bool pull_failed = false;
        bool enrolling = false;  // done but for that
        bool settled = false;    // nothing is left but to take in what was pulled
        std::vector<api::GroupMarks> marks;
        api::SubscriptionAnswer answer;
    };
    // Groups that know, and it is not committed yet.
    struct EnrolledGroups {
        std::string name;
        std::uint64_t version = 0;
        bool over = false;
        std::vector<std::uint32_t> groups;
    };
    // Of a group, by its place among the shard's.
    struct Led {
        base::Term term;  // as leader of which this was made; 0: does not lead
        bool noted = false;
        std::set<base::Incarnation> pushing;
        std::set<std::pair<base::Incarnation, std::uint32_t>> enrolling;
        std::set<base::Incarnation> delivering;  // or announcing, or looking at its lease
        std::map<base::Incarnation, EnrolledGroups> enrolled;
        std::set<base::Incarnation> committing;
        base::Instant again{};  // a step was refused: not before
    };

    Led& led(const Replica& replica) { return led_[replica.id().value / shard_.options_.shards]; }
    static bool leads(const Replica& replica);
    static bool has_enrolled(const Led& own, base::Incarnation id, std::uint32_t group);
    void look(Replica& replica);
    void look_at_operations();
    void enroll(Replica& replica, Led& led);
    void commit_enrolled(Replica& replica, Led& led);
    void push_marks(Replica& replica, Led& led);
    void look_at(Replica& replica, Led& led, const std::string& name,
                 const stream::Subscription& subscription);
    void deliver(Replica& replica, Led& led, const std::string& name,
                 const stream::Subscription& subscription);
    void announce(Replica& replica, Led& led, const std::string& name,
                  const stream::Subscription& subscription);
    bool has_key();
    void take_results();

    Task& new_task(Task::Kind kind, const Replica& replica, std::uint64_t& number);
    void send(std::uint64_t number, const Task& task, base::GroupId to, api::SubscriptionOp op);
    void submit(Replica& replica, std::uint64_t number, Task& task, api::SubscriptionOp op,
                const std::vector<api::GroupMarks>& marks, base::Bytes body);
    template <class Body>
    void commit(Replica& replica, const std::string& name, base::Incarnation subscription,
                api::SubscriptionOp op, const Body& body);
    stream::Chance chance();
    std::string secret();

    void begin_pull(std::uint64_t number, Operation& operation, base::Incarnation subscription);
    void submit_operation(std::uint64_t number, Operation& operation);
    void on_operation(std::uint64_t number, Operation& operation, const api::Answer& answer);
    void finish(std::uint64_t number, api::Answer&& answer);
    void on_pulled(std::uint64_t number, Operation& operation, bool answered,
                   std::vector<api::GroupMarks>&& marks);
    static bool needs_pull(const stream::Subscription& subscription, const Operation& operation);
    static bool acknowledges_unknown(const stream::Subscription& subscription,
                                     const Operation& operation);
    stream::AckCommand prepare(const Replica& replica, const std::string& name,
                               api::AckSubscription&& ack);

    void end_task(Task& task, const api::Answer& answer);
    void end_push(Replica& replica, Led& own, Task& task, bool answered,
                  api::SubscriptionError error);
    void end_announcement(Replica& replica, Led& own, const Task& task, const api::Answer& answer);
    void retry_later(Led& led);
    void wake_at(base::Instant at) { look_at_ = std::min(look_at_, at); }
    Replica& replica(base::GroupId group) { return shard_.replica(group); }

    Shard& shard_;
    std::vector<Led> led_;
    std::vector<Replica*> noted_;
    std::map<std::uint64_t, Task> tasks_;
    std::vector<std::pair<std::uint64_t, api::Answer>> answers_;
    std::map<std::uint64_t, Operation> operations_;
    // By number: the wakes that are being delivered.
    std::map<std::uint64_t, Task> deliveries_;
    std::vector<DeliveryResult> results_;
    api::SigningKey key_;
    base::Instant key_until_{};
    bool key_asked_ = false;
    bool due_ = false;
    base::Instant look_at_ = base::Instant::never();
};

}  // namespace ursula::shard
