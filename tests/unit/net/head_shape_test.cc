// The claim of net/head_shape.h: heads of one shape read the same to llhttp. Each head below has a
// field of its own name, so that llhttp is really shown every one.
#include "net/head_shape.h"

#include <doctest/doctest.h>

#include <memory>
#include <string>

#include "net/http_parser.h"

using namespace ursula;
using net::HttpParser;
using net::ReadEvent;
using net::Request;
using net::RequestReader;

namespace {

class Reading {
  public:
    // Reads one request without a body; false when it was refused.
    bool accepts(const std::string& head) {
        RequestReader reader;
        reader.feed(base::as_bytes(head));
        const ReadEvent event = reader.next(parser, *request);
        reader.reset(parser);
        parser.end_turn();
        return event == ReadEvent::request_ready || event == ReadEvent::head_ready;
    }
    std::string unique() { return "x" + std::to_string(++count_) + ": y\r\n"; }

    HttpParser parser{1 << 20};
    std::unique_ptr<Request> request = std::make_unique<Request>();

  private:
    int count_ = 0;
};

}  // namespace

TEST_CASE("llhttp reads any printable target and value alike") {
    Reading reading;
    for (int c = 0x20; c < 0x7f; ++c) {
        const auto byte = static_cast<char>(c);
        INFO(c);
        if (byte != ' ' && byte != '#') {
            for (const std::string& target :
                 {std::string("/") + byte, std::string("/a") + byte + "b",
                  std::string("/a?") + byte, std::string("/a?b") + byte + "c",
                  std::string("/a/") + byte + byte}) {
                CHECK(reading.accepts("GET " + target + " HTTP/1.1\r\nHost: h\r\n" +
                                      reading.unique() + "\r\n"));
            }
        }
        for (std::size_t i = 1; i < static_cast<std::size_t>(net::KnownHeader::count); ++i) {
            const auto header = static_cast<net::KnownHeader>(i);
            // These have a grammar of their own here, or their value is part of the shape.
            if (header == net::KnownHeader::host || header == net::KnownHeader::expect ||
                header == net::KnownHeader::content_length ||
                header == net::KnownHeader::transfer_encoding ||
                header == net::KnownHeader::connection || header == net::KnownHeader::upgrade) {
                continue;
            }
            for (const std::string& value : {std::string(1, byte), std::string("a") + byte + "b",
                                             std::string(3, byte) + ","}) {
                REQUIRE(reading.accepts("POST / HTTP/1.1\r\nHost: h\r\n" +
                                        std::string(net::name_of(header)) + ": " + value + "\r\n" +
                                        reading.unique() + "\r\n"));
            }
        }
    }
    for (const char* length : {"0", "1", "12", "007", "00000000000000000", "1048576"}) {
        CHECK(reading.accepts("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: " +
                              std::string(length) + "\r\n" + reading.unique() + "\r\n"));
    }
    for (const char* host : {"h", "[::1]:80", "$&'()*+,-.;=_", "0:9;"}) {
        CHECK(reading.accepts("GET / HTTP/1.1\r\nHost: " + std::string(host) + "\r\n" +
                              reading.unique() + "\r\n"));
    }
    CHECK(reading.parser.disagreements() == 0);
    CHECK(reading.parser.heads_shown_to_llhttp() > 7000);
}

TEST_CASE("llhttp is shown each shape once") {
    Reading reading;
    const auto shown = [&](const std::string& head) {
        const std::uint64_t before = reading.parser.heads_shown_to_llhttp();
        CHECK(reading.accepts(head));
        return reading.parser.heads_shown_to_llhttp() - before;
    };
    CHECK(shown("POST /a HTTP/1.1\r\nHost: h\r\nProducer-Seq: 1\r\n\r\n") == 1);
    CHECK(shown("POST /b?c HTTP/1.1\r\nHost: i\r\nproducer-seq: 22\r\n\r\n") == 0);
    CHECK(shown("PUT /b HTTP/1.1\r\nHost: i\r\nProducer-Seq: 1\r\n\r\n") == 1);
    CHECK(shown("POST /b HTTP/1.0\r\nHost: i\r\nProducer-Seq: 1\r\n\r\n") == 1);
    CHECK(shown("POST /b HTTP/1.1\r\nProducer-Seq: 1\r\nHost: i\r\n\r\n") == 1);
    CHECK(shown("POST /b HTTP/1.1\r\nHost: i\r\nConnection: close\r\n\r\n") == 1);
    CHECK(shown("POST /c HTTP/1.1\r\nHost: i\r\nConnection: close\r\n\r\n") == 0);
    CHECK(shown("POST /b HTTP/1.1\r\nHost: i\r\nConnection: Close\r\n\r\n") == 1);
    CHECK(shown("POST /b HTTP/1.1\r\nHost: i\r\nX: 1\r\n\r\n") == 1);
    CHECK(shown("POST /b HTTP/1.1\r\nHost: i\r\nX: 2\r\n\r\n") == 1);
    // What has no shape is shown always, but for heads that are the same byte for byte.
    CHECK(shown("POST /b HTTP/1.1\r\nHost: i\r\nProducer-Id: \xc3\xa4\r\n\r\n") == 1);
    CHECK(shown("POST /b HTTP/1.1\r\nHost: i\r\nProducer-Id: \xc3\xb6\r\n\r\n") == 1);
    CHECK(shown("POST http://i/b HTTP/1.1\r\nHost: i\r\n\r\n") == 1);
    CHECK(shown("POST http://i/c HTTP/1.1\r\nHost: i\r\n\r\n") == 1);
    std::string many = "POST /b HTTP/1.1\r\nHost: i\r\n";
    for (int i = 0; i < 20; ++i) {
        many += "X-Custom: value\r\n";
    }
    CHECK(shown(many + "Stream-Seq: 1\r\n\r\n") == 1);
    CHECK(shown(many + "Stream-Seq: 2\r\n\r\n") == 1);
}
