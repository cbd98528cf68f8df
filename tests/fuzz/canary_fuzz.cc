// Must crash in every run: shows that the fuzzers see coverage inside the islands and llhttp, and
// that a failing oracle is noticed. The planted bug lies behind a request that only coverage
// feedback finds.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string_view>

#include "base/bytes.h"
#include "net/http_parser.h"

using namespace ursula;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static net::HttpParser parser(1 << 16);
    net::RequestReader reader;
    const auto request = std::make_unique<net::Request>();
    reader.feed({reinterpret_cast<const std::byte*>(data), size});
    for (;;) {
        const net::ReadEvent event = reader.next(parser, *request);
        if (event == net::ReadEvent::request_ready && request->has_query) {
            std::fputs("canary: the planted bug was found\n", stderr);
            std::abort();
        }
        if (event == net::ReadEvent::need_more || event == net::ReadEvent::failed) {
            break;
        }
    }
    reader.reset(parser);
    parser.end_turn();
    return 0;
}
