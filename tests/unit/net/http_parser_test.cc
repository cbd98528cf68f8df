#include "net/http_parser.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <set>
#include <sstream>

#include "base/limits.h"
#include "tests/support/count_allocations.h"
#include "tests/support/http_transcript.h"

using namespace ursula;
using net::HttpParser;
using net::KnownHeader;
using net::ReadEvent;
using net::Request;
using net::RequestReader;
using test_support::http_transcript;

namespace {

namespace limits = base::limits;

struct Exchange {
    std::string name;
    std::string bytes;
    std::string expected;
};

// "== name", then lines of request bytes behind "> " (escaped, nothing added), then what is made of
// them behind "< ".
std::vector<Exchange> load_exchanges() {
    std::vector<Exchange> exchanges;
    std::set<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::directory_iterator(GOLDEN_HTTP_DIR)) {
        if (entry.is_regular_file()) {  // served/ has whole exchanges, for tests/unit/http
            files.insert(entry.path());
        }
    }
    for (const auto& path : files) {
        std::ifstream file(path);
        std::string line;
        while (std::getline(file, line)) {
            if (line.starts_with("== ")) {
                exchanges.push_back({path.filename().string() + ": " + line.substr(3), "", ""});
            } else if (line.starts_with("> ")) {
                exchanges.back().bytes += test_support::unescape_bytes(line.substr(2));
            } else if (line.starts_with("< ")) {
                exchanges.back().expected += line.substr(2) + "\n";
            } else if (!line.empty() && !line.starts_with("#")) {
                FAIL("a golden line is none: ", line);
            }
        }
    }
    return exchanges;
}

std::string head_of_size(std::size_t size) {
    std::string head = "GET / HTTP/1.1\r\nHost: h\r\n";
    while (head.size() + 4 < size) {
        const std::size_t left = size - head.size() - 2;
        const std::size_t line = std::min<std::size_t>(left, 1000);
        // Never leaves a rest too short for a line of its own.
        const std::size_t this_line = left - line > 0 && left - line < 8 ? line - 8 : line;
        head += "a: " + std::string(this_line - 5, 'x') + "\r\n";
    }
    return head + "\r\n";
}

std::string last_line(const std::string& text) {
    const std::size_t at = text.rfind('\n', text.size() - 2);
    return at == std::string::npos ? text : text.substr(at + 1);
}

}  // namespace

TEST_CASE("golden exchanges") {
    const std::vector<Exchange> exchanges = load_exchanges();
    REQUIRE(exchanges.size() > 90);
    for (const Exchange& exchange : exchanges) {
        INFO(exchange.name);
        CHECK(http_transcript(exchange.bytes) == exchange.expected);
    }
}

TEST_CASE("golden exchanges cut at every byte, and a byte at a time") {
    for (const Exchange& exchange : load_exchanges()) {
        INFO(exchange.name);
        test_support::HttpTranscriptOptions options;
        const std::size_t step = exchange.bytes.size() > 2000 ? 211 : 1;
        for (std::size_t cut = 0; cut <= exchange.bytes.size(); cut += step) {
            INFO(cut);
            options.cuts = {cut};
            REQUIRE(http_transcript(exchange.bytes, options) == exchange.expected);
        }
        options.cuts.clear();
        for (std::size_t cut = 1; cut < exchange.bytes.size(); ++cut) {
            options.cuts.push_back(cut);
        }
        REQUIRE(http_transcript(exchange.bytes, options) == exchange.expected);
        options.cuts.clear();
        for (const bool put_back : {false, true}) {
            options.hold_after_each = true;
            options.put_back_each = put_back;
            REQUIRE(http_transcript(exchange.bytes, options) == exchange.expected);
        }
    }
}

TEST_CASE("limits of a head: at, one above, ten times") {
    const auto refusal = [](const std::string& bytes) { return last_line(http_transcript(bytes)); };
    SUBCASE("request line") {
        const auto head = [](std::size_t size) {
            return "GET /" + std::string(size - 14, 'a') + " HTTP/1.1\r\nHost: h\r\n\r\n";
        };
        CHECK(refusal(head(limits::request_line_bytes_max)) == "end\n");
        CHECK(refusal(head(limits::request_line_bytes_max + 1)) == "refused 414 target_too_long\n");
        CHECK(refusal(head(limits::request_line_bytes_max * 10)) ==
              "refused 414 target_too_long\n");
    }
    SUBCASE("one field") {
        const auto head = [](std::size_t size) {
            return "GET / HTTP/1.1\r\nHost: h\r\na: " + std::string(size - 3, 'x') + "\r\n\r\n";
        };
        CHECK(refusal(head(limits::header_field_bytes_max)) == "end\n");
        CHECK(refusal(head(limits::header_field_bytes_max + 1)) ==
              "refused 431 header_field_too_large\n");
        CHECK(refusal(head(limits::header_field_bytes_max * 10)) ==
              "refused 431 header_field_too_large\n");
    }
    SUBCASE("the whole head") {
        for (const std::size_t size : {std::size_t{500}, limits::header_bytes_max}) {
            const std::string head = head_of_size(size);
            REQUIRE(head.size() == size);
            CHECK(refusal(head) == "end\n");
        }
        for (const std::size_t size : {limits::header_bytes_max + 1, limits::header_bytes_max + 2,
                                       limits::header_bytes_max + 3, limits::header_bytes_max + 4,
                                       limits::header_bytes_max * 2}) {
            const std::string head = head_of_size(size);
            REQUIRE(head.size() == size);
            CHECK(refusal(head) == "refused 431 headers_too_large\n");
            // The end may come in a receive of its own.
            for (std::size_t back = 1; back < 6; ++back) {
                CHECK(last_line(http_transcript(head, {.cuts = {size - back}})) ==
                      "refused 431 headers_too_large\n");
            }
        }
    }
    SUBCASE("count") {
        const auto head = [](std::size_t count) {
            std::string text = "GET / HTTP/1.1\r\nHost: h\r\n";
            for (std::size_t i = 1; i < count; ++i) {
                text += "a: b\r\n";
            }
            return text + "\r\n";
        };
        CHECK(refusal(head(limits::header_count_max)) == "end\n");
        CHECK(refusal(head(limits::header_count_max + 1)) == "refused 431 too_many_headers\n");
        CHECK(refusal(head(limits::header_count_max * 10)) == "refused 431 too_many_headers\n");
    }
    SUBCASE("body") {
        const auto sized = [](std::size_t size) {
            return "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: " + std::to_string(size) +
                   "\r\n\r\n" + std::string(size, 'b');
        };
        const auto chunked = [](std::size_t size) {
            std::stringstream text;
            text << "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
                 << std::hex << size - 10 << "\r\n"
                 << std::string(size - 10, 'b') << "\r\na\r\n"
                 << std::string(10, 'c') << "\r\n0\r\n\r\n";
            return text.str();
        };
        const test_support::HttpTranscriptOptions options{.body_bytes_max = 1000};
        CHECK(last_line(http_transcript(sized(1000), options)) == "end\n");
        CHECK(last_line(http_transcript(chunked(1000), options)) == "end\n");
        for (const std::size_t size : {std::size_t{1001}, std::size_t{10000}}) {
            CHECK(last_line(http_transcript(sized(size), options)) ==
                  "refused 413 body_too_large\n");
            CHECK(last_line(http_transcript(chunked(size), options)) ==
                  "refused 413 body_too_large\n");
        }
    }
    SUBCASE("chunk line and extensions") {
        const auto post = [](const std::string& chunks) {
            return "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks +
                   "0\r\n\r\n";
        };
        const auto chunk = [](std::size_t line) {
            return "1;" + std::string(line - 2, 'e') + "\r\nx\r\n";
        };
        CHECK(refusal(post(chunk(limits::chunk_line_bytes_max))) == "end\n");
        CHECK(refusal(post(chunk(limits::chunk_line_bytes_max + 1))) ==
              "refused 400 chunk_line_too_long\n");
        std::string four;
        for (int i = 0; i < 4; ++i) {
            four += chunk(limits::chunk_line_bytes_max);  // 255 bytes of extension each
        }
        CHECK(refusal(post(four + chunk(5))) == "end\n");
        CHECK(refusal(post(four + chunk(6))) == "refused 400 chunk_line_too_long\n");
    }
    SUBCASE("chunks that are mostly framing") {
        std::string body;
        for (int i = 0; i < 20000; ++i) {
            body += "1\r\nx\r\n";  // a sixth is payload: tolerated
        }
        const std::string head = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
        CHECK(refusal(head + body + "0\r\n\r\n") == "end\n");
        std::string padded;
        for (int i = 0; i < 20000; ++i) {
            padded += "0000000000000001\r\nx\r\n";  // 21 bytes for one
        }
        CHECK(refusal(head + padded + "0\r\n\r\n") == "refused 400 chunks_too_small\n");
    }
}

TEST_CASE("known headers") {
    for (std::size_t i = 1; i < static_cast<std::size_t>(KnownHeader::count); ++i) {
        const auto header = static_cast<KnownHeader>(i);
        std::string name(net::name_of(header));
        CHECK(net::known_header(name) == header);
        for (std::size_t k = 0; k < name.size(); ++k) {
            std::string other = name;
            other[k] = other[k] == '-' ? '_' : static_cast<char>(other[k] ^ 0x20);
            CHECK(net::known_header(other) == (name[k] == '-' ? KnownHeader::none : header));
            other[k] = 'q';
            CHECK(net::known_header(other) == (name[k] == 'q' ? header : KnownHeader::none));
        }
        CHECK(net::known_header(name.substr(1)) == KnownHeader::none);
        CHECK(net::known_header(name + "s") == KnownHeader::none);
    }
    CHECK(net::known_header("") == KnownHeader::none);
    CHECK(net::known_header("t") == KnownHeader::none);
}

TEST_CASE("absent, empty and repeated are told apart") {
    HttpParser parser(1000);
    RequestReader reader;
    Request request;
    reader.feed(
        base::as_bytes("POST / HTTP/1.1\r\nHost: h\r\nProducer-Id:\r\nStream-Seq: a\r\n"
                       "STREAM-SEQ: b\r\n\r\n"));
    REQUIRE(reader.next(parser, request) == ReadEvent::request_ready);
    const net::Headers& headers = request.headers;
    CHECK(headers.has(KnownHeader::producer_id));
    CHECK(headers.get(KnownHeader::producer_id).empty());
    CHECK_FALSE(headers.has(KnownHeader::producer_epoch));
    CHECK(headers.get(KnownHeader::producer_epoch).empty());
    CHECK(headers.repeated(KnownHeader::stream_seq));
    CHECK(headers.get(KnownHeader::stream_seq) == "a");
    CHECK_FALSE(headers.repeated(KnownHeader::producer_id));
    CHECK(reader.next(parser, request) == ReadEvent::need_more);
    CHECK(reader.between_requests());
}

TEST_CASE("a head is offered before its body is there, once") {
    HttpParser parser(1000);
    RequestReader reader;
    Request request;
    reader.feed(base::as_bytes(
        "POST /a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"));
    REQUIRE(reader.next(parser, request) == ReadEvent::head_ready);
    CHECK(request.expect_continue);
    CHECK(request.path == "/a");
    CHECK(request.content_length == 5);
    CHECK(reader.next(parser, request) == ReadEvent::need_more);
    CHECK(reader.in_body());
    CHECK_FALSE(reader.between_requests());
    parser.end_turn();
    reader.feed(base::as_bytes("hel"));
    CHECK(reader.next(parser, request) == ReadEvent::need_more);
    CHECK(parser.held_bytes() > 3);
    CHECK(parser.body_bytes() == 5);  // whole from its head on
    parser.end_turn();
    reader.feed(base::as_bytes("loGET /b HTTP/1.1\r\nHost: h\r\n\r\n"));
    REQUIRE(reader.next(parser, request) == ReadEvent::request_ready);
    CHECK(request.path == "/a");
    CHECK(base::as_text(request.body) == "hello");
    const base::Bytes body = request.body;
    REQUIRE(reader.next(parser, request) == ReadEvent::request_ready);
    CHECK(request.path == "/b");
    CHECK(base::as_text(body) == "hello");  // stays for the turn
    CHECK(reader.next(parser, request) == ReadEvent::need_more);
    CHECK(parser.held_bytes() == 0);
    CHECK(parser.body_bytes() == 0);
    parser.end_turn();
}

TEST_CASE("unfinished bodies are counted until they are whole, stopped or reset") {
    HttpParser parser(1000);
    RequestReader reader;
    Request request;
    const auto feed = [&](std::string_view bytes) {
        reader.feed(base::as_bytes(bytes));
        const ReadEvent event = reader.next(parser, request);
        if (event != ReadEvent::need_more && event != ReadEvent::failed) {
            reader.hold(parser);
        }
        parser.end_turn();
        return event;
    };
    // A chunked one as it grows.
    constexpr std::string_view chunked =
        "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    CHECK(feed(chunked) == ReadEvent::head_ready);
    CHECK(parser.body_bytes() == 0);
    CHECK(feed("a\r\n0123") == ReadEvent::need_more);
    CHECK(parser.body_bytes() == 4);
    CHECK(feed("456789\r\n5\r\nab") == ReadEvent::need_more);
    CHECK(parser.body_bytes() == 12);
    CHECK(reader.counted_body_bytes() == 12);
    CHECK(feed("cde\r\n0\r\n\r\n") == ReadEvent::request_ready);
    CHECK(parser.body_bytes() == 0);
    // Given up in every way.
    constexpr std::string_view sized =
        "PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 500\r\n\r\nab";
    CHECK(feed(sized) == ReadEvent::head_ready);
    CHECK(parser.body_bytes() == 500);
    reader.stop(parser);
    CHECK(parser.body_bytes() == 0);
    reader.reset(parser);
    CHECK(feed(chunked) == ReadEvent::head_ready);
    CHECK(feed("3\r\nabcX") == ReadEvent::failed);
    CHECK(parser.body_bytes() == 0);
    reader.reset(parser);
    // A body that is dropped as it comes takes no room.
    CHECK(feed("GET /a HTTP/1.1\r\nHost: h\r\nContent-Length: 500\r\n\r\nab") ==
          ReadEvent::head_ready);
    CHECK(parser.body_bytes() == 0);
    CHECK(reader.counted_body_bytes() == 0);
    reader.reset(parser);
    // Whole, but put back: it counts until it is taken.
    reader.feed(base::as_bytes("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"));
    REQUIRE(reader.next(parser, request) == ReadEvent::request_ready);
    reader.put_back(parser, request);
    reader.hold(parser);
    CHECK(parser.body_bytes() == 3);
    REQUIRE(reader.next(parser, request) == ReadEvent::request_ready);
    CHECK(parser.body_bytes() == 0);
    CHECK(reader.next(parser, request) == ReadEvent::need_more);
    CHECK(parser.held_bytes() == 0);
    parser.end_turn();
}

TEST_CASE("what fails or is unfinished is known to be a HEAD, however it is cut") {
    struct Case {
        std::string_view bytes;
        ReadEvent event;
        bool head;
    };
    constexpr std::string_view next = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    constexpr Case cases[] = {
        {"HEAD /a HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999\r\n\r\n", ReadEvent::failed,
         true},
        {"HEAD /a HTTP/1.1\r\nHost h\r\n\r\n", ReadEvent::failed, true},
        {"HEAD /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nx", ReadEvent::failed,
         true},
        {"HEAD /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhe", ReadEvent::need_more, true},
        {"HEAD /a HT", ReadEvent::need_more, true},
        {"GET /a HTTP/1.1\r\nHost h\r\n\r\n", ReadEvent::failed, false},
        {"HEADER /a HTTP/1.1\r\nHost h\r\n\r\n", ReadEvent::failed, false},
        {"HEA", ReadEvent::need_more, false},
    };
    for (const Case& one : cases) {
        for (const std::string_view before : {std::string_view(), next}) {
            const std::string bytes = std::string(before) + std::string(one.bytes);
            for (std::size_t cut = 0; cut < bytes.size(); ++cut) {
                CAPTURE(bytes);
                CAPTURE(cut);
                HttpParser parser(1000);
                RequestReader reader;
                Request request;
                ReadEvent event = ReadEvent::need_more;
                for (const std::string_view part : {std::string_view(bytes).substr(0, cut),
                                                    std::string_view(bytes).substr(cut)}) {
                    if (event == ReadEvent::failed) {
                        break;
                    }
                    reader.feed(base::as_bytes(part));
                    do {
                        event = reader.next(parser, request);
                    } while (event != ReadEvent::need_more && event != ReadEvent::failed);
                    parser.end_turn();
                }
                CHECK(event == one.event);
                CHECK(reader.reads_head_request() == one.head);
                reader.reset(parser);
                CHECK_FALSE(reader.reads_head_request());
                parser.end_turn();
            }
        }
    }
}

TEST_CASE("a body that comes with its head is not copied") {
    HttpParser parser(1000);
    RequestReader reader;
    Request request;
    const std::string bytes = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc";
    reader.feed(base::as_bytes(bytes));
    REQUIRE(reader.next(parser, request) == ReadEvent::request_ready);
    CHECK(reinterpret_cast<const char*>(request.body.data()) == bytes.data() + bytes.size() - 3);
    CHECK(reader.next(parser, request) == ReadEvent::need_more);
}

TEST_CASE("after a stop nothing is read any more") {
    HttpParser parser(1000);
    RequestReader reader;
    Request request;
    reader.feed(base::as_bytes("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 500\r\n\r\nabc"));
    REQUIRE(reader.next(parser, request) == ReadEvent::head_ready);
    reader.stop(parser);
    CHECK(parser.held_bytes() == 0);
    reader.feed(base::as_bytes("GET / HTTP/1.1\r\nHost: h\r\n\r\n"));
    CHECK(reader.next(parser, request) == ReadEvent::need_more);
    reader.reset(parser);
    reader.feed(base::as_bytes("GET / HTTP/1.1\r\nHost: h\r\n\r\n"));
    CHECK(reader.next(parser, request) == ReadEvent::request_ready);
    CHECK(reader.next(parser, request) == ReadEvent::need_more);
}

TEST_CASE("an idle reader is small and a warm one allocates nothing") {
    CHECK(sizeof(RequestReader) <= 160);
    HttpParser parser(1 << 20);
    RequestReader reader;
    auto request = std::make_unique<Request>();
    const std::string whole =
        "POST /demo/hello HTTP/1.1\r\nHost: localhost:4437\r\nContent-Length: 5\r\n\r\nhello";
    const auto run = [&] {
        reader.feed(base::as_bytes(whole));
        REQUIRE(reader.next(parser, *request) == ReadEvent::request_ready);
        REQUIRE(reader.next(parser, *request) == ReadEvent::need_more);
        parser.end_turn();
        for (const char& c : whole) {
            reader.feed(base::as_bytes({&c, 1}));
            while (reader.next(parser, *request) != ReadEvent::need_more) {
            }
            parser.end_turn();
        }
    };
    for (int i = 0; i < 3; ++i) {
        run();
    }
    const std::uint64_t before = test_support::allocations();
    for (int i = 0; i < 100; ++i) {
        run();
    }
    CHECK(test_support::allocations() == before);
    CHECK(reader.between_requests());
}
