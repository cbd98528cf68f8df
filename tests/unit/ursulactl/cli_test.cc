#include "tools/ursulactl/cli.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>

namespace ursula::ctl {

namespace {

std::map<std::string, std::string> environment;

Surroundings around(bool terminal = false) {
    Surroundings world;
    world.environment = [](const char* name) { return environment[name]; };
    world.exists = [](const std::string&) { return false; };
    world.to_terminal = terminal;
    return world;
}

Invocation parsed(const std::vector<std::string>& arguments, bool terminal = false) {
    return parse(arguments, around(terminal));
}

// "what: next" of the usage error.
std::string refused(const std::vector<std::string>& arguments) {
    try {
        parsed(arguments);
    } catch (const Failure& failure) {
        CHECK(failure.exit_code == exit_usage);
        return std::string(failure.what()) + ": " + failure.next;
    }
    return "was taken";
}

void check_fits(const std::string& help) {
    std::size_t begin = 0;
    while (begin < help.size()) {
        const std::size_t end = help.find('\n', begin);
        REQUIRE(end != std::string::npos);
        INFO(help.substr(begin, end - begin));
        CHECK(end - begin <= 80);
        begin = end + 1;
    }
}

}  // namespace

TEST_CASE("commands, wherever their flags stand") {
    for (const std::vector<std::string>& line : std::vector<std::vector<std::string>>{
             {"group", "transfer", "12", "--to", "2", "--server", "a:1"},
             {"--server", "a:1", "group", "transfer", "--to=2", "12"},
             {"group", "--to", "2", "transfer", "--server=a:1", "12"}}) {
        const Invocation invocation = parsed(line);
        REQUIRE(invocation.command != nullptr);
        CHECK(invocation.command->words == "group transfer");
        CHECK(invocation.flags.server == "a:1");
        CHECK(invocation.values.at("GROUP") == "12");
        CHECK(invocation.values.at("--to") == "2");
    }
    CHECK(parsed({"status"}).command->words == "status");
    CHECK(parsed({"stream", "show", "--", "-odd/name"}).values.at("BUCKET/STREAM") == "-odd/name");
}

TEST_CASE("flags of every command") {
    environment.clear();
    GlobalFlags flags = parsed({"status"}).flags;
    CHECK(flags.format == Format::table);
    CHECK(flags.headers);
    CHECK(!flags.colour);
    CHECK(!flags.has_timeout);
    flags = parsed({"status", "-o", "ndjson", "--no-headers", "-q", "-v", "--timeout", "1500ms",
                    "--print-curl", "--yes", "--data-dir", "d"})
                .flags;
    CHECK(flags.format == Format::ndjson);
    CHECK(!flags.headers);
    CHECK(flags.quiet);
    CHECK(flags.verbose);
    CHECK(flags.timeout == std::chrono::milliseconds(1500));
    CHECK(flags.print_curl);
    CHECK(flags.yes);
    CHECK(flags.data_dir == "d");

    environment = {{"URSULACTL_OUTPUT", "json"}, {"URSULACTL_TIMEOUT", "2s"}};
    CHECK(parsed({"status"}).flags.format == Format::json);
    CHECK(parsed({"status"}).flags.timeout == std::chrono::seconds(2));
    CHECK(parsed({"status", "-o", "wide"}).flags.format == Format::wide);
    environment = {{"URSULACTL_OUTPUT", "xml"}};
    CHECK(refused({"status"}).find("URSULACTL_OUTPUT has no format \"xml\"") == 0);
    environment.clear();
}

TEST_CASE("colour: on a terminal, unless somebody does not want it") {
    environment.clear();
    CHECK(parsed({"status"}, true).flags.colour);
    CHECK(!parsed({"status", "--no-color"}, true).flags.colour);
    environment = {{"NO_COLOR", "1"}};
    CHECK(!parsed({"status"}, true).flags.colour);
    environment = {{"TERM", "dumb"}};
    CHECK(!parsed({"status"}, true).flags.colour);
    environment.clear();
}

TEST_CASE("wrong usage says what was probably meant") {
    CHECK(refused({"stats"}) == "unknown command \"stats\": did you mean \"status\"?");
    CHECK(refused({"group", "lss"}) == "unknown command \"group lss\": did you mean \"group ls\"?");
    CHECK(refused({"strem", "show"}) == "unknown command \"strem\": did you mean \"stream\"?");
    CHECK(refused({"frobnicate"}).find("--help lists them") != std::string::npos);
    CHECK(refused({"status", "--sever", "x"}) ==
          "status has no option --sever: did you mean --server?");
    CHECK(refused({"group", "transfer", "1", "--too", "2"}).find("did you mean --to?") !=
          std::string::npos);
    CHECK(refused({"--frob"}).find("there is no option --frob") == 0);
    CHECK(refused({}).find("no command is given") == 0);
    CHECK(refused({"group"}).find("group needs a command") == 0);
    CHECK(refused({"group", "transfer", "1"}).find("group transfer needs --to NODE") == 0);
    CHECK(refused({"group", "show"}).find("group show needs GROUP") == 0);
    CHECK(refused({"wait"}).find("wait needs --healthy") == 0);
    CHECK(refused({"status", "x"}).find("status takes no \"x\"") == 0);
    CHECK(refused({"group", "transfer", "1", "--to"}).find("--to needs a value") == 0);
    CHECK(refused({"status", "--server", "--data-dir", "d"}).find("--server needs a value") == 0);
    CHECK(refused({"status", "--server", "a", "--server", "b"}).find("--server is given 2") == 0);
    CHECK(refused({"status", "-o", "yaml"}).find("--output has no format \"yaml\"") == 0);
    CHECK(refused({"status", "--timeout", "soon"}).find("--timeout: ") == 0);
    CHECK(refused({"status", "--timeout", "0s"}).find("--timeout is no time") == 0);
}

TEST_CASE("every help fits 80 columns and has a summary, examples and exit codes") {
    check_fits(help_of_all());
    CHECK(all_commands().size() >= 9);
    for (const Command* command : all_commands()) {
        CAPTURE(command->words);
        const std::string help = help_of(*command);
        check_fits(help);
        CHECK(help_of_all().find("  " + std::string(command->words) + " ") != std::string::npos);
        CHECK(help.starts_with(command->summary));
        CHECK(command->summary.ends_with("."));
        CHECK(std::count(command->examples.begin(), command->examples.end(), '\n') >= 2);
        CHECK(help.find("  ursulactl " + std::string(command->words)) != std::string::npos);
        CHECK(help.find("Exit codes: 0 ok; 1 failed; 2 usage") != std::string::npos);
        for (const Parameter& parameter : command->parameters) {
            CHECK(!parameter.help.empty());
            CHECK(help.find(parameter.help) != std::string::npos);
        }
        std::vector<std::string> words;
        const std::size_t blank = command->words.find(' ');
        words.emplace_back(command->words.substr(0, blank));
        if (blank != std::string_view::npos) {
            words.emplace_back(command->words.substr(blank + 1));
            const std::string family(words.front());
            check_fits(help_of_family(family));
            CHECK(help_of_family(family).find(command->words) != std::string::npos);
        }
        words.emplace_back("--help");
        CHECK(parsed(words).help == help);
    }
    CHECK(parsed({"help"}).help == help_of_all());
    CHECK(parsed({"help", "group"}).help == help_of_family("group"));
    CHECK(parsed({"help", "group", "ls"}).help == parsed({"group", "ls", "-h"}).help);
    CHECK(parsed({"--version"}).help.starts_with("ursulactl "));
}

TEST_CASE("numbers in their bounds") {
    std::string kept;
    const auto code = [&](const std::vector<std::string>& arguments) {
        kept.clear();
        return run(arguments, around(), &kept);
    };
    CHECK(code({"group", "show", "x", "--print-curl"}) == exit_usage);
    CHECK(code({"group", "show", "-1", "--print-curl"}) == exit_usage);
    CHECK(code({"group", "transfer", "1", "--to", "0", "--print-curl"}) == exit_usage);
    CHECK(code({"stream", "show", "demo", "--print-curl"}) == exit_usage);
    CHECK(kept.empty());
    CHECK(code({"group", "transfer", "1", "--to", "2", "--print-curl"}) == exit_ok);
    CHECK(kept.find("{\"to\":2}") != std::string::npos);
    CHECK(code({"stream", "show", "/demo/a b", "--print-curl"}) == exit_ok);
    CHECK(kept.find("/admin/v1/streams/demo/a%20b'") != std::string::npos);
    CHECK(code({"status", "--server", "127.0.0.1:1"}) == exit_unreachable);
    CHECK(code({"wait", "--healthy", "--timeout", "300ms", "--server", "127.0.0.1:1"}) ==
          exit_unreachable);
    CHECK(kept.empty());
}

}  // namespace ursula::ctl
