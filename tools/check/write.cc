#include "tools/check/write.h"

#include <charconv>
#include <string_view>

namespace ursula::check {

namespace {

template <class T>
void put_number(std::string& out, T number, int base = 10) {
    char digits[24];
    const auto done = std::to_chars(digits, digits + sizeof digits, number, base);
    out.append(digits, done.ptr);
}

void put_padded(std::string& out, std::uint64_t number) {
    constexpr std::size_t width = 16;
    char digits[24];
    const auto done = std::to_chars(digits, digits + sizeof digits, number);
    const auto size = static_cast<std::size_t>(done.ptr - digits);
    out.append(size < width ? width - size : 0, '0');
    out.append(digits, size);
}

void put(std::string& out, const Offset& offset) {
    if (offset == unknown_offset) {
        out += '-';
        return;
    }
    put_padded(out, offset.high);
    out += '_';
    put_padded(out, offset.low);
}

void begin(std::string& out, const char* kind, const std::string& word, const Interval& when) {
    out += kind;
    out += ' ';
    out += word;
    out += ' ';
    put_number(out, when.start);
    out += ' ';
    if (when.end == never) {
        out += '-';
    } else {
        put_number(out, when.end);
    }
}

const char* word_of(Outcome outcome) {
    switch (outcome) {
        case Outcome::acked:
            return " acked";
        case Outcome::duplicate:
            return " duplicate";
        case Outcome::unknown:
            return " unknown";
        case Outcome::refused:
            return " refused";
        case Outcome::refused_closed:
            return " refused-closed";
        case Outcome::refused_absent:
            return " refused-absent";
        case Outcome::refused_stale:
            return " refused-stale";
        case Outcome::refused_gap:
            return " refused-gap";
    }
    return "";
}

const char* word_of(Ending ending) {
    switch (ending) {
        case Ending::open:
            return "open";
        case Ending::closed:
            return "closed";
        case Ending::deleted:
            return "deleted";
        case Ending::closed_deleted:
            return "closed-deleted";
        case Ending::uncreated:
            return "never";
        case Ending::unsaid:
            break;
    }
    return "untold";
}

void put_node(std::string& out, const History& names, const Interval& when) {
    if (when.node != 0) {
        out += " node=";
        out += names.nodes.at(when.node - 1);
    }
}

void put_producer(std::string& out, const History& names, const Producer& producer,
                  std::uint64_t told) {
    if (producer.name != 0) {
        out += " producer=";
        out += names.producers.at(producer.name - 1);
        out += ':';
        put_number(out, producer.epoch);
        out += ':';
        put_number(out, producer.seq);
    }
    if (told != untold) {
        out += " told=";
        put_number(out, told);
    }
}

}  // namespace

std::string offset_text(const Offset& offset) {
    std::string out;
    put(out, offset);
    return out;
}

std::string stream_word(const Stream& stream) {
    return stream.incarnation == 1 ? stream.name
                                   : stream.name + '#' + std::to_string(stream.incarnation);
}

void write(std::string& out, const std::string& word, const Logged& logged,
           const std::string& node) {
    out += "log ";
    out += word;
    out += ' ';
    put_number(out, logged.payload, 16);
    out += ' ';
    put(out, logged.offset);
    if (!node.empty()) {
        out += ' ';
        out += node;
    }
}

void write(std::string& out, const std::string& word, const History& names, const Append& append) {
    begin(out, "append", word, append.when);
    out += word_of(append.outcome);
    out += ' ';
    put_number(out, append.payload, 16);
    out += ' ';
    put(out, append.offset);
    out += append.closes ? " close" : "";
    put_producer(out, names, append.producer, append.told);
    put_node(out, names, append.when);
}

void write(std::string& out, const std::string& word, const History& names, const Close& close) {
    begin(out, "close", word, close.when);
    out += word_of(close.outcome);
    put_producer(out, names, close.producer, close.told);
    put_node(out, names, close.when);
}

void write(std::string& out, const std::string& word, const History& names, const Read& read) {
    begin(out, read.head ? "head" : "read", word, read.when);
    out += ' ';
    if (!read.head) {
        put(out, read.from);
        out += ' ';
    }
    put(out, read.to);
    if (!read.head) {
        out += ' ';
        put_number(out, read.count);
        out += ' ';
        put_number(out, read.hash, 16);
        out += read.tail ? " tail" : "";
    }
    out += read.closed ? " closed" : "";
    out += read.live ? " live" : "";
    if (read.session != 0) {
        out += " session=";
        out += names.sessions.at(read.session - 1);
    }
    put_node(out, names, read.when);
}

void write(std::string& out, const std::string& word, const History& names, const char* kind,
           const Change& change) {
    begin(out, kind, word, change.when);
    out += word_of(change.outcome);
    put_node(out, names, change.when);
}

void write(std::string& out, const std::string& word, const History& names,
           const Interval& absent) {
    begin(out, "absent", word, absent);
    put_node(out, names, absent);
}

void write(std::string& out, const std::string& word, Ending ending) {
    out += "end ";
    out += word;
    out += ' ';
    out += word_of(ending);
}

std::string describe(const History& history, const Ref& ref) {
    const Stream& stream = history.streams.at(ref.stream);
    const std::string word = stream_word(stream);
    std::string out;
    switch (ref.kind) {
        case Kind::logged: {
            const NodeLog& log = stream.logs.at(ref.log);
            write(out, word, log.entries.at(ref.index), log.node);
            break;
        }
        case Kind::create:
            write(out, word, history, "create", stream.creates.at(ref.index));
            break;
        case Kind::append:
            write(out, word, history, stream.appends.at(ref.index));
            break;
        case Kind::close:
            write(out, word, history, stream.closes.at(ref.index));
            break;
        case Kind::remove:
            write(out, word, history, "delete", stream.deletes.at(ref.index));
            break;
        case Kind::read:
            write(out, word, history, stream.reads.at(ref.index));
            break;
        case Kind::absent:
            write(out, word, history, stream.absents.at(ref.index));
            break;
    }
    return out;
}

void write_stream(std::string& out, const History& history, const Stream& stream) {
    const std::string word = stream_word(stream);
    for (const Change& create : stream.creates) {
        write(out, word, history, "create", create);
        out += '\n';
    }
    for (const Append& append : stream.appends) {
        write(out, word, history, append);
        out += '\n';
    }
    for (const Close& close : stream.closes) {
        write(out, word, history, close);
        out += '\n';
    }
    for (const Change& change : stream.deletes) {
        write(out, word, history, "delete", change);
        out += '\n';
    }
    for (const Read& read : stream.reads) {
        write(out, word, history, read);
        out += '\n';
    }
    for (const Interval& absent : stream.absents) {
        write(out, word, history, absent);
        out += '\n';
    }
    for (const NodeLog& log : stream.logs) {
        for (const Logged& logged : log.entries) {
            write(out, word, logged, log.node);
            out += '\n';
        }
    }
    write(out, word, stream.ending);
    out += '\n';
}

std::string write_history(const History& history) {
    std::string out;
    for (const Stream& stream : history.streams) {
        write_stream(out, history, stream);
    }
    return out;
}

}  // namespace ursula::check
