#include "http/form.h"

#include <doctest/doctest.h>
#include <zlib.h>

#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/limits.h"

namespace ursula::http {
namespace {

std::string unpack(const std::string& packed) {
    z_stream stream = {};
    REQUIRE(inflateInit2(&stream, 15 + 16) == Z_OK);
    std::string out(8 << 20, '\0');
    std::string in = packed;
    stream.next_in = reinterpret_cast<Bytef*>(in.data());
    stream.avail_in = static_cast<uInt>(in.size());
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
    REQUIRE(inflate(&stream, Z_FINISH) == Z_STREAM_END);
    CHECK(stream.avail_in == 0);
    out.resize(stream.total_out);
    inflateEnd(&stream);
    return out;
}

std::string lines_of(std::string_view stored, std::size_t piece) {
    std::vector<base::Slice> pieces;
    for (std::size_t at = 0; at < stored.size(); at += piece) {
        pieces.push_back(base::Slice::copy_of(base::as_bytes(stored.substr(at, piece))));
    }
    return as_lines(pieces);
}

}  // namespace

TEST_CASE("a form is given to who names it, not to who takes anything") {
    CHECK(wanted_form("application/x-ndjson", "").lines);
    CHECK(wanted_form("text/html, Application/X-NDJSON;q=0.5 ", "").lines);
    CHECK(!wanted_form("*/*", "").lines);
    CHECK(!wanted_form("application/*", "").lines);
    CHECK(!wanted_form("application/json", "").lines);
    CHECK(!wanted_form("application/x-ndjson;q=0", "").lines);
    CHECK(!wanted_form("application/x-ndjson2", "").lines);
    CHECK(wanted_form("", "gzip").gzip);
    CHECK(wanted_form("", "gzip, deflate, br").gzip);
    CHECK(wanted_form("", "br;q=1.0, GZIP;q=0.8").gzip);
    CHECK(!wanted_form("", "").gzip);
    CHECK(!wanted_form("", "identity").gzip);
    CHECK(!wanted_form("", "*").gzip);
    CHECK(!wanted_form("", "gzip;q=0").gzip);
    CHECK(!wanted_form("", "gzip ; q=0.000").gzip);
    CHECK(!wanted_form("", "br, deflate").gzip);
    CHECK(!wanted_form(",,;;,", ";q=0,,").gzip);
}

TEST_CASE("what is compressed: neither little nor more than a turn bears") {
    const Form gzip{false, true};
    CHECK(!is_compressed(gzip, base::limits::gzip_bytes_min - 1));
    CHECK(is_compressed(gzip, base::limits::gzip_bytes_min));
    CHECK(is_compressed(gzip, base::limits::gzip_bytes_max));
    CHECK(!is_compressed(gzip, base::limits::gzip_bytes_max + 1));
    CHECK(!is_compressed(Form{true, false}, base::limits::gzip_bytes_min));
}

TEST_CASE("one element per line, wherever the bytes are cut") {
    const std::string_view stored =
        R"({"a":[1,2,{"b":"x,y\"],{\\"}]},"plain, text",[],1.5e3,null,{"c":)"
        "\n  [1,\r\n2]},\"\\\\\",\"]\",true,";
    const std::string_view lines = R"({"a":[1,2,{"b":"x,y\"],{\\"}]})"
                                   "\n"
                                   R"("plain, text")"
                                   "\n[]\n1.5e3\nnull\n"
                                   R"({"c":   [1,  2]})"
                                   "\n\"\\\\\"\n\"]\"\ntrue\n";
    for (std::size_t piece = 1; piece <= stored.size(); ++piece) {
        CAPTURE(piece);
        CHECK(lines_of(stored, piece) == lines);
    }
    CHECK(lines_of("", 1).empty());
}

TEST_CASE("gzip of several parts is one member that unpacks to them") {
    std::string noise;
    for (std::uint32_t i = 0, x = 1; i < 300'000; ++i) {
        x = x * 1'664'525u + 1'013'904'223u;
        noise.push_back(static_cast<char>(x >> 24));
    }
    const std::vector<std::string_view> parts{"[", "", std::string_view(noise).substr(0, 70'000),
                                              std::string_view(noise).substr(70'000), "]"};
    CHECK(unpack(compress(parts)) == "[" + noise + "]");
    const std::string same(1 << 20, 'a');
    const std::string packed = compress(std::vector<std::string_view>{same});
    CHECK(packed.size() < 10'000);
    CHECK(unpack(packed) == same);
    CHECK(unpack(compress({})).empty());
}

}  // namespace ursula::http
