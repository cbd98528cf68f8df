// bare-fan: the least work of an SSE fan-out. A GET makes its connection a reader; each POST's body
// is encoded once as a data event with its control event in one HTTP chunk, and sent to every
// reader by one send entry each. A reader that has a send in flight gets its frames one after the
// other. The server's SSE figures are ratios to this loop's.
#include <algorithm>
#include <array>
#include <string>

#include "tools/bare/arguments.h"
#include "tools/bare/http_loop.h"
#include "tools/bare/replies.h"

namespace {

using namespace ursula::bare;

constexpr std::string_view stream_head =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
    "Transfer-Encoding: chunked\r\n\r\n";
constexpr std::size_t frames_max = 1024;  // a reader further behind than this ends the run

class BareFan {
  public:
    struct Connection : HttpLoop<BareFan>::Base {
        std::string body;
        std::uint64_t next = 0;  // the frame to send after the one in flight
        std::size_t place = 0;   // in readers_
        bool reader = false;
        bool answering = false;   // the send in flight is a reply or a stream's head
        std::size_t waiting = 0;  // POSTs without a reply in flight
    };

    explicit BareFan(const Arguments& arguments)
        : stop_after_(arguments.stop_after), loop_(*this, arguments.port) {}
    void run() { loop_.run(); }

    void on_body(Connection& connection, const char* data, std::size_t bytes) {
        connection.body.append(data, bytes);
    }
    void on_request(Connection& connection) {
        if (connection.parser.method == HTTP_GET) {
            if (!connection.reader) {
                connection.reader = true;
                connection.answering = true;
                connection.next = encoded_;
                connection.place = readers_.size();
                readers_.push_back(&connection);
                loop_.send(connection, stream_head.data(), stream_head.size());
            }
            return;
        }
        encode(connection.body);
        connection.body.clear();
        ++connection.waiting;
        for (Connection* reader : readers_) {
            if (!reader->sending) {
                send_next(*reader);
            }
        }
    }
    void on_received(Connection& connection) {
        if (connection.waiting > 0 && !connection.sending) {
            --connection.waiting;
            connection.answering = true;
            loop_.send(connection, no_content.data(), no_content.size());
        }
    }
    void on_sent(Connection& connection, std::size_t) {
        if (connection.answering) {
            connection.answering = false;
            if (!connection.reader && stop_after_ > 0 && ++answered_ >= stop_after_) {
                loop_.stop();
            }
        }
        if (connection.reader && connection.next < encoded_) {
            send_next(connection);
        } else {
            on_received(connection);
        }
    }
    void on_closed(Connection& connection) {
        if (connection.reader) {
            readers_.back()->place = connection.place;
            readers_[connection.place] = readers_.back();
            readers_.pop_back();
        }
    }
    void on_completion(std::uint64_t, int) {}
    void on_turn() {}

  private:
    void encode(std::string_view body) {
        offset_ += body.size();
        char number[40];
        std::snprintf(number, sizeof number, "%016u_%016llu", 0u,
                      static_cast<unsigned long long>(offset_));
        std::string events = "id: ";
        events.append(number).append("\nevent: data\ndata:").append(body);
        events.append("\n\nid: ")
            .append(number)
            .append("\nevent: control\ndata:{\"streamNextOffset\":\"");
        events.append(number).append("\",\"streamCursor\":\"3347257\",\"upToDate\":true}\n\n");
        char size[20];
        std::snprintf(size, sizeof size, "%zx\r\n", events.size());
        std::string& frame = frames_[encoded_ % frames_max];
        frame.assign(size).append(events).append("\r\n");
        ++encoded_;
    }
    void send_next(Connection& reader) {
        if (encoded_ - reader.next >= frames_max) {
            die("a reader is too far behind", ENOBUFS);
        }
        const std::string& frame = frames_[reader.next % frames_max];
        ++reader.next;
        loop_.send(reader, frame.data(), frame.size());
    }

    std::uint64_t stop_after_;
    std::uint64_t answered_ = 0;
    std::uint64_t offset_ = 0;
    std::uint64_t encoded_ = 0;  // frames so far
    std::array<std::string, frames_max> frames_;
    std::vector<Connection*> readers_;
    HttpLoop<BareFan> loop_;
};

}  // namespace

int main(int argc, char** argv) {
    const Arguments arguments =
        parse_arguments(argc, argv, "bare-fan: each POST is one frame, sent to every GET");
    pin_to(arguments.cpu);
    BareFan(arguments).run();
    return 0;
}
