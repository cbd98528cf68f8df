#include "net/timers.h"

#include <algorithm>
#include <bit>

#include "base/verify.h"

namespace ursula::net {

TimerWheel::TimerWheel(base::Instant now)
    : current_(static_cast<std::uint64_t>(now.ns) >> tick_bits) {
    for (Timer& slot : slots_) {
        slot.previous = &slot;
        slot.next = &slot;
    }
}

// The first tick at which `at` has surely come.
std::uint64_t TimerWheel::tick_of(base::Instant at) {
    const std::uint64_t ns = at.ns < 0 ? 0 : static_cast<std::uint64_t>(at.ns);
    return (ns + (std::uint64_t{1} << tick_bits) - 1) >> tick_bits;
}

void TimerWheel::link(Timer& timer, std::uint64_t tick) {
    timer.tick = std::clamp(tick, current_, current_ + slot_count - 1);
    timer.place = {static_cast<std::int64_t>(timer.tick << tick_bits)};
    const std::size_t i = timer.tick % slot_count;
    Timer& slot = slots_[i];
    timer.previous = slot.previous;
    timer.next = &slot;
    slot.previous->next = &timer;
    slot.previous = &timer;
    occupied_[i / 64] |= std::uint64_t{1} << (i % 64);
    occupied_words_ |= std::uint64_t{1} << (i / 64);
    ++armed_;
}

void TimerWheel::unlink(Timer& timer) {
    timer.previous->next = timer.next;
    timer.next->previous = timer.previous;
    timer.previous = nullptr;
    timer.next = nullptr;
    --armed_;
    const std::size_t i = timer.tick % slot_count;
    if (slots_[i].next == &slots_[i]) {
        occupied_[i / 64] &= ~(std::uint64_t{1} << (i % 64));
        if (occupied_[i / 64] == 0) {
            occupied_words_ &= ~(std::uint64_t{1} << (i / 64));
        }
    }
}

void TimerWheel::move(Timer& timer, base::Instant at) {
    if (at == base::Instant::never()) {
        cancel(timer);
        return;
    }
    timer.at = at;
    const std::uint64_t tick = tick_of(at);
    if (timer.armed()) {
        if (timer.tick <= tick) {
            return;  // found and put right when its slot's turn comes
        }
        unlink(timer);
    }
    link(timer, tick);
}

void TimerWheel::cancel(Timer& timer) {
    if (timer.armed()) {
        unlink(timer);
    }
}

void TimerWheel::take_expired(base::Instant now, std::vector<Timer*>& expired) {
    const std::uint64_t last = static_cast<std::uint64_t>(now.ns) >> tick_bits;
    if (now.ns < 0 || last < current_) {
        return;
    }
    const std::uint64_t first = current_;
    const std::uint64_t count = std::min<std::uint64_t>(last - first + 1, slot_count);
    current_ = last + 1;
    for (std::uint64_t offset = 0; offset < count && armed_ > 0; ++offset) {
        const std::size_t i = (first + offset) % slot_count;
        if ((occupied_[i / 64] >> (i % 64) & 1u) == 0) {
            if (i % 64 == 0 && occupied_[i / 64] == 0) {
                offset += 63;  // nothing in this word
            }
            continue;
        }
        // Timers that moved on are linked at the end of a list, this one's too when it is the whole
        // wheel's turn: stop at what was last when we began.
        Timer* timer = slots_[i].next;
        Timer* const end = slots_[i].previous;
        for (bool done = false; !done;) {
            Timer* next = timer->next;
            done = timer == end;
            unlink(*timer);
            if (tick_of(timer->at) <= last) {
                expired.push_back(timer);
            } else {
                link(*timer, tick_of(timer->at));
            }
            timer = next;
        }
    }
}

base::Instant TimerWheel::next() const {
    if (armed_ == 0) {
        return base::Instant::never();
    }
    const std::size_t start = current_ % slot_count;
    const std::size_t word = start / 64;
    const auto at_slot = [this, start](std::size_t slot) {
        const std::uint64_t distance = (slot + slot_count - start) % slot_count;
        return base::Instant{static_cast<std::int64_t>((current_ + distance) << tick_bits)};
    };
    const std::uint64_t here = occupied_[word] >> (start % 64);
    if (here != 0) {
        return at_slot(start + static_cast<std::size_t>(std::countr_zero(here)));
    }
    // Words behind this one, around the wheel; this one's lower part comes last.
    const std::uint64_t rotated = std::rotr(occupied_words_, static_cast<int>((word + 1) % 64));
    const std::size_t found = (word + 1 + static_cast<std::size_t>(std::countr_zero(rotated))) % 64;
    return at_slot(found * 64 + static_cast<std::size_t>(std::countr_zero(occupied_[found])));
}

}  // namespace ursula::net
