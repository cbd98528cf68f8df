#include "cli.h"

#include <doctest/doctest.h>

#include <cstdio>
#include <string>
#include <vector>

namespace ursula {

namespace {

CommandLine parse(std::vector<const char*> words, std::vector<const char*> environment = {}) {
    words.insert(words.begin(), "ursula");
    environment.push_back(nullptr);
    return parse_command_line(static_cast<int>(words.size()), words.data(), environment.data());
}

bool contains(const std::string& text, std::string_view part) {
    return text.find(part) != std::string::npos;
}

// Wrong usage: exit 2, nothing on stdout, one sentence and where to read more.
std::string usage_error(std::vector<const char*> words) {
    const CommandLine line = parse(std::move(words));
    CHECK_FALSE(line.run);
    CHECK(line.exit_code == 2);
    CHECK(line.out == "");
    CHECK(line.err.starts_with("ursula: "));
    CHECK(line.err.ends_with("\nTry `ursula --help`.\n"));
    const std::size_t end = line.err.find('\n');
    return end == std::string::npos ? line.err : line.err.substr(8, end - 8);
}

// A file that is gone at the end of its scope.
class TemporaryFile {
  public:
    explicit TemporaryFile(const std::string& text) : name_("cli_test.toml") {
        std::FILE* file = std::fopen(name_.c_str(), "w");
        REQUIRE(file != nullptr);
        std::fwrite(text.data(), 1, text.size(), file);
        std::fclose(file);
    }
    ~TemporaryFile() { std::remove(name_.c_str()); }
    const char* name() const { return name_.c_str(); }

  private:
    std::string name_;
};

}  // namespace

TEST_CASE("no flag at all: run with the defaults") {
    const CommandLine line = parse({});
    CHECK(line.run);
    CHECK(line.exit_code == 0);
    CHECK(line.out == "");
    CHECK(line.err == "");
    CHECK(line.config == Config{});
    CHECK(line.stop_after == 0);
    CHECK(parse_command_line(1, std::vector<const char*>{"ursula"}.data(), nullptr).run);
}

TEST_CASE("flags are keys") {
    const CommandLine line =
        parse({"--listen", "127.0.0.1:0", "--data-dir", "d", "--shards", "2", "--set",
               "server.sse_heartbeat=1s", "--set=storage.direct=off", "--stop-after", "10"});
    REQUIRE(line.err == "");
    CHECK(line.run);
    CHECK(line.config.server.listen[0].text() == "127.0.0.1:0");
    CHECK(line.config.storage.path == "d");
    CHECK(line.config.server.shards == 2);
    CHECK(line.config.server.sse_heartbeat == base::seconds(1));
    CHECK(line.config.storage.direct == DirectIo::off);
    CHECK(line.stop_after == 10);
}

TEST_CASE("--listen may be repeated; flags win over --set") {
    const CommandLine line =
        parse({"--listen=127.0.0.1:1", "--listen", "[::1]:2", "--set", "server.listen=127.0.0.1:9",
               "--shards=2", "--set", "server.shards=3"});
    REQUIRE(line.err == "");
    REQUIRE(line.config.server.listen.size() == 2);
    CHECK(line.config.server.listen[1].text() == "[::1]:2");
    CHECK(line.config.server.shards == 2);
}

TEST_CASE("flags win over the environment, the environment over the file") {
    const TemporaryFile file("[server]\nshards = 1\npin = false\nmax_connections = 9\n");
    const CommandLine line = parse({"--config", file.name(), "--shards", "3"},
                                   {"URSULA_SERVER__SHARDS=2", "URSULA_SERVER__PIN=true"});
    REQUIRE(line.err == "");
    CHECK(line.config.server.shards == 3);
    CHECK(line.config.server.pin);
    CHECK(line.config.server.max_connections == 9);
    CHECK(line.sources.file == file.name());
}

TEST_CASE("a wrong value of a flag names the flag") {
    const CommandLine line = parse({"--shards", "many", "--listen", "nowhere"});
    CHECK_FALSE(line.run);
    CHECK(line.exit_code == 2);
    CHECK(contains(line.err, "--shards: error: server.shards must be a number, not \"many\""));
    CHECK(contains(line.err, "--listen: error: server.listen: \"nowhere\" is not ADDR:PORT"));
    CHECK(contains(line.err, "2 errors. Nothing was changed.\n"));
}

TEST_CASE("a warning does not stop the server") {
    const CommandLine line = parse({}, {"URSULA_SERVER__SHARTS=2"});
    CHECK(line.run);
    CHECK(contains(line.err, "warning: "));
}

TEST_CASE("wrong usage: one sentence, with a suggestion") {
    CHECK(usage_error({"--confg", "x"}) == "unknown option \"--confg\"; did you mean --config?");
    CHECK(usage_error({"--lisen=127.0.0.1:1"}) ==
          "unknown option \"--lisen\"; did you mean --listen?");
    CHECK(usage_error({"--datadir", "x"}) ==
          "unknown option \"--datadir\"; did you mean --data-dir?");
    CHECK(usage_error({"-listen", "x"}) == "unknown option \"-listen\"; did you mean --listen?");
    CHECK(usage_error({"--frobnicate"}) == "unknown option \"--frobnicate\"");
    CHECK(usage_error({"-x"}) == "unknown option \"-x\"");
    CHECK(usage_error({"chekc"}) == "unknown command \"chekc\"; did you mean check?");
    CHECK(usage_error({"serve"}) == "unknown command \"serve\"");
    CHECK(usage_error({"ursula.toml"}) ==
          "unexpected \"ursula.toml\"; name the file with --config ursula.toml");
    CHECK(usage_error({"check", "ursula.toml"}) ==
          "unexpected \"ursula.toml\"; name the file with --config ursula.toml");
    CHECK(usage_error({"--shards"}) == "--shards needs a value");
    CHECK(usage_error({"--data-dir", "--shards", "2"}) ==
          "--data-dir needs a value before \"--shards\"");
    CHECK(usage_error({"--config", "a", "--config", "b"}) ==
          "--config is given 2 times; give it once");
    CHECK(usage_error({"--config", ""}) == "--config is empty; name a file");
    CHECK(usage_error({"--set", "server.shards"}) ==
          "--set \"server.shards\" must be section.key=value, such as --set server.shards=2");
    CHECK(usage_error({"--set", "=3"}) ==
          "--set \"=3\" must be section.key=value, such as --set server.shards=2");
    for (const char* count : {"0", "x", "", "1x", "99999999999999999999"}) {
        CAPTURE(count);
        CHECK(contains(usage_error({"--stop-after", count}),
                       "--stop-after must be a number of requests from 1"));
    }
}

TEST_CASE("--version and --help: stdout, exit 0") {
    const CommandLine version_line = parse({"--version"});
    CHECK_FALSE(version_line.run);
    CHECK(version_line.exit_code == 0);
    CHECK(version_line.out == "ursula " + std::string(version()) + "\n");
    for (const char* flag : {"--help", "-h"}) {
        const CommandLine help = parse({flag});
        CHECK_FALSE(help.run);
        CHECK(help.exit_code == 0);
        CHECK(help.err == "");
        CHECK(contains(help.out, "Usage:\n"));
        CHECK(contains(help.out, "Examples:\n"));
        CHECK(contains(help.out, "server.listen "));
        CHECK_FALSE(contains(help.out, "--stop-after"));
    }
    CHECK(parse({"check", "--help"}).exit_code == 0);
    // Help helps even where the rest is wrong.
    CHECK(parse({"--help", "--frobnicate"}).exit_code == 0);
}

TEST_CASE("help fits a terminal of 80 columns") {
    const std::string text = parse({"--help"}).out;
    std::size_t begin = 0;
    while (begin < text.size()) {
        const std::size_t end = text.find('\n', begin);
        CHECK(end - begin <= 80);
        begin = end + 1;
    }
}

TEST_CASE("check: ok, or every error and exit 2") {
    {
        const TemporaryFile good("[server]\nshards = 1\n");
        for (const CommandLine& line : {parse({"check", "--config", good.name()}),
                                        parse({"--config", good.name(), "check"})}) {
            CHECK_FALSE(line.run);
            CHECK(line.exit_code == 0);
            CHECK(line.out == std::string(good.name()) + ": ok\n");
            CHECK(line.err == "");
        }
    }
    const TemporaryFile bad("[server]\nshards = \"x\"\nlisten = 3\n");
    const CommandLine line = parse({"check", "--config", bad.name()});
    CHECK_FALSE(line.run);
    CHECK(line.exit_code == 2);
    CHECK(line.out == "");
    CHECK(contains(line.err, "cli_test.toml:2:10: error: "));
    CHECK(contains(line.err, "cli_test.toml:3:10: error: "));
    CHECK(contains(line.err, "2 errors. Nothing was changed.\n"));
    CHECK(parse({"check"}).out ==
          "no configuration file; flags, environment and built-in defaults: ok\n"
          "  ursula check --config FILE checks a file\n");
    CHECK(parse({"check", "--config", "/nonexistent"}).exit_code == 2);
}

}  // namespace ursula
