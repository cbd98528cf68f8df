// The property behind the golden exchanges, on mutated requests: however bytes are cut, the same
// requests come out.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "base/random.h"
#include "tests/support/http_transcript.h"

using namespace ursula;
using test_support::http_transcript;
using test_support::HttpTranscriptOptions;

namespace {

constexpr std::array<std::string_view, 6> seeds = {
    "POST /demo/hello HTTP/1.1\r\nHost: localhost:4437\r\nContent-Type: text/plain\r\n"
    "Content-Length: 5\r\n\r\nhelloGET /demo/hello?offset=-1 HTTP/1.1\r\nHost: localhost:4437\r\n"
    "\r\n",
    "PUT /v1/stream/a/b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    "5\r\nhello\r\n6;a=b\r\n world\r\n0\r\n\r\nDELETE /x HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET /a%2Fb?live=sse&offset=now HTTP/1.1\r\nHost: [::1]:80\r\nAccept: */*\r\nTE:\r\n"
    "Connection: keep-alive, Upgrade\r\nUpgrade: h2c\r\n\r\n",
    "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\nHEAD / HTTP/1.0\r\n\r\n",
    "POST http://h:1/p?q HTTP/1.1\r\nhost: h:1\r\nexpect: 100-Continue\r\ncontent-length: 3\r\n"
    "\r\nabcOPTIONS * HTTP/1.1\r\nhost: h\r\n\r\n",
    "GET /b HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbodyPOST /c HTTP/1.1\r\nHost: h\r\n"
    "Connection: close\r\nContent-Length: 0\r\n\r\nrest",
};

void mutate(std::string& bytes, base::Random& random) {
    static constexpr char characters[] = "\r\n :;,/?#%\t\x00\x7f\x80\xff=\"0123456789abcdefAZ-_+";
    constexpr std::string_view interesting(characters, sizeof(characters) - 1);
    const auto a_byte = [&] {
        return random.chance(3, 4) ? interesting[random.below(interesting.size())]
                                   : static_cast<char>(random.next());
    };
    const std::size_t count = random.below(4);
    for (std::size_t i = 0; i < count && !bytes.empty(); ++i) {
        const std::size_t at = random.below(bytes.size());
        switch (random.below(5)) {
            case 0:
                bytes[at] = a_byte();
                break;
            case 1:
                bytes.insert(at, 1, a_byte());
                break;
            case 2:
                bytes.erase(at, random.between(1, 4));
                break;
            case 3:
                bytes.insert(at, bytes.substr(random.below(bytes.size()), random.below(30)));
                break;
            default:
                bytes.insert(at, random.chance(1, 2) ? "\r\n" : "Transfer-Encoding: chunked\r\n");
                break;
        }
    }
}

}  // namespace

TEST_CASE("however the bytes are cut, the same requests come out") {
    base::Random random(20261123);
    std::size_t refused = 0;
    constexpr int rounds = 1500;
    for (int round = 0; round < rounds; ++round) {
        std::string bytes(seeds[random.below(seeds.size())]);
        if (random.chance(1, 3)) {
            bytes += seeds[random.below(seeds.size())];
        }
        mutate(bytes, random);
        INFO(test_support::escape_bytes(bytes));
        const std::string whole = http_transcript(bytes);
        refused += whole.find("refused") != std::string::npos ? 1u : 0u;
        HttpTranscriptOptions options;
        for (std::size_t cut = 1; cut < bytes.size(); cut += random.between(1, 9)) {
            options.cuts = {cut};
            REQUIRE(http_transcript(bytes, options) == whole);
        }
        options.cuts.clear();
        for (std::size_t cut = 1; cut < bytes.size(); ++cut) {
            options.cuts.push_back(cut);
        }
        REQUIRE(http_transcript(bytes, options) == whole);
        options.cuts.clear();
        for (int i = 0; i < 5; ++i) {
            options.cuts.push_back(random.below(bytes.size() + 1));
        }
        std::sort(options.cuts.begin(), options.cuts.end());
        options.hold_after_each = random.chance(1, 2);
        options.put_back_each = random.chance(1, 2);
        REQUIRE(http_transcript(bytes, options) == whole);
    }
    // The mutations must reach both sides of the grammar.
    CHECK(refused > rounds / 10);
    CHECK(refused < rounds * 9 / 10);
}
