#include "config_file.h"

#include <algorithm>
#include <optional>

// toml++ 3.3 asserts that a key follows '[' and stops the process on "[=" otherwise. Its assertions
// become exceptions, which parse() below turns into an ordinary error.
#ifdef NDEBUG
#error "toml++ turns its assertions into undefined behaviour under NDEBUG"
#endif
namespace ursula {
struct TomlAssertion {};
[[noreturn]] static void toml_assertion_failed() {
    throw TomlAssertion{};
}
}  // namespace ursula
#define TOML_ASSERT(expression)                \
    do {                                       \
        if (!(expression)) {                   \
            ::ursula::toml_assertion_failed(); \
        }                                      \
    } while (false)
#define TOML_HEADER_ONLY 1
#define TOML_EXCEPTIONS 1
#include <toml++/toml.h>

namespace ursula {

namespace {

// Enough for a person to see; what follows so many syntax errors is rarely a configuration.
constexpr std::size_t syntax_errors_max = 20;
// toml++ recurses on the parts of a dotted key; all parts of one stand on one line.
constexpr std::size_t line_bytes_max = 8 * 1024;

struct SyntaxError {
    std::string description;
    ConfigPlace place;
};

ConfigPlace place_of(const toml::source_region& region);

// The end of the first line that makes the parser of toml++ give up without a place. Its asserting
// depends on what precedes alone, so a binary search over the lines finds it.
std::uint32_t find_assertion(std::string_view text) {
    std::vector<std::size_t> ends;
    for (std::size_t end = text.find('\n'); end != std::string_view::npos;
         end = text.find('\n', end + 1)) {
        ends.push_back(end);
    }
    ends.push_back(text.size());
    const auto first = std::partition_point(ends.begin(), ends.end(), [text](std::size_t end) {
        try {
            static_cast<void>(toml::parse(text.substr(0, end)));
        } catch (const toml::parse_error&) {
            return true;
        } catch (const TomlAssertion&) {
            return false;
        }
        return true;
    });
    return static_cast<std::uint32_t>(first - ends.begin()) + 1;
}

// Nothing: `error` says why.
std::optional<toml::table> parse(std::string_view text, SyntaxError& error) {
    try {
        return toml::parse(text);
    } catch (const toml::parse_error& refused) {
        error = {std::string(refused.description()), place_of(refused.source())};
    } catch (const TomlAssertion&) {
        error.description = "no section name behind [";
        error.place.source = ConfigSource::file;
        error.place.line = find_assertion(text);
        error.place.column = 1;
    }
    return std::nullopt;
}

ConfigPlace place_of(const toml::source_region& region) {
    ConfigPlace place;
    place.source = ConfigSource::file;
    place.line = region.begin.line;
    place.column = std::max<std::uint32_t>(1, region.begin.column);
    const bool one_line = region.end.line == region.begin.line;
    place.width = one_line && region.end.column > region.begin.column
                      ? region.end.column - region.begin.column
                      : 1;
    return place;
}

ConfigValue value_of(const toml::node& node) {
    ConfigValue value;
    value.place = place_of(node.source());
    if (const auto* text = node.as_string()) {
        value.kind = ConfigValue::Kind::text;
        value.text = text->get();
    } else if (const auto* integer = node.as_integer()) {
        value.kind = ConfigValue::Kind::integer;
        value.integer = integer->get();
    } else if (const auto* boolean = node.as_boolean()) {
        value.kind = ConfigValue::Kind::boolean;
        value.boolean = boolean->get();
    } else if (const auto* array = node.as_array()) {
        value.kind = ConfigValue::Kind::array;
        for (const toml::node& item : *array) {
            value.items.push_back(value_of(item));
        }
    } else {
        value.kind = ConfigValue::Kind::other;
        value.text = node.is_table()            ? "a table"
                     : node.is_floating_point() ? "a fraction"
                                                : "a date or time";
    }
    return value;
}

struct Lines {
    std::string text;
    std::string_view line(std::uint32_t number) const {
        const std::size_t begin = begin_of(number);
        return std::string_view(text).substr(begin, text.find('\n', begin) - begin);
    }
    // Keeps the line's place, so that what follows keeps its numbers.
    void blank(std::uint32_t number) {
        const std::size_t begin = begin_of(number);
        for (std::size_t i = begin; i < text.size() && text[i] != '\n'; ++i) {
            text[i] = ' ';
        }
    }

  private:
    std::size_t begin_of(std::uint32_t number) const {
        std::size_t begin = 0;
        for (std::uint32_t line = 1; line < number; ++line) {
            const std::size_t end = text.find('\n', begin);
            if (end == std::string::npos) {
                return text.size();
            }
            begin = end + 1;
        }
        return begin;
    }
};

std::string_view trim(std::string_view text) {
    const std::size_t begin = text.find_first_not_of(" \t\r");
    if (begin == std::string_view::npos) {
        return {};
    }
    return text.substr(begin, text.find_last_not_of(" \t\r") - begin + 1);
}

// "Error while parsing key-value pair: cannot redefine ..." says the same without its head.
std::string shorten(std::string_view description) {
    const std::size_t head = description.find(": ");
    if (description.starts_with("Error while parsing ") && head != std::string_view::npos) {
        description.remove_prefix(head + 2);
    }
    return std::string(description);
}

bool is_assignment(std::string_view line) {
    return !line.starts_with('[') && !line.starts_with('#') &&
           line.find('=') != std::string_view::npos;
}

bool parses_alone(std::string_view line) {
    SyntaxError error;
    return parse(line, error).has_value();
}

// Spellings of true and false in other languages.
std::string_view meant_boolean(std::string_view value) {
    for (const std::string_view yes : {"True", "TRUE", "yes", "Yes", "on", "On"}) {
        if (value == yes) {
            return "true";
        }
    }
    for (const std::string_view no : {"False", "FALSE", "no", "No", "off", "Off"}) {
        if (value == no) {
            return "false";
        }
    }
    return {};
}

std::uint32_t code_points(std::string_view text) {
    return static_cast<std::uint32_t>(std::count_if(text.begin(), text.end(), [](char c) {
        return (static_cast<unsigned char>(c) & 0xc0u) != 0x80u;
    }));
}

// `part` lies inside `line`, which is a whole line.
ConfigPlace place_of_part(ConfigPlace place, std::string_view line, std::string_view part) {
    const auto offset = static_cast<std::size_t>(part.data() - line.data());
    place.column = code_points(line.substr(0, offset)) + 1;
    place.width = code_points(part);
    return place;
}

// TOML's own words are for those who know its grammar; the usual mistakes get ours.
ConfigProblem explain(const ConfigPlace& place, std::string_view whole_line,
                      std::string description, bool twice, bool alone) {
    const std::string_view line = trim(whole_line);
    const bool is_header = line.starts_with('[');
    const std::size_t equals = whole_line.find('=');
    if (twice && is_header) {
        return {place_of_part(place, whole_line, line), std::string(line) + " is written twice",
                "put the keys of both under one"};
    }
    if (is_header && !alone) {
        return {place, std::move(description), "a section is written as [server]"};
    }
    if (equals == std::string_view::npos) {
        return {place, std::move(description), "a line is key = value, a [section] or a # comment"};
    }
    const std::string_view key = trim(whole_line.substr(0, equals));
    if (twice) {
        return {place_of_part(place, whole_line, key), in_quotes(key) + " is set twice",
                "remove one of the two"};
    }
    if (alone) {
        return {place_of_part(place, whole_line, line), "this line is not expected here",
                "is a quote or bracket above left open?"};
    }
    std::string_view value = whole_line.substr(equals + 1);
    value = trim(value.substr(0, value.find('#')));
    if (value.empty()) {
        return {place_of_part(place, whole_line, key), in_quotes(key) + " has no value",
                "write one, or leave the key out to get its default"};
    }
    if ((value[0] == '"' || value[0] == '\'') &&
        value.find(value[0], 1) == std::string_view::npos) {
        return {place_of_part(place, whole_line, value), "the closing quote is missing",
                std::string("end the text with ") + value[0]};
    }
    if (description.find("escape sequence") != std::string::npos) {
        return {place, std::move(description), "write each \\ twice, or use single quotes"};
    }
    const std::string fixed = std::string(key) + " = \"" + std::string(value) + '"';
    if (value.find_first_of("\"'[{\\") != std::string_view::npos || !parses_alone(fixed)) {
        return {place, std::move(description),
                "values are \"text\", numbers, true, false or [lists]"};
    }
    const std::string_view boolean = meant_boolean(value);
    return {place_of_part(place, whole_line, value), in_quotes(value) + " is no TOML value",
            boolean.empty() ? "text needs quotes: " + fixed
                            : "did you mean " + std::string(boolean) + "?"};
}

ConfigFile take_tables(const toml::table& root) {
    ConfigFile file;
    for (const auto& [key, node] : root) {
        const toml::table* section = node.as_table();
        if (section == nullptr) {
            file.entries.push_back(
                {"", std::string(key.str()), place_of(key.source()), value_of(node)});
            continue;
        }
        file.sections.push_back({std::string(key.str()), place_of(key.source())});
        for (const auto& [name, value] : *section) {
            file.entries.push_back({std::string(key.str()), std::string(name.str()),
                                    place_of(name.source()), value_of(value)});
        }
    }
    return file;
}

bool refuse_long_lines(std::string_view text, ConfigProblems& problems) {
    ConfigPlace place;
    place.source = ConfigSource::file;
    place.column = 1;
    const std::size_t before = problems.errors.size();
    while (!text.empty()) {
        const std::size_t size = std::min(text.find('\n'), text.size());
        ++place.line;
        if (size > line_bytes_max) {
            problems.error(place, "this line has more than 8KiB", "break it into several");
        }
        text.remove_prefix(std::min(size + 1, text.size()));
    }
    return problems.errors.size() > before;
}

}  // namespace

ConfigFile read_config_text(std::string_view text, ConfigProblems& problems) {
    if (refuse_long_lines(text, problems)) {
        return {};
    }
    Lines lines{std::string(text)};
    std::uint32_t last_line = 0;
    for (std::size_t errors = 0; errors < syntax_errors_max; ++errors) {
        SyntaxError error;
        if (const std::optional<toml::table> root = parse(lines.text, error)) {
            return take_tables(*root);
        }
        if (error.place.line <= last_line) {
            break;  // leaving a line out did not help
        }
        last_line = error.place.line;
        const std::string_view line = lines.line(last_line);
        const bool twice = error.description.find("redefine") != std::string::npos;
        const bool alone = parses_alone(line);
        problems.errors.push_back(
            explain(error.place, line, shorten(error.description), twice, alone));
        // Only what is wrong by itself can be left out: a line that is good alone is wrong because
        // of lines above.
        if (!is_assignment(trim(line)) || (alone && !twice)) {
            break;
        }
        lines.blank(last_line);
    }
    return {};
}

bool read_config_value(std::string_view text, const ConfigPlace& place, ConfigValue& value) {
    if (text.find('\n') != std::string_view::npos || text.size() > line_bytes_max) {
        return false;
    }
    SyntaxError error;
    const std::optional<toml::table> root = parse("value = " + std::string(text), error);
    if (!root || root->size() != 1) {
        return false;
    }
    value = value_of(*root->get("value"));
    value.place = place;
    for (ConfigValue& item : value.items) {
        item.place = place;
    }
    return true;
}

}  // namespace ursula
