// dsync-probe: what one synced direct write to a zeroed file costs on this disk, one at a time. The
// floor under every durable latency, printed beside it in each report.
#include <ctime>

#include "tools/bare/arguments.h"
#include "tools/bare/direct_file.h"
#include "tools/bench/histogram.h"

namespace {

using namespace ursula::bare;

std::int64_t clock_ns() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

}  // namespace

int main(int argc, char** argv) {
    const Arguments arguments =
        parse_arguments(argc, argv, "dsync-probe: latency of synced direct writes, one in flight");
    pin_to(arguments.cpu);
    constexpr std::uint64_t file_bytes = 128 << 20;
    Ring ring(8, 16);
    DirectFile file(arguments.file, file_bytes);
    const std::size_t bytes = (arguments.write_bytes + 511) / 512 * 512;
    const AlignedBuffer buffer =
        aligned_buffer((bytes + block_bytes - 1) / block_bytes * block_bytes);
    ursula::bench::Histogram latency_ns;
    std::uint64_t position = 0;
    const std::int64_t end = clock_ns() + static_cast<std::int64_t>(arguments.seconds * 1e9);
    const std::int64_t begin = clock_ns();
    std::int64_t now = begin;
    while (now < end) {
        file.write_synced(ring, buffer.get(), bytes, position, 1);
        ring.submit_and_wait();
        ring.reap([bytes](std::uint64_t, int result, std::uint32_t) {
            if (result != static_cast<int>(bytes)) {
                die("a write failed", result < 0 ? -result : EIO);
            }
        });
        const std::int64_t done = clock_ns();
        latency_ns.record(done - now);
        now = done;
        position = position + 2 * bytes > file_bytes ? 0 : position + bytes;
    }
    const double rate =
        static_cast<double>(latency_ns.count()) * 1e9 / static_cast<double>(now - begin);
    const auto us = [&latency_ns](double quantile) {
        return static_cast<double>(latency_ns.quantile(quantile)) / 1e3;
    };
    std::printf(
        arguments.json
            ? "{\"write_bytes\":%zu,\"per_s\":%.1f,\"p50_us\":%.1f,\"p90_us\":%.1f,"
              "\"p99_us\":%.1f,\"p999_us\":%.1f,\"max_us\":%.1f}\n"
            : "%zu B synced: %.0f/s, p50 %.0f us, p90 %.0f, p99 %.0f, p999 %.0f, max %.0f\n",
        bytes, rate, us(0.5), us(0.9), us(0.99), us(0.999),
        static_cast<double>(latency_ns.max()) / 1e3);
    return 0;
}
