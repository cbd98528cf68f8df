#include "tools/bench/report.h"

#include <fmt/format.h>

#include <string>
#include <string_view>

namespace ursula::bench {
namespace {

struct Quantile {
    const char* name;
    double value;
};
constexpr Quantile quantiles[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p999", 0.999}};

double us(std::uint64_t ns) {
    return static_cast<double>(ns) / 1e3;
}

std::string json_of(const Histogram& histogram) {
    std::string text =
        fmt::format("{{\"count\":{},\"mean_us\":{:.1f}", histogram.count(), histogram.mean() / 1e3);
    for (const Quantile& quantile : quantiles) {
        text +=
            fmt::format(",\"{}_us\":{:.1f}", quantile.name, us(histogram.quantile(quantile.value)));
    }
    return text + fmt::format(",\"max_us\":{:.1f}}}", us(histogram.max()));
}

std::string row_of(std::string_view name, const Histogram& histogram) {
    std::string text = fmt::format("  {:<20}{:>12}", name, histogram.count());
    for (const Quantile& quantile : quantiles) {
        text += fmt::format("{:>11.1f}", us(histogram.quantile(quantile.value)));
    }
    return text + fmt::format("{:>11.1f}\n", us(histogram.max()));
}

std::string description(const Options& options) {
    std::string text =
        fmt::format("{}: {} connections, depth {}, {} stream{}, {} B {}", name_of(options.mode),
                    options.connections, options.depth, options.streams,
                    options.streams == 1 ? "" : "s", options.body_bytes, options.content_type);
    if (options.readers > 0) {
        text += fmt::format(", {} readers", options.readers);
    }
    if (options.producer) {
        text += ", producer headers";
    }
    return text + (options.rate_per_s > 0 ? fmt::format(", open loop at {}/s", options.rate_per_s)
                                          : std::string(", closed loop"));
}

}  // namespace

const char* name_of(Mode mode) {
    switch (mode) {
        case Mode::append:
            return "append";
        case Mode::tail:
            return "tail";
        case Mode::mixed:
            return "mixed";
        case Mode::catchup:
            return "catchup";
        case Mode::idle:
            return "idle";
    }
    return "";
}

void report_load(const Options& options, const LoadResult& result) {
    const double rate = static_cast<double>(result.appends) / std::max(result.seconds, 1e-9);
    std::string statuses;
    for (const auto& [status, count] : result.statuses) {
        statuses += fmt::format("{}\"{}\":{}", statuses.empty() ? "" : ",", status, count);
    }
    if (options.json_output) {
        std::string deliveries;
        if (options.readers > 0) {
            deliveries = fmt::format(
                ",\"readers\":{},\"delivery\":{},\"expected\":{},\"delivered\":{},\"lost\":{}",
                options.readers, json_of(result.delivery_ns), result.expected, result.delivered,
                result.lost);
        }
        fmt::print(
            "{{\"mode\":\"{}\",\"connections\":{},\"depth\":{},\"streams\":{},\"bytes\":{},"
            "\"rate\":{:.1f},\"per_s\":{:.1f},\"appends\":{},\"acked\":{},\"not_sent\":{},"
            "\"seconds\":{:.4f},\"append\":{}{},\"statuses\":{{{}}},\"generator_cpu\":{:.3f}}}\n",
            name_of(options.mode), options.connections, options.depth, options.streams,
            options.body_bytes, options.rate_per_s, rate, result.appends, result.acked,
            result.not_sent, result.seconds, json_of(result.append_ns), deliveries, statuses,
            result.generator_cpu);
        return;
    }
    fmt::print("{}\n  {:.0f} appends/s over {:.2f} s, {} acknowledged in all\n",
               description(options), rate, result.seconds, result.acked);
    fmt::print("  {:<20}{:>12}{:>11}{:>11}{:>11}{:>11}{:>11}\n", "us", "count", "p50", "p90", "p99",
               "p999", "max");
    fmt::print("{}", row_of("append", result.append_ns));
    if (options.readers > 0) {
        fmt::print("{}", row_of("delivery", result.delivery_ns));
        fmt::print("  deliveries {} of {}\n", result.delivered, result.expected);
    }
    if (result.not_sent > 0) {
        fmt::print("  overload: {} appends were due but not sent\n", result.not_sent);
    }
    fmt::print("  replies {{{}}}, generator {:.0f} % of a core{}\n", statuses,
               result.generator_cpu * 100,
               result.generator_cpu > 0.95 && !options.spin && options.rate_per_s == 0
                   ? ": the figure is a lower bound"
                   : "");
}

void report_catchup(const Options& options, const CatchupResult& result) {
    const double mb_per_s = static_cast<double>(result.body_bytes) / 1e6 / result.seconds;
    if (options.json_output) {
        fmt::print(
            "{{\"mode\":\"catchup\",\"connections\":{},\"mb_per_s\":{:.1f},\"bytes\":{},"
            "\"responses\":{},\"passes\":{},\"seconds\":{:.4f},\"generator_cpu\":{:.3f}}}\n",
            options.connections, mb_per_s, result.body_bytes, result.responses, result.passes,
            result.seconds, result.generator_cpu);
        return;
    }
    fmt::print(
        "catchup: {} connections, {} B appends\n  {:.0f} MB/s over {:.2f} s, {} responses, "
        "{} whole passes, generator {:.0f} % of a core\n",
        options.connections, options.body_bytes, mb_per_s, result.seconds, result.responses,
        result.passes, result.generator_cpu * 100);
}

}  // namespace ursula::bench
