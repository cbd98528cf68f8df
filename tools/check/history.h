// What clients of append-only streams did and saw, as ursula-check reads it.
//
// A history is text, one operation a line, fields separated by single blanks; empty lines and lines
// that begin with '#' are skipped. Times are whole numbers of one monotonic clock (nanoseconds,
// say), END is `-` when no answer came. STREAM is any word; a name that was deleted and created
// again is two streams. PAYLOAD is a 64-bit hash of the bytes of one append, in hex, and must be
// unique in the history. OFFSET is a token as the server wrote it, or `-` where none is known.
//
//   log    STREAM PAYLOAD OFFSET [NODE]   the next append of the final log, and the offset of its
//   end;
//                                         with NODEs, every node's whole log, which must be alike
//   end    STREAM open|closed             what the final log ends with; every stream needs one
//   append STREAM START END OUTCOME PAYLOAD OFFSET [close] [producer=NAME:EPOCH:SEQ]
//   close  STREAM START END OUTCOME
//   read   STREAM START END FROM TO COUNT HASH [tail] [closed] [live]
//   head   STREAM START END OFFSET [closed]
//
// OUTCOME is acked, duplicate (a producer's retry: answered as known), unknown, refused (certainly
// not appended) or refused-closed. OFFSET of an acked append is its end. A producer's attempts at
// one append are several lines with the same payload and the same producer triple. A read saw COUNT
// whole appends between the offsets FROM and TO; HASH folds their payloads, in hex: starting with
// 0, each payload h makes it (HASH * 1099511628211 + h) mod 2^61-1. `tail` says that the answer
// claimed to be up to date, `live` that it was pushed (long-poll, SSE), so that its START means
// nothing.
#pragma once

#include <compare>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ursula::check {

inline constexpr std::int64_t never = std::numeric_limits<std::int64_t>::max();
inline constexpr std::uint64_t fold_prime = (std::uint64_t{1} << 61) - 1;
inline constexpr std::uint64_t fold_base = 1099511628211u;

// The two numbers of an offset token. `-1` reads as the beginning.
struct Offset {
    std::uint64_t high = 0;
    std::uint64_t low = 0;
    bool operator==(const Offset&) const = default;
    auto operator<=>(const Offset&) const = default;
};

// Stands for an offset that the history does not tell; no server issues it.
inline constexpr Offset unknown_offset{std::numeric_limits<std::uint64_t>::max(), 0};

enum class Outcome : std::uint8_t { acked, duplicate, unknown, refused, refused_closed };

struct Interval {
    std::int64_t start = 0;
    std::int64_t end = never;
    std::uint32_t line = 0;  // Of the history, from 1.
};

struct Producer {
    std::uint32_t name = 0;  // Index into History::producers, from 1; 0 is no producer.
    std::uint64_t epoch = 0;
    std::uint64_t seq = 0;
    bool operator==(const Producer&) const = default;
};

struct Append {
    Interval when;
    std::uint64_t payload = 0;
    Offset offset = unknown_offset;
    Outcome outcome = Outcome::unknown;
    bool closes = false;
    Producer producer;
};

struct Close {
    Interval when;
    Outcome outcome = Outcome::unknown;
};

// A head is a read of nothing from the tail to the tail.
struct Read {
    Interval when;
    Offset from;
    Offset to;
    std::uint64_t count = 0;
    std::uint64_t hash = 0;
    bool head = false;
    bool tail = false;
    bool closed = false;
    bool live = false;
};

struct Logged {
    std::uint64_t payload = 0;
    Offset offset = unknown_offset;
    std::uint32_t line = 0;
};

struct NodeLog {
    std::string node;
    std::vector<Logged> entries;
};

struct Stream {
    std::string name;
    std::vector<NodeLog> logs;
    std::optional<bool> closed;  // From the `end` line.
    std::vector<Append> appends;
    std::vector<Close> closes;
    std::vector<Read> reads;
};

struct History {
    std::vector<Stream> streams;
    std::vector<std::string> producers;  // Names; Producer::name - 1 is the index.
    std::uint64_t operations = 0;
};

// Continues a fold with one more payload.
std::uint64_t fold(std::uint64_t hash, std::uint64_t payload);

// Reads a whole history. On failure returns what is wrong, with its line; `history` is then half
// full.
std::optional<std::string> parse_history(std::string_view text, History& history);

}  // namespace ursula::check
