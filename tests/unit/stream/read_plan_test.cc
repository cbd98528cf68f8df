#include "stream/read_plan.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "tests/unit/stream/support.h"

using namespace ursula;
using namespace ursula::stream;
using namespace ursula::stream::test;

namespace {

// Neighbouring slices of memory are one, unless `slices`.
std::string text(const ReadPlan& plan, bool slices) {
    std::string line = numbered("[", plan.from);
    line += numbered(", ", plan.next);
    line += ')';
    line += plan.up_to_date ? " tail" : "";
    line += plan.closed ? " closed" : "";
    const char* separator = ": ";
    std::uint64_t size = 0;
    for (std::size_t i = 0; i < plan.pieces.size(); ++i) {
        const bool memory = !plan.pieces[i].memory.empty();
        size += plan.pieces[i].size();
        if (!slices && memory && i + 1 < plan.pieces.size() && !plan.pieces[i + 1].memory.empty()) {
            continue;
        }
        line += separator;
        line += numbered(memory ? "memory " : "disk ", size);
        separator = ", ";
        size = 0;
    }
    return line;
}

// Runs one file: lines of commands, and after each read the line it must give.
void run_golden(const std::filesystem::path& path) {
    std::ifstream file(path);
    REQUIRE(file.good());
    std::uint64_t budget = plenty;
    std::unique_ptr<Replica> replica;
    std::uint32_t piece = 1u << 20;
    std::string line;
    std::string got;
    int number = 0;
    int reads = 0;
    while (std::getline(file, line)) {
        ++number;
        CAPTURE(path.filename().string());
        CAPTURE(number);
        std::istringstream words(line);
        std::string verb;
        if (!(words >> verb) || verb == "#") {
            continue;
        }
        if (verb == ">") {
            CHECK(line == "> " + got);
            ++reads;
            continue;
        }
        if (verb == "budget") {
            words >> budget;
            continue;
        }
        if (verb == "piece") {
            words >> piece;
            continue;
        }
        if (replica == nullptr) {
            replica = std::make_unique<Replica>(budget);
            replica->run(create("demo/a"));
            replica->run(create("demo/other"));
        }
        if (verb == "read" || verb == "slices") {
            std::uint64_t offset = 0;
            std::uint64_t bytes_max = 0;
            words >> offset >> bytes_max;
            ReadPlan plan;
            plan_read(*replica->find("demo/a"), offset, bytes_max, plan);
            got = text(plan, verb == "slices");
        } else if (verb == "close") {
            replica->run(close("demo/a"));
        } else {
            REQUIRE((verb == "append" || verb == "cold" || verb == "other"));
            std::size_t size = 0;
            while (words >> size) {
                const std::string body(size, 'x');
                const Command command = append(verb == "other" ? "demo/other" : "demo/a", body);
                replica->apply(make_entry(replica->index + 1, 0, {command}), verb != "cold", piece);
            }
        }
    }
    CHECK(reads > 0);
}

}  // namespace

TEST_CASE("read plans of tests/golden/readplan") {
    std::set<std::filesystem::path> paths;
    for (const auto& entry : std::filesystem::directory_iterator(URSULA_GOLDEN_READPLAN)) {
        paths.insert(entry.path());
    }
    CHECK(paths.size() >= 6);
    for (const std::filesystem::path& path : paths) {
        run_golden(path);
    }
}

TEST_CASE("any read gives whole appends, the right bytes and as many as fit") {
    for (std::uint64_t seed = 0; seed < 40; ++seed) {
        base::Random random(seed);
        Replica replica(random.chance(1, 2) ? plenty : 3000 + random.below(20000));
        replica.run(create("demo/a"));
        replica.run(create("demo/b"));
        std::string all;
        std::vector<std::uint64_t> ends{0};
        const auto piece = static_cast<std::uint32_t>(1 + random.below(300));
        ReadPlan plan;
        for (int step = 0; step < 300; ++step) {
            std::string body(1 + random.below(random.chance(1, 20) ? 3000 : 60), ' ');
            for (char& c : body) {
                c = static_cast<char>(random.below(256));
            }
            replica.apply(make_entry(replica.index + 1, 0, {append("demo/a", body)}),
                          !random.chance(1, 100), piece);
            all += body;
            ends.push_back(all.size());
            replica.run(append("demo/b", body));
            const std::uint64_t offset = random.below(all.size() + 10);
            const std::uint64_t bytes_max =
                random.below(random.chance(1, 2) ? 100 : all.size() * 2);
            plan_read(*replica.find("demo/a"), offset, bytes_max, plan);
            REQUIRE(plan.up_to_date == (plan.next == all.size()));
            REQUIRE(!plan.closed);
            if (offset >= all.size()) {
                REQUIRE(plan.empty());
                REQUIRE(plan.next == all.size());
                REQUIRE(plan.pieces.empty());
                continue;
            }
            // From the first append that ends beyond the offset ...
            const auto end = std::upper_bound(ends.begin(), ends.end(), offset);
            REQUIRE(plan.from == *(end - 1));
            // ... to the last that fits, or to its own end.
            const auto beyond = std::upper_bound(ends.begin(), ends.end(), plan.from + bytes_max);
            REQUIRE(plan.next == std::max(*end, *(beyond - 1)));
            std::string bytes;
            std::uint64_t disk = 0;
            bool memory_seen = false;
            for (const ReadPiece& part : plan.pieces) {
                const std::uint64_t at = plan.from + bytes.size();
                if (part.memory.empty()) {
                    REQUIRE(!memory_seen);
                    const std::string stored = all.substr(at, part.disk.size);
                    REQUIRE(base::crc32c(base::as_bytes(stored)) == part.disk.crc);
                    bytes += stored;
                    disk += stored.size();
                } else {
                    memory_seen = true;
                    bytes += base::as_text(part.memory.bytes());
                }
            }
            REQUIRE(plan.disk_bytes == disk);
            REQUIRE(plan.memory_bytes == bytes.size() - disk);
            REQUIRE(bytes == all.substr(plan.from, plan.next - plan.from));
        }
    }
}
