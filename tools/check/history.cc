#include "tools/check/history.h"

#include <charconv>
#include <unordered_map>

namespace ursula::check {

namespace {

// Cuts a line into words. A missing word is empty, which no reader below accepts.
class Words {
  public:
    explicit Words(std::string_view line) : rest_(line) {}
    std::string_view next() {
        const std::size_t blank = rest_.find(' ');
        const std::string_view word = rest_.substr(0, blank);
        rest_ = blank == std::string_view::npos ? std::string_view{} : rest_.substr(blank + 1);
        return word;
    }
    bool more() const { return !rest_.empty(); }

  private:
    std::string_view rest_;
};

template <class T>
bool read_number(std::string_view word, T& out, int base = 10) {
    const char* end = word.data() + word.size();
    const auto [stop, error] = std::from_chars(word.data(), end, out, base);
    return error == std::errc{} && stop == end && !word.empty();
}

bool read_offset(std::string_view word, Offset& out) {
    if (word == "-") {
        out = unknown_offset;
        return true;
    }
    if (word == "-1") {
        out = Offset{};
        return true;
    }
    constexpr std::size_t digits = 16;
    return word.size() == 2 * digits + 1 && word[digits] == '_' &&
           read_number(word.substr(0, digits), out.high) &&
           read_number(word.substr(digits + 1), out.low);
}

bool read_times(Words& words, std::uint32_t line, Interval& out) {
    out.line = line;
    if (!read_number(words.next(), out.start)) {
        return false;
    }
    const std::string_view end = words.next();
    if (end == "-") {
        out.end = never;
        return true;
    }
    return read_number(end, out.end) && out.start <= out.end;
}

bool read_outcome(std::string_view word, Outcome& out) {
    if (word == "acked") {
        out = Outcome::acked;
    } else if (word == "duplicate") {
        out = Outcome::duplicate;
    } else if (word == "unknown") {
        out = Outcome::unknown;
    } else if (word == "refused") {
        out = Outcome::refused;
    } else if (word == "refused-closed") {
        out = Outcome::refused_closed;
    } else {
        return false;
    }
    return true;
}

// Names become small numbers once; the view keys live in the history's text.
class Names {
  public:
    // Returns the number of a name, and whether it is new.
    std::pair<std::uint32_t, bool> number(std::string_view name) {
        const auto [at, fresh] = numbers_.try_emplace(name, next_);
        next_ += fresh ? 1 : 0;
        return {at->second, fresh};
    }

  private:
    std::unordered_map<std::string_view, std::uint32_t> numbers_;
    std::uint32_t next_ = 0;
};

class Parser {
  public:
    explicit Parser(History& history) : history_(history) {}

    // Returns a short complaint, or nullptr.
    const char* line(std::string_view text, std::uint32_t number) {
        Words words(text);
        const std::string_view kind = words.next();
        const std::string_view name = words.next();
        if (name.empty()) {
            return "a kind and a stream are needed";
        }
        Stream& stream = stream_of(name);
        if (kind == "append") {
            return append(words, number, stream);
        }
        if (kind == "read") {
            return read(words, number, stream);
        }
        if (kind == "head") {
            return head(words, number, stream);
        }
        if (kind == "close") {
            return close(words, number, stream);
        }
        if (kind == "log") {
            return log(words, number, stream);
        }
        if (kind == "end") {
            return end(words, stream);
        }
        return "the kind is none of log, end, append, close, read, head";
    }

  private:
    Stream& stream_of(std::string_view name) {
        const auto [number, fresh] = streams_.number(name);
        if (fresh) {
            history_.streams.emplace_back();
            history_.streams.back().name = std::string(name);
        }
        return history_.streams[number];
    }

    const char* producer(std::string_view word, Producer& out) {
        // A name may hold colons: the two numbers are taken from the end.
        const std::size_t last = word.rfind(':');
        const std::size_t first =
            last == std::string_view::npos || last == 0 ? last : word.rfind(':', last - 1);
        if (first == std::string_view::npos || last == std::string_view::npos ||
            !read_number(word.substr(first + 1, last - first - 1), out.epoch) ||
            !read_number(word.substr(last + 1), out.seq)) {
            return "a producer is NAME:EPOCH:SEQ";
        }
        const std::string_view name = word.substr(0, first);
        const auto [number, fresh] = producers_.number(name);
        if (fresh) {
            history_.producers.emplace_back(name);
        }
        out.name = number + 1;
        return nullptr;
    }

    const char* append(Words& words, std::uint32_t number, Stream& stream) {
        Append& append = stream.appends.emplace_back();
        if (!read_times(words, number, append.when)) {
            return "START and END must be numbers in order (END may be -)";
        }
        if (!read_outcome(words.next(), append.outcome)) {
            return "not an outcome";
        }
        if (!read_number(words.next(), append.payload, 16)) {
            return "PAYLOAD must be 64 bits in hex";
        }
        if (!read_offset(words.next(), append.offset)) {
            return "not an offset";
        }
        constexpr std::string_view producer_key = "producer=";
        while (words.more()) {
            const std::string_view word = words.next();
            if (word == "close") {
                append.closes = true;
            } else if (word.substr(0, producer_key.size()) == producer_key) {
                if (const char* wrong =
                        producer(word.substr(producer_key.size()), append.producer)) {
                    return wrong;
                }
            } else {
                return "unknown word after the offset";
            }
        }
        ++history_.operations;
        return nullptr;
    }

    const char* flags(Words& words, Read& read) {
        while (words.more()) {
            const std::string_view word = words.next();
            if (word == "tail") {
                read.tail = true;
            } else if (word == "closed") {
                read.closed = true;
            } else if (word == "live") {
                read.live = true;
            } else {
                return "unknown flag";
            }
        }
        ++history_.operations;
        return nullptr;
    }

    const char* read(Words& words, std::uint32_t number, Stream& stream) {
        Read& read = stream.reads.emplace_back();
        if (!read_times(words, number, read.when) || read.when.end == never) {
            return "START and END must be numbers in order";
        }
        if (!read_offset(words.next(), read.from) || !read_offset(words.next(), read.to) ||
            read.from == unknown_offset || read.to == unknown_offset) {
            return "not an offset";
        }
        if (!read_number(words.next(), read.count)) {
            return "COUNT must be a number";
        }
        if (!read_number(words.next(), read.hash, 16)) {
            return "HASH must be hex";
        }
        return flags(words, read);
    }

    const char* head(Words& words, std::uint32_t number, Stream& stream) {
        Read& read = stream.reads.emplace_back();
        read.head = true;
        read.tail = true;
        if (!read_times(words, number, read.when) || read.when.end == never) {
            return "START and END must be numbers in order";
        }
        if (!read_offset(words.next(), read.to) || read.to == unknown_offset) {
            return "not an offset";
        }
        read.from = read.to;
        return flags(words, read);
    }

    const char* close(Words& words, std::uint32_t number, Stream& stream) {
        Close& close = stream.closes.emplace_back();
        if (!read_times(words, number, close.when)) {
            return "START and END must be numbers in order (END may be -)";
        }
        if (!read_outcome(words.next(), close.outcome) || words.more()) {
            return "not an outcome";
        }
        ++history_.operations;
        return nullptr;
    }

    const char* log(Words& words, std::uint32_t number, Stream& stream) {
        Logged logged;
        logged.line = number;
        if (!read_number(words.next(), logged.payload, 16)) {
            return "PAYLOAD must be 64 bits in hex";
        }
        if (!read_offset(words.next(), logged.offset)) {
            return "not an offset";
        }
        const std::string_view node = words.next();
        for (NodeLog& known : stream.logs) {
            if (known.node == node) {
                known.entries.push_back(logged);
                return nullptr;
            }
        }
        NodeLog& fresh = stream.logs.emplace_back();
        fresh.node = std::string(node);
        fresh.entries.push_back(logged);
        return nullptr;
    }

    const char* end(Words& words, Stream& stream) {
        const std::string_view state = words.next();
        if (stream.closed || (state != "open" && state != "closed")) {
            return "one `end STREAM open|closed` is needed for a stream";
        }
        stream.closed = state == "closed";
        return nullptr;
    }

    History& history_;
    Names streams_;
    Names producers_;
};

}  // namespace

std::uint64_t fold(std::uint64_t hash, std::uint64_t payload) {
    __extension__ using Wide = unsigned __int128;
    const Wide sum = Wide{hash} * fold_base + payload;
    return static_cast<std::uint64_t>(sum % fold_prime);
}

std::optional<std::string> parse_history(std::string_view text, History& history) {
    Parser parser(history);
    std::uint32_t number = 0;
    while (!text.empty()) {
        ++number;
        const std::size_t newline = text.find('\n');
        const std::string_view line = text.substr(0, newline);
        text = newline == std::string_view::npos ? std::string_view{} : text.substr(newline + 1);
        if (line.empty() || line.front() == '#') {
            continue;
        }
        if (const char* wrong = parser.line(line, number)) {
            return "line " + std::to_string(number) + ": " + wrong + ": " +
                   std::string(line.substr(0, 120));
        }
    }
    for (const Stream& stream : history.streams) {
        if (!stream.closed) {
            return "stream " + stream.name + " has no `end` line";
        }
    }
    return std::nullopt;
}

}  // namespace ursula::check
