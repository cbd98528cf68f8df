#include "tools/ursulactl/cli.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <charconv>
#include <nlohmann/json.hpp>

#include "config_report.h"
#include "tools/ursulactl/client.h"
#include "tools/ursulactl/output.h"
#include "units.h"

namespace ursula::ctl {

namespace {

constexpr std::array<Parameter, 12> global_parameters = {{
    {"--server", "URL", "the node: http://HOST:PORT or unix:PATH"},
    {"--data-dir", "DIR", "the node whose data directory this is, by its socket"},
    {"--output", "FORMAT", "-o: table, wide, json or ndjson"},
    {"--timeout", "TIME", "give up after so long: 500ms, 10s, 2m"},
    {"--no-headers", "", "tables without their first line"},
    {"--no-color", "", "no colour, also on a terminal"},
    {"--quiet", "", "-q: nothing but errors and what -o json prints"},
    {"--verbose", "", "-v: each request on stderr"},
    {"--print-curl", "", "print the request as a curl command, send nothing"},
    {"--yes", "", "do not ask before what cannot be taken back"},
    {"--help", "", "-h: print this"},
    {"--version", "", "print the version"},
}};

constexpr std::string_view short_of(std::string_view name) {
    return name == "--output"    ? "-o"
           : name == "--quiet"   ? "-q"
           : name == "--verbose" ? "-v"
           : name == "--help"    ? "-h"
                                 : "";
}

const Parameter* find_parameter(std::span<const Parameter> parameters, std::string_view name) {
    for (const Parameter& parameter : parameters) {
        if (parameter.is_option() &&
            (parameter.name == name || (name.size() == 2 && short_of(parameter.name) == name))) {
            return &parameter;
        }
    }
    return nullptr;
}

// Whether the word behind `option` is its value, in whatever command.
bool takes_value(std::string_view option) {
    if (option.find('=') != std::string_view::npos) {
        return false;
    }
    if (const Parameter* global = find_parameter(global_parameters, option)) {
        return !global->value.empty();
    }
    for (const Command* command : all_commands()) {
        if (const Parameter* own = find_parameter(command->parameters, option)) {
            return !own->value.empty();
        }
    }
    return false;
}

std::string_view first_word(std::string_view words) {
    return words.substr(0, words.find(' '));
}

bool is_family(std::string_view word) {
    return std::any_of(all_commands().begin(), all_commands().end(), [word](const Command* one) {
        return one->words.size() > word.size() && first_word(one->words) == word;
    });
}

const Command* find_command(std::string_view words) {
    for (const Command* command : all_commands()) {
        if (command->words == words) {
            return command;
        }
    }
    return nullptr;
}

Failure unknown_command(const std::string& words) {
    std::vector<std::string_view> names;
    for (const Command* command : all_commands()) {
        names.push_back(command->words);
        names.push_back(first_word(command->words));
    }
    const std::string_view near = nearest_name(words, names);
    return {exit_usage, "unknown command \"" + printable(words) + "\"",
            near.empty() ? "ursulactl --help lists them"
                         : "did you mean \"" + std::string(near) + "\"?"};
}

// The command's words, taken out of `arguments`.
struct Words {
    const Command* command = nullptr;
    std::string family;  // named without one of its commands
    bool none = false;
    std::vector<std::string> rest;
};

Words find_words(const std::vector<std::string>& arguments) {
    Words found;
    std::vector<std::size_t> words;
    for (std::size_t i = 0; i < arguments.size() && words.size() < 2; ++i) {
        if (arguments[i] == "--") {
            break;
        }
        if (arguments[i].starts_with("-")) {
            i += takes_value(arguments[i]) ? 1 : 0;
        } else {
            words.push_back(i);
        }
    }
    found.rest = arguments;
    if (words.empty()) {
        found.none = true;
        return found;
    }
    const std::string& first = arguments[words[0]];
    if (is_family(first)) {
        if (words.size() == 1) {
            found.family = first;
            return found;
        }
        const std::string both = first + " " + arguments[words[1]];
        found.command = find_command(both);
        if (found.command == nullptr) {
            throw unknown_command(both);
        }
        found.rest.erase(found.rest.begin() + static_cast<std::ptrdiff_t>(words[1]));
    } else {
        found.command = find_command(first);
        if (found.command == nullptr) {
            throw unknown_command(first);
        }
    }
    found.rest.erase(found.rest.begin() + static_cast<std::ptrdiff_t>(words[0]));
    return found;
}

Failure unknown_option(const std::string& word, const Command* command) {
    std::vector<std::string_view> names;
    for (const Parameter& parameter : global_parameters) {
        names.push_back(parameter.name);
    }
    for (const Parameter& parameter :
         command == nullptr ? std::span<const Parameter>() : command->parameters) {
        if (parameter.is_option()) {
            names.push_back(parameter.name);
        }
    }
    const std::string name = word.substr(0, word.find('='));
    const std::string_view near = nearest_name(name, names);
    const std::string words(command == nullptr ? "" : command->words);
    return {exit_usage,
            (command == nullptr ? "there is" : words + " has") + " no option " + printable(name),
            near.empty() ? "ursulactl " + words + (words.empty() ? "" : " ") + "--help lists them"
                         : "did you mean " + std::string(near) + "?"};
}

Format parse_format(const std::string& text, const std::string& origin) {
    if (text == "table" || text == "wide" || text == "json" || text == "ndjson") {
        return text == "table"  ? Format::table
               : text == "wide" ? Format::wide
               : text == "json" ? Format::json
                                : Format::ndjson;
    }
    throw Failure(exit_usage, origin + " has no format " + in_quotes(text),
                  "write table, wide, json or ndjson");
}

std::chrono::milliseconds parse_timeout(const std::string& text, const std::string& origin) {
    const auto parsed = parse_duration(text);
    if (!parsed) {
        throw Failure(exit_usage, origin + ": " + parsed.error().message, parsed.error().hint);
    }
    if (parsed->ns <= 0) {
        throw Failure(exit_usage, origin + " is no time at all", "write 500ms, 10s or 2m");
    }
    return std::chrono::milliseconds(std::max<std::int64_t>(1, parsed->ms()));
}

using Values = std::map<std::string, std::string, std::less<>>;

GlobalFlags read_flags(const Values& values, const Surroundings& around) {
    GlobalFlags flags;
    const auto has = [&values](const char* name) { return values.find(name) != values.end(); };
    const auto value = [&](const char* name, const char* variable, auto&& take) {
        if (has(name)) {
            take(values.find(name)->second, std::string(name));
        } else if (const std::string text = around.environment(variable); !text.empty()) {
            take(text, std::string(variable));
        }
    };
    if (has("--server")) {
        flags.server = values.find("--server")->second;
    }
    if (has("--data-dir")) {
        flags.data_dir = values.find("--data-dir")->second;
    }
    value("--output", "URSULACTL_OUTPUT",
          [&flags](const std::string& text, const std::string& origin) {
              flags.format = parse_format(text, origin);
          });
    value("--timeout", "URSULACTL_TIMEOUT",
          [&flags](const std::string& text, const std::string& origin) {
              flags.timeout = parse_timeout(text, origin);
              flags.has_timeout = true;
          });
    flags.headers = !has("--no-headers");
    flags.quiet = has("--quiet");
    flags.verbose = has("--verbose");
    flags.print_curl = has("--print-curl");
    flags.yes = has("--yes");
    flags.colour = around.to_terminal && !has("--no-color") &&
                   around.environment("NO_COLOR").empty() && around.environment("TERM") != "dumb";
    return flags;
}

// Every option the command knows, with what was given, and what is left over.
struct Parsed {
    Values values;
    std::vector<std::string> words;
};

Parsed read_options(const Words& words) {
    struct Given {
        const Parameter* parameter;
        std::vector<std::string> values;
        bool is_set = false;
    };
    std::vector<std::unique_ptr<Given>> given;
    CLI::App app;
    app.set_help_flag();  // ours prints ours
    app.allow_extras();   // what is unknown is told apart by us, with a suggestion
    const auto add = [&](const Parameter& parameter) {
        if (!parameter.is_option()) {
            return;
        }
        given.push_back(std::make_unique<Given>(Given{&parameter, {}, false}));
        Given& one = *given.back();
        const std::string_view letter = short_of(parameter.name);
        const std::string names =
            std::string(parameter.name) + (letter.empty() ? "" : "," + std::string(letter));
        if (parameter.value.empty()) {
            app.add_flag(names, one.is_set);
        } else {
            app.add_option(names, one.values)->expected(1)->allow_extra_args(false)->take_all();
        }
    };
    for (const Parameter& parameter : global_parameters) {
        add(parameter);
    }
    if (words.command != nullptr) {
        for (const Parameter& parameter : words.command->parameters) {
            add(parameter);
        }
    }
    std::vector<std::string> reversed(words.rest.rbegin(), words.rest.rend());
    try {
        app.parse(reversed);
    } catch (const CLI::ParseError& error) {
        const std::string text = error.what();
        throw Failure(exit_usage, text.starts_with("--")
                                      ? text.substr(0, text.find(':')) + " needs a value"
                                      : text);
    }
    Parsed parsed;
    for (const auto& one : given) {
        const std::string name(one->parameter->name);
        if (one->values.size() > 1) {
            throw Failure(exit_usage,
                          name + " is given " + std::to_string(one->values.size()) + " times",
                          "give it once");
        }
        if (one->values.size() == 1) {
            if (one->values.front().starts_with("--")) {
                throw Failure(exit_usage, name + " needs a value before " + one->values.front());
            }
            parsed.values[name] = one->values.front();
        } else if (one->is_set) {
            parsed.values[name] = "";
        }
    }
    bool only_words = false;
    for (const std::string& word : app.remaining()) {
        if (word == "--" && !only_words) {
            only_words = true;
        } else if (!only_words && word.size() > 1 && word.starts_with("-")) {
            throw unknown_option(word, words.command);
        } else {
            parsed.words.push_back(word);
        }
    }
    return parsed;
}

void place_words(const Command& command, const std::vector<std::string>& words, Values& values) {
    std::size_t next = 0;
    const std::string name(command.words);
    const std::string shows_how = "ursulactl " + name + " --help shows how";
    for (const Parameter& parameter : command.parameters) {
        if (parameter.is_option()) {
            if (parameter.required && values.find(parameter.name) == values.end()) {
                throw Failure(exit_usage,
                              name + " needs " + std::string(parameter.name) +
                                  (parameter.value.empty() ? "" : " ") +
                                  std::string(parameter.value),
                              shows_how);
            }
        } else if (next < words.size()) {
            values[std::string(parameter.name)] = words[next++];
        } else if (parameter.required) {
            throw Failure(exit_usage, name + " needs " + std::string(parameter.name), shows_how);
        }
    }
    if (next < words.size()) {
        throw Failure(exit_usage, name + " takes no " + in_quotes(words[next]), shows_how);
    }
}

void add_row(std::string& out, std::string_view left, std::string_view right, std::size_t at) {
    std::string line = "  " + std::string(left);
    line.resize(std::max(line.size() + 2, at), ' ');
    out += line + std::string(right) + "\n";
}

void add_parameters(std::string& out, std::span<const Parameter> parameters) {
    for (const Parameter& parameter : parameters) {
        add_row(out,
                std::string(parameter.name) + (parameter.value.empty() ? "" : " ") +
                    std::string(parameter.value),
                parameter.help, 24);
    }
}

constexpr std::string_view exit_table =
    "Exit codes: 0 ok; 1 failed; 2 usage; 3 not found; 4 denied; 5 unreachable or\n"
    "not in time; 6 conflict; 10 unhealthy; 130 interrupted.\n";

void report(const Failure& failure) {
    talk("ursulactl: " + std::string(failure.what()));
    if (!failure.next.empty()) {
        talk("  " + failure.next);
    }
}

}  // namespace

const std::string& Context::text(std::string_view name) const {
    static const std::string none;
    const auto at = values.find(name);
    return at == values.end() ? none : at->second;
}

std::uint64_t Context::number(std::string_view name, std::uint64_t low, std::uint64_t high) const {
    const std::string& written = text(name);
    std::uint64_t value = 0;
    const char* end = written.data() + written.size();
    const auto [rest, error] = std::from_chars(written.data(), end, value);
    if (written.empty() || error != std::errc() || rest != end || value < low || value > high) {
        throw Failure(exit_usage, fmt::format("{} must be a number from {} to {}, not {}", name,
                                              low, high, in_quotes(written)));
    }
    return value;
}

std::string help_of_all() {
    std::string out =
        "ursulactl: look after Ursula nodes.\n"
        "Usage: ursulactl COMMAND [OPTIONS]\n"
        "Examples:\n"
        "  ursulactl status                     the node of this machine\n"
        "  ursulactl --data-dir ./data status   the node of this data directory\n"
        "  ursulactl --server http://10.0.0.2:4437 status -o json\n"
        "Commands:\n";
    for (const Command* command : all_commands()) {
        add_row(out, command->words, command->summary, 20);
    }
    out += "Options of every command:\n";
    add_parameters(out, global_parameters);
    out +=
        "Without --server and --data-dir: URSULACTL_SERVER, URSULACTL_DATA_DIR, then\n"
        "/run/ursula/admin.sock, the socket in URSULA_STORAGE__PATH, and at last\n"
        "http://127.0.0.1:4437. URSULACTL_OUTPUT and URSULACTL_TIMEOUT work as flags do.\n"
        "Changes need the socket (or server.admin_listen); looking also works by URL.\n";
    return out + std::string(exit_table) + "ursulactl COMMAND --help tells more.\n";
}

std::string help_of_family(std::string_view family) {
    std::string out = "Usage: ursulactl " + std::string(family) + " COMMAND [OPTIONS]\nCommands:\n";
    for (const Command* command : all_commands()) {
        if (first_word(command->words) == family) {
            add_row(out, command->words, command->summary, 20);
        }
    }
    return out + "ursulactl " + std::string(family) + " COMMAND --help tells more.\n";
}

std::string help_of(const Command& command) {
    std::string out = std::string(command.summary) + "\nUsage: ursulactl " +
                      std::string(command.words) + " [OPTIONS]";
    for (const Parameter& parameter : command.parameters) {
        const std::string text = std::string(parameter.name) +
                                 (parameter.value.empty() ? "" : " ") +
                                 std::string(parameter.value);
        if (parameter.required || !parameter.is_option()) {
            out += parameter.required ? " " + text : " [" + text + "]";
        }
    }
    out += "\nExamples:\n" + std::string(command.examples);
    if (!command.parameters.empty()) {
        out += "Options:\n";
        add_parameters(out, command.parameters);
    }
    out +=
        "Options of every command (ursulactl --help tells more):\n"
        "  --server URL  --data-dir DIR  -o table|wide|json|ndjson  --timeout TIME\n"
        "  --no-headers  --no-color  -q  -v  --print-curl  --yes\n";
    if (!command.exit_codes.empty()) {
        out += "Here: " + std::string(command.exit_codes) + "\n";
    }
    return out + std::string(exit_table);
}

Invocation parse(const std::vector<std::string>& arguments, const Surroundings& around) {
    std::vector<std::string> all = arguments;
    const bool asks_help = !all.empty() && all.front() == "help";
    if (asks_help) {
        all.erase(all.begin());
        all.push_back("--help");
    }
    const Words words = find_words(all);
    Parsed parsed = read_options(words);
    Invocation invocation;
    const bool help = parsed.values.find("--help") != parsed.values.end();
    if (parsed.values.find("--version") != parsed.values.end()) {
        invocation.help = "ursulactl " URSULA_VERSION "\n";
    } else if (words.command != nullptr && help) {
        invocation.help = help_of(*words.command);
    } else if (!words.family.empty() && help) {
        invocation.help = help_of_family(words.family);
    } else if (!words.family.empty()) {
        throw Failure(exit_usage, words.family + " needs a command behind it",
                      "ursulactl " + words.family + " --help lists them");
    } else if (words.none && help) {
        invocation.help = help_of_all();
    } else if (words.none) {
        throw Failure(exit_usage, "no command is given", "ursulactl --help lists them");
    } else {
        invocation.command = words.command;
        place_words(*words.command, parsed.words, parsed.values);
        invocation.flags = read_flags(parsed.values, around);
        invocation.values = std::move(parsed.values);
    }
    return invocation;
}

int run(const std::vector<std::string>& arguments, const Surroundings& around, std::string* kept) {
    try {
        Invocation invocation = parse(arguments, around);
        Output out(invocation.flags, kept);
        if (invocation.command == nullptr) {
            invocation.help.pop_back();
            out.line(invocation.help);
            return exit_ok;
        }
        Client client(choose_target(invocation.flags, around.environment, around.exists),
                      invocation.flags);
        Context context{invocation.flags, std::move(invocation.values), client, out};
        try {
            return invocation.command->run(context);
        } catch (const CurlPrinted& printed) {
            out.line(printed.command);
            return exit_ok;
        }
    } catch (const Failure& failure) {
        report(failure);
        return failure.exit_code;
    } catch (const nlohmann::json::exception&) {
        report(Failure(exit_failed, "the node's answer lacks something: it is of another version",
                       "see both: ursulactl version"));
        return exit_failed;
    }
}

}  // namespace ursula::ctl
