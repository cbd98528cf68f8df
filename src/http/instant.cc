#include "http/instant.h"

#include <chrono>

#include "base/limits.h"

namespace ursula::http {

namespace {

// Reads fixed fields from the front; once one is missing, nothing is right any more.
class Fields {
  public:
    explicit Fields(std::string_view text) : left_(text) {}
    bool ok() const { return ok_; }
    bool done() const { return ok_ && left_.empty(); }

    unsigned digits(std::size_t count, unsigned max) {
        unsigned value = 0;
        for (; ok_ && count > 0; --count) {
            ok_ = next_is_digit();
            if (ok_) {
                value = value * 10 + static_cast<unsigned>(left_.front() - '0');
                left_.remove_prefix(1);
            }
        }
        ok_ = ok_ && value <= max;
        return value;
    }
    // One of these characters; 0 when it is another one.
    char one_of(std::string_view allowed) {
        ok_ = ok_ && !left_.empty() && allowed.find(left_.front()) != std::string_view::npos;
        if (!ok_) {
            return 0;
        }
        const char c = left_.front();
        left_.remove_prefix(1);
        return c;
    }
    bool next_is(char c) const { return ok_ && !left_.empty() && left_.front() == c; }
    bool next_is_digit() const {
        return ok_ && !left_.empty() && left_.front() >= '0' && left_.front() <= '9';
    }

  private:
    std::string_view left_;
    bool ok_ = true;
};

// Of a second, rounded up.
std::int64_t fraction_ms(Fields& in) {
    std::int64_t ns = 0;
    std::int64_t unit = 100'000'000;
    do {
        ns += unit * in.digits(1, 9);
        unit /= 10;
    } while (in.next_is_digit() && unit > 0);
    return (ns + 999'999) / 1'000'000;
}

}  // namespace

std::optional<std::int64_t> parse_instant(std::string_view text) {
    if (text.size() > base::limits::expires_at_bytes_max) {
        return std::nullopt;
    }
    Fields in(text);
    const unsigned year = in.digits(4, 9999);
    in.one_of("-");
    const unsigned month = in.digits(2, 12);
    in.one_of("-");
    const unsigned day = in.digits(2, 31);
    in.one_of("Tt");
    const unsigned hour = in.digits(2, 23);
    in.one_of(":");
    const unsigned minute = in.digits(2, 59);
    in.one_of(":");
    const unsigned second = in.digits(2, 60);
    std::int64_t ms = 0;
    if (in.next_is('.')) {
        in.one_of(".");
        ms = fraction_ms(in);
    }
    int offset_minutes = 0;
    if (const char zone = in.one_of("Zz+-"); zone == '+' || zone == '-') {
        const auto hours = static_cast<int>(in.digits(2, 23));
        in.one_of(":");
        const auto minutes = static_cast<int>(in.digits(2, 59));
        offset_minutes = (hours * 60 + minutes) * (zone == '+' ? 1 : -1);
    }
    const std::chrono::year_month_day date(std::chrono::year(static_cast<int>(year)),
                                           std::chrono::month(month), std::chrono::day(day));
    if (!in.done() || !date.ok()) {
        return std::nullopt;
    }
    const std::chrono::seconds since_epoch =
        std::chrono::sys_days(date).time_since_epoch() + std::chrono::hours(hour) +
        std::chrono::minutes(static_cast<int>(minute) - offset_minutes) +
        std::chrono::seconds(second);
    // A leap second is the last of a day of UTC.
    if (second == 60 && since_epoch.count() % 86'400 != 0) {
        return std::nullopt;
    }
    return since_epoch.count() * 1000 + ms;
}

}  // namespace ursula::http
