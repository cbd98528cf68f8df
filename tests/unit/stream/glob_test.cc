#include "stream/glob.h"

#include <doctest/doctest.h>

#include <string>

namespace ursula::stream {

namespace {

struct Case {
    const char* pattern;
    const char* path;
    bool matches;
};

constexpr Case cases[] = {
    {"events/*", "events/a", true},
    {"events/*", "events", false},
    {"events/*", "events/a/b", false},
    {"events/*", "event/a", false},
    {"/events//*/", "events/a", true},
    {"events/a", "events/a", true},
    {"events/a", "events/ab", false},
    {"events/a*", "events/ab", false},
    {"events/a*", "events/a*", true},
    {"events/%2A", "events/*", true},
    {"events/%2a", "events/*", true},
    {"events/%2A", "events/b", false},
    {"events/%2F", "events/%2F", true},
    {"*", "a", true},
    {"*", "a/b", false},
    {"*/*", "a/b", true},
    {"**", "a", true},
    {"**", "a/b/c/d", true},
    {"a/**", "a", true},
    {"a/**", "a/b/c", true},
    {"a/**", "b", false},
    {"**/z", "z", true},
    {"**/z", "a/b/z", true},
    {"**/z", "a/z/b", false},
    {"a/**/z", "a/z", true},
    {"a/**/z", "a/b/c/z", true},
    {"a/**/z", "a/b/c", false},
    {"**/a/**/b", "x/a/y/a/z/b", true},
    {"**/a/*/b", "a/a/a/x/b", true},
    {"**/a/*/b", "a/a/b/x/c", false},
    {"**/**", "a", true},
    {"**/*", "a", true},
    {"", "a", false},
    {"/", "a", false},
};

}  // namespace

TEST_CASE("patterns match whole segments") {
    for (const Case& one : cases) {
        CAPTURE(one.pattern);
        CAPTURE(one.path);
        CHECK(Glob(one.pattern).matches(one.path) == one.matches);
    }
}

TEST_CASE("a pattern of many stars costs no more than path times pattern") {
    std::string pattern;
    std::string path;
    for (int i = 0; i < 64; ++i) {
        pattern += "**/a/";
        path += "a/a/a/a/a/a/a/a/";
    }
    CHECK_FALSE(Glob(pattern + "b").matches(path));
    CHECK(Glob(pattern + "**").matches(path));
}

}  // namespace ursula::stream
