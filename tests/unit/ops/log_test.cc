#include "base/log.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <array>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace ursula::base {

namespace {

constexpr WallTime some_time{1'795'406'400'123};

// What comes after "time level event".
std::string value_part(std::initializer_list<Field> fields) {
    const std::string line = log_line(some_time, Event::wal_recovered, fields);
    const std::string head = "2026-11-23T04:00:00.123Z info wal.recovered";
    REQUIRE(line.starts_with(head));
    REQUIRE(line.ends_with("\n"));
    return line.substr(head.size(), line.size() - head.size() - 1);
}

// Lines go into a pipe while it lives.
class CapturedLog {
  public:
    CapturedLog() {
        REQUIRE(pipe(ends_.data()) == 0);
        set_log_descriptor(ends_[1]);
    }
    ~CapturedLog() {
        set_log_descriptor(STDERR_FILENO);
        set_log_level(Level::info);
        close(ends_[0]);
        if (ends_[1] >= 0) {
            close(ends_[1]);
        }
    }
    std::string text() {
        set_log_descriptor(-1);
        close(ends_[1]);
        ends_[1] = -1;
        std::string text;
        std::array<char, 4096> buffer{};
        for (;;) {
            const ssize_t size = read(ends_[0], buffer.data(), buffer.size());
            if (size <= 0) {
                return text;
            }
            text.append(buffer.data(), static_cast<std::size_t>(size));
        }
    }

  private:
    std::array<int, 2> ends_{};
};

}  // namespace

TEST_CASE("a line: time, level, event, fields") {
    CHECK(log_line(some_time, Event::wal_recovered, {{"shard", 0}, {"ms", 12.5}}) ==
          "2026-11-23T04:00:00.123Z info wal.recovered shard=0 ms=12.5\n");
    CHECK(log_line(some_time, Event::data_damaged, {}) ==
          "2026-11-23T04:00:00.123Z error data.damaged\n");
    CHECK(log_line(WallTime{0}, Event::server_stopped, {}) ==
          "1970-01-01T00:00:00.000Z info server.stopped\n");
}

TEST_CASE("every kind of value") {
    const std::string text = "owned";
    CHECK(value_part({{"a", -1}, {"b", 18446744073709551615ull}, {"c", true}, {"d", false}}) ==
          " a=-1 b=18446744073709551615 c=true d=false");
    CHECK(value_part({{"e", 0.1}, {"f", 1e9}, {"g", 1234567.0}, {"h", text}, {"i", "literal"}}) ==
          " e=0.1 f=1e+09 g=1.23457e+06 h=owned i=literal");
    CHECK(value_part({{"j", std::int64_t{-9223372036854775807} - 1}, {"k", std::uint8_t{7}}}) ==
          " j=-9223372036854775808 k=7");
}

TEST_CASE("values cannot break or forge a line") {
    CHECK(value_part({{"v", ""}}) == " v=\"\"");
    CHECK(value_part({{"v", "two words"}}) == " v=\"two words\"");
    CHECK(value_part({{"v", "a=b"}}) == " v=\"a=b\"");
    CHECK(value_part({{"v", "say \"hi\"\\"}}) == " v=\"say \\\"hi\\\"\\\\\"");
    CHECK(value_part({{"v", "x\r\n2026 error fake\t"}}) == " v=\"x\\r\\n2026 error fake\\t\"");
    CHECK(value_part({{"v", std::string_view("\0\x1b[31m\x7f", 7)}}) ==
          " v=\"\\x00\\x1b[31m\\x7f\"");
    CHECK(value_part({{"v", "\xc3\xa4\xff"}}) == " v=\"\\xc3\\xa4\\xff\"");
    for (int byte = 0; byte < 256; ++byte) {
        const std::string value(3, static_cast<char>(byte));
        const std::string part = value_part({{"v", value}});
        for (const char c : part) {
            CHECK(c >= 0x20);
            CHECK(c < 0x7f);
        }
    }
}

TEST_CASE("long values are cut, long lines lose whole fields") {
    const std::string plain(512, 'x');
    CHECK(value_part({{"v", plain}}) == " v=" + plain);
    const std::string cut = value_part({{"v", std::string(513, 'x')}});
    CHECK(cut.size() <= 3 + 512 + 2);
    CHECK(cut.ends_with("xxx...\""));
    CHECK(value_part({{"v", std::string(1'000'000, '\n')}}).size() <= 3 + 512 + 2);

    const std::string line = log_line(
        some_time, Event::data_damaged,
        {{"a", plain}, {"b", plain}, {"c", plain}, {"d", plain}, {"e", plain}, {"last", 123}});
    CHECK(line.size() <= 2048);
    CHECK(line.find(" c=") != std::string::npos);
    CHECK(line.find(" d=") == std::string::npos);
    CHECK(line.ends_with(" last=123\n"));
}

TEST_CASE("one write per line: lines of threads do not mix") {
    CapturedLog captured;
    std::vector<std::thread> threads;
    for (int thread = 0; thread < 4; ++thread) {
        threads.emplace_back([thread] {
            for (int i = 0; i < 50; ++i) {
                log(Event::turn_slow, {{"shard", thread}, {"ms", i}});
            }
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    const std::string text = captured.text();
    std::size_t lines = 0;
    std::size_t begin = 0;
    while (begin < text.size()) {
        const std::size_t end = text.find('\n', begin);
        REQUIRE(end != std::string::npos);
        const std::string line = text.substr(begin, end - begin);
        CHECK(line.find("Z warning turn.slow shard=") == 23);
        begin = end + 1;
        ++lines;
    }
    CHECK(lines == 200);
}

TEST_CASE("below the level nothing is written") {
    CapturedLog captured;
    set_log_level(Level::warning);
    log(Event::segment_created, {});
    log(Event::storage_full, {{"free_bytes", 1}});
    const std::string text = captured.text();
    CHECK(text.find("segment.created") == std::string::npos);
    CHECK(text.find("storage.full free_bytes=1") != std::string::npos);
}

TEST_CASE("a log that cannot be written stops nothing") {
    set_log_descriptor(-1);
    log(Event::server_starting, {});
    set_log_descriptor(1'000'000);
    log(Event::server_starting, {});
    set_log_descriptor(STDERR_FILENO);
    CHECK(true);
}

TEST_CASE("the catalogue: names are unique, dotted words, and each is explained") {
    std::set<std::string_view> names;
    for (const EventInfo& info : event_catalogue) {
        CAPTURE(info.name);
        CHECK(names.insert(info.name).second);
        CHECK(info.name.find('.') != std::string_view::npos);
        CHECK(info.name.find_first_not_of("abcdefghijklmnopqrstuvwxyz._") ==
              std::string_view::npos);
        CHECK(info.meaning.ends_with("."));
    }
}

}  // namespace ursula::base
