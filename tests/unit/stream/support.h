// A machine with its surroundings, and short ways to write commands.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "base/crc32c.h"
#include "base/random.h"
#include "stream/command.h"
#include "stream/machine.h"

namespace ursula::stream::test {

constexpr std::uint64_t plenty = 1ull << 40;

inline Command create(std::string_view name, std::string_view type = "text/plain",
                      std::string_view body = {}, bool closed = false) {
    Command command;
    command.kind = CommandKind::create_stream;
    command.name = name;
    command.content_type = type;
    command.has_content_type = true;
    command.close = closed;
    command.has_body = !body.empty();
    command.payload.bytes = base::as_bytes(body);
    return command;
}

inline Command append(std::string_view name, std::string_view body,
                      std::string_view type = "text/plain") {
    Command command;
    command.kind = CommandKind::append;
    command.name = name;
    command.content_type = type;
    command.has_content_type = !type.empty();
    command.has_body = !body.empty();
    command.payload.bytes = base::as_bytes(body);
    return command;
}

inline Command close(std::string_view name, std::string_view body = {}) {
    Command command = append(name, body);
    command.close = true;
    command.has_content_type = !body.empty();
    return command;
}

inline Command by(Command command, std::string_view id, std::uint64_t epoch, std::uint64_t seq) {
    command.producer = {true, id, epoch, seq};
    return command;
}

inline Command with_seq(Command command, std::string_view seq) {
    command.stream_seq = seq;
    return command;
}

inline Command json(Command command, std::uint32_t elements, Verdict verdict = Verdict::ok) {
    command.content_type = "application/json";
    command.has_content_type = true;
    command.payload.json = true;
    command.payload.elements = elements;
    command.verdict = verdict;
    if (verdict != Verdict::ok) {
        command.has_body = true;
        command.payload.bytes = {};
        command.payload.elements = 0;
    }
    return command;
}

// A step of a bucket's removal.
inline Command in_round(Command command, std::uint64_t round) {
    command.round = round;
    return command;
}

inline Command simple(CommandKind kind, std::string_view name, std::uint64_t number = 0) {
    Command command;
    command.kind = kind;
    command.name = name;
    command.number = number;
    return command;
}

// text + number; written so that g++ 12 does not see an overlap that is not there (its bug 105651).
template <class Number>
std::string numbered(std::string_view text, Number number) {
    std::string result(text);
    result += std::to_string(number);
    return result;
}

// A group's log kept as entry bodies, so that a machine can be rebuilt from any part of it.
struct Entry {
    base::EntryId id;
    std::vector<std::byte> body;
};

inline Entry make_entry(std::uint64_t index, std::int64_t time_ms,
                        const std::vector<Command>& commands) {
    Entry entry;
    entry.id = {base::Term(1 + index / 100), base::LogIndex(index)};
    std::size_t size = entry_header_bytes;
    for (const Command& command : commands) {
        size += encoded_size(command);
    }
    entry.body.resize(size);
    std::size_t at = entry_header_bytes;
    for (const Command& command : commands) {
        at += encode(command, base::MutableBytes(entry.body).subspan(at));
    }
    encode_header({static_cast<std::uint32_t>(commands.size()), time_ms}, entry.body);
    return entry;
}

// A machine fed with entries. Payload is "stored" in made-up places: segment = index / 16, position
// = index; what lies there is remembered, so that a read plan's disk pieces can be fetched.
struct Replica {
    Local local;
    Machine machine;
    std::vector<Outcome> outcomes;  // of the last entry
    std::uint64_t index = 0;

    explicit Replica(std::uint64_t hot_bytes = plenty, bool evicts = true,
                     base::HashKey key = {1, 2}, std::uint32_t group = 3)
        : local{HotMemory(hot_bytes, evicts), SegmentLoad()},
          machine(base::GroupId(group), key, local) {}

    void apply(const Entry& entry, bool keep_payload = true, std::uint32_t piece_bytes = 1u << 20) {
        EntryReader reader(entry.body);
        machine.enter(entry.id, reader.header().time_ms);
        index = entry.id.index.value;
        outcomes.clear();
        Command command;
        std::uint32_t ordinal = 0;
        while (reader.next(command)) {
            outcomes.push_back(machine.apply(command, entry.id, ordinal));
            ++ordinal;
            if (outcomes.back().grew()) {
                std::vector<Place> places;
                base::Bytes rest = command.stored;
                while (!rest.empty()) {
                    const base::Bytes part =
                        rest.first(std::min<std::size_t>(rest.size(), piece_bytes));
                    places.push_back({static_cast<std::uint32_t>(index / 16),
                                      static_cast<std::uint32_t>(index * 65536 + places.size()),
                                      static_cast<std::uint32_t>(part.size()), base::crc32c(part)});
                    rest = rest.subspan(part.size());
                }
                machine.keep(outcomes.back(), keep_payload ? command.stored : base::Bytes(),
                             places);
            }
        }
        VERIFY(reader.ok());
    }
    // One entry with one command.
    Outcome run(const Command& command) {
        apply(make_entry(index + 1, 1000 + static_cast<std::int64_t>(index), {command}));
        return outcomes[0];
    }
    Stream* find(std::string_view name) { return machine.find(name, machine.hash_of(name)); }
};

}  // namespace ursula::stream::test
