#include "units.h"

#include <array>
#include <charconv>
#include <limits>
#include <optional>
#include <system_error>

#include "config_report.h"

namespace ursula {

namespace {

struct Unit {
    std::string_view name;
    std::uint64_t factor;
};

// Largest first: format_* takes the first that divides.
constexpr std::array<Unit, 4> size_units = {{
    {"TiB", 1ull << 40},
    {"GiB", 1ull << 30},
    {"MiB", 1ull << 20},
    {"KiB", 1ull << 10},
}};
constexpr std::uint64_t seconds_factor = 1'000'000'000ull;
constexpr std::array<Unit, 6> duration_units = {{
    {"h", 3'600'000'000'000ull},
    {"m", 60'000'000'000ull},
    {"s", seconds_factor},
    {"ms", 1'000'000ull},
    {"us", 1'000ull},
    {"ns", 1ull},
}};

// Spellings people bring from elsewhere, each with the one that is meant here. Compared without
// case.
struct Alias {
    std::string_view written;
    std::string_view meant;
};
constexpr std::array<Alias, 17> size_aliases = {{
    {"k", "KiB"},
    {"kb", "KiB"},
    {"ki", "KiB"},
    {"kib", "KiB"},
    {"m", "MiB"},
    {"mb", "MiB"},
    {"mi", "MiB"},
    {"mib", "MiB"},
    {"g", "GiB"},
    {"gb", "GiB"},
    {"gi", "GiB"},
    {"gib", "GiB"},
    {"t", "TiB"},
    {"tb", "TiB"},
    {"ti", "TiB"},
    {"tib", "TiB"},
    {"bytes", "B"},
}};
constexpr std::array<Alias, 16> duration_aliases = {{
    {"", "s"},
    {"s", "s"},
    {"sec", "s"},
    {"secs", "s"},
    {"second", "s"},
    {"seconds", "s"},
    {"min", "m"},
    {"mins", "m"},
    {"minute", "m"},
    {"minutes", "m"},
    {"m", "m"},
    {"hr", "h"},
    {"hour", "h"},
    {"hours", "h"},
    {"msec", "ms"},
    {"ms", "ms"},
}};

constexpr std::string_view size_hint = "write a number and KiB, MiB, GiB or TiB, such as \"64MiB\"";
constexpr std::string_view duration_hint =
    "write a number and ms, s, m or h, such as \"500ms\" or \"20s\"";
constexpr std::string_view percent_hint = "write a number and %, such as \"5%\"";

struct Split {
    std::uint64_t number;
    std::string_view unit;
    bool too_large;
};

// A decimal number and the rest. Nothing when the text does not begin with a digit.
std::optional<Split> split(std::string_view text) {
    Split result{};
    const char* end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data(), end, result.number);
    if (error == std::errc::invalid_argument) {
        return std::nullopt;
    }
    result.too_large = error == std::errc::result_out_of_range;
    result.unit = std::string_view(rest, static_cast<std::size_t>(end - rest));
    return result;
}

template <std::size_t count>
const Unit* find_unit(const std::array<Unit, count>& units, std::string_view name) {
    for (const Unit& unit : units) {
        if (unit.name == name) {
            return &unit;
        }
    }
    return nullptr;
}

template <std::size_t count>
std::string_view find_alias(const std::array<Alias, count>& aliases, std::string_view written) {
    std::string lower;
    for (const char c : written) {
        if (c != ' ') {
            lower += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
        }
    }
    for (const Alias& alias : aliases) {
        if (alias.written == lower) {
            return alias.meant;
        }
    }
    return {};
}

tl::unexpected<UnitError> refuse(std::string message, std::string hint) {
    return tl::unexpected<UnitError>(UnitError{std::move(message), std::move(hint)});
}

std::string did_you_mean(std::uint64_t number, std::string_view unit) {
    return "did you mean " + in_quotes(std::to_string(number) + std::string(unit)) + "?";
}

}  // namespace

tl::expected<std::uint64_t, UnitError> parse_size(std::string_view text) {
    const std::optional<Split> parts = split(text);
    if (!parts) {
        return refuse(in_quotes(text) + " is not a size", std::string(size_hint));
    }
    std::uint64_t factor = 1;
    if (!parts->unit.empty() && parts->unit != "B") {
        const Unit* unit = find_unit(size_units, parts->unit);
        if (unit == nullptr) {
            const std::string_view meant = find_alias(size_aliases, parts->unit);
            return refuse(
                in_quotes(text) + " is not a size",
                meant.empty() ? std::string(size_hint) : did_you_mean(parts->number, meant));
        }
        factor = unit->factor;
    }
    if (parts->too_large || parts->number > std::numeric_limits<std::uint64_t>::max() / factor) {
        return refuse(in_quotes(text) + " is more than 64 bits hold", "write a smaller size");
    }
    return parts->number * factor;
}

tl::expected<base::Duration, UnitError> parse_duration(std::string_view text) {
    const std::optional<Split> parts = split(text);
    if (!parts) {
        return refuse(in_quotes(text) + " is not a duration", std::string(duration_hint));
    }
    const Unit* unit = find_unit(duration_units, parts->unit);
    if (unit == nullptr) {
        const std::string_view meant = find_alias(duration_aliases, parts->unit);
        return refuse(
            in_quotes(text) + (parts->unit.empty() ? " has no unit" : " is not a duration"),
            meant.empty() ? std::string(duration_hint) : did_you_mean(parts->number, meant));
    }
    constexpr auto ns_max = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    if (parts->too_large || parts->number > ns_max / unit->factor) {
        return refuse(in_quotes(text) + " is longer than 292 years", "write a shorter duration");
    }
    return base::Duration{static_cast<std::int64_t>(parts->number * unit->factor)};
}

tl::expected<std::uint32_t, UnitError> parse_percent(std::string_view text) {
    const std::string message = in_quotes(text) + " is not a percentage";
    if (text.empty() || text.back() != '%') {
        return refuse(message, std::string(percent_hint));
    }
    const std::optional<Split> parts = split(text.substr(0, text.size() - 1));
    if (!parts || parts->too_large || parts->number > 100) {
        return refuse(message, std::string(percent_hint));
    }
    std::uint64_t hundredths = parts->number * 100;
    if (!parts->unit.empty()) {
        const std::string_view digits = parts->unit.substr(1);
        if (parts->unit[0] != '.' || digits.empty() || digits.size() > 2 ||
            digits.find_first_not_of("0123456789") != std::string_view::npos) {
            return refuse(message, std::string(percent_hint));
        }
        hundredths += static_cast<std::uint64_t>(digits[0] - '0') * 10;
        hundredths += digits.size() == 2 ? static_cast<std::uint64_t>(digits[1] - '0') : 0;
    }
    if (hundredths > 10'000) {
        return refuse(message, std::string(percent_hint));
    }
    return static_cast<std::uint32_t>(hundredths);
}

std::string format_size(std::uint64_t bytes) {
    for (const Unit& unit : size_units) {
        if (bytes >= unit.factor && bytes % unit.factor == 0) {
            return std::to_string(bytes / unit.factor) + std::string(unit.name);
        }
    }
    return std::to_string(bytes);
}

std::string format_duration(base::Duration duration) {
    const auto ns = static_cast<std::uint64_t>(duration.ns);
    for (const Unit& unit : duration_units) {
        // Below two minutes seconds read better: the default of sse_lifetime is "60s", not "1m".
        const bool in_seconds = ns < 120 * seconds_factor && unit.factor > seconds_factor;
        if (!in_seconds && ns >= unit.factor && ns % unit.factor == 0) {
            return std::to_string(ns / unit.factor) + std::string(unit.name);
        }
    }
    return "0s";
}

std::string format_percent(std::uint32_t hundredths) {
    std::string text = std::to_string(hundredths / 100);
    if (hundredths % 100 != 0) {
        text += '.';
        text += static_cast<char>('0' + hundredths % 100 / 10);
        if (hundredths % 10 != 0) {
            text += static_cast<char>('0' + hundredths % 10);
        }
    }
    return text + '%';
}

}  // namespace ursula
