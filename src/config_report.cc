#include "config_report.h"

#include <algorithm>

namespace ursula {

namespace {

constexpr std::size_t quoted_bytes_max = 80;
constexpr std::size_t shown_columns_max =
    120;  // of a source line; the part around the caret is shown

bool is_control(char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
}
bool is_continuation(char c) {
    return (static_cast<unsigned char>(c) & 0xc0u) == 0x80u;
}

// The text of line `number` (from 1), without its end. Empty when the text has fewer lines.
std::string_view line_of(std::string_view text, std::uint32_t number) {
    for (std::uint32_t line = 1; line < number; ++line) {
        const std::size_t end = text.find('\n');
        if (end == std::string_view::npos) {
            return {};
        }
        text.remove_prefix(end + 1);
    }
    text = text.substr(0, text.find('\n'));
    return text.ends_with('\r') ? text.substr(0, text.size() - 1) : text;
}

// One string per code point; a control character is shown as a space (tab) or '?', so that the
// caret stays below.
std::vector<std::string> columns_of(std::string_view line) {
    std::vector<std::string> columns;
    for (const char c : line) {
        if (is_continuation(c) && !columns.empty()) {
            columns.back() += c;
        } else {
            columns.push_back(c == '\t' ? " " : is_control(c) ? "?" : std::string(1, c));
        }
    }
    return columns;
}

void render_source(std::string& out, const ConfigPlace& place, std::string_view text,
                   std::string_view hint) {
    const std::vector<std::string> columns = columns_of(line_of(text, place.line));
    const std::size_t at = place.column - 1;
    // A long line is shown from a little before the caret.
    const std::size_t from = at < shown_columns_max - 40 ? 0 : at - 20;
    const std::size_t to = std::min(columns.size(), from + shown_columns_max);

    const std::string number = std::to_string(place.line);
    const std::size_t gutter = std::max<std::size_t>(5, number.size());
    out.append(gutter - number.size(), ' ').append(number).append(" | ");
    out.append(from > 0 ? "..." : "");
    for (std::size_t i = from; i < to; ++i) {
        out.append(columns[i]);
    }
    out.append(to < columns.size() ? "...\n" : "\n");

    const std::size_t width =
        std::max<std::size_t>(1, std::min<std::size_t>(place.width, to > at ? to - at : 1));
    out.append(gutter, ' ').append(" | ");
    out.append((from > 0 ? 3 : 0) + at - from, ' ').append("^").append(width - 1, '~');
    out.append(hint.empty() ? "" : " ").append(hint).append("\n");
}

std::string render(std::vector<ConfigProblem> problems, std::string_view kind,
                   std::string_view file, std::string_view text) {
    // Stable: what stands in one place keeps the order in which it was found.
    std::stable_sort(problems.begin(), problems.end(),
                     [](const ConfigProblem& a, const ConfigProblem& b) {
                         if (a.place.source != b.place.source) {
                             return a.place.source < b.place.source;
                         }
                         if (a.place.line != b.place.line) {
                             return a.place.line < b.place.line;
                         }
                         return a.place.column < b.place.column;
                     });
    std::string out;
    for (const ConfigProblem& problem : problems) {
        const bool in_file = problem.place.source == ConfigSource::file;
        const bool has_line = in_file && problem.place.line > 0;
        if (in_file) {
            out.append(file);
        } else {
            out.append(problem.place.origin);
        }
        if (has_line) {
            out.append(":").append(std::to_string(problem.place.line));
            out.append(":").append(std::to_string(problem.place.column));
        }
        out.append(": ").append(kind).append(": ").append(problem.message);
        if (has_line) {
            out.append("\n");
            render_source(out, problem.place, text, problem.hint);
        } else {
            out.append(problem.hint.empty() ? "" : "; ").append(problem.hint).append("\n");
        }
    }
    return out;
}

// Damerau-Levenshtein, the restricted form (optimal string alignment), without case.
std::size_t edit_distance(std::string_view a, std::string_view b) {
    const auto lower = [](char c) {
        return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    };
    std::vector<std::size_t> before(b.size() + 1);
    std::vector<std::size_t> above(b.size() + 1);
    std::vector<std::size_t> row(b.size() + 1);
    for (std::size_t j = 0; j <= b.size(); ++j) {
        above[j] = j;
    }
    for (std::size_t i = 1; i <= a.size(); ++i) {
        row[0] = i;
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const bool same = lower(a[i - 1]) == lower(b[j - 1]);
            row[j] = std::min({above[j] + 1, row[j - 1] + 1, above[j - 1] + (same ? 0u : 1u)});
            if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) &&
                lower(a[i - 2]) == lower(b[j - 1])) {
                row[j] = std::min(row[j], before[j - 2] + 1);
            }
        }
        std::swap(before, above);
        std::swap(above, row);
    }
    return above[b.size()];
}

}  // namespace

std::string render_errors(std::vector<ConfigProblem> errors, std::string_view file,
                          std::string_view text) {
    if (errors.empty()) {
        return {};
    }
    const std::size_t count = errors.size();
    return render(std::move(errors), "error", file, text) + std::to_string(count) +
           (count == 1 ? " error" : " errors") + ". Nothing was changed.\n";
}

std::string render_warnings(std::vector<ConfigProblem> warnings, std::string_view file,
                            std::string_view text) {
    return render(std::move(warnings), "warning", file, text);
}

std::string_view nearest_name(std::string_view written,
                              const std::vector<std::string_view>& candidates) {
    if (written.size() > 64) {  // no name of ours is near that long; the distance is quadratic
        return {};
    }
    std::string_view best;
    std::size_t best_distance = ~std::size_t{0};
    for (const std::string_view candidate : candidates) {
        const std::size_t distance = edit_distance(written, candidate);
        const std::size_t allowed = std::clamp<std::size_t>((candidate.size() + 2) / 4, 1, 3);
        if (distance <= allowed && distance < best_distance) {
            best = candidate;
            best_distance = distance;
        }
    }
    return best;
}

std::string in_quotes(std::string_view text) {
    std::size_t cut = std::min(text.size(), quoted_bytes_max);
    while (cut < text.size() && cut > 0 && is_continuation(text[cut])) {
        --cut;  // never half a character
    }
    std::string out = "\"";
    for (const char c : text.substr(0, cut)) {
        out += is_control(c) ? '?' : c;
    }
    return out + (cut < text.size() ? "...\"" : "\"");
}

}  // namespace ursula
