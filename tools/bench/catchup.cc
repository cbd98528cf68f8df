#include "tools/bench/catchup.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tools/bare/ring.h"
#include "tools/bench/body.h"
#include "tools/bench/client.h"
#include "tools/bench/response_parser.h"

namespace ursula::bench {
namespace {

constexpr std::size_t head_receive_bytes =
    16 << 10;  // while a head is awaited: little body comes with it
constexpr std::size_t body_receive_bytes = 256 << 10;  // body that is looked at
constexpr std::size_t discard_bytes_max =
    1 << 20;  // body the kernel drops instead of copying (MSG_TRUNC)

// What all connections share.
struct Run {
    const Options& options;
    std::uint64_t stream_bytes;
    std::string pattern;  // the stream's bytes repeat it; empty when they cannot be foretold
    bool inside = false;  // the window is open
    CatchupResult result;
};

class Connection {
  public:
    explicit Connection(Run& run)
        : run_(run), fd_(connect_to(run.options)), buffer_(body_receive_bytes, '\0') {}
    ~Connection() { close(fd_); }
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    // Queues the next request; its receive is queued when the send is done.
    void request(bare::Ring& ring) {
        request_ = fmt::format("GET {}?offset={} HTTP/1.1\r\nHost: {}:{}\r\n\r\n",
                               path_of_stream(run_.options, 0), offset_, run_.options.address,
                               run_.options.port);
        responded_ = false;
        sending_ = true;
        io_uring_sqe* sqe = ring.sqe();
        io_uring_prep_send(sqe, fd_, request_.data(), request_.size(), MSG_WAITALL | MSG_NOSIGNAL);
        sqe->user_data = reinterpret_cast<std::uint64_t>(this);
    }
    void complete(bare::Ring& ring, int result) {
        if (result <= 0) {
            fail(fmt::format("a catch-up connection ended: {}",
                             result == 0 ? "end of stream" : std::strerror(-result)));
        }
        const auto bytes = static_cast<std::size_t>(result);
        if (sending_) {
            sending_ = false;
        } else if (discarding_) {
            count(bytes);
            parser_.skip_body(bytes, *this);
        } else if (!parser_.feed({buffer_.data(), bytes}, *this)) {
            fail("a catch-up reply is no HTTP response");
        }
        if (responded_) {
            request(ring);
        } else {
            receive(ring);
        }
    }

    void on_head(int status, std::string_view head) {
        if (status != 200) {
            fail(fmt::format("a read answered {}:\n{}", status, head));
        }
        next_offset_ = find_header(head, "stream-next-offset");
        up_to_date_ = find_header(head, "stream-up-to-date") == "true";
    }
    void on_body(std::string_view bytes) {
        if (first_pass_ && !run_.pattern.empty()) {
            check(bytes);
        }
        count(bytes.size());
    }
    void on_end() {
        responded_ = true;
        run_.result.responses += run_.inside ? 1 : 0;
        if (!up_to_date_) {
            if (next_offset_ == offset_ && run_.stream_bytes > 0) {
                fail("a read before the end did not advance");
            }
            offset_ = next_offset_;
            return;
        }
        if (pass_bytes_ != run_.stream_bytes && !run_.options.is_json()) {
            fail(fmt::format("a read of the whole stream gave {} of {} bytes", pass_bytes_,
                             run_.stream_bytes));
        }
        run_.result.passes += run_.inside ? 1 : 0;
        pass_bytes_ = 0;
        first_pass_ = false;
        offset_ = "-1";
    }

  private:
    void receive(bare::Ring& ring) {
        const bool look = first_pass_ && !run_.pattern.empty();
        discarding_ = parser_.body_left() > 0 && !look;
        std::size_t bytes = parser_.before_head() ? head_receive_bytes : body_receive_bytes;
        if (discarding_) {
            bytes = std::min<std::uint64_t>(parser_.body_left(), discard_bytes_max);
        }
        io_uring_sqe* sqe = ring.sqe();
        io_uring_prep_recv(sqe, fd_, discarding_ ? nullptr : buffer_.data(), bytes,
                           discarding_ ? MSG_TRUNC : 0);
        sqe->user_data = reinterpret_cast<std::uint64_t>(this);
    }
    void count(std::size_t bytes) {
        pass_bytes_ += bytes;
        run_.result.body_bytes += run_.inside ? bytes : 0;
    }
    void check(std::string_view bytes) const {
        std::size_t at = pass_bytes_ % run_.pattern.size();
        while (!bytes.empty()) {
            const std::size_t part = std::min(bytes.size(), run_.pattern.size() - at);
            if (bytes.substr(0, part) != std::string_view{run_.pattern}.substr(at, part)) {
                fail(fmt::format("the bytes read near {} are not those appended", pass_bytes_));
            }
            bytes.remove_prefix(part);
            at = 0;
        }
    }

    Run& run_;
    int fd_;
    ResponseParser parser_;
    std::string buffer_;
    std::string request_;
    std::string offset_ = "-1";
    std::string next_offset_;
    std::uint64_t pass_bytes_ = 0;
    bool first_pass_ = true;
    bool sending_ = false;
    bool discarding_ = false;
    bool responded_ = false;
    bool up_to_date_ = false;
};

}  // namespace

CatchupResult run_catchup(const Options& options, std::uint64_t stream_bytes) {
    Run run{options, stream_bytes, {}, false, {}};
    if (stream_bytes > 0 && !options.is_json()) {
        run.pattern = make_body(options, false).text;
    }
    bare::Ring ring(1024, 4096);
    std::vector<std::unique_ptr<Connection>> connections;
    for (std::size_t i = 0; i < options.connections; ++i) {
        connections.push_back(std::make_unique<Connection>(run));
        connections.back()->request(ring);
    }
    const std::int64_t begin = clock_ns() + static_cast<std::int64_t>(options.warmup_s * 1e9);
    const std::int64_t end = begin + static_cast<std::int64_t>(options.duration_s * 1e9);
    double cpu_at_begin = 0;
    for (std::int64_t now = clock_ns(); now < end; now = clock_ns()) {
        if (!run.inside && now >= begin) {
            run.inside = true;
            cpu_at_begin = cpu_seconds();
        }
        ring.submit_and_wait_for(options.spin ? 0 : (run.inside ? end : begin) - now);
        ring.reap([&ring](std::uint64_t user_data, int result, std::uint32_t) {
            reinterpret_cast<Connection*>(user_data)->complete(ring, result);
        });
    }
    run.result.seconds = static_cast<double>(end - begin) / 1e9;
    run.result.generator_cpu = (cpu_seconds() - cpu_at_begin) / run.result.seconds;
    return run.result;
}

}  // namespace ursula::bench
