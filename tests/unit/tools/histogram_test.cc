#include "tools/bench/histogram.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <vector>

#include "base/random.h"

using ursula::bench::Histogram;

TEST_CASE("histogram: quantiles are within 0.8 % of the exact ones") {
    Histogram histogram;
    ursula::base::Random random(7);
    std::vector<std::int64_t> values;
    for (int i = 0; i < 20'000; ++i) {
        const auto value =
            static_cast<std::int64_t>(random.below(std::uint64_t{1} << random.between(1, 40)));
        values.push_back(value);
        histogram.record(value);
    }
    std::sort(values.begin(), values.end());
    for (const double quantile : {0.001, 0.25, 0.5, 0.9, 0.99, 0.999, 1.0}) {
        const auto rank = static_cast<std::size_t>(std::ceil(quantile * 20'000.0)) - 1;
        const auto exact = static_cast<double>(values[rank]);
        const auto got = static_cast<double>(histogram.quantile(quantile));
        CHECK(std::abs(got - exact) <= exact * 0.008 + 0.5);
    }
    CHECK(histogram.count() == 20'000);
    CHECK(histogram.max() == static_cast<std::uint64_t>(values.back()));
}

TEST_CASE("histogram: small values are exact, the ends of the range have a slot") {
    Histogram histogram;
    CHECK(histogram.quantile(0.5) == 0);
    for (std::int64_t value = 0; value < 64; ++value) {
        histogram.clear();
        histogram.record(value);
        CHECK(histogram.quantile(0.5) == static_cast<std::uint64_t>(value));
    }
    histogram.clear();
    histogram.record(-5);
    histogram.record(INT64_MAX);
    CHECK(histogram.quantile(0.5) == 0);
    CHECK(static_cast<double>(histogram.quantile(1.0)) >= 0.99 * static_cast<double>(INT64_MAX));
}
