// What clients of append-only streams did and saw, as values. A simulator fills them in directly;
// ursula-check reads them from text (parse.h). One history is one run, timed by one monotonic
// clock.
//
// As text a history has one operation a line, fields separated by single blanks; empty lines and
// lines that begin with '#' are skipped. START and END are whole numbers (nanoseconds, say), END is
// `-` when no answer came. STREAM is any word; a name that was deleted and created again is several
// streams, NAME#1 (or just NAME), NAME#2 and so on, its incarnations. PAYLOAD is a 64-bit hash of
// the bytes of one append, in hex, and must be unique in the history. OFFSET is a token as the
// server wrote it, or `-` where none is known.
//
//   log    STREAM PAYLOAD OFFSET [NODE]   the next append of the final log, and the offset of its
//                                         end; with NODEs, every node's whole log, which must be
//                                         alike; of a deleted stream, the log as it was deleted
//   end    STREAM open|closed|deleted|closed-deleted|never
//                                         what the final log ends with; every stream needs one;
//                                         `never` was not created at all
//   append STREAM START END OUTCOME PAYLOAD OFFSET [close] [producer=NAME:EPOCH:SEQ] [told=N]
//   close  STREAM START END OUTCOME [producer=NAME:EPOCH:SEQ] [told=N]
//   read   STREAM START END FROM TO COUNT HASH [tail] [closed] [live] [session=WORD] [ids=A,B,...]
//   head   STREAM START END OFFSET [closed]
//   create STREAM START END OUTCOME       none that was acked or unknown: it was there before
//   delete STREAM START END OUTCOME       expiry is one of unknown outcome, whose START is the
//                                         earliest instant that was promised
//   absent NAME   START END               a read or head was told that there is no such stream
//
// Any operation may say node=WORD: the node it was sent to (it only shows in explanations; every
// node has to answer as one). OUTCOME is
//   acked           it took effect; of a create: it was this one that created
//   duplicate       it had taken effect before (an earlier attempt of this producer, or one that a
//                   server hop sent again); of a create: the stream was there
//   unknown         nobody knows; END (`-`, or when a 5xx came) then means nothing
//   refused         it certainly did not happen, and the answer says nothing about the stream
//   refused-closed  the stream was closed
//   refused-absent  there was no such stream (a delete that a server hop sent again may be told
//                   this of its own work)
//   refused-stale   the producer had a higher epoch; told=N: this one
//   refused-gap     the producer's seq was ahead of the one expected, told=N (required)
// A duplicate may have told=N too: the producer's highest seq. OFFSET of an acked append is its
// end. A producer's attempts at one append are several lines with the same payload and the same
// triple. A close of a producer that was acked says that its triple closed the stream, now or
// before; `duplicate` is one that was answered as known without saying so. A read saw COUNT whole
// appends between the offsets FROM and TO; HASH folds their payloads, in hex: starting with 0, each
// payload h makes it (HASH * 1099511628211 + h) mod 2^61-1; or HASH is `-` and ids= lists the
// payloads. `tail` says that the answer claimed to be up to date, `live` that it was pushed
// (long-poll, SSE), so that its START means nothing. Reads of one session stand in their order and
// go on where the one before ended.
#pragma once

#include <compare>
#include <cstdint>
#include <limits>
#include <string>
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

enum class Outcome : std::uint8_t {
    acked,
    duplicate,
    unknown,
    refused,
    refused_closed,
    refused_absent,
    refused_stale,
    refused_gap,
};

enum class Ending : std::uint8_t { unsaid, open, closed, deleted, closed_deleted, uncreated };

struct Interval {
    std::int64_t start = 0;
    std::int64_t end = never;
    std::uint32_t line = 0;  // Of the history's text, from 1; 0 when there is none.
    std::uint32_t node = 0;  // Index into History::nodes, from 1; 0 is not told.
};

struct Producer {
    std::uint32_t name = 0;  // Index into History::producers, from 1; 0 is no producer.
    std::uint64_t epoch = 0;
    std::uint64_t seq = 0;
    bool operator==(const Producer&) const = default;
};

// Stands for a number that the answer did not hold.
inline constexpr std::uint64_t untold = std::numeric_limits<std::uint64_t>::max();

struct Append {
    Interval when;
    std::uint64_t payload = 0;
    Offset offset = unknown_offset;
    Outcome outcome = Outcome::unknown;
    bool closes = false;
    Producer producer;
    std::uint64_t told = untold;  // By outcome: highest seq, current epoch or expected seq.
};

struct Close {
    Interval when;
    Outcome outcome = Outcome::unknown;
    Producer producer;
    std::uint64_t told = untold;
};

// A create or a delete.
struct Change {
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
    std::uint32_t session = 0;  // Index into History::sessions, from 1; 0 is none.
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

// One incarnation of a name. The streams of a name stand in History in any order.
struct Stream {
    std::string name;
    std::uint64_t incarnation = 1;
    std::vector<NodeLog> logs;
    Ending ending = Ending::unsaid;
    std::vector<Change> creates;
    std::vector<Append> appends;
    std::vector<Close> closes;
    std::vector<Change> deletes;
    std::vector<Read> reads;
    std::vector<Interval> absents;  // Of the name; they may stand with any incarnation.
};

struct History {
    std::vector<Stream> streams;
    std::vector<std::string> producers;  // Names; Producer::name - 1 is the index.
    std::vector<std::string> nodes;      // Interval::node - 1 is the index.
    std::vector<std::string> sessions;   // Read::session - 1 is the index.
    std::uint64_t operations = 0;        // As parsed or generated; the checker does not need it.
};

enum class Kind : std::uint8_t { logged, create, append, close, remove, read, absent };

// Names one operation of a history, or one entry of a node's final log.
struct Ref {
    Kind kind = Kind::append;
    std::uint32_t stream = 0;  // Index into History::streams.
    std::uint32_t index = 0;   // Into that stream's vector of this kind.
    std::uint32_t log = 0;     // Kind::logged: index into Stream::logs.
    bool operator==(const Ref&) const = default;
};

// Both are below 2^61-1.
inline std::uint64_t multiply_mod(std::uint64_t a, std::uint64_t b) {
    __extension__ using Wide = unsigned __int128;
    const Wide product = Wide{a} * b;
    const std::uint64_t sum = (static_cast<std::uint64_t>(product) & fold_prime) +
                              static_cast<std::uint64_t>(product >> 61);
    return sum >= fold_prime ? sum - fold_prime : sum;
}

// Continues a fold with one more payload; `hash` is below 2^61-1.
inline std::uint64_t fold(std::uint64_t hash, std::uint64_t payload) {
    __extension__ using Wide = unsigned __int128;
    const Wide value = Wide{hash} * fold_base + payload;
    const std::uint64_t sum =
        (static_cast<std::uint64_t>(value) & fold_prime) + static_cast<std::uint64_t>(value >> 61);
    return sum >= fold_prime ? sum - fold_prime : sum;
}

}  // namespace ursula::check
