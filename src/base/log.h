// One line per event, to stderr, in one write(2):
//
//   2026-11-23T04:00:00.123Z info wal.recovered shard=0 records=1204 ms=12.5
//
// For what happens to the server, not to a request: nothing on a hot path logs. Any thread may
// call; nothing is allocated. Values are escaped and cut, so a line is one line whatever a value
// contains.
#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

#include "base/log_events.h"
#include "base/time.h"

namespace ursula::base {

// A name and a value, looked at during the call only. Names are words of ours: a-z, 0-9, '_'.
class Field {
  public:
    Field(std::string_view name, std::string_view value)
        : name_(name), text_(value), kind_(Kind::text) {}
    Field(std::string_view name, const char* value) : Field(name, std::string_view(value)) {}
    Field(std::string_view name, const std::string& value) : Field(name, std::string_view(value)) {}
    Field(std::string_view name, bool value)
        : Field(name, value ? std::string_view("true") : std::string_view("false")) {}
    template <std::signed_integral T>
    Field(std::string_view name, T value) : name_(name), integer_(value), kind_(Kind::integer) {}
    template <std::unsigned_integral T>
    Field(std::string_view name, T value) : name_(name), natural_(value), kind_(Kind::natural) {}
    Field(std::string_view name, double value)
        : name_(name), fraction_(value), kind_(Kind::fraction) {}

  private:
    friend class LogLine;
    enum class Kind : std::uint8_t { text, integer, natural, fraction };
    std::string_view name_;
    std::string_view text_;
    union {
        std::int64_t integer_ = 0;
        std::uint64_t natural_;
        double fraction_;
    };
    Kind kind_;
};

// Writes the event's line with the wall clock's time. The level is the event's (base/log_events.h).
void log(Event event, std::initializer_list<Field> fields = {});

// The same line as text, with its newline; what log() writes and tests compare.
[[nodiscard]] std::string log_line(WallTime at, Event event, std::initializer_list<Field> fields);

// Events below the level are dropped. Default: info.
void set_log_level(Level least);
// Where lines go: 2 at start; -1 drops them (tests, fuzzers).
void set_log_descriptor(int descriptor);

}  // namespace ursula::base
