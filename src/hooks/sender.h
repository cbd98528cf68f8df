// Sender: the thread that sends webhooks, for all shards of a node. Names are looked up, TLS is
// spoken and receivers are waited for here, never on a loop. It begins with the first delivery.
//
// Each request is refused again where it is connected (net/webhook_url.h), follows no redirect,
// knows no proxy and no credentials, and is bounded in time and in what it reads.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "base/metric.h"
#include "hooks/crypto.h"
#include "net/webhook_url.h"
#include "shard/webhooks.h"

namespace ursula::hooks {

struct SenderOptions {
    net::WebhookRules rules;
    std::string user_agent;
    // Rung when results wait, by shard: what Ring::foreign_doorbell_fd said, -1: nobody is there.
    const std::atomic<int>* doorbells = nullptr;
    std::uint32_t shards = 1;
    base::Histogram* duration = nullptr;  // from the hand-over to the end of the answer
};

// Written by the sender's thread.
struct SenderCounters {
    base::Metric deliveries;  // attempts that ended
    base::Metric failures;    // of them without a 2xx answer
    base::Metric refused;     // connections to an address that is not allowed
};

class Sender {
  public:
    explicit Sender(SenderOptions options);
    ~Sender();
    Sender(const Sender&) = delete;
    Sender& operator=(const Sender&) = delete;

    // Ends what is under way; from then on no doorbell is rung. After the last call of a shard.
    void stop();
    // Of one shard; as long as the sender.
    shard::Webhooks& of_shard(std::uint32_t shard);
    const SenderCounters& counters() const { return counters_; }

  private:
    class OfShard;
    class Requests;
    struct Job;

    bool take(Job&& job);
    void work();
    void end(const Job& job, const shard::DeliveryResult& result);

    const SenderOptions options_;
    SenderCounters counters_;
    std::vector<std::unique_ptr<OfShard>> shards_;
    std::atomic<std::size_t> under_way_{0};
    std::atomic<bool> stopping_{false};
    std::mutex mutex_;  // of the two below
    std::vector<Job> waiting_;
    std::unique_ptr<Requests> requests_;  // null: not begun
    std::thread thread_;
};

}  // namespace ursula::hooks
