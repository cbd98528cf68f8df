#include "cli.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>
#include <vector>

#include "config_report.h"

namespace ursula {

namespace {

constexpr int usage_exit_code = 2;

constexpr std::string_view help_head = R"(ursula: append-only event streams over HTTP

Usage:
  ursula [--config FILE] [--listen ADDR:PORT] [--data-dir DIR] [--shards N]
         [--set section.key=value]...
  ursula check [--config FILE]     print every error in the configuration

Examples:
  ursula                           in memory, on 127.0.0.1:4437
  ursula --data-dir ./data         durable: acknowledged appends survive kill -9
  ursula --config ursula.toml --set server.sse_heartbeat=5s
  ursula check --config ursula.toml

The first minute, from another terminal:
  curl -X PUT localhost:4437/demo
  curl -X PUT localhost:4437/demo/hello -H 'Content-Type: text/plain'
  curl localhost:4437/demo/hello -H 'Content-Type: text/plain' -d 'hello'
  curl -N 'localhost:4437/demo/hello?offset=-1&live=sse'

Options:
  --config FILE            TOML file with [section]s and keys as below
  --listen ADDR:PORT       server.listen; may be repeated; port 0: a free one
  --data-dir DIR           storage.path
  --shards N               server.shards
  --set section.key=value  any key below; of two for one key the later
  --version                print the version
  --help                   print this

Order: built-in default < file < environment < --set < flags. The environment
spells server.listen as URSULA_SERVER__LISTEN.

Keys, their defaults and what they mean:
)";

constexpr std::string_view help_tail = R"(
Durations are "500ms", "20s", "1m", "1h"; sizes are "64KiB", "16MiB", "1GiB".

Signals: SIGTERM and SIGINT finish what was accepted and exit 0 within
server.drain_timeout; a second one exits at once. SIGHUP reads the file again.

Exit codes: 0 clean; 1 failed at run time, the last line says why; 2 wrong usage
or configuration; 3 data directory refused.
)";

const std::vector<std::string_view> commands = {"check"};
const std::vector<std::string_view> flags = {"--config", "--listen",  "--data-dir", "--shards",
                                             "--set",    "--version", "--help"};

// What the parser found, not yet judged.
struct Arguments {
    std::vector<std::string> config;
    std::vector<std::string> listen;
    std::vector<std::string> data_dir;
    std::vector<std::string> shards;
    std::vector<std::string> set;
    std::vector<std::string> stop_after;
    std::vector<std::string> snapshot_after;
    bool version = false;
    bool help = false;
    bool check = false;
    std::vector<std::string> unknown;
};

void describe(CLI::App& app, Arguments& arguments) {
    app.set_help_flag();  // ours prints ours
    app.allow_extras();   // told apart from a misspelt flag by us, with a suggestion
    const auto text = [&app](const char* name, std::vector<std::string>& values) {
        app.add_option(name, values)->expected(1)->allow_extra_args(false)->take_all();
    };
    text("--config", arguments.config);
    text("--listen", arguments.listen);
    text("--data-dir", arguments.data_dir);
    text("--shards", arguments.shards);
    text("--set", arguments.set);
    text("--stop-after", arguments.stop_after);
    text("--snapshot-after", arguments.snapshot_after);
    app.add_flag("--version", arguments.version);
    app.add_flag("--help,-h", arguments.help);
}

CommandLine wrong_usage(std::string message) {
    CommandLine result;
    result.exit_code = usage_exit_code;
    result.err = "ursula: " + std::move(message) + "\nTry `ursula --help`.\n";
    return result;
}

CommandLine print(std::string text) {
    CommandLine result;
    result.out = std::move(text);
    return result;
}

CommandLine refuse_unknown(const std::string& word) {
    const bool is_flag = word.starts_with('-');
    if (!is_flag && word.ends_with(".toml")) {
        return wrong_usage("unexpected " + in_quotes(word) + "; name the file with --config " +
                           word);
    }
    const std::string name = word.substr(0, word.find('='));
    const std::string_view near = nearest_name(name, is_flag ? flags : commands);
    return wrong_usage((is_flag ? "unknown option " : "unknown command ") +
                       in_quotes(is_flag ? name : word) +
                       (near.empty() ? "" : "; did you mean " + std::string(near) + "?"));
}

// Nothing: not a number from 1.
std::optional<std::uint64_t> parse_count(const std::string& text) {
    std::uint64_t count = 0;
    const char* end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data(), end, count);
    if (error != std::errc{} || rest != end || count == 0) {
        return std::nullopt;
    }
    return count;
}

// The flags as settings of keys, --set first: a flag is the more deliberate of the two. Nonempty:
// what is wrong.
std::string take_settings(const Arguments& arguments, std::vector<Setting>& settings) {
    for (const std::string& word : arguments.set) {
        const std::size_t equals = word.find('=');
        if (equals == std::string::npos || equals == 0) {
            return "--set " + in_quotes(word) +
                   " must be section.key=value, such as "
                   "--set server.shards=2";
        }
        settings.push_back(Setting{"--set " + word.substr(0, equals), word.substr(0, equals),
                                   word.substr(equals + 1)});
    }
    if (!arguments.listen.empty()) {
        std::string all;
        for (const std::string& address : arguments.listen) {
            all += (all.empty() ? "" : ",") + address;
        }
        settings.push_back(Setting{"--listen", "server.listen", std::move(all)});
    }
    if (!arguments.data_dir.empty()) {
        settings.push_back(Setting{"--data-dir", "storage.path", arguments.data_dir.back()});
    }
    if (!arguments.shards.empty()) {
        settings.push_back(Setting{"--shards", "server.shards", arguments.shards.back()});
    }
    return {};
}

// What the parser lets pass and a person did not mean. Nonempty: what is wrong.
std::string find_mistake(const Arguments& arguments) {
    struct Option {
        const char* name;
        const std::vector<std::string>* values;
        bool once;  // two different values are more likely a mistake than a wish
    };
    const Option options[] = {{"--config", &arguments.config, true},
                              {"--listen", &arguments.listen, false},
                              {"--data-dir", &arguments.data_dir, true},
                              {"--shards", &arguments.shards, true},
                              {"--set", &arguments.set, false},
                              {"--stop-after", &arguments.stop_after, true},
                              {"--snapshot-after", &arguments.snapshot_after, true}};
    for (const Option& option : options) {
        for (const std::string& value : *option.values) {
            if (value.starts_with("--")) {
                return std::string(option.name) + " needs a value before " + in_quotes(value);
            }
        }
        if (option.once && option.values->size() > 1) {
            return std::string(option.name) + " is given " + std::to_string(option.values->size()) +
                   " times; give it once";
        }
    }
    return {};
}

CommandLine judge(const Arguments& arguments, const char* const* environment) {
    if (arguments.help) {
        return print(std::string(help_head) + describe_keys() + std::string(help_tail));
    }
    if (arguments.version) {
        return print("ursula " + std::string(version()) + "\n");
    }
    if (std::string mistake = find_mistake(arguments); !mistake.empty()) {
        return wrong_usage(std::move(mistake));
    }
    if (!arguments.unknown.empty()) {
        return refuse_unknown(arguments.unknown.front());
    }
    CommandLine result;
    if (!arguments.config.empty()) {
        if (arguments.config.front().empty()) {
            return wrong_usage("--config is empty; name a file");
        }
        result.sources.file = arguments.config.front();
    }
    result.sources.environment = environment_settings(environment);
    if (std::string wrong = take_settings(arguments, result.sources.command_line); !wrong.empty()) {
        return wrong_usage(std::move(wrong));
    }
    if (!arguments.stop_after.empty()) {
        const std::optional<std::uint64_t> count = parse_count(arguments.stop_after.front());
        if (!count) {
            return wrong_usage("--stop-after must be a number of requests from 1, not " +
                               in_quotes(arguments.stop_after.front()));
        }
        result.stop_after = *count;
    }
    if (!arguments.snapshot_after.empty()) {
        const std::optional<std::uint64_t> bytes = parse_count(arguments.snapshot_after.front());
        if (!bytes) {
            return wrong_usage("--snapshot-after must be a number of bytes from 1, not " +
                               in_quotes(arguments.snapshot_after.front()));
        }
        result.snapshot_after = *bytes;
    }

    LoadedConfig loaded = load_config(result.sources);
    result.err = loaded.warnings + loaded.errors;
    if (!loaded.errors.empty()) {
        result.exit_code = usage_exit_code;
        return result;
    }
    result.config = std::move(loaded.config);
    if (arguments.check) {
        // Also of a check without a file something was checked: flags and environment.
        result.out = result.sources.file.empty()
                         ? "no configuration file; flags, environment and built-in defaults: ok\n"
                           "  ursula check --config FILE checks a file\n"
                         : result.sources.file + ": ok\n";
        return result;
    }
    result.run = true;
    return result;
}

}  // namespace

const char* version() {
    return URSULA_VERSION;
}

CommandLine parse_command_line(int argc, const char* const* argv, const char* const* environment) {
    Arguments arguments;
    CLI::App app;
    describe(app, arguments);
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        // All that is left to the parser is a flag without its value: "--shards: 1 required TEXT
        // missing".
        const std::string text = error.what();
        const std::size_t colon = text.find(':');
        return wrong_usage(text.starts_with("--") && colon != std::string::npos
                               ? text.substr(0, colon) + " needs a value"
                               : text);
    }
    arguments.unknown = app.remaining();
    // `check` may stand anywhere among the flags; the first word that is no flag is the command.
    const auto word = std::find(arguments.unknown.begin(), arguments.unknown.end(), "check");
    if (word != arguments.unknown.end()) {
        arguments.check = true;
        arguments.unknown.erase(word);
    }
    return judge(arguments, environment);
}

}  // namespace ursula
