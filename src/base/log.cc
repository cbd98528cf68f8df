#include "base/log.h"

#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <ctime>

namespace ursula::base {

namespace {

// A pipe takes up to PIPE_BUF (4096) bytes in one piece, so lines of threads never mix.
constexpr std::size_t line_bytes_max = 2048;
constexpr std::size_t value_bytes_max = 512;  // after escaping

std::atomic<int> descriptor_now{STDERR_FILENO};
std::atomic<Level> least_level{Level::info};

constexpr std::string_view level_name(Level level) {
    switch (level) {
        case Level::debug:
            return "debug";
        case Level::info:
            return "info";
        case Level::warning:
            return "warning";
        case Level::error:
            return "error";
    }
    return {};
}

// A value that needs no quotes: visible ASCII without the three characters that have a meaning in a
// line.
bool is_plain(std::string_view value) {
    for (const char c : value) {
        if (c <= ' ' || c >= 0x7f || c == '"' || c == '=' || c == '\\') {
            return false;
        }
    }
    return !value.empty();
}

}  // namespace

// A line being built in place. What does not fit is cut; the newline always fits.
class LogLine {
  public:
    LogLine(WallTime at, Event event) {
        put_time(at);
        put(" ");
        put(level_name(info_of(event).level));
        put(" ");
        put(info_of(event).name);
    }

    void add(const Field& field) {
        // A field that does not fit whole is left out, its name too, so that no half of a number
        // misleads.
        const std::size_t before = used_;
        cut_ = false;
        put(" ");
        put(field.name_);
        put("=");
        std::array<char, 32> number{};
        char* const begin = number.data();
        char* const end = begin + number.size();
        switch (field.kind_) {
            case Field::Kind::text:
                put_value(field.text_);
                break;
            case Field::Kind::integer:
                put({begin, std::to_chars(begin, end, field.integer_).ptr});
                break;
            case Field::Kind::natural:
                put({begin, std::to_chars(begin, end, field.natural_).ptr});
                break;
            case Field::Kind::fraction:
                // Six digits: more is noise in a log.
                put({begin,
                     std::to_chars(begin, end, field.fraction_, std::chars_format::general, 6)
                         .ptr});
                break;
        }
        if (cut_) {
            used_ = before;
        }
    }

    std::string_view finish() {
        bytes_[used_] = '\n';
        return {bytes_.data(), used_ + 1};
    }

  private:
    void put(std::string_view text) {
        if (text.size() > line_bytes_max - 1 - used_) {
            cut_ = true;
            return;
        }
        std::memcpy(bytes_.data() + used_, text.data(), text.size());
        used_ += text.size();
    }

    void put_value(std::string_view value) {
        if (is_plain(value) && value.size() <= value_bytes_max) {
            return put(value);
        }
        put("\"");
        const std::size_t begin = used_;
        for (std::size_t i = 0; i < value.size(); ++i) {
            // An escape takes at most four bytes; the three dots take three.
            if (used_ - begin > value_bytes_max - 8) {
                put("...");
                break;
            }
            put_escaped(value[i]);
        }
        put("\"");
    }

    void put_escaped(char c) {
        const auto byte = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\') {
            const char escape[] = {'\\', c};
            put({escape, sizeof escape});
        } else if (c == '\n') {
            put("\\n");
        } else if (c == '\r') {
            put("\\r");
        } else if (c == '\t') {
            put("\\t");
        } else if (byte < 0x20 || byte >= 0x7f) {
            constexpr std::string_view digits = "0123456789abcdef";
            const char escape[] = {'\\', 'x', digits[byte >> 4], digits[byte & 15]};
            put({escape, sizeof escape});
        } else {
            put({&c, 1});
        }
    }

    void put_two(int value) {
        const char digits[] = {static_cast<char>('0' + value / 10 % 10),
                               static_cast<char>('0' + value % 10)};
        put({digits, sizeof digits});
    }

    void put_time(WallTime at) {
        std::time_t seconds = at.ms / 1000;
        const int ms = static_cast<int>(at.ms % 1000);
        std::tm date{};
        gmtime_r(&seconds, &date);
        const int year = date.tm_year + 1900;
        put_two(year / 100);
        put_two(year);
        put("-");
        put_two(date.tm_mon + 1);
        put("-");
        put_two(date.tm_mday);
        put("T");
        put_two(date.tm_hour);
        put(":");
        put_two(date.tm_min);
        put(":");
        put_two(date.tm_sec);
        put(".");
        const char hundreds = static_cast<char>('0' + ms / 100);
        put({&hundreds, 1});
        put_two(ms);
        put("Z");
    }

    std::array<char, line_bytes_max> bytes_;
    std::size_t used_ = 0;
    bool cut_ = false;
};

void log(Event event, std::initializer_list<Field> fields) {
    if (info_of(event).level < least_level.load(std::memory_order_relaxed)) {
        return;
    }
    timespec now{};
    clock_gettime(CLOCK_REALTIME, &now);
    LogLine line(WallTime{now.tv_sec * 1000 + now.tv_nsec / 1'000'000}, event);
    for (const Field& field : fields) {
        line.add(field);
    }
    const std::string_view text = line.finish();
    const int descriptor = descriptor_now.load(std::memory_order_relaxed);
    if (descriptor < 0) {
        return;
    }
    // A log that cannot be written stops nothing; a second write would only mix lines.
    ssize_t written = -1;
    do {
        written = write(descriptor, text.data(), text.size());
    } while (written < 0 && errno == EINTR);
}

std::string log_line(WallTime at, Event event, std::initializer_list<Field> fields) {
    LogLine line(at, event);
    for (const Field& field : fields) {
        line.add(field);
    }
    return std::string(line.finish());
}

void set_log_level(Level least) {
    least_level.store(least, std::memory_order_relaxed);
}

void set_log_descriptor(int descriptor) {
    descriptor_now.store(descriptor, std::memory_order_relaxed);
}

}  // namespace ursula::base
