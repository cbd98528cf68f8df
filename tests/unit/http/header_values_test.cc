#include "http/header_values.h"

#include <doctest/doctest.h>

#include <string>

#include "base/limits.h"
#include "net/http_parser.h"

using namespace ursula;
using namespace ursula::http;

namespace {

// The headers of a request that the parser accepted.
class Parsed {
  public:
    explicit Parsed(const std::string& lines)
        : text_("POST /s HTTP/1.1\r\nHost: h\r\n" + lines + "\r\n") {
        reader_.feed(base::as_bytes(text_));
        REQUIRE(reader_.next(parser_, request_) == net::ReadEvent::request_ready);
    }
    ~Parsed() { reader_.reset(parser_); }
    Parsed(const Parsed&) = delete;
    Parsed& operator=(const Parsed&) = delete;
    const net::Headers& headers() const { return request_.headers; }

  private:
    std::string text_;
    net::HttpParser parser_{1000};
    net::RequestReader reader_;
    net::Request request_;
};

bool closed(const std::string& lines) {
    return says_closed(Parsed(lines).headers());
}

std::string repeated(const std::string& lines) {
    return std::string(repeated_header(Parsed(lines).headers()));
}

// 0: it may be stored.
int coding(const std::string& lines) {
    Problem problem;
    return check_coding(Parsed(lines).headers(), problem) ? 0 : problem.status;
}

struct Read {
    bool good;
    api::Producer producer;
    std::string id;
    Problem problem;
};
Read producer(const std::string& lines) {
    const Parsed parsed(lines);
    Read read{};
    read.good = read_producer(parsed.headers(), read.producer, read.problem);
    read.id = read.producer.id;
    return read;
}

}  // namespace

TEST_CASE("Stream-Closed is true in any case, else absent") {
    CHECK(closed("Stream-Closed: true\r\n"));
    CHECK(closed("stream-closed: TrUe\r\n"));
    for (const std::string value : {"", "false", "1", "yes", "true,true", "tru", "truee"}) {
        CHECK_FALSE(closed("Stream-Closed: " + value + "\r\n"));
    }
    CHECK_FALSE(closed(""));
    // Two lines are one list, which is not `true`.
    CHECK_FALSE(closed("Stream-Closed: true\r\nStream-Closed: true\r\n"));
    CHECK(repeated("Stream-Closed: true\r\nStream-Closed: true\r\n").empty());
}

TEST_CASE("headers of the protocol stand once") {
    for (const std::string name :
         {"Content-Type", "Content-Encoding", "Stream-Seq", "Stream-TTL", "Producer-Id",
          "Producer-Epoch", "Producer-Seq", "Last-Event-ID"}) {
        CAPTURE(name);
        CHECK(repeated(name + ": a\r\n").empty());
        CHECK(repeated(name + ": a\r\nX-Other: b\r\n" + name + ": a\r\n") == name);
        CHECK(repeated(name + ":\r\n" + name + ":\r\n") == name);
    }
    CHECK(repeated("If-None-Match: \"a\"\r\nIf-None-Match: \"b\"\r\n").empty());
    CHECK(repeated("Accept: a\r\nAccept: b\r\n").empty());
    CHECK(repeated("X-Own: a\r\nX-Own: b\r\n").empty());
}

TEST_CASE("bodies have no coding but identity") {
    CHECK(coding("") == 0);
    CHECK(coding("Content-Encoding: identity\r\n") == 0);
    CHECK(coding("Content-Encoding: IDENTITY\r\n") == 0);
    for (const std::string value : {"gzip", "", "identity, gzip", "br", "identityy"}) {
        CHECK(coding("Content-Encoding: " + value + "\r\n") == 415);
    }
}

TEST_CASE("producer numbers are digits up to 2^53 - 1") {
    CHECK(parse_producer_number("0") == 0u);
    CHECK(parse_producer_number("007") == 7u);
    CHECK(parse_producer_number("9007199254740991") == base::limits::producer_number_max);
    CHECK(parse_producer_number(std::string(63, '0') + "1") == 1u);
    CHECK_FALSE(parse_producer_number("9007199254740992"));
    CHECK_FALSE(parse_producer_number("90071992547409910"));
    CHECK_FALSE(parse_producer_number("18446744073709551616"));
    CHECK_FALSE(parse_producer_number(std::string(64, '0') + "1"));
    for (const std::string_view bad : {"", "-1", "+1", " 1", "1 ", "1.0", "0x1", "1e3", "one"}) {
        CHECK_FALSE(parse_producer_number(bad));
    }
}

TEST_CASE("producer headers come together and in their bounds") {
    const Read none = producer("");
    CHECK(none.good);
    CHECK_FALSE(none.producer.present);
    const Read all = producer("Producer-Id: p 1\r\nProducer-Epoch: 2\r\nProducer-Seq: 003\r\n");
    CHECK(all.good);
    CHECK(all.producer.present);
    CHECK(all.id == "p 1");
    CHECK(all.producer.epoch == 2);
    CHECK(all.producer.seq == 3);
    const std::string id = "Producer-Id: p\r\n";
    const std::string epoch = "Producer-Epoch: 0\r\n";
    const std::string seq = "Producer-Seq: 0\r\n";
    for (const std::string& some : {id, epoch, seq, id + epoch, id + seq, epoch + seq}) {
        const Read read = producer(some);
        CHECK_FALSE(read.good);
        CHECK(read.problem.code == "producer_headers");
    }
    CHECK(producer("Producer-Id:\r\n" + epoch + seq).problem.code == "producer_id");
    const std::size_t max = base::limits::producer_id_bytes_max;
    CHECK(producer("Producer-Id: " + std::string(max, 'p') + "\r\n" + epoch + seq).good);
    CHECK_FALSE(producer("Producer-Id: " + std::string(max + 1, 'p') + "\r\n" + epoch + seq).good);
    CHECK(producer(id + epoch + "Producer-Seq: x\r\n").problem.code == "producer_number");
    CHECK(producer(id + "Producer-Epoch: -1\r\n" + seq).problem.code == "producer_number");
}

namespace {

struct ReadExpiry {
    bool good = false;
    api::Expiry::Kind kind = api::Expiry::Kind::none;
    std::int64_t ms = 0;
    std::string text;
    std::string code;
};
ReadExpiry expiry(const std::string& lines) {
    const Parsed parsed(lines);
    api::Expiry given;
    Problem problem;
    ReadExpiry read;
    read.good = read_expiry(parsed.headers(), given, problem);
    read.kind = given.kind;
    read.ms = given.ms;
    read.text = given.text;
    read.code = problem.code;
    return read;
}

}  // namespace

TEST_CASE("a window is digits without leading zeros, up to 2^53 - 1") {
    CHECK(expiry("").good);
    CHECK(expiry("").kind == api::Expiry::Kind::none);
    for (const std::string good : {"0", "1", "60", "3600", "9007199254740991"}) {
        const ReadExpiry read = expiry("Stream-TTL: " + good + "\r\n");
        CHECK(read.good);
        CHECK(read.kind == api::Expiry::Kind::ttl);
        CHECK(std::to_string(read.ms / 1000) == good);
        CHECK(read.text.empty());
    }
    for (const std::string bad :
         {"", "abc", "-1", "+60", "00060", "01", "00", "60.5", "1e3", "6 0", "9007199254740992",
          "99999999999999999999999999", "0x10", "60s", "60,60"}) {
        CAPTURE(bad);
        CHECK(expiry("Stream-TTL: " + bad + "\r\n").code == "ttl");
    }
}

TEST_CASE("an instant is kept as it is written") {
    const ReadExpiry read = expiry("Stream-Expires-At: 2030-01-01T02:00:00.5+02:00\r\n");
    CHECK(read.good);
    CHECK(read.kind == api::Expiry::Kind::at);
    CHECK(read.ms == 1'893'456'000'500);
    CHECK(read.text == "2030-01-01T02:00:00.5+02:00");
    CHECK(expiry("Stream-Expires-At: soon\r\n").code == "expires_at");
    CHECK(expiry("Stream-Expires-At:\r\n").code == "expires_at");
    CHECK(expiry("Stream-TTL: 1\r\nStream-Expires-At: 2030-01-01T00:00:00Z\r\n").code ==
          "two_expiries");
    CHECK(repeated("Stream-TTL: 1\r\nStream-TTL: 1\r\n") == "Stream-TTL");
    const std::string at = "Stream-Expires-At: 2030-01-01T00:00:00Z\r\n";
    CHECK(repeated(at + at) == "Stream-Expires-At");
}

TEST_CASE(
    "a fork's headers: a path, an offset of ours, a plain number, and none without a source") {
    const auto fork = [](const std::string& headers, ForkHeaders& out) {
        Problem problem;
        return read_fork(Parsed(headers).headers(), out, problem) ? std::string()
                                                                  : std::string(problem.code);
    };
    const std::string from = "Stream-Forked-From: /v1/stream/a\r\n";
    const std::string token = "0000000000000000_0000000000000012";
    ForkHeaders read;
    CHECK(fork("Content-Type: a/b\r\n", read).empty());
    CHECK(read.from.empty());
    CHECK(fork(from + "Stream-Fork-Offset: " + token + "\r\nStream-Fork-Sub-Offset: 3\r\n", read)
              .empty());
    CHECK(read.has_offset);
    CHECK(read.offset == 12);
    CHECK(read.sub_offset == 3);
    const auto code = [&](const std::string& headers) {
        ForkHeaders out;
        return fork(headers, out);
    };
    CHECK(code("Stream-Fork-Offset: " + token + "\r\n") == "fork_without_source");
    CHECK(code("Stream-Fork-Sub-Offset: 0\r\n") == "fork_without_source");
    for (const std::string path : {"a", "http://h/v1/stream/a", "/v1/stream/a?x", "/a#b"}) {
        CHECK(code("Stream-Forked-From: " + path + "\r\n") == "forked_from");
    }
    CHECK(code("Stream-Forked-From:\r\n") == "forked_from");
    for (const std::string offset : {"-1", "now", "12", "0_12"}) {
        CHECK(code(from + "Stream-Fork-Offset: " + offset + "\r\n") == "fork_offset");
    }
    CHECK(code(from + "Stream-Fork-Offset: 9999999999999999_9999999999999999\r\n").empty());
    for (const std::string number : {"-1", "abc", "1.5", "05", "+1", "9007199254740992"}) {
        CHECK(code(from + "Stream-Fork-Sub-Offset: " + number + "\r\n") == "fork_sub_offset");
    }
    CHECK(code(from + "Stream-Fork-Sub-Offset:\r\n") == "fork_sub_offset");
    CHECK(code(from + "Stream-Fork-Sub-Offset: 0\r\n").empty());
    CHECK(repeated(from + from) == "Stream-Forked-From");
}
