// bare-http: the least work a server can do per request on this kernel. It parses with llhttp,
// keeps nothing, answers 204 with an offset header. The server's figures in memory are ratios to
// this loop's (notes: performance 7).
#include <algorithm>

#include "tools/bare/arguments.h"
#include "tools/bare/http_loop.h"
#include "tools/bare/replies.h"

namespace {

using namespace ursula::bare;

class BareHttp {
  public:
    struct Connection : HttpLoop<BareHttp>::Base {
        std::size_t waiting = 0;    // requests without a reply in flight
        std::size_t in_flight = 0;  // replies in the send
    };

    explicit BareHttp(const Arguments& arguments)
        : stop_after_(arguments.stop_after), loop_(*this, arguments.port) {}
    void run() { loop_.run(); }

    void on_body(Connection&, const char*, std::size_t bytes) { body_bytes_ += bytes; }
    void on_request(Connection& connection) { ++connection.waiting; }
    void on_received(Connection& connection) {
        if (connection.waiting > 0 && !connection.sending) {
            connection.in_flight = std::min(connection.waiting, Replies::count_max);
            connection.waiting -= connection.in_flight;
            loop_.send(connection, replies_.data(), connection.in_flight * no_content.size());
        }
    }
    void on_sent(Connection& connection, std::size_t) {
        answered_ += connection.in_flight;
        if (stop_after_ > 0 && answered_ >= stop_after_) {
            loop_.stop();
        }
        on_received(connection);
    }
    void on_closed(Connection&) {}
    void on_completion(std::uint64_t, int) {}
    void on_turn() {}

  private:
    Replies replies_;
    std::uint64_t stop_after_;
    std::uint64_t answered_ = 0;
    std::uint64_t body_bytes_ = 0;
    HttpLoop<BareHttp> loop_;
};

}  // namespace

int main(int argc, char** argv) {
    const Arguments arguments =
        parse_arguments(argc, argv, "bare-http: llhttp on io_uring, a fixed 204");
    pin_to(arguments.cpu);
    BareHttp(arguments).run();
    return 0;
}
