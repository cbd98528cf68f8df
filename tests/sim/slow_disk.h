// A SimDisk whose ops take simulated time: what is under way completes together, a latency after
// the first of it was submitted, in random order and maybe not all of it.
#pragma once

#include <cstdint>
#include <vector>

#include "base/random.h"
#include "base/time.h"
#include "sim/sim_disk.h"

namespace ursula::sim {

class SlowDisk final : public storage::Disk {
  public:
    // All three outlive the disk; `clock` is the simulation's.
    SlowDisk(SimDisk& disk, const base::Instant& clock, base::Random& random)
        : disk_(disk), clock_(clock), random_(random) {}

    void set_latency(base::Duration low, base::Duration high) {
        low_ = low;
        high_ = high;
    }
    // When something completes; never() while nothing is under way.
    base::Instant due() const { return due_; }

    void submit(storage::DiskOp& op) override {
        disk_.submit(op);
        if (due_ == base::Instant::never()) {
            draw();
        }
    }
    void take_completions(std::vector<storage::DiskOp*>& done) override {
        if (clock_ < due_) {
            return;
        }
        disk_.take_completions(done);
        due_ = base::Instant::never();
        if (disk_.in_flight() > 0) {
            draw();
        }
    }
    std::uint32_t alignment() const override { return disk_.alignment(); }
    bool keeps_data() const override { return true; }
    base::Result<storage::Space> space() override { return disk_.space(); }
    base::Result<std::vector<storage::FileInfo>> list_now() override { return disk_.list_now(); }
    void run_now(storage::DiskOp& op) override { disk_.run_now(op); }

  private:
    void draw() {
        due_ = clock_ +
               base::Duration{static_cast<std::int64_t>(random_.between(
                   static_cast<std::uint64_t>(low_.ns), static_cast<std::uint64_t>(high_.ns)))};
    }
    SimDisk& disk_;
    const base::Instant& clock_;
    base::Random& random_;
    base::Duration low_ = base::microseconds(50);
    base::Duration high_ = base::microseconds(400);
    base::Instant due_ = base::Instant::never();
};

}  // namespace ursula::sim
