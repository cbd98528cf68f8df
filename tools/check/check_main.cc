// ursula-check: reads an operation history and says whether it is consistent.
// Exit 0 consistent, 1 not (with the witnesses), 2 the history or the command line is unreadable.
#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tools/check/check.h"
#include "tools/check/generate.h"
#include "tools/check/history.h"
#include "tools/check/parse.h"

namespace {

using ursula::check::History;
using ursula::check::Verdict;

constexpr std::size_t most_violations_shown = 20;

int usage(std::FILE* out, int code) {
    std::fputs(
        "usage: ursula-check [--epsilon N] FILE\n"
        "       ursula-check --generate N [--streams N] [--seed N]\n"
        "       ursula-check --bench N [--streams N] [--seed N]\n"
        "Reads a history of appends, reads, closes, creates and deletes (FILE, or - for standard\n"
        "input) and says whether it is linearizable and whole. tools/check/history.h describes "
        "it.\n"
        "--epsilon   what contradicts by at most N units of the clock is reported apart\n"
        "--generate  writes a consistent history of N operations to standard output\n"
        "--bench     generates one in memory, checks it and prints the times\n"
        "Exit 0: consistent. 1: not, and the operations that prove it. 2: unreadable.\n",
        out);
    return code;
}

// Reads a file by pieces and hands its lines on. Returns what is wrong.
std::optional<std::string> read_history(std::FILE* file, History& history) {
    ursula::check::Parser parser(history);
    std::vector<char> buffer(std::size_t{1} << 20);
    std::size_t held = 0;  // Bytes of the buffer: a line's beginning.
    for (;;) {
        if (held == buffer.size()) {
            buffer.resize(buffer.size() * 2);
        }
        const std::size_t got = std::fread(buffer.data() + held, 1, buffer.size() - held, file);
        const std::size_t size = held + got;
        std::size_t begin = 0;
        while (begin < size) {
            const void* found = std::memchr(buffer.data() + begin, '\n', size - begin);
            if (found == nullptr && got > 0) {
                break;
            }
            const std::size_t end =
                found == nullptr
                    ? size
                    : static_cast<std::size_t>(static_cast<const char*>(found) - buffer.data());
            if (auto wrong = parser.line({buffer.data() + begin, end - begin})) {
                return wrong;
            }
            begin = std::min(end + 1, size);
        }
        held = size - begin;
        std::memmove(buffer.data(), buffer.data() + begin, held);
        if (got == 0) {
            return std::ferror(file) != 0 ? "the file cannot be read" : parser.finish();
        }
    }
}

int report(const History& history, const Verdict& verdict) {
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
        std::printf("VIOLATION %s",
                    ursula::check::explain(history, verdict.violations[index]).c_str());
    }
    if (shown < verdict.violations.size()) {
        std::printf("%zu more streams are inconsistent\n", verdict.violations.size() - shown);
    }
    if (verdict.within_epsilon.has_value()) {
        std::printf("WITHIN THE CLOCK'S RESOLUTION %s",
                    ursula::check::explain(history, *verdict.within_epsilon).c_str());
    }
    return verdict.violations.empty() ? 0 : 1;
}

// CPU seconds of this process so far.
double cpu_s() {
    return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
}

int bench(const ursula::check::Generate& wanted) {
    using Clock = std::chrono::steady_clock;
    const History history = ursula::check::generate_history(wanted);
    const auto start = Clock::now();
    const double cpu_start_s = cpu_s();
    const Verdict verdict = ursula::check::check_history(history);
    const std::chrono::duration<double> took = Clock::now() - start;
    std::printf("checked in %.2f s (CPU %.2f s)\n", took.count(), cpu_s() - cpu_start_s);
    return report(history, verdict);
}

bool to_number(std::string_view text, std::uint64_t& out) {
    const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), out);
    return error == std::errc{} && stop == text.data() + text.size();
}

}  // namespace

int main(int argc, char** argv) {
    ursula::check::Generate wanted;
    ursula::check::Options options;
    std::string_view command;
    std::string path;
    for (int index = 1; index < argc; ++index) {
        const std::string_view argument = argv[index];
        if (argument == "--help" || argument == "-h") {
            return usage(stdout, 0);
        }
        if (argument == "-" || argument.substr(0, 1) != "-") {
            if (!path.empty() || argument.empty()) {
                return usage(stderr, 2);
            }
            path = argument;
            continue;
        }
        std::uint64_t number = 0;
        constexpr std::uint64_t highest = std::uint64_t{1} << 40;
        if (index + 1 == argc || !to_number(argv[++index], number) || number > highest) {
            return usage(stderr, 2);
        }
        if (argument == "--epsilon") {
            options.epsilon = static_cast<std::int64_t>(number);
        } else if (argument == "--streams" && number > 0 && number <= 1'000'000) {
            wanted.streams = static_cast<std::uint32_t>(number);
        } else if (argument == "--seed") {
            wanted.seed = number;
        } else if (command.empty() && (argument == "--generate" || argument == "--bench")) {
            command = argument;
            wanted.operations = number;
        } else {
            return usage(stderr, 2);
        }
    }
    if (path.empty() == command.empty()) {
        return usage(stderr, 2);
    }
    if (command == "--bench") {
        return bench(wanted);
    }
    if (command == "--generate") {
        ursula::check::generate_text(wanted, [](const std::string& text) {
            std::fwrite(text.data(), 1, text.size(), stdout);
        });
        return std::fflush(stdout) == 0 ? 0 : 2;
    }
    std::FILE* file = path == "-" ? stdin : std::fopen(path.c_str(), "rb");
    if (file == nullptr) {
        std::fprintf(stderr, "ursula-check: cannot read %s\n", path.c_str());
        return 2;
    }
    History history;
    const auto wrong = read_history(file, history);
    if (file != stdin) {
        std::fclose(file);
    }
    if (wrong.has_value()) {
        std::fprintf(stderr, "ursula-check: %s\n", wrong->c_str());
        return 2;
    }
    return report(history, ursula::check::check_history(history, options));
}
