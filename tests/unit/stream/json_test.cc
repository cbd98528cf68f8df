#include "stream/json.h"

#include <doctest/doctest.h>

#if defined(URSULA_JSON_PEERS)
#include <rapidjson/memorystream.h>
#include <rapidjson/reader.h>
#include <simdjson.h>
#endif

#include <memory>
#include <string>
#include <vector>

#include "base/limits.h"
#include "base/random.h"
#include "tests/support/json_reference.h"

using namespace ursula;
using namespace ursula::stream;
using std::string_view_literals::operator""sv;

namespace {

constexpr std::size_t depth_max = base::limits::json_depth_max;

// In a block of exactly its size, so that AddressSanitizer sees any look beyond it.
struct Split {
    explicit Split(std::string_view text) : size(text.size()), bytes(new char[text.size()]) {
        base::copy_bytes(bytes.get(), base::as_bytes(text));
        body = split_json(base::as_bytes({bytes.get(), size}));
    }
    std::string elements() const { return std::string(base::as_text(body.elements)); }
    bool ok() const { return body.error == JsonError::none; }
    std::size_t size;
    std::unique_ptr<char[]> bytes;
    JsonBody body;
};

std::string nested(std::size_t depth, char open, char close) {
    return std::string(depth, open) + std::string(depth, close);
}

std::string objects(std::size_t depth) {
    std::string text;
    for (std::size_t i = 0; i < depth; ++i) {
        text += "{\"a\":";
    }
    return text + "1" + std::string(depth, '}');
}

#if defined(URSULA_JSON_PEERS)
enum class Opinion { valid, invalid, none };

Opinion rapidjson_says(std::string_view text) {
    if (text.find('\0') != std::string_view::npos) {
        return Opinion::none;  // its streams end at a NUL
    }
    rapidjson::Reader reader;
    rapidjson::MemoryStream stream(text.data(), text.size());
    rapidjson::BaseReaderHandler<> handler;
    constexpr unsigned flags = rapidjson::kParseValidateEncodingFlag |
                               rapidjson::kParseNumbersAsStringsFlag |
                               rapidjson::kParseIterativeFlag;
    const rapidjson::ParseResult result = reader.Parse<flags>(stream, handler);
    if (result) {
        return Opinion::valid;
    }
    // It bounds exponents and insists on surrogate pairs, which the grammar does not.
    return result.Code() == rapidjson::kParseErrorNumberTooBig ||
                   result.Code() == rapidjson::kParseErrorStringUnicodeSurrogateInvalid
               ? Opinion::none
               : Opinion::invalid;
}

Opinion simdjson_says(std::string_view text) {
    static simdjson::dom::parser parser;
    simdjson::dom::element root;
    const auto error = parser.parse(simdjson::padded_string(text)).get(root);
    if (error == simdjson::SUCCESS) {
        return Opinion::valid;
    }
    // It needs numbers to fit its types and strings to be unescaped.
    return error == simdjson::NUMBER_ERROR || error == simdjson::STRING_ERROR ||
                   error == simdjson::DEPTH_ERROR
               ? Opinion::none
               : Opinion::invalid;
}
#endif

void agree(std::string_view text) {
    const Split split(text);
    const bool want = test_support::JsonReference(text).valid();
    CAPTURE(std::string(text));
    REQUIRE(split.ok() == want);
    REQUIRE((split.body.error_at <= text.size()));
#if defined(URSULA_JSON_PEERS)
    if (const Opinion says = rapidjson_says(text); says != Opinion::none) {
        REQUIRE((says == Opinion::valid) == want);
    }
    if (const Opinion says = simdjson_says(text); says != Opinion::none) {
        REQUIRE((says == Opinion::valid) == want);
    }
#endif
}

// A random text of the grammar.
void generate(base::Random& random, std::string& out, int depth) {
    const auto space = [&random, &out] {
        while (random.chance(1, 6)) {
            out += " \t\n\r"[random.below(4)];
        }
    };
    const auto string = [&random, &out] {
        static constexpr std::string_view parts[] = {"a",
                                                     "bc",
                                                     "\\n",
                                                     "\\\"",
                                                     "\\\\",
                                                     "\\/",
                                                     "\\u00e9",
                                                     "\\uD83D\\uDE00",
                                                     "\xc3\xa9",
                                                     "\xe4\xb8\xad",
                                                     "\xf0\x9f\x98\x80",
                                                     "0123456789abcdef",
                                                     " ",
                                                     "{",
                                                     "]",
                                                     ",",
                                                     ":",
                                                     "\x7f"};
        out += '"';
        for (std::uint64_t n = random.below(random.chance(1, 10) ? 40 : 5); n > 0; --n) {
            out += parts[random.below(std::size(parts))];
        }
        out += '"';
    };
    space();
    switch (random.below(depth > 0 ? 9 : 6)) {
        case 0:
            out += "true";
            break;
        case 1:
            out += random.chance(1, 2) ? "false" : "null";
            break;
        case 2: {
            out += std::to_string(random.below(random.chance(1, 2) ? 10 : 100'000'000));
            break;
        }
        case 3: {
            static constexpr std::string_view numbers[] = {"0",    "-0",     "-1.5",     "1e10",
                                                           "2E-3", "0.0001", "-12.34e+5"};
            out += numbers[random.below(std::size(numbers))];
            break;
        }
        case 4:
        case 5:
            string();
            break;
        case 6:
        case 7: {
            out += '{';
            const std::uint64_t members = random.below(5);
            for (std::uint64_t n = 0; n < members; ++n) {
                out += n == 0 ? "" : ",";
                space();
                string();
                space();
                out += ':';
                generate(random, out, depth - 1);
            }
            space();
            out += '}';
            break;
        }
        default: {
            out += '[';
            const std::uint64_t elements = random.below(5);
            for (std::uint64_t n = 0; n < elements; ++n) {
                out += n == 0 ? "" : ",";
                generate(random, out, depth - 1);
            }
            space();
            out += ']';
        }
    }
    space();
}

}  // namespace

TEST_CASE("JSON texts that are valid") {
    static constexpr std::string_view valid[] = {
        // structure
        "{}", "[]", "[[]]", "[{}]", "{\"a\":[]}", "{\"a\":{}}", "[[[[[[[[]]]]]]]]", "[[],[[]],{}]",
        "{\"a\":1}", "{\"a\":1,\"b\":2}", "{\"a\":1,\"a\":1}", "{\"a\":1,\"a\":2}", "{\"\":0}",
        "{\"a\":{\"b\":{\"c\":[1,{\"d\":null}]}}}", "[1,2,3]", "[1,[2,[3]],4]",
        "{\"x\":[{\"id\":\"xxx\"}]}", "[null,1,\"1\",{}]", "[1,null,null,null,2]",
        "{\"\\u0000\":1}", "{\"a b\":\"c d\"}", "{\"min\":-1.0e+28,\"max\":1.0e+28}",
        "[\"a\",\"b\"]", "[true,false,null]",
        // scalars alone
        "true", "false", "null", "0", "-0", "1", "-1", "42", "123456789012345678901234567890",
        "\"\"", "\"a\"", "1.5", "-1.5e-10", "\"\\u0000\"",
        // numbers
        "[0]", "[-0]", "[-0.0]", "[0.0]", "[0e0]", "[0e+1]", "[0E-1]", "[1e2]", "[1E2]", "[1e+2]",
        "[1e-2]", "[1E+2]", "[1E-2]", "[123e45]", "[123.456e78]", "[123.456789]", "[-123]", "[-1]",
        "[1.0]", "[10]", "[1e400]", "[-1e-400]", "[1e99999999999999999999]",
        "[-237462374673276894279832749832423479823246327846]",
        "[100000000000000000000000000000000000000]",
        "[0.0000000000000000000000000000000000000000000000000000000000000000000000000000000001]",
        "[1234567890123456]", "[12345678901234567]", "[0.1234567890123456]", "[1e1234567890123456]",
        "[-0.1e0]", "[20e1]",
        // strings
        "[\"\"]", "[\" \"]", "[\"asd\"]", "[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"]",
        "[\"\\u0060\\u012a\\u12AB\"]", "[\"\\uD801\\udc37\"]", "[\"\\ud83d\\ude39\\ud83d\\udc8d\"]",
        "[\"\\uFFFF\"]", "[\"\\uFFFE\"]", "[\"\\u0022\"]", "[\"\\u005C\"]", "[\"\\u2028\"]",
        "[\"\\uA66D\"]", "[\"\x7f\"]", "[\"a/*b*/c\"]", "[\"\\\\a\"]", "[\"\\\\n\"]",
        "[\"\\u0012\"]", "[\"new\\u000Aline\"]", "[\"\\\"\"]", "[\"\\\\\"]", "[\"\\\\\\\"\"]",
        "[\"0123456789abcde\"]", "[\"0123456789abcdef\"]", "[\"0123456789abcdefg\"]",
        "[\"0123456789abcdef0123456789abcdef\"]", "[\"0123456789abcde\\n0123456789abcdef\"]",
        "[\"'\"]", "[\"#\"]", "[\"//\"]",
        // lone surrogates: the grammar allows them and nothing here interprets them
        "[\"\\uD800\"]", "[\"\\udc00\"]", "[\"\\uD800\\uD800\"]", "[\"\\uD800abc\"]",
        "[\"\\uDFFF\\uD800\"]", "[\"\\uD888\\u1234\"]",
        // UTF-8
        "[\"\xc3\xa9\"]", "[\"\xe2\x82\xac\"]", "[\"\xf0\x9d\x84\x9e\"]", "[\"\xe2\x80\xa8\"]",
        "[\"\xe2\x80\xa9\"]", "[\"\xc2\x80\"]", "[\"\xdf\xbf\"]", "[\"\xe0\xa0\x80\"]",
        "[\"\xed\x9f\xbf\"]", "[\"\xee\x80\x80\"]", "[\"\xef\xbf\xbf\"]", "[\"\xf0\x90\x80\x80\"]",
        "[\"\xf4\x8f\xbf\xbf\"]", "[\"\xef\xbb\xbf\"]",
        "{\"\xc3\xa9\":\"\xe4\xb8\xad\xe6\x96\x87\"}", "\"\xc3\xa9\"",
        "[\"aaaaaaaaaaaaaaa\xc3\xa9\"]", "[\"aaaaaaaaaaaaaa\xe4\xb8\xad\"]",
        "[\"aaaaaaaaaaaaaaaa\xf0\x9d\x84\x9e\"]",
        // white space
        " []", "[] ", " [] ", "\t[\n]\r", "[ ]", "{ }", "[1\n]", "[ 1 , 2 ]",
        "{ \"a\" : 1 , \"b\" : 2 }",
        "\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n[\r\n\t \r\n\t \r\n\t \r\n\t \r\n\t 1]", " true ",
        "\r\n\"x\"\t", "[                                1,                                 2]",
        " 1", "1 "};
    for (const std::string_view text : valid) {
        CAPTURE(std::string(text));
        const Split split(text);
        CHECK(split.ok());
        CHECK(split.body.count <= 10);
        CHECK(test_support::JsonReference(text).valid());
    }
}

TEST_CASE("texts that are not JSON, and where that shows") {
    struct Case {
        std::string_view text;
        std::size_t at;
        JsonError error = JsonError::invalid;
    };
    static const Case invalid[] = {
        {"", 0, JsonError::empty},
        {" ", 0, JsonError::empty},
        {"\t\r\n  ", 0, JsonError::empty},
        // structure
        {"[", 1},
        {"]", 0},
        {"{", 1},
        {"}", 0},
        {"[]]", 2},
        {"{}}", 2},
        {"[}", 1},
        {"{]", 1},
        {"[1", 2},
        {"[1,", 3},
        {"[1,]", 3},
        {"[,1]", 1},
        {"[1,,2]", 3},
        {"[,]", 1},
        {"[1 2]", 3},
        {"[1}", 2},
        {"[[1]", 4},
        {"[1]]", 3},
        {"[\"a\",\n4\n,1,", 11},
        {"[{}", 3},
        {"[\"a\" \"b\"]", 5},
        {"[3[4]]", 2},
        {"[\"\"],", 4},
        {"[1],[2]", 3},
        {"{\"a\"}", 4},
        {"{\"a\":}", 5},
        {"{\"a\":1,}", 7},
        {"{\"a\":1,,\"b\":2}", 7},
        {"{,}", 1},
        {"{\"a\" 1}", 5},
        {"{\"a\"::1}", 5},
        {"{\"a\":1 \"b\":2}", 7},
        {"{:1}", 1},
        {"{1:1}", 1},
        {"{a:1}", 1},
        {"{'a':1}", 1},
        {"{null:1}", 1},
        {"{[]:1}", 1},
        {"{\"a\":1", 6},
        {"{\"a\":", 5},
        {"{\"a\"", 4},
        {"{\"a\":1]", 6},
        {"{\"a\":1}}", 7},
        {"{\"a\":1} {}", 8},
        {"{\"a\":\"b\"}#", 9},
        {"{\"a\":\"b\"}/**/", 9},
        {"[\"a\":1]", 4},
        {"[a]", 1},
        {"[1:2]", 2},
        {"{\"a\",1}", 4},
        {"{\"a\":1,1}", 7},
        {"[[[[[[", 6},
        {"[1]x", 3},
        {"[] []", 3},
        {"1 2", 2},
        {"true false", 5},
        {"*", 0},
        {"<null>", 0},
        {"//\n[]", 0},
        {"[/*c*/1]", 1},
        {"[1]//", 3},
        {"{\"a\":1,\"b\"}", 10},
        {"[{\"a\":1},]", 9},
        {",", 0},
        {":", 0},
        {"[\v1]", 1},
        {"[\f]", 1},
        {"\xc2\xa0[]", 0},
        {"[\xe2\x81\xa0]", 1},
        {"[1]\xc2\xa0", 3},
        // literals
        {"[tru]", 1},
        {"[truee]", 5},
        {"[nul]", 1},
        {"[fals]", 1},
        {"[True]", 1},
        {"[TRUE]", 1},
        {"[NULL]", 1},
        {"tru", 0},
        {"truex", 4},
        {"nul", 0},
        {"n", 0},
        {"[t", 1},
        {"[NaN]", 1},
        {"[nan]", 1},
        {"[Infinity]", 1},
        {"[-Infinity]", 2},
        {"[Inf]", 1},
        {"[undefined]", 1},
        {"[nullnull]", 5},
        {"[true1]", 5},
        // numbers
        {"[01]", 2},
        {"[-01]", 3},
        {"[00]", 2},
        {"[-]", 2},
        {"-", 1},
        {"[+1]", 1},
        {"[++1]", 1},
        {"[--1]", 2},
        {"[.5]", 1},
        {"[-.5]", 2},
        {"[1.]", 3},
        {"[1.e5]", 3},
        {"[1e]", 3},
        {"[1e+]", 4},
        {"[1E-]", 4},
        {"[1e+-2]", 4},
        {"[1ee2]", 3},
        {"[1.2.3]", 4},
        {"[0x1]", 2},
        {"[0x42]", 2},
        {"[1a]", 2},
        {"[1_000]", 2},
        {"[- 1]", 2},
        {"[1 000.0]", 3},
        {"[012]", 2},
        {"[-012]", 3},
        {"[0e]", 3},
        {"[0e+]", 4},
        {"[0.e1]", 3},
        {"[2.e+3]", 3},
        {"[1e1.5]", 4},
        {"[9.3e]", 5},
        {"1.", 2},
        {"1e", 2},
        {"0x1", 1},
        {"[1f]", 2},
        {"[\xef\xbc\x91]", 1},
        {"[-a]", 2},
        {"[1+2]", 2},
        {"[1-2]", 2},
        {"[1e2e3]", 4},
        {"[-\"1\"]", 2},
        // strings
        {"[\"", 2},
        {"[\"a", 3},
        {"\"", 1},
        {"\"a", 2},
        {"[\"a]", 4},
        {"['a']", 1},
        {"[\"\\a\"]", 3},
        {"[\"\\x00\"]", 3},
        {"[\"\\'\"]", 3},
        {"[\"\\0\"]", 3},
        {"[\"\\ \"]", 3},
        {"[\"\\U0041\"]", 3},
        {"[\"\\u\"]", 4},
        {"[\"\\u1\"]", 5},
        {"[\"\\u12\"]", 6},
        {"[\"\\u123\"]", 7},
        {"[\"\\u123g\"]", 7},
        {"[\"\\uxyzw\"]", 4},
        {"[\"\\u 123\"]", 4},
        {"[\"\\uD800\\u\"]", 10},
        {"[\"\\", 3},
        {"[\"\\\"]", 5},
        {"[\"\\\\\\\"]", 7},
        {"\"\\u12", 5},
        {"\"\\", 2},
        {"[\"a\nb\"]", 3},
        {"[\"a\tb\"]", 3},
        {"[\"\x1f\"]", 2},
        {"[\"a\x01\"]", 3},
        {"[\"0123456789abcdef\n\"]", 18},
        {"[\"\"\"]", 3},
        {"[\"a\"b]", 4},
        {"[\\u0022a\\u0022]", 1},
        {"[\"a\\\n\"]", 4},
        {"[\"0123456789abcd\\q\"]", 17},
        // UTF-8
        {"[\"\x80\"]", 2, JsonError::bad_utf8},
        {"[\"\xbf\"]", 2, JsonError::bad_utf8},
        {"[\"\xc0\x80\"]", 2, JsonError::bad_utf8},
        {"[\"\xc1\xbf\"]", 2, JsonError::bad_utf8},
        {"[\"\xc3\"]", 2, JsonError::bad_utf8},
        {"[\"\xc3(\"]", 2, JsonError::bad_utf8},
        {"[\"\xe0\x80\x80\"]", 2, JsonError::bad_utf8},
        {"[\"\xe0\x9f\xbf\"]", 2, JsonError::bad_utf8},
        {"[\"\xe2\x82\"]", 2, JsonError::bad_utf8},
        {"[\"\xe2(\xa1\"]", 2, JsonError::bad_utf8},
        {"[\"\xed\xa0\x80\"]", 2, JsonError::bad_utf8},
        {"[\"\xed\xbf\xbf\"]", 2, JsonError::bad_utf8},
        {"[\"\xf0\x80\x80\x80\"]", 2, JsonError::bad_utf8},
        {"[\"\xf0\x8f\xbf\xbf\"]", 2, JsonError::bad_utf8},
        {"[\"\xf0\x9d\x84\"]", 2, JsonError::bad_utf8},
        {"[\"\xf4\x90\x80\x80\"]", 2, JsonError::bad_utf8},
        {"[\"\xf5\x80\x80\x80\"]", 2, JsonError::bad_utf8},
        {"[\"\xf8\x88\x80\x80\x80\"]", 2, JsonError::bad_utf8},
        {"[\"\xff\"]", 2, JsonError::bad_utf8},
        {"[\"\xfe\"]", 2, JsonError::bad_utf8},
        {"[\"\xc3\xa9\xa9\"]", 4, JsonError::bad_utf8},
        {"[\"\\\xe5\"]", 2 + 1},
        {"[\"\\u\xe5\"]", 4},
        {"\"\xe9\"", 1, JsonError::bad_utf8},
        {"{\"\xb9\":\"0\"}", 2, JsonError::bad_utf8},
        {"[\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\xe4\xb8\"]", 33, JsonError::bad_utf8},
        // the first wrong byte of all is told, and its kind
        {"[\"\xff\", x]", 2, JsonError::bad_utf8},
        {"[x, \"\xff\"]", 1},
        {"[\xff]", 1},
        {"\xe9", 0},
        {"[1]\xff", 3},
        {"\xef\xbb\xbf[]", 0, JsonError::byte_order_mark},
        {" \xef\xbb\xbf[]", 1, JsonError::byte_order_mark},
        {"[\xef\xbb\xbf]", 1},
        {"\xef\xbb\xbf", 0, JsonError::byte_order_mark},
        {"\xff\xfe[\0"sv, 0},
        // NUL is neither white space nor an end
        {"\0"sv, 0},
        {"[\0]"sv, 1},
        {"[1]\0"sv, 3},
        {"[\"\0\"]"sv, 2},
        {"1\0"sv, 1},
        {"\0[]"sv, 0},
        {"[1,\0"sv, 3},
    };
    CHECK(std::size(invalid) >= 150);
    for (const Case& c : invalid) {
        CAPTURE(std::string(c.text));
        const Split split(c.text);
        CHECK(split.body.error == c.error);
        CHECK(split.body.error_at == c.at);
        CHECK(split.body.elements.empty());
        CHECK(!test_support::JsonReference(c.text).valid());
    }
}

TEST_CASE("a top-level array is flattened one level, bytes verbatim; all else is one element") {
    struct Case {
        std::string_view text;
        std::string_view elements;
        std::uint32_t count;
    };
    static constexpr Case cases[] = {
        {"[]", "", 0},
        {" [ \n ] ", "", 0},
        {"[1]", "1", 1},
        {"[1,2,3]", "1,2,3", 3},
        {" [ 1 , 2 ] ", "1 , 2", 2},
        {"[[1,2,3]]", "[1,2,3]", 1},
        {"[[1,2],[3,4]]", "[1,2],[3,4]", 2},
        {"[[],[]]", "[],[]", 2},
        {"[{\"a\":[1,2,3]},{\"b\":\",,,\"}]", "{\"a\":[1,2,3]},{\"b\":\",,,\"}", 2},
        {"[\"a,b\",\"c\"]", "\"a,b\",\"c\"", 2},
        {"{\"a\":[1,2]}", "{\"a\":[1,2]}", 1},
        {"  {\"a\" : 1}\n", "{\"a\" : 1}", 1},
        {"{}", "{}", 1},
        {" 1.0 ", "1.0", 1},
        {"\"x\"", "\"x\"", 1},
        {"null", "null", 1},
        {"[1.0,12345678901234567890,1e400]", "1.0,12345678901234567890,1e400", 3},
        {"[\n  {\n    \"a\": 1\n  },\n  2\n]\n", "{\n    \"a\": 1\n  },\n  2", 2},
    };
    for (const Case& c : cases) {
        CAPTURE(std::string(c.text));
        const Split split(c.text);
        REQUIRE(split.ok());
        CHECK(split.elements() == c.elements);
        CHECK(split.body.count == c.count);
        CHECK(split.body.array == (c.text.find_first_not_of(" \n") == c.text.find('[')));
        // The view lies in the body.
        CHECK((c.elements.empty() ||
               (reinterpret_cast<const char*>(split.body.elements.data()) >= split.bytes.get() &&
                reinterpret_cast<const char*>(split.body.elements.data()) <
                    split.bytes.get() + split.size)));
    }
}

TEST_CASE("nesting at the bound, beyond it and far beyond") {
    CHECK(Split(nested(depth_max, '[', ']')).ok());
    CHECK(Split(objects(depth_max)).ok());
    Split deep(nested(depth_max + 1, '[', ']'));
    CHECK(deep.body.error == JsonError::too_deep);
    CHECK(deep.body.error_at == depth_max);
    CHECK(Split(objects(depth_max + 1)).body.error == JsonError::too_deep);
    CHECK(Split(nested(depth_max * 10, '[', ']')).body.error == JsonError::too_deep);
    CHECK(Split(std::string(10'000'000, '[')).body.error == JsonError::too_deep);
    // Width does not count.
    std::string wide = "[";
    for (int i = 0; i < 100'000; ++i) {
        wide += i == 0 ? "[{}]" : ",[{}]";
    }
    CHECK(Split(wide + "]").body.count == 100'000);
}

TEST_CASE("tokens at every distance from the end and from sixteen-byte steps") {
    for (std::size_t before = 0; before < 40; ++before) {
        for (const std::string_view token :
             {"\"\""sv, "\"abc\""sv, "\"\\n\""sv, "\"\\u00e9\""sv,
              "\"\xc3\xa9\xe4\xb8\xad\xf0\x9f\x98\x80\""sv, "1234567"sv, "-1.5e10"sv,
              "12345678901234567890123456789012345"sv, "true"sv, "[  ]"sv, "{ \"k\" : 1 }"sv}) {
            for (std::size_t after = 0; after < 20; ++after) {
                std::string text = "[\"";
                text.append(before, 'x').append("\",").append(token).append(after, ' ').append("]");
                const Split split(text);
                REQUIRE(split.ok());
                REQUIRE(split.body.count == 2);
                std::string padded(before, ' ');
                padded.append(token).append(after, '\n');
                REQUIRE(Split(padded).ok());
                // Cut anywhere it is invalid, unless only white space is missing.
                for (std::size_t cut = 1; cut < text.size(); ++cut) {
                    const Split part(std::string_view(text).substr(0, cut));
                    REQUIRE(!part.ok());
                    REQUIRE(part.body.error_at <= cut);
                }
            }
        }
    }
}

TEST_CASE("records whose keys, strings and numbers are as long as the last one's, or are not") {
    // Lengths to both sides of what is looked at together: 14 characters of a number, 16 of a key,
    // 32 of a string.
    const auto record = [](std::size_t key, std::size_t whole, std::size_t fraction,
                           std::size_t text) {
        std::string json = "{\"" + std::string(key, 'k') + "\":" + std::string(whole, '7');
        if (fraction > 0) {
            json += "." + std::string(fraction, '3');
        }
        return json + ",\"t\":\"" + std::string(text, 't') + "\",\"n\":[-" +
               std::string(whole, '1') + "]}";
    };
    std::string all;
    std::uint32_t count = 0;
    for (const std::size_t size : {1u, 2u, 12u, 13u, 14u, 15u, 16u, 17u, 30u, 31u, 32u, 33u, 70u}) {
        for (const std::size_t other : {1u, 5u, 15u, 31u}) {
            for (const std::string& one :
                 {record(size, other, 0, size), record(size, other, 0, other),
                  record(other, size, other, size), record(other, size, other, size),
                  record(size, 3, size, other)}) {
                REQUIRE(Split(one).ok());
                CHECK(Split(one + ",").body.error_at == one.size());
                // One of its quotes, colons or digits too few or another letter in their place.
                for (std::size_t at = 0; at < one.size(); ++at) {
                    if (one[at] == '"' || one[at] == ':') {
                        CHECK_FALSE(Split(std::string(one).erase(at, 1)).ok());
                        CHECK_FALSE(Split(std::string(one).replace(at, 1, "\n")).ok());
                    } else if (one[at] == '.') {
                        CHECK_FALSE(Split(std::string(one).insert(at, 1, '.')).ok());
                    }
                }
                all += (count == 0 ? "" : ",") + one;
                ++count;
            }
        }
    }
    const Split split("[" + all + "]");
    CHECK(split.ok());
    CHECK(split.body.count == count);
    CHECK(split.elements() == all);
}

TEST_CASE("every pair and triple of bytes inside a string agrees with the rules") {
    for (unsigned a = 0; a < 256; ++a) {
        for (unsigned b = 0; b < 256; ++b) {
            const char bytes[] = {static_cast<char>(a), static_cast<char>(b)};
            std::string text = "[\"";
            text.append(bytes, 2).append("\"]");
            REQUIRE(Split(text).ok() == test_support::JsonReference(text).valid());
        }
    }
    base::Random random(1);
    for (int i = 0; i < 300'000; ++i) {
        // Mostly leads and continuations.
        char bytes[5];
        for (char& c : bytes) {
            c = static_cast<char>(random.chance(3, 4) ? 0x80 + random.below(128)
                                                      : random.below(128));
        }
        std::string text(1, '"');
        text.append(random.below(18), 'a').append(bytes, sizeof bytes).append(1, '"');
        REQUIRE(Split(text).ok() == test_support::JsonReference(text).valid());
    }
}

TEST_CASE("random texts, whole and damaged, agree with a second parser and with the libraries") {
    base::Random random(2024);
    static constexpr std::string_view alphabet =
        "[]{},:\"\\0123456789.eE+-truefalsn u\n\t\x80\xc3\xa9\xff\x01";
    int valid = 0;
    int invalid = 0;
    for (int i = 0; i < 60'000; ++i) {
        std::string text;
        generate(random, text, 5);
        agree(text);
        for (int damage = 0; damage < 3; ++damage) {
            std::string other = text;
            for (std::uint64_t edits = 1 + random.below(2); edits > 0; --edits) {
                const std::size_t at = random.below(other.size() + 1);
                const char c = random.chance(1, 10) ? static_cast<char>(random.below(256))
                                                    : alphabet[random.below(alphabet.size())];
                switch (random.below(4)) {
                    case 0:
                        other.insert(at, 1, c);
                        break;
                    case 1:
                        other.resize(at);
                        break;
                    case 2:
                        if (at < other.size()) {
                            other.erase(at, 1);
                        }
                        break;
                    default:
                        if (at < other.size()) {
                            other[at] = c;
                        }
                }
            }
            ++(Split(other).ok() ? valid : invalid);
            agree(other);
        }
    }
    CHECK(valid > 10'000);
    CHECK(invalid > 10'000);
}
