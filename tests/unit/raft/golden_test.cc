// Golden scenarios: tests/golden/raft/*.txt. Each command line is followed by ---- and what it
// printed. URSULA_REWRITE_GOLDEN=1 in the environment writes the files anew.
//
//   start            from what is durable
//   timeout [ms]     the deadline is looked at, this long after the last command
//   submit N...      one command of N bytes each
//   persist [n]      staged writes (their first n entries) are durable now
//   read             ReadIndex with the next context
//   apply            everything committed is applied
//   snapshot T/I     a snapshot up to that entry is durable
//   commit-hint N    the durable log remembers this commit index
//   restart          power cut: starts again from what is durable
//   status
#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/unit/raft/one_voter.h"

namespace ursula::raft {
namespace {

namespace fs = std::filesystem;
using test::OneVoter;

std::string run(OneVoter& node, const std::string& line) {
    std::istringstream words(line);
    std::string command;
    words >> command;
    if (command == "start") {
        return describe(node.start());
    }
    if (command == "timeout") {
        std::int64_t after_ms = 0;
        words >> after_ms;
        node.now.mono = node.now.mono + base::milliseconds(after_ms);
        return describe(node.timeout());
    }
    if (command == "submit") {
        std::string out;
        for (std::uint64_t bytes = 0; words >> bytes;) {
            out += describe(node.submit(bytes));
        }
        return out;
    }
    if (command == "persist") {
        std::size_t count = SIZE_MAX;
        std::size_t given = 0;
        if (words >> given) {
            count = given;
        }
        return describe(node.persist(count));
    }
    if (command == "read") {
        return describe(node.read());
    }
    if (command == "apply") {
        return describe(node.apply());
    }
    if (command == "snapshot") {
        std::uint64_t term = 0;
        std::uint64_t index = 0;
        char slash = 0;
        words >> term >> slash >> index;
        return describe(node.snapshot(test::id(term, index)));
    }
    if (command == "commit-hint") {
        words >> node.durable.commit_hint.value;
        return "";
    }
    if (command == "restart") {
        return describe(node.restart());
    }
    if (command == "status") {
        return describe(node.group().status());
    }
    FAIL("no such command: " << line);
    return "";
}

// The same file with every output as it is now.
std::string replay(const std::string& text) {
    OneVoter node;
    std::istringstream in(text);
    std::string out;
    std::string line;
    bool in_output = false;
    while (std::getline(in, line)) {
        if (in_output) {
            in_output = !line.empty();
            continue;
        }
        if (line.empty()) {
            continue;  // each output ends with the one blank line there is
        }
        if (line.front() == '#') {
            out += line + "\n";
        } else if (line == "----") {
            in_output = true;
        } else {
            const std::string printed = run(node, line);
            out += line + "\n----\n" + (printed.empty() ? "nothing\n" : printed) + "\n";
        }
    }
    return out;
}

std::string read_file(const fs::path& path) {
    std::ifstream in(path);
    std::stringstream text;
    text << in.rdbuf();
    return text.str();
}

}  // namespace

TEST_CASE("golden scenarios") {
    std::size_t files = 0;
    for (const fs::directory_entry& entry : fs::directory_iterator(GOLDEN_RAFT_DIR)) {
        if (entry.path().extension() != ".txt") {
            continue;
        }
        ++files;
        CAPTURE(entry.path().filename().string());
        const std::string wanted = read_file(entry.path());
        const std::string got = replay(wanted);
        if (std::getenv("URSULA_REWRITE_GOLDEN") != nullptr) {
            std::ofstream(entry.path()) << got;
        } else {
            CHECK(got == wanted);
        }
    }
    CHECK(files >= 5);
}

}  // namespace ursula::raft
