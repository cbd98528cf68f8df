#include "base/metric.h"

#include <doctest/doctest.h>

#include <atomic>
#include <thread>

namespace ursula::base {

TEST_CASE("a metric counts up, down and is set") {
    Metric metric;
    CHECK(metric.value() == 0);
    metric.add();
    metric.add(9);
    CHECK(metric.value() == 10);
    metric.subtract(3);
    CHECK(metric.value() == 7);
    metric.set(1);
    CHECK(metric.value() == 1);
}

TEST_CASE("another thread may read while the owner writes") {
    Metric metric;
    Histogram histogram;
    std::atomic<bool> done{false};
    std::thread owner([&] {
        for (int i = 0; i < 100'000; ++i) {
            metric.add();
            histogram.record(microseconds(i));
        }
        done.store(true);
    });
    std::uint64_t last = 0;
    std::uint64_t last_sum = 0;
    bool in_order = true;
    while (!done.load()) {
        const std::uint64_t now = metric.value();
        const std::uint64_t sum_now = histogram.sum_ns();
        in_order = in_order && now >= last && sum_now >= last_sum;
        last_sum = sum_now;
        last = now;
    }
    owner.join();
    CHECK(in_order);
    CHECK(metric.value() == 100'000);
}

TEST_CASE("buckets: every duration is in the one whose ends are around it") {
    std::uint64_t begin = 0;
    for (std::size_t bucket = 0; bucket + 1 < Histogram::bucket_count; ++bucket) {
        const std::uint64_t end = Histogram::end_ns(bucket);
        CAPTURE(bucket);
        CHECK(end > begin);
        CHECK(Histogram::bucket_of(begin) == bucket);
        CHECK(Histogram::bucket_of(end - 1) == bucket);
        CHECK(Histogram::bucket_of(end) == bucket + 1);
        begin = end;
    }
    CHECK(begin == 1ull << Histogram::last_power);
    CHECK(Histogram::bucket_of(~0ull) == Histogram::bucket_count - 1);
}

TEST_CASE("buckets: none is wider than a quarter of its begin") {
    for (std::size_t bucket = 1; bucket + 1 < Histogram::bucket_count; ++bucket) {
        const std::uint64_t begin = Histogram::end_ns(bucket - 1);
        CHECK((Histogram::end_ns(bucket) - begin) * 4 <= begin);
    }
}

TEST_CASE("a histogram adds up; a negative duration is none") {
    Histogram histogram;
    histogram.record(microseconds(1));
    histogram.record(milliseconds(5));
    histogram.record(seconds(100));
    histogram.record(Duration{-5});
    std::uint64_t count = 0;
    for (std::size_t bucket = 0; bucket < Histogram::bucket_count; ++bucket) {
        count += histogram.count(bucket);
    }
    CHECK(count == 4);
    CHECK(histogram.count(0) == 2);
    CHECK(histogram.count(Histogram::bucket_count - 1) == 1);
    CHECK(histogram.sum_ns() == 100'005'001'000);
}

}  // namespace ursula::base
