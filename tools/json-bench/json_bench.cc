// Which JSON scanner serves the append path: ours (src/stream/json.cc), simdjson's DOM or
// RapidJSON's SAX reader. All three validate, count the elements of a top-level array and find the
// bytes to store. Prints GB/s and ns per body; alternates the candidates in every round and reports
// medians.
//
//   json-bench [rounds] [only]      only = ours | simdjson | rapidjson (for callgrind)
#include <rapidjson/memorystream.h>
#include <rapidjson/reader.h>
#include <simdjson.h>
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "base/random.h"
#include "stream/json.h"

namespace {

using ursula::base::Random;

std::string word(Random& random, std::size_t size) {
    std::string text;
    while (text.size() < size) {
        text += static_cast<char>('a' + random.below(26));
    }
    return text;
}

// An event as applications post it: a few keys, numbers, a flag, some text; about `size` bytes.
std::string object(Random& random, std::size_t size) {
    std::string text = "{\"id\":";
    text += std::to_string(random.below(1'000'000));
    text += ",\"type\":\"";
    text += word(random, 8);
    text += "\",\"ts\":";
    text += std::to_string(1'700'000'000'000 + random.below(1'000'000'000));
    text += random.chance(1, 2) ? ",\"ok\":true,\"x\":" : ",\"ok\":false,\"x\":";
    text += std::to_string(random.below(1000));
    text += '.';
    text += std::to_string(random.below(1000));
    text += ",\"text\":\"";
    text += word(random, size > text.size() + 2 ? size - text.size() - 2 : 1);
    text += "\"}";
    return text;
}

std::string array(Random& random, std::size_t count, std::size_t size) {
    std::string text = "[";
    for (std::size_t i = 0; i < count; ++i) {
        text += i == 0 ? "" : ",";
        text += object(random, size);
    }
    text += ']';
    return text;
}

std::string pretty(Random& random, std::size_t count) {
    std::string text = "[\n";
    for (std::size_t i = 0; i < count; ++i) {
        text += i == 0 ? "  {\n    \"id\": " : ",\n  {\n    \"id\": ";
        text += std::to_string(random.below(1'000'000));
        text += ",\n    \"name\": \"";
        text += word(random, 12);
        text += "\",\n    \"tags\": [\n      \"";
        text += word(random, 5);
        text += "\",\n      \"";
        text += word(random, 7);
        text += "\"\n    ],\n    \"price\": ";
        text += std::to_string(random.below(100));
        text += ".25\n  }";
    }
    text += "\n]\n";
    return text;
}

std::string cjk(Random& random, std::size_t count) {
    std::string text = "[";
    for (std::size_t i = 0; i < count; ++i) {
        text += i == 0 ? "\"" : ",\"";
        for (int c = 0; c < 40; ++c) {
            const auto point = static_cast<unsigned>(0x4e00 + random.below(0x4000));
            text += static_cast<char>(0xe0 | (point >> 12));
            text += static_cast<char>(0x80 | ((point >> 6) & 0x3f));
            text += static_cast<char>(0x80 | (point & 0x3f));
        }
        text += "\"";
    }
    text += ']';
    return text;
}

struct CountHandler : rapidjson::BaseReaderHandler<rapidjson::UTF8<>, CountHandler> {
    std::size_t depth = 0;
    std::size_t elements = 0;
    bool value() {
        elements += depth == 1 ? 1 : 0;
        return true;
    }
    bool Default() { return value(); }
    bool StartObject() {
        value();
        ++depth;
        return true;
    }
    bool StartArray() { return StartObject(); }
    bool EndObject(rapidjson::SizeType) {
        --depth;
        return true;
    }
    bool EndArray(rapidjson::SizeType) { return EndObject(0); }
    bool Key(const char*, rapidjson::SizeType, bool) { return true; }
};

struct Candidate {
    const char* name;
    std::size_t (*count)(const std::string& body);
};

std::size_t ours(const std::string& body) {
    const ursula::stream::JsonBody result =
        ursula::stream::split_json(ursula::base::as_bytes(body));
    return result.error == ursula::stream::JsonError::none ? result.count : 0;
}

// Bodies come from the network without padding, so the copy is part of the price.
std::size_t by_simdjson(const std::string& body) {
    static simdjson::dom::parser parser;
    static std::vector<char> padded;
    padded.resize(body.size() + simdjson::SIMDJSON_PADDING);
    std::memcpy(padded.data(), body.data(), body.size());
    simdjson::dom::element root;
    if (parser.parse(padded.data(), body.size(), false).get(root) != simdjson::SUCCESS) {
        return 0;
    }
    simdjson::dom::array elements;
    return root.get_array().get(elements) == simdjson::SUCCESS ? elements.size() : 1;
}

std::size_t by_rapidjson(const std::string& body) {
    static rapidjson::Reader reader;
    rapidjson::MemoryStream stream(body.data(), body.size());
    CountHandler handler;
    constexpr unsigned flags = rapidjson::kParseValidateEncodingFlag |
                               rapidjson::kParseNumbersAsStringsFlag |
                               rapidjson::kParseIterativeFlag;
    if (!reader.Parse<flags>(stream, handler)) {
        return 0;
    }
    return body[0] == '[' ? handler.elements : 1;
}

double seconds() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

}  // namespace

int main(int argc, char** argv) {
    const int rounds = argc > 1 ? std::atoi(argv[1]) : 15;
    const char* only = argc > 2 ? argv[2] : nullptr;
    Random random(7);
    struct Body {
        const char* name;
        std::string text;
    };
    std::vector<Body> bodies;
    bodies.push_back({"256 B object", object(random, 256)});
    bodies.push_back({"100 x 100 B array", array(random, 100, 100)});
    bodies.push_back({"1 MiB array of 100 B", array(random, 10485, 100)});
    bodies.push_back({"pretty printed 64 KiB", pretty(random, 450)});
    bodies.push_back({"CJK strings 64 KiB", cjk(random, 540)});
    const std::vector<Candidate> candidates = {
        {"ours", ours}, {"simdjson", by_simdjson}, {"rapidjson", by_rapidjson}};

    for (const Body& body : bodies) {
        std::vector<std::vector<double>> times(candidates.size());
        const std::size_t repeat = std::max<std::size_t>(1, 4'000'000 / body.text.size());
        std::size_t sink = 0;
        for (int round = 0; round < rounds; ++round) {
            for (std::size_t c = 0; c < candidates.size(); ++c) {
                if (only != nullptr && std::strcmp(only, candidates[c].name) != 0) {
                    continue;
                }
                const double start = seconds();
                for (std::size_t i = 0; i < repeat; ++i) {
                    sink += candidates[c].count(body.text);
                }
                times[c].push_back((seconds() - start) / static_cast<double>(repeat));
            }
        }
        std::printf("%-24s %8zu bytes (%zu)\n", body.name, body.text.size(), sink);
        for (std::size_t c = 0; c < candidates.size(); ++c) {
            if (times[c].empty()) {
                continue;
            }
            std::sort(times[c].begin(), times[c].end());
            const double median = times[c][times[c].size() / 2];
            std::printf("    %-10s %7.2f GB/s  %10.0f ns\n", candidates[c].name,
                        static_cast<double>(body.text.size()) / median * 1e-9, median * 1e9);
        }
    }
    return 0;
}
