// Webhooks: what subscriptions need from outside of the shard - chance, signatures, tokens, and the
// sending of requests. The loop's is src/hooks; tests have their own. Called by one shard, between
// its turns or within one; never blocks.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "api/subscription.h"
#include "base/bytes.h"

namespace ursula::shard {

// One request to a receiver. The number is handed back with its result.
struct Delivery {
    std::uint64_t number = 0;
    std::string url;
    std::string subscription_id;  // without its namespace
    std::string wake_id;
    std::uint64_t generation = 0;
    std::vector<api::LinkView> streams;
    std::string callback_url;
    std::string callback_token;
    api::SigningKey key;
    std::int64_t time_s = 0;  // Unix time, signed
};

struct DeliveryResult {
    std::uint64_t number = 0;
    bool ok = false;    // 2xx
    bool done = false;  // and the receiver has dealt with everything it was shown
};

class Webhooks {
  public:
    virtual ~Webhooks() = default;

    // False: as many as may be are under way; ask again later.
    [[nodiscard]] virtual bool send(Delivery&& delivery) = 0;
    // Every delivery that was taken ends in one result, unless the process ends.
    virtual void take_results(std::vector<DeliveryResult>& out) = 0;

    virtual void fill_random(base::MutableBytes out) = 0;
    // A new key pair; times are left 0.
    virtual api::SigningKey make_key() = 0;
    // `content` and a proof by the secret, as one word for an Authorization header.
    virtual std::string make_token(std::string_view secret, base::Bytes content) = 0;
    // False: not made with that secret. Takes the same time for every forgery.
    [[nodiscard]] virtual bool read_token(std::string_view secret, std::string_view token,
                                          std::vector<std::byte>& content) = 0;
};

}  // namespace ursula::shard
