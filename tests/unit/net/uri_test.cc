#include "net/uri.h"

#include <doctest/doctest.h>

#include <array>
#include <string>
#include <vector>

#include "net/byte_scan.h"

using namespace ursula;
using net::UriError;

namespace {

std::string decoded(std::string_view raw, std::size_t room = 100) {
    std::vector<char> buffer(room);
    const net::DecodedPath path = net::decode_path(raw, buffer);
    switch (path.error) {
        case UriError::none:
            return std::string(path.text);
        case UriError::bad_escape:
            return "!bad_escape";
        case UriError::bad_utf8:
            return "!bad_utf8";
        case UriError::forbidden_byte:
            return "!forbidden_byte";
        case UriError::dot_segment:
            return "!dot_segment";
        case UriError::too_long:
            return "!too_long";
    }
    return "?";
}

std::string queried(std::string_view query) {
    std::string text;
    net::QueryIterator iterator(query);
    net::QueryParameter parameter;
    while (iterator.next(parameter)) {
        text += '[';
        text += parameter.name;
        text += parameter.has_value ? "=" : "";
        text += parameter.value;
        text += ']';
    }
    return text;
}

}  // namespace

TEST_CASE("a path is decoded once") {
    CHECK(decoded("/demo/hello") == "/demo/hello");
    CHECK(decoded("/a%2Fb%2fc") == "/a/b/c");
    CHECK(decoded("/%C3%A4") == "/\xc3\xa4");
    CHECK(decoded("/%2541") == "/%41");  // not twice
    CHECK(decoded("/a%20b+c") == "/a b+c");
    CHECK(decoded("/%5f%5fds") == "/__ds");
    CHECK(decoded("//a//") == "//a//");
    CHECK(decoded("/;x=1,y:z@~!$&'()*") == "/;x=1,y:z@~!$&'()*");
}

TEST_CASE("bad escapes") {
    for (const char* raw : {"/%", "/%4", "/%zz", "/%4g", "/%-1", "/a%", "/%%41", "/% 41"}) {
        CHECK(decoded(raw) == "!bad_escape");
    }
}

TEST_CASE("bytes that no name has") {
    for (const char* raw :
         {"/%00", "/a%0d", "/%0A", "/%09", "/%1f", "/%7F", "/a\\b", "/%5c", "/a%5Cb"}) {
        CHECK(decoded(raw) == "!forbidden_byte");
    }
}

TEST_CASE("text that is not UTF-8") {
    for (const char* raw :
         {"/%ff", "/%80", "/%c3", "/%c3%28", "/%c0%af", "/%e0%80%af", "/%ed%a0%80", "/%f0%80%80%80",
          "/%f4%90%80%80", "/%f5%80%80%80", "/%e2%82", "/%c3%a4%c3"}) {
        CHECK(decoded(raw) == "!bad_utf8");
    }
    CHECK(decoded("/%ED%9F%BF%EE%80%80%F0%90%80%80%F4%8F%BF%BF%e0%a0%80") ==
          "/\xed\x9f\xbf\xee\x80\x80\xf0\x90\x80\x80\xf4\x8f\xbf\xbf\xe0\xa0\x80");
}

TEST_CASE("dot segments, however written; other dots are ordinary") {
    for (const char* raw :
         {"/.", "/..", "/./a", "/a/..", "/a/../b", "/%2e", "/%2E%2e/a", "/.%2e", "/a%2f..%2fb"}) {
        CHECK(decoded(raw) == "!dot_segment");
    }
    for (const char* raw : {"/...", "/.a", "/a.", "/a..b", "/..a", "/a./b"}) {
        CHECK(decoded(raw) == raw);
    }
}

TEST_CASE("the buffer is the bound") {
    CHECK(decoded("/abcdefgh", 9) == "/abcdefgh");
    CHECK(decoded("/abcdefghi", 9) == "!too_long");
    CHECK(decoded("/%61%62", 3) == "/ab");
    CHECK(decoded("/%61%62%63", 3) == "!too_long");
}

TEST_CASE("queries") {
    CHECK(queried("").empty());
    CHECK(queried("offset=-1&live=sse") == "[offset=-1][live=sse]");
    CHECK(queried("a&b=&c=d=e") == "[a][b=][c=d=e]");
    CHECK(queried("&&a=1&&") == "[a=1]");
    CHECK(queried("live=sse&live=long-poll") == "[live=sse][live=long-poll]");
    CHECK(queried("=x&=") == "[=x][=]");
    CHECK(queried("a?b=c?d") == "[a?b=c?d]");
}

TEST_CASE("query values") {
    std::array<char, 16> buffer;
    CHECK(net::decode_query_value("now", buffer).text == "now");
    CHECK(net::decode_query_value("%6eow", buffer).text == "now");
    CHECK(net::decode_query_value("a+b%2B", buffer).text == "a+b+");
    CHECK(net::decode_query_value("now%0a", buffer).text ==
          "now\n");  // refused by the value's own grammar
    CHECK(net::decode_query_value("%", buffer).error == UriError::bad_escape);
    CHECK(net::decode_query_value("%0", buffer).error == UriError::bad_escape);
    CHECK(net::decode_query_value("01234567890123456", buffer).error == UriError::too_long);
}

TEST_CASE("every byte at every place of a short string is looked at") {
    for (std::size_t size = 0; size < 50; ++size) {
        std::string text(size, 'a');
        CHECK_FALSE(net::any_byte(text, net::control_mask));
        for (std::size_t at = 0; at < size; ++at) {
            for (const char bad : {'\0', '\n', '\x1f', '\x7f'}) {
                text[at] = bad;
                CHECK(net::any_byte(text, net::control_mask));
            }
            for (const char good : {'\t', ' ', '~', '\x80', '\xff'}) {
                text[at] = good;
                CHECK_FALSE(net::any_byte(text, net::control_mask));
            }
            text[at] = 'a';
        }
    }
}
