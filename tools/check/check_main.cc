// ursula-check: reads an operation history and says whether it is consistent.
// Exit 0 consistent, 1 not (with the witnesses), 2 the history or the command line is unreadable.
#include <algorithm>
#include <cstdio>
#include <string>
#include <string_view>

#include "tools/check/check.h"
#include "tools/check/history.h"

namespace {

constexpr std::size_t most_violations_shown = 20;

bool read_all(std::FILE* file, std::string& out) {
    constexpr std::size_t step_bytes = std::size_t{1} << 20;
    for (;;) {
        const std::size_t used = out.size();
        out.resize(used + step_bytes);
        const std::size_t got = std::fread(out.data() + used, 1, step_bytes, file);
        out.resize(used + got);
        if (got == 0) {
            return std::ferror(file) == 0;
        }
    }
}

std::string_view line_of(std::string_view text, std::uint32_t number) {
    for (std::uint32_t line = 1; !text.empty(); ++line) {
        const std::size_t newline = text.find('\n');
        if (line == number) {
            return text.substr(0, newline);
        }
        text = newline == std::string_view::npos ? std::string_view{} : text.substr(newline + 1);
    }
    return {};
}

int usage(std::FILE* out, int code) {
    std::fputs(
        "usage: ursula-check FILE\n"
        "Reads a history of appends, reads and closes (FILE, or - for standard input) and says "
        "whether\n"
        "it is linearizable and whole. The format is described in tools/check/history.h.\n"
        "Exit 0: consistent. 1: not, and the operations that prove it. 2: unreadable.\n",
        out);
    return code;
}

}  // namespace

int main(int argc, char** argv) {
    const std::string_view argument = argc == 2 ? argv[1] : "";
    if (argument == "--help" || argument == "-h") {
        return usage(stdout, 0);
    }
    if (argument.empty()) {
        return usage(stderr, 2);
    }
    std::string text;
    std::FILE* file = argument == "-" ? stdin : std::fopen(argv[1], "rb");
    if (file == nullptr || !read_all(file, text)) {
        std::fprintf(stderr, "ursula-check: cannot read %s\n", argv[1]);
        return 2;
    }
    if (file != stdin) {
        std::fclose(file);
    }
    ursula::check::History history;
    if (const auto wrong = ursula::check::parse_history(text, history)) {
        std::fprintf(stderr, "ursula-check: %s\n", wrong->c_str());
        return 2;
    }
    const ursula::check::Verdict verdict = ursula::check::check_history(history);
    std::printf(
        "%zu streams, %llu operations: %llu append attempts (%llu appends acknowledged), "
        "%llu reads",
        history.streams.size(), static_cast<unsigned long long>(history.operations),
        static_cast<unsigned long long>(verdict.appends),
        static_cast<unsigned long long>(verdict.acked),
        static_cast<unsigned long long>(verdict.reads));
    if (verdict.unplaced > 0) {
        std::printf(" (%llu from offsets unknown to the history, not judged)",
                    static_cast<unsigned long long>(verdict.unplaced));
    }
    std::printf("\n");
    const std::size_t shown = std::min(verdict.violations.size(), most_violations_shown);
    for (std::size_t index = 0; index < shown; ++index) {
        const ursula::check::Violation& violation = verdict.violations[index];
        std::printf("VIOLATION stream %s: %s\n", violation.stream.c_str(),
                    violation.reason.c_str());
        for (const std::uint32_t number : violation.lines) {
            const std::string_view line = line_of(text, number);
            std::printf("    line %u: %.*s\n", number, static_cast<int>(line.size()), line.data());
        }
    }
    if (shown < verdict.violations.size()) {
        std::printf("%zu more streams are inconsistent\n", verdict.violations.size() - shown);
    }
    return verdict.violations.empty() ? 0 : 1;
}
