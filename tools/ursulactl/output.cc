#include "tools/ursulactl/output.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

namespace ursula::ctl {

namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view green = "\033[32m";
constexpr std::string_view red = "\033[31m";
constexpr std::string_view usual = "\033[0m";

// Characters, not bytes: what a terminal puts side by side, as far as names of ours go.
std::size_t width_of(std::string_view text) {
    return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
        return (static_cast<unsigned char>(c) & 0xc0u) != 0x80u;
    }));
}

std::string painted(const Cell& cell, bool colour) {
    if (!colour || cell.mood == Mood::plain) {
        return cell.text;
    }
    return std::string(cell.mood == Mood::good ? green : red) + cell.text + std::string(usual);
}

// U+0080 to U+009F (C1) are C2 80 to C2 9F; U+200E, U+200F, U+202A to U+202E and U+2066 to U+2069
// turn text around.
bool is_unsafe_pair(unsigned char first, unsigned char second) {
    return first == 0xc2 && second >= 0x80 && second <= 0x9f;
}
bool is_unsafe_triple(unsigned char first, unsigned char second, unsigned char third) {
    return first == 0xe2 && ((second == 0x80 && (third == 0x8e || third == 0x8f ||
                                                 (third >= 0xa8 && third <= 0xae))) ||
                             (second == 0x81 && third >= 0xa6 && third <= 0xa9));
}

}  // namespace

std::string printable(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const auto at = [&text](std::size_t k) {
            return static_cast<unsigned char>(k < text.size() ? text[k] : '\0');
        };
        const unsigned char c = at(i);
        if (c < 0x20 || c == 0x7f) {
            out += '?';
        } else if (is_unsafe_pair(c, at(i + 1))) {
            out += '?';
            i += 1;
        } else if (is_unsafe_triple(c, at(i + 1), at(i + 2))) {
            out += '?';
            i += 2;
        } else {
            out += text[i];
        }
    }
    return out;
}

void talk(const std::string& line) {
    const std::string text = printable(line) + "\n";
    std::fwrite(text.data(), 1, text.size(), stderr);
}

std::string Table::text(const GlobalFlags& flags) const {
    const bool wide = flags.format == Format::wide;
    std::vector<std::size_t> widths;
    for (std::size_t column = 0; column < columns_.size(); ++column) {
        std::size_t width = flags.headers ? columns_[column].title.size() : 0;
        for (const auto& row : rows_) {
            width = std::max(width, width_of(row[column].text));
        }
        widths.push_back(width);
    }
    std::string out;
    const auto add_line = [&](const std::vector<Cell>& cells, bool colour) {
        std::string line;
        std::string blanks;
        for (std::size_t column = 0; column < columns_.size(); ++column) {
            if (columns_[column].wide && !wide) {
                continue;
            }
            const Cell& cell = cells[column];
            const std::string padding(widths[column] - width_of(cell.text), ' ');
            line += blanks;
            line += cell.number ? padding + painted(cell, colour) : painted(cell, colour);
            blanks = (cell.number ? std::string() : padding) + "  ";
        }
        out += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
    };
    if (flags.headers) {
        std::vector<Cell> titles;
        for (std::size_t column = 0; column < columns_.size(); ++column) {
            const bool number = !rows_.empty() && rows_.front()[column].number;
            titles.push_back({std::string(columns_[column].title), Mood::plain, number});
        }
        add_line(titles, false);
    }
    for (const auto& row : rows_) {
        add_line(row, flags.colour);
    }
    return out;
}

bool Output::json(const std::string& body, std::string_view list) {
    if (flags_.format != Format::json && flags_.format != Format::ndjson) {
        return false;
    }
    const Json json = Json::parse(body);
    const auto dump = [](const Json& value, int indent) {
        return value.dump(indent, ' ', false, Json::error_handler_t::replace) + "\n";
    };
    if (flags_.format == Format::json) {
        put(dump(json, 2));
    } else if (!list.empty() && json.contains(list) && json[std::string(list)].is_array()) {
        for (const Json& item : json[std::string(list)]) {
            put(dump(item, -1));
        }
    } else {
        put(dump(json, -1));
    }
    return true;
}

void Output::write(const std::string& text) {
    if (!flags_.quiet) {
        put(text);
    }
}

void Output::put(const std::string& text) {
    if (kept_ != nullptr) {
        *kept_ += text;
        return;
    }
    if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() ||
        std::fflush(stdout) != 0) {
        throw Failure(exit_failed, "stdout cannot be written");
    }
}

std::string human_bytes(std::uint64_t bytes) {
    constexpr std::array units = {"KiB", "MiB", "GiB", "TiB", "PiB"};
    if (bytes < 1024) {
        return fmt::format("{} B", bytes);
    }
    double value = static_cast<double>(bytes) / 1024;
    std::size_t unit = 0;
    while (value >= 1023.95 && unit + 1 < units.size()) {
        value /= 1024;
        ++unit;
    }
    return fmt::format("{:.1f} {}", value, units[unit]);
}

std::string human_seconds(std::uint64_t seconds) {
    if (seconds < 60) {
        return fmt::format("{}s", seconds);
    }
    if (seconds < 3600) {
        return fmt::format("{}m {}s", seconds / 60, seconds % 60);
    }
    if (seconds < 86'400) {
        return fmt::format("{}h {}m", seconds / 3600, seconds % 3600 / 60);
    }
    return fmt::format("{}d {}h", seconds / 86'400, seconds % 86'400 / 3600);
}

}  // namespace ursula::ctl
