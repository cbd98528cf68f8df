// SocketHandOver: connections on their way from the loop that accepted them to the loop they are
// for. Any loop may push, one takes; a handful at once, what does not fit the pusher closes.
#pragma once

#include <array>
#include <atomic>

namespace ursula {

class SocketHandOver {
  public:
    SocketHandOver() {
        for (std::atomic<int>& slot : slots_) {
            slot.store(none, std::memory_order_relaxed);
        }
    }

    [[nodiscard]] bool push(int socket) {
        for (std::atomic<int>& slot : slots_) {
            int expected = none;
            if (slot.compare_exchange_strong(expected, socket, std::memory_order_release,
                                             std::memory_order_relaxed)) {
                return true;
            }
        }
        return false;
    }

    // -1: there is none.
    int take() {
        for (std::atomic<int>& slot : slots_) {
            if (slot.load(std::memory_order_relaxed) != none) {
                return slot.exchange(none, std::memory_order_acquire);
            }
        }
        return none;
    }

  private:
    static constexpr int none = -1;
    std::array<std::atomic<int>, 16> slots_;
};

}  // namespace ursula
