// The generator: connections that append, in closed or open loop, and connections that tail by SSE,
// on one ring and one thread. Catch-up reads are in catchup.h.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tools/bare/ring.h"
#include "tools/bench/body.h"
#include "tools/bench/histogram.h"
#include "tools/bench/options.h"
#include "tools/bench/response_parser.h"
#include "tools/bench/sse_parser.h"

namespace ursula::bench {

struct LoadResult {
    Histogram append_ns;         // closed loop: from the send; open loop: from when it was due
    Histogram delivery_ns;       // from when the append was due to the parsed event
    std::uint64_t appends = 0;   // acknowledged inside the window
    std::uint64_t acked = 0;     // acknowledged in all, warm-up and drain included
    std::uint64_t not_sent = 0;  // open loop: due but not sent when the window ended
    // Deliveries: one is due per acknowledged append and reader of its stream.
    std::uint64_t expected = 0;
    std::uint64_t delivered = 0;
    std::uint64_t lost = 0;      // due to some reader, not delivered to it
    std::uint64_t repeated = 0;  // delivered to some reader beyond what was due
    double seconds = 0;          // length of the window
    double generator_cpu = 0;    // cores this process used inside it
    std::map<int, std::uint64_t> statuses;
};

class Load {
  public:
    explicit Load(const Options& options);
    ~Load();
    Load(const Load&) = delete;
    Load& operator=(const Load&) = delete;

    // PUT of the bucket and of every stream; 201 and 200 are fine.
    void create_streams();
    // Appends until the stream 0 .. streams-1 hold `count` more between them, in closed loop,
    // unmeasured.
    void fill(std::uint64_t count);
    // Connects the readers and returns when each has its response head.
    void connect_readers();
    // Appends as the options say and returns what was seen.
    LoadResult run();
    // Serves the connections without appending: for `seconds`, or until SIGTERM or SIGINT when 0.
    void hold(double seconds);

  private:
    enum class Work { none, create, append };
    struct Connection;
    struct Writer;
    struct Reader;
    struct Pending {
        std::int64_t since_ns;
        std::size_t stream;
    };

    void connect_writers();
    void drive(Work work, std::uint64_t count, double warmup_s, double duration_s,
               double rate_per_s);
    void wait_for_deliveries();
    void check_tails(const std::vector<std::uint64_t>& before);
    std::vector<std::uint64_t> read_tails();
    void add_due(std::int64_t now_ns);
    bool may_send(const Writer& writer) const;
    void fill_pipeline(Writer& writer);
    void build_request(Writer& writer, std::int64_t due_ns);
    void send(Connection& connection);
    void arm(Connection& connection);
    void turn(std::int64_t wait_ns);
    void complete(std::uint64_t user_data, int result, std::uint32_t flags);
    void on_received(Connection& connection, int result, std::uint32_t flags);
    void on_closed(Connection& connection, int result);
    void on_reply(Writer& writer);
    void on_delivery(Reader& reader, std::int64_t since_ns);
    void request_tail(Reader& reader);
    std::uint64_t deliveries_expected() const;

    const Options& options_;
    bare::Ring ring_;
    bare::BufferRing buffers_;
    Body body_;
    std::string
        append_head_;  // of the request, from behind the path to before the producer headers
    std::string create_head_;
    std::string producer_prefix_;  // distinct for each process, so a second run is no duplicate
    std::vector<std::unique_ptr<Writer>> writers_;
    std::vector<std::unique_ptr<Reader>> readers_;
    std::vector<Connection*> starved_;  // receive to be armed again
    std::vector<std::uint64_t> acked_per_stream_;
    std::size_t readers_ready_ = 0;

    // Of the drive() that is going on.
    Work work_ = Work::none;
    bool issuing_ = false;
    bool server_ended_ = false;
    std::uint64_t limit_ = 0;  // requests in all, 0 = by time
    std::uint64_t issued_ = 0;
    std::uint64_t outstanding_ = 0;
    std::int64_t window_begin_ns_ = 0;
    std::int64_t window_end_ns_ = 0;
    std::int64_t last_reply_ns_ = 0;
    double due_step_ns_ = 0;  // open loop: time between two appends; 0 in closed loop
    std::int64_t due_start_ns_ = 0;
    std::uint64_t due_count_ = 0;
    std::deque<std::int64_t> due_;  // not yet sent
    std::size_t next_writer_ = 0;
    LoadResult result_;
};

}  // namespace ursula::bench
