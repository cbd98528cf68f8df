// From TOML text to values with places; knows no key. The only user of toml++.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "config_report.h"

namespace ursula {

struct ConfigName {
    std::string name;
    ConfigPlace place;
};

struct ConfigValue {
    // `untyped` is text from the environment or the command line: the key decides what it is read
    // as.
    enum class Kind : std::uint8_t { text, integer, boolean, array, table, other, untyped };
    Kind kind = Kind::untyped;
    std::string text;  // text and untyped: the value; other: what it is, "a date"
    std::int64_t integer = 0;
    bool boolean = false;
    std::vector<ConfigValue> items;  // of an array, or the values of a table
    std::vector<ConfigName> names;   // of a table, beside items
    ConfigPlace place;
};

struct ConfigEntry {
    std::string section;  // empty: written before any [section]
    std::string key;
    ConfigPlace key_place;
    ConfigValue value;
};

struct ConfigSection {
    std::string name;
    ConfigPlace place;
};

struct ConfigFile {
    std::vector<ConfigEntry> entries;
    std::vector<ConfigSection> sections;
};

// Syntax errors are reported in `problems`. After one that concerns a single "key = value" line
// that line is left out and reading goes on, so that one run shows as much as possible; after any
// other, entries are those of no file.
[[nodiscard]] ConfigFile read_config_text(std::string_view text, ConfigProblems& problems);

// One TOML value alone, as in `--set server.listen='["a", "b"]'`. False: it is none, `value` is
// untouched.
[[nodiscard]] bool read_config_value(std::string_view text, const ConfigPlace& place,
                                     ConfigValue& value);

}  // namespace ursula
