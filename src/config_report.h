// Errors and warnings about configuration, with the place they are about, and their text for a
// person:
//
//   ursula.toml:14:1: error: unknown key "flush_intervall" in [cold]
//      14 | flush_intervall = "1s"
//         | ^~~~~~~~~~~~~~~ did you mean "flush_interval"?
//   --shards 70: error: server.shards = 70 is out of range; write a number from 0 to 64
//   2 errors. Nothing was changed.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace ursula {

// Where a value was written. In rising order of precedence.
enum class ConfigSource : std::uint8_t { built_in, file, environment, command_line };

struct ConfigPlace {
    ConfigSource source = ConfigSource::built_in;
    std::string origin;        // not for a file: what the user typed, "--shards 70"
    std::uint32_t line = 0;    // file only, from 1
    std::uint32_t column = 0;  // file only, from 1, in code points
    std::uint32_t width = 1;   // file only, what the caret underlines, in code points
};

struct ConfigProblem {
    ConfigPlace place;
    std::string message;  // no full stop
    std::string hint;     // the way out; shown behind the caret
};

struct ConfigProblems {
    std::vector<ConfigProblem> errors;
    std::vector<ConfigProblem> warnings;
    void error(ConfigPlace place, std::string message, std::string hint) {
        errors.push_back(ConfigProblem{std::move(place), std::move(message), std::move(hint)});
    }
    void warning(ConfigPlace place, std::string message, std::string hint) {
        warnings.push_back(ConfigProblem{std::move(place), std::move(message), std::move(hint)});
    }
};

// Both in the order file, environment, command line; empty when there is nothing to say. `text` is
// the file's.
[[nodiscard]] std::string render_errors(std::vector<ConfigProblem> errors, std::string_view file,
                                        std::string_view text);
[[nodiscard]] std::string render_warnings(std::vector<ConfigProblem> warnings,
                                          std::string_view file, std::string_view text);

// The candidate a person most likely meant: one letter wrong, left out, added or swapped with its
// neighbour; two from six letters on, three from ten. Empty: none is near.
[[nodiscard]] std::string_view nearest_name(std::string_view written,
                                            const std::vector<std::string_view>& candidates);

// `text` in double quotes, cut at 80 bytes, with control characters replaced: safe on a terminal.
[[nodiscard]] std::string in_quotes(std::string_view text);

}  // namespace ursula
