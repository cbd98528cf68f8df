#include "tools/check/parse.h"

#include <charconv>
#include <unordered_map>
#include <utility>

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
    constexpr std::pair<std::string_view, Outcome> words[] = {
        {"acked", Outcome::acked},
        {"duplicate", Outcome::duplicate},
        {"unknown", Outcome::unknown},
        {"refused", Outcome::refused},
        {"refused-closed", Outcome::refused_closed},
        {"refused-absent", Outcome::refused_absent},
        {"refused-stale", Outcome::refused_stale},
        {"refused-gap", Outcome::refused_gap},
    };
    for (const auto& [known, outcome] : words) {
        if (word == known) {
            out = outcome;
            return true;
        }
    }
    return false;
}

bool read_ending(std::string_view word, Ending& out) {
    constexpr std::pair<std::string_view, Ending> words[] = {
        {"open", Ending::open},       {"closed", Ending::closed},
        {"deleted", Ending::deleted}, {"closed-deleted", Ending::closed_deleted},
        {"never", Ending::uncreated},
    };
    for (const auto& [known, ending] : words) {
        if (word == known) {
            out = ending;
            return true;
        }
    }
    return false;
}

bool only_of_producers(Outcome outcome) {
    return outcome == Outcome::refused_stale || outcome == Outcome::refused_gap;
}

// Names become small numbers once.
class Names {
  public:
    // Returns the number of a name, from 0, and whether it is new.
    std::pair<std::uint32_t, bool> number(std::string_view name) {
        if (name == last_name_) {
            return {last_, false};
        }
        auto at = numbers_.find(name);
        const bool fresh = at == numbers_.end();
        if (fresh) {
            at = numbers_.emplace(std::string(name), static_cast<std::uint32_t>(numbers_.size()))
                     .first;
        }
        last_name_ = at->first;
        last_ = at->second;
        return {last_, fresh};
    }

  private:
    struct Hash {
        using is_transparent = void;
        std::size_t operator()(std::string_view name) const {
            return std::hash<std::string_view>{}(name);
        }
    };
    std::unordered_map<std::string, std::uint32_t, Hash, std::equal_to<>> numbers_;
    std::string_view last_name_;  // Lines of one stream often come together.
    std::uint32_t last_ = 0;
};

}  // namespace

class Parser::Lines {
  public:
    explicit Lines(History& history) : history_(history) {}

    std::optional<std::string> line(std::string_view text) {
        ++number_;
        if (text.empty() || text.front() == '#') {
            return std::nullopt;
        }
        const char* wrong = operation(text);
        if (wrong == nullptr) {
            return std::nullopt;
        }
        return "line " + std::to_string(number_) + ": " + wrong + ": " +
               std::string(text.substr(0, 120));
    }

    std::optional<std::string> finish() const {
        for (const Stream& stream : history_.streams) {
            if (stream.ending == Ending::unsaid) {
                return "stream " + stream.name + " has no `end` line";
            }
        }
        return std::nullopt;
    }

  private:
    // Each returns a short complaint, or nullptr.
    const char* operation(std::string_view text) {
        Words words(text);
        const std::string_view kind = words.next();
        const std::string_view word = words.next();
        if (word.empty()) {
            return "a kind and a stream are needed";
        }
        Stream& stream = stream_of(word);
        if (kind == "log") {
            return log(words, stream);
        }
        if (kind == "end") {
            return end(words, stream);
        }
        ++history_.operations;
        if (kind == "append") {
            return append(words, stream);
        }
        if (kind == "read") {
            return read(words, stream);
        }
        if (kind == "head") {
            return head(words, stream);
        }
        if (kind == "close") {
            return close(words, stream);
        }
        if (kind == "create") {
            return change(words, stream.creates.emplace_back(), false);
        }
        if (kind == "delete") {
            return change(words, stream.deletes.emplace_back(), true);
        }
        if (kind == "absent") {
            return absent(words, stream);
        }
        return "the kind is none of log, end, append, close, read, head, create, delete, absent";
    }

    Stream& stream_of(std::string_view word) {
        const auto [number, fresh] = words_.number(word);
        if (!fresh) {
            return history_.streams[indexes_[number]];
        }
        // NAME and NAME#1 are two words for one stream.
        std::string_view name = word;
        std::uint64_t incarnation = 1;
        const std::size_t mark = word.rfind('#');
        if (mark != std::string_view::npos && mark > 0 &&
            read_number(word.substr(mark + 1), incarnation)) {
            name = word.substr(0, mark);
        }
        const auto [at, unknown] =
            streams_.number(std::string(name) + '#' + std::to_string(incarnation));
        indexes_.push_back(at);
        if (unknown) {
            Stream& stream = history_.streams.emplace_back();
            stream.name = std::string(name);
            stream.incarnation = incarnation;
        }
        return history_.streams[at];
    }

    static std::uint32_t intern(Names& names, std::vector<std::string>& out,
                                std::string_view name) {
        const auto [number, fresh] = names.number(name);
        if (fresh) {
            out.emplace_back(name);
        }
        return number + 1;
    }

    const char* producer(std::string_view word, Producer& out) {
        // A name may hold colons: the two numbers are taken from the end.
        const std::size_t last = word.rfind(':');
        const std::size_t first =
            last == std::string_view::npos || last == 0 ? last : word.rfind(':', last - 1);
        if (first == std::string_view::npos || last == std::string_view::npos || first == 0 ||
            !read_number(word.substr(first + 1, last - first - 1), out.epoch) ||
            !read_number(word.substr(last + 1), out.seq)) {
            return "a producer is NAME:EPOCH:SEQ";
        }
        out.name = intern(producers_, history_.producers, word.substr(0, first));
        return nullptr;
    }

    // Takes `key` and what follows it, if the word begins with it.
    static bool value(std::string_view word, std::string_view key, std::string_view& out) {
        if (word.substr(0, key.size()) != key || word.size() == key.size()) {
            return false;
        }
        out = word.substr(key.size());
        return true;
    }

    bool node(std::string_view word, Interval& when) {
        std::string_view name;
        if (!value(word, "node=", name)) {
            return false;
        }
        when.node = intern(nodes_, history_.nodes, name);
        return true;
    }

    // The words that appends and closes share.
    template <class Write>
    const char* detail(std::string_view word, Write& write) {
        std::string_view text;
        if (value(word, "producer=", text)) {
            return producer(text, write.producer);
        }
        if (value(word, "told=", text)) {
            return read_number(text, write.told) ? nullptr : "told= needs a number";
        }
        return node(word, write.when) ? nullptr : "unknown word at the end";
    }

    template <class Write>
    static const char* sound(const Write& write) {
        if (only_of_producers(write.outcome) && write.producer.name == 0) {
            return "only a producer can be refused so";
        }
        if (write.outcome == Outcome::refused_gap && write.told == untold) {
            return "refused-gap needs told=, the seq that was expected";
        }
        return nullptr;
    }

    const char* append(Words& words, Stream& stream) {
        Append& append = stream.appends.emplace_back();
        if (!read_times(words, number_, append.when)) {
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
        while (words.more()) {
            const std::string_view word = words.next();
            if (word == "close") {
                append.closes = true;
            } else if (const char* wrong = detail(word, append)) {
                return wrong;
            }
        }
        return sound(append);
    }

    const char* close(Words& words, Stream& stream) {
        Close& close = stream.closes.emplace_back();
        if (!read_times(words, number_, close.when)) {
            return "START and END must be numbers in order (END may be -)";
        }
        if (!read_outcome(words.next(), close.outcome)) {
            return "not an outcome";
        }
        while (words.more()) {
            if (const char* wrong = detail(words.next(), close)) {
                return wrong;
            }
        }
        return sound(close);
    }

    const char* change(Words& words, Change& change, bool is_delete) {
        if (!read_times(words, number_, change.when)) {
            return "START and END must be numbers in order (END may be -)";
        }
        if (!read_outcome(words.next(), change.outcome) || only_of_producers(change.outcome) ||
            change.outcome == Outcome::refused_closed ||
            change.outcome == (is_delete ? Outcome::duplicate : Outcome::refused_absent)) {
            return "not an outcome of this";
        }
        while (words.more()) {
            if (!node(words.next(), change.when)) {
                return "unknown word at the end";
            }
        }
        return nullptr;
    }

    const char* absent(Words& words, Stream& stream) {
        Interval& when = stream.absents.emplace_back();
        if (!read_times(words, number_, when) || when.end == never) {
            return "START and END must be numbers in order";
        }
        while (words.more()) {
            if (!node(words.next(), when)) {
                return "unknown word at the end";
            }
        }
        return nullptr;
    }

    const char* ids(std::string_view text, Read& read) {
        std::uint64_t count = 0;
        while (!text.empty()) {
            const std::size_t comma = text.find(',');
            std::uint64_t payload = 0;
            if (!read_number(text.substr(0, comma), payload, 16)) {
                return "ids= lists payloads in hex";
            }
            read.hash = fold(read.hash, payload);
            ++count;
            text = comma == std::string_view::npos ? std::string_view{} : text.substr(comma + 1);
        }
        return count == read.count ? nullptr : "COUNT is not the number of ids";
    }

    const char* flags(Words& words, Read& read, bool want_ids) {
        while (words.more()) {
            const std::string_view word = words.next();
            std::string_view text;
            if (word == "tail") {
                read.tail = true;
            } else if (word == "closed") {
                read.closed = true;
            } else if (word == "live") {
                read.live = true;
            } else if (value(word, "session=", text)) {
                read.session = intern(sessions_, history_.sessions, text);
            } else if (want_ids && value(word, "ids=", text)) {
                want_ids = false;
                if (const char* wrong = ids(text, read)) {
                    return wrong;
                }
            } else if (!node(word, read.when)) {
                return "unknown flag";
            }
        }
        return want_ids && read.count > 0 ? "HASH is - and there are no ids" : nullptr;
    }

    const char* read(Words& words, Stream& stream) {
        Read& read = stream.reads.emplace_back();
        if (!read_times(words, number_, read.when) || read.when.end == never) {
            return "START and END must be numbers in order";
        }
        if (!read_offset(words.next(), read.from) || !read_offset(words.next(), read.to) ||
            read.from == unknown_offset || read.to == unknown_offset) {
            return "not an offset";
        }
        if (!read_number(words.next(), read.count)) {
            return "COUNT must be a number";
        }
        const std::string_view hash = words.next();
        if (hash != "-" && (!read_number(hash, read.hash, 16) || read.hash >= fold_prime)) {
            return "HASH must be hex, below 2^61-1";
        }
        return flags(words, read, hash == "-");
    }

    const char* head(Words& words, Stream& stream) {
        Read& read = stream.reads.emplace_back();
        read.head = true;
        read.tail = true;
        if (!read_times(words, number_, read.when) || read.when.end == never) {
            return "START and END must be numbers in order";
        }
        if (!read_offset(words.next(), read.to) || read.to == unknown_offset) {
            return "not an offset";
        }
        read.from = read.to;
        return flags(words, read, false);
    }

    const char* log(Words& words, Stream& stream) {
        Logged logged;
        logged.line = number_;
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

    static const char* end(Words& words, Stream& stream) {
        if (stream.ending != Ending::unsaid || !read_ending(words.next(), stream.ending)) {
            return "one `end STREAM open|closed|deleted|closed-deleted|never` is needed";
        }
        return nullptr;
    }

    History& history_;
    std::uint32_t number_ = 0;
    Names words_;                         // STREAM as it is written.
    std::vector<std::uint32_t> indexes_;  // By word: index into History::streams.
    Names streams_;
    Names producers_;
    Names nodes_;
    Names sessions_;
};

Parser::Parser(History& history) : lines_(std::make_unique<Lines>(history)) {}
Parser::~Parser() = default;

std::optional<std::string> Parser::line(std::string_view text) {
    return lines_->line(text);
}

std::optional<std::string> Parser::finish() const {
    return lines_->finish();
}

std::optional<std::string> parse_history(std::string_view text, History& history) {
    Parser parser(history);
    while (!text.empty()) {
        const std::size_t newline = text.find('\n');
        const std::string_view line = text.substr(0, newline);
        text = newline == std::string_view::npos ? std::string_view{} : text.substr(newline + 1);
        if (auto wrong = parser.line(line)) {
            return wrong;
        }
    }
    return parser.finish();
}

}  // namespace ursula::check
