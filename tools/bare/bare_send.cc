// bare-send: the least work of catch-up. Every request is answered by one long body, sent as 64 KiB
// pieces of one warm buffer, one send in flight per connection. The server's catch-up figure is a
// ratio to this loop's bytes per second.
#include <algorithm>
#include <string>

#include "tools/bare/arguments.h"
#include "tools/bare/http_loop.h"

namespace {

using namespace ursula::bare;

constexpr std::size_t piece_bytes = 64 << 10;

class BareSend {
  public:
    struct Connection : HttpLoop<BareSend>::Base {
        std::size_t waiting = 0;  // requests whose answer has not begun
        std::uint64_t left = 0;   // of the body being sent
    };

    explicit BareSend(const Arguments& arguments)
        : stop_after_(arguments.stop_after),
          chunk_bytes_(arguments.chunk_bytes),
          head_(
              "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
              "Stream-Next-Offset: 0000000000000000_0000000000065536\r\nContent-Length: " +
              std::to_string(arguments.chunk_bytes) + "\r\n\r\n"),
          piece_(piece_bytes, 'x'),
          loop_(*this, arguments.port) {}
    void run() { loop_.run(); }

    void on_body(Connection&, const char*, std::size_t) {}
    void on_request(Connection& connection) { ++connection.waiting; }
    void on_received(Connection& connection) {
        if (connection.waiting > 0 && connection.left == 0 && !connection.sending) {
            --connection.waiting;
            connection.left = chunk_bytes_ + head_.size();
            loop_.send(connection, head_.data(), head_.size());
        }
    }
    void on_sent(Connection& connection, std::size_t bytes) {
        connection.left -= std::min<std::uint64_t>(bytes, connection.left);
        if (connection.left > 0) {
            loop_.send(connection, piece_.data(),
                       std::min<std::uint64_t>(connection.left, piece_bytes));
            return;
        }
        if (stop_after_ > 0 && ++answered_ >= stop_after_) {
            loop_.stop();
        }
        on_received(connection);
    }
    void on_closed(Connection&) {}
    void on_completion(std::uint64_t, int) {}
    void on_turn() {}

  private:
    std::uint64_t stop_after_;
    std::uint64_t answered_ = 0;
    std::uint64_t chunk_bytes_;
    std::string head_;
    std::string piece_;
    HttpLoop<BareSend> loop_;
};

}  // namespace

int main(int argc, char** argv) {
    const Arguments arguments = parse_arguments(
        argc, argv, "bare-send: any request is answered by 64 KiB sends of one buffer");
    pin_to(arguments.cpu);
    BareSend(arguments).run();
    return 0;
}
