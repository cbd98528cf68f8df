// The Disk of a node without a data directory: every op succeeds at once, nothing is kept. The log
// does not even ask it to write (keeps_data() is false); snapshots are not taken on it.
#pragma once

#include <vector>

#include "storage/disk.h"

namespace ursula::storage {

class MemoryDisk final : public Disk {
  public:
    void submit(DiskOp& op) override;
    void take_completions(std::vector<DiskOp*>& done) override;
    std::uint32_t alignment() const override { return 512; }
    bool keeps_data() const override { return false; }
    base::Result<Space> space() override { return Space{}; }
    base::Result<std::vector<FileInfo>> list_now() override { return std::vector<FileInfo>{}; }
    void run_now(DiskOp& op) override;

  private:
    std::vector<DiskOp*> done_;
};

}  // namespace ursula::storage
