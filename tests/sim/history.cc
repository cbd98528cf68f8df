#include "sim/history.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

namespace ursula::sim {

namespace {
// "12345678:0000123:" in front of the filling, "\n" behind it; the second number is the length of
// all. In JSON that is a string - so a quote stands in front -, with other values behind it.
constexpr std::size_t head_bytes = 17;

// Exactly so many bytes as they are stored: elements, a comma behind each.
std::string json_elements(std::uint64_t number, std::size_t bytes) {
    static constexpr std::string_view others[] = {"[1,[2]],", "{\"a\":\"]\",\"a\":1e999},",
                                                  "-0.10,", "\"\\ud800,\","};
    std::string rest;
    for (std::size_t i = number; rest.size() + head_bytes + 40 < bytes && i < number + 3; ++i) {
        rest += others[i % std::size(others)];
    }
    std::string text = fmt::format("\"{:08}:{:07}:", number, bytes);
    while (text.size() + 2 + rest.size() < bytes) {
        text += static_cast<char>('a' + (text.size() * 7 + number) % 26);
    }
    return text + "\"," + rest;
}
}  // namespace

void History::fail(const std::string& what) {
    if (failure_.empty()) {
        failure_ = what;
    }
}

std::uint64_t History::begin(const std::string& stream, std::size_t bytes, bool producer, Form form,
                             std::string& body) {
    const std::uint64_t number = appends_.size();
    bytes += head_bytes + 3;
    if (form == Form::json) {
        body = json_elements(number, bytes);
        body.pop_back();
        const bool alone = bytes < head_bytes + 40;  // one element, which needs no array
        body = alone && number % 2 == 0 ? " " + body + "\n" : "\t[ " + body + "\r\n]";
    } else {
        body = fmt::format("{:08}:{:07}:", number, bytes);
        while (body.size() + 1 < bytes) {
            body += static_cast<char>('a' + (body.size() * 7 + number) % 26);
        }
        body += '\n';
    }
    Append append;
    append.stream = stream;
    append.bytes = bytes;
    append.producer = producer;
    appends_.push_back(append);
    return number;
}

void History::acknowledged(std::uint64_t append, std::uint64_t tail) {
    Append& one = appends_[append];
    if (one.state == State::acknowledged) {
        return fail(fmt::format("append {} is acknowledged twice as new", append));
    }
    one.state = State::acknowledged;
    one.tail = tail;
    ++acknowledged_;
    floors_[one.stream] = std::max(floors_[one.stream], tail);
}

void History::repeated(std::uint64_t append) {
    Append& one = appends_[append];
    if (one.state == State::open) {
        one.state = State::repeated;
        ++acknowledged_;
    }
}

void History::refused(std::uint64_t append) {
    if (!appends_[append].producer) {
        appends_[append].state = State::refused;
    }
}

std::uint64_t History::floor(const std::string& stream) const {
    const auto found = floors_.find(stream);
    return found == floors_.end() ? 0 : found->second;
}

void History::read(const std::string& stream, std::uint64_t floor, std::uint64_t from,
                   std::uint64_t next, bool up_to_date, std::string_view bytes) {
    if (next - from != bytes.size()) {
        fail(fmt::format("a read of {} says [{}, {}) and shows {} bytes", stream, from, next,
                         bytes.size()));
    }
    if (up_to_date) {
        if (next < floor) {
            fail(
                fmt::format("a read of {} ends at {}, but {} was acknowledged or read before it "
                            "was asked",
                            stream, next, floor));
        }
        floors_[stream] = std::max(floors_[stream], next);
    }
    reads_.push_back({stream, from, std::string(bytes)});
}

void History::final_content(const std::string& stream, const std::string& content) {
    const auto known = final_.find(stream);
    if (known != final_.end()) {
        if (known->second != content) {
            fail(fmt::format("{} differs between nodes: {} bytes and {} bytes", stream,
                             known->second.size(), content.size()));
        }
        return;
    }
    final_[stream] = content;
    std::vector<std::uint64_t> ends(appends_.size(), 0);
    for (std::size_t at = 0; at < content.size();) {
        const std::string head = content.substr(content[at] == '"' ? at + 1 : at, head_bytes);
        const std::uint64_t number = std::strtoull(head.substr(0, 8).c_str(), nullptr, 10);
        const std::size_t bytes =
            head.size() < head_bytes ? 0 : std::strtoull(head.substr(9, 7).c_str(), nullptr, 10);
        if (number >= appends_.size() || bytes != appends_[number].bytes ||
            appends_[number].stream != stream || at + bytes > content.size()) {
            return fail(fmt::format("{} has at byte {} what nobody appended to it", stream, at));
        }
        if (ends[number] != 0) {
            return fail(fmt::format("append {} is in {} twice", number, stream));
        }
        at += bytes;
        ends[number] = at;
    }
    for (std::size_t number = 0; number < appends_.size(); ++number) {
        const Append& append = appends_[number];
        if (append.stream != stream) {
            continue;
        }
        if (append.state == State::acknowledged && ends[number] != append.tail) {
            fail(fmt::format(
                "append {} to {} was acknowledged at {}, it is {}", number, stream, append.tail,
                ends[number] == 0 ? std::string("lost") : fmt::format("at {}", ends[number])));
        }
        if (append.state == State::repeated && ends[number] == 0) {
            fail(fmt::format("append {} to {} was told to be there, it is not", number, stream));
        }
        if (append.state == State::refused && ends[number] != 0) {
            fail(fmt::format("append {} to {} was refused, it is there", number, stream));
        }
    }
    for (const Read& read : reads_) {
        if (read.stream == stream &&
            content.compare(read.from, read.bytes.size(), read.bytes) != 0) {
            fail(fmt::format("a read of {} at {} showed {} bytes that are not in it", stream,
                             read.from, read.bytes.size()));
        }
    }
}

std::uint64_t History::unknown_count() const {
    return static_cast<std::uint64_t>(
        std::count_if(appends_.begin(), appends_.end(),
                      [](const Append& append) { return append.state == State::open; }));
}

}  // namespace ursula::sim
