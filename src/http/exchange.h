// Exchange: one request being answered, from its parse to the last byte of its response. Exchanges
// of a connection form a list in request order; responses leave in that order whatever the order of
// the answers (RFC 9112 9.3.2).
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "api/call.h"
#include "http/form.h"
#include "net/output_buffer.h"
#include "net/transport.h"

namespace ursula::admin {
class Task;
}

namespace ursula::http {

class Tail;
struct SubscriptionAsk;

enum class Asked : std::uint8_t {
    nothing,  // answered at once
    append,
    stream_type,  // append: refused for its Content-Type, whose answer names the stream's
    create,
    remove,
    head,
    read,
    tail,  // long-poll or SSE
    create_bucket,
    remove_bucket,
    list_buckets,
    list_streams,
    admin,
    subscription,
};

// A create outside the built-in namespace waits for its bucket's id, so it owns what the call will
// look at.
struct WaitingCreate {
    std::string name;
    std::string content_type;
    std::string body;
    std::string bucket;
    std::uint64_t hash = 0;
    base::GroupId group;
    api::Expiry expiry;      // its text is beside it
    std::string expires_at;  // as the client wrote it
    std::string source;      // of a fork; empty: it is none
    api::ForkCall fork;      // its texts are beside it
    bool closed = false;
    bool making_bucket = false;  // server.auto_create_buckets: the bucket is being created
};

// What a listing asks for, and the answers of all shards, merged when the last is in.
struct Listing {
    std::string bucket;
    std::string prefix;
    std::string after;
    std::vector<std::string> parts;
    std::uint32_t waiting = 0;
    std::uint32_t count_max = 0;
    bool more = false;
};

// A read that will be 400 unless its stream is missing, which is told first.
enum class BadQuery : std::uint8_t { none, offset_missing, offset_malformed, repeated };

struct Exchange {
    Exchange();
    ~Exchange();

    std::uint32_t index = 0;       // of itself
    std::uint32_t generation = 1;  // a reply with another one is for a request that went away
    std::uint32_t next = 0;        // in its connection's list or the free list; 0 ends it
    Asked asked = Asked::nothing;
    std::uint8_t method = 0;  // net::Method, for the counters
    bool keep_alive = true;
    bool http_1_0 = false;
    bool head_only = false;   // HEAD: the response has no body
    bool done = false;        // answered, waiting for earlier ones
    bool held_aside = false;  // not the first of its connection: the response is kept in `held`
    bool has_origin = false;
    bool from_now = false;  // read: offset=now
    Form form;              // read or tail: of a body that ends
    BadQuery bad_query = BadQuery::none;
    base::ShardId shard;  // that works on it
    net::ConnectionId connection;
    std::int64_t started_ns = 0;
    std::string path;  // raw, as sent; kept for hints and Location
    std::string host;
    std::string origin;  // CORS with an origin list
    std::string if_none_match;
    std::string content_type;  // append: as sent
    std::string redirect_to;   // "Prefer: redirect": the target as sent; empty: not asked for
    std::unique_ptr<net::OutputBuffer> held;  // a response finished before an earlier one
    std::unique_ptr<WaitingCreate> create;
    std::unique_ptr<Listing> listing;
    std::unique_ptr<admin::Task> admin;
    std::unique_ptr<SubscriptionAsk> subscription;
    Tail* tail = nullptr;  // owned by the TailHub

    api::CallId call_id() const {
        return api::CallId((static_cast<std::uint64_t>(generation & 0x00ff'ffffu) << 32) | index);
    }
};

// Exchanges by index; index 0 is never given out. Memory is kept and reused.
class Exchanges {
  public:
    Exchanges() { items_.emplace_back(); }
    Exchange& take();
    void give(Exchange& exchange);
    Exchange& at(std::uint32_t index) { return items_[index]; }
    // Null when the request that made the call is gone.
    Exchange* find(api::CallId id);

  private:
    std::deque<Exchange> items_;
    std::uint32_t free_ = 0;
};

}  // namespace ursula::http
