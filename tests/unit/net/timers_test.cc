#include "net/timers.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "base/random.h"

using namespace ursula;
using base::Instant;
using net::Timer;
using net::TimerWheel;

namespace {

constexpr std::int64_t tick_ns = std::int64_t{1} << 24;

}  // namespace

TEST_CASE("a timer fires once, within a tick, never early") {
    const Instant start{123'456'789'000};
    TimerWheel wheel(start);
    Timer timer;
    const Instant at = start + base::milliseconds(500);
    wheel.schedule(timer, at);
    CHECK(timer.armed());
    CHECK(wheel.armed() == 1);
    CHECK(wheel.next() >= at);
    CHECK(wheel.next() <= at + base::Duration{tick_ns});
    std::vector<Timer*> expired;
    wheel.take_expired(at - start < base::Duration{} ? start : Instant{at.ns - 1}, expired);
    CHECK(expired.empty());
    wheel.take_expired(wheel.next(), expired);
    REQUIRE(expired.size() == 1);
    CHECK(expired[0] == &timer);
    CHECK_FALSE(timer.armed());
    CHECK(wheel.next() == Instant::never());
    wheel.take_expired(at + base::seconds(1000), expired);
    CHECK(expired.size() == 1);
}

TEST_CASE("a timer moves later for free and earlier at once, and can be cancelled") {
    TimerWheel wheel(Instant{0});
    Timer timer;
    wheel.schedule(timer, Instant{} + base::seconds(10));
    wheel.schedule(timer, Instant{} + base::seconds(20));
    std::vector<Timer*> expired;
    wheel.take_expired(Instant{} + base::seconds(15), expired);
    CHECK(expired.empty());
    CHECK(timer.armed());
    wheel.schedule(timer, Instant{} + base::seconds(16));
    wheel.take_expired(Instant{} + base::seconds(17), expired);
    CHECK(expired.size() == 1);
    wheel.schedule(timer, Instant{} + base::seconds(30));
    wheel.schedule(timer, Instant::never());
    CHECK_FALSE(timer.armed());
    wheel.schedule(timer, Instant{} + base::seconds(30));
    wheel.cancel(timer);
    wheel.cancel(timer);
    CHECK(wheel.armed() == 0);
    CHECK(wheel.next() == Instant::never());
}

TEST_CASE("a deadline in the past fires with the next tick, one beyond the horizon in its time") {
    TimerWheel wheel(Instant{base::seconds(100).ns});
    Timer past;
    Timer far;
    wheel.schedule(past, Instant{base::seconds(1).ns});
    wheel.schedule(far, Instant{base::seconds(1000).ns});
    std::vector<Timer*> expired;
    wheel.take_expired(Instant{base::seconds(101).ns}, expired);
    REQUIRE(expired.size() == 1);
    CHECK(expired[0] == &past);
    int wakes = 0;
    while (expired.size() == 1) {
        const Instant next = wheel.next();
        REQUIRE(next != Instant::never());
        wheel.take_expired(next, expired);
        ++wakes;
    }
    CHECK(expired[1] == &far);
    CHECK(wakes < 20);
}

TEST_CASE("against a model") {
    base::Random random(1);
    for (int round = 0; round < 20; ++round) {
        Instant now{static_cast<std::int64_t>(random.below(1'000'000'000'000))};
        TimerWheel wheel(now);
        struct Modelled {
            Timer timer;
            bool armed = false;
            Instant at{};
        };
        std::vector<std::unique_ptr<Modelled>> timers;
        for (int i = 0; i < 50; ++i) {
            timers.push_back(std::make_unique<Modelled>());
        }
        std::vector<Timer*> expired;
        for (int step = 0; step < 3000; ++step) {
            Modelled& one = *timers[random.below(timers.size())];
            switch (random.below(4)) {
                case 0:
                case 1: {
                    const std::int64_t range = random.chance(1, 4)   ? 300'000'000'000
                                               : random.chance(1, 2) ? 2'000'000'000
                                                                     : 50'000'000;
                    one.at = {
                        now.ns +
                        static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(range))) -
                        10'000'000};
                    one.armed = true;
                    wheel.schedule(one.timer, one.at);
                    break;
                }
                case 2:
                    wheel.cancel(one.timer);
                    one.armed = false;
                    break;
                default: {
                    const bool jump = random.chance(1, 30);
                    now.ns += static_cast<std::int64_t>(
                        random.below(jump ? 200'000'000'000 : 60'000'000));
                    expired.clear();
                    wheel.take_expired(now, expired);
                    for (Timer* timer : expired) {
                        const auto found =
                            std::find_if(timers.begin(), timers.end(),
                                         [&](const auto& m) { return &m->timer == timer; });
                        REQUIRE((*found)->armed);
                        REQUIRE((*found)->at <= now);
                        (*found)->armed = false;
                    }
                    break;
                }
            }
            std::size_t armed = 0;
            for (const auto& m : timers) {
                REQUIRE(m->timer.armed() == m->armed);
                armed += m->armed ? 1u : 0u;
                // Nothing is late by more than a tick, and the wheel asks to be looked at in time.
                if (m->armed) {
                    REQUIRE(m->at.ns + tick_ns > std::min(now.ns, m->at.ns + tick_ns) - 1);
                    REQUIRE(wheel.next().ns <= std::max(m->at.ns, now.ns) + 2 * tick_ns);
                }
            }
            REQUIRE(wheel.armed() == armed);
        }
        // All that is left fires.
        expired.clear();
        while (wheel.armed() > 0) {
            now = wheel.next();
            wheel.take_expired(now, expired);
        }
        for (Timer* timer : expired) {
            CHECK(timer->at <= now);
        }
    }
}
