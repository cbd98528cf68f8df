// Random histories of one group: entries that a leader could have committed, refusals and
// duplicates included.
#pragma once

#include <string>
#include <vector>

#include "tests/unit/stream/support.h"

namespace ursula::stream::test {

class History {
  public:
    History(std::uint64_t seed, int entries, std::uint64_t names = 12)
        : random_(seed), names_(names) {
        for (int i = 0; i < entries; ++i) {
            add_entry();
        }
    }
    const std::vector<Entry>& entries() const { return entries_; }

  private:
    // Commands hold views: their texts live here.
    std::string_view keep(std::string text) { return kept_.emplace_back(std::move(text)); }
    std::string_view name() { return keep(numbered("demo/stream-", random_.below(names_))); }
    std::string_view body() {
        const std::size_t size =
            random_.chance(1, 30) ? 1 + random_.below(3000) : random_.below(40);
        const auto letter = static_cast<char>('a' + random_.below(26));
        return keep(std::string(size, letter));
    }

    Command command() {
        static constexpr std::string_view types[] = {"text/plain", "Text/Plain;charset=utf-8",
                                                     "application/octet-stream",
                                                     "application/json"};
        const std::string_view of = name();
        // One draw per statement: the order of arguments is the compiler's choice.
        const std::string_view type = types[random_.below(4)];
        const std::uint64_t first = random_.below(60);
        const std::uint64_t second = random_.below(60);
        const std::uint64_t third = random_.below(60);
        switch (random_.below(20)) {
            case 0:
            case 1:
            case 2:
            case 3: {
                Command c = create(of, type, body(), first % 12 == 0);
                c.number = second % 4;
                return c.content_type == "application/json"
                           ? json(c, c.has_body ? static_cast<std::uint32_t>(1 + third % 5) : 0)
                           : c;
            }
            case 4:
                return simple(CommandKind::remove_stream, of);
            case 5:
                return simple(CommandKind::forget_producers, of, first % 4);
            case 6:
                return simple(CommandKind::create_bucket, keep(numbered("bucket", first % 4)));
            case 7: {
                static constexpr CommandKind kinds[] = {CommandKind::begin_remove_bucket,
                                                        CommandKind::finish_remove_bucket,
                                                        CommandKind::reopen_bucket};
                return simple(kinds[first % 3], keep(numbered("bucket", second % 4)), third % 6);
            }
            case 8:
                return in_round(
                    simple(first % 2 == 0 ? CommandKind::seal_bucket : CommandKind::unseal_bucket,
                           "b", 1 + second % 8),
                    seal_round_ += third % 2);
            default: {
                Command c = append(of, body(), type);
                c.close = random_.chance(1, 15);
                if (random_.chance(1, 3)) {
                    c = by(c, keep(numbered("producer", first % 6)), second % 2, third % 3);
                }
                if (random_.chance(1, 10)) {
                    c = with_seq(c, keep(numbered("", random_.below(100))));
                }
                if (c.content_type == "application/json") {
                    c = json(c, c.has_body ? 1 : 0,
                             random_.chance(1, 10) ? Verdict::json_invalid : Verdict::ok);
                }
                return c;
            }
        }
    }

    void add_entry() {
        std::vector<Command> commands;
        for (std::uint64_t n = random_.chance(1, 10) ? 0 : 1 + random_.below(4); n > 0; --n) {
            commands.push_back(command());
        }
        time_ms_ += static_cast<std::int64_t>(random_.below(50)) - 10;
        entries_.push_back(make_entry(entries_.size() + 1, time_ms_, commands));
        kept_.clear();
    }

    base::Random random_;
    std::uint64_t seal_round_ = 0;
    std::uint64_t names_;
    std::int64_t time_ms_ = 1'700'000'000'000;
    std::vector<Entry> entries_;
    std::deque<std::string> kept_;
};

}  // namespace ursula::stream::test
