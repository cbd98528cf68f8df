// Each tests/golden/config/NAME.toml is read, and what a person would see must equal NAME.txt.
// URSULA_GOLDEN_WRITE=1 writes the texts instead; look at the difference before committing it.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "config.h"

namespace ursula {

namespace {

namespace fs = std::filesystem;

std::string read_text(const fs::path& path) {
    std::ifstream in(path, std::ios::binary);
    std::stringstream text;
    text << in.rdbuf();
    return text.str();
}

std::vector<fs::path> golden_files() {
    std::vector<fs::path> files;
    for (const fs::directory_entry& entry : fs::directory_iterator(URSULA_GOLDEN_CONFIG)) {
        if (entry.path().extension() == ".toml") {
            files.push_back(entry.path());
        }
    }
    std::sort(files.begin(), files.end());
    return files;
}

std::string what_a_person_sees(const fs::path& file) {
    ConfigSources sources;
    sources.file = file.filename().string();
    const LoadedConfig loaded = load_config_text(sources, read_text(file));
    return loaded.errors.empty() ? sources.file + ": ok\n" : loaded.errors;
}

std::vector<std::string> lines_of(const std::string& text) {
    std::vector<std::string> lines;
    std::stringstream in(text);
    for (std::string line; std::getline(in, line);) {
        lines.push_back(line);
    }
    return lines;
}

}  // namespace

TEST_CASE("golden configuration errors") {
    const std::vector<fs::path> files = golden_files();
    CHECK(files.size() >= 40);
    for (const fs::path& file : files) {
        fs::path expected = file;
        expected.replace_extension(".txt");
        const std::string seen = what_a_person_sees(file);
        if (std::getenv("URSULA_GOLDEN_WRITE") != nullptr) {
            std::ofstream(expected, std::ios::binary) << seen;
        }
        CAPTURE(file.filename().string());
        CHECK(seen == read_text(expected));
    }
}

// Whatever the words: a place, the line, a caret under it and a way out, for each error.
TEST_CASE("every golden error has a place, a caret and a way out") {
    for (const fs::path& file : golden_files()) {
        CAPTURE(file.filename().string());
        const std::vector<std::string> lines = lines_of(what_a_person_sees(file));
        REQUIRE_FALSE(lines.empty());
        if (lines.back().ends_with(": ok")) {
            continue;
        }
        REQUIRE(lines.size() % 3 == 1);
        for (std::size_t i = 0; i + 1 < lines.size(); i += 3) {
            CAPTURE(lines[i]);
            CHECK(lines[i].find(".toml:") != std::string::npos);
            CHECK(lines[i].find(": error: ") != std::string::npos);
            const std::size_t caret = lines[i + 2].find('^');
            REQUIRE(caret != std::string::npos);
            CHECK(lines[i + 2].find_first_not_of("^~", caret) + 1 < lines[i + 2].size());
        }
        CHECK(lines.back().find(". Nothing was changed.") != std::string::npos);
    }
}

}  // namespace ursula
