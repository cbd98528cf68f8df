#include "http/http_date.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>

namespace ursula::http {

namespace {

// The first seconds of the years 0 and 10000 of the Gregorian calendar, from the Unix epoch.
constexpr std::int64_t first_s = -62'167'219'200;
constexpr std::int64_t end_s = 253'402'300'800;

void write_two(char* out, unsigned value) {
    out[0] = static_cast<char>('0' + value / 10);
    out[1] = static_cast<char>('0' + value % 10);
}

}  // namespace

void write_http_date(char* out, base::WallTime at) {
    const std::int64_t ms = std::clamp(at.ms, first_s * 1000, end_s * 1000 - 1);
    const std::chrono::sys_seconds second = std::chrono::floor<std::chrono::seconds>(
        std::chrono::sys_time(std::chrono::milliseconds(ms)));
    const auto day = std::chrono::floor<std::chrono::days>(second);
    const std::chrono::year_month_day date(day);
    const auto of_day = static_cast<unsigned>((second - day).count());
    const unsigned year = static_cast<unsigned>(static_cast<int>(date.year()));
    std::memcpy(out, "Sun, 00 Jan 0000 00:00:00 GMT", http_date_bytes);
    std::memcpy(out, &"SunMonTueWedThuFriSat"[3 * std::chrono::weekday(day).c_encoding()], 3);
    write_two(out + 5, static_cast<unsigned>(date.day()));
    std::memcpy(
        out + 8,
        &"JanFebMarAprMayJunJulAugSepOctNovDec"[3 * (static_cast<unsigned>(date.month()) - 1)], 3);
    write_two(out + 12, year / 100);
    write_two(out + 14, year % 100);
    write_two(out + 17, of_day / 3600);
    write_two(out + 20, of_day / 60 % 60);
    write_two(out + 23, of_day % 60);
}

}  // namespace ursula::http
